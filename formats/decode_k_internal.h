/* decode_k_internal.h - bodies: the K formats q2_K .. q6_K and iq4_xs, 256 elements in
 * sub-blocks of 16 or 32 with small integer scales. Compiled per CPU level, see
 * decode_internal.h. Layouts: reference/tensor-types.md section 4. The unit of work
 * is 16 elements with one scale and one shift. y = scale*q - min is written as
 * scale*q + (-min), which is the same number. */
#ifndef TAMIS_FORMATS_DECODE_K_INTERNAL_H
#define TAMIS_FORMATS_DECODE_K_INTERNAL_H

#include "formats/block_internal.h"
#include "formats/codebooks.h"

static inline void q2_K_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b + 80), dmin = read_f16(b + 82);
    for (int g = 0; g < 16; g++) {
        u8x16 qs = load_16(b + 16 + 32 * (g / 8) + 16 * (g % 2));
        float scale = d * (float)(b[g] & 15);
        float min = dmin * (float)(b[g] >> 4);
        put_affine((i8x16)bits_of(qs, 2 * ((g % 8) / 2), 3), scale, -min, y + 16 * g);
    }
}

/* Sixteen 6-bit scales: low nibbles in bytes 0..7, high bits in bytes 8..11. */
static inline int q3_K_scale(const uint8_t *scales, int g) {
    int low = nibble(scales[g % 8], g / 8);
    int high = (scales[8 + g % 4] >> (2 * (g / 4))) & 3;
    return (low | high << 4) - 32;
}

static inline void q3_K_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b + 108);
    for (int g = 0; g < 16; g++) {
        u8x16 hmask = load_16(b + 16 * (g % 2));
        u8x16 qs = load_16(b + 32 + 32 * (g / 8) + 16 * (g % 2));
        u8x16 low = bits_of(qs, 2 * ((g % 8) / 2), 3);
        u8x16 high = bits_of(hmask, g / 2, 1) << 2;
        put_scaled((i8x16)((low | high) - 4), d * (float)q3_K_scale(b + 96, g), y + 16 * g);
    }
}

/* Six-bit scale and min of sub-block s from the 12 bytes k of q4_K and q5_K. */
static inline void q4_K_scale_min(const uint8_t *k, int s, int *scale, int *min) {
    if (s < 4) {
        *scale = k[s] & 63;
        *min = k[s + 4] & 63;
    } else {
        *scale = (k[s + 4] & 15) | (k[s - 4] >> 6) << 4;
        *min = (k[s + 4] >> 4) | (k[s] >> 6) << 4;
    }
}

static inline void q4_K_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b), dmin = read_f16(b + 2);
    for (int s = 0; s < 8; s++) {
        int scale, min;
        q4_K_scale_min(b + 4, s, &scale, &min);
        float ds = d * (float)scale, dm = dmin * (float)min;
        for (int half = 0; half < 2; half++) {
            u8x16 qs = load_16(b + 16 + 32 * (s / 2) + 16 * half);
            put_affine((i8x16)bits_of(qs, 4 * (s % 2), 15), ds, -dm, y + 32 * s + 16 * half);
        }
    }
}

static inline void q5_K_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b), dmin = read_f16(b + 2);
    for (int s = 0; s < 8; s++) {
        int scale, min;
        q4_K_scale_min(b + 4, s, &scale, &min);
        float ds = d * (float)scale, dm = dmin * (float)min;
        for (int half = 0; half < 2; half++) {
            u8x16 qs = load_16(b + 48 + 32 * (s / 2) + 16 * half);
            u8x16 high = bits_of(load_16(b + 16 + 16 * half), s, 1) << 4;
            u8x16 q = bits_of(qs, 4 * (s % 2), 15) | high;
            put_affine((i8x16)q, ds, -dm, y + 32 * s + 16 * half);
        }
    }
}

static inline void q6_K_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b + 208);
    for (int g = 0; g < 16; g++) {
        int n = g / 8, j = (g % 8) / 2;
        u8x16 ql = load_16(b + 64 * n + 32 * (j % 2) + 16 * (g % 2));
        u8x16 qh = load_16(b + 128 + 32 * n + 16 * (g % 2));
        u8x16 q = bits_of(ql, 4 * (j / 2), 15) | bits_of(qh, 2 * j, 3) << 4;
        put_scaled((i8x16)(q - 32), d * (float)(int8_t)b[192 + g], y + 16 * g);
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
