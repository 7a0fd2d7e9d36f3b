/* logit_kernels.h - the loops of logit_sums.c, written once in vector extensions and compiled once
 * per CPU level (logit_sums.c plain, x86/logit_sums_avx2.c, x86/logit_sums_avx512.c). Eight lanes
 * of f64 everywhere and no fused operations, so every level gives the same bits. */
#ifndef TAMIS_MODEL_LOGIT_KERNELS_H
#define TAMIS_MODEL_LOGIT_KERNELS_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct tamis_logit_kernels {
    const char *cpu;
    /* Largest of x[0..n), NaN left out; -inf for n = 0. */
    float (*largest)(const float *x, int64_t n);
    /* Sum of exp(x[i] - max). */
    double (*sum)(const float *x, int64_t n, double max);
    /* out[0..2]: sum of exp(p - max_p), of exp(q - max_q), of exp(p - max_p) * (p - q). */
    void (*pair)(const float *p, const float *q, int64_t n, double max_p, double max_q,
                 double out[3]);
    /* The same for log-probabilities p, without those of at most `cut`: sum of exp(p), of
     * exp(q - max_q), of exp(p) * (p - q). */
    void (*cut_pair)(const float *p, const float *q, int64_t n, double cut, double max_q,
                     double out[3]);
} tamis_logit_kernels;

extern const tamis_logit_kernels tamis_logit_kernels_avx2, tamis_logit_kernels_avx512;

enum { TAMIS_LOGIT_LANES = 8 };
typedef double logit_f64x8 __attribute__((vector_size(64)));
typedef float logit_f32x8 __attribute__((vector_size(32)));
typedef int64_t logit_i64x8 __attribute__((vector_size(64)));
typedef int32_t logit_i32x8 __attribute__((vector_size(32)));

/* 2^k * p(r) with x = k ln 2 + r, |r| <= ln 2 / 2, p the Taylor polynomial of degree 13 (remainder
 * below 5e-18). Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits. */
static inline void logit_exp(logit_f64x8 *value) {
    const double shift = 6755399441055744.0;
    const double ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
    logit_f64x8 x = *value;
    const logit_i64x8 is_tiny = x < -708.0;
    const logit_f64x8 tiny = {-708.0, -708.0, -708.0, -708.0, -708.0, -708.0, -708.0, -708.0};
    x = (logit_f64x8)((is_tiny & (logit_i64x8)tiny) | (~is_tiny & (logit_i64x8)x));
    const logit_f64x8 t = x * 1.4426950408889634 + shift;
    const logit_f64x8 k = t - shift;
    const logit_f64x8 r = (x - k * ln2_high) - k * ln2_low;
    logit_f64x8 p = 1.0 / 6227020800.0 * r + 1.0 / 479001600.0;
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
    const logit_i64x8 exponent = ((logit_i64x8)t << 52) + ((int64_t)1023 << 52);
    *value = p * (logit_f64x8)exponent;
}

/* Lanes in a fixed order. */
static inline double logit_add_lanes(const logit_f64x8 *v) {
    return (((*v)[0] + (*v)[4]) + ((*v)[2] + (*v)[6])) +
           (((*v)[1] + (*v)[5]) + ((*v)[3] + (*v)[7]));
}

/* The next up to eight logits. Missing ones become the lowest float, whose exp adds nothing that a
 * sum of at least 1 would show. */
static inline void logit_load(const float *x, int64_t n_left, logit_f64x8 *out) {
    logit_f32x8 v = {-FLT_MAX, -FLT_MAX, -FLT_MAX, -FLT_MAX,
                     -FLT_MAX, -FLT_MAX, -FLT_MAX, -FLT_MAX};
    if (n_left >= TAMIS_LOGIT_LANES) {
        memcpy(&v, x, sizeof v);
    } else {
        for (int j = 0; j < n_left; ++j)
            v[j] = x[j];
    }
    *out = __builtin_convertvector(v, logit_f64x8);
}

static inline float logit_largest(const float *x, int64_t n) {
    logit_f32x8 top = {-INFINITY, -INFINITY, -INFINITY, -INFINITY,
                       -INFINITY, -INFINITY, -INFINITY, -INFINITY};
    int64_t i = 0;
    for (; i + TAMIS_LOGIT_LANES <= n; i += TAMIS_LOGIT_LANES) {
        logit_f32x8 v;
        memcpy(&v, x + i, sizeof v);
        const logit_i32x8 is_more = v > top;
        top = (logit_f32x8)((is_more & (logit_i32x8)v) | (~is_more & (logit_i32x8)top));
    }
    float result = top[0];
    for (int j = 1; j < TAMIS_LOGIT_LANES; ++j)
        result = top[j] > result ? top[j] : result;
    for (; i < n; ++i)
        result = x[i] > result ? x[i] : result;
    return result;
}

static inline double logit_sum(const float *x, int64_t n, double max) {
    logit_f64x8 sum = {0}, e;
    for (int64_t i = 0; i < n; i += TAMIS_LOGIT_LANES) {
        logit_load(x + i, n - i, &e);
        e -= max;
        logit_exp(&e);
        sum += e;
    }
    return logit_add_lanes(&sum);
}

static inline void logit_pair(const float *p, const float *q, int64_t n, double max_p, double max_q,
                              double out[3]) {
    logit_f64x8 sum_p = {0}, sum_q = {0}, cross = {0}, ep, eq;
    for (int64_t i = 0; i < n; i += TAMIS_LOGIT_LANES) {
        logit_load(p + i, n - i, &ep);
        logit_load(q + i, n - i, &eq);
        const logit_f64x8 difference = ep - eq;
        ep -= max_p;
        eq -= max_q;
        logit_exp(&ep);
        logit_exp(&eq);
        sum_p += ep;
        sum_q += eq;
        cross += ep * difference;
    }
    out[0] = logit_add_lanes(&sum_p);
    out[1] = logit_add_lanes(&sum_q);
    out[2] = logit_add_lanes(&cross);
}

/* Most of a row lies below the cut: eight lanes that all do cost one exp instead of two. */
static inline void logit_cut_pair(const float *p, const float *q, int64_t n, double cut,
                                  double max_q, double out[3]) {
    logit_f64x8 sum_p = {0}, sum_q = {0}, cross = {0}, ep, eq;
    for (int64_t i = 0; i < n; i += TAMIS_LOGIT_LANES) {
        logit_load(p + i, n - i, &ep);
        logit_load(q + i, n - i, &eq);
        const logit_i64x8 is_kept = ep > cut;
        const logit_f64x8 difference = ep - eq;
        eq -= max_q;
        logit_exp(&eq);
        sum_q += eq;
        int64_t any = 0;
        for (int j = 0; j < TAMIS_LOGIT_LANES; ++j)
            any |= is_kept[j];
        if (!any) continue;
        logit_exp(&ep);
        sum_p += (logit_f64x8)(is_kept & (logit_i64x8)ep);
        cross += (logit_f64x8)(is_kept & (logit_i64x8)(ep * difference));
    }
    out[0] = logit_add_lanes(&sum_p);
    out[1] = logit_add_lanes(&sum_q);
    out[2] = logit_add_lanes(&cross);
}

#endif
