/* encode_levels_internal.h - search for tq1_0, tq2_0, q2_0 and q1_0: one step per block and values
 * of -1, 0, 1 and perhaps 2 steps. The values that step d gives are known from |x| > d/2 and
 * x > 3d/2; with A = sum w*x*v and V = sum w*v^2 over them the best step is A/V and lowers the
 * error by A^2/V, so a candidate costs a few masked sums. A row of candidates between the
 * weighted mean and the largest magnitude, then closer ones around the best; the best
 * effort looks at every set of values that a step can give, in order of magnitude.
 * Compute bound. */
#ifndef TAMIS_FORMATS_ENCODE_LEVELS_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_LEVELS_INTERNAL_H

#include "formats/encode_tile_internal.h"

/* A longer search keeps the shorter one's step unless it is better by more than rounding. */
#define LEVELS_BETTER 0.99999f

/* One format: elements per block = 32 * unit. */
typedef struct level_set {
    int unit;
    bool has_two; /* the value 2, and with it steps of either sign */
} level_set;

/* Steps [16 lanes], the same in all lanes of a unit: the best so far and what it gains. */
typedef struct level_fit {
    lanes step, gain;
} level_fit;

/* Sums of a candidate over the elements above half its step, and of those beyond 3/2 by sign. */
typedef struct level_sums {
    lanes a1, v1, above, v_above, below, v_below;
} level_sums;

INLINE void keep_better_step(level_fit *best, lanes *a, lanes *v, int unit, float sign) {
    unit_sum(a, unit);
    unit_sum(v, unit);
    FOR_LANES(g) {
        vf xv = v_load(a->v + g), step = xv / v_max(v_load(v->v + g), v_set(1e-30f));
        vf gain = xv * step, most = v_load(best->gain.v + g);
        vi better = gain > most;
        v_store(best->gain.v + g, v_select(better, gain, most));
        v_store(best->step.v + g, v_select(better, step * v_set(sign), v_load(best->step.v + g)));
    }
}

/* Judge four steps d >= 0 for values -1, 0, 1. */
INLINE void try_4_ternary(const tile *t, const lanes d[4], int unit, level_fit *best) {
    lanes a[4], v[4];
    FOR_LANES(g) {
        const vf half = v_set(0.5f), zero = v_set(0.0f);
        const vf h0 = v_load(d[0].v + g) * half, h1 = v_load(d[1].v + g) * half;
        const vf h2 = v_load(d[2].v + g) * half, h3 = v_load(d[3].v + g) * half;
        vf a0 = zero, a1 = zero, a2 = zero, a3 = zero, v0 = zero, v1 = zero, v2 = zero, v3 = zero;
        for (int e = 0; e < 32; e++) {
            vf x = v_abs(v_load(&t->x[e][g])), w = v_load(&t->w[e][g]), wx = w * x;
            vi m0 = x > h0, m1 = x > h1, m2 = x > h2, m3 = x > h3;
            a0 += (vf)((vi)wx & m0), v0 += (vf)((vi)w & m0);
            a1 += (vf)((vi)wx & m1), v1 += (vf)((vi)w & m1);
            a2 += (vf)((vi)wx & m2), v2 += (vf)((vi)w & m2);
            a3 += (vf)((vi)wx & m3), v3 += (vf)((vi)w & m3);
        }
        v_store(a[0].v + g, a0), v_store(a[1].v + g, a1);
        v_store(a[2].v + g, a2), v_store(a[3].v + g, a3);
        v_store(v[0].v + g, v0), v_store(v[1].v + g, v1);
        v_store(v[2].v + g, v2), v_store(v[3].v + g, v3);
    }
    for (int i = 0; i < 4; i++) {
        keep_better_step(best, &a[i], &v[i], unit, 1.0f);
    }
}

/* Judge one step of both signs for values -1, 0, 1, 2. */
INLINE void try_both_signs(const tile *t, const lanes *d, int unit, level_fit *best) {
    lanes a_plus, v_plus, a_minus, v_minus;
    FOR_LANES(g) {
        const vf step = v_abs(v_load(d->v + g)), zero = v_set(0.0f);
        const vf half = step * v_set(0.5f), high = step * v_set(1.5f);
        vf a = zero, v = zero, a_high = zero, v_high = zero, a_low = zero, v_low = zero;
        for (int e = 0; e < 32; e++) {
            vf x = v_load(&t->x[e][g]), w = v_load(&t->w[e][g]), wx = w * x;
            vi is_on = v_abs(x) > half, is_high = x > high, is_low = x < -high;
            a += (vf)((vi)v_abs(wx) & is_on), v += (vf)((vi)w & is_on);
            a_high += (vf)((vi)wx & is_high), v_high += (vf)((vi)w & is_high);
            a_low += (vf)((vi)wx & is_low), v_low += (vf)((vi)w & is_low);
        }
        /* A value of 2 in place of 1 adds |x| to A, and 3 to V. */
        v_store(a_plus.v + g, a + a_high), v_store(v_plus.v + g, v + v_set(3.0f) * v_high);
        v_store(a_minus.v + g, a - a_low), v_store(v_minus.v + g, v + v_set(3.0f) * v_low);
    }
    keep_better_step(best, &a_plus, &v_plus, unit, 1.0f);
    keep_better_step(best, &a_minus, &v_minus, unit, -1.0f);
}

