/* encode_symmetric_internal.h - search for formats whose values are scale * code: q4_0, q5_0, q3_K,
 * q6_K, and iq4_nl, iq4_xs where the code names an entry of a fixed table of values.
 * A sub-block tries some inverse scales, each judged by the weighted least-squares scale of
 * the codes it gives, then scales around the best. Super-blocks choose d among candidates,
 * the integer scales by the error of the codes re-rounded with them, and refit d in closed
 * form. A table of steps says what each effort does; whatever a step finds is judged by its
 * error as the decoder sees it. Compute bound. */
#ifndef TAMIS_FORMATS_ENCODE_SYMMETRIC_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_SYMMETRIC_INTERNAL_H

#include "formats/encode_codebook_internal.h"
#include "formats/encode_tile_internal.h"

/* Parts of scale_lo that the largest scale is tried at: every second one, and those between. */
enum { N_TOPS = 16 };
static const float scale_tops[N_TOPS] = {1.0f,  0.96f, 0.92f, 0.88f, 0.84f, 0.8f,  0.76f, 0.72f,
                                         0.98f, 0.94f, 0.9f,  0.86f, 0.82f, 0.78f, 0.74f, 0.7f};

/* Where a step of the search takes d from. */
typedef enum d_source {
    ROUNDED,  /* the largest element at the end of its range: rounding to nearest */
    FITTED,   /* fitted to the scales in hand */
    REFITTED, /* to the codes in hand */
} d_source;

/* One step of the search: scales improved, then a d and its integer scales, kept if better. */
typedef struct search_step {
    tamis_effort effort; /* the least that takes it */
    d_source source;
    int stage;       /* of the ratios to try before; -1: none */
    int rounds;      /* of scales around the best to try before */
    float nudge;     /* how far around, in parts of the set's nudge */
    int top, n_tops; /* FITTED: which of scale_tops */
    float factor;    /* d is multiplied with */
    int reach;       /* of integer scales */
} search_step;

enum { FAST = TAMIS_EFFORT_FAST, NORMAL = TAMIS_EFFORT_NORMAL, BEST = TAMIS_EFFORT_BEST };

typedef struct search_plan {
    const search_step *steps;
    int n_steps;
} search_plan;

/* clang-format off */
static const search_step simple_steps[] = {
    { FAST, ROUNDED, -1, 0, 0, 0, 0, 1, 0 },
    { FAST, FITTED, 0, 1, 1, 0, 1, 1, 1 },
    { NORMAL, FITTED, 1, 0, 0, 0, 1, 1, 1 },
    { BEST, FITTED, 2, 2, 1, 0, 1, 1, 1 },
    { BEST, FITTED, -1, 2, 0.5f, 0, 1, 1, 1 },
};
#define BEST_SUPER_STEPS                        \
    { BEST, FITTED, 2, 2, 1, 0, 2, 1, 3 },      \
    { BEST, FITTED, -1, 2, 0.5f, 2, 2, 1, 3 },  \
    { BEST, FITTED, -1, 0, 0, 4, 2, 1, 3 },     \
    { BEST, FITTED, -1, 0, 0, 6, 2, 1, 3 },     \
    { BEST, FITTED, -1, 0, 0, 8, 3, 1, 3 },     \
    { BEST, FITTED, -1, 0, 0, 11, 5, 1, 3 },    \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 1, 3 },   \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 1, 3 },   \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 0.994f, 3 }, \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 1.006f, 3 }, \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 0.985f, 3 }, \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 1.015f, 3 }, \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 0.997f, 3 }, \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 1.003f, 3 }, \
    { BEST, REFITTED, -1, 0, 0, 0, 0, 1, 3 }
static const search_step super_steps[] = {
    { FAST, ROUNDED, -1, 0, 0, 0, 0, 1, 0 },
    { FAST, FITTED, 0, 1, 1, 0, N_TOPS, 1, 1 },
    { NORMAL, FITTED, 1, 1, 1, 0, N_TOPS, 1, 1 },
    { NORMAL, REFITTED, -1, 0, 0, 0, 0, 1, 1 },
    BEST_SUPER_STEPS,
};
/* Many codes: what the left out steps would gain is a thousandth of the error. */
static const search_step fine_steps[] = {
    { FAST, ROUNDED, -1, 0, 0, 0, 0, 1, 0 },
    { FAST, FITTED, 0, 1, 1, 0, N_TOPS, 1, 0 },
    { NORMAL, FITTED, 1, 0, 0, 0, N_TOPS, 1, 1 },
    BEST_SUPER_STEPS,
};
/* clang-format on */
#undef BEST_SUPER_STEPS
#define PLAN(of)                                                                                   \
    { (of), (int)(sizeof(of) / sizeof *(of)) }
