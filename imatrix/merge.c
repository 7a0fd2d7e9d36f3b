/* merge.c - see merge.h. Two lists sorted by name are joined in one walk, so that the work is
 * linear in the size of the files. */
#include "imatrix/merge.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/gguf.h"
#include "imatrix/imatrix_file.h"

enum { DEFAULT_CHUNK_SIZE = 512 };

typedef unsigned long long ull;

/* --- one entry --- */

static bool has_equal_counts(const tamis_imatrix_entry *e) {
    for (uint64_t j = 1; j < e->n_counts; j++)
        if (e->counts[j] != e->counts[0]) return false;
    return true;
}

/* One count for the whole entry becomes one per expert. */
static tamis_status repeat_count(tamis_imatrix_entry *e, uint64_t n_counts, tamis_error *err) {
    double *counts = tamis_alloc_array(n_counts, sizeof *counts, err);
    if (!counts) return TAMIS_NO_RESOURCE;
    for (uint64_t j = 0; j < n_counts; j++)
        counts[j] = e->counts[0];
    free(e->counts);
    e->counts = counts;
    e->n_counts = n_counts;
    return TAMIS_OK;
}

/* Sums and counts of `from` on top of those of `to`. */
static tamis_status add_entry(tamis_imatrix_entry *to, tamis_imatrix_entry *from,
                              const char *const *names, tamis_error *err) {
    const char *to_name = names[to->i_source], *from_name = names[from->i_source];
    tamis_status st = TAMIS_OK;
    if (to->n_values != from->n_values)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "%s: entry '%s' has %llu values, %s has %llu: they were made for different "
            "models",
            from_name, from->name, (ull)from->n_values, to_name, (ull)to->n_values);
    if (to->n_counts == 1 && from->n_counts > 1) st = repeat_count(to, from->n_counts, err);
    if (!st && from->n_counts == 1 && to->n_counts > 1) st = repeat_count(from, to->n_counts, err);
    if (st) return st;
    if (to->n_counts != from->n_counts)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "%s: entry '%s' has %llu counts, %s has %llu: they were made for different "
            "models",
            from_name, from->name, (ull)from->n_counts, to_name, (ull)to->n_counts);
    for (uint64_t j = 0; j < to->n_counts; j++)
        to->counts[j] += from->counts[j];
    for (uint64_t i = 0; i < to->n_values; i++) {
        to->sums[i] += from->sums[i];
        if (!isfinite(to->sums[i]))
            return tamis_fail(
                err, TAMIS_BAD_INPUT,
                "%s: entry '%s': the sum of value %llu is beyond f32 when added to %s", from_name,
                from->name, (ull)i, to_name);
    }
    return TAMIS_OK;
}

/* --- two matrices --- */

/* What a join has met. */
struct tally {
    uint64_t n_common, n_only_into, n_only_more;
    const char *only_into, *only_more; /* the first of each, borrowed from the entries */
};

/* The entries of both in order of name, moved to `joined` (room for all of them). */
static tamis_status join(tamis_imatrix *into, tamis_imatrix *more, const char *const *names,
                         tamis_imatrix_entry *joined, uint64_t *n_joined, struct tally *tally,
                         tamis_error *err) {
    uint64_t i = 0, k = 0, n = 0;
    tamis_status st = TAMIS_OK;
    while (!st && (i < into->n_entries || k < more->n_entries)) {
        tamis_imatrix_entry *a = i < into->n_entries ? &into->entries[i] : NULL;
        tamis_imatrix_entry *b = k < more->n_entries ? &more->entries[k] : NULL;
        int order = !a ? 1 : !b ? -1 : strcmp(a->name, b->name);
        if (order < 0) {
            if (!tally->n_only_into++) tally->only_into = a->name;
        } else if (order > 0) {
            if (!tally->n_only_more++) tally->only_more = b->name;
        } else {
            tally->n_common++;
            st = add_entry(a, b, names, err);
            tamis_imatrix_entry_release(b);
        }
        tamis_imatrix_entry *from = order <= 0 ? a : b;
        joined[n++] = *from;
        *from = (tamis_imatrix_entry){0};
        i += order <= 0;
        k += order >= 0;
    }
    *n_joined = n;
    return st;
}

static tamis_status move_datasets(tamis_imatrix *into, tamis_imatrix *more, tamis_error *err) {
    for (uint64_t i = 0; i < more->n_datasets; i++) {
        tamis_status st = tamis_imatrix_add_dataset(into, more->datasets[i], err);
        if (st) return st;
    }
    return TAMIS_OK;
}

