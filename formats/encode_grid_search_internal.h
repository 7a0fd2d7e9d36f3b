/* encode_grid_search_internal.h - search for the grid formats iq1_* .. iq3_*, whose step is
 * d * base * (1 + 2 * integer scale). The entries found for one step of a sub-block bound its
 * error for every step by a parabola, energy - 2 step xv + step^2 vv, exact at that step. A
 * family of such parabolas per sub-block tells, at little cost, which d and integer scales to
 * look at; entries searched there add a parabola each, and the choice is looked for again.
 * What is kept is judged by its error as the decoder sees it. Compute bound. */
#ifndef TAMIS_FORMATS_ENCODE_GRID_SEARCH_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_GRID_SEARCH_INTERNAL_H

#include "formats/encode_grid_nearest_internal.h"
#include "formats/formats.h"

enum { MAX_GROUPS = 4, MAX_FAMILY = 48 };

/* One way to find the entries of two groups; the code of element e is at bit n_bits * e. */
typedef void nearest_fn(const tamis_grid_lists *runs, const float *values, const group_pair *in,
                        vi code[2]);

typedef struct grid_set {
    const uint16_t *grid;
    int n_entries;
    int n_bits; /* per code */
    nearest_fn *nearest;
    bool is_even;             /* the number of minus signs in a group must be even */
    int n_variants;           /* 2: all values of some groups are shifted up or down */
    int n_shared;             /* groups that share a variant */
    const float (*values)[8]; /* [n_variants] values of the codes, evenly spaced but the last */
    int n_sub, unit;          /* elements per sub-block, sub-blocks per super-block */
    float mean_value;         /* of the values used, about */
    bool is_thorough;         /* all steps of the family are searched exactly */
    float base, scale_hi;     /* step = d * base * (1 + 2 * scale), scale <= scale_hi */
} grid_set;

/* What is stored of the groups of every lane: codes; signs, or the variant. */
typedef struct entries {
    _Alignas(64) int32_t code[MAX_GROUPS][LANES];
    _Alignas(64) int32_t sign[MAX_GROUPS][LANES];
} entries;

/* Sums over the elements of a lane: w x value, w value^2, w (x - step value)^2. */
typedef struct sums {
    vf xv, vv, error;
} sums;

typedef struct grid_choice {
    lanes d, scale, unit_error;
    entries e;
} grid_choice;

typedef struct family {
    int n;
    lanes twice_xv[MAX_FAMILY], vv[MAX_FAMILY];
} family;

typedef struct grid_work {
    const grid_set *set;
    const tamis_grid_lists *lists;
    tile t;          /* magnitudes where the format stores signs */
    entries natural; /* sign: the signs of x */
    lanes least_weight;
    lanes ideal, score; /* best step of each lane so far; score 0: without importance */
    family f;
    grid_choice best;
} grid_work;

/* unit_sum() and unit_max() of a set; constants, so that each width is compiled on its own. */
INLINE void sum_of_unit(const grid_set *set, lanes *a) {
    if (set->unit == 8) {
        unit_sum(a, 8);
    } else {
        unit_sum(a, 16);
    }
}

INLINE void top_of_unit(const grid_set *set, lanes *a) {
    if (set->unit == 8) {
        unit_max(a, 8);
    } else {
        unit_max(a, 16);
    }
}

/* What a weight counts as at least when an entry is looked for: among elements without any
 * importance the nearest is found. Never in sums. */
INLINE void find_least_weights(grid_work *work) {
    FOR_LANES(g) {
        vf top = v_set(0.0f);
        for (int e = 0; e < work->set->n_sub; e++) {
            top = v_max(top, v_load(&work->t.w[e][g]));
        }
        v_store(work->least_weight.v + g, v_max(top * v_set(0x1p-40f), v_set(0x1p-80f)));
    }
}

