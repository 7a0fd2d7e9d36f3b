/* encode_affine_fit_internal.h - the line scale * code + minimum of least weighted error for every
 * sub-block, before anything is rounded to stored precision. Candidates put the ends of the
 * sub-block's range below code 0 and above the highest one by parts of a step, each
 * followed by the least-squares line through its codes; then lines around the best one
 * are tried, until enough is done. Part of encode_affine_internal.h. Compute bound. */
#ifndef TAMIS_FORMATS_ENCODE_AFFINE_FIT_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_AFFINE_FIT_INTERNAL_H

#include "formats/encode_tile_internal.h"

/* Where the ends of a range are put: steps below code 0, steps above the highest code. */
typedef struct line_start {
    float below, above;
} line_start;

typedef struct line_set {
    int n_sub;                /* elements per sub-block */
    int unit;                 /* sub-blocks that share d and dmin */
    float hi;                 /* codes are 0..hi */
    float scale_hi;           /* sc and m are 0..scale_hi; 0 when there are none */
    int n_starts[3];          /* of fast, normal, best; multiples of 3 */
    const line_start *starts; /* the most telling first */
} line_set;

/* Weighted sums over a sub-block: enough to know the error of any line for its codes. */
typedef struct line_sums {
    vf q, qq, xq; /* sum w*q, w*q*q, w*x*q; x relative to the origin */
} line_sums;

/* The best lines so far. Minimum and sums are relative to `origin`. */
typedef struct line_fits {
    lanes origin, range; /* smallest value (or 0, where 0 must be in reach), and largest - it */
    lanes narrow_low, narrow_range; /* of what has importance, where that is less: its smallest
                                       value relative to the origin; else 0 */
    lanes sum_w, sum_x, inverse_w;
    lanes bottom, top; /* bounds of the minimum */
    lanes score, scale, minimum, q, qq;
} line_fits;

/* One vector of lanes of a tile and its line_fits. */
typedef struct line_work {
    const float *x, *w;
    vf origin, sum_w, sum_x, inverse_w, bottom, top;
    vf score, scale, minimum, q, qq;
} line_work;

/* The least-squares line for the codes behind `sums`, kept when it is the best so far.
 * score: how much of sum w*x^2 the line explains. */
INLINE void keep_better_line(line_work *k, const line_set *set, line_sums sums) {
    const vf tiny = v_set(1e-30f);
    vf det = k->sum_w * sums.qq - sums.q * sums.q;
    vi sound = det > v_set(1e-6f) * k->sum_w * sums.qq;
    vf over = k->sum_w * sums.xq - k->sum_x * sums.q;
    if (set->scale_hi == 0.0f) {
        /* All codes equal: the line through none of them but the mean is as good as any. */
        over = v_select(sound, over, v_set(0.0f));
        det = v_select(sound, det, v_set(1.0f));
    } else {
        /* A minimum out of bounds is held there. */
        vf min_over = k->sum_x * sums.qq - sums.q * sums.xq;
        vi free = sound & (min_over >= k->bottom * det) & (min_over <= k->top * det);
        vf bound = v_select(min_over < v_set(0.0f), k->bottom, k->top);
        bound = v_select(v_abs(bound) < v_set(1e29f), bound, v_set(0.0f));
        over = v_select(free, over, sums.xq - bound * sums.q);
        det = v_select(free, det, v_max(sums.qq, tiny));
    }
    vf scale = over / det;
    vf minimum = (k->sum_x - scale * sums.q) * k->inverse_w;
    minimum = v_min(v_max(minimum, k->bottom), k->top);
    vf score = scale * (sums.xq + sums.xq - scale * sums.qq) +
               minimum * (k->sum_x + k->sum_x - minimum * k->sum_w) -
               (scale + scale) * minimum * sums.q;
    vi better = (score > k->score) & (scale > v_set(0.0f));
    k->score = v_select(better, score, k->score);
    k->scale = v_select(better, scale, k->scale);
    k->minimum = v_select(better, minimum, k->minimum);
    k->q = v_select(better, sums.q, k->q);
    k->qq = v_select(better, sums.qq, k->qq);
}

