/* statistics.c - see statistics.h. Sums in f64. */
#include "imatrix/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum { NEIGHBOURS_MAX = 64 };
static const double ACTIVE_ABOVE = 1e-5;

/* --- names --- */

int64_t tamis_imatrix_layer_of(const char *name, const char **rest) {
    *rest = name;
    if (strncmp(name, "blk.", 4) != 0) return -1;
    const char *s = name + 4;
    int64_t layer = 0;
    for (; *s >= '0' && *s <= '9' && layer < INT32_MAX; s++)
        layer = layer * 10 + (*s - '0');
    if (s == name + 4 || *s != '.') return -1;
    *rest = s + 1;
    return layer;
}

static void split_name(tamis_imatrix_tensor_stats *t) {
    static const char suffix[] = ".weight";
    const size_t n_suffix = sizeof suffix - 1;
    t->layer = tamis_imatrix_layer_of(t->entry->name, &t->kind);
    t->kind_bytes = strlen(t->kind);
    if (t->kind_bytes > n_suffix && !strcmp(t->kind + t->kind_bytes - n_suffix, suffix))
        t->kind_bytes -= n_suffix;
}

static int compare_kinds(const tamis_imatrix_tensor_stats *a, const tamis_imatrix_tensor_stats *b) {
    size_t n = a->kind_bytes < b->kind_bytes ? a->kind_bytes : b->kind_bytes;
    int order = memcmp(a->kind, b->kind, n);
    return order ? order : (a->kind_bytes > b->kind_bytes) - (a->kind_bytes < b->kind_bytes);
}

/* By kind, then layer. */
static int by_layer(const void *x, const void *y) {
    const tamis_imatrix_tensor_stats *a = x, *b = y;
    int order = compare_kinds(a, b);
    if (order) return order;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    return strcmp(a->entry->name, b->entry->name);
}

/* By kind, then total descending. */
static int by_total(const void *x, const void *y) {
    const tamis_imatrix_tensor_stats *a = x, *b = y;
    int order = compare_kinds(a, b);
    if (order) return order;
    if (a->total != b->total) return a->total > b->total ? -1 : 1;
    return by_layer(x, y);
}

/* --- one tensor --- */

/* Mean squares of the experts with data; returns their number. values: [n_values] */
static uint64_t mean_squares(const tamis_imatrix_entry *e, float *values) {
    const uint64_t n_columns = e->n_values / e->n_counts;
    uint64_t n = 0;
    for (uint64_t j = 0; j < e->n_counts; j++) {
        const float count = (float)e->counts[j];
        if (count <= 0) continue;
        for (uint64_t i = 0; i < n_columns; i++)
            values[n++] = e->sums[j * n_columns + i] / count;
    }
    return n;
}

static void describe(tamis_imatrix_tensor_stats *t, const float *a, uint64_t n) {
    double sum = 0, sum_of_squares = 0;
    uint64_t n_active = 0, n_above = 0;
    t->n_values = n;
    t->min = t->max = (double)a[0];
    for (uint64_t i = 0; i < n; i++) {
        const double v = (double)a[i];
        sum += v;
        sum_of_squares += v * v;
        n_active += v > ACTIVE_ABOVE;
        if (v < t->min) t->min = v;
        if (v > t->max) t->max = v;
    }
    t->total = sum;
    t->mean = sum / (double)n;
    const double variance = sum_of_squares / (double)n - t->mean * t->mean;
    t->deviation = variance > 0 ? sqrt(variance) : 0;
    for (uint64_t i = 0; i < n; i++) {
        const double v = (double)a[i];
        n_above += t->deviation > 0 && v - t->mean > t->deviation;
        if (v > 0) t->entropy -= v / sum * log2(v / sum);
    }
    t->active = (double)n_active / (double)n;
    t->zd = (double)n_above / (double)n;
    t->entropy_share = n > 1 ? t->entropy / log2((double)n) : 0;
}

static double cosine_of(const float *a, const float *b, uint64_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (uint64_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa) / sqrt(bb) : 0;
}

/* The tensors lie by kind and layer: the layer before, if there, is the neighbour. */
static void compare_with_layer_before(tamis_imatrix_stats *s) {
    for (uint64_t i = 1; i < s->n_tensors; i++) {
        tamis_imatrix_tensor_stats *t = &s->tensors[i];
        const tamis_imatrix_tensor_stats *before = t - 1;
        if (compare_kinds(t, before) || t->layer < 1 || before->layer != t->layer - 1) continue;
        if (t->entry->n_values != before->entry->n_values) continue;
        t->cosine = cosine_of(t->entry->sums, before->entry->sums, t->entry->n_values);
    }
}

