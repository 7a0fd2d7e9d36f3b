/* collect.h - the observer that makes an importance matrix: for every matrix product, the sum over
 * tokens of the square of each input column, and the number of tokens, per expert.
 * Definition: reference/files.md section A.1. Sums are kept in f64 and added in the order
 * of the tokens, so they do not depend on batches or threads. */
#ifndef TAMIS_IMATRIX_COLLECT_H
#define TAMIS_IMATRIX_COLLECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/threads.h"
#include "imatrix/imatrix_file.h"
#include "model/pass.h"

typedef struct tamis_collector tamis_collector;

/* Tokens of the run up to n_tokens_end, from the end of the text before, count `weight` times. */
typedef struct tamis_collector_text {
    int64_t n_tokens_end;
    double weight;
} tamis_collector_text;

/* New collector for a run of these texts (copied); with_output also collects the output head. pool
 * is borrowed. Free with tamis_collector_free(). */
tamis_status tamis_collector_new(const tamis_collector_text *texts, size_t n_texts,
                                 bool with_output, tamis_pool *pool, tamis_collector **out,
                                 tamis_error *err) TAMIS_MUST_USE;
void tamis_collector_free(tamis_collector *c);

/* The observer to give to tamis_pass_run(); borrows the collector. */
tamis_observer tamis_collector_observer(tamis_collector *c);

/* Append an entry per weight to *out. Both sums and counts are weighted sums over the texts; a
 * count that is no whole number then is rounded (half up, 1 at least) and its sums are scaled by
 * the same factor, so that sum / count, the weighted mean of the squares, stays what it is. A sum
 * beyond the range of f32 is TAMIS_BAD_INPUT naming the weight and column. */
tamis_status tamis_collector_finish(const tamis_collector *c, tamis_imatrix *out,
                                    tamis_error *err) TAMIS_MUST_USE;

#endif
