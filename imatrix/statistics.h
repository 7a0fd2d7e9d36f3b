/* statistics.h - what an importance matrix says about each tensor and layer, and which experts saw
 * little. Definitions and order: reference/files.md A.7, as llama-imatrix --show-statistics. */
#ifndef TAMIS_IMATRIX_STATISTICS_H
#define TAMIS_IMATRIX_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "imatrix/matrix.h"

/* Over a[i] = sum[i] / count, the mean squares of the columns; experts that saw nothing are left
 * out. */
typedef struct tamis_imatrix_tensor_stats {
    const tamis_imatrix_entry *entry; /* borrowed from the matrix */
    int64_t layer;                    /* N of "blk.N."; -1 for others */
    const char *kind;                 /* [kind_bytes] of the name: "ffn_down", without ".weight" */
    size_t kind_bytes;
    uint64_t n_values;                       /* values taken into account */
    double total, min, max, mean, deviation; /* of a; deviation of the population */
    double active;                           /* fraction above 1e-5 */
    double entropy, entropy_share;           /* bits of a / total; divided by log2(n_values) */
    double zd;                               /* fraction more than one deviation above the mean */
    double cosine; /* of the sums with those of this kind in the layer before; 0 without one */
} tamis_imatrix_tensor_stats;

/* Means over a layer's tensors, weighted by their number of values. */
typedef struct tamis_imatrix_layer_stats {
    int64_t layer;
    double total, zd, cosine;
} tamis_imatrix_layer_stats;

typedef struct tamis_imatrix_stats {
    tamis_imatrix_tensor_stats *tensors; /* by kind, then total descending */
    uint64_t n_tensors, n_empty;         /* n_empty: entries without data, not among them */
    tamis_imatrix_layer_stats *layers;   /* ascending, those with data only */
    uint64_t n_layers;
} tamis_imatrix_stats;

/* Compute into *out; release with tamis_imatrix_stats_release(). The matrix must outlive it.
 * Only memory can fail. */
tamis_status tamis_imatrix_stats_make(const tamis_imatrix *m, tamis_imatrix_stats *out,
                                      tamis_error *err) TAMIS_MUST_USE;
void tamis_imatrix_stats_release(tamis_imatrix_stats *stats);

/* The N of a name "blk.N.rest" and where rest begins; -1 and the whole name for others. */
int64_t tamis_imatrix_layer_of(const char *name, const char **rest);

/* True when an entry before entries[i] (sorted by name) is of the same layer and has the same
 * counts per expert: gate, up and down of one layer share them. */
bool tamis_imatrix_repeats_counts(const tamis_imatrix *m, uint64_t i);

/* Experts that saw fewer than n_tokens tokens, once per layer where its weights have the same
 * counts. Calls `found` for each (weight, expert) and returns how many there are. Entries must be
 * sorted by name. Entries with a single count (dense ones, and all of a legacy file) say nothing
 * of experts. */
typedef void tamis_imatrix_found_fn(void *ctx, const char *name, int64_t expert, int64_t n_tokens);
int64_t tamis_imatrix_rare_experts(const tamis_imatrix *m, int64_t n_tokens,
                                   tamis_imatrix_found_fn *found, void *ctx);

#endif
