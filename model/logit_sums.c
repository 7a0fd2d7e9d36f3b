/* logit_sums.c - see logit_sums.h.
 * Each tile of a row is passed twice while it is in cache: once for its maximum, once for the sums.
 * The loops (logit_kernels.h) exist for several CPU levels with the same bits; the level is that of
 * the formats' kernels. Bound: the arithmetic of exp. */
#include "model/logit_sums.h"

#include <math.h>
#include <string.h>

#include "formats/formats.h"
#include "model/logit_kernels.h"

/* Stored log-probabilities of at most this count as 0 (reference/files.md section C.2). */
static const double STORED_CUT = -16.0;

static const tamis_logit_kernels KERNELS_PLAIN = {
    .cpu = "plain",
    .largest = logit_largest,
    .sum = logit_sum,
    .pair = logit_pair,
    .cut_pair = logit_cut_pair,
};

static const tamis_logit_kernels *kernels(void) {
#if defined(__x86_64__)
    const tamis_logit_kernels *const levels[] = {&tamis_logit_kernels_avx2,
                                                 &tamis_logit_kernels_avx512};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; ++i) {
        if (strcmp(levels[i]->cpu, tamis_formats_cpu()) == 0) return levels[i];
    }
#endif
    return &KERNELS_PLAIN;
}

double tamis_exp_nonpositive(double x) {
    logit_f64x8 v = {x, x, x, x, x, x, x, x};
    logit_exp(&v);
    return v[0];
}

/* Update maximum, its index and the target; returns the factor for sums over earlier tiles. */
static double take_max(tamis_logit_sum *s, const float *x, int64_t first, int64_t n) {
    int64_t i_target = (int64_t)s->i_target - first;
    if (i_target >= 0 && i_target < n) s->target = x[i_target];
    float max = kernels()->largest(x, n);
    if (!(max > s->max)) return 1.0;
    int64_t i = 0;
    while (i < n - 1 && x[i] < max)
        ++i; /* a NaN ends the search too; its sum will tell */
    double factor = tamis_exp_nonpositive((double)s->max - (double)max);
    s->max = max;
    s->i_max = (int32_t)(first + i);
    return factor;
}

void tamis_logit_sum_init(tamis_logit_sum *s, int32_t i_target) {
    *s = (tamis_logit_sum){.max = -INFINITY, .target = NAN, .i_max = -1, .i_target = i_target};
}

void tamis_logit_sum_add(tamis_logit_sum *s, const float *logits, int64_t first, int64_t n_cols) {
    s->sum *= take_max(s, logits, first, n_cols);
    s->sum += kernels()->sum(logits, n_cols, (double)s->max);
}

double tamis_logit_sum_nll(const tamis_logit_sum *s) {
    return ((double)s->max - (double)s->target) + log(s->sum);
}

void tamis_logit_pair_init(tamis_logit_pair *s, int32_t i_target) {
    tamis_logit_sum_init(&s->p, i_target);
    tamis_logit_sum_init(&s->q, i_target);
    s->cross = 0;
}

void tamis_logit_pair_add(tamis_logit_pair *s, const float *p, const float *q, int64_t first,
                          int64_t n_cols) {
    const double factor_p = take_max(&s->p, p, first, n_cols);
    s->p.sum *= factor_p;
    s->cross *= factor_p;
    s->q.sum *= take_max(&s->q, q, first, n_cols);
    double sums[3];
    kernels()->pair(p, q, n_cols, (double)s->p.max, (double)s->q.max, sums);
    s->p.sum += sums[0];
    s->q.sum += sums[1];
    s->cross += sums[2];
}

double tamis_logit_pair_kld(const tamis_logit_pair *s) {
    double lse_difference = ((double)s->p.max - (double)s->q.max) + (log(s->p.sum) - log(s->q.sum));
    return s->cross / s->p.sum - lse_difference;
}

void tamis_logit_pair_add_stored(tamis_logit_pair *s, const float *p, const float *q, int64_t first,
                                 int64_t n_cols) {
    take_max(&s->p, p, first, n_cols);
    s->q.sum *= take_max(&s->q, q, first, n_cols);
    double sums[3];
    kernels()->cut_pair(p, q, n_cols, STORED_CUT, (double)s->q.max, sums);
    s->p.sum += sums[0];
    s->q.sum += sums[1];
    s->cross += sums[2];
}

double tamis_logit_pair_kld_stored(const tamis_logit_pair *s) {
    return s->cross + s->p.sum * ((double)s->q.max + log(s->q.sum));
}
