/* encode_fixed_internal.h - encoders without a choice, whose bytes the format fixes: f32, f16, bf16
 * and q8_0 (reference/tensor-types.md sections 3 and 5). Included once per CPU level by a file that
 * defines TAMIS_LANES. Memory bound. */
#ifndef TAMIS_FORMATS_ENCODE_FIXED_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_FIXED_INTERNAL_H

#include <string.h>

#include "formats/encode_internal.h"
#include "formats/encode_lanes_internal.h"
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
    int64_t i = 0;
#ifdef __F16C__
    for (; i + 8 <= n_elems; i += 8) {
        __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
        memcpy(blocks + 2 * i, &h, sizeof h);
    }
#endif
    for (; i < n_elems; i++) {
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

/* Rounding to the nearest integer, half away from zero, for |t| < 2^22. */
INLINE vf round_half_away(vf t) {
    vf even = v_round(t), rest = t - even, zero = v_set(0.0f);
    vf up = (vf)((vi)v_set(1.0f) & (rest == v_set(0.5f)) & (t > zero));
    vf down = (vf)((vi)v_set(1.0f) & (rest == v_set(-0.5f)) & (t < zero));
    return even + up - down;
}

/* The largest magnitude of a block. */
INLINE float block_top(const float *x) {
    vf top = v_set(0.0f);
    for (int e = 0; e < 32; e += TAMIS_LANES) {
        top = v_max(top, v_abs(v_load_unaligned(x + e)));
    }
    for (int step = TAMIS_LANES / 2; step > 0; step /= 2) {
        top = v_max(top, v_across(top, step));
    }
    return top[0];
}

/* d = amax / 127, codes rounded with the unrounded d; all 0 where its inverse is no f32 (the stored
 * f16 is 0 long before): infinity as an integer is another one on every CPU. */
static void encode_q8_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    (void)importance;
    (void)effort;
    for (; n_elems > 0; n_elems -= 32, x += 32, blocks += 34) {
        float d = block_top(x) / 127.0f;
        vf id = v_set(d > 0x1p-128f ? 1.0f / d : 0.0f);
        put_f16(blocks, d);
        for (int e = 0; e < 32; e += TAMIS_LANES) {
            vf q = round_half_away(v_load_unaligned(x + e) * id);
            vb bytes = __builtin_convertvector(__builtin_convertvector(q, vi), vb);
            memcpy(blocks + 2 + e, &bytes, sizeof bytes);
        }
    }
}

#endif
