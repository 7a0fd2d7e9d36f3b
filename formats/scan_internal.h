/* scan_internal.h - bodies: looking over a row once. Compiled per CPU level (scan.c,
 * x86/scan_avx2.c, x86/scan_avx512.c); sums run in sixteen lanes in a fixed order, so every level
 * gives the same bits. Memory bound. */
#ifndef TAMIS_FORMATS_SCAN_INTERNAL_H
#define TAMIS_FORMATS_SCAN_INTERNAL_H

#include "formats/float16.h"
#include "formats/formats.h"

typedef struct tamis_scans {
    /* Index of the first value whose magnitude is above `largest` or that is NaN; n when there is
     * none. */
    int64_t (*find_above)(const float *x, int64_t n, float largest);
    void (*add_row_error)(const float *x, const float *y, int64_t n, tamis_row_error *sums);
} tamis_scans;

extern const tamis_scans tamis_scans_plain, tamis_scans_avx2, tamis_scans_avx512;

/* The bits of a magnitude grow with it, and NaN lies above all: whole-number comparisons. */
static int64_t find_above(const float *x, int64_t n, float largest) {
    enum { CHUNK = 1024 };
    const int32_t limit = (int32_t)tamis_f32_bits(largest);
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t end = n - at < CHUNK ? n : at + CHUNK;
        int32_t is_any = 0;
        for (int64_t i = at; i < end; i++) {
            is_any |= (int32_t)(tamis_f32_bits(x[i]) & 0x7FFFFFFFu) > limit;
        }
        for (int64_t i = at; is_any && i < end; i++) {
            if ((int32_t)(tamis_f32_bits(x[i]) & 0x7FFFFFFFu) > limit) return i;
        }
    }
    return n;
}

/* In f64, for what f32 cannot square. */
static void add_exactly(const float *x, const float *y, int64_t n, tamis_row_error *sums) {
    for (int64_t i = 0; i < n; i++) {
        double a = (double)x[i], b = (double)y[i];
        sums->error += (a - b) * (a - b);
        sums->norm += a * a;
        sums->decoded += b * b;
    }
}

typedef float f32x16 __attribute__((vector_size(64)));
typedef float f32x16_in_memory __attribute__((vector_size(64), aligned(4), may_alias));

/* By halves, so that no sum waits for all the ones before it. */
static inline double sum_of_lanes(const f32x16 *a) {
    double sums[16];
    for (int i = 0; i < 16; i++)
        sums[i] = (double)(*a)[i];
    for (int n = 8; n > 0; n /= 2) {
        for (int i = 0; i < n; i++)
            sums[i] += sums[i + n];
    }
    return sums[0];
}

/* Chunks in lanes of f32, in a fixed order, and their sums in f64. */
static void add_row_error(const float *x, const float *y, int64_t n, tamis_row_error *sums) {
    enum { CHUNK = 256 };
    for (; n >= CHUNK; n -= CHUNK, x += CHUNK, y += CHUNK) {
        f32x16 error = {0}, norm = {0}, decoded = {0};
        for (int i = 0; i < CHUNK; i += 32) { /* pairs halve the chains of sums */
            f32x16 a = *(const f32x16_in_memory *)(x + i), b = *(const f32x16_in_memory *)(y + i);
            f32x16 p = *(const f32x16_in_memory *)(x + i + 16);
            f32x16 q = *(const f32x16_in_memory *)(y + i + 16);
            f32x16 d = a - b, e = p - q;
            error += d * d + e * e;
            norm += a * a + p * p;
            decoded += b * b + q * q;
        }
        double e = sum_of_lanes(&error), a = sum_of_lanes(&norm), b = sum_of_lanes(&decoded);
        if (a > 1e-20 && a < 1e30 && e < 1e30 && b < 1e30) {
            sums->error += e;
            sums->norm += a;
            sums->decoded += b;
        } else {
            add_exactly(x, y, CHUNK, sums);
        }
    }
    add_exactly(x, y, n, sums);
}

#endif