/* Part signs and magnitudes. */
INLINE void take_signs(grid_work *work) {
    const grid_set *set = work->set;
    FOR_LANES(g) {
        for (int k = 0; k < set->n_sub / GROUP; k++) {
            vi bits = i_set(0);
            for (int e = 0; e < GROUP && set->n_variants == 1; e++) {
                float *at = &work->t.x[k * GROUP + e][g];
                vf x = v_load(at);
                bits |= (vi)(x < v_set(0.0f)) & i_set(1 << e);
                v_store(at, v_abs(x));
            }
            i_store(&work->natural.sign[k][g], bits);
        }
    }
}

/* All ones where the number of bits among the lowest eight is odd. */
INLINE vi odd_bits(vi bits) {
    bits ^= bits >> 4;
    bits ^= bits >> 2;
    bits ^= bits >> 1;
    return -(bits & 1);
}

INLINE vf code_value(const grid_set *set, const float *values, vi code, int e) {
    int last = (1 << set->n_bits) - 1;
    vf c = __builtin_convertvector((code >> (set->n_bits * e)) & last, vf);
    int top = set->n_bits == 2 ? 2 : 7;
    float gap = values[1] - values[0], extra = values[top] - values[0] - (float)top * gap;
    vi is_top = c == v_set((float)top);
    return v_set(values[0]) + c * v_set(gap) + (vf)(is_top & (vi)v_set(extra));
}

/* The sums of a group with the entry of `code`; turns the sign that is cheapest by the weights of
 * the search in the lanes of `odd`. x, w: the first elements in the tile. */
INLINE void add_group(const grid_set *set, const float *values, const float *x_row,
                      const float *w_row, const vf search_w[GROUP], vf step, vi code, vi odd,
                      vi *sign, sums *s) {
    vf x[GROUP], value[GROUP], least = v_set(__builtin_inff());
    vi which = i_set(0);
    for (int e = 0; e < GROUP; e++) {
        x[e] = v_load(x_row + e * LANES);
        value[e] = code_value(set, values, code, e);
        if (set->is_even) {
            vf price = search_w[e] * x[e] * value[e];
            which = (vi)v_where_less(price, least, (vf)i_set(1 << e), (vf)which);
            least = v_min(price, least);
        }
    }
    which &= odd;
    *sign ^= which;
    for (int e = 0; e < GROUP; e++) {
        vi is_turned = (which & i_set(1 << e)) != 0;
        vf v = (vf)((vi)value[e] ^ (is_turned & INT32_MIN));
        vf w = v_load(w_row + e * LANES), weighted = w * v, off = x[e] - step * v;
        s->xv += weighted * x[e];
        s->vv += weighted * v;
        s->error += w * off * off;
    }
}

INLINE void v_keep(float *at, vi mask, vf a) {
    v_store(at, v_select(mask, a, v_load(at)));
}

INLINE void i_keep(int32_t *at, vi mask, vi a) {
    i_store(at, (mask & a) | (~mask & i_load(at)));
}

/* The numbers of a table of 16-bit numbers, and one more, at the indices. */
INLINE vi numbers_at(const uint16_t *table, vi index) {
#if defined(__x86_64__) && TAMIS_LANES == 16
    return (vi)_mm512_i32gather_epi32((__m512i)index, table, 2) & 0xFFFF;
#elif defined(__x86_64__) && TAMIS_LANES == 8
    return (vi)_mm256_i32gather_epi32((const int *)table, (__m256i)index, 2) & 0xFFFF;
#else
    vi a;
    for (int i = 0; i < TAMIS_LANES; i++) {
        a[i] = table[index[i]];
    }
    return a;
#endif
}

