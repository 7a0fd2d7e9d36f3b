/* encode_lanes_internal.h - vectors of TAMIS_LANES floats and the few operations encoders need.
 * Elementwise IEEE operations only, so that every width gives the same bits: a lane holds
 * one sub-block and never meets another lane here. The including file defines
 * TAMIS_LANES (4, 8 or 16) and is compiled with the flags of its CPU level. */
#ifndef TAMIS_FORMATS_ENCODE_LANES_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_LANES_INTERNAL_H

#include <stdbool.h>
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

/* From anywhere. */
INLINE vf v_load_unaligned(const float *p) {
    vf a;
    __builtin_memcpy(&a, p, sizeof a);
    return a;
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

/* Whether any bit of any lane is set. */
INLINE bool v_any(vi a) {
#if defined(__x86_64__) && TAMIS_LANES == 16
    return _mm512_test_epi32_mask((__m512i)a, (__m512i)a) != 0;
#elif defined(__x86_64__) && TAMIS_LANES == 8
    return !_mm256_testz_si256((__m256i)a, (__m256i)a);
#else
    typedef uint64_t pair __attribute__((vector_size(16)));
    pair halves = (pair)a;
    return (halves[0] | halves[1]) != 0;
#endif
}

/* A comparison kept in the form that masked operations take, a bit or a word per lane. */
#if defined(__x86_64__) && TAMIS_LANES == 16
typedef __mmask16 vm;
INLINE vm v_above(vf a, vf b) {
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
}
/* a + b where the mask is set, else a; for a not -0. */
INLINE vf v_add_where(vm mask, vf a, vf b) {
    return (vf)_mm512_mask_add_ps((__m512)a, mask, (__m512)a, (__m512)b);
}
#else
typedef vi vm;
INLINE vm v_above(vf a, vf b) {
    return a > b;
}
INLINE vf v_add_where(vm mask, vf a, vf b) {
    return a + (vf)((vi)b & mask);
}
#endif

/* The lanes' signs: bit i is set where lane i of a mask is. */
INLINE unsigned v_bits(vi mask) {
#if defined(__x86_64__) && TAMIS_LANES == 16
    return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__x86_64__) && TAMIS_LANES == 8
    return (unsigned)_mm256_movemask_ps((__m256)mask);
#elif defined(__x86_64__)
    return (unsigned)_mm_movemask_ps((__m128)mask);
#else
    unsigned bits = 0;
    for (int i = 0; i < TAMIS_LANES; i++) {
        bits |= (unsigned)(mask[i] < 0) << i;
    }
    return bits;
#endif
}

/* The low bytes of whole numbers, to anywhere. */
INLINE void v_store_bytes(uint8_t *out, vi a) {
    vb bytes = __builtin_convertvector(a, vb);
    __builtin_memcpy(out, &bytes, sizeof bytes);
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

/* Lane lists of shuffles, a number per lane. ACROSS: the lane `step` away; EVEN and ODD: of a
 * pair of vectors, what a transposition by `step` puts in the first and in the second. */
#define ACROSS(i, step) ((i) ^ (step))
#define EVEN(i, step) (((i) & (step)) ? TAMIS_LANES + (i) - (step) : (i))
#define ODD(i, step) (((i) & (step)) ? TAMIS_LANES + (i) : (i) + (step))
#define LIST_4(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#define LIST_8(f, s) LIST_4(f, s), f(4, s), f(5, s), f(6, s), f(7, s)
#define LIST_16(f, s)                                                                              \
    LIST_8(f, s), f(8, s), f(9, s), f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#if TAMIS_LANES == 16
#define LIST(f, s) LIST_16(f, s)
#elif TAMIS_LANES == 8
#define LIST(f, s) LIST_8(f, s)
#else
#define LIST(f, s) LIST_4(f, s)
#endif

/* Each lane gets what the lane `step` away holds; step 1, 2, 4 or 8, below TAMIS_LANES. */
INLINE vf v_across(vf a, int step) {
#if TAMIS_LANES == 16
    if (step == 8) return __builtin_shufflevector(a, a, LIST(ACROSS, 8));
#endif
#if TAMIS_LANES >= 8
    if (step == 4) return __builtin_shufflevector(a, a, LIST(ACROSS, 4));
#endif
    return step == 2 ? __builtin_shufflevector(a, a, LIST(ACROSS, 2))
                     : __builtin_shufflevector(a, a, LIST(ACROSS, 1));
}

#define TURN_STAGE(n, step)                                                                        \
    for (int i = 0; i < (n); i++) {                                                                \
        if (i & (step)) continue;                                                                  \
        vf a = m[i], b = m[i + (step)];                                                            \
        m[i] = __builtin_shufflevector(a, b, LIST(EVEN, step));                                    \
        m[i + (step)] = __builtin_shufflevector(a, b, LIST(ODD, step));                            \
    }

/* Transpose a square of TAMIS_LANES vectors. */
INLINE void v_turn(vf m[TAMIS_LANES]) {
#if TAMIS_LANES == 16
    TURN_STAGE(TAMIS_LANES, 8)
#endif
#if TAMIS_LANES >= 8
    TURN_STAGE(TAMIS_LANES, 4)
#endif
    TURN_STAGE(TAMIS_LANES, 2)
    TURN_STAGE(TAMIS_LANES, 1)
}

/* Transpose the squares of four lanes by four vectors, each where it lies. */
INLINE void v_turn_fours(vf m[4]) {
    TURN_STAGE(4, 2)
    TURN_STAGE(4, 1)
}

#endif