static void count_chunks(tamis_imatrix *m) {
    double most = 0;
    for (uint64_t i = 0; i < m->n_entries; i++)
        for (uint64_t j = 0; j < m->entries[i].n_counts; j++)
            if (m->entries[i].counts[j] > most) most = m->entries[i].counts[j];
    double n_chunks = floor(most / m->chunk_size);
    m->chunk_count = n_chunks < UINT32_MAX ? (uint32_t)n_chunks : UINT32_MAX;
}

static void warn_of_differences(const struct tally *t, const char *into_name, const char *more_name,
                                const tamis_log *log) {
    if (t->n_only_into)
        tamis_warn(log, "%s lacks %llu entries of %s, '%s' first; they stay as they are", more_name,
                   (ull)t->n_only_into, into_name, t->only_into);
    if (t->n_only_more)
        tamis_warn(log, "%s has %llu entries that %s lacks, '%s' first; they stay as they are",
                   more_name, (ull)t->n_only_more, into_name, t->only_more);
}

tamis_status tamis_imatrix_merge(tamis_imatrix *into, tamis_imatrix *more, const char *const *names,
                                 const tamis_log *log, tamis_error *err) {
    uint64_t n_all = into->n_entries + more->n_entries, n_joined = 0;
    struct tally tally = {0};
    if (!into->n_entries || !more->n_entries)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "an importance matrix without entries cannot be "
                          "merged");
    const uint32_t i_source = more->entries[0].i_source;
    const char *into_name = i_source == 1 ? names[0] : "the files before it";
    tamis_imatrix_entry *joined = NULL;
    uint64_t capacity = 0;
    tamis_status st = tamis_grow(&joined, &capacity, n_all, sizeof *joined, err);
    if (st) return st;
    st = join(into, more, names, joined, &n_joined, &tally, err);
    /* What an error has left behind is released from where it was. */
    tamis_imatrix_entry *rest = into->entries;
    for (uint64_t i = 0; i < into->n_entries; i++)
        tamis_imatrix_entry_release(&rest[i]);
    free(rest);
    into->entries = joined;
    into->n_entries = n_joined;
    into->capacity = capacity;
    if (!st && tally.n_common == 0)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: no entry in common with %s ('%s' and '%s'): they were made for "
                        "different models",
                        names[i_source], into_name, tally.only_more, tally.only_into);
    if (!st) st = move_datasets(into, more, err);
    if (st) return st;
    into->all_experts |= more->all_experts;
    warn_of_differences(&tally, into_name, names[i_source], log);
    tamis_imatrix_release(more);
    count_chunks(into);
    return TAMIS_OK;
}

/* --- files --- */

tamis_status tamis_imatrix_scale_legacy(tamis_imatrix *m, uint32_t chunk_size, tamis_error *err) {
    for (uint64_t i = 0; i < m->n_entries; i++) {
        tamis_imatrix_entry *e = &m->entries[i];
        for (uint64_t j = 0; j < e->n_counts; j++)
            e->counts[j] *= chunk_size;
        for (uint64_t k = 0; k < e->n_values; k++) {
            e->sums[k] *= (float)chunk_size;
            if (!isfinite(e->sums[k]))
                return tamis_fail(err, TAMIS_BAD_INPUT,
                                  "entry '%s': value %llu times the chunk size %u is beyond f32",
                                  e->name, (ull)k, chunk_size);
        }
    }
    m->chunk_size = chunk_size;
    count_chunks(m);
    return TAMIS_OK;
}

/* The chunk size a file states, 0 when it does not (legacy, or no sound matrix: that is said when
 * it is loaded). */
static uint32_t stated_chunk_size(const char *path) {
    tamis_gguf *g = NULL;
    tamis_gguf_options options = {.single_file = true};
    int64_t size = 0;
    if (tamis_gguf_open(path, &options, &g, NULL)) return 0;
    if (tamis_gguf_get_int(g, "imatrix.chunk_size", 1, UINT32_MAX, 0, &size, NULL)) size = 0;
    tamis_gguf_close(g);
    return (uint32_t)size;
}

static uint32_t chosen_chunk_size(const char *const *paths, size_t n_paths) {
    for (size_t i = 0; i < n_paths; i++) {
        uint32_t size = stated_chunk_size(paths[i]);
        if (size) return size;
    }
    return DEFAULT_CHUNK_SIZE;
}

