/* encode_affine_internal.h - search for formats whose values are scale * code + minimum: q4_1, q5_1
 * and q2_K, q4_K, q5_K, where y = (d * sc) * q - (dmin * m) with small integers sc and m.
 * A sub-block tries a row of inverse scales, each followed by the weighted least-squares
 * line through its codes; super-blocks then choose sc and m by the error of the codes
 * re-rounded with them, and refit d and dmin in closed form. dmin takes the sign that suits
 * the super-block, so values that are all positive keep a positive minimum. Compute bound. */
#ifndef TAMIS_FORMATS_ENCODE_AFFINE_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_AFFINE_INTERNAL_H

#include "formats/encode_tile_internal.h"

typedef struct line_set {
    int n_sub;           /* elements per sub-block */
    int unit;            /* sub-blocks that share d and dmin */
    float hi;            /* codes are 0..hi */
    int n_ratios;        /* a multiple of 3 */
    const float *ratios; /* code the range of a sub-block is tried to reach */
    float scale_hi;      /* sc and m are 0..scale_hi; 0 when there are none */
} line_set;

/* Weighted sums over a sub-block: enough to know the error of any line for its codes. */
typedef struct line_sums {
    vf q, qq, xq; /* sum w*q, w*q*q, w*x*q */
} line_sums;

typedef struct line_fit {
    vf score, scale, minimum; /* minimum: relative to the origin */
    line_sums sums;
} line_fit;

/* What does not depend on the codes. x is taken relative to `origin`. */
typedef struct line_data {
    const float *x, *w;
    vf origin, range; /* smallest value (or 0, where 0 must be in reach), and largest - it */
    vf sum_w, sum_x;
    vf bottom, top; /* bounds of the minimum relative to the origin */
} line_data;

INLINE line_sums sums_at(const line_data *s, const line_set *set, vf id, vf shift) {
    line_sums sums = {v_set(0.0f), v_set(0.0f), v_set(0.0f)};
    vf offset = shift - s->origin * id;
    for (int e = 0; e < set->n_sub; e++) {
        vf x = v_load(s->x + e * LANES);
        vf q = v_clamp(v_round(x * id + offset), 0.0f, set->hi);
        vf weighted = v_load(s->w + e * LANES) * q;
        sums.q += weighted;
        sums.qq += weighted * q;
        sums.xq += weighted * (x - s->origin);
    }
    return sums;
}

/* The least-squares line for the codes behind `sums`, kept when it is the best so far.
 * score: how much of sum w*x^2 the line explains. */
INLINE void keep_better_line(line_fit *best, const line_data *s, line_sums sums) {
    const vf tiny = v_set(1e-30f);
    vf det = s->sum_w * sums.qq - sums.q * sums.q;
    vi sound = det > v_set(1e-6f) * s->sum_w * sums.qq;
    vf scale = (s->sum_w * sums.xq - s->sum_x * sums.q) / v_select(sound, det, v_set(1.0f));
    vf minimum = (s->sum_x - scale * sums.q) / s->sum_w;
    vf bounded = v_min(v_max(minimum, s->bottom), s->top);
    vi free = bounded == minimum;
    vf held = (sums.xq - bounded * sums.q) / v_max(sums.qq, tiny);
    scale = v_select(free & sound, scale, held);
    vf score = v_set(2.0f) * (scale * sums.xq + bounded * s->sum_x) -
               (scale * scale * sums.qq + bounded * bounded * s->sum_w +
                v_set(2.0f) * scale * bounded * sums.q);
    vi better = (score > best->score) & (scale > v_set(0.0f));
    best->score = v_select(better, score, best->score);
    best->scale = v_select(better, scale, best->scale);
    best->minimum = v_select(better, bounded, best->minimum);
    best->sums.q = v_select(better, sums.q, best->sums.q);
    best->sums.qq = v_select(better, sums.qq, best->sums.qq);
    best->sums.xq = v_select(better, sums.xq, best->sums.xq);
}

