/* logit_sums.c - see logit_sums.h.
 * Each tile of a row is passed twice while it is in cache: once for its maximum, once for the sums.
 * Sums run in eight independent lanes that are added in a fixed order, which compilers turn into
 * vector code without changing a bit. Bound: the arithmetic of exp. */
#include "model/logit_sums.h"

#include <math.h>
#include <string.h>

enum { LANES = 8, BATCH = 256 };

/* 2^k * p(r) with x = k ln 2 + r, |r| <= ln 2 / 2, p the Taylor polynomial of degree 13 (remainder
 * below 5e-18). Branch-free, so that loops over it vectorize. Adding 1.5 * 2^52 rounds to an
 * integer and leaves it in the low bits. */
static inline double exp_nonpositive(double x) {
    const double shift = 6755399441055744.0;
    const double ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
    x = x < -708.0 ? -708.0 : x;
    double t = x * 1.4426950408889634 + shift;
    double k = t - shift;
    double r = (x - k * ln2_high) - k * ln2_low;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits << 52) + ((uint64_t)1023 << 52);
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

double tamis_exp_nonpositive(double x) {
    return exp_nonpositive(x);
}

/* e[i] = exp(x[i] - max), in a loop of its own because that is what vectorizes. */
static void exp_batch(const float *x, int64_t n, double max, double *e) {
    for (int64_t i = 0; i < n; ++i) e[i] = exp_nonpositive((double)x[i] - max);
}

/* Sum of x[0..n) in lanes: element i goes to lane i % 8, lanes are added pairwise. */
static double sum_lanes(const double *x, int64_t n) {
    double lanes[LANES] = { 0 };
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; ++j) lanes[j] += x[i + j];
    }
    for (int j = 0; i < n; ++i, ++j) lanes[j] += x[i];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static float largest(const float *x, int64_t n) {
    float lanes[LANES];
    for (int j = 0; j < LANES; ++j) lanes[j] = -INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    }
    for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
    for (int j = 1; j < LANES; ++j) lanes[0] = lanes[j] > lanes[0] ? lanes[j] : lanes[0];
    return lanes[0];
}

/* Update maximum, its index and the target; returns the factor for sums over earlier tiles. */
static double take_max(tamis_logit_sum *s, const float *x, int64_t first, int64_t n) {
    int64_t i_target = (int64_t)s->i_target - first;
    if (i_target >= 0 && i_target < n) s->target = x[i_target];
    float max = largest(x, n);
    if (!(max > s->max)) return 1.0;
    int64_t i = 0;
    while (i < n - 1 && x[i] < max) ++i; /* a NaN ends the search too; its sum will tell */
    double factor = exp_nonpositive((double)s->max - (double)max);
    s->max = max;
    s->i_max = (int32_t)(first + i);
    return factor;
}

void tamis_logit_sum_init(tamis_logit_sum *s, int32_t i_target) {
    *s = (tamis_logit_sum){ .max = -INFINITY, .target = NAN, .i_max = -1, .i_target = i_target };
}

void tamis_logit_sum_add(tamis_logit_sum *s, const float *logits, int64_t first, int64_t n_cols) {
    double e[BATCH];
    s->sum *= take_max(s, logits, first, n_cols);
    for (int64_t i = 0; i < n_cols; i += BATCH) {
        const int64_t n = n_cols - i < BATCH ? n_cols - i : BATCH;
        exp_batch(logits + i, n, (double)s->max, e);
        s->sum += sum_lanes(e, n);
    }
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
    double ep[BATCH], eq[BATCH];
    const double factor_p = take_max(&s->p, p, first, n_cols);
    s->p.sum *= factor_p;
    s->cross *= factor_p;
    s->q.sum *= take_max(&s->q, q, first, n_cols);
    for (int64_t i = 0; i < n_cols; i += BATCH) {
        const int64_t n = n_cols - i < BATCH ? n_cols - i : BATCH;
        exp_batch(p + i, n, (double)s->p.max, ep);
        exp_batch(q + i, n, (double)s->q.max, eq);
        s->p.sum += sum_lanes(ep, n);
        s->q.sum += sum_lanes(eq, n);
        for (int64_t k = 0; k < n; ++k) ep[k] *= (double)p[i + k] - (double)q[i + k];
        s->cross += sum_lanes(ep, n);
    }
}

double tamis_logit_pair_kld(const tamis_logit_pair *s) {
    double lse_difference =
        ((double)s->p.max - (double)s->q.max) + (log(s->p.sum) - log(s->q.sum));
    return s->cross / s->p.sum - lse_difference;
}
