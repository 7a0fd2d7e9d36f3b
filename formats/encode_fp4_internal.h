/* encode_fp4_internal.h - search for mxfp4 and nvfp4: values 0 1 2 3 4 6 8 12 with a sign, times a
 * scale from a short list. For a given scale the nearest values are the best ones, so trying the
 * scales one after another finds the optimum. Above, a scale is pointless once half of it has all
 * the values in use (largest element at 7 steps or less, so none beyond 6); below, once what is cut
 * off at 12 steps alone costs more than the best scale so far. Compute bound. Scales:
 * reference/tensor-types.md section 3. */
#ifndef TAMIS_FORMATS_ENCODE_FP4_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_FP4_INTERNAL_H

#include "formats/encode_tile_internal.h"

/* A scale replaces another when it is better by more than the rounding of the sums: then the true
 * error falls too. */
#define FP4_BETTER 0.99999f

/* The nearest of 0 1 2 3 4 6 8 12 to a magnitude; of two as near, one or the other. The values
 * stand 1 apart below 4, then 2, then 4: half of the power of two in the magnitude, which is the
 * last place of the sum with 2^22 times that power. */
INLINE vf fp4_nearest(vf a) {
    a = v_min(a, v_set(12.0f));
    vf magic = (vf)(((vi)v_max(a, v_set(2.0f)) & 0x7F800000) + (22 << 23));
    return (a + magic) - magic;
}

/* The code of the nearest value, of two as near the lower one; zero has no sign. From 2 up the
 * values have one bit of mantissa: adding just less than half of what is dropped rounds. */
INLINE vi fp4_code(vf x) {
    vf a = v_abs(x);
    vi bits = (vi)v_clamp(a, 2.0f, 12.0f);
    vi code = ((bits + 0x1FFFFF) >> 22) - 254;
    vi is_large = a > v_set(1.5f), is_some = a > v_set(0.5f);
    code = (code & is_large) | (1 & ~is_large);
    return (code | (((vi)x >> 28) & 8)) & is_some;
}

/* The best scale so far of one vector of blocks. */
typedef struct fp4_choice {
    vf error, step;
    vi scale; /* as stored */
} fp4_choice;

/* Keep a scale where it is allowed and better. */
INLINE void fp4_keep(vf error, vf step, vi scale, vi allowed, fp4_choice *best) {
    vi better = (error < best->error * v_set(FP4_BETTER)) & allowed;
    best->error = v_select(better, error, best->error);
    best->step = v_select(better, step, best->step);
    best->scale = (better & scale) | (~better & best->scale);
}

/* Weighted squared error of a scale with the nearest values. */
INLINE vf fp4_error(const float *x, const float *w, int n_sub, vf step, vf inverse) {
    vf error = v_set(0.0f);
    for (int e = 0; e < n_sub; e++) {
        vf a = v_abs(v_load(x + e * LANES));
        vf off = a - step * fp4_nearest(a * inverse);
        error += v_load(w + e * LANES) * off * off;
    }
    return error;
}

/* The largest magnitude of each block, and its weight. */
typedef struct fp4_top {
    vf magnitude, weight;
} fp4_top;

INLINE fp4_top fp4_find_top(const float *x, const float *w, int n_sub) {
    fp4_top top = {v_set(0.0f), v_set(0.0f)};
    for (int e = 0; e < n_sub; e++) {
        vf a = v_abs(v_load(x + e * LANES));
        vi larger = a > top.magnitude;
        top.weight = v_select(larger, v_load(w + e * LANES), top.weight);
        top.magnitude = v_max(a, top.magnitude);
    }
    return top;
}

/* Where a scale or a smaller one can still be the best: what the largest value cuts off, first from
 * the top alone, costs less than the best so far. */
INLINE vi fp4_may_win(const float *x, const float *w, int n_sub, const fp4_top *top, vf step,
                      const fp4_choice *best) {
    vf highest = step * v_set(12.0f), error = v_set(0.0f);
    vf over = v_max(top->magnitude - highest, v_set(0.0f));
    vi may = top->weight * over * over < best->error;
    if (!v_any(may)) return may;
    for (int e = 0; e < n_sub; e++) {
        over = v_max(v_abs(v_load(x + e * LANES)) - highest, v_set(0.0f));
        error += v_load(w + e * LANES) * over * over;
    }
    return error < best->error;
}

