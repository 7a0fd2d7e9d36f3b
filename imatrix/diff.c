/* diff.c - see diff.h. Sums in f64, in the order of the columns. */
#include "imatrix/diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "imatrix/statistics.h"

/* Standard deviations beyond which a difference of shares is no chance. */
static const double BEYOND_CHANCE = 3;

/* --- columns --- */

/* The products that a cosine and a ratio are made of. */
struct products {
    double aa, ab, bb, total_a, total_b;
    uint64_t n;
};

static double distance_of(const struct products *p) {
    if (p->aa <= 0 && p->bb <= 0) return 0;
    if (p->aa <= 0 || p->bb <= 0) return 1;
    const double distance = 1 - p->ab / sqrt(p->aa) / sqrt(p->bb);
    return distance > 0 ? distance : 0;
}

static double count_of(const tamis_imatrix_entry *e, uint64_t i_matrix) {
    return e->counts[e->n_counts == 1 ? 0 : i_matrix];
}

/* Mean square of value i, which belongs to matrix i_matrix. */
static double importance_of(const tamis_imatrix_entry *e, uint64_t i_matrix, uint64_t i) {
    return (double)e->sums[i] / count_of(e, i_matrix);
}

static void add_columns(struct products *p, const tamis_imatrix_entry *a,
                        const tamis_imatrix_entry *b, uint64_t i_matrix, uint64_t n_columns) {
    for (uint64_t i = i_matrix * n_columns; i < (i_matrix + 1) * n_columns; i++) {
        const double x = importance_of(a, i_matrix, i), y = importance_of(b, i_matrix, i);
        p->aa += x * x;
        p->ab += x * y;
        p->bb += y * y;
        p->total_a += x;
        p->total_b += y;
    }
    p->n += n_columns;
}

static bool differ_by(double x, double y, double factor) {
    return x > 0 || y > 0 ? x >= factor * y || y >= factor * x : false;
}

static uint64_t count_columns(const tamis_imatrix_entry *a, const tamis_imatrix_entry *b,
                              uint64_t i_matrix, uint64_t n_columns, const struct products *p,
                              double factor) {
    uint64_t n = 0;
    if (p->total_a <= 0 || p->total_b <= 0) return 0;
    for (uint64_t i = i_matrix * n_columns; i < (i_matrix + 1) * n_columns; i++)
        n += differ_by(importance_of(a, i_matrix, i) / p->total_a,
                       importance_of(b, i_matrix, i) / p->total_b, factor);
    return n;
}

/* --- one tensor --- */

static uint64_t n_matrices_of(const tamis_imatrix_entry *a, const tamis_imatrix_entry *b) {
    return a->n_counts > b->n_counts ? a->n_counts : b->n_counts;
}

static bool are_equal(const tamis_imatrix_entry *a, const tamis_imatrix_entry *b) {
    return a->n_counts == b->n_counts &&
           !memcmp(a->counts, b->counts, a->n_counts * sizeof *a->counts) &&
           !memcmp(a->sums, b->sums, a->n_values * sizeof *a->sums);
}

static bool saw_tokens(const tamis_imatrix_entry *a, const tamis_imatrix_entry *b, uint64_t j) {
    return count_of(a, j) > 0 && count_of(b, j) > 0;
}

static bool saw_anything(const tamis_imatrix_entry *e) {
    for (uint64_t j = 0; j < e->n_counts; j++)
        if (e->counts[j] > 0) return true;
    return false;
}

static void compare_columns(tamis_imatrix_tensor_diff *t, double factor) {
    const tamis_imatrix_entry *a = t->a, *b = t->b;
    const uint64_t n_matrices = n_matrices_of(a, b), n_columns = a->n_values / n_matrices;
    struct products p = {0};
    for (uint64_t j = 0; j < n_matrices; j++)
        if (saw_tokens(a, b, j)) add_columns(&p, a, b, j, n_columns);
    for (uint64_t j = 0; j < n_matrices; j++)
        if (saw_tokens(a, b, j))
            t->n_columns_differ += count_columns(a, b, j, n_columns, &p, factor);
    t->n_columns = p.n;
    t->is_equal = are_equal(a, b);
    t->distance = t->is_equal ? 0
                  : p.n == 0  ? (saw_anything(a) || saw_anything(b))
                              : distance_of(&p);
    t->ratio = p.total_a == p.total_b ? 1 : p.total_b / p.total_a;
}

/* --- experts --- */

static double sum_of_counts(const tamis_imatrix_entry *e) {
    double sum = 0;
    for (uint64_t j = 0; j < e->n_counts; j++)
        sum += e->counts[j];
    return sum;
}

static bool is_no_chance(double count_a, double n_a, double count_b, double n_b) {
    const double p = (count_a + count_b) / (n_a + n_b);
    const double deviation = sqrt(p * (1 - p) * (1 / n_a + 1 / n_b));
    return fabs(count_a / n_a - count_b / n_b) > BEYOND_CHANCE * deviation;
}

static tamis_status append_expert(tamis_imatrix_diff *d, const tamis_imatrix_expert_diff *x,
                                  tamis_error *err) {
    tamis_status st =
        tamis_grow(&d->experts, &d->experts_capacity, d->n_experts + 1, sizeof *d->experts, err);
    if (!st) d->experts[d->n_experts++] = *x;
    return st;
}

