/* encode_fp4_internal.h - search for mxfp4 and nvfp4: values 0 1 2 3 4 6 8 12 with a sign, times a
 * scale from a short list. For a given scale the nearest values are the best ones, so trying the
 * scales one after another finds the optimum. Above, a scale is pointless once half of it gives the
 * same values (largest element at 5 steps or less); below, once what is cut off at 12 steps
 * alone costs more than the best scale so far. Compute bound.
 * Scales: reference/tensor-types.md section 3. */
#ifndef TAMIS_FORMATS_ENCODE_FP4_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_FP4_INTERNAL_H

#include "formats/encode_tile_internal.h"

/* A scale replaces another when it is better by more than the rounding of the sums: then the true
 * error falls too. */
#define FP4_BETTER 0.99999f

/* The nearest of 0 1 2 3 4 6 8 12 to a magnitude, halves down. From 2 up the values have one bit of
 * mantissa: just less than half of what is dropped is added. */
INLINE vf fp4_nearest(vf a) {
    vi bits = (vi)v_clamp(a, 2.0f, 12.0f);
    vf coarse = (vf)((bits + 0x1FFFFF) & ~0x3FFFFF);
    vf fine = (vf)((a > v_set(0.5f)) & (vi)v_set(1.0f));
    return v_select(a > v_set(1.5f), coarse, fine);
}

/* The code of a nearest value, with the sign of x unless it is zero. */
INLINE vf fp4_code(vf value, vf x) {
    vi code = ((vi)value >> 22) - 254;
    vi is_small = value < v_set(2.0f);
    code = (code & ~is_small) | ((value == v_set(1.0f)) & 1);
    code |= (x < v_set(0.0f)) & (value > v_set(0.0f)) & 8;
    return __builtin_convertvector(code, vf);
}

/* The best scale so far of one vector of blocks. */
typedef struct fp4_choice {
    vf error, step, inverse;
    vi scale; /* as stored */
} fp4_choice;

/* Judge a scale, in the lanes where it is allowed. */
INLINE void fp4_try(const float *x, const float *w, int n_sub, vf step, vf inverse, vi scale,
                    vi allowed, fp4_choice *best) {
    vf error = v_set(0.0f);
    for (int e = 0; e < n_sub; e++) {
        vf a = v_abs(v_load(x + e * LANES));
        vf off = a - step * fp4_nearest(a * inverse);
        error += v_load(w + e * LANES) * off * off;
    }
    vi better = (error < best->error * v_set(FP4_BETTER)) & allowed;
    best->error = v_select(better, error, best->error);
    best->step = v_select(better, step, best->step);
    best->inverse = v_select(better, inverse, best->inverse);
    best->scale = (better & scale) | (~better & best->scale);
}

/* What the elements above the largest value cost: no smaller scale can cost less. */
INLINE vf fp4_cut_off(const float *x, const float *w, int n_sub, vf step) {
    vf top = step * v_set(12.0f), error = v_set(0.0f);
    for (int e = 0; e < n_sub; e++) {
        vf off = v_max(v_abs(v_load(x + e * LANES)) - top, v_set(0.0f));
        error += v_load(w + e * LANES) * off * off;
    }
    return error;
}

INLINE void fp4_codes(const float *x, int n_sub, int g, vf inverse, codes *out) {
    vf code[MAX_SUB];
    for (int e = 0; e < n_sub; e++) {
        vf xe = v_load(x + e * LANES);
        code[e] = fp4_code(fp4_nearest(v_abs(xe) * inverse), xe);
    }
    store_turned(code, g, n_sub, out);
}

INLINE vf fp4_top(const float *x, int n_sub) {
    vf top = v_set(0.0f);
    for (int e = 0; e < n_sub; e++) {
        top = v_max(top, v_abs(v_load(x + e * LANES)));
    }
    return top;
}

INLINE vi v_clamp_whole(vi a, int lo, int hi) {
    vi low = a<lo, high = a> hi;
    return (a & ~(low | high)) | (lo & low) | (hi & high);
}

/* --- mxfp4: 2^(ex - 128), blocks of 32 --- */

/* Largest exponent whose values stay finite (12 * 2^124). */
enum { MXFP4_MAX_EX = 252 };

/* Scale the blocks by powers of two, exactly, so that the largest element is below 16 and, where
 * the exponent allows, at least 8. Returns the exponents by the reference's rule. */
