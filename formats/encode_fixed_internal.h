/* encode_fixed_internal.h - encoders without a choice, whose bytes the format fixes: f32, f16, bf16
 * and q8_0 (reference/tensor-types.md sections 3 and 5). Plain loops that compilers vectorise.
 * Memory bound. */
#ifndef TAMIS_FORMATS_ENCODE_FIXED_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_FIXED_INTERNAL_H

#include "formats/encode_internal.h"
#include "formats/encode_put_internal.h"

static void encode_f32(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                       tamis_effort effort) {
    (void)importance;
    (void)effort;
    for (int64_t i = 0; i < n_elems; i++) {
        put_u32(blocks + 4 * i, tamis_f32_bits(x[i]));
    }
}

static void encode_f16(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                       tamis_effort effort) {
    (void)importance;
    (void)effort;
    for (int64_t i = 0; i < n_elems; i++) {
        put_f16(blocks + 2 * i, x[i]);
    }
}

static void encode_bf16(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    (void)importance;
    (void)effort;
    for (int64_t i = 0; i < n_elems; i++) {
        put_u16(blocks + 2 * i, tamis_f32_to_bf16(x[i]));
    }
}

/* Rounding half away from zero with d = amax / 127, as reference/tensor-types.md section 5
 * fixes it. */
static void encode_q8_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    (void)importance;
    (void)effort;
    for (; n_elems > 0; n_elems -= 32, x += 32, blocks += 34) {
        float top = 0.0f;
        for (int e = 0; e < 32; e++) {
            float magnitude = __builtin_fabsf(x[e]);
            top = magnitude > top ? magnitude : top;
        }
        float d = top / 127.0f;
        float id = d != 0.0f ? 1.0f / d : 0.0f;
        put_f16(blocks, d);
        for (int e = 0; e < 32; e++) {
            float t = x[e] * id;
            float even = (t + 12582912.0f) - 12582912.0f;
            float rest = t - even;
            even += rest == 0.5f && t > 0.0f ? 1.0f : 0.0f;
            even -= rest == -0.5f && t < 0.0f ? 1.0f : 0.0f;
            blocks[2 + e] = (uint8_t)(int8_t)(int)even;
        }
    }
}

#endif
