/* encode_symmetric_internal.h - search for formats whose values are scale * code: q4_0, q5_0, q3_K,
 * q6_K, and iq4_nl, iq4_xs where the code names an entry of a fixed table of values.
 * A sub-block tries a row of inverse scales, each judged by the weighted least-squares scale
 * of the codes it gives; super-blocks then choose d among candidates, the integer scales by
 * the error of the codes re-rounded with them, and refit d in closed form.
 * Whatever is chosen is judged by its error as the decoder sees it. Compute bound. */
#ifndef TAMIS_FORMATS_ENCODE_SYMMETRIC_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_SYMMETRIC_INTERNAL_H

#include "formats/encode_codebook_internal.h"
#include "formats/encode_tile_internal.h"

typedef struct code_set {
    int n_sub;                /* elements per sub-block */
    int unit;                 /* sub-blocks that share d */
    bool is_codebook;         /* values from the iq4 table, else the integers lo..hi */
    float lo, hi;             /* smallest and largest value of a code */
    int n_ratios;             /* a multiple of 4 */
    const float *ratios;      /* value the largest element is tried at */
    float scale_lo, scale_hi; /* integer sub-scales; both 1 when there are none */
} code_set;

INLINE vf nearest_value(vf t, const code_set *set) {
    return set->is_codebook ? iq4_nearest(t) : v_clamp(v_round(t), set->lo, set->hi);
}

/* sum w*x*value and sum w*value^2 of the values that inverse scale `id` gives. */
INLINE void value_sums(const float *x, const float *w, const code_set *set, vf id, vf *xv, vf *vv) {
    vf sum_xv = v_set(0.0f), sum_vv = v_set(0.0f);
    for (int e = 0; e < set->n_sub; e++) {
        vf xe = v_load(x + e * LANES);
        vf value = nearest_value(xe * id, set);
        vf weighted = v_load(w + e * LANES) * value;
        sum_xv += weighted * xe;
        sum_vv += weighted * value;
    }
    *xv = sum_xv;
    *vv = sum_vv;
}

/* What is left to choose from after the search of one sub-block: its best scale, and how
 * fast its error grows away from it. */
typedef struct sub_fit {
    vf score, scale, curvature;
} sub_fit;

INLINE void keep_better_fit(sub_fit *best, vf xv, vf vv) {
    vf scale = xv / v_max(vv, v_set(1e-30f));
    vf score = xv * scale;
    vi better = score > best->score;
    best->score = v_select(better, score, best->score);
    best->scale = v_select(better, scale, best->scale);
    best->curvature = v_select(better, vv, best->curvature);
}

/* The element of largest magnitude. */
INLINE vf signed_top(const float *x, int n_sub) {
    vf top = v_set(0.0f), bottom = v_set(0.0f);
    for (int e = 0; e < n_sub; e++) {
        vf xe = v_load(x + e * LANES);
        top = v_max(top, xe);
        bottom = v_min(bottom, xe);
    }
    return v_select(top > -bottom, top, bottom);
}

/* value_sums() for four inverse scales in one go: independent chains hide the latency of adds. */
INLINE void try_4_scales(const float *x, const float *w, const code_set *set, const vf id[4],
                         sub_fit *best) {
    const vf zero = v_set(0.0f), id0 = id[0], id1 = id[1], id2 = id[2], id3 = id[3];
    vf xv0 = zero, xv1 = zero, xv2 = zero, xv3 = zero, vv0 = zero, vv1 = zero, vv2 = zero,
       vv3 = zero;
    for (int e = 0; e < set->n_sub; e++) {
        vf xe = v_load(x + e * LANES), we = v_load(w + e * LANES);
        vf v0 = nearest_value(xe * id0, set), v1 = nearest_value(xe * id1, set);
        vf v2 = nearest_value(xe * id2, set), v3 = nearest_value(xe * id3, set);
        vf w0 = we * v0, w1 = we * v1, w2 = we * v2, w3 = we * v3;
        xv0 += w0 * xe, vv0 += w0 * v0;
        xv1 += w1 * xe, vv1 += w1 * v1;
        xv2 += w2 * xe, vv2 += w2 * v2;
        xv3 += w3 * xe, vv3 += w3 * v3;
    }
    keep_better_fit(best, xv0, vv0);
    keep_better_fit(best, xv1, vv1);
    keep_better_fit(best, xv2, vv2);
    keep_better_fit(best, xv3, vv3);
}

INLINE sub_fit fit_sub_block(const float *x, const float *w, const code_set *set, vf top) {
    vf inverse = v_inverse(top);
    sub_fit best = {v_set(-1.0f), v_set(0.0f), v_set(0.0f)};
    for (int i = 0; i < set->n_ratios; i += 4) {
        const float *r = set->ratios + i;
        const vf id[4] = {inverse * v_set(r[0]), inverse * v_set(r[1]), inverse * v_set(r[2]),
                          inverse * v_set(r[3])};
        try_4_scales(x, w, set, id, &best);
    }
    for (int i = 0; i < LLOYD; i++) {
        vf xv, vv;
        value_sums(x, w, set, v_inverse(best.scale), &xv, &vv);
        keep_better_fit(&best, xv, vv);
    }
    return best;
}

