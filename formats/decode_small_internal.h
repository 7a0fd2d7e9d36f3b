/* decode_small_internal.h - bodies: one to two bits with one scale (q1_0, q2_0, tq1_0,
 * tq2_0) and the 4-bit floats (mxfp4, nvfp4). Compiled per CPU level, see
 * decode_internal.h. Layouts: reference/tensor-types.md section 3. */
#ifndef TAMIS_FORMATS_DECODE_SMALL_INTERNAL_H
#define TAMIS_FORMATS_DECODE_SMALL_INTERNAL_H

#include "formats/block_internal.h"
#include "formats/codebooks.h"

static inline void q1_0_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 8; i++) {
        u8x16 is_plus = mask_from_bits(read_u16(b + 2 + 2 * i));
        put_scaled((i8x16)((is_plus & 2) - 1), d, y + 16 * i);
    }
}

static inline void q2_0_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        for (int t = 0; t < 4; t++) {
            y[4 * i + t] = (float)(((b[2 + i] >> (2 * t)) & 3) - 1) * d;
        }
    }
}

static inline void tq2_0_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b + 64);
    for (int s = 0; s < 8; s++) {
        const uint8_t *qs = b + 32 * (s / 4);
        for (int l = 0; l < 32; l++) {
            y[32 * s + l] = (float)(((qs[l] >> (2 * (s % 4))) & 3) - 1) * d;
        }
    }
}

/* Digit k of n bytes holding base-3 fractions; power = 3^k. */
static inline void put_ternary(const uint8_t *restrict b, int n, int power, float d,
                               float *restrict y) {
    for (int i = 0; i < n; i++) {
        int t = (b[i] * power) & 255;
        y[i] = (float)(((3 * t) >> 8) - 1) * d;
    }
}

static inline void tq1_0_block(const uint8_t *restrict b, float *restrict y) {
    static const int powers[5] = {1, 3, 9, 27, 81};
    float d = read_f16(b + 52);
    for (int k = 0; k < 5; k++)
        put_ternary(b, 32, powers[k], d, y + 32 * k);
    for (int k = 0; k < 5; k++)
        put_ternary(b + 32, 16, powers[k], d, y + 160 + 16 * k);
    for (int k = 0; k < 4; k++)
        put_ternary(b + 48, 4, powers[k], d, y + 240 + 4 * k);
}

/* 2^(ex - 128): half the E8M0 scale, because the table holds doubled values. The first two
 * are float32 subnormals. */
static inline float e8m0_half(uint8_t ex) {
    return tamis_f32_from_bits(ex < 2 ? 0x00200000u << ex : (uint32_t)(ex - 1) << 23);
}

static inline void mxfp4_block(const uint8_t *restrict b, float *restrict y) {
    put_looked_up(b + 1, e8m0_half(b[0]), tamis_fp4_values, y);
}

/* Half the unsigned E4M3 value, again for the doubled table. */
static inline float ue4m3_half(uint8_t x) {
    if (x == 0x7F) return 0.0f;
    int exponent = (x >> 3) & 15, mantissa = x & 7;
    /* Normal: (8 + M) * 2^(E - 11); subnormal: M * 2^-10. Both exact. */
    if (exponent == 0) return (float)mantissa * 0x1p-10f;
    return (float)(8 + mantissa) * tamis_f32_from_bits((uint32_t)(exponent - 11 + 127) << 23);
}

static inline void nvfp4_block(const uint8_t *restrict b, float *restrict y) {
    /* Bytes of two groups are read at once; the low eight belong to the first of them. */
    for (int s = 0; s < 4; s += 2) {
        u64x2 qs = (u64x2)load_16(b + 4 + 8 * s);
        u64x2 first = {qs[0], qs[0] >> 4}, second = {qs[1], qs[1] >> 4};
        put_scaled(look_up(tamis_fp4_values, (u8x16)first & 15), ue4m3_half(b[s]), y + 16 * s);
        put_scaled(look_up(tamis_fp4_values, (u8x16)second & 15), ue4m3_half(b[s + 1]),
                   y + 16 * s + 16);
    }
}

static void q1_0_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 128, 18, q1_0_block);
}

static void q2_0_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 64, 18, q2_0_block);
}

static void tq2_0_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 66, tq2_0_block);
}

static void tq1_0_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 54, tq1_0_block);
}

static void mxfp4_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 32, 17, mxfp4_block);
}

static void nvfp4_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 64, 36, nvfp4_block);
}

#endif
