/* encode_affine_internal.h - search for formats whose values are scale * code + minimum: q4_1, q5_1
 * and q2_K, q4_K, q5_K, where y = (d * sc) * q - (dmin * m) with small integers sc and m.
 * After the best lines of the sub-blocks (encode_affine_fit_internal.h) d and dmin are sought
 * with the error that the lines predict, which costs nothing per element; sc and m are then
 * chosen by the error of the codes re-rounded with them, and d and dmin refitted in closed
 * form. dmin takes the sign that suits the super-block, so values that are all positive
 * keep a positive minimum. Compute bound. */
#ifndef TAMIS_FORMATS_ENCODE_AFFINE_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_AFFINE_INTERNAL_H

#include "formats/encode_affine_fit_internal.h"

/* d and dmin of the lane's unit (signs as stored), sc and m, and the unit's error.
 * Without sub-scales: sc = 1, m = -1, dmin = the minimum. */
typedef struct affine_choice {
    lanes d, dmin, scale, minimum, unit_error;
} affine_choice;

/* The lines the sub-blocks would have if nothing were rounded; away from them by ds and dm the
 * error grows by qq * ds^2 + 2 * q * ds * dm + w * dm^2. */
typedef struct affine_ideal {
    lanes scale, minimum; /* minimum: absolute */
    lanes w, q, qq, tilt; /* tilt: how far the best minimum moves per change of scale */
} affine_ideal;

/* Weighted squared error of stored values step * q + minimum, three in one go. */
INLINE void line_errors_of_3(const float *x, const float *w, const line_set *set, const vf step[3],
                             const vf minimum[3], vf error[3]) {
    const vf zero = v_set(0.0f), s0 = step[0], s1 = step[1], s2 = step[2];
    const vf id0 = v_inverse(s0), id1 = v_inverse(s1), id2 = v_inverse(s2);
    const vf m0 = minimum[0], m1 = minimum[1], m2 = minimum[2];
    const vf o0 = m0 * id0, o1 = m1 * id1, o2 = m2 * id2;
    vf e0 = zero, e1 = zero, e2 = zero;
    for (int e = 0; e < set->n_sub; e++) {
        vf xe = v_load(x + e * LANES), we = v_load(w + e * LANES);
        vf off0 = xe - (s0 * v_clamp(v_round(xe * id0 - o0), 0.0f, set->hi) + m0);
        vf off1 = xe - (s1 * v_clamp(v_round(xe * id1 - o1), 0.0f, set->hi) + m1);
        vf off2 = xe - (s2 * v_clamp(v_round(xe * id2 - o2), 0.0f, set->hi) + m2);
        e0 += we * off0 * off0;
        e1 += we * off1 * off1;
        e2 += we * off2 * off2;
    }
    error[0] = e0;
    error[1] = e1;
    error[2] = e2;
}

/* The same of one. */
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

/* The integer m that goes best with the scale of a lane, before rounding. */
INLINE vf exact_minimum(const affine_ideal *ideal, int g, vf scale, vf inverse_dmin) {
    vf moved = v_load(ideal->minimum.v + g) -
               v_load(ideal->tilt.v + g) * (scale - v_load(ideal->scale.v + g));
    return -moved * inverse_dmin;
}

INLINE vf nearest_integer(vf a, float hi) {
    return v_clamp(v_round(v_min(a, v_set(hi))), 0.0f, hi);
}

/* What is tried around the nearest sc, three at a time: sc moved, and m nearest to what suits it
 * (0) or the next in its direction (1). */
enum { MAX_LINE_REACH = 4 };
static const float line_moves[3 * MAX_LINE_REACH] = {0, -1, 1, 0, -1, 1, -2, 2, -3, -2, 2, 3};
static const bool line_is_next[3 * MAX_LINE_REACH] = {0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0};

