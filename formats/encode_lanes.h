/* encode_lanes.h - vectors of TAMIS_LANES floats and the few operations encoders need.
 * Elementwise IEEE operations only, so that every width gives the same bits: a lane holds
 * one sub-block and never meets another lane here. The including file defines
 * TAMIS_LANES (4, 8 or 16) and is compiled with the flags of its CPU level. */
#ifndef TAMIS_FORMATS_ENCODE_LANES_H
#define TAMIS_FORMATS_ENCODE_LANES_H

#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * TAMIS_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * TAMIS_LANES)));
typedef float vf_in_memory __attribute__((vector_size(4 * TAMIS_LANES), may_alias));
typedef uint8_t vb __attribute__((vector_size(TAMIS_LANES)));

INLINE vf v_set(float a) {
    return a - (vf){0.0f};
}

INLINE vf v_load(const float *p) {
    return *(const vf_in_memory *)p;
}

INLINE void v_store(float *p, vf a) {
    *(vf_in_memory *)p = a;
}

/* a where the mask is set, else b. */
INLINE vf v_select(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

#if defined(__x86_64__) && TAMIS_LANES == 16
INLINE vf v_min(vf a, vf b) {
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}
INLINE vf v_max(vf a, vf b) {
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}
#elif defined(__x86_64__) && TAMIS_LANES == 8
INLINE vf v_min(vf a, vf b) {
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
INLINE vf v_max(vf a, vf b) {
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}
#elif defined(__x86_64__)
INLINE vf v_min(vf a, vf b) {
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
}
INLINE vf v_max(vf a, vf b) {
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
}
#else
INLINE vf v_min(vf a, vf b) {
    return v_select(a < b, a, b);
}
INLINE vf v_max(vf a, vf b) {
    return v_select(a > b, a, b);
}
#endif

INLINE vf v_abs(vf a) {
    return (vf)((vi)a & 0x7FFFFFFF);
}

/* Nearest integer, ties to even, for |a| < 2^22: the sum has unit 1 in its last place. */
INLINE vf v_round(vf a) {
    const vf magic = v_set(12582912.0f);
    return (a + magic) - magic;
}

INLINE vf v_clamp(vf a, float lo, float hi) {
    return v_min(v_max(a, v_set(lo)), v_set(hi));
}

/* 1 / a, and 0 for a = 0. */
INLINE vf v_inverse(vf a) {
    vi zero = a == v_set(0.0f);
    return v_select(zero, v_set(0.0f), v_set(1.0f) / v_select(zero, v_set(1.0f), a));
}

/* The nearest f16 value, ties to even; the largest finite one for anything above. */
INLINE vf v_f16(vf a) {
    vi bits = (vi)v_min(v_max(a, v_set(-65504.0f)), v_set(65504.0f));
    vi normal = (bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF;
    /* Below 2^-14 f16 counts in 2^-24, the last place of 0.75. */
    vf subnormal = (a + v_set(0.75f)) - v_set(0.75f);
    return v_select(v_abs(a) < v_set(0x1p-14f), subnormal, (vf)normal);
}

#endif
