/* block_internal.h - reading the fields of a block, and the loop over blocks.
 * Shared by the decode bodies, which are compiled once per CPU level: the same source,
 * the same order of operations, so the same bits. Fields are little-endian at any
 * alignment; compilers turn these reads into single loads. */
#ifndef TAMIS_FORMATS_BLOCK_INTERNAL_H
#define TAMIS_FORMATS_BLOCK_INTERNAL_H

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "formats/float16.h"

#define TAMIS_ALWAYS_INLINE inline __attribute__((always_inline))

static inline uint16_t read_u16(const uint8_t *b) {
    uint16_t v;
    memcpy(&v, b, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap16(v);
#endif
    return v;
}

static inline uint32_t read_u32(const uint8_t *b) {
    uint32_t v;
    memcpy(&v, b, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

static inline uint64_t read_u64(const uint8_t *b) {
    uint64_t v;
    memcpy(&v, b, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* Four and eight bytes as they lie, for operations that stay within bytes. */
static inline uint32_t bytes_4(const uint8_t *b) {
    uint32_t v;
    memcpy(&v, b, sizeof v);
    return v;
}

static inline uint64_t bytes_8(const uint8_t *b) {
    uint64_t v;
    memcpy(&v, b, sizeof v);
    return v;
}

static inline float read_f16(const uint8_t *b) {
#if defined(__F16C__)
    return _cvtsh_ss(read_u16(b));
#elif defined(TAMIS_NEON)
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(read_u16(b)))), 0);
#else
    return tamis_f16_to_f32(read_u16(b));
#endif
}

/* Low nibble for half 0, high nibble for half 1. */
static inline int nibble(uint8_t byte, int half) {
    return (byte >> (4 * half)) & 15;
}

/* Sixteen codes at a time, in the vector types gcc and clang share. */
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef uint64_t u64x2 __attribute__((vector_size(16)));
/* As many at a time as the CPU level has in one register: compilers take wider vectors apart badly.
 * Sub-blocks of 32 are one or two of them. */
#ifdef __AVX2__
enum { WIDE = 32 };
#else
enum { WIDE = 16 };
#endif
typedef uint8_t u8xw __attribute__((vector_size(WIDE)));
typedef uint16_t u16xw __attribute__((vector_size(WIDE)));

static inline u8x16 load_16(const uint8_t *b) {
    u8x16 v;
    memcpy(&v, b, sizeof v);
    return v;
}

/* (v >> shift) & mask in every byte; mask has no bit above 7 - shift. Shifted in pairs, for
 * which there is an instruction: what a byte gets from its neighbour is masked away. */
static inline u8x16 bits_of(u8x16 v, int shift, uint8_t mask) {
    return (u8x16)((u16x8)v >> (uint16_t)shift) & mask;
}

static inline u8xw load_wide(const uint8_t *b) {
    u8xw v;
    memcpy(&v, b, sizeof v);
    return v;
}

/* bits_of() of a wide vector; a negative shift is one to the left: mask has no bit below it. */
static inline u8xw bits_of_wide(u8xw v, int shift, uint8_t mask) {
    u16xw pairs = (u16xw)v;
    return (u8xw)(shift < 0 ? pairs << (uint16_t)-shift : pairs >> (uint16_t)shift) & mask;
}

/* Byte i: 255 where bit i of the 16 bits is set, else 0. */
static inline u8x16 mask_from_bits(uint32_t bits) {
    const u8x16 select = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint64_t each_byte = 0x0101010101010101u;
    u8x16 v = (u8x16)(u64x2){(bits & 255) * each_byte, ((bits >> 8) & 255) * each_byte};
    return (u8x16)((v & select) == select);
}

#if defined(__SSSE3__) || defined(TAMIS_NEON)
#define HAS_LOOK_UP /* in one instruction, less than the arithmetic it may stand for */
#endif

/* values[codes[i]] for codes below 16. */
static inline i8x16 look_up(const int8_t *values, u8x16 codes) {
    i8x16 out;
#if defined(__SSSE3__)
    __m128i table;
    memcpy(&table, values, sizeof table);
    out = (i8x16)_mm_shuffle_epi8(table, (__m128i)codes);
#elif defined(TAMIS_NEON)
    out = (i8x16)vqtbl1q_s8(vld1q_s8(values), (uint8x16_t)codes);
#else
    for (int i = 0; i < 16; i++)
        out[i] = values[codes[i]];
#endif
    return out;
}

#if defined(TAMIS_NEON)
/* Four quarters of sixteen small integers as floats. */
static inline void widen(i8x16 q, float32x4_t out[4]) {
    int16x8_t lo = vmovl_s8(vget_low_s8((int8x16_t)q)), hi = vmovl_high_s8((int8x16_t)q);
    out[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo)));
    out[1] = vcvtq_f32_s32(vmovl_high_s16(lo));
    out[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi)));
    out[3] = vcvtq_f32_s32(vmovl_high_s16(hi));
}
#endif

