/* glu.h - gated activations: what lies between the products of a feed-forward part.
 * Formulas: reference/architectures.md section 1. */
#ifndef TAMIS_MODEL_OPS_GLU_H
#define TAMIS_MODEL_OPS_GLU_H

#include <stdint.h>

#include "base/threads.h"

typedef enum tamis_activation {
    TAMIS_SWIGLU,     /* silu(gate) * up */
    TAMIS_GEGLU,      /* gelu(gate) * up, gelu in its tanh form */
    TAMIS_SWIGLU_OAI, /* g * sigmoid(1.702 g) * (u + 1), g = min(gate, 7), u = up within -7 .. 7 */
    TAMIS_N_ACTIVATIONS,
} tamis_activation;

/* y [n_rows][n] = the activation of gate and up, whose rows lie gate_stride and up_stride apart;
 * y may be gate when gate_stride is n. */
void tamis_glu_rows(tamis_pool *pool, tamis_activation activation, const float *gate,
                    int64_t gate_stride, const float *up, int64_t up_stride, int64_t n_rows,
                    int64_t n, float *y);

/* x [n_rows][n] *= sigmoid(gates [n_rows]), row by row. */
void tamis_sigmoid_gate_rows(tamis_pool *pool, const float *gates, int64_t n_rows, int64_t n,
                             float *x);

#endif