INLINE vi v_clamp_whole(vi a, int lo, int hi) {
    vi low = a<lo, high = a> hi;
    return (a & ~(low | high)) | (lo & low) | (hi & high);
}

/* --- mxfp4: 2^(ex - 128), blocks of 32 --- */

/* Largest exponent whose values stay finite (12 * 2^124). */
enum { MXFP4_MAX_EX = 252 };

/* 2^(127 - ex), half the inverse of the step: the inverse of the smallest is too large for a
 * float. */
INLINE vf mxfp4_half_inverse(vi ex) {
    return (vf)((254 - ex) << 23);
}

/* The exponents by the reference's rule. */
INLINE vi mxfp4_reference(vf top) {
    return v_clamp_whole(((vi)top >> 23) - 2, 0, MXFP4_MAX_EX);
}

/* Scale the blocks, exactly, so that the reference's step becomes 1. */
INLINE void mxfp4_normalise(float *x, vi ex) {
    vf factor = mxfp4_half_inverse(ex);
    for (int e = 0; e < 32; e++) {
        v_store(x + e * LANES, v_load(x + e * LANES) * factor * v_set(2.0f));
    }
}

/* The reference's exponent, the one above and the one below in one go. */
INLINE void mxfp4_try_3(const float *x, const float *w, vi reference, fp4_choice *best) {
    const vf zero = v_set(0.0f), one = v_set(1.0f), half = v_set(0.5f), two = v_set(2.0f);
    vf same = zero, above = zero, below = zero;
    for (int e = 0; e < 32; e++) {
        vf a = v_abs(v_load(x + e * LANES)), we = v_load(w + e * LANES);
        vf off = a - fp4_nearest(a);
        vf off_above = a - two * fp4_nearest(a * half);
        vf off_below = a - half * fp4_nearest(a * two);
        same += we * off * off;
        above += we * off_above * off_above;
        below += we * off_below * off_below;
    }
    fp4_keep(same, one, reference, reference >= 0, best);
    fp4_keep(above, two, reference + 1, reference < MXFP4_MAX_EX, best);
    fp4_keep(below, half, reference - 1, reference > 0, best);
}

/* t->x is scaled on the way. ex: the exponents; half_inverse: of the steps, times a half. */
INLINE void mxfp4_search(tile *t, tamis_effort effort, lanes *ex, lanes *half_inverse) {
    FOR_LANES(g) {
        float *x = &t->x[0][g];
        const float *w = &t->w[0][g];
        fp4_top top = fp4_find_top(x, w, 32);
        vi reference = mxfp4_reference(top.magnitude);
        fp4_choice best = {v_set(__builtin_inff()), v_set(1.0f), reference};
        mxfp4_normalise(x, reference);
        top.magnitude = top.magnitude * mxfp4_half_inverse(reference) * v_set(2.0f);
        mxfp4_try_3(x, w, reference, &best);
        for (int change = -2; effort > TAMIS_EFFORT_FAST && change > -126; change--) {
            vf step = v_set(tamis_f32_from_bits((uint32_t)(127 + change) << 23));
            vf inverse = v_set(tamis_f32_from_bits((uint32_t)(127 - change) << 23));
            vi allowed = fp4_may_win(x, w, 32, &top, step, &best) & (reference + change >= 0);
            if (!v_any(allowed)) break;
            fp4_keep(fp4_error(x, w, 32, step, inverse), step, reference + change, allowed, &best);
        }
        v_store(ex->v + g, __builtin_convertvector(best.scale, vf));
        v_store(half_inverse->v + g, mxfp4_half_inverse(best.scale));
    }
}

/* --- nvfp4: half an unsigned E4M3, groups of 16 --- */

enum { NVFP4_MAX_SCALE = 126 };

/* The reference's scale: E4M3 of a sixth of the largest magnitude, at least the smallest one. */
INLINE vi nvfp4_reference(vf top) {
    vf wanted = v_min(top / v_set(6.0f), v_set(448.0f));
    vi normal = (((vi)wanted + 0x80000) >> 20) - (120 << 3);
    vi tiny = __builtin_convertvector(wanted * v_set(512.0f) + v_set(0.5f), vi);
    vi is_tiny = wanted < v_set(0x1p-6f);
    vi scale = (v_clamp_whole(tiny, 0, 7) & is_tiny) | (normal & ~is_tiny);
    return v_clamp_whole(scale, 1, NVFP4_MAX_SCALE);
}

