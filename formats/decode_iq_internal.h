/* decode_iq_internal.h - bodies: the grid formats iq1_* .. iq3_*, 256 elements whose
 * groups of four or eight are entries of a fixed grid. Compiled per CPU level, see
 * decode_internal.h. Layouts: reference/tensor-types.md sections 4 and 8.1; grids:
 * codebooks.h. s is the sub-block of 32 elements, h its half, i counts 16 elements. */
#ifndef TAMIS_FORMATS_DECODE_IQ_INTERNAL_H
#define TAMIS_FORMATS_DECODE_IQ_INTERNAL_H

#include "formats/block_internal.h"
#include "formats/codebooks.h"

static inline u8x16 bytes_of(u64x2 v) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = (u64x2){__builtin_bswap64(v[0]), __builtin_bswap64(v[1])};
#endif
    return (u8x16)v;
}

/* The sixteen 2-bit codes of two grid entries, one a byte. */
static inline u8x16 codes_of_8(uint32_t entry_0, uint32_t entry_1) {
#ifdef __BMI2__
    const uint64_t mask = 0x0303030303030303u;
    return bytes_of((u64x2){_pdep_u64(entry_0, mask), _pdep_u64(entry_1, mask)});
#else
    u64x2 v = {entry_0, entry_1};
    v = (v | v << 24) & 0x000000FF000000FFu;
    v = (v | v << 12) & 0x000F000F000F000Fu;
    return bytes_of((v | v << 6) & 0x0303030303030303u);
#endif
}

/* The sixteen 3-bit codes of four grid entries, the first two and the last two given together, 32
 * bits apart. */
static inline u8x16 codes_of_4(uint64_t first, uint64_t second) {
#ifdef __BMI2__
    const uint64_t mask = 0x0707070707070707u;
    return bytes_of(
        (u64x2){_pdep_u64(first | first >> 20, mask), _pdep_u64(second | second >> 20, mask)});
#else
    u64x2 v = {first, second};
    v = (v | v << 10) & 0x003F003F003F003Fu;
    return bytes_of((v | v << 5) & 0x0707070707070707u);
#endif
}

static inline uint64_t two_entries(uint32_t first, uint32_t second) {
    return first | (uint64_t)second << 32;
}

/* y = scale * magnitude, negative where the sign bit is set. The sign of a product is the product
 * of the signs, so it does not matter which of them is negated. */
static inline void put_signed(u8x16 magnitude, uint32_t sign_bits, float scale, float *restrict y) {
#ifdef __AVX512DQ__
    __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32((__m128i)magnitude));
    v = _mm512_mul_ps(_mm512_set1_ps(scale), v);
    _mm512_storeu_ps(y, _mm512_mask_xor_ps(v, (__mmask16)sign_bits, v, _mm512_set1_ps(-0.0f)));
#else
    u8x16 minus = mask_from_bits(sign_bits);
    put_scaled((i8x16)((magnitude ^ minus) - minus), scale, y);
#endif
}

/* Sixteen elements with one scale, from two entries of an iq2 grid. */
static inline void put_iq2(uint32_t entry_0, uint32_t entry_1, uint32_t signs, float scale,
                           float *restrict y) {
    u8x16 c = codes_of_8(entry_0, entry_1);
#ifdef HAS_LOOK_UP
    static const int8_t magnitudes[16] = {8, 25, 43};
    put_signed((u8x16)look_up(magnitudes, c), signs, scale, y);
#else
    put_signed(8 + c * 17 + bits_of(c, 1, 1), signs, scale, y);
#endif
}

/* Sixteen elements of iq1: scale * (grid value + delta), delta = -1/8 where is_minus is 1, +1/8
 * where it is 0. In eighths everything is an integer, and scale/8 is exact, so there is one
 * rounding here too. */
static inline void put_iq1(uint32_t entry_0, uint32_t entry_1, int is_minus_0, int is_minus_1,
                           float scale_of_eighths, float *restrict y) {
    const uint64_t each_byte = 0x0101010101010101u;
    u8x16 codes = codes_of_8(entry_0, entry_1);
#ifdef HAS_LOOK_UP
    static const int8_t eighths[16] = {-7, 1, 9, 0, -9, -1, 7};
    /* Products, not branches: nobody can foresee a sign. */
    u64x2 minus = {(uint64_t)is_minus_0 * (4 * each_byte), (uint64_t)is_minus_1 * (4 * each_byte)};
    put_scaled(look_up(eighths, codes | (u8x16)minus), scale_of_eighths, y);
#else
    u64x2 delta = {(uint64_t)(1 + 254 * is_minus_0) * each_byte,
                   (uint64_t)(1 + 254 * is_minus_1) * each_byte};
    u8x16 eighths = codes * 8 - 8 + (u8x16)delta;
    put_scaled((i8x16)eighths, scale_of_eighths, y);
#endif
}

