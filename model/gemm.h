/* gemm.h - matrix products behind one interface, so that the engine can be chosen.
 * The work is cut into tiles of fixed size whose sums do not depend on the number of
 * threads; each tile is one single-threaded call of the engine. Bound: compute. */
#ifndef TAMIS_MODEL_GEMM_H
#define TAMIS_MODEL_GEMM_H

#include <stdint.h>

#include "base/error.h"
#include "base/threads.h"

typedef struct tamis_gemm tamis_gemm;

/* engine: NULL for the default, or "openblas" (f32, the reference). TAMIS_BAD_USAGE for an
 * unknown name, listing those there are. Free with tamis_gemm_free(). */
tamis_status tamis_gemm_new(const char *engine, tamis_gemm **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_gemm_free(tamis_gemm *gemm);
const char *tamis_gemm_name(const tamis_gemm *gemm);
/* Which of its kernels the engine picked for this CPU ("Haswell"); other ones may round
 * differently. */
const char *tamis_gemm_kernels(const tamis_gemm *gemm);

/* y[r][o] = sum_i x[r][i] * w[o][i], for n_rows rows of x (stride x_stride floats), n_out rows of
 * w (stride n_in), y rows at stride y_stride. accumulate: added to what y holds. */
void tamis_gemm_xwt(tamis_gemm *gemm, tamis_pool *pool, int64_t n_rows, int64_t n_out, int64_t n_in,
                    const float *x, int64_t x_stride, const float *w, float *y, int64_t y_stride,
                    int accumulate);

#endif
