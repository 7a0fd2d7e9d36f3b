/* decode_iq_internal.h - bodies: the grid formats iq1_* .. iq3_*, 256 elements whose
 * groups of four or eight are entries of a fixed grid. Compiled per CPU level, see
 * decode_internal.h. Layouts: reference/tensor-types.md sections 4 and 8.1; grids:
 * codebooks.h. s is the sub-block of 32 elements, h its half, i counts 16 elements. */
#ifndef TAMIS_FORMATS_DECODE_IQ_INTERNAL_H
#define TAMIS_FORMATS_DECODE_IQ_INTERNAL_H

#include "formats/block_internal.h"
#include "formats/codebooks.h"

/* The sixteen 2-bit codes of two grid entries, one a byte. */
static inline u8x16 codes_of_8(uint32_t entry_0, uint32_t entry_1) {
    u64x2 v = {entry_0, entry_1};
    v = (v | v << 24) & 0x000000FF000000FFu;
    v = (v | v << 12) & 0x000F000F000F000Fu;
    v = (v | v << 6) & 0x0303030303030303u;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = (u64x2){__builtin_bswap64(v[0]), __builtin_bswap64(v[1])};
#endif
    return (u8x16)v;
}

/* The sixteen 3-bit codes of four grid entries, given in the four lanes. */
static inline u8x16 codes_of_4(u32x4 v) {
    v = (v & 0x7) | (v << 5 & 0x700) | (v << 10 & 0x70000) | (v << 15 & 0x7000000);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (int i = 0; i < 4; i++)
        v[i] = __builtin_bswap32(v[i]);
#endif
    return (u8x16)v;
}

/* Negative where the bit is set. The sign of a product is the product of the signs, so this
 * gives the same number as negating the result. */
static inline i8x16 with_signs(u8x16 magnitude, uint32_t sign_bits) {
    u8x16 minus = mask_from_bits(sign_bits);
    return (i8x16)((magnitude ^ minus) - minus);
}

/* Sixteen elements with one scale, from two entries of an iq2 grid. */
static inline void put_iq2(uint32_t entry_0, uint32_t entry_1, uint32_t signs, float scale,
                           float *restrict y) {
    u8x16 c = codes_of_8(entry_0, entry_1);
    put_scaled(with_signs(8 + c * 17 + bits_of(c, 1, 1), signs), scale, y);
}

/* Sixteen elements of iq1: scale * (grid value + delta), delta = -1/8 or +1/8. In eighths
 * everything is an integer, and scale/8 is exact, so there is one rounding here too. */
static inline void put_iq1(uint32_t entry_0, uint32_t entry_1, int is_minus_0, int is_minus_1,
                           float scale, float *restrict y) {
    const uint64_t each_byte = 0x0101010101010101u;
    u64x2 delta = {(is_minus_0 ? 255 : 1) * each_byte, (is_minus_1 ? 255 : 1) * each_byte};
    u8x16 eighths = codes_of_8(entry_0, entry_1) * 8 - 8 + (u8x16)delta;
    put_scaled((i8x16)eighths, scale * 0.125f, y);
}

/* Signs of two groups of eight in iq2_xxs and iq3_xxs: 7-bit codes at bit 14*h of w. */
static inline uint32_t even_signs_16(uint32_t w, int h) {
    uint32_t codes = w >> (14 * h);
    return tamis_even_signs(codes & 127) | tamis_even_signs((codes >> 7) & 127) << 8;
}

static inline void iq2_xxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int s = 0; s < 8; s++) {
        const uint8_t *record = b + 2 + 8 * s;
        uint32_t w = read_u32(record + 4);
        float scale = (d * (0.5f + (float)(w >> 28))) * 0.25f;
        for (int h = 0; h < 2; h++) {
            put_iq2(tamis_iq2_xxs_grid[record[2 * h]], tamis_iq2_xxs_grid[record[2 * h + 1]],
                    even_signs_16(w, h), scale, y + 32 * s + 16 * h);
        }
    }
}

/* Scale of half h of sub-block s in iq2_xs and iq2_s. */
static inline float iq2_scale(float d, const uint8_t *scales, int s, int h) {
    return (d * (0.5f + (float)nibble(scales[s], h))) * 0.25f;
}

static inline void iq2_xs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        uint32_t v0 = read_u16(b + 2 + 4 * i), v1 = read_u16(b + 4 + 4 * i);
        uint32_t signs = tamis_even_signs(v0 >> 9) | tamis_even_signs(v1 >> 9) << 8;
        put_iq2(tamis_iq2_xs_grid[v0 & 511], tamis_iq2_xs_grid[v1 & 511], signs,
                iq2_scale(d, b + 66, i / 2, i % 2), y + 16 * i);
    }
}