/* The best of 3 * reach pairs of integers of one vector of lanes. Returns their error. */
INLINE vf best_integers(const tile *t, const line_set *set, const affine_ideal *ideal, int g,
                        int reach, affine_choice *c) {
    vf d = v_load(c->d.v + g), dmin = v_load(c->dmin.v + g), inverse_dmin = v_inverse(dmin);
    vf middle = nearest_integer(v_load(ideal->scale.v + g) * v_inverse(d), set->scale_hi);
    vf least = v_set(__builtin_inff()), best_scale = middle, best_min = v_set(0.0f);
    for (int i = 0; i < 3 * reach; i += 3) {
        vf scale[3], m[3], step[3], minimum[3], error[3];
        for (int j = 0; j < 3; j++) {
            scale[j] = v_clamp(middle + v_set(line_moves[i + j]), 0.0f, set->scale_hi);
            step[j] = d * scale[j];
            vf exact = exact_minimum(ideal, g, step[j], inverse_dmin);
            m[j] = nearest_integer(exact, set->scale_hi);
            if (line_is_next[i + j]) {
                m[j] += v_select(exact > m[j], v_set(1.0f), v_set(-1.0f));
                m[j] = v_clamp(m[j], 0.0f, set->scale_hi);
            }
            minimum[j] = -(dmin * m[j]);
        }
        line_errors_of_3(&t->x[0][g], &t->w[0][g], set, step, minimum, error);
        for (int j = 0; j < 3; j++) {
            vi better = error[j] < least;
            least = v_min(least, error[j]);
            best_scale = v_select(better, scale[j], best_scale);
            best_min = v_select(better, m[j], best_min);
        }
    }
    v_store(c->scale.v + g, best_scale);
    v_store(c->minimum.v + g, best_min);
    return least;
}

/* Integers sc and m of every lane for the d and dmin in c, and the error of the unit: rounded to
 * nearest (reach 0), or the best of 3 * reach pairs. */
INLINE void choose_integers(const tile *t, const line_set *set, const affine_ideal *ideal,
                            affine_choice *c, int reach) {
    FOR_USED(t, g) {
        vf d = v_load(c->d.v + g), dmin = v_load(c->dmin.v + g), error;
        if (set->scale_hi != 0.0f && reach > 0) {
            error = best_integers(t, set, ideal, g, reach, c);
        } else {
            vf scale = v_set(1.0f), m = v_set(-1.0f);
            if (set->scale_hi != 0.0f) {
                scale = nearest_integer(v_load(ideal->scale.v + g) * v_inverse(d), set->scale_hi);
                m = nearest_integer(-v_load(ideal->minimum.v + g) * v_inverse(dmin), set->scale_hi);
            }
            error = line_error(&t->x[0][g], &t->w[0][g], set, d * scale, -(dmin * m));
            v_store(c->scale.v + g, scale);
            v_store(c->minimum.v + g, m);
        }
        v_store(c->unit_error.v + g, error * v_load(t->share.v + g));
    }
    unit_sum(&c->unit_error, set->unit);
}

/* Copy to `best` where the unit's error is lower. */
INLINE void keep_better_affine(affine_choice *best, const affine_choice *c) {
    FOR_LANES(g) {
        vi better = is_lower(v_load(c->unit_error.v + g), v_load(best->unit_error.v + g));
        const lanes *from[5] = {&c->d, &c->dmin, &c->scale, &c->minimum, &c->unit_error};
        lanes *to[5] = {&best->d, &best->dmin, &best->scale, &best->minimum, &best->unit_error};
        for (int i = 0; i < 5; i++) {
            v_store(to[i]->v + g, v_select(better, v_load(from[i]->v + g), v_load(to[i]->v + g)));
        }
    }
}

/* d and dmin of least predicted error for the integers in c. */
INLINE void fit_steps(const line_set *set, const affine_ideal *ideal, affine_choice *c) {
    lanes aa, ab, bb, xa, xb;
    FOR_LANES(g) {
        vf sc = v_load(c->scale.v + g), m = v_load(c->minimum.v + g);
        vf w = v_load(ideal->w.v + g), q = v_load(ideal->q.v + g), qq = v_load(ideal->qq.v + g);
        vf s = v_load(ideal->scale.v + g), bottom = v_load(ideal->minimum.v + g);
        v_store(aa.v + g, sc * sc * qq);
        v_store(ab.v + g, sc * m * q);
        v_store(bb.v + g, m * m * w);
        v_store(xa.v + g, sc * (qq * s + q * bottom));
        v_store(xb.v + g, m * (q * s + w * bottom));
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
        vf dmin = v_select(sound, (B * X - A * Y) / bottom, v_load(c->dmin.v + g));
        v_store(c->d.v + g, d);
        v_store(c->dmin.v + g, dmin);
    }
}