/* --- layers --- */

static int compare_layers(const void *x, const void *y) {
    const tamis_imatrix_tensor_stats *a = *(tamis_imatrix_tensor_stats *const *)x;
    const tamis_imatrix_tensor_stats *b = *(tamis_imatrix_tensor_stats *const *)y;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    return strcmp(a->entry->name, b->entry->name);
}

static tamis_status add_up_layers(tamis_imatrix_stats *s, tamis_error *err) {
    tamis_imatrix_tensor_stats **view = tamis_alloc_array(s->n_tensors, sizeof *view, err);
    s->layers = tamis_alloc_array(s->n_tensors, sizeof *s->layers, err);
    if (!view || !s->layers) {
        free(view);
        return TAMIS_NO_RESOURCE;
    }
    for (uint64_t i = 0; i < s->n_tensors; i++)
        view[i] = &s->tensors[i];
    qsort(view, s->n_tensors, sizeof *view, compare_layers);
    for (uint64_t i = 0; i < s->n_tensors;) {
        tamis_imatrix_layer_stats sum = {.layer = view[i]->layer};
        double n = 0;
        for (; i < s->n_tensors && view[i]->layer == sum.layer; i++) {
            const double weight = (double)view[i]->n_values;
            n += weight;
            sum.total += weight * view[i]->total;
            sum.zd += weight * view[i]->zd;
            sum.cosine += weight * view[i]->cosine;
        }
        if (sum.layer < 0) continue;
        sum.total /= n;
        sum.zd /= n;
        sum.cosine /= n;
        s->layers[s->n_layers++] = sum;
    }
    free(view);
    return TAMIS_OK;
}

/* --- all --- */

void tamis_imatrix_stats_release(tamis_imatrix_stats *stats) {
    free(stats->tensors);
    free(stats->layers);
    memset(stats, 0, sizeof *stats);
}

tamis_status tamis_imatrix_stats_make(const tamis_imatrix *m, tamis_imatrix_stats *out,
                                      tamis_error *err) {
    tamis_imatrix_stats s = {0};
    tamis_status st = TAMIS_NO_RESOURCE;
    uint64_t n_largest = 0;
    for (uint64_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].n_values > n_largest) n_largest = m->entries[i].n_values;
    float *values = tamis_alloc_array(n_largest, sizeof *values, err);
    if (values) s.tensors = tamis_alloc_array(m->n_entries, sizeof *s.tensors, err);
    if (!s.tensors) goto out;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        tamis_imatrix_tensor_stats *t = &s.tensors[s.n_tensors];
        const uint64_t n = mean_squares(&m->entries[i], values);
        if (n == 0) {
            s.n_empty++;
            continue;
        }
        t->entry = &m->entries[i];
        split_name(t);
        describe(t, values, n);
        s.n_tensors++;
    }
    if (s.n_tensors) qsort(s.tensors, s.n_tensors, sizeof *s.tensors, by_layer);
    compare_with_layer_before(&s);
    if (s.n_tensors) qsort(s.tensors, s.n_tensors, sizeof *s.tensors, by_total);
    st = add_up_layers(&s, err);
out:
    free(values);
    if (st)
        tamis_imatrix_stats_release(&s);
    else
        *out = s;
    return st;
}

/* --- experts --- */

bool tamis_imatrix_repeats_counts(const tamis_imatrix *m, uint64_t i) {
    const tamis_imatrix_entry *e = &m->entries[i];
    const char *rest;
    const int64_t layer = tamis_imatrix_layer_of(e->name, &rest);
    /* Names of one layer lie together, and are few. */
    for (uint64_t k = i; k-- > 0 && i - k <= NEIGHBOURS_MAX;) {
        const tamis_imatrix_entry *before = &m->entries[k];
        if (tamis_imatrix_layer_of(before->name, &rest) != layer) break;
        if (before->n_counts == e->n_counts &&
            !memcmp(before->counts, e->counts, e->n_counts * sizeof *e->counts))
            return true;
    }
    return false;
}

int64_t tamis_imatrix_rare_experts(const tamis_imatrix *m, int64_t n_tokens,
                                   tamis_imatrix_found_fn *found, void *ctx) {
    int64_t n_found = 0;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const tamis_imatrix_entry *e = &m->entries[i];
        if (e->n_counts < 2 || tamis_imatrix_repeats_counts(m, i)) continue;
        for (uint64_t k = 0; k < e->n_counts; k++) {
            if (e->counts[k] >= (double)n_tokens) continue;
            found(ctx, e->name, (int64_t)k, (int64_t)e->counts[k]);
            n_found++;
        }
    }
    return n_found;
}