static inline void iq2_s_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int s = i / 2, h = i % 2;
        int high = b[66 + s] >> (4 * h);
        int index_0 = b[2 + 2 * i] | (high & 3) << 8;
        int index_1 = b[3 + 2 * i] | (high >> 2 & 3) << 8;
        put_iq2(tamis_iq2_s_grid[index_0], tamis_iq2_s_grid[index_1], read_u16(b + 34 + 2 * i),
                iq2_scale(d, b + 74, s, h), y + 16 * i);
    }
}

static inline void iq3_xxs_block(const uint8_t *restrict b, float *restrict y) {
    const uint16_t *grid = tamis_iq3_xxs_grid;
    float d = read_f16(b);
    for (int s = 0; s < 8; s++) {
        uint32_t w = read_u32(b + 66 + 4 * s);
        float scale = (d * (0.5f + (float)(w >> 28))) * 0.5f;
        for (int h = 0; h < 2; h++) {
            const uint8_t *qs = b + 2 + 8 * s + 4 * h;
            u8x16 c = codes_of_4((u32x4){grid[qs[0]], grid[qs[1]], grid[qs[2]], grid[qs[3]]});
            u8x16 magnitude = 4 + c * 8 + ((u8x16)(c == 7) & 2);
            put_scaled(with_signs(magnitude, even_signs_16(w, h)), scale, y + 32 * s + 16 * h);
        }
    }
}

static inline void iq3_s_block(const uint8_t *restrict b, float *restrict y) {
    const uint16_t *grid = tamis_iq3_s_grid;
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int s = i / 2, high = b[66 + s] >> (4 * (i % 2));
        const uint8_t *qs = b + 2 + 4 * i;
        u32x4 entries = {grid[qs[0] | (high & 1) << 8], grid[qs[1] | (high >> 1 & 1) << 8],
                         grid[qs[2] | (high >> 2 & 1) << 8], grid[qs[3] | (high >> 3 & 1) << 8]};
        float scale = d * (float)(1 + 2 * nibble(b[106 + s / 2], s % 2));
        u8x16 magnitude = codes_of_4(entries) * 2 + 1;
        put_scaled(with_signs(magnitude, read_u16(b + 74 + 2 * i)), scale, y + 16 * i);
    }
}

static inline void iq1_s_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int w = read_u16(b + 34 + 2 * (i / 2));
        int high = w >> (6 * (i % 2)), is_minus = w & 0x8000;
        put_iq1(tamis_iq1_s_grid[b[2 + 2 * i] | (high & 7) << 8],
                tamis_iq1_s_grid[b[3 + 2 * i] | (high >> 3 & 7) << 8], is_minus, is_minus,
                d * (float)(2 * ((w >> 12) & 7) + 1), y + 16 * i);
    }
}

/* The f16 scale of the block is spread over the top four bits of its four scale words. */
static inline uint16_t iq1_m_d(const uint8_t *scales) {
    return (uint16_t)(scales[1] >> 4 | (scales[3] >> 4) << 4 | (scales[5] >> 4) << 8 |
                      (scales[7] >> 4) << 12);
}

static inline void iq1_m_block(const uint8_t *restrict b, float *restrict y) {
    float d = tamis_f16_to_f32(iq1_m_d(b + 48));
    for (int i = 0; i < 16; i++) {
        int ls = (read_u16(b + 48 + 2 * (i / 4)) >> (3 * (i % 4))) & 7;
        int h = b[32 + i];
        put_iq1(tamis_iq1_s_grid[b[2 * i] | (h & 7) << 8],
                tamis_iq1_s_grid[b[2 * i + 1] | (h >> 4 & 7) << 8], h & 8, h & 128,
                d * (float)(2 * ls + 1), y + 16 * i);
    }
}

static inline void iq1_xs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int s = i / 2, high = b[34 + s] >> (4 * (i % 2));
        int sc = nibble(b[42 + s / 2], s % 2);
        put_iq1(tamis_iq1_xs_grid[b[2 + 2 * i] | (high & 3) << 8],
                tamis_iq1_xs_grid[b[3 + 2 * i] | (high >> 2 & 3) << 8], sc & 8, sc & 8,
                d * (float)(2 * (sc & 7) + 1), y + 16 * i);
    }
}

static inline void iq1_xxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int qh = b[34 + i / 2], high = qh >> (2 * (i % 2)), is_minus = qh & 0x80;
        put_iq1(tamis_iq1_xxs_grid[b[2 + 2 * i] | (high & 1) << 8],
                tamis_iq1_xxs_grid[b[3 + 2 * i] | (high >> 1 & 1) << 8], is_minus, is_minus,
                d * (float)(2 * ((qh >> 4) & 7) + 1), y + 16 * i);
    }
}

static inline void iq1_xxxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int s = i / 2, sc = nibble(b[34 + s / 2], s % 2);
        put_iq1(tamis_iq1_xxxs_grid[b[2 + 2 * i]], tamis_iq1_xxxs_grid[b[3 + 2 * i]], sc & 8,
                sc & 8, d * (float)(2 * (sc & 7) + 1), y + 16 * i);
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
