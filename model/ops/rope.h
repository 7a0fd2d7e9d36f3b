/* rope.h - rotary position embedding: a table of angles for a run, and the rotation.
 * Formulas: reference/architectures.md section 1. */
#ifndef TAMIS_MODEL_OPS_ROPE_H
#define TAMIS_MODEL_OPS_ROPE_H

#include "base/threads.h"
#include "model/model_internal.h"

/* Which two elements of a head turn together. */
typedef enum tamis_rope_kind {
    TAMIS_ROPE_NORM, /* (2i, 2i+1) */
    TAMIS_ROPE_NEOX, /* (i, i + n_rot/2) */
} tamis_rope_kind;

typedef struct tamis_rope_table {
    tamis_rope_kind kind;
    int64_t n_pairs;
    float *cos_sin; /* [n_positions][n_pairs][2], mscale applied */
} tamis_rope_table;

/* Table for positions 0 .. n_positions-1. factors [n_rot/2] divide the frequencies; NULL for
 * none. Release with tamis_rope_table_release(). */
tamis_status tamis_rope_table_init(tamis_rope_table *table, tamis_rope_kind kind,
                                   const tamis_rope_params *params, const float *factors,
                                   int64_t n_positions, tamis_error *err) TAMIS_MUST_USE;
void tamis_rope_table_release(tamis_rope_table *table);

/* Turn the heads of one token in place: x [n_heads][head_size]. */
void tamis_rope_apply(const tamis_rope_table *table, int64_t position, float *x, int64_t n_heads,
                      int64_t head_size);

/* q [n] of the token at a position, times what queries far into a long context grow by
 * (hp->temperature_scale, the logarithm of the position); nothing where a model has none. */
void tamis_rope_heat(const tamis_hparams *hp, int64_t position, float *q, int64_t n);

#endif