/* The least-squares lines of the codes that are stored for `best`. */
INLINE void refit_lines(const tile *t, const line_set *set, const affine_choice *best,
                        affine_ideal *ideal) {
    FOR_USED(t, g) {
        vf step = v_load(best->d.v + g) * v_load(best->scale.v + g), id = v_inverse(step);
        vf offset = v_load(best->dmin.v + g) * v_load(best->minimum.v + g) * id;
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
        vf det = w_sum * q2 - q1 * q1;
        vi sound = det > v_set(1e-6f) * w_sum * q2;
        vf scale = (w_sum * xq - x1 * q1) / v_select(sound, det, v_set(1.0f));
        scale = v_select(sound, scale, step);
        v_store(ideal->scale.v + g, scale);
        v_store(ideal->minimum.v + g, (x1 - scale * q1) / w_sum);
        vf share = v_load(t->share.v + g);
        v_store(ideal->w.v + g, w_sum * share);
        v_store(ideal->q.v + g, q1 * share);
        v_store(ideal->qq.v + g, q2 * share);
        v_store(ideal->tilt.v + g, q1 / w_sum);
    }
}

/* d and dmin that put the largest scale and minimum of a unit at the top of their range. */
INLINE void widest_steps(const line_set *set, const affine_ideal *ideal, const lanes *positive,
                         affine_choice *c) {
    lanes scale = ideal->scale, minimum;
    if (set->scale_hi == 0.0f) {
        c->d = scale;
        c->dmin = ideal->minimum;
        return;
    }
    FOR_LANES(g) {
        v_store(minimum.v + g, v_abs(v_load(ideal->minimum.v + g)));
    }
    unit_max(&scale, set->unit);
    unit_max(&minimum, set->unit);
    FOR_LANES(g) {
        /* dmin is stored negative where the minima are positive. */
        vf m = v_load(minimum.v + g) * v_set(1.0f / set->scale_hi);
        vi flip = v_load(positive->v + g) < v_set(0.0f);
        v_store(c->d.v + g, v_load(scale.v + g) * v_set(1.0f / set->scale_hi));
        v_store(c->dmin.v + g, v_select(flip, -m, m));
    }
}

/* Integers of least predicted error for the d and dmin in c, and that error of the unit. */
INLINE void predict_integers(const line_set *set, const affine_ideal *ideal, const lanes *inverse_d,
                             const lanes *inverse_dmin, affine_choice *c) {
    FOR_LANES(g) {
        vf d = v_load(c->d.v + g), dmin = v_load(c->dmin.v + g);
        vf ideal_scale = v_load(ideal->scale.v + g);
        vf w = v_load(ideal->w.v + g), q = v_load(ideal->q.v + g), qq = v_load(ideal->qq.v + g);
        vf scale = nearest_integer(ideal_scale * v_load(inverse_d->v + g), set->scale_hi);
        vf exact = exact_minimum(ideal, g, d * scale, v_load(inverse_dmin->v + g));
        vf m = nearest_integer(exact, set->scale_hi);
        vf ds = d * scale - ideal_scale, dm = -(dmin * m) - v_load(ideal->minimum.v + g);
        v_store(c->scale.v + g, scale);
        v_store(c->minimum.v + g, m);
        v_store(c->unit_error.v + g, ds * (qq * ds + v_set(2.0f) * q * dm) + w * dm * dm);
    }
    unit_sum(&c->unit_error, set->unit);
}

/* One of d and dmin tried at n - 1 more values above the one it has. The other stays. */
INLINE void search_one_step(const line_set *set, const affine_ideal *ideal, bool is_dmin, int n,
                            lanes *inverse_d, lanes *inverse_dmin, lanes *least, affine_choice *c) {
    lanes *step = is_dmin ? &c->dmin : &c->d, *inverse = is_dmin ? inverse_dmin : inverse_d;
    lanes from = *step, from_inverse = *inverse, best, best_inverse;
    best = from;
    best_inverse = from_inverse;
    for (int i = 1; i < n; i++) {
        float factor = 1.0f + 0.025f * (float)i, back = 1.0f / factor;
        FOR_LANES(g) {
            v_store(step->v + g, v_load(from.v + g) * v_set(factor));
            v_store(inverse->v + g, v_load(from_inverse.v + g) * v_set(back));
        }
        predict_integers(set, ideal, inverse_d, inverse_dmin, c);
        FOR_LANES(g) {
            vf error = v_load(c->unit_error.v + g), so_far = v_load(least->v + g);
            vi better = error < so_far;
            v_store(least->v + g, v_min(error, so_far));
            v_store(best.v + g, v_select(better, v_load(step->v + g), v_load(best.v + g)));
            v_store(best_inverse.v + g,
                    v_select(better, v_load(inverse->v + g), v_load(best_inverse.v + g)));
        }
    }
    *step = best;
    *inverse = best_inverse;
}