/* is_positive: lanes of units whose values are all above zero. */
INLINE void measure_line(line_data *s, const line_set *set, vf low, vf high, vi is_positive) {
    const vf zero = v_set(0.0f), far = v_set(1e30f);
    s->origin = set->scale_hi == 0.0f ? low : v_select(is_positive, low, v_min(low, zero));
    s->range = v_max(high - s->origin, zero);
    s->sum_w = s->sum_x = zero;
    for (int e = 0; e < set->n_sub; e++) {
        vf w = v_load(s->w + e * LANES);
        s->sum_w += w;
        s->sum_x += w * (v_load(s->x + e * LANES) - s->origin);
    }
    s->bottom = -far;
    s->top = far;
    if (set->scale_hi != 0.0f) {
        s->bottom = v_select(is_positive, -s->origin, -far);
        s->top = v_select(is_positive, far, -s->origin);
    }
}

/* sums_at() of three candidates in one go: independent chains hide the latency of adds. */
INLINE void try_3_lines(const line_data *s, const line_set *set, const vf id[3], const vf shift[3],
                        line_fit *best) {
    const vf zero = v_set(0.0f), origin = s->origin, id0 = id[0], id1 = id[1], id2 = id[2];
    const vf offset0 = shift[0] - origin * id0, offset1 = shift[1] - origin * id1;
    const vf offset2 = shift[2] - origin * id2;
    line_sums a = {zero, zero, zero}, b = a, c = a;
    for (int e = 0; e < set->n_sub; e++) {
        vf x = v_load(s->x + e * LANES), w = v_load(s->w + e * LANES), above = x - origin;
        vf q0 = v_clamp(v_round(x * id0 + offset0), 0.0f, set->hi), w0 = w * q0;
        vf q1 = v_clamp(v_round(x * id1 + offset1), 0.0f, set->hi), w1 = w * q1;
        vf q2 = v_clamp(v_round(x * id2 + offset2), 0.0f, set->hi), w2 = w * q2;
        a.q += w0, a.qq += w0 * q0, a.xq += w0 * above;
        b.q += w1, b.qq += w1 * q1, b.xq += w1 * above;
        c.q += w2, c.qq += w2 * q2, c.xq += w2 * above;
    }
    keep_better_line(best, s, a);
    keep_better_line(best, s, b);
    keep_better_line(best, s, c);
}

INLINE line_fit fit_line(const line_data *s, const line_set *set) {
    const vf zero = v_set(0.0f);
    vf inverse = v_inverse(s->range);
    line_fit best = {v_set(-1.0f), zero, zero, {zero, zero, zero}};
    best.minimum = v_min(v_max(zero, s->bottom), s->top);
    for (int i = 0; i < set->n_ratios; i += 3) {
        /* Codes beyond either end are cut; the shift shares the cut between both. */
        const float *r = set->ratios + i;
        const vf id[3] = {inverse * v_set(r[0]), inverse * v_set(r[1]), inverse * v_set(r[2])};
        const vf shift[3] = {v_set(0.5f * (set->hi - r[0])), v_set(0.5f * (set->hi - r[1])),
                             v_set(0.5f * (set->hi - r[2]))};
        try_3_lines(s, set, id, shift, &best);
    }
    for (int i = 0; i < LLOYD; i++) {
        vf id = v_inverse(best.scale);
        keep_better_line(&best, s, sums_at(s, set, id, -best.minimum * id));
    }
    return best;
}

/* Weighted squared error of stored values step * q + minimum. */
INLINE vf line_error(const float *x, const float *w, const line_set *set, vf step, vf minimum) {
    vf id = v_inverse(step), offset = minimum * id, error = v_set(0.0f);
    for (int e = 0; e < set->n_sub; e++) {
        vf xe = v_load(x + e * LANES);
        vf q = v_clamp(v_round(xe * id - offset), 0.0f, set->hi);
        vf off = xe - (step * q + minimum);
        error += v_load(w + e * LANES) * off * off;
    }
    return error;
}

