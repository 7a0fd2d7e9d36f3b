/* perplexity.c - see perplexity.h.
 * For each tile of the vocabulary the head's rows are decoded once, then the logits of a block of
 * positions are made and added to the running sums of those positions. Bound: the matrix product.
 */
#include "model/perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "model/logit_sums.h"

typedef struct nll_work {
    const float *logits; /* [block rows][n_cols] */
    tamis_logit_sum *sums;
    int64_t first, n_cols;
} nll_work;

static void add_row(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    nll_work *w = ctx;
    tamis_logit_sum_add(&w->sums[i_item], w->logits + i_item * w->n_cols, w->first, w->n_cols);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static tamis_status add_tile(tamis_head *head, tamis_gemm *gemm, tamis_pool *pool, const float *h,
                             int64_t n_rows, int64_t first, int64_t n_cols, float *w, float *logits,
                             tamis_logit_sum *sums, tamis_progress *progress, tamis_error *err) {
    tamis_status st = tamis_head_decode(head, pool, first, n_cols, w, err);
    if (st) return st;
    for (int64_t row = 0; row < n_rows; row += TAMIS_LOGIT_BLOCK_ROWS) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        int64_t n = smaller(n_rows - row, TAMIS_LOGIT_BLOCK_ROWS);
        tamis_head_logits(head, gemm, pool, w, first, n_cols, h + row * tamis_head_n_embd(head), n,
                          logits);
        nll_work work = {.logits = logits, .sums = sums + row, .first = first, .n_cols = n_cols};
        tamis_pool_run(pool, n, add_row, &work);
        tamis_progress_advance(progress, (uint64_t)(n * n_cols));
    }
    return TAMIS_OK;
}

tamis_status tamis_nll(tamis_head *head, tamis_gemm *gemm, tamis_pool *pool, const float *h,
                       int64_t n_rows, const int32_t *targets, double *nll, int32_t *argmax,
                       tamis_progress *progress, tamis_error *err) {
    const int64_t n_vocab = tamis_head_n_vocab(head), n_embd = tamis_head_n_embd(head);
    const int64_t tile = smaller(n_vocab, TAMIS_LOGIT_TILE_COLS);
    tamis_status st = TAMIS_NO_RESOURCE;
    float *logits = NULL;
    tamis_logit_sum *sums = NULL;
    float *w = tamis_alloc_array((uint64_t)(tile * n_embd), sizeof *w, err);
    if (!w) goto out;
    logits = tamis_alloc_array((uint64_t)(tile * TAMIS_LOGIT_BLOCK_ROWS), sizeof *logits, err);
    if (!logits) goto out;
    sums = tamis_alloc_array((uint64_t)n_rows, sizeof *sums, err);
    if (!sums) goto out;
    for (int64_t i = 0; i < n_rows; ++i)
        tamis_logit_sum_init(&sums[i], targets[i]);

    for (int64_t first = 0; first < n_vocab; first += tile) {
        st = add_tile(head, gemm, pool, h, n_rows, first, smaller(n_vocab - first, tile), w, logits,
                      sums, progress, err);
        if (st) goto out;
    }
    for (int64_t i = 0; i < n_rows; ++i) {
        nll[i] = tamis_logit_sum_nll(&sums[i]);
        if (argmax) argmax[i] = sums[i].i_max;
        if (!isfinite(nll[i])) {
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "%s: logits of scored position %lld are not finite",
                            tamis_head_origin(head), (long long)i);
            goto out;
        }
    }
    st = TAMIS_OK;
out:
    free(sums);
    free(logits);
    free(w);
    return st;
}

tamis_perplexity tamis_perplexity_of(const double *nll, int64_t n) {
    double sum = 0, sum2 = 0;
    for (int64_t i = 0; i < n; ++i) {
        sum += nll[i];
        sum2 += nll[i] * nll[i];
    }
    return tamis_perplexity_of_sums(sum, sum2, n);
}

tamis_perplexity tamis_perplexity_of_sums(double sum, double sum2, int64_t n) {
    tamis_perplexity out = {.n = n, .mean = sum / (double)n};
    double variance = sum2 / (double)n - out.mean * out.mean;
    if (n > 1 && variance > 0) out.mean_error = sqrt(variance / (double)(n - 1));
    out.ppl = exp(out.mean);
    out.ppl_error = out.ppl * out.mean_error;
    return out;
}