/* Lines with inverse scales id, of which the origin has codes shift: three in one go. */
INLINE void try_3_lines(line_work *k, const line_set *set, const vf id[3], const vf shift[3]) {
    const vf zero = v_set(0.0f), origin = k->origin, id0 = id[0], id1 = id[1], id2 = id[2];
    const vf shift0 = shift[0], shift1 = shift[1], shift2 = shift[2];
    line_sums a = {zero, zero, zero}, b = a, c = a;
    for (int e = 0; e < set->n_sub; e++) {
        vf x = v_load(k->x + e * LANES) - origin, w = v_load(k->w + e * LANES);
        vf q0 = v_clamp(v_round(x * id0 + shift0), 0.0f, set->hi), w0 = w * q0;
        vf q1 = v_clamp(v_round(x * id1 + shift1), 0.0f, set->hi), w1 = w * q1;
        vf q2 = v_clamp(v_round(x * id2 + shift2), 0.0f, set->hi), w2 = w * q2;
        a.q += w0, a.qq += w0 * q0, a.xq += w0 * x;
        b.q += w1, b.qq += w1 * q1, b.xq += w1 * x;
        c.q += w2, c.qq += w2 * q2, c.xq += w2 * x;
    }
    keep_better_line(k, set, a);
    keep_better_line(k, set, b);
    keep_better_line(k, set, c);
}

/* The best line again with its codes rounded anew, and both ends moved by `nudge` steps: apart
 * and together, then up and down. */
INLINE void try_lines_around(line_work *k, const line_set *set, float nudge) {
    float half = 0.5f * set->hi;
    for (int is_shift = 0; is_shift < 2; is_shift++) {
        vf id[3], shift[3], inverse = v_inverse(k->scale), at = -k->minimum * inverse;
        for (int i = 0; i < 3; i++) {
            float by = i == 0 ? 0.0f : i == 1 ? nudge : -nudge;
            float factor = is_shift ? 1.0f : 1.0f + by / half;
            id[i] = inverse * v_set(factor);
            shift[i] =
                is_shift ? at + v_set(by) : at * v_set(factor) + v_set(half * (1.0f - factor));
        }
        try_3_lines(k, set, id, shift);
    }
}

/* The smallest and largest value of every lane, and whether a unit is above zero throughout
 * (positive < 0). */