/* d and dmin of the lane's unit (signs as stored), sc and m, and the unit's error.
 * Without sub-scales: sc = 1, m = -1, dmin = the minimum. */
typedef struct affine_choice {
    lanes d, dmin, scale, minimum, unit_error;
} affine_choice;

/* The lines the sub-blocks would have if nothing were rounded. */
typedef struct affine_ideal {
    lanes scale, minimum; /* minimum: absolute */
    lanes tilt;           /* tilt: how far the minimum moves per change of scale */
} affine_ideal;

INLINE void try_integers(const tile *t, const line_set *set, int g, affine_choice *c, vf scale,
                         vf minimum) {
    vf d = v_load(c->d.v + g), dmin = v_load(c->dmin.v + g);
    vf error = line_error(&t->x[0][g], &t->w[0][g], set, d * scale, -(dmin * minimum));
    vi better = error < v_load(c->unit_error.v + g);
    v_store(c->unit_error.v + g, v_select(better, error, v_load(c->unit_error.v + g)));
    v_store(c->scale.v + g, v_select(better, scale, v_load(c->scale.v + g)));
    v_store(c->minimum.v + g, v_select(better, minimum, v_load(c->minimum.v + g)));
}

/* Integers sc and m of every lane for the d and dmin in c. */
INLINE void choose_integers(const tile *t, const line_set *set, const affine_ideal *ideal,
                            affine_choice *c, int reach) {
    FOR_LANES(g) {
        v_store(c->unit_error.v + g, v_set(__builtin_inff()));
        if (set->scale_hi == 0.0f) {
            try_integers(t, set, g, c, v_set(1.0f), v_set(-1.0f));
            continue;
        }
        vf d = v_load(c->d.v + g), inverse_dmin = v_inverse(v_load(c->dmin.v + g));
        vf ideal_scale = v_load(ideal->scale.v + g), ideal_min = v_load(ideal->minimum.v + g);
        vf middle = v_round(v_min(ideal_scale * v_inverse(d), v_set(set->scale_hi)));
        for (int i = -reach; i <= reach; i++) {
            vf scale = v_clamp(middle + v_set((float)i), 0.0f, set->scale_hi);
            vf moved = ideal_min - v_load(ideal->tilt.v + g) * (d * scale - ideal_scale);
            vf exact = -moved * inverse_dmin;
            vf near = v_round(v_min(exact, v_set(set->scale_hi)));
            if (reach == 0) {
                try_integers(t, set, g, c, scale, v_clamp(near, 0.0f, set->scale_hi));
                continue;
            }
            vf other = near + v_select(exact > near, v_set(1.0f), v_set(-1.0f));
            try_integers(t, set, g, c, scale, v_clamp(near, 0.0f, set->scale_hi));
            try_integers(t, set, g, c, scale, v_clamp(other, 0.0f, set->scale_hi));
        }
    }
    unit_sum(&c->unit_error, set->unit);
}

INLINE void keep_better_affine(affine_choice *best, const affine_choice *c) {
    FOR_LANES(g) {
        vi better = v_load(c->unit_error.v + g) < v_load(best->unit_error.v + g);
        const lanes *from[5] = {&c->d, &c->dmin, &c->scale, &c->minimum, &c->unit_error};
        lanes *to[5] = {&best->d, &best->dmin, &best->scale, &best->minimum, &best->unit_error};
        for (int i = 0; i < 5; i++) {
            v_store(to[i]->v + g, v_select(better, v_load(from[i]->v + g), v_load(to[i]->v + g)));
        }
    }
}

/* d and dmin in closed form for the integers and codes of `best`, into c; and the ideal lines
 * of those codes. */
