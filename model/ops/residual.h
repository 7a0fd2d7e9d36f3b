/* residual.h - element-wise steps between products, parallel over rows. */
#ifndef TAMIS_MODEL_OPS_RESIDUAL_H
#define TAMIS_MODEL_OPS_RESIDUAL_H

#include <stdint.h>

#include "base/threads.h"

/* x [n_rows][n] += y [n_rows][n]. */
void tamis_add_rows(tamis_pool *pool, const float *y, int64_t n_rows, int64_t n, float *x);

/* x [n_rows][n] *= factor. */
void tamis_scale_rows(tamis_pool *pool, float factor, int64_t n_rows, int64_t n, float *x);

/* x [rows[r]][n] += weights[r] * y [r][n]; the rows are distinct. */
void tamis_scatter_rows(tamis_pool *pool, const float *y, const int32_t *rows, const float *weights,
                        int64_t n_rows, int64_t n, float *x);

#endif