INLINE void measure_range(const tile *t, const line_set *set, lanes *low, lanes *high,
                          lanes *positive) {
    FOR_USED(t, g) {
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

/* The range of the elements that have importance, where one at an end has next to none: a line
 * through it would pass the others by. */
INLINE void measure_narrow(const tile *t, const line_set *set, int g, vi is_positive,
                           line_fits *fits) {
    const vf far = v_set(1e30f), zero = v_set(0.0f);
    vf most = zero, low = far, high = -far;
    for (int e = 0; e < set->n_sub; e++) {
        most = v_max(most, v_load(&t->w[e][g]));
    }
    most *= v_set(0x1p-20f);
    for (int e = 0; e < set->n_sub; e++) {
        vf x = v_load(&t->x[e][g]);
        vi counts = v_load(&t->w[e][g]) >= most;
        low = v_min(low, v_select(counts, x, far));
        high = v_max(high, v_select(counts, x, -far));
    }
    if (set->scale_hi != 0.0f) low = v_select(is_positive, low, v_min(low, zero));
    vf range = v_max(high - low, zero);
    vi is_less = range < v_set(0.99f) * v_load(fits->range.v + g);
    v_store(fits->narrow_low.v + g, low - v_load(fits->origin.v + g));
    v_store(fits->narrow_range.v + g, v_select(is_less, range, zero));
}

INLINE void start_lines(const tile *t, const line_set *set, line_fits *fits, lanes *positive) {
    const vf zero = v_set(0.0f), far = v_set(1e30f);
    lanes low, high;
    measure_range(t, set, &low, &high, positive);
    FOR_USED(t, g) {
        vf least = v_load(low.v + g), sum_w = zero, sum_x = zero;
        vi is_positive = v_load(positive->v + g) < zero;
        vf origin =
            set->scale_hi == 0.0f ? least : v_select(is_positive, least, v_min(least, zero));
        for (int e = 0; e < set->n_sub; e++) {
            vf w = v_load(&t->w[e][g]);
            sum_w += w;
            sum_x += w * (v_load(&t->x[e][g]) - origin);
        }
        vi is_bound = set->scale_hi == 0.0f ? (vi)zero : ~(vi)zero;
        vf bottom = v_select(is_bound & is_positive, -origin, -far);
        vf top = v_select(is_bound & ~is_positive, -origin, far);
        v_store(fits->origin.v + g, origin);
        v_store(fits->range.v + g, v_max(v_load(high.v + g) - origin, zero));
        measure_narrow(t, set, g, is_positive, fits);
        v_store(fits->sum_w.v + g, sum_w);
        v_store(fits->sum_x.v + g, sum_x);
        v_store(fits->inverse_w.v + g, v_inverse(sum_w));
        v_store(fits->bottom.v + g, bottom);
        v_store(fits->top.v + g, top);
        v_store(fits->score.v + g, v_set(-1.0f));
        v_store(fits->scale.v + g, zero);
        v_store(fits->minimum.v + g, v_min(v_max(zero, bottom), top));
        v_store(fits->q.v + g, zero);
        v_store(fits->qq.v + g, zero);
    }
}

/* The starts from..to of a range that begins at `low` above the origin; nothing for a range of 0.
 */
INLINE void try_starts(line_work *k, const line_set *set, int from, int to, vf low, vf range) {
    vf inverse = v_inverse(range);
    for (int i = from; i < to; i += 3) {
        vf id[3], shift[3];
        for (int j = 0; j < 3; j++) {
            const line_start *s = &set->starts[i + j];
            id[j] = inverse * v_set(set->hi + s->below + s->above);
            shift[j] = v_set(-s->below) - low * id[j];
        }
        try_3_lines(k, set, id, shift);
    }
}

/* Go on with the starts from..to, then with lines around the best, `rounds` times. */
INLINE void improve_lines(const tile *t, const line_set *set, int from, int to, int rounds,
                          float nudge, line_fits *fits) {
    FOR_USED(t, g) {
        line_work k = {
            &t->x[0][g],
            &t->w[0][g],
            v_load(fits->origin.v + g),
            v_load(fits->sum_w.v + g),
            v_load(fits->sum_x.v + g),
            v_load(fits->inverse_w.v + g),
            v_load(fits->bottom.v + g),
            v_load(fits->top.v + g),
            v_load(fits->score.v + g),
            v_load(fits->scale.v + g),
            v_load(fits->minimum.v + g),
            v_load(fits->q.v + g),
            v_load(fits->qq.v + g),
        };
        try_starts(&k, set, from, to, v_set(0.0f), v_load(fits->range.v + g));
        vf narrow = v_load(fits->narrow_range.v + g);
        if (from == 0 && v_any(narrow > v_set(0.0f))) {
            try_starts(&k, set, 0, 3, v_load(fits->narrow_low.v + g), narrow);
        }
        for (int i = 0; i < rounds; i++) {
            try_lines_around(&k, set, nudge);
        }
        v_store(fits->score.v + g, k.score);
        v_store(fits->scale.v + g, k.scale);
        v_store(fits->minimum.v + g, k.minimum);
        v_store(fits->q.v + g, k.q);
        v_store(fits->qq.v + g, k.qq);
    }
}

#endif
