/* matrix.c - see matrix.h. Lists of a few thousand entries; searched one by one. */
#include "imatrix/matrix.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static const double COUNT_MAX = 9007199254740992.0; /* 2^53: exact as f64 */

void tamis_imatrix_init(tamis_imatrix *m) {
    memset(m, 0, sizeof *m);
}

void tamis_imatrix_entry_release(tamis_imatrix_entry *entry) {
    free(entry->name);
    free(entry->sums);
    free(entry->counts);
    *entry = (tamis_imatrix_entry){0};
}

void tamis_imatrix_release(tamis_imatrix *m) {
    if (!m) return;
    for (uint64_t i = 0; i < m->n_entries; i++)
        tamis_imatrix_entry_release(&m->entries[i]);
    free(m->entries);
    for (uint64_t i = 0; i < m->n_datasets; i++)
        free(m->datasets[i]);
    free(m->datasets);
    memset(m, 0, sizeof *m);
}

const tamis_imatrix_entry *tamis_imatrix_find(const tamis_imatrix *m, const char *name) {
    for (uint64_t i = 0; i < m->n_entries; i++)
        if (!strcmp(m->entries[i].name, name)) return &m->entries[i];
    return NULL;
}

tamis_status tamis_imatrix_add(tamis_imatrix *m, const char *name, uint64_t n_values,
                               uint64_t n_counts, tamis_imatrix_entry **out, tamis_error *err) {
    if (n_counts == 0 || n_values == 0 || n_values % n_counts != 0)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "entry '%s': %llu values are not a multiple of %llu counts", name,
                          (unsigned long long)n_values, (unsigned long long)n_counts);
    tamis_status st =
        tamis_grow(&m->entries, &m->capacity, m->n_entries + 1, sizeof *m->entries, err);
    if (st) return st;
    tamis_imatrix_entry e = {.n_values = n_values, .n_counts = n_counts};
    e.name = tamis_copy_text(name, strlen(name), err);
    if (e.name) e.sums = tamis_alloc_array(n_values, sizeof *e.sums, err);
    if (e.sums) e.counts = tamis_alloc_array(n_counts, sizeof *e.counts, err);
    if (!e.counts) {
        free(e.name);
        free(e.sums);
        return TAMIS_NO_RESOURCE;
    }
    m->entries[m->n_entries] = e;
    *out = &m->entries[m->n_entries++];
    return TAMIS_OK;
}

void tamis_imatrix_weights(const tamis_imatrix_entry *entry, float *out) {
    uint64_t n_columns = entry->n_values / entry->n_counts;
    for (uint64_t j = 0; j < entry->n_counts; j++) {
        float count = (float)entry->counts[j];
        const float *sums = entry->sums + j * n_columns;
        for (uint64_t i = 0; i < n_columns; i++)
            out[j * n_columns + i] = count > 0 ? sums[i] / count : 1.0f;
    }
}

static int compare_entries(const void *a, const void *b) {
    return strcmp(((const tamis_imatrix_entry *)a)->name, ((const tamis_imatrix_entry *)b)->name);
}

void tamis_imatrix_sort(tamis_imatrix *m) {
    if (m->n_entries) qsort(m->entries, m->n_entries, sizeof *m->entries, compare_entries);
}

tamis_status tamis_imatrix_add_dataset(tamis_imatrix *m, const char *name, tamis_error *err) {
    char **datasets = tamis_alloc_array(m->n_datasets + 1, sizeof *datasets, err);
    char *copy = datasets ? tamis_copy_text(name, strlen(name), err) : NULL;
    if (!copy) {
        free(datasets);
        return TAMIS_NO_RESOURCE;
    }
    if (m->n_datasets) memcpy(datasets, m->datasets, m->n_datasets * sizeof *datasets);
    datasets[m->n_datasets++] = copy;
    free(m->datasets);
    m->datasets = datasets;
    return TAMIS_OK;
}

/* The part of a name up to the next dot, when it begins like a number: a whole one below 65536. */
static bool is_sound_number(const char *part) {
    const size_t n = strcspn(part, ".");
    if (!strchr("+-0123456789", *part) || n == 0) return true;
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (part[i] < '0' || part[i] > '9') return false;
        value = value * 10 + (uint32_t)(part[i] - '0');
        if (value >= 65536) return false;
    }
    return true;
}

/* "blk.LAYER.kind.weight" and "blk.LAYER.ffn_kind.EXPERT.weight"; other names are free. The GGUF
 * reader holds tensor names to the same. */
static bool is_sound_name(const char *name) {
    if (strncmp(name, "blk.", 4) != 0) return true;
    if (!is_sound_number(name + 4)) return false;
    const char *kind = strchr(name + 4, '.');
    if (!kind || strncmp(kind, ".ffn_", 5) != 0) return true;
    const char *part = strchr(kind + 1, '.');
    return !part || is_sound_number(part + 1);
}

tamis_status tamis_imatrix_check_entry(const tamis_imatrix_entry *e, tamis_error *err) {
    char name[256];
    tamis_escape(e->name, strlen(e->name), name, sizeof name);
    uint64_t n_columns = e->n_values / e->n_counts;
    if (!is_sound_name(e->name))
        return tamis_fail(err, TAMIS_BAD_INPUT, "entry '%s': no name of a weight (layer number)",
                          name);
    for (uint64_t j = 0; j < e->n_counts; j++) {
        double count = e->counts[j];
        if (!isfinite(count) || count < 0 || count > COUNT_MAX)
            return tamis_fail(err, TAMIS_BAD_INPUT, "entry '%s': count %llu is %s (%g)", name,
                              (unsigned long long)j,
                              !isfinite(count) ? "not finite"
                              : count < 0      ? "negative"
                                               : "beyond 2^53",
                              count);
        for (uint64_t i = 0; i < n_columns; i++) {
            float v = e->sums[j * n_columns + i];
            if (!isfinite(v) || v < 0)
                return tamis_fail(err, TAMIS_BAD_INPUT,
                                  "entry '%s', matrix %llu, column %llu: value is %s (%g)", name,
                                  (unsigned long long)j, (unsigned long long)i,
                                  isfinite(v) ? "negative" : "not finite", (double)v);
            if (count <= 0 && v > 0)
                return tamis_fail(
                    err, TAMIS_BAD_INPUT,
                    "entry '%s', matrix %llu: count 0 with non-zero sums (column %llu)", name,
                    (unsigned long long)j, (unsigned long long)i);
        }
    }
    return TAMIS_OK;
}
