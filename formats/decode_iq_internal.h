/* decode_iq_internal.h - bodies: the grid formats iq1_* .. iq3_*, 256 elements whose
 * groups of four or eight are entries of a fixed grid. Compiled per CPU level, see
 * decode_internal.h. Layouts: reference/tensor-types.md sections 4 and 8.1; grids:
 * codebooks.h. s is the sub-block of 32 elements, g the group of eight inside it. */
#ifndef TAMIS_FORMATS_DECODE_IQ_INTERNAL_H
#define TAMIS_FORMATS_DECODE_IQ_INTERNAL_H

#include "formats/block_internal.h"
#include "formats/codebooks.h"

/* Negating is the last operation, so it is done on the sign bit alone. */
static inline float negate_if(float x, uint32_t bit) {
    return tamis_f32_from_bits(tamis_f32_bits(x) ^ (bit & 1u) << 31);
}

static inline void put_iq2(uint32_t entry, float scale, uint32_t signs, float *restrict y) {
    for (int t = 0; t < 8; t++) {
        float magnitude = (float)tamis_iq2_level((int)(entry >> (2 * t)) & 3);
        y[t] = negate_if(scale * magnitude, signs >> t);
    }
}

static inline void put_iq3_xxs(uint32_t entry, float scale, uint32_t signs, float *restrict y) {
    for (int t = 0; t < 4; t++) {
        float magnitude = (float)tamis_iq3_xxs_level((int)(entry >> (3 * t)) & 7);
        y[t] = negate_if(scale * magnitude, signs >> t);
    }
}

static inline void put_iq3_s(uint32_t entry, float scale, uint32_t signs, float *restrict y) {
    for (int t = 0; t < 4; t++) {
        float magnitude = (float)tamis_iq3_s_level((int)(entry >> (3 * t)) & 7);
        y[t] = negate_if(scale * magnitude, signs >> t);
    }
}

static inline void put_iq1(uint32_t entry, float scale, int is_minus, float *restrict y) {
    float delta = is_minus ? -0.125f : 0.125f;
    for (int t = 0; t < 8; t++) {
        y[t] = scale * ((float)tamis_iq1_level((int)(entry >> (2 * t)) & 3) + delta);
    }
}

static inline void iq2_xxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int s = 0; s < 8; s++) {
        const uint8_t *record = b + 2 + 8 * s;
        uint32_t w = read_u32(record + 4);
        float scale = (d * (0.5f + (float)(w >> 28))) * 0.25f;
        for (int g = 0; g < 4; g++) {
            put_iq2(tamis_iq2_xxs_grid[record[g]], scale, tamis_even_signs((w >> (7 * g)) & 127),
                    y + 32 * s + 8 * g);
        }
    }
}

/* Scale of group g of sub-block s in iq2_xs and iq2_s: one nibble per 16 elements. */
static inline float iq2_scale(float d, const uint8_t *scales, int s, int g) {
    return (d * (0.5f + (float)nibble(scales[s], g / 2))) * 0.25f;
}

static inline void iq2_xs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 32; i++) {
        uint32_t v = read_u16(b + 2 + 2 * i);
        put_iq2(tamis_iq2_xs_grid[v & 511], iq2_scale(d, b + 66, i / 4, i % 4),
                tamis_even_signs(v >> 9), y + 8 * i);
    }
}

static inline void iq2_s_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 32; i++) {
        int s = i / 4, g = i % 4;
        int index = b[2 + i] | ((b[66 + s] >> (2 * g)) & 3) << 8;
        put_iq2(tamis_iq2_s_grid[index], iq2_scale(d, b + 74, s, g), b[34 + i], y + 8 * i);
    }
}

static inline void iq3_xxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int s = 0; s < 8; s++) {
        const uint8_t *qs = b + 2 + 8 * s;
        uint32_t w = read_u32(b + 66 + 4 * s);
        float scale = (d * (0.5f + (float)(w >> 28))) * 0.5f;
        for (int g = 0; g < 4; g++) {
            uint32_t signs = tamis_even_signs((w >> (7 * g)) & 127);
            float *out = y + 32 * s + 8 * g;
            put_iq3_xxs(tamis_iq3_xxs_grid[qs[2 * g]], scale, signs, out);
            put_iq3_xxs(tamis_iq3_xxs_grid[qs[2 * g + 1]], scale, signs >> 4, out + 4);
        }
    }
}