/* y[i] = scale * q[i] */
static inline void put_scaled(i8x16 q, float scale, float *restrict y) {
#if defined(__AVX512F__)
    __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)q));
    _mm512_storeu_ps(y, _mm512_mul_ps(_mm512_set1_ps(scale), v));
#elif defined(__AVX2__)
    __m256 lo = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32((__m128i)q));
    __m256 hi = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128((__m128i)q, 8)));
    _mm256_storeu_ps(y, _mm256_mul_ps(_mm256_set1_ps(scale), lo));
    _mm256_storeu_ps(y + 8, _mm256_mul_ps(_mm256_set1_ps(scale), hi));
#elif defined(TAMIS_NEON)
    float32x4_t v[4];
    widen(q, v);
    for (int i = 0; i < 4; i++)
        vst1q_f32(y + 4 * i, vmulq_n_f32(v[i], scale));
#else
    int8_t v[16];
    memcpy(v, &q, sizeof v);
    for (int i = 0; i < 16; i++)
        y[i] = scale * (float)v[i];
#endif
}

/* y[i] = scale * q[i] + offset, rounded after each of the two operations. */
static inline void put_affine(i8x16 q, float scale, float offset, float *restrict y) {
#if defined(__AVX512F__)
    __m512 v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i)q));
    v = _mm512_mul_ps(_mm512_set1_ps(scale), v);
    _mm512_storeu_ps(y, _mm512_add_ps(v, _mm512_set1_ps(offset)));
#elif defined(__AVX2__)
    __m256 lo = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32((__m128i)q));
    __m256 hi = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128((__m128i)q, 8)));
    lo = _mm256_mul_ps(_mm256_set1_ps(scale), lo);
    hi = _mm256_mul_ps(_mm256_set1_ps(scale), hi);
    _mm256_storeu_ps(y, _mm256_add_ps(lo, _mm256_set1_ps(offset)));
    _mm256_storeu_ps(y + 8, _mm256_add_ps(hi, _mm256_set1_ps(offset)));
#elif defined(TAMIS_NEON)
    float32x4_t v[4];
    widen(q, v);
    for (int i = 0; i < 4; i++)
        vst1q_f32(y + 4 * i, vaddq_f32(vmulq_n_f32(v[i], scale), vdupq_n_f32(offset)));
#else
    int8_t v[16];
    memcpy(v, &q, sizeof v);
    for (int i = 0; i < 16; i++)
        y[i] = scale * (float)v[i] + offset;
#endif
}

/* Each run of 16 with a scale (and an offset) of its own. */
static inline void put_scaled_wide(u8xw q, const float *scales, float *restrict y) {
#ifdef __AVX2__
    put_scaled((i8x16)_mm256_castsi256_si128((__m256i)q), scales[0], y);
    put_scaled((i8x16)_mm256_extracti128_si256((__m256i)q, 1), scales[1], y + 16);
#else
    put_scaled((i8x16)q, scales[0], y);
#endif
}

static inline void put_affine_wide(u8xw q, const float *scales, const float *offsets,
                                   float *restrict y) {
#ifdef __AVX2__
    put_affine((i8x16)_mm256_castsi256_si128((__m256i)q), scales[0], offsets[0], y);
    put_affine((i8x16)_mm256_extracti128_si256((__m256i)q, 1), scales[1], offsets[1], y + 16);
#else
    put_affine((i8x16)q, scales[0], offsets[0], y);
#endif
}

typedef void block_decode_fn(const uint8_t *restrict b, float *restrict y);

/* Inlined with a constant `decode`, so each type gets its own loop without a call in it. */
static TAMIS_ALWAYS_INLINE void each_block(const uint8_t *restrict blocks, float *restrict x,
                                           int64_t n_elems, int block_elems, int block_bytes,
                                           block_decode_fn *decode) {
    for (int64_t n = n_elems / block_elems; n > 0; n--) {
        decode(blocks, x);
        blocks += block_bytes;
        x += block_elems;
    }
}

#endif