/* d and dmin of least predicted error: from the widest ones in c up, one after the other. */
INLINE void search_steps(const line_set *set, const affine_ideal *ideal, int n_tried,
                         affine_choice *c) {
    lanes inverse_d, inverse_dmin, least;
    FOR_LANES(g) {
        v_store(inverse_d.v + g, v_inverse(v_load(c->d.v + g)));
        v_store(inverse_dmin.v + g, v_inverse(v_load(c->dmin.v + g)));
    }
    predict_integers(set, ideal, &inverse_d, &inverse_dmin, c);
    least = c->unit_error;
    search_one_step(set, ideal, false, n_tried, &inverse_d, &inverse_dmin, &least, c);
    search_one_step(set, ideal, true, n_tried, &inverse_d, &inverse_dmin, &least, c);
    predict_integers(set, ideal, &inverse_d, &inverse_dmin, c);
    fit_steps(set, ideal, c);
}

INLINE void affine_codes(const tile *t, const line_set *set, const affine_choice *c, codes *out) {
    FOR_USED(t, g) {
        vf id = v_inverse(v_load(c->d.v + g) * v_load(c->scale.v + g));
        vf offset = v_load(c->dmin.v + g) * v_load(c->minimum.v + g) * id;
        vf code[MAX_SUB];
        for (int e = 0; e < set->n_sub; e++) {
            code[e] = v_clamp(v_round(v_load(&t->x[e][g]) * id + offset), 0.0f, set->hi);
        }
        store_turned(code, g, set->n_sub, out);
    }
}

/* Where a step of the search takes d and dmin from: as for symmetric formats. */
typedef enum line_source { ENDS, LINES, CODES } line_source;

/* One step of the search: lines improved, then d, dmin and integers, kept if better. */
typedef struct line_step {
    int effort;         /* the least that takes it */
    line_source source; /* lines through both ends (rounding to nearest), lines in hand, codes */
    int stage;          /* of the starts to try before; -1: none */
    int rounds;         /* of lines around the best to try before */
    float nudge;        /* how far around, in steps */
    int n_tried;        /* LINES: values of d and of dmin */
    float d_factor, dmin_factor;
    int reach; /* of integers */
} line_step;

/* clang-format off */
static const line_step line_steps[] = {
    { TAMIS_EFFORT_FAST, ENDS, -1, 0, 0, 0, 1, 1, 0 },
    { TAMIS_EFFORT_FAST, LINES, 0, 1, 0.25f, 6, 1, 1, 1 },
    { TAMIS_EFFORT_NORMAL, LINES, 1, 1, 0.25f, 6, 1, 1, 1 },
    { TAMIS_EFFORT_NORMAL, CODES, -1, 0, 0, 0, 1, 1, 1 },
    { TAMIS_EFFORT_BEST, LINES, 2, 2, 0.25f, 12, 1, 1, 4 },
    { TAMIS_EFFORT_BEST, LINES, -1, 2, 0.12f, 12, 1, 1, 4 },
    { TAMIS_EFFORT_BEST, LINES, -1, 1, 0.5f, 16, 1, 1, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 1, 1, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 1, 1, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 1, 0.98f, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 1, 1.02f, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 0.98f, 1, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 1.02f, 1, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 0.99f, 1.01f, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 1.01f, 0.99f, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 0.96f, 1, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 1.04f, 1, 4 },
    { TAMIS_EFFORT_BEST, CODES, -1, 0, 0, 0, 1, 1, 4 },
};
/* clang-format on */
enum { N_LINE_STEPS = sizeof line_steps / sizeof line_steps[0] };

/* The lines through both ends of every sub-block, or those of the fits. */
INLINE void set_lines(const tile *t, const line_set *set, const line_fits *fits, bool is_ends,
                      affine_ideal *ideal) {
    FOR_LANES(g) {
        vf share = v_load(t->share.v + g), origin = v_load(fits->origin.v + g);
        vf ends = v_load(fits->range.v + g) * v_set(1.0f / set->hi);
        v_store(ideal->w.v + g, v_load(fits->sum_w.v + g) * share);
        v_store(ideal->q.v + g, v_load(fits->q.v + g) * share);
        v_store(ideal->qq.v + g, v_load(fits->qq.v + g) * share);
        v_store(ideal->tilt.v + g, v_load(fits->q.v + g) * v_load(fits->inverse_w.v + g));
        v_store(ideal->scale.v + g, is_ends ? ends : v_load(fits->scale.v + g));
        v_store(ideal->minimum.v + g, is_ends ? origin : v_load(fits->minimum.v + g) + origin);
    }
}