static inline void iq3_s_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int s = 0; s < 8; s++) {
        float scale = d * (float)(1 + 2 * nibble(b[106 + s / 2], s % 2));
        for (int h = 0; h < 8; h++) {
            int index = b[2 + 8 * s + h] | ((b[66 + s] >> h) & 1) << 8;
            uint32_t signs = (uint32_t)b[74 + 4 * s + h / 2] >> (4 * (h % 2));
            put_iq3_s(tamis_iq3_s_grid[index], scale, signs, y + 32 * s + 4 * h);
        }
    }
}

static inline void iq1_s_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int s = 0; s < 8; s++) {
        int w = read_u16(b + 34 + 2 * s);
        float scale = d * (float)(2 * ((w >> 12) & 7) + 1);
        for (int g = 0; g < 4; g++) {
            int index = b[2 + 4 * s + g] | ((w >> (3 * g)) & 7) << 8;
            put_iq1(tamis_iq1_s_grid[index], scale, w & 0x8000, y + 32 * s + 8 * g);
        }
    }
}

/* The f16 scale of the block is spread over the top four bits of its four scale words. */
static inline uint16_t iq1_m_d(const uint8_t *scales) {
    return (uint16_t)(scales[1] >> 4 | (scales[3] >> 4) << 4 | (scales[5] >> 4) << 8 |
                      (scales[7] >> 4) << 12);
}

static inline void iq1_m_block(const uint8_t *restrict b, float *restrict y) {
    float d = tamis_f16_to_f32(iq1_m_d(b + 48));
    for (int i = 0; i < 32; i++) {
        int s = i / 4, g = i % 4;
        int ls = (read_u16(b + 48 + 2 * (s / 2)) >> (6 * (s % 2) + 3 * (g / 2))) & 7;
        int h = nibble(b[32 + 2 * s + g / 2], g % 2);
        put_iq1(tamis_iq1_s_grid[b[i] | (h & 7) << 8], d * (float)(2 * ls + 1), h & 8, y + 8 * i);
    }
}

static inline void iq1_xs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 32; i++) {
        int s = i / 4, g = i % 4;
        int sc = nibble(b[42 + s / 2], s % 2);
        int index = b[2 + i] | ((b[34 + s] >> (2 * g)) & 3) << 8;
        put_iq1(tamis_iq1_xs_grid[index], d * (float)(2 * (sc & 7) + 1), sc & 8, y + 8 * i);
    }
}

static inline void iq1_xxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 32; i++) {
        int g = i % 4, qh = b[34 + i / 4];
        int index = b[2 + i] | ((qh >> g) & 1) << 8;
        float scale = d * (float)(2 * ((qh >> 4) & 7) + 1);
        put_iq1(tamis_iq1_xxs_grid[index], scale, qh & 0x80, y + 8 * i);
    }
}

static inline void iq1_xxxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 32; i++) {
        int s = i / 4;
        int sc = nibble(b[34 + s / 2], s % 2);
        float scale = d * (float)(2 * (sc & 7) + 1);
        put_iq1(tamis_iq1_xxxs_grid[b[2 + i]], scale, sc & 8, y + 8 * i);
    }
}

static void iq2_xxs_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 66, iq2_xxs_block);
}

static void iq2_xs_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 74, iq2_xs_block);
}

static void iq2_s_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 82, iq2_s_block);
}

static void iq3_xxs_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 98, iq3_xxs_block);
}

static void iq3_s_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 110, iq3_s_block);
}

static void iq1_s_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 50, iq1_s_block);
}

static void iq1_m_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 56, iq1_m_block);
}

static void iq1_xs_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 46, iq1_xs_block);
}

static void iq1_xxs_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 42, iq1_xxs_block);
}

static void iq1_xxxs_decode(const uint8_t *blocks, float *x, int64_t n_elems) {
    each_block(blocks, x, n_elems, 256, 38, iq1_xxxs_block);
}

#endif