/* The entry of the map for elements rounded each by itself. */
INLINE vi mapped_entry(const grid_work *work, const float *values, const vf t[GROUP]) {
    const grid_set *set = work->set;
    float n_values = set->n_bits == 2 ? 3.0f : 8.0f, inverse_gap = 1.0f / (values[1] - values[0]);
    int n_elems = set->n_bits == 2 ? 8 : 4;
    vi code = i_set(0);
    for (int first = 0; first < GROUP; first += n_elems) {
        vf cell = v_set(0.0f);
        for (int e = first + n_elems - 1; e >= first; e--) {
            vf c = v_round((t[e] - v_set(values[0])) * v_set(inverse_gap));
            cell = cell * v_set(n_values) + v_clamp(c, 0.0f, n_values - 1.0f);
        }
        vi entry = numbers_at(work->lists->map, __builtin_convertvector(cell, vi));
        code |= entry << (set->n_bits * first);
    }
    return code;
}

/* Entries of two groups from group k on, for one variant; sums of each. */
INLINE void find_pair(const grid_work *work, int g, int k, int variant, vf step, bool is_exact,
                      entries *out, sums s[2]) {
    const grid_set *set = work->set;
    const float *values = set->values[variant];
    vf inverse = v_inverse(step), least_weight = v_load(work->least_weight.v + g);
    group_pair in;
    vi code[2], sign[2];
    for (int i = 0; i < 2; i++) {
        for (int e = 0; e < GROUP; e++) {
            in.t[i][e] = v_load(&work->t.x[(k + i) * GROUP + e][g]) * inverse;
            in.w[i][e] = v_max(v_load(&work->t.w[(k + i) * GROUP + e][g]), least_weight);
        }
        sign[i] = i_load(&work->natural.sign[k + i][g]) | variant;
        in.odd[i] = odd_bits(sign[i]) & -(int32_t)set->is_even;
    }
    if (is_exact) {
        set->nearest(work->lists, values, &in, code);
    } else {
        code[0] = mapped_entry(work, values, in.t[0]);
        code[1] = mapped_entry(work, values, in.t[1]);
    }
    for (int i = 0; i < 2; i++) {
        const float *x = &work->t.x[(k + i) * GROUP][g], *w = &work->t.w[(k + i) * GROUP][g];
        s[i] = (sums){v_set(0.0f), v_set(0.0f), v_set(0.0f)};
        add_group(set, values, x, w, in.w[i], step, code[i], in.odd[i], &sign[i], &s[i]);
        i_store(&out->code[k + i][g], code[i]);
        i_store(&out->sign[k + i][g], sign[i]);
    }
}

/* Of two variants the better one, per group or for all groups from `first` on. */
INLINE void keep_variant(int g, int first, int n, const entries *other, vi better, entries *out) {
    for (int k = first; k < first + n; k++) {
        i_keep(&out->code[k][g], better, i_load(&other->code[k][g]));
        i_keep(&out->sign[k][g], better, i_load(&other->sign[k][g]));
    }
}

INLINE sums sum_of(const sums *s, int n) {
    sums total = {v_set(0.0f), v_set(0.0f), v_set(0.0f)};
    for (int i = 0; i < n; i++) {
        total.xv += s[i].xv;
        total.vv += s[i].vv;
        total.error += s[i].error;
    }
    return total;
}

/* The entries of one vector of lanes for a step each. */
INLINE sums find_entries(const grid_work *work, int g, vf step, bool is_exact, entries *out) {
    const grid_set *set = work->set;
    int n_groups = set->n_sub / GROUP;
    sums s[MAX_GROUPS], other[MAX_GROUPS];
    entries shifted;
    for (int k = 0; k < n_groups; k += 2) {
        find_pair(work, g, k, 0, step, is_exact, out, s + k);
        if (set->n_variants == 2) find_pair(work, g, k, 1, step, is_exact, &shifted, other + k);
    }
    for (int k = 0; k < n_groups && set->n_variants == 2; k += set->n_shared) {
        vf error = sum_of(s + k, set->n_shared).error;
        vi better = sum_of(other + k, set->n_shared).error < error;
        keep_variant(g, k, set->n_shared, &shifted, better, out);
        for (int i = k; i < k + set->n_shared; i++) {
            s[i].xv = v_select(better, other[i].xv, s[i].xv);
            s[i].vv = v_select(better, other[i].vv, s[i].vv);
            s[i].error = v_select(better, other[i].error, s[i].error);
        }
    }
    return sum_of(s, n_groups);
}