INLINE void refit_affine(const tile *t, const line_set *set, const affine_choice *best,
                         affine_choice *c, affine_ideal *ideal) {
    lanes aa, ab, bb, xa, xb;
    FOR_LANES(g) {
        vf sc = v_load(best->scale.v + g), m = v_load(best->minimum.v + g);
        vf id = v_inverse(v_load(best->d.v + g) * sc);
        vf offset = v_load(best->dmin.v + g) * m * id;
        vf w_sum = v_set(0.0f), q1 = w_sum, q2 = w_sum, xq = w_sum, x1 = w_sum;
        for (int e = 0; e < set->n_sub; e++) {
            vf x = v_load(&t->x[e][g]), w = v_load(&t->w[e][g]);
            vf q = v_clamp(v_round(x * id + offset), 0.0f, set->hi);
            vf weighted = w * q;
            w_sum += w;
            q1 += weighted;
            q2 += weighted * q;
            xq += weighted * x;
            x1 += w * x;
        }
        v_store(aa.v + g, sc * sc * q2);
        v_store(ab.v + g, sc * m * q1);
        v_store(bb.v + g, m * m * w_sum);
        v_store(xa.v + g, sc * xq);
        v_store(xb.v + g, m * x1);
        vf det = w_sum * q2 - q1 * q1;
        vi sound = det > v_set(1e-6f) * w_sum * q2;
        vf scale = (w_sum * xq - x1 * q1) / v_select(sound, det, v_set(1.0f));
        scale = v_select(sound, scale, v_load(ideal->scale.v + g));
        v_store(ideal->scale.v + g, scale);
        v_store(ideal->minimum.v + g, (x1 - scale * q1) / w_sum);
        v_store(ideal->tilt.v + g, q1 / w_sum);
    }
    lanes *sums[5] = {&aa, &ab, &bb, &xa, &xb};
    for (int i = 0; i < 5; i++) {
        unit_sum(sums[i], set->unit);
    }
    FOR_LANES(g) {
        /* x = d*a - dmin*b: normal equations with the sign of b turned. */
        vf A = v_load(aa.v + g), B = v_load(ab.v + g), C = v_load(bb.v + g);
        vf X = v_load(xa.v + g), Y = v_load(xb.v + g);
        vf det = A * C - B * B;
        vi sound = det > v_set(1e-6f) * A * C;
        vf bottom = v_select(sound, det, v_set(1.0f));
        vf d = v_select(sound, (C * X - B * Y) / bottom, X / v_max(A, v_set(1e-30f)));
        vf dmin = v_select(sound, (B * X - A * Y) / bottom, v_load(best->dmin.v + g));
        v_store(c->d.v + g, v_f16(d));
        v_store(c->dmin.v + g, v_f16(dmin));
    }
}

/* The smallest and largest value of every lane, and whether a unit is above zero throughout. */
INLINE void measure_range(const tile *t, const line_set *set, lanes *low, lanes *high,
                          lanes *positive) {
    FOR_LANES(g) {
        vf bottom = v_load(&t->x[0][g]), top = bottom;
        for (int e = 1; e < set->n_sub; e++) {
            bottom = v_min(bottom, v_load(&t->x[e][g]));
            top = v_max(top, v_load(&t->x[e][g]));
        }
        v_store(low->v + g, bottom);
        v_store(high->v + g, top);
        v_store(positive->v + g, -bottom);
    }
    unit_max(positive, set->unit);
}

/* d and dmin that put the largest scale and minimum of a unit at the top of their range. */
INLINE void widest_steps(const line_set *set, const affine_ideal *ideal, affine_choice *c) {
    lanes scale = ideal->scale, minimum;
    if (set->scale_hi == 0.0f) {
        FOR_LANES(g) {
            v_store(c->d.v + g, v_load(scale.v + g));
            v_store(c->dmin.v + g, v_load(ideal->minimum.v + g));
        }
        return;
    }
    FOR_LANES(g) {
        v_store(minimum.v + g, v_abs(v_load(ideal->minimum.v + g)));
    }
    unit_max(&scale, set->unit);
    unit_max(&minimum, set->unit);
    FOR_LANES(g) {
        vf m = v_load(minimum.v + g);
        v_store(c->d.v + g, v_load(scale.v + g) * v_set(1.0f / set->scale_hi));
        v_store(c->dmin.v + g, m * v_set(1.0f / set->scale_hi));
    }
}