/* Bytes of 7-bit sign codes: the eighth bit of each makes its number of bits even. */
static inline uint32_t even_signs(uint32_t codes) {
    uint32_t parity = codes ^ codes >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return codes | (parity & 0x01010101u) << 7;
}

/* The signs of a sub-block of iq2_xxs and iq3_xxs: four codes in the low 28 bits. */
static inline uint32_t even_signs_32(uint32_t w) {
#ifdef __BMI2__
    return even_signs(_pdep_u32(w, 0x7F7F7F7Fu));
#else
    return even_signs((w & 0x7F) | (w << 1 & 0x7F00) | (w << 2 & 0x7F0000) | (w << 3 & 0x7F000000));
#endif
}

/* A nibble n of eight bytes, low ones first, for every 16 elements: d * (0.5 + n) * 0.25. All of it
 * is exact. */
static inline void iq2_scales(float d, const uint8_t *nibbles, float *restrict scales) {
    uint64_t both = bytes_8(nibbles);
    u8x16 n = (u8x16)(u64x2){both, both >> 4} & 15;
    n = __builtin_shufflevector(n, n, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    put_scaled((i8x16)(n * 2 + 1), d * 0.125f, scales);
}

static inline void iq2_xxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int s = 0; s < 8; s++) {
        const uint8_t *record = b + 2 + 8 * s;
        uint32_t w = read_u32(record + 4), signs = even_signs_32(w);
        float scale = (d * (0.5f + (float)(w >> 28))) * 0.25f;
        for (int h = 0; h < 2; h++) {
            put_iq2(tamis_iq2_xxs_grid[record[2 * h]], tamis_iq2_xxs_grid[record[2 * h + 1]],
                    signs >> (16 * h) & 0xFFFF, scale, y + 32 * s + 16 * h);
        }
    }
}

static inline void iq2_xs_block(const uint8_t *restrict b, float *restrict y) {
    float scales[16];
    iq2_scales(read_f16(b), b + 66, scales);
    for (int i = 0; i < 16; i++) {
        uint32_t v0 = read_u16(b + 2 + 4 * i), v1 = read_u16(b + 4 + 4 * i);
        put_iq2(tamis_iq2_xs_grid[v0 & 511], tamis_iq2_xs_grid[v1 & 511],
                even_signs(v0 >> 9 | (v1 >> 9) << 8), scales[i], y + 16 * i);
    }
}

static inline void iq2_s_block(const uint8_t *restrict b, float *restrict y) {
    float scales[16];
    iq2_scales(read_f16(b), b + 74, scales);
    for (int i = 0; i < 16; i++) {
        int high = b[66 + i / 2] >> (4 * (i % 2));
        int index_0 = b[2 + 2 * i] | (high & 3) << 8;
        int index_1 = b[3 + 2 * i] | (high >> 2 & 3) << 8;
        put_iq2(tamis_iq2_s_grid[index_0], tamis_iq2_s_grid[index_1], read_u16(b + 34 + 2 * i),
                scales[i], y + 16 * i);
    }
}

static inline void iq3_xxs_block(const uint8_t *restrict b, float *restrict y) {
    const uint16_t *grid = tamis_iq3_xxs_grid;
    float d = read_f16(b);
    for (int s = 0; s < 8; s++) {
        uint32_t w = read_u32(b + 66 + 4 * s), signs = even_signs_32(w);
        float scale = (d * (0.5f + (float)(w >> 28))) * 0.5f;
        for (int h = 0; h < 2; h++) {
            const uint8_t *qs = b + 2 + 8 * s + 4 * h;
            u8x16 c = codes_of_4(two_entries(grid[qs[0]], grid[qs[1]]),
                                 two_entries(grid[qs[2]], grid[qs[3]]));
#ifdef HAS_LOOK_UP
            static const int8_t magnitudes[16] = {4, 12, 20, 28, 36, 44, 52, 62};
            u8x16 magnitude = (u8x16)look_up(magnitudes, c);
#else
            u8x16 magnitude = 4 + c * 8 + ((u8x16)(c == 7) & 2);
#endif
            put_signed(magnitude, signs >> (16 * h) & 0xFFFF, scale, y + 32 * s + 16 * h);
        }
    }
}

/* A nibble n of four bytes, low ones first, for every 32 elements, given for every 16: d * (1 +
 * 2n). */
static inline void iq3_s_scales(float d, const uint8_t *nibbles, float *restrict scales) {
    uint32_t both = bytes_4(nibbles);
    u8x16 n = (u8x16)(u32x4){both, both >> 4} & 15;
    n = __builtin_shufflevector(n, n, 0, 0, 4, 4, 1, 1, 5, 5, 2, 2, 6, 6, 3, 3, 7, 7);
    put_scaled((i8x16)(n * 2 + 1), d, scales);
}

