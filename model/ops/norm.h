/* norm.h - RMSNorm and L2 norm. */
#ifndef TAMIS_MODEL_OPS_NORM_H
#define TAMIS_MODEL_OPS_NORM_H

#include <stdint.h>

#include "base/threads.h"

/* y_i = x_i / sqrt(mean(x^2) + eps) * w_i over n elements; the sum in f64. y may be x;
 * w may be NULL for a plain norm. */
void tamis_rms_norm(const float *x, const float *w, int64_t n, float eps, float *y);

/* y_i = x_i / max(sqrt(sum(x^2)), eps) * scale over n elements; the sum in f64. y may be x. */
void tamis_l2_norm(const float *x, int64_t n, float eps, float scale, float *y);

/* RMSNorm for each of n_rows rows of n elements; row r is read from x + rows[r] * n, or
 * x + r * n when rows is NULL, and written to y + r * n. */
void tamis_rms_norm_rows(tamis_pool *pool, const float *x, const int32_t *rows, const float *w,
                         int64_t n_rows, int64_t n, float eps, float *y);

#endif
