/* weights.h - the weights of one layer part, decoded to f32 for as long as they are used.
 * Loading again overwrites what was loaded before: a part finds its tensors, loads them all in
 * one call and runs every tile. */
#ifndef TAMIS_MODEL_WEIGHTS_H
#define TAMIS_MODEL_WEIGHTS_H

#include "model/run_internal.h"

/* A weight matrix, its bias and its scale; a norm's vector is a matrix of one row. */
typedef struct tamis_weight {
    const tamis_gguf_tensor *tensor;                     /* NULL: the file has none */
    const tamis_gguf_tensor *bias_tensor, *scale_tensor; /* NULL: none */
    int64_t n_in, n_out;
    int64_t n_experts; /* 1 when dense */
    int64_t first_row; /* of the n_out rows in the tensor, beside those of earlier experts */
    const float *w;    /* [n_out][n_in], of the expert that was loaded; borrowed */
    const float *bias; /* [n_out] or NULL; borrowed */
    float scale;       /* of the product; 1 when there is none */
} tamis_weight;

/* Look up "blk.<layer>.<stem>.weight" ("<stem>.weight" for layer -1) with its .bias and .scale. */
tamis_weight tamis_weight_find(const tamis_run *run, int64_t layer, const char *stem);

/* Look up a tensor that is no ".weight", by its name after "blk.<layer>." ("ssm_a",
 * "ssm_dt.bias"); it has neither bias nor scale. */
tamis_weight tamis_weight_find_bare(const tamis_run *run, int64_t layer, const char *name);

enum { TAMIS_WEIGHTS_MAX = 12 }; /* weights of one call */

/* Decode n weights; those without a tensor are passed over. expert: which matrix of a stack
 * (0 for dense ones). Parallel over rows; read and decoded once.
 * TAMIS_BAD_INPUT naming tensor and row when a value is not finite or cannot be read. */
tamis_status tamis_weights_load(tamis_run *run, tamis_weight *const *weights, int n, int64_t expert,
                                tamis_error *err) TAMIS_MUST_USE;

/* Decode rows of a tensor to dst [n_rows][n_cols]; row_of(i) = rows[i], or first_row + i when rows
 * is NULL. n_cols elements from first_col on are read, whole blocks of the type; 0: all ne0. `pool`
 * may be NULL; staging: see tamis_staging_bytes(). */
typedef struct tamis_row_source {
    const tamis_gguf *gguf;
    const tamis_gguf_tensor *tensor;
    const int32_t *rows;
    int64_t first_row, n_rows;
    int64_t first_col, n_cols;
    float *dst;
} tamis_row_source;

/* Bytes of staging that decoding these sources needs, for a pool of n_workers. */
uint64_t tamis_staging_bytes(const tamis_row_source *sources, int n_sources, int n_workers);
/* Decode all sources. TAMIS_BAD_INPUT naming tensor and row when one is not finite: the first in
 * order, whatever the number of threads. TAMIS_INTERRUPTED when stopped. */
tamis_status tamis_decode_rows(tamis_pool *pool, const tamis_row_source *sources, int n_sources,
                               uint8_t *staging, tamis_error *err) TAMIS_MUST_USE;

/* Rows of an embedding for n_tokens tokens, times its scale and the model's, to dst
 * [n_tokens][n_embd]. */
tamis_status tamis_weight_embed(tamis_run *run, const tamis_weight *embedding,
                                const int32_t *tokens, int64_t n_tokens, float *dst,
                                tamis_error *err) TAMIS_MUST_USE;

/* Tell the observers of the products of n weights (those without a tensor are passed over) with one
 * input: *input says layer, expert, x and its tokens; names and shape are those of the weights. */
tamis_status tamis_weights_observe(tamis_run *run, const tamis_weight *const *weights, int n,
                                   const tamis_product *input, tamis_error *err) TAMIS_MUST_USE;
/* The dense product of a tile's rows x [tile->n_tokens][n_in]. */
tamis_product tamis_tile_product(int64_t layer, const tamis_tile *tile, const float *x);

/* y [n_rows][y_stride] = (x · wᵀ) * scale + bias, x [n_rows][n_in]. TAMIS_INTERRUPTED when
 * stopped. */
tamis_status tamis_weight_apply(tamis_run *run, const tamis_weight *weight, const float *x,
                                int64_t n_rows, float *y, int64_t y_stride,
                                tamis_error *err) TAMIS_MUST_USE;

/* Floats that the larger part (feed-forward with one expert, or the rest) of any block takes; what
 * multi-token prediction has beside its layer is not counted. */
tamis_status tamis_weights_peak_floats(const tamis_model *m, uint64_t *out,
                                       tamis_error *err) TAMIS_MUST_USE;

#endif