INLINE void try_4_steps(const tile *t, const level_set *set, const lanes d[4], level_fit *best) {
    if (!set->has_two) {
        try_4_ternary(t, d, set->unit, best);
        return;
    }
    for (int i = 0; i < 4; i++) {
        try_both_signs(t, &d[i], set->unit, best);
    }
}

/* The bounds of a ternary step: the weighted mean and the largest of |x|. */
INLINE void level_bounds(const tile *t, int unit, lanes *mean, lanes *top) {
    lanes sum_w;
    FOR_LANES(g) {
        vf a = v_set(0.0f), w = v_set(0.0f), most = v_set(0.0f);
        for (int e = 0; e < 32; e++) {
            vf x = v_abs(v_load(&t->x[e][g])), we = v_load(&t->w[e][g]);
            a += we * x;
            w += we;
            most = v_max(most, x);
        }
        v_store(mean->v + g, a), v_store(sum_w.v + g, w), v_store(top->v + g, most);
    }
    unit_sum(mean, unit);
    unit_sum(&sum_w, unit);
    unit_max(top, unit);
    FOR_LANES(g) {
        vf m = v_load(mean->v + g) / v_max(v_load(sum_w.v + g), v_set(1e-30f));
        v_store(mean->v + g, v_min(m, v_load(top->v + g)));
    }
}

/* Candidates first, first + 2, .. of 16 between the bounds. The bits of a float grow like its
 * logarithm, so equal parts of their distance are nearly equal ratios. */
INLINE void try_row_of_steps(const tile *t, const level_set *set, const lanes *low,
                             const lanes *high, int first, level_fit *best) {
    for (int at = first; at < 16; at += 8) {
        lanes d[4];
        for (int i = 0; i < 4; i++) {
            FOR_LANES(g) {
                vi from = (vi)v_load(low->v + g), to = (vi)v_load(high->v + g);
                v_store(d[i].v + g, (vf)(from + ((to - from) >> 4) * (at + 2 * i)));
            }
        }
        try_4_steps(t, set, d, best);
    }
}

/* Candidates around the best one, which is refitted with it. */
INLINE void try_closer_steps(const tile *t, const level_set *set, const float ratios[4],
                             level_fit *best) {
    lanes d[4];
    for (int i = 0; i < 4; i++) {
        FOR_LANES(g) {
            v_store(d[i].v + g, v_load(best->step.v + g) * v_set(ratios[i]));
        }
    }
    try_4_steps(t, set, d, best);
}

