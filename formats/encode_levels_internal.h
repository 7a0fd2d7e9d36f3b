/* encode_levels_internal.h - search for tq1_0, tq2_0, q2_0 and q1_0: one step per block and values
 * of -1, 0, 1 and perhaps 2 steps. The values that step d gives are known from |x| > d/2 and
 * x > 3d/2; with A = sum w*x*v and V = sum w*v^2 over them the best step is A/V and lowers the
 * error by A^2/V, so a candidate costs a few masked sums. A row of candidates between the
 * weighted mean and the largest magnitude, then closer ones around the best; the best effort
 * looks at every set of values that a step can give. Compute bound. */
#ifndef TAMIS_FORMATS_ENCODE_LEVELS_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_LEVELS_INTERNAL_H

#include "formats/encode_tile_internal.h"

/* A longer search keeps the shorter one's step unless it is better by more than rounding. */
#define LEVELS_BETTER 0.99999f

/* One format. A block is n_sub vectors of `unit` lanes: as they stand in the row for 16 lanes,
 * else turned. */
typedef struct level_set {
    int n_sub, unit;
    bool has_two; /* the value 2, and with it steps of either sign */
} level_set;

/* The same in all lanes of a unit: A and V of the best step so far, and the sign of the step. */
typedef struct level_fit {
    lanes a, v, sign;
} level_fit;

/* Larger A^2/V wins; without a division. */
INLINE void keep_better_sums(level_fit *best, lanes *a, lanes *v, int unit, float sign) {
    unit_sum(a, unit);
    unit_sum(v, unit);
    FOR_LANES(g) {
        vf av = v_load(a->v + g), vv = v_load(v->v + g);
        vf best_a = v_load(best->a.v + g), best_v = v_load(best->v.v + g);
        vi better = av * av * best_v > best_a * best_a * vv;
        v_store(best->a.v + g, v_select(better, av, best_a));
        v_store(best->v.v + g, v_select(better, vv, best_v));
        if (sign != 0.0f) {
            vf best_sign = v_load(best->sign.v + g);
            v_store(best->sign.v + g, v_select(better, v_set(sign), best_sign));
        }
    }
}

INLINE void best_step(const level_set *set, const level_fit *fit, lanes *step) {
    FOR_LANES(g) {
        vf d = v_load(fit->a.v + g) / v_load(fit->v.v + g);
        v_store(step->v + g, set->has_two ? d * v_load(fit->sign.v + g) : d);
    }
}

/* Judge four steps d >= 0 for values -1, 0, 1. */
INLINE void try_4_ternary(const tile *t, const level_set *set, const lanes d[4], level_fit *best) {
    lanes a[4], v[4];
    FOR_LANES(g) {
        const vf half = v_set(0.5f), zero = v_set(0.0f);
        const vf h0 = v_load(d[0].v + g) * half, h1 = v_load(d[1].v + g) * half;
        const vf h2 = v_load(d[2].v + g) * half, h3 = v_load(d[3].v + g) * half;
        vf a0 = zero, a1 = zero, a2 = zero, a3 = zero, v0 = zero, v1 = zero, v2 = zero, v3 = zero;
        for (int e = 0; e < set->n_sub; e++) {
            vf x = v_abs(v_load(&t->x[e][g])), w = v_load(&t->w[e][g]), wx = w * x;
            vm m0 = v_above(x, h0), m1 = v_above(x, h1), m2 = v_above(x, h2), m3 = v_above(x, h3);
            a0 = v_add_where(m0, a0, wx), v0 = v_add_where(m0, v0, w);
            a1 = v_add_where(m1, a1, wx), v1 = v_add_where(m1, v1, w);
            a2 = v_add_where(m2, a2, wx), v2 = v_add_where(m2, v2, w);
            a3 = v_add_where(m3, a3, wx), v3 = v_add_where(m3, v3, w);
        }
        v_store(a[0].v + g, a0), v_store(a[1].v + g, a1);
        v_store(a[2].v + g, a2), v_store(a[3].v + g, a3);
        v_store(v[0].v + g, v0), v_store(v[1].v + g, v1);
        v_store(v[2].v + g, v2), v_store(v[3].v + g, v3);
    }
    for (int i = 0; i < 4; i++) {
        keep_better_sums(best, &a[i], &v[i], set->unit, 0.0f);
    }
}

