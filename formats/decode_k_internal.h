/* decode_k_internal.h - bodies: the K formats q2_K .. q6_K and iq4_xs, 256 elements in
 * sub-blocks of 16 or 32 with small integer scales. Compiled per CPU level, see
 * decode_internal.h. Layouts: reference/tensor-types.md section 4. The unit of work
 * is 32 elements with one shift. y = scale*q - min is written as
 * scale*q + (-min), which is the same number. */
#ifndef TAMIS_FORMATS_DECODE_K_INTERNAL_H
#define TAMIS_FORMATS_DECODE_K_INTERNAL_H

#include "formats/block_internal.h"
#include "formats/codebooks.h"

/* Scales (and minima, negated) of a block come first, all at once. */
static inline void q2_K_block(const uint8_t *restrict b, float *restrict y) {
    float scales[16], minima[16];
    put_scaled((i8x16)bits_of(load_16(b), 0, 15), read_f16(b + 80), scales);
    put_scaled((i8x16)bits_of(load_16(b), 4, 15), -read_f16(b + 82), minima);
    for (int i = 0; i < 64; i += WIDE) {
        u8xw qs = load_wide(b + 16 + i);
        for (int j = 0; j < 4; j++) {
            int e = 128 * (i / 32) + 32 * j + i % 32;
            put_affine_wide(bits_of_wide(qs, 2 * j, 3), scales + e / 16, minima + e / 16, y + e);
        }
    }
}

/* Sixteen 6-bit scales: low nibbles in bytes 0..7, high bits in bytes 8..11. */
static inline i8x16 q3_K_scales(const uint8_t *k) {
    uint64_t nibbles = bytes_8(k);
    uint32_t pairs = bytes_4(k + 8);
    u64x2 low = {nibbles, nibbles >> 4};
    u32x4 high = {pairs << 4, pairs << 2, pairs, pairs >> 2};
    u8x16 scales = ((u8x16)low & 15) | ((u8x16)high & 48);
    return (i8x16)(scales - 32);
}

static inline void q3_K_block(const uint8_t *restrict b, float *restrict y) {
    float scales[16];
    put_scaled(q3_K_scales(b + 96), read_f16(b + 108), scales);
    for (int i = 0; i < 64; i += WIDE) {
        u8xw hmask = load_wide(b + i % 32), qs = load_wide(b + 32 + i);
        for (int j = 0; j < 4; j++) {
            int e = 128 * (i / 32) + 32 * j + i % 32;
            u8xw high = bits_of_wide(hmask, 4 * (i / 32) + j - 2, 4);
            put_scaled_wide((bits_of_wide(qs, 2 * j, 3) | high) - 4, scales + e / 16, y + e);
        }
    }
}

/* Of q4_K and q5_K, whose blocks begin alike: scales and minima, negated, each twice, for every 16
 * elements. From 12 bytes: six bits each of the first four of both in bytes 0..7, and above them
 * the top two of the others, whose low four are the nibbles of bytes 8..11. */
static inline void q4_K_scales(const uint8_t *restrict b, float *restrict scales,
                               float *restrict minima) {
    uint32_t first = bytes_4(b + 4), second = bytes_4(b + 8), third = bytes_4(b + 12);
    u32x4 v = {first & 0x3F3F3F3F, (third & 0x0F0F0F0F) | (first >> 2 & 0x30303030),
               second & 0x3F3F3F3F, (third >> 4 & 0x0F0F0F0F) | (second >> 2 & 0x30303030)};
    i8x16 each = (i8x16)v;
    put_scaled(__builtin_shufflevector(each, each, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
               read_f16(b), scales);
    put_scaled(__builtin_shufflevector(each, each, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14,
                                       14, 15, 15),
               -read_f16(b + 2), minima);
}

static inline void q4_K_block(const uint8_t *restrict b, float *restrict y) {
    float scales[16], minima[16];
    q4_K_scales(b, scales, minima);
    for (int i = 0; i < 128; i += WIDE) {
        u8xw qs = load_wide(b + 16 + i);
        for (int j = 0; j < 2; j++) {
            int e = 64 * (i / 32) + 32 * j + i % 32;
            put_affine_wide(bits_of_wide(qs, 4 * j, 15), scales + e / 16, minima + e / 16, y + e);
        }
    }
}

static inline void q5_K_block(const uint8_t *restrict b, float *restrict y) {
    float scales[16], minima[16];
    q4_K_scales(b, scales, minima);
    for (int i = 0; i < 128; i += WIDE) {
        u8xw qs = load_wide(b + 48 + i), qh = load_wide(b + 16 + i % 32);
        for (int j = 0; j < 2; j++) {
            int e = 64 * (i / 32) + 32 * j + i % 32;
            u8xw high = bits_of_wide(qh, 2 * (i / 32) + j - 4, 16);
            put_affine_wide(bits_of_wide(qs, 4 * j, 15) | high, scales + e / 16, minima + e / 16,
                            y + e);
        }
    }
}

static inline void q6_K_block(const uint8_t *restrict b, float *restrict y) {
    float scales[16];
    put_scaled((i8x16)load_16(b + 192), read_f16(b + 208), scales);
    for (int i = 0; i < 64; i += WIDE) {
        u8xw qh = load_wide(b + 128 + i);
        for (int j = 0; j < 4; j++) {
            int e = 128 * (i / 32) + 32 * j + i % 32;
            u8xw low = bits_of_wide(load_wide(b + e / 128 * 64 + e % 64), 4 * (j / 2), 15);
            u8xw high = bits_of_wide(qh, 2 * j - 4, 48);
            put_scaled_wide((low | high) - 32, scales + e / 16, y + e);
        }
    }
}

static inline void iq4_xs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    int scales_h = read_u16(b + 2);
    for (int s = 0; s < 8; s++) {
        int scale = nibble(b[4 + s / 2], s % 2) | ((scales_h >> (2 * s)) & 3) << 4;
        put_looked_up(b + 8 + 16 * s, d * (float)(scale - 32), tamis_iq4_nl_values, y + 32 * s);
    }
}

static void q2_K_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 84, q2_K_block);
}

static void q3_K_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 110, q3_K_block);
}

static void q4_K_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 144, q4_K_block);
}

static void q5_K_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 176, q5_K_block);
}

static void q6_K_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 210, q6_K_block);
}

static void iq4_xs_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 136, iq4_xs_block);
}

#endif