/* The values that a step gives. */
INLINE vf level_value(vf x, vf inverse, bool has_two) {
    return v_clamp(v_round(x * inverse), -1.0f, has_two ? 2.0f : 1.0f);
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
        for (int e = 0; e < 32; e++) {
            vf x = v_load(&t->x[e][g]);
            vf off = x - stored * level_value(x, inverse, set->has_two);
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

/* The stored step of a fit; steps of a few f16 units also rounded the other way. */
INLINE void keep_better_fit(const tile *t, const level_set *set, const level_fit *fit, float margin,
                            level_choice *best) {
    lanes wide = fit->step;
    keep_better_d(t, set, &fit->step, margin, best);
    if (any_tiny_step(&wide)) {
        widen_tiny_steps(&wide);
        keep_better_d(t, set, &wide, margin, best);
    }
}

INLINE void level_codes(const tile *t, const level_set *set, const lanes *d, codes *out) {
    FOR_LANES(g) {
        vf inverse = v_inverse(v_load(d->v + g)), code[MAX_SUB];
        for (int e = 0; e < 32; e++) {
            code[e] = level_value(v_load(&t->x[e][g]), inverse, set->has_two) + v_set(1.0f);
        }
        store_turned(code, g, 32, out);
    }
}

/* --- every set of values that a step can give --- */

enum { MAX_LEVELS_BLOCK = 256 };

/* A block in order of falling magnitude. */
typedef struct level_order {
    uint64_t key[MAX_LEVELS_BLOCK]; /* bits of |x|, then the place in the block */
    double magnitude[MAX_LEVELS_BLOCK], weight[MAX_LEVELS_BLOCK];
    bool is_negative[MAX_LEVELS_BLOCK];
    int n;
} level_order;

/* Merge sort, largest first: no two keys are alike, so the order is the only one. */
static void sort_falling(uint64_t *key, int n) {
    uint64_t room[MAX_LEVELS_BLOCK];
    for (int width = 1; width < n; width *= 2) {
        for (int at = 0; at < n; at += 2 * width) {
            int a = at, b = at + width, end_a = b, end_b = at + 2 * width;
            for (int i = at; i < end_b; i++) {
                bool is_a = b == end_b || (a < end_a && key[a] > key[b]);
                room[i] = key[is_a ? a : b];
                a += is_a;
                b += !is_a;
            }
        }
        memcpy(key, room, (size_t)n * sizeof *key);
    }
}

static void order_block(const tile *t, int first_lane, int unit, level_order *out) {
    out->n = 32 * unit;
    for (int i = 0; i < out->n; i++) {
        uint32_t bits = tamis_f32_bits(t->x[i % 32][first_lane + i / 32]) & 0x7FFFFFFFu;
        out->key[i] = (uint64_t)bits << 32 | (uint64_t)i;
    }
    sort_falling(out->key, out->n);
    for (int k = 0; k < out->n; k++) {
        int i = (int)(out->key[k] & (MAX_LEVELS_BLOCK - 1));
        float x = t->x[i % 32][first_lane + i / 32];
        out->magnitude[k] = x < 0.0f ? -(double)x : (double)x;
        out->weight[k] = (double)t->w[i % 32][first_lane + i / 32];
        out->is_negative[k] = x < 0.0f;
    }
}

/* The step of largest gain as d falls from infinity to 0: elements come in at d = 2 |x|, and with
 * has_two those of the sign of d get their second step at d = |x| / 1.5. */
static double exact_step(const level_order *o, bool has_two, bool is_negative, double *most) {
    double a = 0, v = 0, step = 0;
    int i_high = has_two ? 0 : o->n;
    for (int i_on = 0; i_on < o->n || i_high < o->n;) {
        while (i_high < o->n && o->is_negative[i_high] != is_negative)
            i_high++;
        bool is_on =
            i_high == o->n || (i_on < o->n && 3 * o->magnitude[i_on] >= o->magnitude[i_high]);
        int i = is_on ? i_on++ : i_high++;
        if (i == o->n) break;
        a += o->weight[i] * o->magnitude[i];
        v += o->weight[i] * (is_on ? 1 : 3);
        if (a * a > *most * v) {
            *most = a * a / v;
            step = a / v;
        }
    }
    return is_negative ? -step : step;
}

/* fit->step becomes the best step of every unit. */
static void exact_fit(const tile *t, const level_set *set, level_fit *fit) {
    level_order order;
    for (int l = 0; l < LANES; l += set->unit) {
        double most = 0;
        order_block(t, l, set->unit, &order);
        double step = exact_step(&order, set->has_two, false, &most);
        double minus = set->has_two ? exact_step(&order, true, true, &most) : 0;
        for (int i = l; i < l + set->unit; i++)
            fit->step.v[i] = (float)(minus < 0 ? minus : step);
    }
}

INLINE void level_search(const tile *t, const level_set *set, tamis_effort effort,
                         level_choice *best, codes *out) {
    static const float around[] = {1.0f, 0.95f, 1.05f, 0.9f};
    static const float closer[] = {1.0f, 0.98f, 1.02f, 1.1f};
    lanes low, top;
    level_fit fit;
    level_bounds(t, set->unit, &low, &top);
    FOR_LANES(g) {
        /* Steps of 2 for most elements halve the mean that one of them stands for. */
        if (set->has_two) v_store(low.v + g, v_load(low.v + g) * v_set(0.5f));
        v_store(best->error.v + g, v_set(__builtin_inff()));
        v_store(best->d.v + g, v_set(0.0f));
        v_store(fit.gain.v + g, v_set(-1.0f));
        v_store(fit.step.v + g, v_set(0.0f));
    }
    /* Rounding to nearest, as every encoder of this format can. */
    keep_better_d(t, set, &top, 1.0f, best);
    try_row_of_steps(t, set, &low, &top, 0, &fit);
    try_closer_steps(t, set, around, &fit);
    keep_better_fit(t, set, &fit, 1.0f, best);
    if (effort > TAMIS_EFFORT_FAST) {
        try_row_of_steps(t, set, &low, &top, 1, &fit);
        try_closer_steps(t, set, closer, &fit);
        keep_better_fit(t, set, &fit, LEVELS_BETTER, best);
    }
    if (effort > TAMIS_EFFORT_NORMAL) {
        exact_fit(t, set, &fit);
        keep_better_fit(t, set, &fit, LEVELS_BETTER, best);
    }
    level_codes(t, set, &best->d, out);
}

#endif