/* Search all lanes with a step each: one more parabola of each lane. */
static __attribute__((noinline)) void try_steps(grid_work *work, const lanes *step, bool is_exact,
                                                entries *e, lanes *error) {
    family *f = &work->f;
    FOR_LANES(g) {
        sums s = find_entries(work, g, v_load(step->v + g), is_exact, e);
        vf xv = v_max(s.xv, v_set(0.0f));
        vf ideal = xv / v_max(s.vv, v_set(1e-30f));
        vf score = xv * ideal;
        v_store(f->twice_xv[f->n].v + g, xv + xv);
        v_store(f->vv[f->n].v + g, s.vv);
        v_store(error->v + g, s.error);
        vi better = score > v_load(work->score.v + g);
        v_keep(work->score.v + g, better, score);
        v_keep(work->ideal.v + g, better, ideal);
    }
    f->n++;
}

/* Judge d and the integer scales by a search with the steps the decoder will use. */
static void try_choice(grid_work *work, grid_choice *c) {
    const grid_set *set = work->set;
    lanes step;
    FOR_LANES(g) {
        vf odd = v_set(1.0f) + v_set(2.0f) * v_load(c->scale.v + g);
        v_store(step.v + g, v_load(c->d.v + g) * v_set(set->base) * odd);
    }
    try_steps(work, &step, true, &c->e, &c->unit_error);
    sum_of_unit(set, &c->unit_error);
    grid_choice *best = &work->best;
    FOR_LANES(g) {
        vf error = v_load(c->unit_error.v + g);
        vi better = error < v_load(best->unit_error.v + g) * v_set(1.0f - 1e-5f);
        v_keep(best->unit_error.v + g, better, error);
        v_keep(best->d.v + g, better, v_load(c->d.v + g));
        v_keep(best->scale.v + g, better, v_load(c->scale.v + g));
        for (int k = 0; k < set->n_sub / GROUP; k++) {
            i_keep(&best->e.code[k][g], better, i_load(&c->e.code[k][g]));
            i_keep(&best->e.sign[k][g], better, i_load(&c->e.sign[k][g]));
        }
    }
}

/* The least errors of the family for three steps, less the energy. */
INLINE void family_errors(const family *f, int g, const vf step[3], vf least[3]) {
    const vf s0 = step[0], s1 = step[1], s2 = step[2];
    vf e0 = v_set(__builtin_inff()), e1 = e0, e2 = e0;
    for (int i = 0; i < f->n; i++) {
        vf a = v_load(f->twice_xv[i].v + g), b = v_load(f->vv[i].v + g);
        e0 = v_min(s0 * (s0 * b - a), e0);
        e1 = v_min(s1 * (s1 * b - a), e1);
        e2 = v_min(s2 * (s2 * b - a), e2);
    }
    least[0] = e0;
    least[1] = e1;
    least[2] = e2;
}

/* The sums of the parabola that is lowest at a step. */
INLINE void family_sums(const family *f, int g, vf step, vf *twice_xv, vf *vv) {
    vf least = v_set(__builtin_inff());
    for (int i = 0; i < f->n; i++) {
        vf a = v_load(f->twice_xv[i].v + g), b = v_load(f->vv[i].v + g);
        vf error = step * (step * b - a);
        *twice_xv = v_where_less(error, least, a, *twice_xv);
        *vv = v_where_less(error, least, b, *vv);
        least = v_min(error, least);
    }
}

INLINE vf nearest_scale(const grid_set *set, vf ideal, vf unit_step) {
    vf odd = ideal * v_inverse(unit_step);
    return v_clamp(v_round((odd - v_set(1.0f)) * v_set(0.5f)), 0.0f, set->scale_hi);
}

