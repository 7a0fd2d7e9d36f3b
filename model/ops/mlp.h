/* mlp.h - gate, up and down over the tokens of a tile: the dense feed-forward part, and what stands
 * beside experts. The caller adds the result where it belongs. */
#ifndef TAMIS_MODEL_OPS_MLP_H
#define TAMIS_MODEL_OPS_MLP_H

#include "model/ops/glu.h"
#include "model/weights.h"

/* Stems of its tensors. */
typedef struct tamis_mlp_stems {
    const char *norm; /* of the input */
    const char *gate, *up, *down;
    const char *gate_inp;  /* one row, the sigmoid of whose product scales the output; NULL: none */
    const char *post_norm; /* of the output; NULL: none */
} tamis_mlp_stems;

typedef struct tamis_mlp {
    tamis_weight norm, gate, up, down, gate_inp, post_norm;
    tamis_activation activation;
    int64_t layer;
    const char *down_stem;               /* for messages */
    float *normed, *gate_rows, *up_rows; /* working buffers of the run */
    float *out;                          /* [tile][n_embd] what tamis_mlp_run() leaves */
} tamis_mlp;

enum { TAMIS_MLP_WEIGHTS = 6 };

tamis_mlp tamis_mlp_find(const tamis_run *run, int64_t layer, const tamis_mlp_stems *stems,
                         tamis_activation activation);
/* The weights to load, into all [TAMIS_MLP_WEIGHTS]. */
void tamis_mlp_list(tamis_mlp *mlp, tamis_weight **all);
tamis_status tamis_mlp_take_buffers(tamis_run *run, tamis_mlp *mlp,
                                    tamis_error *err) TAMIS_MUST_USE;

/* out = post_norm(W_down · act(W_gate h, W_up h) * sigmoid(W_gate_inp h)), h = RMSNorm(x, norm),
 * for the tokens of a tile. Observed: gate, up and gate_inp with h; down with the activation. */
tamis_status tamis_mlp_run(tamis_run *run, const tamis_mlp *mlp, const tamis_tile *tile,
                           tamis_error *err) TAMIS_MUST_USE;

#endif