INLINE void affine_codes(const tile *t, const line_set *set, const affine_choice *c, codes *out) {
    FOR_LANES(g) {
        vf id = v_inverse(v_load(c->d.v + g) * v_load(c->scale.v + g));
        vf offset = v_load(c->dmin.v + g) * v_load(c->minimum.v + g) * id;
        vf code[MAX_SUB];
        for (int e = 0; e < set->n_sub; e++) {
            code[e] = v_clamp(v_round(v_load(&t->x[e][g]) * id + offset), 0.0f, set->hi);
        }
        store_turned(code, g, set->n_sub, out);
    }
}

/* Lines of the sub-blocks: through both ends (rounding to nearest), and fitted. */
INLINE void ideal_lines(const tile *t, const line_set *set, affine_ideal *ends,
                        affine_ideal *fitted, lanes *positive) {
    lanes low, high;
    measure_range(t, set, &low, &high, positive);
    FOR_LANES(g) {
        line_data s = {.x = &t->x[0][g], .w = &t->w[0][g]};
        vi is_positive = v_load(positive->v + g) < v_set(0.0f);
        measure_line(&s, set, v_load(low.v + g), v_load(high.v + g), is_positive);
        v_store(ends->scale.v + g, s.range * v_set(1.0f / set->hi));
        v_store(ends->minimum.v + g, s.origin);
        v_store(ends->tilt.v + g, v_set(0.0f));
        line_fit fit = fit_line(&s, set);
        v_store(fitted->scale.v + g, fit.scale);
        v_store(fitted->minimum.v + g, fit.minimum + s.origin);
        v_store(fitted->tilt.v + g, fit.sums.q / s.sum_w);
    }
}

/* dmin is stored negative where the minima are positive. */
INLINE void set_dmin_sign(const line_set *set, const lanes *positive, affine_choice *c) {
    FOR_LANES(g) {
        vf dmin = v_load(c->dmin.v + g);
        vi flip = v_load(positive->v + g) < v_set(0.0f);
        if (set->scale_hi != 0.0f) {
            v_store(c->dmin.v + g, v_select(flip, -dmin, dmin));
        }
    }
}

/* Search one tile: best d, dmin and integers of every unit, and the codes. */
INLINE void affine_search(const tile *t, const line_set *set, tamis_effort effort,
                          affine_choice *best, codes *out) {
    (void)effort;
    affine_ideal ends, ideal;
    affine_choice c = {0};
    lanes positive;
    ideal_lines(t, set, &ends, &ideal, &positive);
    widest_steps(set, &ends, &c);
    set_dmin_sign(set, &positive, &c);
    round_steps(&c.d);
    round_steps(&c.dmin);
    choose_integers(t, set, &ends, &c, 0);
    *best = c;
    widest_steps(set, &ideal, &c);
    set_dmin_sign(set, &positive, &c);
    affine_choice wide = c;
    round_steps(&c.d);
    round_steps(&c.dmin);
    choose_integers(t, set, &ideal, &c, REACH);
    keep_better_affine(best, &c);
    bool is_tiny = widen_tiny_steps(&wide.d);
    if (widen_tiny_steps(&wide.dmin) || is_tiny) {
        round_steps(&wide.d);
        round_steps(&wide.dmin);
        choose_integers(t, set, &ideal, &wide, REACH);
        keep_better_affine(best, &wide);
    }
    for (int i = 0; i < REFITS; i++) {
        refit_affine(t, set, best, &c, &ideal);
        choose_integers(t, set, &ideal, &c, REACH);
        keep_better_affine(best, &c);
    }
    affine_codes(t, set, best, out);
}

#endif
