/* run_internal.h - the state of one pass, shared by pass.c, weights.c and the operators.
 * Tokens are worked on in tiles: whole sequences while they are short, equal pieces of one
 * sequence when they are long. Tiles depend on n_ctx alone, so results do not depend on
 * budget or threads. */
#ifndef TAMIS_MODEL_RUN_INTERNAL_H
#define TAMIS_MODEL_RUN_INTERNAL_H

#include "base/memory.h"
#include "model/gemm_internal.h"
#include "model/model_internal.h"
#include "model/ops/rope.h"
#include "model/pass.h"

/* Working memory that lives as long as the run and grows on demand. */
typedef enum tamis_buffer {
    TAMIS_BUFFER_WEIGHTS, /* decoded weights of one layer part */
    TAMIS_BUFFER_STAGING, /* stored bytes on their way to f32 */
    TAMIS_BUFFER_NORMED,  /* [tile][n_embd] input of the products */
    TAMIS_BUFFER_Q,
    TAMIS_BUFFER_K, /* keys and values of the tile's sequences up to now */
    TAMIS_BUFFER_V,
    TAMIS_BUFFER_HEADS, /* attended values */
    TAMIS_BUFFER_GATE,
    TAMIS_BUFFER_UP,
    TAMIS_BUFFER_OUT, /* [tile][n_embd] output of a layer part */
    TAMIS_BUFFER_SCORES,
    TAMIS_BUFFER_NEXT,   /* [tile] next tokens, of a multi-token prediction block */
    TAMIS_BUFFER_TOKENS, /* token of each row that observers of such a block are told of */
    TAMIS_N_BUFFERS,
} tamis_buffer;

typedef struct tamis_run {
    tamis_model *model;
    tamis_pass_options options; /* a copy; pointers borrowed */
    tamis_pool *pool;
    tamis_gemm *gemm;
    const tamis_observer *observers;
    int n_observers;
    int64_t n_tokens, n_ctx; /* a multi-token prediction block has fewer than the trunk: ... */
    int64_t n_left_out;      /* ... so many at the end of each sequence */
    const int32_t *tokens;   /* [n_tokens] of the trunk; borrowed */
    float *h;                /* [n_tokens][n_embd] residual stream */
    float *sums;             /* [n_tokens][n_embd] experts' outputs; NULL in a dense model */
    float *kept_kv;          /* keys and values that later layers attend to; NULL: none do */
    tamis_scratch h_memory, sums_memory, kv_memory;
    tamis_rope_table ropes[TAMIS_N_ROPES]; /* by hp.layers[].rope; those no layer uses are empty */
    struct {
        void *data;
        uint64_t n_bytes;
    } buffers[TAMIS_N_BUFFERS];
    uint64_t n_advanced; /* tokens x layers shown as done */
} tamis_run;

typedef struct tamis_tile {
    int64_t first, n_tokens; /* n_tokens = n_seqs * n_seq_tokens */
    int64_t n_seqs, n_seq_tokens;
    int64_t first_pos; /* position of the first token in its sequence */
} tamis_tile;

/* The tile after *tile; start from a zeroed one. False after the last. */
bool tamis_run_next_tile(const tamis_run *run, tamis_tile *tile);
/* Tokens of the largest tile, and rows of keys that its sequences can have. */
int64_t tamis_run_tile_tokens(const tamis_run *run);
int64_t tamis_run_tile_keys(const tamis_run *run);

/* Floats of the keys and values of all tokens of the layers that others attend to (kv_from). */
uint64_t tamis_run_kept_floats(const tamis_run *run);
/* Where the keys [n_tokens][n_head_kv * head_k] and values [n_tokens][n_head_kv * head_v] of such a
 * layer lie, in kept_kv; false when no other layer attends to it. */
bool tamis_run_kept_kv(const tamis_run *run, int64_t layer, float **k, float **v);

/* A buffer of at least n_elems elements; what it held is lost when it grows. NULL with err when
 * out of memory. Borrowed from the run. */
void *tamis_run_buffer(tamis_run *run, tamis_buffer which, int64_t n_elems, size_t elem_bytes,
                       tamis_error *err) TAMIS_MUST_USE;
/* Buffers of floats that a layer part takes together: *at gets the one of n elements.
 * TAMIS_NO_RESOURCE when there is no memory for one. */
typedef struct tamis_buffer_wish {
    float **at;
    tamis_buffer which;
    int64_t n;
} tamis_buffer_wish;
tamis_status tamis_run_take_buffers(tamis_run *run, const tamis_buffer_wish *wishes, size_t n,
                                    tamis_error *err) TAMIS_MUST_USE;

/* Number, among all tokens of the run, of the i-th that it still has. */
int64_t tamis_run_token(const tamis_run *run, int64_t i);

/* Hand a product to every observer; one of a multi-token prediction block to those that want it. */
tamis_status tamis_run_observe(tamis_run *run, const tamis_product *product,
                               tamis_error *err) TAMIS_MUST_USE;

/* Advance the bar to `done` of `all` steps of part i_part of n_parts of a layer. */
void tamis_run_advance(tamis_run *run, int64_t layer, int i_part, int n_parts, int64_t done,
                       int64_t all);

/* TAMIS_BAD_INPUT naming layer, stage and token when x [n_rows][n] is not finite. Row r belongs to
 * token first_token + r, or rows[r] when rows is not NULL. */
tamis_status tamis_run_check_finite(const tamis_run *run, const float *x, int64_t n_rows, int64_t n,
                                    int64_t layer, const char *stage, int64_t first_token,
                                    const int32_t *rows, tamis_error *err) TAMIS_MUST_USE;

#endif
