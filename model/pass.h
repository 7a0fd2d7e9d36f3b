/* pass.h - the layer-major pass and its observers.
 * All tokens go through layer 0, then all through layer 1, and so on: each weight is read and
 * decoded once for the whole run. Memory: the hidden states of all tokens (in a scratch file above
 * the budget) + one layer's weights (one expert's at a time for experts) + working buffers of one
 * batch of sequences. imatrix, quantize and kld are users of this one pass; what they want to see
 * they see through observers, and the forward code knows none of them by name.
 * The result does not depend on the number of threads. */
#ifndef TAMIS_MODEL_PASS_H
#define TAMIS_MODEL_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/threads.h"
#include "model/checkpoint.h"
#include "model/model.h"

/* Matrix products that share one input, before they are computed. */
typedef struct tamis_product {
    const char *const *names; /* the weights, e.g. attn_q, attn_k, attn_v of a layer */
    int n_names;
    int64_t layer;          /* -1 for the output head */
    int64_t expert;         /* expert index, or -1 for a dense weight */
    int64_t n_experts;      /* experts in the weight; 1 for dense */
    const float *x;         /* [n_tokens][d_in], row-major, borrowed during the call */
    int64_t n_tokens, d_in; /* a weight with a matrix per head: the inputs of all heads */
    /* Row r is of token tokens[r] of the run, or first_token + r when tokens is NULL. Ascending. */
    int64_t first_token;
    const int32_t *tokens; /* borrowed during the call */
} tamis_product;

/* An observer. Any function may be NULL. Called from one thread, in a fixed order: for a layer,
 * batches of tokens ascend for each product; experts ascend, each expert's tokens ascend.
 * A status other than TAMIS_OK stops the pass with it. */
typedef struct tamis_observer {
    void *ctx;
    tamis_status (*on_product)(void *ctx, const tamis_product *product, tamis_error *err);
    /* The residual stream after a layer: h [n_tokens][n_embd] for tokens first_token... */
    tamis_status (*on_layer)(void *ctx, int64_t layer, int64_t first_token, int64_t n_tokens,
                             const float *h, tamis_error *err);
    /* The final normed hidden state, as the output head multiplies it; ascending batches. */
    tamis_status (*on_final)(void *ctx, int64_t first_token, int64_t n_tokens, const float *h,
                             tamis_error *err);
    /* Also run the multi-token prediction blocks, if the model has any (mtp.h), and tell this
     * observer of them: of their products, as of any layer's, and of the normed state of each, as
     * its head multiplies it. i_block counts from 0; its sequences have no token for the last
     * 1 + i_block positions, so first_row and n_rows count in sequences that much shorter. */
    bool wants_mtp;
    tamis_status (*on_mtp_final)(void *ctx, int64_t i_block, int64_t first_row, int64_t n_rows,
                                 const float *h, tamis_error *err);
    /* Checkpoints, taken between two layers: write what was gathered so far; read it back into an
     * observer that has gathered nothing. Needed by those that gather during the layers. */
    tamis_status (*save)(void *ctx, tamis_checkpoint_writer *w, tamis_error *err);
    tamis_status (*restore)(void *ctx, tamis_checkpoint_reader *r, tamis_error *err);
} tamis_observer;

typedef struct tamis_pass_options {
    tamis_pool *pool;         /* NULL: the caller's thread only */
    const char *engine;       /* GEMM engine, NULL for the default */
    tamis_budget *budget;     /* NULL: no limit */
    tamis_progress *progress; /* NULL: none; advanced in tokens x layers */
    const tamis_log *log;
    tamis_checkpoint *checkpoint; /* NULL: none; for one pass only */
    bool all_experts; /* observers see every expert with every token; the result stays the same */
} tamis_pass_options;

/* Bytes that a run cannot do without, whatever its budget: decoded weights of the largest layer
 * part and the buffers of one batch. Callers leave them free when they take from the same budget
 * before the run. */
tamis_status tamis_pass_needed_bytes(tamis_model *model, int64_t n_tokens, int64_t n_ctx,
                                     uint64_t *out, tamis_error *err) TAMIS_MUST_USE;

/* Run n_tokens = n_sequences * n_ctx tokens (each run of n_ctx is one sequence from position 0)
 * through the model. Token ids out of range are TAMIS_BAD_USAGE. A weight or an activation that is
 * not finite stops the run with TAMIS_BAD_INPUT naming layer and tensor (row).
 * With a checkpoint: written between layers when it is time, gone on from when it is to be resumed
 * (then observers hear nothing of the layers done before; what
 * follows the layers is done again); it names the model, the tokens, n_ctx,
 * the engine and its kernels itself. An observer that listens to layers and cannot be saved is
 * TAMIS_BAD_USAGE. */
tamis_status tamis_pass_run(tamis_model *model, const int32_t *tokens, int64_t n_tokens,
                            int64_t n_ctx, const tamis_pass_options *options,
                            const tamis_observer *observers, int n_observers,
                            tamis_error *err) TAMIS_MUST_USE;

#endif