/* Integer scales for d by the family, and the family's error of the unit. */
INLINE void family_scales(const grid_work *work, grid_choice *c) {
    const grid_set *set = work->set;
    FOR_LANES(g) {
        vf unit_step = v_load(c->d.v + g) * v_set(set->base);
        vf centre = nearest_scale(set, v_load(work->ideal.v + g), unit_step);
        vf below = v_max(centre - v_set(1.0f), v_set(0.0f));
        vf above = v_min(centre + v_set(1.0f), v_set(set->scale_hi)), error[3];
        const vf twice = unit_step + unit_step;
        const vf step[3] = {unit_step + twice * centre, unit_step + twice * below,
                            unit_step + twice * above};
        family_errors(&work->f, g, step, error);
        vf scale = v_where_less(error[1], error[0], below, centre);
        vf least = v_min(error[0], error[1]);
        scale = v_where_less(error[2], least, above, scale);
        least = v_min(error[2], least);
        v_store(c->scale.v + g, scale);
        v_store(c->unit_error.v + g, least);
    }
    sum_of_unit(set, &c->unit_error);
}

INLINE void keep_family_choice(const grid_choice *c, grid_choice *best) {
    FOR_LANES(g) {
        vf error = v_load(c->unit_error.v + g);
        vi better = error < v_load(best->unit_error.v + g);
        v_keep(best->unit_error.v + g, better, error);
        v_keep(best->d.v + g, better, v_load(c->d.v + g));
        v_keep(best->scale.v + g, better, v_load(c->scale.v + g));
    }
}

/* d in closed form for the integer scales and the parabolas they fall on. */
INLINE void family_refit(const grid_work *work, const grid_choice *best, lanes *d) {
    const grid_set *set = work->set;
    lanes xs, ss;
    FOR_LANES(g) {
        vf factor = v_set(set->base) * (v_set(1.0f) + v_set(2.0f) * v_load(best->scale.v + g));
        vf xv = v_set(0.0f), vv = v_set(0.0f);
        family_sums(&work->f, g, factor * v_load(best->d.v + g), &xv, &vv);
        v_store(xs.v + g, factor * xv);
        v_store(ss.v + g, v_set(2.0f) * factor * factor * vv);
    }
    sum_of_unit(set, &xs);
    sum_of_unit(set, &ss);
    FOR_LANES(g) {
        v_store(d->v + g, v_f16(v_load(xs.v + g) / v_max(v_load(ss.v + g), v_set(1e-30f))));
    }
}

/* d and scales that the family likes best: the largest ideal step at n_steps odd multiples from
 * `first` on, each `ratio` times the last, then refits. */
static __attribute__((noinline)) void family_choice(const grid_work *work, float first, float ratio,
                                                    int n_steps, grid_choice *best) {
    const grid_set *set = work->set;
    grid_choice c;
    lanes top;
    FOR_LANES(g) {
        vi counts = v_load(work->score.v + g) > v_set(0.0f);
        v_store(top.v + g, (vf)(counts & (vi)v_load(work->ideal.v + g)));
    }
    top_of_unit(set, &top);
    FOR_LANES(g) {
        v_store(best->unit_error.v + g, v_set(__builtin_inff()));
        v_store(best->d.v + g, v_set(0.0f));
        v_store(best->scale.v + g, v_set(0.0f));
    }
    for (int i = 0; i < n_steps; i++, first *= ratio) {
        FOR_LANES(g) {
            v_store(c.d.v + g, v_f16(v_load(top.v + g) * v_set(1.0f / (first * set->base))));
        }
        family_scales(work, &c);
        keep_family_choice(&c, best);
    }
    for (int i = 0; i < 3; i++) {
        family_refit(work, best, &c.d);
        family_scales(work, &c);
        keep_family_choice(&c, best);
    }
}