static const search_plan simple_plan = PLAN(simple_steps);
static const search_plan super_plan = PLAN(super_steps);
static const search_plan fine_plan = PLAN(fine_steps);
#undef PLAN

typedef struct code_set {
    int n_sub;                /* elements per sub-block */
    int unit;                 /* sub-blocks that share d */
    bool is_codebook;         /* values from the iq4 table, else the integers lo..hi */
    float lo, hi;             /* smallest and largest value of a code */
    float nudge;              /* relative change of a scale that moves the outer codes by 0.4 */
    int n_ratios[3];          /* of fast, normal, best; multiples of 3 */
    const float *ratios;      /* value the largest element is tried at; the most telling first */
    float scale_lo, scale_hi; /* integer sub-scales; both 1 when there are none */
    const search_plan *plan;
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

/* The best scale of every sub-block so far, and how fast its error grows away from it. */
typedef struct sub_fits {
    lanes inverse_top; /* 1 / element of largest magnitude */
    lanes score, scale, curvature;
} sub_fits;

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

/* value_sums() for three inverse scales in one go: x and w are loaded once. */
INLINE void try_3_scales(const float *x, const float *w, const code_set *set, vf id0, vf id1,
                         vf id2, sub_fit *best) {
    const vf zero = v_set(0.0f);
    vf xv0 = zero, xv1 = zero, xv2 = zero, vv0 = zero, vv1 = zero, vv2 = zero;
    for (int e = 0; e < set->n_sub; e++) {
        vf xe = v_load(x + e * LANES), we = v_load(w + e * LANES);
        vf v0 = nearest_value(xe * id0, set), v1 = nearest_value(xe * id1, set);
        vf v2 = nearest_value(xe * id2, set);
        vf w0 = we * v0, w1 = we * v1, w2 = we * v2;
        xv0 += w0 * xe, vv0 += w0 * v0;
        xv1 += w1 * xe, vv1 += w1 * v1;
        xv2 += w2 * xe, vv2 += w2 * v2;
    }
    keep_better_fit(best, xv0, vv0);
    keep_better_fit(best, xv1, vv1);
    keep_better_fit(best, xv2, vv2);
}

INLINE void start_fits(const tile *t, const code_set *set, sub_fits *fits, lanes *top) {
    FOR_USED(t, g) {
        vf m = signed_top(&t->x[0][g], set->n_sub);
        v_store(top->v + g, m);
        v_store(fits->inverse_top.v + g, v_inverse(m));
        v_store(fits->score.v + g, v_set(-1.0f));
        v_store(fits->scale.v + g, v_set(0.0f));
        v_store(fits->curvature.v + g, v_set(0.0f));
    }
}

/* Go on with the ratios from..to, then with scales around the best, `rounds` times. */
INLINE void improve_fits(const tile *t, const code_set *set, int from, int to, int rounds,
                         float nudge, sub_fits *fits) {
    FOR_USED(t, g) {
        const float *x = &t->x[0][g], *w = &t->w[0][g], *r = set->ratios;
        vf inverse = v_load(fits->inverse_top.v + g);
        sub_fit best = {v_load(fits->score.v + g), v_load(fits->scale.v + g),
                        v_load(fits->curvature.v + g)};
        for (int i = from; i < to; i += 3) {
            try_3_scales(x, w, set, inverse * v_set(r[i]), inverse * v_set(r[i + 1]),
                         inverse * v_set(r[i + 2]), &best);
        }
        for (int i = 0; i < rounds; i++) {
            vf id = v_inverse(best.scale);
            try_3_scales(x, w, set, id, id * v_set(1.0f - nudge), id * v_set(1.0f + nudge), &best);
        }
        v_store(fits->score.v + g, best.score);
        v_store(fits->scale.v + g, best.scale);
        v_store(fits->curvature.v + g, best.curvature);
    }
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

/* Distances from the nearest integer scale and signs, three at a time: neighbours first. */
enum { MAX_REACH = 3 };
static const float scale_moves[3 * MAX_REACH] = {0, -1, 1, -2, 2, 0, -1, 1, 2};
static const float scale_signs[3 * MAX_REACH] = {1, 1, 1, 1, 1, -1, -1, -1, -1};

/* Integer scales for a given d: the nearest ones (reach 0), or of 3 * reach near these, and from
 * reach 2 on near their opposites, the ones of least error. */
INLINE void choose_scales(const tile *t, const code_set *set, const lanes *ideal,
                          symmetric_choice *c, int reach) {
    FOR_USED(t, g) {
        const float *x = &t->x[0][g], *w = &t->w[0][g];
        vf d = v_load(c->d.v + g), chosen = v_set(1.0f), least = v_set(__builtin_inff());
        vf middle = chosen;
        if (set->unit > 1) {
            middle =
                v_round(v_clamp(v_load(ideal->v + g) * v_inverse(d), set->scale_lo, set->scale_hi));
            chosen = middle;
        }
        if (set->unit == 1 || reach == 0) {
            least = step_error(x, w, set, d * middle);
        }
        for (int i = 0; set->unit > 1 && i < 3 * reach; i += 3) {
            vf scale[3], step[3], error[3];
            for (int j = 0; j < 3; j++) {
                scale[j] = middle * v_set(scale_signs[i + j]) + v_set(scale_moves[i + j]);
                scale[j] = v_clamp(scale[j], set->scale_lo, set->scale_hi);
                step[j] = d * scale[j];
            }
            step_errors_of_3(x, w, set, step, error);
            for (int j = 0; j < 3; j++) {
                chosen = v_select(error[j] < least, scale[j], chosen);
                least = v_min(least, error[j]);
            }
        }
        v_store(c->scale.v + g, chosen);
        v_store(c->unit_error.v + g, least * v_load(t->share.v + g));
    }
    unit_sum(&c->unit_error, set->unit);
}

INLINE void keep_better_choice(symmetric_choice *best, const symmetric_choice *c) {
    FOR_LANES(g) {
        vf error = v_load(c->unit_error.v + g), least = v_load(best->unit_error.v + g);
        vi better = is_lower(error, least);
        v_store(best->unit_error.v + g, v_select(better, error, least));
        v_store(best->d.v + g, v_select(better, v_load(c->d.v + g), v_load(best->d.v + g)));
        v_store(best->scale.v + g,
                v_select(better, v_load(c->scale.v + g), v_load(best->scale.v + g)));
    }
}

/* d in closed form for the codes of `best`, and the scale of each sub-block alone. */
INLINE void refit_d(const tile *t, const code_set *set, const symmetric_choice *best, lanes *d,
                    lanes *ideal) {
    lanes xv = {{0}}, vv = {{0}};
    FOR_USED(t, g) {
        vf scale = v_load(best->scale.v + g), sum_xv, sum_vv;
        vf id = v_inverse(v_load(best->d.v + g) * scale);
        value_sums(&t->x[0][g], &t->w[0][g], set, id, &sum_xv, &sum_vv);
        v_store(ideal->v + g, sum_xv / v_max(sum_vv, v_set(1e-30f)));
        scale *= v_load(t->share.v + g);
        v_store(xv.v + g, sum_xv * scale);
        v_store(vv.v + g, sum_vv * scale * scale);
    }
    unit_sum(&xv, set->unit);
    unit_sum(&vv, set->unit);
    FOR_LANES(g) {
        v_store(d->v + g, v_load(xv.v + g) / v_max(v_load(vv.v + g), v_set(1e-30f)));
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

/* Gains xs^2 / ss of the tried tops, and the fits xs / ss that have them. */
typedef struct top_gains {
    _Alignas(64) float gain[N_TOPS];
    _Alignas(64) float fit[N_TOPS];
} top_gains;

/* The tops lie in lanes and the sub-blocks of a unit pass one by one: no sum crosses lanes. */
INLINE void try_tops(const float *ideal, const float *weight, const code_set *set,
                     const float *ratios, top_gains *out) {
    for (int g = 0; g < N_TOPS; g += TAMIS_LANES) {
        vf ratio = v_load(ratios + g), xs = v_set(0.0f), ss = xs;
        for (int l = 0; l < set->unit; l++) {
            vf scale = v_set(ideal[l]);
            vf s = v_clamp(v_round(scale * ratio), set->scale_lo, set->scale_hi);
            vf weighted = v_set(weight[l]) * s;
            xs += weighted * scale;
            ss += weighted * s;
        }
        vf fit = xs / v_max(ss, v_set(1e-30f));
        v_store(out->fit + g, fit);
        v_store(out->gain + g, xs * fit);
    }
}

/* The fit of the largest gain, the first among equals. */
INLINE float best_fit_of(const top_gains *tops) {
    vf top = v_load(tops->gain);
    for (int g = TAMIS_LANES; g < N_TOPS; g += TAMIS_LANES)
        top = v_max(top, v_load(tops->gain + g));
    for (int step = TAMIS_LANES / 2; step > 0; step /= 2)
        top = v_max(top, v_across(top, step));
    for (int g = 0; g < N_TOPS; g += TAMIS_LANES) {
        unsigned bits = v_bits(v_load(tops->gain + g) == top);
        if (bits) return tops->fit[g + __builtin_ctz(bits)];
    }
    return 0.0f;
}

/* d for the ideal scales of a super-block: the same search, one level up, in units of the largest
 * scale, which is tried at n of scale_tops. */
INLINE void fit_d(const tile *t, const code_set *set, const sub_fits *fits, const float *tops,
                  int n, lanes *d) {
    lanes top, ideal, weight;
    _Alignas(64) float ratios[N_TOPS];
    for (int i = 0; i < N_TOPS; i++)
        ratios[i] = tops[i < n ? i : n - 1] * set->scale_lo;
    unit_signed_top(&fits->scale, set->unit, &top);
    FOR_LANES(g) {
        vf inverse = v_inverse(v_load(top.v + g));
        v_store(ideal.v + g, v_load(fits->scale.v + g) * inverse);
        v_store(weight.v + g, v_load(fits->curvature.v + g) * v_load(t->share.v + g));
    }
    for (int u = 0; u < LANES; u += set->unit) {
        top_gains gains;
        try_tops(ideal.v + u, weight.v + u, set, ratios, &gains);
        float fit = best_fit_of(&gains);
        for (int l = u; l < u + set->unit; l++)
            d->v[l] = fit * top.v[l];
    }
}

/* The codes of the choice: value - lo for integers, index for the table. */
INLINE void symmetric_codes(const tile *t, const code_set *set, const symmetric_choice *c,
                            codes *out) {
    FOR_USED(t, g) {
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

/* d as rounding to nearest has it, which every encoder of this format can do. */
INLINE void rounded_d(const code_set *set, const lanes *top, lanes *d, lanes *ideal) {
    FOR_LANES(g) {
        v_store(ideal->v + g, v_load(top->v + g) * v_set(1.0f / set->lo));
    }
    *d = *ideal;
    if (set->unit > 1) {
        unit_signed_top(ideal, set->unit, d);
    }
    FOR_LANES(g) {
        v_store(d->v + g, v_load(d->v + g) * v_set(1.0f / set->scale_lo));
    }
}

/* The d of a step and the scales that the integers are to come near to. */
INLINE void find_d(const tile *t, const code_set *set, const search_step *step, const lanes *top,
                   const sub_fits *fits, const symmetric_choice *best, lanes *d, lanes *ideal) {
    if (step->source == ROUNDED) {
        rounded_d(set, top, d, ideal);
        return;
    }
    if (step->source == REFITTED) {
        refit_d(t, set, best, d, ideal);
    } else {
        *ideal = *d = fits->scale;
        if (set->unit > 1) {
            fit_d(t, set, fits, scale_tops + step->top, step->n_tops, d);
        }
    }
    FOR_LANES(g) {
        v_store(d->v + g, v_load(d->v + g) * v_set(step->factor));
    }
}

/* Search one tile: best d and integer scales of every unit, and the codes. Each effort goes on
 * from the result of the one below. */
INLINE void symmetric_search(const tile *t, const code_set *set, tamis_effort effort,
                             symmetric_choice *best, codes *out) {
    const search_step *steps = set->plan->steps;
    /* Lanes without a sub-block stay zero. */
    sub_fits fits = {0};
    symmetric_choice c = {0};
    lanes top = {{0}}, d, ideal = {{0}};
    start_fits(t, set, &fits, &top);
    FOR_LANES(g) {
        v_store(best->unit_error.v + g, v_set(__builtin_inff()));
        v_store(best->scale.v + g, v_set(1.0f));
        v_store(best->d.v + g, v_set(0.0f));
    }
    for (int i = 0; i < set->plan->n_steps && steps[i].effort <= effort; i++) {
        const search_step *step = steps + i;
        if (step->stage >= 0 || step->rounds > 0) {
            int from = step->stage > 0 ? set->n_ratios[step->stage - 1] : 0;
            int to = step->stage >= 0 ? set->n_ratios[step->stage] : 0;
            improve_fits(t, set, from, to, step->rounds, step->nudge * set->nudge, &fits);
        }
        find_d(t, set, step, &top, &fits, best, &d, &ideal);
        for (bool is_again = false;; is_again = true) {
            c.d = d;
            round_steps(&c.d);
            choose_scales(t, set, &ideal, &c, step->reach);
            keep_better_choice(best, &c);
            if (is_again || step->source != FITTED || !any_tiny_step(&d)) break;
            widen_tiny_steps(&d);
        }
    }
    symmetric_codes(t, set, best, out);
}

#endif