static inline void iq3_s_block(const uint8_t *restrict b, float *restrict y) {
    const uint16_t *grid = tamis_iq3_s_grid;
    float scales[16];
    iq3_s_scales(read_f16(b), b + 106, scales);
    for (int i = 0; i < 16; i++) {
        int high = b[66 + i / 2] >> (4 * (i % 2)) << 8;
        const uint8_t *qs = b + 2 + 4 * i;
        uint64_t first = two_entries(grid[qs[0] | (high & 256)], grid[qs[1] | (high >> 1 & 256)]);
        uint64_t second =
            two_entries(grid[qs[2] | (high >> 2 & 256)], grid[qs[3] | (high >> 3 & 256)]);
        put_signed(codes_of_4(first, second) * 2 + 1, read_u16(b + 74 + 2 * i), scales[i],
                   y + 16 * i);
    }
}

/* Scales of eighths from 3-bit codes n, one for every 16 elements: d * (2n + 1) / 8. */
static inline void iq1_scales(float d, u8x16 n, float *restrict scales) {
    put_scaled((i8x16)(n * 2 + 1), d * 0.125f, scales);
}

static inline float iq1_scale(float d, int n) {
    return d * 0.125f * (float)(2 * n + 1);
}

static inline void iq1_s_block(const uint8_t *restrict b, float *restrict y) {
    float scales[16];
    u8x16 n = bits_of(load_16(b + 34), 4, 7); /* of every second byte */
    n = __builtin_shufflevector(n, n, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15);
    iq1_scales(read_f16(b), n, scales);
    for (int i = 0; i < 16; i++) {
        int w = read_u16(b + 34 + 2 * (i / 2)), high = w >> (6 * (i % 2));
        put_iq1(tamis_iq1_s_grid[b[2 + 2 * i] | (high & 7) << 8],
                tamis_iq1_s_grid[b[3 + 2 * i] | (high >> 3 & 7) << 8], w >> 15, w >> 15, scales[i],
                y + 16 * i);
    }
}

/* The f16 scale of the block is spread over the top four bits of its four scale words. */
static inline uint16_t iq1_m_d(const uint8_t *scales) {
    return (uint16_t)(scales[1] >> 4 | (scales[3] >> 4) << 4 | (scales[5] >> 4) << 8 |
                      (scales[7] >> 4) << 12);
}

static inline void iq1_m_block(const uint8_t *restrict b, float *restrict y) {
    const uint8_t *words = b + 48; /* four of four codes each */
    float scales[16];
    u8x16 n = codes_of_4(two_entries(read_u16(words) & 0xFFF, read_u16(words + 2) & 0xFFF),
                         two_entries(read_u16(words + 4) & 0xFFF, read_u16(words + 6) & 0xFFF));
    iq1_scales(tamis_f16_to_f32(iq1_m_d(words)), n, scales);
    for (int i = 0; i < 16; i++) {
        int h = b[32 + i];
        put_iq1(tamis_iq1_s_grid[b[2 * i] | (h & 7) << 8],
                tamis_iq1_s_grid[b[2 * i + 1] | (h >> 4 & 7) << 8], h >> 3 & 1, h >> 7, scales[i],
                y + 16 * i);
    }
}

static inline void iq1_xs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int s = i / 2, high = b[34 + s] >> (4 * (i % 2));
        int sc = nibble(b[42 + s / 2], s % 2);
        put_iq1(tamis_iq1_xs_grid[b[2 + 2 * i] | (high & 3) << 8],
                tamis_iq1_xs_grid[b[3 + 2 * i] | (high >> 2 & 3) << 8], sc >> 3, sc >> 3,
                iq1_scale(d, sc & 7), y + 16 * i);
    }
}

static inline void iq1_xxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int qh = b[34 + i / 2], high = qh >> (2 * (i % 2));
        put_iq1(tamis_iq1_xxs_grid[b[2 + 2 * i] | (high & 1) << 8],
                tamis_iq1_xxs_grid[b[3 + 2 * i] | (high >> 1 & 1) << 8], qh >> 7, qh >> 7,
                iq1_scale(d, qh >> 4 & 7), y + 16 * i);
    }
}

static inline void iq1_xxxs_block(const uint8_t *restrict b, float *restrict y) {
    float d = read_f16(b);
    for (int i = 0; i < 16; i++) {
        int s = i / 2, sc = nibble(b[34 + s / 2], s % 2);
        put_iq1(tamis_iq1_xxxs_grid[b[2 + 2 * i]], tamis_iq1_xxxs_grid[b[3 + 2 * i]], sc >> 3,
                sc >> 3, iq1_scale(d, sc & 7), y + 16 * i);
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