INLINE vf nvfp4_step(vi scale) {
    vf tiny = __builtin_convertvector(scale, vf) * v_set(0x1p-10f);
    return v_select(scale < 8, tiny, (vf)((scale << 20) + (119 << 23)));
}

/* Judge two scales in one go: independent chains hide the latency of adds. Only scales from 1 to
 * `last` count: what a lane is given must not depend on the others of its vector. */
INLINE void nvfp4_try_2(const float *x, const float *w, vi scale0, vi scale1, vi last,
                        fp4_choice *best) {
    vi held0 = v_clamp_whole(scale0, 1, NVFP4_MAX_SCALE);
    vi held1 = v_clamp_whole(scale1, 1, NVFP4_MAX_SCALE);
    const vf step0 = nvfp4_step(held0), step1 = nvfp4_step(held1);
    const vf inverse0 = v_set(1.0f) / step0, inverse1 = v_set(1.0f) / step1;
    vf error0 = v_set(0.0f), error1 = v_set(0.0f);
    for (int e = 0; e < 16; e++) {
        vf a = v_abs(v_load(x + e * LANES)), we = v_load(w + e * LANES);
        vf off0 = a - step0 * fp4_nearest(a * inverse0);
        vf off1 = a - step1 * fp4_nearest(a * inverse1);
        error0 += we * off0 * off0;
        error1 += we * off1 * off1;
    }
    fp4_keep(error0, step0, held0, (held0 == scale0) & (scale0 <= last), best);
    fp4_keep(error1, step1, held1, (held1 == scale1) & (scale1 <= last), best);
}

/* The largest scale with the top above 7 steps, rounded down. */
INLINE vi nvfp4_last(vf top) {
    vf step = v_min(top * v_set(1.0f / 7.0f), v_set(224.0f));
    vi tiny = __builtin_convertvector(step * v_set(1024.0f), vi);
    vi is_tiny = tiny < 8;
    return (tiny & is_tiny) | ((((vi)step >> 20) - (119 << 3)) & ~is_tiny);
}

/* All other scales that can be the best one. Below 16 the half of a scale is not always a scale:
 * the best effort tries all of these. */
INLINE void nvfp4_try_rest(const float *x, const float *w, const fp4_top *top, vi reference,
                           tamis_effort effort, fp4_choice *best) {
    vi last = nvfp4_last(top->magnitude);
    if (effort > TAMIS_EFFORT_NORMAL) last = v_clamp_whole(last, 15, NVFP4_MAX_SCALE);
    for (int change = 3; v_any(reference + change <= last); change += 2) {
        nvfp4_try_2(x, w, reference + change, reference + change + 1, last, best);
    }
    for (int change = -2;; change -= 2) {
        vi scale = reference + change;
        vf step = nvfp4_step(v_clamp_whole(scale, 1, NVFP4_MAX_SCALE));
        if (!v_any(fp4_may_win(x, w, 16, top, step, best) & (scale > 0))) break;
        nvfp4_try_2(x, w, scale, scale - 1, scale, best);
    }
}

/* inverse: of the steps, 0 for a step of 0. */
INLINE void nvfp4_search(const tile *t, tamis_effort effort, lanes *scale, lanes *inverse) {
    FOR_LANES(g) {
        const float *x = &t->x[0][g], *w = &t->w[0][g];
        fp4_top top = fp4_find_top(x, w, 16);
        vi reference = nvfp4_reference(top.magnitude);
        fp4_choice best = {v_set(0.0f), v_set(0.0f), (vi)v_set(0.0f)};
        for (int e = 0; e < 16; e++) {
            vf xe = v_load(x + e * LANES);
            best.error += v_load(w + e * LANES) * xe * xe;
        }
        nvfp4_try_2(x, w, reference, reference + 1, reference + 1, &best);
        nvfp4_try_2(x, w, reference - 1, reference + 2, reference + 2, &best);
        if (effort > TAMIS_EFFORT_FAST) nvfp4_try_rest(x, w, &top, reference, effort, &best);
        v_store(scale->v + g, __builtin_convertvector(best.scale, vf));
        v_store(inverse->v + g, v_inverse(best.step));
    }
}

#endif