/* Load file i_source and bring it to the chunk size of the result. */
static tamis_status load_one(const char *const *paths, size_t i_source, uint32_t chunk_size,
                             const tamis_log *log, tamis_imatrix *out, tamis_error *err) {
    const char *path = paths[i_source];
    tamis_imatrix_init(out);
    tamis_status st = tamis_imatrix_load(path, out, err);
    if (st) return st;
    for (uint64_t i = 0; i < out->n_entries; i++)
        out->entries[i].i_source = (uint32_t)i_source;
    if (out->chunk_size == 0) {
        st = tamis_imatrix_scale_legacy(out, chunk_size, err);
        if (st) tamis_fail_prefix(err, "%s", path);
        return st;
    }
    if (out->chunk_size != chunk_size)
        tamis_warn(log, "%s was made with chunks of %u tokens, the result counts chunks of %u",
                   path, out->chunk_size, chunk_size);
    out->chunk_size = chunk_size;
    count_chunks(out);
    return TAMIS_OK;
}

tamis_status tamis_imatrix_load_merged(const char *const *paths, size_t n_paths,
                                       uint32_t chunk_size, const tamis_log *log,
                                       tamis_imatrix *out, tamis_error *err) {
    tamis_imatrix all, more;
    tamis_imatrix_init(&more);
    if (!chunk_size) chunk_size = chosen_chunk_size(paths, n_paths);
    tamis_status st = load_one(paths, 0, chunk_size, log, &all, err);
    for (size_t i = 1; !st && i < n_paths; i++) {
        st = load_one(paths, i, chunk_size, log, &more, err);
        if (!st) st = tamis_imatrix_merge(&all, &more, paths, log, err);
    }
    tamis_imatrix_release(&more);
    if (st) {
        tamis_imatrix_release(&all);
        return st;
    }
    *out = all;
    return TAMIS_OK;
}

/* --- files and a run --- */

/* Entries that the run counts once, and the files several times alike. */
static void collapse_dense(tamis_imatrix *files, const tamis_imatrix *run) {
    for (uint64_t i = 0; i < run->n_entries; i++) {
        if (run->entries[i].n_counts != 1) continue;
        const tamis_imatrix_entry *e = tamis_imatrix_find(files, run->entries[i].name);
        if (e && has_equal_counts(e)) files->entries[e - files->entries].n_counts = 1;
    }
}

tamis_status tamis_imatrix_merge_run(tamis_imatrix *files, const char *const *paths, size_t n_paths,
                                     tamis_imatrix *run, const char *run_name, const tamis_log *log,
                                     tamis_error *err) {
    const char **names = tamis_alloc_array(n_paths + 1, sizeof *names, err);
    if (!names) return TAMIS_NO_RESOURCE;
    for (size_t i = 0; i < n_paths; i++)
        names[i] = paths[i];
    names[n_paths] = run_name;
    tamis_imatrix_sort(run);
    for (uint64_t i = 0; i < run->n_entries; i++)
        run->entries[i].i_source = (uint32_t)n_paths;
    collapse_dense(files, run);
    tamis_status st = tamis_imatrix_merge(files, run, names, log, err);
    free(names);
    if (st) return st;
    *run = *files;
    tamis_imatrix_init(files);
    return TAMIS_OK;
}

tamis_status tamis_imatrix_check_model(const tamis_imatrix *m, const char *const *names,
                                       const char *model_path, tamis_error *err) {
    tamis_gguf *g = NULL;
    uint64_t n_known = 0;
    tamis_status st = TAMIS_OK;
    if (tamis_gguf_open(model_path, NULL, &g, NULL)) return TAMIS_OK;
    for (uint64_t i = 0; !st && i < m->n_entries; i++) {
        const tamis_imatrix_entry *e = &m->entries[i];
        const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, e->name);
        if (!t) continue;
        n_known++;
        const uint64_t n_values = t->ne[0] * t->ne[2] * t->ne[3];
        if (e->n_values != n_values)
            st = tamis_fail(
                err, TAMIS_BAD_INPUT,
                "%s: entry '%s' has %llu values, %s wants %llu: it was made for another "
                "model",
                names[e->i_source], e->name, (ull)e->n_values, model_path, (ull)n_values);
    }
    if (!st && n_known == 0)
        st = tamis_fail(
            err, TAMIS_BAD_INPUT,
            "%s: none of its entries names a tensor of %s; it was made for another model",
            names[m->entries[0].i_source], model_path);
    tamis_gguf_close(g);
    return st;
}