/* d and dmin of a step into c, the lines that the integers are to come near to, and the widest
 * steps that these call for. */
INLINE void find_steps(const tile *t, const line_set *set, const line_step *step,
                       const lanes *positive, const line_fits *fits, const affine_choice *best,
                       affine_ideal *ideal, affine_choice *wide, affine_choice *c) {
    if (step->source == CODES) {
        refit_lines(t, set, best, ideal);
        *c = *best;
        fit_steps(set, ideal, c);
    } else {
        set_lines(t, set, fits, step->source == ENDS, ideal);
        widest_steps(set, ideal, positive, wide);
        *c = *wide;
        if (set->scale_hi != 0.0f && step->source == LINES) {
            search_steps(set, ideal, step->n_tried, c);
        }
    }
    FOR_LANES(g) {
        v_store(c->d.v + g, v_load(c->d.v + g) * v_set(step->d_factor));
        v_store(c->dmin.v + g, v_load(c->dmin.v + g) * v_set(step->dmin_factor));
    }
}

/* Where one of the widest steps is tiny, both rounded away from zero; else c stays as it is. */
INLINE void take_widened_steps(const affine_choice *wide, affine_choice *c) {
    affine_choice wider = *wide;
    widen_tiny_steps(&wider.d);
    widen_tiny_steps(&wider.dmin);
    FOR_LANES(g) {
        vf d = v_load(wider.d.v + g), dmin = v_load(wider.dmin.v + g);
        vi is_wider = (d != v_load(wide->d.v + g)) | (dmin != v_load(wide->dmin.v + g));
        v_store(c->d.v + g, v_select(is_wider, d, v_load(c->d.v + g)));
        v_store(c->dmin.v + g, v_select(is_wider, dmin, v_load(c->dmin.v + g)));
    }
}

/* All values zero: what any step of the search has to do better than. */
INLINE void start_from_zero(const tile *t, const line_set *set, affine_choice *best) {
    float scale = set->scale_hi == 0.0f ? 1.0f : 0.0f;
    memset(best, 0, sizeof *best);
    FOR_USED(t, g) {
        vf energy = v_set(0.0f);
        for (int e = 0; e < set->n_sub; e++) {
            vf x = v_load(&t->x[e][g]);
            energy += v_load(&t->w[e][g]) * x * x;
        }
        v_store(best->scale.v + g, v_set(scale));
        v_store(best->minimum.v + g, v_set(-scale));
        v_store(best->unit_error.v + g, energy * v_load(t->share.v + g));
    }
    unit_sum(&best->unit_error, set->unit);
}

/* Search one tile: best d, dmin and integers of every unit, and the codes. Each effort goes on
 * from the result of the one below. */
INLINE void affine_search(const tile *t, const line_set *set, tamis_effort effort,
                          affine_choice *best, codes *out) {
    /* Lanes without a sub-block stay zero. */
    line_fits fits = {0};
    affine_ideal ideal = {0};
    affine_choice c = {0}, wide = {0};
    lanes positive = {{0}};
    start_lines(t, set, &fits, &positive);
    start_from_zero(t, set, best);
    for (int i = 0; i < N_LINE_STEPS && line_steps[i].effort <= (int)effort; i++) {
        const line_step *step = line_steps + i;
        if (step->source == CODES && set->scale_hi == 0.0f) continue;
        if (step->rounds > 0) {
            int from = step->stage > 0 ? set->n_starts[step->stage - 1] : 0;
            int to = step->stage >= 0 ? set->n_starts[step->stage] : 0;
            improve_lines(t, set, from, to, step->rounds, step->nudge, &fits);
        }
        find_steps(t, set, step, &positive, &fits, best, &ideal, &wide, &c);
        for (bool is_again = false;; is_again = true) {
            round_steps(&c.d);
            round_steps(&c.dmin);
            choose_integers(t, set, &ideal, &c, step->reach);
            keep_better_affine(best, &c);
            if (is_again || step->source != LINES) break;
            if (!any_tiny_step(&wide.d) && !any_tiny_step(&wide.dmin)) break;
            take_widened_steps(&wide, &c);
        }
    }
    affine_codes(t, set, best, out);
}

#endif
