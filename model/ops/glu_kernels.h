/* glu_kernels.h - the activations of gated rows, one body for every CPU level: plain arithmetic in
 * each element, so all levels give the same bits. Formulas: reference/architectures.md section 1.
 */
#ifndef TAMIS_MODEL_OPS_GLU_KERNELS_H
#define TAMIS_MODEL_OPS_GLU_KERNELS_H

#include "model/ops/exp.h"
#include "model/ops/glu.h"

/* y [n] = act(gate [n], up [n]); y may be gate. */
typedef void tamis_glu_fn(const float *gate, const float *restrict up, int64_t n, float *y);

typedef struct tamis_glu_kernels {
    const char *cpu;
    tamis_glu_fn *rows[TAMIS_N_ACTIVATIONS];
} tamis_glu_kernels;

extern const tamis_glu_kernels tamis_glu_kernels_avx2, tamis_glu_kernels_avx512;

#define TAMIS_GLU_ROWS                                                                             \
    { [TAMIS_SWIGLU] = swiglu_row, [TAMIS_GEGLU] = geglu_row, [TAMIS_SWIGLU_OAI] = swiglu_oai_row }

static inline void swiglu_row(const float *gate, const float *restrict up, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i++)
        y[i] = tamis_silu(gate[i]) * up[i];
}

/* x (1 + tanh(t)) / 2 is x / (1 + e^-2t), t = sqrt(2 / pi) (x + 0.044715 x^3). */
static inline void geglu_row(const float *gate, const float *restrict up, int64_t n, float *y) {
    const float two_root = 1.5957691216f, cubic = 0.044715f;
    for (int64_t i = 0; i < n; i++) {
        float x = gate[i], t = two_root * x * (1.0f + cubic * x * x);
        y[i] = x / (1.0f + tamis_exp(-t)) * up[i];
    }
}

static inline void swiglu_oai_row(const float *gate, const float *restrict up, int64_t n,
                                  float *y) {
    const float alpha = 1.702f, limit = 7.0f;
    for (int64_t i = 0; i < n; i++) {
        float g = gate[i] < limit ? gate[i] : limit;
        float u = up[i] < -limit ? -limit : up[i] < limit ? up[i] : limit;
        y[i] = g / (1.0f + tamis_exp(-alpha * g)) * (u + 1.0f);
    }
}

#endif