/* Judge one step of both signs for values -1, 0, 1, 2. */
INLINE void try_both_signs(const tile *t, const level_set *set, const lanes *d, level_fit *best) {
    lanes a_plus, v_plus, a_minus, v_minus;
    FOR_LANES(g) {
        const vf step = v_abs(v_load(d->v + g)), zero = v_set(0.0f);
        const vf half = step * v_set(0.5f), high = step * v_set(1.5f);
        vf a = zero, v = zero, a_high = zero, v_high = zero, a_low = zero, v_low = zero;
        for (int e = 0; e < set->n_sub; e++) {
            vf x = v_load(&t->x[e][g]), w = v_load(&t->w[e][g]), wx = w * v_abs(x);
            vm is_on = v_above(v_abs(x), half), is_high = v_above(x, high),
               is_low = v_above(-high, x);
            a = v_add_where(is_on, a, wx), v = v_add_where(is_on, v, w);
            a_high = v_add_where(is_high, a_high, wx), v_high = v_add_where(is_high, v_high, w);
            a_low = v_add_where(is_low, a_low, wx), v_low = v_add_where(is_low, v_low, w);
        }
        /* A value of 2 in place of 1 adds |x| to A, and 3 to V. */
        v_store(a_plus.v + g, a + a_high), v_store(v_plus.v + g, v + v_set(3.0f) * v_high);
        v_store(a_minus.v + g, a + a_low), v_store(v_minus.v + g, v + v_set(3.0f) * v_low);
    }
    keep_better_sums(best, &a_plus, &v_plus, set->unit, 1.0f);
    keep_better_sums(best, &a_minus, &v_minus, set->unit, -1.0f);
}

INLINE void try_4_steps(const tile *t, const level_set *set, const lanes d[4], level_fit *best) {
    if (!set->has_two) {
        try_4_ternary(t, set, d, best);
        return;
    }
    for (int i = 0; i < 4; i++) {
        try_both_signs(t, set, &d[i], best);
    }
}

/* The bounds of a ternary step: the weighted mean and the largest of |x|. */
INLINE void level_bounds(const tile *t, const level_set *set, lanes *mean, lanes *top) {
    lanes sum_w;
    FOR_LANES(g) {
        vf a = v_set(0.0f), w = v_set(0.0f), most = v_set(0.0f);
        for (int e = 0; e < set->n_sub; e++) {
            vf x = v_abs(v_load(&t->x[e][g])), we = v_load(&t->w[e][g]);
            a += we * x;
            w += we;
            most = v_max(most, x);
        }
        v_store(mean->v + g, a), v_store(sum_w.v + g, w), v_store(top->v + g, most);
    }
    unit_sum(mean, set->unit);
    unit_sum(&sum_w, set->unit);
    unit_max(top, set->unit);
    FOR_LANES(g) {
        vf m = v_load(mean->v + g) / v_max(v_load(sum_w.v + g), v_set(1e-30f));
        v_store(mean->v + g, v_min(m, v_load(top->v + g)));
    }
}

/* Eight candidates from `low` up to below `high`. The bits of a float grow like its logarithm, so
 * equal parts of their distance are nearly equal ratios. */
INLINE void try_row_of_steps(const tile *t, const level_set *set, const lanes *low,
                             const lanes *high, level_fit *best) {
    for (int at = 0; at < 8; at += 4) {
        lanes d[4];
        for (int i = 0; i < 4; i++) {
            FOR_LANES(g) {
                vi from = (vi)v_load(low->v + g), to = (vi)v_load(high->v + g);
                v_store(d[i].v + g, (vf)(from + ((to - from) >> 3) * (at + i)));
            }
        }
        try_4_steps(t, set, d, best);
    }
}

/* Candidates around the best one, which is refitted with it. */
INLINE void try_closer_steps(const tile *t, const level_set *set, level_fit *best) {
    static const float ratios[4] = {1.0f, 0.92f, 1.06f, 1.13f};
    lanes d[4], step;
    best_step(set, best, &step);
    for (int i = 0; i < 4; i++) {
        FOR_LANES(g) {
            v_store(d[i].v + g, v_load(step.v + g) * v_set(ratios[i]));
        }
    }
    try_4_steps(t, set, d, best);
}

