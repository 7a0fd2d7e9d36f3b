/* gemm_openblas.c - the f32 engine on OpenBLAS, the reference for every other one.
 * OpenBLAS runs with one thread per call: the pool of gemm.c does the splitting, so that
 * sums never depend on how many threads there are. Bound: compute. */
#include "model/gemm_internal.h"

#include <cblas.h>

static void start(void) {
    openblas_set_num_threads(1);
}

static const char *kernels(void) {
    return openblas_get_corename();
}

static void abt(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                const float *b, int64_t ldb, float *c, int64_t ldc, int accumulate) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
                a, (blasint)lda, b, (blasint)ldb, accumulate ? 1.0f : 0.0f, c, (blasint)ldc);
}

static void ab(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
               int64_t ldb, float *c, int64_t ldc) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f,
                a, (blasint)lda, b, (blasint)ldb, 1.0f, c, (blasint)ldc);
}

static void atb(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                int64_t ldb, float *c, int64_t ldc) {
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f,
                a, (blasint)lda, b, (blasint)ldb, 1.0f, c, (blasint)ldc);
}

const tamis_gemm_engine tamis_gemm_openblas = {
    .name = "openblas",
    .start = start,
    .kernels = kernels,
    .abt = abt,
    .ab = ab,
    .atb = atb,
};
