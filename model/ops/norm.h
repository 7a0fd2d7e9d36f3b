/* norm.h - RMSNorm and L2 norm. */
#ifndef TAMIS_MODEL_OPS_NORM_H
#define TAMIS_MODEL_OPS_NORM_H

#include <stdint.h>

#include "base/threads.h"

/* y_i = x_i / sqrt(mean(x^2) + eps) * w_i over n elements; the sum in f64. y may be x;
 * w may be NULL for a plain norm. */
void tamis_rms_norm(const float *x, const float *w, int64_t n, float eps, float *y);

/* 1 / sqrt(mean(x^2) + eps): what a row is multiplied by beside the weight. */
float tamis_rms_scale(const float *x, int64_t n, float eps);

/* y_i = x_i / max(sqrt(sum(x^2)), eps) * scale over n elements; the sum in f64. y may be x. */
void tamis_l2_norm(const float *x, int64_t n, float eps, float scale, float *y);

/* RMSNorm for each of n_rows rows of n elements; row r is read from x + rows[r] * n, or
 * x + r * n when rows is NULL, and written to y + r * n. */
void tamis_rms_norm_rows(tamis_pool *pool, const float *x, const int32_t *rows, const float *w,
                         int64_t n_rows, int64_t n, float eps, float *y);

/* The same where the rows' scales are known: those of x [..][n], as tamis_rms_scales() made them
 * for n_rows rows into scales [n_rows]. */
void tamis_rms_scales(tamis_pool *pool, const float *x, int64_t n_rows, int64_t n, float eps,
                      float *scales);
void tamis_rms_norm_scaled_rows(tamis_pool *pool, const float *x, const float *scales,
                                const int32_t *rows, const float *w, int64_t n_rows, int64_t n,
                                float *y);

#endif