INLINE vi mxfp4_normalise(float *x) {
    vi ex = v_clamp_whole(((vi)fp4_top(x, 32) >> 23) - 2, 0, MXFP4_MAX_EX);
    /* 2^(128 - ex) in two factors: it can be too large for a float. */
    vf factor = (vf)((254 - ex) << 23);
    for (int e = 0; e < 32; e++) {
        v_store(x + e * LANES, v_load(x + e * LANES) * factor * v_set(2.0f));
    }
    return ex;
}

INLINE void mxfp4_try(const float *x, const float *w, vi reference, int change, fp4_choice *best) {
    float step = tamis_f32_from_bits((uint32_t)(127 + change) << 23);
    float inverse = tamis_f32_from_bits((uint32_t)(127 - change) << 23);
    vi ex = reference + change;
    fp4_try(x, w, 32, v_set(step), v_set(inverse), ex, (ex >= 0) & (ex <= MXFP4_MAX_EX), best);
}

/* t->x is scaled on the way; scale: the exponents. */
INLINE void mxfp4_search(tile *t, tamis_effort effort, lanes *scale, codes *out) {
    FOR_LANES(g) {
        float *x = &t->x[0][g];
        const float *w = &t->w[0][g];
        vi reference = mxfp4_normalise(x);
        fp4_choice best = {v_set(__builtin_inff()), v_set(1.0f), v_set(1.0f), reference};
        mxfp4_try(x, w, reference, 0, &best);
        mxfp4_try(x, w, reference, 1, &best);
        mxfp4_try(x, w, reference, -1, &best);
        for (int change = -2; effort > TAMIS_EFFORT_FAST && change > -126; change--) {
            float step = tamis_f32_from_bits((uint32_t)(127 + change) << 23);
            vf cut_off = fp4_cut_off(x, w, 32, v_set(step));
            if (!v_any((cut_off < best.error) & (reference + change >= 0))) break;
            mxfp4_try(x, w, reference, change, &best);
        }
        fp4_codes(x, 32, g, best.inverse, out);
        v_store(scale->v + g, __builtin_convertvector(best.scale, vf));
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

INLINE void nvfp4_try(const float *x, const float *w, vi scale, fp4_choice *best) {
    vi held = v_clamp_whole(scale, 1, NVFP4_MAX_SCALE);
    vf step = nvfp4_step(held);
    fp4_try(x, w, 16, step, v_set(1.0f) / step, held, held == scale, best);
}

/* All other scales that can be the best one. */
INLINE void nvfp4_try_rest(const float *x, const float *w, vf top, vi reference, fp4_choice *best) {
    /* The largest scale with the top above 5 steps; below 16 the half is not always a scale. */
    vi last = v_clamp_whole(((vi)(top * v_set(0.2f)) >> 20) - (119 << 3), 15, NVFP4_MAX_SCALE);
    for (int change = 2; v_any(reference + change <= last); change++) {
        nvfp4_try(x, w, reference + change, best);
    }
    for (int change = -2;; change--) {
        vi scale = reference + change;
        vf cut_off = fp4_cut_off(x, w, 16, nvfp4_step(v_clamp_whole(scale, 1, NVFP4_MAX_SCALE)));
        if (!v_any((cut_off < best->error) & (scale > 0))) break;
        nvfp4_try(x, w, scale, best);
    }
}

INLINE void nvfp4_search(tile *t, tamis_effort effort, lanes *scale, codes *out) {
    /* Largest element near 12 steps, then near 8. */
    static const int near[] = {0, 1, -1, 4, 5};
    FOR_LANES(g) {
        const float *x = &t->x[0][g], *w = &t->w[0][g];
        vf top = fp4_top(x, 16), zero = v_set(0.0f);
        vi reference = nvfp4_reference(top);
        fp4_choice best = {zero, zero, zero, (vi)zero};
        for (int e = 0; e < 16; e++) {
            vf xe = v_load(x + e * LANES);
            best.error += v_load(w + e * LANES) * xe * xe;
        }
        for (int i = 0; i < 5; i++) {
            nvfp4_try(x, w, reference + near[i], &best);
        }
        if (effort > TAMIS_EFFORT_FAST) nvfp4_try_rest(x, w, top, reference, &best);
        fp4_codes(x, 16, g, best.inverse, out);
        v_store(scale->v + g, __builtin_convertvector(best.scale, vf));
    }
}

#endif
