/* diff.h - two importance matrices compared: how far the weights that quantization would use lie
 * apart, and which experts saw another share of the tokens. */
#ifndef TAMIS_IMATRIX_DIFF_H
#define TAMIS_IMATRIX_DIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "imatrix/matrix.h"

/* One name. The importance of a column is its mean square, sum / count; compared are the columns of
 * the experts that saw tokens on both sides. */
typedef struct tamis_imatrix_tensor_diff {
    const tamis_imatrix_entry *a, *b; /* borrowed; NULL: not on that side */
    bool is_comparable; /* on both sides, same number of values, counts that fit (or one alone) */
    bool is_equal;      /* sums and counts the same */
    double distance;    /* 1 - cosine of the importances; 1 when only one side saw anything */
    double ratio;       /* total importance of b / that of a */
    uint64_t n_columns,
        n_columns_differ; /* compared; whose parts of the total differ by `factor` */
    uint64_t n_experts, n_experts_differ; /* 0 when a side has no counts per expert */
} tamis_imatrix_tensor_diff;

/* An expert whose share of the tokens differs by `factor` or more, and by more than chance (three
 * standard deviations of two samples of that size). */
typedef struct tamis_imatrix_expert_diff {
    const char *name; /* borrowed; the first weight of the layer with these counts */
    uint64_t expert;
    double count_a, count_b, share_a, share_b;
    double distance; /* of its columns; 1 when only one side saw it */
} tamis_imatrix_expert_diff;

typedef struct tamis_imatrix_diff {
    tamis_imatrix_tensor_diff
        *tensors; /* comparable ones by distance, largest first; then others */
    uint64_t n_tensors, n_comparable, n_equal, n_only_a, n_only_b, n_other_size;
    double mean_distance, max_distance, min_ratio, max_ratio; /* over the comparable ones */
    tamis_imatrix_expert_diff *experts;                       /* by name, then expert */
    uint64_t n_experts, experts_capacity;
} tamis_imatrix_diff;

/* Compare a and b, both sorted by name, which must outlive *out; factor > 1. Release with
 * tamis_imatrix_diff_release(). Only memory can fail. */
tamis_status tamis_imatrix_diff_make(const tamis_imatrix *a, const tamis_imatrix *b, double factor,
                                     tamis_imatrix_diff *out, tamis_error *err) TAMIS_MUST_USE;
void tamis_imatrix_diff_release(tamis_imatrix_diff *diff);

#endif
