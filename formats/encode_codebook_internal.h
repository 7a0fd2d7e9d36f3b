/* encode_codebook_internal.h - the nearest of the 16 values of iq4_nl and iq4_xs.
 * A curve that grows as the values stand apart puts each of the 15 middles between
 * neighbours near the centre of a bin of its own; the bin's lower value and one comparison
 * with its middle then decide. Without table instructions all middles are compared; the
 * comparisons, and so the results, are the same. */
#ifndef TAMIS_FORMATS_ENCODE_CODEBOOK_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_CODEBOOK_INTERNAL_H

#include "formats/encode_lanes_internal.h"

/* reference/codebooks/kvalues_iq4nl.txt, and for each its distance to the next value and the
 * middle between them. */
static const float iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
static const float iq4_gaps[16] = {23, 21, 18, 16, 14, 13, 12, 11, 12, 12, 13, 15, 16, 20, 24, 0};
static const float iq4_middles[16] = {-115.5f, -93.5f, -74.0f, -57.0f, -42.0f, -28.5f,
                                      -16.0f,  -4.5f,  7.0f,   19.0f,  31.5f,  45.5f,
                                      61.0f,   79.0f,  101.0f, 101.0f};

#if defined(__x86_64__) && TAMIS_LANES == 16
INLINE vf table_at(const float table[16], vi i) {
    return (vf)_mm512_permutexvar_ps((__m512i)i, _mm512_loadu_ps(table));
}
#elif defined(__x86_64__) && TAMIS_LANES == 8
INLINE vf table_at(const float table[16], vi i) {
    __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)i);
    __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), (__m256i)i);
    return (vf)_mm256_blendv_ps(low, high, (__m256)(i << 28));
}
#endif

#if defined(__x86_64__) && TAMIS_LANES >= 8
/* Bin 0..14 of t in [-127, 105]: where middle i lies i + 0.5, to a twentieth. */
INLINE vi iq4_bin(vf t) {
    vf bin = t * (v_set(0.089f) - v_set(0.00022f) * v_abs(t)) + v_set(7.88f);
    return __builtin_convertvector(bin, vi);
}

INLINE vf iq4_nearest(vf t) {
    t = v_clamp(t, -127.0f, 105.0f);
    vi i = iq4_bin(t);
    vi above = t > table_at(iq4_middles, i);
    return table_at(iq4_values, i) + (vf)(above & (vi)table_at(iq4_gaps, i));
}

INLINE vf iq4_nearest_index(vf t) {
    t = v_clamp(t, -127.0f, 105.0f);
    vi i = iq4_bin(t);
    vi above = t > table_at(iq4_middles, i);
    return __builtin_convertvector(i - above, vf);
}
#else
INLINE vf iq4_nearest(vf t) {
    vf v = v_set(iq4_values[0]);
    for (int i = 0; i < 15; i++) {
        vi above = t > v_set(iq4_middles[i]);
        v += (vf)(above & (vi)v_set(iq4_gaps[i]));
    }
    return v;
}

INLINE vf iq4_nearest_index(vf t) {
    vf index = v_set(0.0f);
    for (int i = 0; i < 15; i++) {
        vi above = t > v_set(iq4_middles[i]);
        index += (vf)(above & (vi)v_set(1.0f));
    }
    return index;
}
#endif

#endif