/* What a step gives, off the weight it stands for. */
INLINE vf level_off(vf x, vf step, vf inverse, bool has_two) {
    if (has_two) return x - step * v_clamp(v_round(x * inverse), -1.0f, 2.0f);
    vf a = v_abs(x);
    return a - (vf)((a > step * v_set(0.5f)) & (vi)step);
}

/* The stored step so far and its error. */
typedef struct level_choice {
    lanes d, error;
} level_choice;

/* Keep steps, as stored, where their error as the decoder sees it is less. */
INLINE void keep_better_d(const tile *t, const level_set *set, const lanes *step, float margin,
                          level_choice *best) {
    lanes d = *step, error;
    round_steps(&d);
    FOR_LANES(g) {
        vf stored = v_load(d.v + g), inverse = v_inverse(stored), sum = v_set(0.0f);
        for (int e = 0; e < set->n_sub; e++) {
            vf off = level_off(v_load(&t->x[e][g]), stored, inverse, set->has_two);
            sum += v_load(&t->w[e][g]) * off * off;
        }
        v_store(error.v + g, sum);
    }
    unit_sum(&error, set->unit);
    FOR_LANES(g) {
        vf mine = v_load(error.v + g), least = v_load(best->error.v + g);
        vi better = mine < least * v_set(margin);
        v_store(best->error.v + g, v_select(better, mine, least));
        v_store(best->d.v + g, v_select(better, v_load(d.v + g), v_load(best->d.v + g)));
    }
}

/* A step as stored; steps of a few f16 units also rounded the other way. */
INLINE void keep_better_step(const tile *t, const level_set *set, const lanes *step, float margin,
                             level_choice *best) {
    lanes wide = *step;
    keep_better_d(t, set, step, margin, best);
    if (any_tiny_step(&wide)) {
        widen_tiny_steps(&wide);
        keep_better_d(t, set, &wide, margin, best);
    }
}

/* Every set of values that a step can give: each step at which an element changes its value, which
 * is at twice its magnitude, and with has_two also at 2/3 of it. */
INLINE void try_all_steps(const tile *t, const level_set *set, level_fit *best) {
    const int n_changes = set->has_two ? 2 * set->unit : set->unit;
    for (int e = 0; e < set->n_sub; e++) {
        for (int at = 0; at < n_changes; at += 4) {
            lanes d[4];
            for (int i = 0; i < 4; i++) {
                float factor = at + i < set->unit ? 2.0f : 2.0f / 3.0f;
                int i_lane = (at + i) % set->unit;
                for (int l = 0; l < LANES; l++) {
                    d[i].v[l] = t->x[e][l / set->unit * set->unit + i_lane] * factor;
                }
                FOR_LANES(g) {
                    v_store(d[i].v + g, v_abs(v_load(d[i].v + g)));
                }
            }
            try_4_steps(t, set, d, best);
        }
    }
}

INLINE void level_search(const tile *t, const level_set *set, tamis_effort effort, lanes *d) {
    lanes low, top, step;
    level_fit fit;
    level_choice best;
    level_bounds(t, set, &low, &top);
    FOR_LANES(g) {
        /* Steps of 2 for most elements halve the mean that one of them stands for. */
        if (set->has_two) v_store(low.v + g, v_load(low.v + g) * v_set(0.5f));
        v_store(best.error.v + g, v_set(__builtin_inff()));
        v_store(best.d.v + g, v_set(0.0f));
        v_store(fit.a.v + g, v_set(0.0f));
        v_store(fit.v.v + g, v_set(1.0f));
        v_store(fit.sign.v + g, v_set(1.0f));
    }
    /* Rounding to nearest, as every encoder of this format can. */
    keep_better_d(t, set, &top, 1.0f, &best);
    try_row_of_steps(t, set, &low, &top, &fit);
    best_step(set, &fit, &step);
    keep_better_step(t, set, &step, 1.0f, &best);
    if (effort > TAMIS_EFFORT_FAST) {
        try_closer_steps(t, set, &fit);
        best_step(set, &fit, &step);
        keep_better_step(t, set, &step, LEVELS_BETTER, &best);
    }
    if (effort > TAMIS_EFFORT_NORMAL) {
        try_all_steps(t, set, &fit);
        best_step(set, &fit, &step);
        keep_better_step(t, set, &step, LEVELS_BETTER, &best);
    }
    *d = best.d;
}

#endif