/* Weighted squared error with the stored step of the sub-block. */
INLINE vf step_error(const float *x, const float *w, const code_set *set, vf step) {
    vf id = v_inverse(step), error = v_set(0.0f);
    for (int e = 0; e < set->n_sub; e++) {
        vf xe = v_load(x + e * LANES);
        vf off = xe - step * nearest_value(xe * id, set);
        error += v_load(w + e * LANES) * off * off;
    }
    return error;
}

/* The best choice for a tile so far: per lane d, integer scale, error of the lane's unit. */
typedef struct symmetric_choice {
    lanes d, scale, unit_error;
} symmetric_choice;

/* step_error() of three steps in one go. */
INLINE void step_errors_of_3(const float *x, const float *w, const code_set *set, const vf step[3],
                             vf error[3]) {
    const vf zero = v_set(0.0f), s0 = step[0], s1 = step[1], s2 = step[2];
    const vf id0 = v_inverse(s0), id1 = v_inverse(s1), id2 = v_inverse(s2);
    vf e0 = zero, e1 = zero, e2 = zero;
    for (int e = 0; e < set->n_sub; e++) {
        vf xe = v_load(x + e * LANES), we = v_load(w + e * LANES);
        vf off0 = xe - s0 * nearest_value(xe * id0, set);
        vf off1 = xe - s1 * nearest_value(xe * id1, set);
        vf off2 = xe - s2 * nearest_value(xe * id2, set);
        e0 += we * off0 * off0;
        e1 += we * off1 * off1;
        e2 += we * off2 * off2;
    }
    error[0] = e0;
    error[1] = e1;
    error[2] = e2;
}

/* Integer scales for a given d: the nearest ones, or of these and their neighbours the ones of
 * least error. */
INLINE void choose_scales(const tile *t, const code_set *set, const lanes *ideal,
                          symmetric_choice *c, bool with_neighbours) {
    FOR_LANES(g) {
        const float *x = &t->x[0][g], *w = &t->w[0][g];
        vf d = v_load(c->d.v + g), scale = v_set(1.0f), least;
        if (set->unit > 1) {
            scale =
                v_clamp(v_round(v_load(ideal->v + g) * v_inverse(d)), set->scale_lo, set->scale_hi);
        }
        if (set->unit > 1 && with_neighbours) {
            vf below = v_max(scale - v_set(1.0f), v_set(set->scale_lo));
            vf above = v_min(scale + v_set(1.0f), v_set(set->scale_hi)), error[3];
            const vf step[3] = {d * scale, d * below, d * above};
            step_errors_of_3(x, w, set, step, error);
            scale = v_select(error[1] < error[0], below, scale);
            least = v_min(error[0], error[1]);
            scale = v_select(error[2] < least, above, scale);
            least = v_min(least, error[2]);
        } else {
            least = step_error(x, w, set, d * scale);
        }
        v_store(c->scale.v + g, scale);
        v_store(c->unit_error.v + g, least);
    }
    unit_sum(&c->unit_error, set->unit);
}

INLINE void keep_better_choice(symmetric_choice *best, const symmetric_choice *c) {
    FOR_LANES(g) {
        vf error = v_load(c->unit_error.v + g), least = v_load(best->unit_error.v + g);
        vi better = error < least;
        v_store(best->unit_error.v + g, v_select(better, error, least));
        v_store(best->d.v + g, v_select(better, v_load(c->d.v + g), v_load(best->d.v + g)));
        v_store(best->scale.v + g,
                v_select(better, v_load(c->scale.v + g), v_load(best->scale.v + g)));
    }
}

/* d in closed form for the codes of `best`, rounded to f16. */
INLINE void refit_d(const tile *t, const code_set *set, const symmetric_choice *best, lanes *d,
                    lanes *ideal) {
    lanes xv, vv;
    FOR_LANES(g) {
        vf scale = v_load(best->scale.v + g), sum_xv, sum_vv;
        vf id = v_inverse(v_load(best->d.v + g) * scale);
        value_sums(&t->x[0][g], &t->w[0][g], set, id, &sum_xv, &sum_vv);
        v_store(ideal->v + g, sum_xv / v_max(sum_vv, v_set(1e-30f)));
        v_store(xv.v + g, sum_xv * scale);
        v_store(vv.v + g, sum_vv * scale * scale);
    }
    unit_sum(&xv, set->unit);
    unit_sum(&vv, set->unit);
    FOR_LANES(g) {
        v_store(d->v + g, v_f16(v_load(xv.v + g) / v_max(v_load(vv.v + g), v_set(1e-30f))));
    }
}