/* Counts the experts whose share differs; lists them unless another weight of the layer did. */
static tamis_status compare_experts(tamis_imatrix_diff *d, tamis_imatrix_tensor_diff *t,
                                    bool is_listed, double factor, tamis_error *err) {
    const tamis_imatrix_entry *a = t->a, *b = t->b;
    if (a->n_counts < 2 || b->n_counts < 2) return TAMIS_OK;
    const double n_a = sum_of_counts(a), n_b = sum_of_counts(b);
    const uint64_t n_columns = a->n_values / a->n_counts;
    t->n_experts = a->n_counts;
    if (n_a <= 0 || n_b <= 0) return TAMIS_OK;
    for (uint64_t j = 0; j < a->n_counts; j++) {
        tamis_imatrix_expert_diff x = {.name = a->name, .expert = j, .distance = 1};
        x.count_a = a->counts[j];
        x.count_b = b->counts[j];
        x.share_a = x.count_a / n_a;
        x.share_b = x.count_b / n_b;
        if (!differ_by(x.share_a, x.share_b, factor) ||
            !is_no_chance(x.count_a, n_a, x.count_b, n_b))
            continue;
        t->n_experts_differ++;
        if (!is_listed) continue;
        struct products p = {0};
        if (saw_tokens(a, b, j)) {
            add_columns(&p, a, b, j, n_columns);
            x.distance = distance_of(&p);
        }
        tamis_status st = append_expert(d, &x, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

/* --- all --- */

static bool is_comparable(const tamis_imatrix_entry *a, const tamis_imatrix_entry *b) {
    return a && b && a->n_values == b->n_values &&
           (a->n_counts == b->n_counts || a->n_counts == 1 || b->n_counts == 1);
}

/* Pair the names of two sorted lists; every entry becomes part of one row. */
static tamis_status pair_up(const tamis_imatrix *a, const tamis_imatrix *b, double factor,
                            tamis_imatrix_diff *d, tamis_error *err) {
    for (uint64_t i = 0, k = 0; i < a->n_entries || k < b->n_entries;) {
        const tamis_imatrix_entry *x = i < a->n_entries ? &a->entries[i] : NULL;
        const tamis_imatrix_entry *y = k < b->n_entries ? &b->entries[k] : NULL;
        const int order = !x ? 1 : !y ? -1 : strcmp(x->name, y->name);
        tamis_imatrix_tensor_diff *t = &d->tensors[d->n_tensors++];
        if (order <= 0) t->a = x;
        if (order >= 0) t->b = y;
        t->is_comparable = is_comparable(t->a, t->b);
        d->n_only_a += order < 0;
        d->n_only_b += order > 0;
        d->n_other_size += order == 0 && !t->is_comparable;
        if (t->is_comparable) {
            const bool is_listed =
                !(tamis_imatrix_repeats_counts(a, i) && tamis_imatrix_repeats_counts(b, k));
            compare_columns(t, factor);
            tamis_status st = compare_experts(d, t, is_listed, factor, err);
            if (st) return st;
        }
        i += order <= 0;
        k += order >= 0;
    }
    return TAMIS_OK;
}

static void sum_up(tamis_imatrix_diff *d) {
    for (uint64_t i = 0; i < d->n_tensors; i++) {
        const tamis_imatrix_tensor_diff *t = &d->tensors[i];
        if (!t->is_comparable) continue;
        if (!d->n_comparable++) d->min_ratio = d->max_ratio = t->ratio;
        d->n_equal += t->is_equal;
        d->mean_distance += t->distance;
        d->max_distance = fmax(d->max_distance, t->distance);
        d->min_ratio = fmin(d->min_ratio, t->ratio);
        d->max_ratio = fmax(d->max_ratio, t->ratio);
    }
    if (d->n_comparable) d->mean_distance /= (double)d->n_comparable;
}

static const char *name_of(const tamis_imatrix_tensor_diff *t) {
    return t->a ? t->a->name : t->b->name;
}

static int by_distance(const void *x, const void *y) {
    const tamis_imatrix_tensor_diff *s = x, *t = y;
    if (s->is_comparable != t->is_comparable) return s->is_comparable ? -1 : 1;
    if (s->distance != t->distance) return s->distance > t->distance ? -1 : 1;
    return strcmp(name_of(s), name_of(t));
}

void tamis_imatrix_diff_release(tamis_imatrix_diff *diff) {
    free(diff->tensors);
    free(diff->experts);
    memset(diff, 0, sizeof *diff);
}

tamis_status tamis_imatrix_diff_make(const tamis_imatrix *a, const tamis_imatrix *b, double factor,
                                     tamis_imatrix_diff *out, tamis_error *err) {
    tamis_imatrix_diff d = {0};
    d.tensors = tamis_alloc_array(a->n_entries + b->n_entries, sizeof *d.tensors, err);
    if (!d.tensors) return TAMIS_NO_RESOURCE;
    tamis_status st = pair_up(a, b, factor, &d, err);
    if (st) {
        tamis_imatrix_diff_release(&d);
        return st;
    }
    sum_up(&d);
    if (d.n_tensors) qsort(d.tensors, d.n_tensors, sizeof *d.tensors, by_distance);
    *out = d;
    return TAMIS_OK;
}
