/* block_internal.h - reading the fields of a block, and the loop over blocks.
 * Shared by the decode bodies, which are compiled once per CPU level: the same source,
 * the same order of operations, so the same bits. Fields are little-endian at any
 * alignment; compilers turn these reads into single loads. */
#ifndef TAMIS_FORMATS_BLOCK_INTERNAL_H
#define TAMIS_FORMATS_BLOCK_INTERNAL_H

#include <stdint.h>
#include <string.h>
#ifdef __F16C__
#include <immintrin.h>
#endif

#include "formats/float16.h"

#define TAMIS_ALWAYS_INLINE inline __attribute__((always_inline))

static inline uint16_t read_u16(const uint8_t *b) {
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t read_u32(const uint8_t *b) {
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t read_u64(const uint8_t *b) {
    return (uint64_t)read_u32(b) | (uint64_t)read_u32(b + 4) << 32;
}

static inline float read_f16(const uint8_t *b) {
#ifdef __F16C__
    return _cvtsh_ss(read_u16(b));
#else
    return tamis_f16_to_f32(read_u16(b));
#endif
}

/* Low nibble for half 0, high nibble for half 1. */
static inline int nibble(uint8_t byte, int half) {
    return (byte >> (4 * half)) & 15;
}

/* out[i] = values[codes[i]] for 16 codes below 16. */
static inline void look_up_16(const int8_t *values, const uint8_t *codes, int8_t *out) {
#ifdef __SSSE3__
    __m128i table = _mm_loadu_si128((const __m128i *)(const void *)values);
    __m128i i = _mm_loadu_si128((const __m128i *)(const void *)codes);
    _mm_storeu_si128((__m128i *)(void *)out, _mm_shuffle_epi8(table, i));
#else
    for (int i = 0; i < 16; i++) out[i] = values[codes[i]];
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