/* The value of largest magnitude in each unit. */
INLINE void unit_signed_top(const lanes *a, int unit, lanes *top) {
    lanes high, low;
    FOR_LANES(g) {
        v_store(high.v + g, v_load(a->v + g));
        v_store(low.v + g, -v_load(a->v + g));
    }
    unit_max(&high, unit);
    unit_max(&low, unit);
    FOR_LANES(g) {
        vf h = v_load(high.v + g), l = v_load(low.v + g);
        v_store(top->v + g, v_select(h > l, h, -l));
    }
}

/* d for the ideal scales of a super-block: the same search, one level up. */
INLINE void fit_d(const code_set *set, const lanes *ideal, const lanes *curvature, lanes *d) {
    lanes top, best;
    unit_signed_top(ideal, set->unit, &top);
    FOR_LANES(g) {
        v_store(best.v + g, v_set(-1.0f));
        v_store(d->v + g, v_set(0.0f));
    }
    for (int i = 0; i < 16; i++) {
        float ratio = set->scale_lo * (1.0f - 0.02f * (float)i);
        lanes xs, ss;
        FOR_LANES(g) {
            vf ideal_scale = v_load(ideal->v + g), c = v_load(curvature->v + g);
            vf id = v_inverse(v_load(top.v + g)) * v_set(ratio);
            vf s = v_clamp(v_round(ideal_scale * id), set->scale_lo, set->scale_hi);
            v_store(xs.v + g, c * ideal_scale * s);
            v_store(ss.v + g, c * s * s);
        }
        unit_sum(&xs, set->unit);
        unit_sum(&ss, set->unit);
        FOR_LANES(g) {
            vf fit = v_load(xs.v + g) / v_max(v_load(ss.v + g), v_set(1e-30f));
            vf score = v_load(xs.v + g) * fit;
            vi better = score > v_load(best.v + g);
            v_store(best.v + g, v_select(better, score, v_load(best.v + g)));
            v_store(d->v + g, v_select(better, fit, v_load(d->v + g)));
        }
    }
}

/* The codes of the choice: value - lo for integers, index for the table. */
INLINE void symmetric_codes(const tile *t, const code_set *set, const symmetric_choice *c,
                            codes *out) {
    FOR_LANES(g) {
        vf id = v_inverse(v_load(c->d.v + g) * v_load(c->scale.v + g));
        vf code[MAX_SUB];
        for (int e = 0; e < set->n_sub; e++) {
            vf scaled = v_load(&t->x[e][g]) * id;
            code[e] = set->is_codebook ? iq4_nearest_index(scaled)
                                       : nearest_value(scaled, set) - v_set(set->lo);
        }
        store_turned(code, g, set->n_sub, out);
    }
}

/* Search one tile: best d and integer scales of every unit, and the codes. */
INLINE void symmetric_search(const tile *t, const code_set *set, tamis_effort effort,
                             symmetric_choice *best, codes *out) {
    (void)effort;
    symmetric_choice c;
    lanes ideal, curvature, plain;
    FOR_LANES(g) {
        vf top = signed_top(&t->x[0][g], set->n_sub);
        sub_fit fit = fit_sub_block(&t->x[0][g], &t->w[0][g], set, top);
        v_store(ideal.v + g, fit.scale);
        v_store(curvature.v + g, fit.curvature);
        v_store(plain.v + g, top * v_set(1.0f / set->lo));
        v_store(best->unit_error.v + g, v_set(__builtin_inff()));
        v_store(best->scale.v + g, v_set(1.0f));
        v_store(best->d.v + g, v_set(0.0f));
    }
    /* Rounding to nearest, as every encoder of this format can. */
    lanes top = plain;
    if (set->unit > 1) {
        unit_signed_top(&plain, set->unit, &top);
    }
    FOR_LANES(g) {
        v_store(c.d.v + g, v_f16(v_load(top.v + g) * v_set(1.0f / set->scale_lo)));
    }
    choose_scales(t, set, &plain, &c, false);
    keep_better_choice(best, &c);
    if (set->unit > 1) {
        fit_d(set, &ideal, &curvature, &c.d);
    } else {
        c.d = ideal;
    }
    lanes wide = c.d;
    round_steps(&c.d);
    choose_scales(t, set, &ideal, &c, true);
    keep_better_choice(best, &c);
    if (widen_tiny_steps(&wide)) {
        c.d = wide;
        round_steps(&c.d);
        choose_scales(t, set, &ideal, &c, true);
        keep_better_choice(best, &c);
    }
    refit_d(t, set, best, &c.d, &ideal);
    choose_scales(t, set, &ideal, &c, true);
    keep_better_choice(best, &c);
    symmetric_codes(t, set, best, out);
}

#endif
