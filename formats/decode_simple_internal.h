/* decode_simple_internal.h - bodies: floats and the formats with one scale per block
 * of 32 (q4_0 .. q8_1, iq4_nl) or of 256 (q8_K). Compiled per CPU level, see
 * decode_internal.h. Layouts: reference/tensor-types.md section 3. Memory bound. */
#ifndef TAMIS_FORMATS_DECODE_SIMPLE_INTERNAL_H
#define TAMIS_FORMATS_DECODE_SIMPLE_INTERNAL_H

#include "formats/block_internal.h"
#include "formats/codebooks.h"

static void f32_decode(const uint8_t *restrict b, float *restrict x, int64_t n_elems) {
    for (int64_t i = 0; i < n_elems; i++)
        x[i] = tamis_f32_from_bits(read_u32(b + 4 * i));
}

static void f64_decode(const uint8_t *restrict b, float *restrict x, int64_t n_elems) {
    for (int64_t i = 0; i < n_elems; i++) {
        uint64_t bits = read_u64(b + 8 * i);
        double v;
        memcpy(&v, &bits, sizeof v);
        x[i] = (float)v;
    }
}

static void bf16_decode(const uint8_t *restrict b, float *restrict x, int64_t n_elems) {
    for (int64_t i = 0; i < n_elems; i++)
        x[i] = tamis_bf16_to_f32(read_u16(b + 2 * i));
}

static void f16_decode(const uint8_t *restrict b, float *restrict x, int64_t n_elems) {
    int64_t i = 0;
#ifdef __AVX512F__
    for (; i + 16 <= n_elems; i += 16) {
        __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)(b + 2 * i));
        _mm512_storeu_ps(x + i, _mm512_cvtph_ps(h));
    }
#endif
#ifdef __F16C__
    for (; i + 8 <= n_elems; i += 8) {
        __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(b + 2 * i));
        _mm256_storeu_ps(x + i, _mm256_cvtph_ps(h));
    }
#endif
#ifdef TAMIS_NEON
    for (; i + 4 <= n_elems; i += 4)
        vst1q_f32(x + i, vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(b + 2 * i))));
#endif
    for (; i < n_elems; i++)
        x[i] = tamis_f16_to_f32(read_u16(b + 2 * i));
}

static inline void q4_0_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    u8x16 qs = load_16(b + 2);
    put_scaled((i8x16)(bits_of(qs, 0, 15) - 8), d, y);
    put_scaled((i8x16)(bits_of(qs, 4, 15) - 8), d, y + 16);
}

static inline void q4_1_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b), m = read_f16(b + 2);
    u8x16 qs = load_16(b + 4);
    put_affine((i8x16)bits_of(qs, 0, 15), d, m, y);
    put_affine((i8x16)bits_of(qs, 4, 15), d, m, y + 16);
}

/* The fifth bit of element e is bit e of qh. */
static inline void q5_0_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    uint32_t qh = read_u32(b + 2);
    u8x16 qs = load_16(b + 6);
    u8x16 lo = bits_of(qs, 0, 15) | (mask_from_bits(qh) & 16);
    u8x16 hi = bits_of(qs, 4, 15) | (mask_from_bits(qh >> 16) & 16);
    put_scaled((i8x16)(lo - 16), d, y);
    put_scaled((i8x16)(hi - 16), d, y + 16);
}

static inline void q5_1_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b), m = read_f16(b + 2);
    uint32_t qh = read_u32(b + 4);
    u8x16 qs = load_16(b + 8);
    u8x16 lo = bits_of(qs, 0, 15) | (mask_from_bits(qh) & 16);
    u8x16 hi = bits_of(qs, 4, 15) | (mask_from_bits(qh >> 16) & 16);
    put_affine((i8x16)lo, d, m, y);
    put_affine((i8x16)hi, d, m, y + 16);
}

static inline void q8_0_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 32; i++)
        y[i] = (float)(int8_t)b[2 + i] * d;
}

static inline void q8_1_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 32; i++)
        y[i] = (float)(int8_t)b[4 + i] * d;
}

static inline void q8_K_block(const uint8_t *restrict b, float *restrict y) {
    float d = tamis_f32_from_bits(read_u32(b));
    for (int i = 0; i < 256; i++)
        y[i] = d * (float)(int8_t)b[4 + i];
}

/* 32 elements whose codes index a table of 16 values: y = scale * V[q], low nibbles first. */
static inline void put_looked_up(const uint8_t *restrict qs, float scale, const int8_t *values,
                                 float *restrict y) {
    u8x16 codes = load_16(qs);
    put_scaled(look_up(values, bits_of(codes, 0, 15)), scale, y);
    put_scaled(look_up(values, bits_of(codes, 4, 15)), scale, y + 16);
}

static inline void iq4_nl_block(const uint8_t *restrict b, float *restrict y) {
    put_looked_up(b + 2, read_f16(b), tamis_iq4_nl_values, y);
}

static void q4_0_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 32, 18, q4_0_block);
}

static void q4_1_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 32, 20, q4_1_block);
}

static void q5_0_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 32, 22, q5_0_block);
}

static void q5_1_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 32, 24, q5_1_block);
}

static void q8_0_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 32, 34, q8_0_block);
}

static void q8_1_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 32, 36, q8_1_block);
}

static void q8_K_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 292, q8_K_block);
}

static void iq4_nl_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 32, 18, iq4_nl_block);
}

#endif
