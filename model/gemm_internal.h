/* gemm_internal.h - what an engine is, for the files of this room.
 * An engine multiplies one tile in the calling thread; gemm.c cuts the work into tiles. */
#ifndef TAMIS_MODEL_GEMM_INTERNAL_H
#define TAMIS_MODEL_GEMM_INTERNAL_H

#include "model/gemm.h"

typedef struct tamis_gemm_engine {
    const char *name;
    void (*start)(void); /* before the first product; may be called again */
    const char *(*kernels)(void);
    /* c [m][n] (stride ldc) = alpha * a [m][k] * b [n][k]ᵀ, added to c when accumulate. */
    void (*abt)(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float *c, int64_t ldc, int accumulate);
    /* c [m][n] (stride ldc) += a [m][k] * b [k][n]. */
    void (*ab)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
               int64_t ldb, float *c, int64_t ldc);
    /* c [m][n] (stride ldc) += a [k][m]ᵀ * b [k][n]. */
    void (*atb)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                int64_t ldb, float *c, int64_t ldc);
} tamis_gemm_engine;

extern const tamis_gemm_engine tamis_gemm_openblas;

/* The engine of a handle, for operators that cut their own tiles. */
const tamis_gemm_engine *tamis_gemm_get_engine(const tamis_gemm *gemm);

#endif
