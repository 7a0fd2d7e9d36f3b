/* residual.h - element-wise steps between products, parallel over rows. */
#ifndef TAMIS_MODEL_OPS_RESIDUAL_H
#define TAMIS_MODEL_OPS_RESIDUAL_H

#include <stdint.h>

#include "base/threads.h"

/* x [n_rows][n] += y [n_rows][n]. */
void tamis_add_rows(tamis_pool *pool, const float *y, int64_t n_rows, int64_t n, float *x);

/* x [rows[r]][n] += weights[r] * y [r][n]; the rows are distinct. */
void tamis_scatter_rows(tamis_pool *pool, const float *y, const int32_t *rows, const float *weights,
                        int64_t n_rows, int64_t n, float *x);

/* gate [n_rows][n] = silu(gate) * up; `up` has row stride up_stride, gate gate_stride, and the
 * result goes to y [n_rows][n] (which may be gate when gate_stride is n). */
void tamis_swiglu_rows(tamis_pool *pool, const float *gate, int64_t gate_stride, const float *up,
                       int64_t up_stride, int64_t n_rows, int64_t n, float *y);

#endif
