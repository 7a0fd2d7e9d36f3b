/* layers.h - the layers of a model as its tensors and keys tell of them: which mixer, how many
 * heads of which size, window, feed-forward, experts, weights, types. Described, not judged:
 * nothing is checked for running, and architectures that the tools cannot run are described as
 * well. What a layer is made of is read from the names of its tensors, sizes from their shapes, and
 * from keys only what no tensor says (heads, experts used, window). */
#ifndef TAMIS_GGUF_LAYERS_H
#define TAMIS_GGUF_LAYERS_H

#include "gguf/gguf.h"

typedef struct tamis_layer_view {
    int64_t number;    /* of "blk.N."; -1: all tensors of the text model outside its layers */
    bool is_mtp;       /* predicts a further token, behind the executed layers */
    const char *mixer; /* "attention", "sliding", "latent", "delta net", "state space", ... */
    int64_t n_heads, n_heads_kv; /* of a delta net: of values, of keys; 0: unknown or none */
    int64_t head_size;           /* of keys; of the state in a delta net */
    int64_t value_size;          /* of value heads, where it is another; else = head_size */
    int64_t window;              /* positions that a sliding layer sees; 0: all */
    int64_t latent_size;         /* of latent attention's keys and values; 0: not latent */
    bool shares_kv;              /* uses the keys and values of an earlier layer */
    int64_t n_ff;                /* of the dense feed-forward part; 0: none */
    int64_t n_experts, n_experts_used, n_expert_ff; /* 0: none */
    int64_t n_shared, n_shared_ff; /* shared experts, and the width of all of them together */
    int64_t n_tensors;
    uint64_t n_elems, n_bytes;
    uint64_t types; /* of tensors of two dimensions and more: bit i is row i of the type table */
} tamis_layer_view;

/* All layers that have a tensor, in order, and the rest of the text model before them. *out: [*n],
 * free() it. TAMIS_BAD_INPUT when the file has no layers. */
tamis_status tamis_gguf_layers(const tamis_gguf *g, tamis_layer_view **out, int64_t *n,
                               tamis_error *err) TAMIS_MUST_USE;
/* True when they differ in nothing but the number. */
bool tamis_layer_view_is_alike(const tamis_layer_view *a, const tamis_layer_view *b);

#endif
