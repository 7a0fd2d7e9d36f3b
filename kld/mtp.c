/* mtp.c - see mtp.h. The statistics are those of any comparison (stats.h), over fewer rows; the
 * drafts need no further logits. Bound: the matrix products of the heads. */
#include "kld/mtp.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "kld/compare.h"
#include "kld/logits.h"

/* Row of the model's own head whose most probable token a draft of row i is held against: the
 * position that n_ahead - 1 tokens later predicts the same token. */
static int64_t row_of_own(const tamis_kld_plan *own, const tamis_kld_plan *block, int64_t i) {
    return i / block->n_per_chunk * own->n_per_chunk + i % block->n_per_chunk + block->n_ahead - 1;
}

/* Mean of n values of 0 and 1, or differences of them, in percent with its standard error. */
static tamis_kld_stat share(double sum, double sum2, int64_t n) {
    const double mean = sum / (double)n, variance = sum2 / (double)n - mean * mean;
    tamis_kld_stat s = {.value = 100 * mean};
    if (n > 1 && variance > 0) s.error = 100 * sqrt(variance / (double)(n - 1));
    return s;
}

/* Acceptances of two models (of one: twice the same) and their difference. */
static void count(const tamis_kld_mtp_job *job, const tamis_kld_plan *block, const int32_t *draft_p,
                  const int32_t *draft_q, tamis_kld_stat *p, tamis_kld_stat *q,
                  tamis_kld_stat *difference) {
    int64_t n_p = 0, n_q = 0, n_differ = 0;
    for (int64_t i = 0; i < block->n_rows; ++i) {
        const int64_t own = row_of_own(job->plan, block, i);
        const bool in_p = draft_p[i] == job->top_p[own], in_q = draft_q[i] == job->top_q[own];
        n_p += in_p;
        n_q += in_q;
        n_differ += in_p != in_q;
    }
    *p = share((double)n_p, (double)n_p, block->n_rows);
    *q = share((double)n_q, (double)n_q, block->n_rows);
    *difference = share((double)(n_q - n_p), (double)n_differ, block->n_rows);
}

tamis_status tamis_kld_mtp_compare(const tamis_kld_mtp_job *job, const tamis_kld_side *p,
                                   const tamis_kld_side *q, tamis_kld_mtp *out, tamis_error *err) {
    tamis_kld_logits *logits_p = NULL, *logits_q = NULL;
    tamis_kld_rows rows = {0};
    tamis_kld_plan block;
    int32_t *targets = NULL;
    *out = (tamis_kld_mtp){0};
    tamis_status st = tamis_kld_plan_mtp(job->plan, job->i_block, &block, err);
    if (st) goto out;
    st = TAMIS_NO_RESOURCE;
    targets = tamis_kld_plan_targets(&block, err);
    if (!targets) goto out;
    st = tamis_kld_logits_of_head(p->head, p->hidden, NULL, block.n_rows, job->machine, job->name_p,
                                  &logits_p, err);
    if (st) goto out;
    st = tamis_kld_logits_of_head(q->head, q->hidden, NULL, block.n_rows, job->machine, job->name_q,
                                  &logits_q, err);
    if (st) goto out;
    st = tamis_kld_rows_init(&rows, block.n_rows, err);
    if (st) goto out;
    st = tamis_kld_compare(logits_p, logits_q, targets, block.n_rows, job->machine, &rows, err);
    if (st) goto out;
    st = tamis_kld_stats_of(&rows, &out->stats, err);
    if (st) goto out;
    out->parent.perplexity = tamis_perplexity_of(rows.nll_p, rows.n);
    out->quant.perplexity = tamis_perplexity_of(rows.nll_q, rows.n);
    count(job, &block, rows.top_p, rows.top_q, &out->parent.acceptance, &out->quant.acceptance,
          &out->difference);
out:
    tamis_kld_logits_free(logits_p);
    tamis_kld_logits_free(logits_q);
    tamis_kld_rows_release(&rows);
    free(targets);
    return st;
}

tamis_status tamis_kld_mtp_alone(const tamis_kld_mtp_job *job, const tamis_kld_side *p,
                                 tamis_kld_drafts *out, tamis_error *err) {
    const tamis_kld_machine *machine = job->machine;
    tamis_kld_mtp_job same = *job;
    tamis_kld_stat difference;
    tamis_kld_plan block;
    int32_t *targets = NULL, *drafts = NULL;
    double *nll = NULL;
    *out = (tamis_kld_drafts){0};
    tamis_status st = tamis_kld_plan_mtp(job->plan, job->i_block, &block, err);
    if (st) goto out;
    st = TAMIS_NO_RESOURCE;
    targets = tamis_kld_plan_targets(&block, err);
    if (!targets) goto out;
    drafts = tamis_alloc_array((uint64_t)block.n_rows, sizeof *drafts, err);
    if (!drafts) goto out;
    nll = tamis_alloc_array((uint64_t)block.n_rows, sizeof *nll, err);
    if (!nll) goto out;
    st = tamis_nll(p->head, machine->gemm, machine->pool, p->hidden, block.n_rows, targets, nll,
                   drafts, NULL, err);
    if (st) goto out;
    out->perplexity = tamis_perplexity_of(nll, block.n_rows);
    same.top_q = job->top_p;
    count(&same, &block, drafts, drafts, &out->acceptance, &out->acceptance, &difference);
out:
    free(targets);
    free(drafts);
    free(nll);
    return st;
}
