/* float16.h - binary16 and bfloat16 to and from float32 in plain C, bit for bit.
 * Rounding is to nearest, ties to even, as the hardware's own conversions do, so plain
 * and vector kernels agree. A NaN comes out quiet: f16 as sign | 0x7E00, bf16 with its
 * upper bits kept. Facts: reference/tensor-types.md section 3. Branch-free widening, so
 * that compilers can turn loops of it into vector code. */
#ifndef TAMIS_FORMATS_FLOAT16_H
#define TAMIS_FORMATS_FLOAT16_H

#include <stdint.h>
#include <string.h>

static inline uint32_t tamis_f32_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float tamis_f32_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The 15 bits below the sign, moved up to float32's places, are the value times 2^-112, for
 * subnormals too; the product with 2^112 is exact. */
static inline float tamis_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t magnitude = (uint32_t)(h & 0x7FFFu) << 13;
    uint32_t finite = tamis_f32_bits(tamis_f32_from_bits(magnitude) * 0x1p112f);
    uint32_t is_nan = (h & 0x7FFFu) > 0x7C00u ? 0x00400000u : 0u;
    uint32_t special = magnitude | 0x7F800000u | is_nan;
    return tamis_f32_from_bits(sign | ((h & 0x7C00u) == 0x7C00u ? special : finite));
}

static inline uint16_t tamis_f32_to_f16(float x) {
    uint32_t bits = tamis_f32_bits(x);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7FFFFFFFu;
    uint32_t h;
    if (magnitude > 0x7F800000u) {
        h = 0x7E00u; /* NaN */
    } else if (magnitude >= 0x477FF000u) {
        h = 0x7C00u; /* 65520 and above round to infinity */
    } else if (magnitude < 0x38800000u) {
        /* Below 2^-14: adding 0.5 rounds to a multiple of 2^-24, the unit of f16 subnormals. */
        h = tamis_f32_bits(tamis_f32_from_bits(magnitude) + 0.5f) - 0x3F000000u;
    } else {
        uint32_t is_odd = (magnitude >> 13) & 1u;
        h = (magnitude - 0x38000000u + 0x0FFFu + is_odd) >> 13;
    }
    return (uint16_t)(sign | h);
}

static inline float tamis_bf16_to_f32(uint16_t b) {
    return tamis_f32_from_bits((uint32_t)b << 16);
}

static inline uint16_t tamis_f32_to_bf16(float x) {
    uint32_t bits = tamis_f32_bits(x);
    uint32_t quiet = (bits >> 16) | 0x0040u;
    uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
}

#endif