/* Rounding to nearest: the largest value at the largest step. */
INLINE void rounded_choice(const grid_work *work, grid_choice *c) {
    const grid_set *set = work->set;
    float largest = set->values[0][set->n_bits == 2 ? 2 : 7];
    lanes top, unit_top;
    FOR_LANES(g) {
        vf most = v_set(0.0f);
        for (int e = 0; e < set->n_sub; e++) {
            most = v_max(most, v_abs(v_load(&work->t.x[e][g])));
        }
        v_store(top.v + g, most * v_set(1.0f / largest));
    }
    unit_top = top;
    top_of_unit(set, &unit_top);
    float most_steps = set->base * (1.0f + 2.0f * set->scale_hi);
    FOR_LANES(g) {
        vf d = v_f16(v_load(unit_top.v + g) * v_set(1.0f / most_steps));
        v_store(c->d.v + g, d);
        v_store(c->scale.v + g, nearest_scale(set, v_load(top.v + g), d * v_set(set->base)));
    }
}

/* A first guess of the step: the mean magnitude over that of the values used. */
INLINE void mean_step(const grid_work *work, lanes *step) {
    const grid_set *set = work->set;
    FOR_LANES(g) {
        vf sum = v_set(0.0f), sum_w = v_set(0.0f), least = v_load(work->least_weight.v + g);
        for (int e = 0; e < set->n_sub; e++) {
            vf w = v_max(v_load(&work->t.w[e][g]), least);
            sum += w * v_abs(v_load(&work->t.x[e][g]));
            sum_w += w;
        }
        v_store(step->v + g, sum / (sum_w * v_set(set->mean_value)));
    }
}

/* Search with steps that are multiples of the ones given. */
INLINE void try_multiples(grid_work *work, const lanes *step, const float *factors, int n,
                          bool is_exact) {
    for (int i = 0; i < n; i++) {
        lanes tried, error;
        entries e;
        FOR_LANES(g) {
            v_store(tried.v + g, v_load(step->v + g) * v_set(factors[i]));
        }
        try_steps(work, &tried, is_exact, &e, &error);
    }
}

/* All values zero, which has an entry of its own in no grid but costs nothing to try. */
INLINE void start_from_nothing(grid_work *work) {
    const grid_set *set = work->set;
    grid_choice *best = &work->best;
    memset(best, 0, sizeof *best);
    FOR_LANES(g) {
        vf energy = v_set(0.0f);
        for (int e = 0; e < set->n_sub; e++) {
            vf x = v_load(&work->t.x[e][g]);
            energy += v_load(&work->t.w[e][g]) * x * x;
        }
        v_store(best->unit_error.v + g, energy);
        v_store(work->score.v + g, v_set(0.0f));
    }
    sum_of_unit(set, &best->unit_error);
}

/* Search one tile: work->best holds d, integer scales and entries of every unit. */
static void grid_search(grid_work *work, tamis_effort effort) {
    const bool is_thorough = work->set->is_thorough;
    grid_choice c;
    lanes mean;
    work->f.n = 0;
    take_signs(work);
    find_least_weights(work);
    start_from_nothing(work);
    mean_step(work, &mean);
    work->ideal = mean;
    rounded_choice(work, &c);
    try_choice(work, &c);
    static const float near[] = {0.8f, 1.0f, 1.25f};
    try_multiples(work, &mean, near, 3, is_thorough);
    family_choice(work, 18.0f, 1.07f, 12, &c);
    try_choice(work, &c);
    if (effort == TAMIS_EFFORT_FAST) return;
    static const float normal[] = {0.72f, 0.89f, 1.12f, 1.4f};
    try_multiples(work, &mean, normal, 4, is_thorough);
    for (int i = 0; i < 1 + is_thorough; i++) {
        family_choice(work, 16.0f, 1.05f, 20, &c);
        try_choice(work, &c);
    }
    if (effort == TAMIS_EFFORT_NORMAL) return;
    static const float best[] = {0.64f, 0.68f, 0.76f, 0.84f, 0.94f,
                                 1.06f, 1.18f, 1.32f, 1.5f,  1.65f};
    try_multiples(work, &mean, best, 10, true);
    for (int i = 0; i < 6; i++) {
        family_choice(work, 10.0f, 1.03f, 60, &c);
        try_choice(work, &c);
    }
}

#endif
