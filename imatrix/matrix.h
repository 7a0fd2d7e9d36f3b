/* matrix.h - an importance matrix in memory: sums of squares and counts per tensor, per expert.
 * What the numbers mean and the weights made from them: reference/files.md part A. */
#ifndef TAMIS_IMATRIX_MATRIX_H
#define TAMIS_IMATRIX_MATRIX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct tamis_imatrix_entry {
    char *name;        /* weight name, "blk.0.ffn_down.weight" */
    uint64_t n_values; /* d_in * n_counts (a dense 3-D weight: d_in * n_matrices) */
    uint64_t n_counts; /* experts; 1 for dense */
    float *sums;       /* [n_values] sums of squares, expert-major */
    double *counts;    /* [n_counts] rows summed; whole numbers, exact to 2^53 (files: to 2^24) */
    uint32_t i_source; /* which of several merged inputs had it first, for messages */
} tamis_imatrix_entry;

typedef struct tamis_imatrix {
    tamis_imatrix_entry *entries; /* sorted by name once loaded or finished */
    uint64_t n_entries, capacity;
    char **datasets;
    uint64_t n_datasets;
    uint32_t chunk_count, chunk_size; /* chunk_size 0: not known (the legacy layout has none) */
    bool all_experts; /* experts saw every token of the text, or of some text of those merged */
} tamis_imatrix;

void tamis_imatrix_init(tamis_imatrix *m);
void tamis_imatrix_release(tamis_imatrix *m);
void tamis_imatrix_entry_release(tamis_imatrix_entry *entry);

/* The entry of that name, or NULL. */
const tamis_imatrix_entry *tamis_imatrix_find(const tamis_imatrix *m, const char *name);

/* New entry with zeroed arrays (appended; order is restored by save). The pointer is valid until
 * the next add. */
tamis_status tamis_imatrix_add(tamis_imatrix *m, const char *name, uint64_t n_values,
                               uint64_t n_counts, tamis_imatrix_entry **out,
                               tamis_error *err) TAMIS_MUST_USE;

/* Per-column weights as llama-quantize derives them (files.md A.4): sum / count, and 1 for a block
 * whose count is 0. out [n_values]. */
void tamis_imatrix_weights(const tamis_imatrix_entry *entry, float *out);

/* Order the entries by name. */
void tamis_imatrix_sort(tamis_imatrix *m);

/* Append a copy of a dataset's name. */
tamis_status tamis_imatrix_add_dataset(tamis_imatrix *m, const char *name,
                                       tamis_error *err) TAMIS_MUST_USE;

/* Name: layer and expert numbers whole and below 65536. Counts and values finite and >= 0, counts
 * at most 2^53, and no values where nothing was counted.
 */
tamis_status tamis_imatrix_check_entry(const tamis_imatrix_entry *entry,
                                       tamis_error *err) TAMIS_MUST_USE;

#endif
