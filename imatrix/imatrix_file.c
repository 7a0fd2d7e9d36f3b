/* imatrix_file.c - importance matrices as files: the GGUF layout.
 * The legacy .dat layout is in imatrix_dat.c. Every count and value is held against what the
 * file can hold before anything is allocated, and must be finite and >= 0.
 * Layouts: reference/files.md part A; refusals: reference/gguf-threats.md rule 17. */
#include "imatrix/imatrix_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/input_file.h"
#include "base/threads.h"
#include "gguf/gguf.h"
#include "imatrix/imatrix_internal.h"

#define SUFFIX_SUMS ".in_sum2"
#define SUFFIX_COUNTS ".counts"
#define KEY_ALL_EXPERTS "tamis.imatrix.all_experts"
#define NAME_MAX_BYTES 63          /* of a tensor in a GGUF file, suffix included */
#define COUNT_EXACT_MAX 16777216.0 /* 2^24: every whole number up to it is an f32 */

/* --- order --- */

/* Sort what was read by name; a name that occurs twice is refused. */
static tamis_status finish(tamis_imatrix *m, tamis_error *err) {
    if (m->n_entries == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "no entries; not a usable importance matrix");
    tamis_imatrix_sort(m);
    for (uint64_t i = 1; i < m->n_entries; i++) {
        if (strcmp(m->entries[i - 1].name, m->entries[i].name)) continue;
        char name[256];
        tamis_escape(m->entries[i].name, strlen(m->entries[i].name), name, sizeof name);
        return tamis_fail(err, TAMIS_BAD_INPUT, "duplicate entry '%s'", name);
    }
    return TAMIS_OK;
}

/* --- the GGUF layout, reading --- */

static tamis_status read_key_u32(const tamis_gguf *g, const char *key, int64_t lo, uint32_t *out,
                                 tamis_error *err) {
    tamis_gguf_kv kv;
    if (!tamis_gguf_find(g, key, &kv))
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is missing; not an importance matrix",
                          key);
    int64_t value;
    tamis_status st = tamis_gguf_get_int(g, key, lo, UINT32_MAX, 0, &value, err);
    if (st == TAMIS_OK) *out = (uint32_t)value;
    return st;
}

static tamis_status read_datasets(const tamis_gguf *g, tamis_imatrix *m, tamis_error *err) {
    const char *key = "imatrix.datasets";
    tamis_gguf_kv kv;
    if (!tamis_gguf_find(g, key, &kv))
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is missing; not an importance matrix",
                          key);
    if (kv.kind != TAMIS_GGUF_ARRAY || (kv.n_elems > 0 && kv.elem_kind != TAMIS_GGUF_STRING))
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' must be an array of strings", key);
    m->datasets = tamis_alloc_array(kv.n_elems, sizeof *m->datasets, err);
    if (!m->datasets) return TAMIS_NO_RESOURCE;
    uint64_t cursor = 0;
    tamis_bytes text;
    while (kv.n_elems > 0 && tamis_gguf_kv_next_string(g, &kv, &cursor, &text)) {
        if (memchr(text.data, 0, text.n_bytes))
            return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s': element %llu holds a NUL", key,
                              (unsigned long long)m->n_datasets);
        char *copy = tamis_copy_text(text.data, text.n_bytes, err);
        if (!copy) return TAMIS_NO_RESOURCE;
        m->datasets[m->n_datasets++] = copy;
    }
    return TAMIS_OK;
}

static tamis_status read_keys(const tamis_gguf *g, tamis_imatrix *m, tamis_error *err) {
    tamis_bytes type;
    tamis_status st = tamis_gguf_get_string(g, "general.type", &type, err);
    if (st) return st;
    if (type.data && (type.n_bytes != 7 || memcmp(type.data, "imatrix", 7))) {
        char text[64];
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "not an importance matrix: general.type is \"%s\", not \"imatrix\"",
                          tamis_escape(type.data, type.n_bytes, text, sizeof text));
    }
    st = read_datasets(g, m, err);
    if (st == TAMIS_OK) st = read_key_u32(g, "imatrix.chunk_count", 0, &m->chunk_count, err);
    if (st == TAMIS_OK) st = read_key_u32(g, "imatrix.chunk_size", 1, &m->chunk_size, err);
    if (st == TAMIS_OK) st = tamis_gguf_get_bool(g, KEY_ALL_EXPERTS, false, &m->all_experts, err);
    return st;
}

/* Length of `name` without `suffix`, or 0 when it does not end in it. */
static size_t stem_length(const char *name, const char *suffix) {
    size_t n = strlen(name), n_suffix = strlen(suffix);
    if (n <= n_suffix || strcmp(name + n - n_suffix, suffix)) return 0;
    return n - n_suffix;
}

/* The tensor `stem` + `suffix`, F32, or an error that names it. */
static tamis_status find_part(const tamis_gguf *g, const char *stem, size_t n_stem,
                              const char *suffix, const tamis_gguf_tensor **out, tamis_error *err) {
    char name[NAME_MAX_BYTES + 16], shown[256];
    snprintf(name, sizeof name, "%.*s%s", (int)n_stem, stem, suffix);
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, name);
    tamis_escape(name, strlen(name), shown, sizeof shown);
    if (!t) return tamis_fail(err, TAMIS_BAD_INPUT, "tensor '%s' is missing", shown);
    if (t->type_id != TAMIS_TYPE_F32)
        return tamis_fail(err, TAMIS_BAD_INPUT, "tensor '%s' must be f32, not %s", shown,
                          t->type ? t->type->name : "an unknown type");
    *out = t;
    return TAMIS_OK;
}

/* Whole rows were counted; writers store them as floats. */
static tamis_status read_counts(const tamis_gguf *g, const tamis_gguf_tensor *t, uint64_t n,
                                double *out, tamis_error *err) {
    float *stored = tamis_alloc_array(n, sizeof *stored, err);
    if (!stored) return TAMIS_NO_RESOURCE;
    tamis_status st = tamis_gguf_read_tensor(g, t, 0, t->n_bytes, stored, err);
    for (uint64_t j = 0; st == TAMIS_OK && j < n; j++)
        out[j] = rint((double)stored[j]);
    free(stored);
    return st;
}

static tamis_status read_pair(const tamis_gguf *g, const tamis_gguf_tensor *t, size_t n_stem,
                              tamis_imatrix *m, tamis_error *err) {
    const tamis_gguf_tensor *sums = NULL, *counts = NULL;
    tamis_status st = find_part(g, t->name, n_stem, SUFFIX_SUMS, &sums, err);
    if (st == TAMIS_OK) st = find_part(g, t->name, n_stem, SUFFIX_COUNTS, &counts, err);
    if (st) return st;
    char name[NAME_MAX_BYTES + 1], shown[256];
    snprintf(name, sizeof name, "%.*s", (int)n_stem, t->name);
    uint64_t n_values = tamis_tensor_n_elems(sums), n_counts = tamis_tensor_n_elems(counts);
    if (n_values % n_counts != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "entry '%s': %llu values are not a multiple of %llu counts",
                          tamis_escape(name, n_stem, shown, sizeof shown),
                          (unsigned long long)n_values, (unsigned long long)n_counts);
    tamis_imatrix_entry *e;
    st = tamis_imatrix_add(m, name, n_values, n_counts, &e, err);
    if (st == TAMIS_OK) st = tamis_gguf_read_tensor(g, sums, 0, sums->n_bytes, e->sums, err);
    if (st == TAMIS_OK) st = read_counts(g, counts, n_counts, e->counts, err);
    if (st) return st;
    return tamis_imatrix_check_entry(e, err);
}

static tamis_status read_gguf(const tamis_gguf *g, tamis_imatrix *m, tamis_error *err) {
    tamis_status st = read_keys(g, m, err);
    for (int64_t i = 0; st == TAMIS_OK && i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i), *unused;
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        size_t n_stem = stem_length(t->name, SUFFIX_SUMS);
        if (n_stem) st = read_pair(g, t, n_stem, m, err);
        n_stem = stem_length(t->name, SUFFIX_COUNTS);
        if (st == TAMIS_OK && n_stem) st = find_part(g, t->name, n_stem, SUFFIX_SUMS, &unused, err);
    }
    return st == TAMIS_OK ? finish(m, err) : st;
}

/* path NULL: from memory. */
static tamis_status load_gguf(const char *path, const tamis_imatrix_source *source,
                              tamis_imatrix *m, tamis_error *err) {
    tamis_gguf *g = NULL;
    tamis_gguf_options options = {.single_file = true};
    tamis_status st =
        path ? tamis_gguf_open(path, &options, &g, err)
             : tamis_gguf_open_memory(source->data, (size_t)source->n_bytes, &options, &g, err);
    if (st) return st;
    st = read_gguf(g, m, err);
    tamis_gguf_close(g);
    if (st && path) tamis_fail_prefix(err, "%s", path);
    return st;
}

static tamis_status load_dat(const char *path, const tamis_imatrix_source *source, tamis_imatrix *m,
                             tamis_error *err) {
    tamis_status st = tamis_imatrix_read_dat(source, m, err);
    if (st == TAMIS_OK) st = finish(m, err);
    if (st && path) tamis_fail_prefix(err, "%s", path);
    return st;
}

static tamis_status load(const char *path, const tamis_imatrix_source *source, const char magic[4],
                         tamis_imatrix *out, tamis_error *err) {
    tamis_imatrix m;
    tamis_imatrix_init(&m);
    bool is_gguf = memcmp(magic, "GGUF", 4) == 0;
    tamis_status st = is_gguf ? load_gguf(path, source, &m, err) : load_dat(path, source, &m, err);
    if (st) {
        tamis_imatrix_release(&m);
        return st;
    }
    *out = m;
    return TAMIS_OK;
}

tamis_status tamis_imatrix_load(const char *path, tamis_imatrix *out, tamis_error *err) {
    tamis_input *in = NULL;
    tamis_status st = tamis_input_open(path, TAMIS_INPUT_READ, &in, err);
    if (st) return st;
    const tamis_imatrix_source source = {.in = in, .n_bytes = tamis_input_size(in)};
    char magic[4] = {0};
    if (source.n_bytes >= sizeof magic) st = tamis_input_read(in, 0, sizeof magic, magic, err);
    if (st == TAMIS_OK) st = load(path, &source, magic, out, err);
    tamis_input_close(in);
    return st;
}

tamis_status tamis_imatrix_load_memory(const void *data, size_t n_bytes, tamis_imatrix *out,
                                       tamis_error *err) {
    const tamis_imatrix_source source = {.data = data, .n_bytes = n_bytes};
    char magic[4] = {0};
    if (n_bytes >= sizeof magic) memcpy(magic, data, sizeof magic);
    return load(NULL, &source, magic, out, err);
}

/* --- the GGUF layout, writing --- */

static int compare_pointers(const void *a, const void *b) {
    return strcmp((*(const tamis_imatrix_entry *const *)a)->name,
                  (*(const tamis_imatrix_entry *const *)b)->name);
}

/* Entries in order of name. */
static tamis_status sort_view(const tamis_imatrix *m, tamis_imatrix_layout layout,
                              const tamis_imatrix_entry ***out, tamis_error *err) {
    const tamis_imatrix_entry **view = tamis_alloc_array(m->n_entries, sizeof *view, err);
    if (!view) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i < m->n_entries; i++)
        view[i] = &m->entries[i];
    qsort(view, m->n_entries, sizeof *view, compare_pointers);
    *out = view;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        if (layout == TAMIS_IMATRIX_GGUF &&
            strlen(view[i]->name) + strlen(SUFFIX_SUMS) > NAME_MAX_BYTES)
            return tamis_fail(err, TAMIS_BAD_USAGE,
                              "entry '%s': the name is too long for this format", view[i]->name);
        if (i > 0 && strcmp(view[i - 1]->name, view[i]->name) == 0)
            return tamis_fail(err, TAMIS_BAD_USAGE, "duplicate entry '%s'", view[i]->name);
    }
    return TAMIS_OK;
}

static tamis_status write_keys(const tamis_imatrix *m, tamis_gguf_writer *w, tamis_error *err) {
    tamis_status st = tamis_gguf_set_string(w, "general.type", "imatrix", 7, err);
    if (st == TAMIS_OK)
        st = tamis_gguf_set_strings(w, "imatrix.datasets", (const char *const *)m->datasets,
                                    m->n_datasets, err);
    if (st == TAMIS_OK)
        st = tamis_gguf_set_uint(w, "imatrix.chunk_count", TAMIS_GGUF_U32, m->chunk_count, err);
    if (st == TAMIS_OK)
        st = tamis_gguf_set_uint(w, "imatrix.chunk_size", TAMIS_GGUF_U32, m->chunk_size, err);
    if (st == TAMIS_OK && m->all_experts) st = tamis_gguf_set_bool(w, KEY_ALL_EXPERTS, true, err);
    return st;
}

static tamis_status add_infos(const tamis_imatrix_entry *e, tamis_gguf_writer *w,
                              tamis_error *err) {
    char name[NAME_MAX_BYTES + 1];
    const uint64_t ne_sums[2] = {e->n_values / e->n_counts, e->n_counts};
    const uint64_t ne_counts[2] = {1, e->n_counts};
    snprintf(name, sizeof name, "%s" SUFFIX_SUMS, e->name);
    tamis_status st = tamis_gguf_add_tensor(w, name, TAMIS_TYPE_F32, 2, ne_sums, err);
    snprintf(name, sizeof name, "%s" SUFFIX_COUNTS, e->name);
    if (st == TAMIS_OK) st = tamis_gguf_add_tensor(w, name, TAMIS_TYPE_F32, 2, ne_counts, err);
    return st;
}

static tamis_status write_counts(const tamis_imatrix_entry *e, tamis_gguf_writer *w,
                                 tamis_error *err) {
    float *stored = tamis_alloc_array(e->n_counts, sizeof *stored, err);
    if (!stored) return TAMIS_NO_RESOURCE;
    for (uint64_t j = 0; j < e->n_counts; j++)
        stored[j] = (float)e->counts[j];
    tamis_status st = tamis_gguf_write_data(w, stored, e->n_counts * sizeof *stored, err);
    free(stored);
    return st;
}

/* Counts are stored as f32: whole numbers beyond 2^24 are rounded. Never without a word. */
static void warn_of_rounding(const tamis_imatrix *m, const char *path, const tamis_log *log) {
    uint64_t n_rounded = 0;
    const tamis_imatrix_entry *first = NULL;
    double worst = 0;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        bool is_beyond = false;
        for (uint64_t j = 0; j < m->entries[i].n_counts; j++) {
            double count = m->entries[i].counts[j];
            is_beyond |= count > COUNT_EXACT_MAX;
            if (count > worst) worst = count;
        }
        if (is_beyond && !first) first = &m->entries[i];
        n_rounded += is_beyond;
    }
    if (!first) return;
    tamis_warn(
        log,
        "%s: counts of %llu entries are beyond 2^24 (up to %.0f, '%s' first) and are rounded "
        "to f32 in the file; means change by less than 1 in 10^7",
        path, (unsigned long long)n_rounded, worst, first->name);
}

static tamis_status write_gguf(const tamis_imatrix *m, const tamis_imatrix_entry *const *view,
                               const char *path, tamis_error *err) {
    tamis_gguf_writer *w = NULL;
    tamis_status st = tamis_gguf_writer_new(&w, err);
    if (st == TAMIS_OK) st = write_keys(m, w, err);
    for (uint64_t i = 0; st == TAMIS_OK && i < m->n_entries; i++)
        st = add_infos(view[i], w, err);
    if (st == TAMIS_OK) st = tamis_gguf_begin(w, path, err);
    for (uint64_t i = 0; st == TAMIS_OK && i < m->n_entries; i++) {
        const tamis_imatrix_entry *e = view[i];
        if (tamis_interrupted())
            st = tamis_fail_interrupted(err);
        else
            st = tamis_gguf_write_data(w, e->sums, e->n_values * sizeof *e->sums, err);
        if (st == TAMIS_OK) st = write_counts(e, w, err);
    }
    if (st == TAMIS_OK) st = tamis_gguf_commit(w, err);
    tamis_gguf_writer_free(w);
    return st;
}

tamis_status tamis_imatrix_save_as(const tamis_imatrix *m, const char *path,
                                   tamis_imatrix_layout layout, const tamis_log *log,
                                   tamis_error *err) {
    const tamis_imatrix_entry **view = NULL;
    tamis_status st = TAMIS_OK;
    if (m->n_entries == 0 || m->chunk_size == 0)
        return tamis_fail(err, TAMIS_BAD_USAGE, "an importance matrix without %s cannot be written",
                          m->n_entries == 0 ? "entries" : "a chunk size");
    st = sort_view(m, layout, &view, err);
    for (uint64_t i = 0; st == TAMIS_OK && i < m->n_entries; i++)
        st = tamis_imatrix_check_entry(view[i], err);
    if (st == TAMIS_OK && layout == TAMIS_IMATRIX_DAT) {
        st = tamis_imatrix_write_dat(m, view, path, log, err);
    } else if (st == TAMIS_OK) {
        warn_of_rounding(m, path, log);
        st = write_gguf(m, view, path, err);
    }
    free(view);
    return st;
}

tamis_status tamis_imatrix_save(const tamis_imatrix *m, const char *path, tamis_error *err) {
    return tamis_imatrix_save_as(m, path, TAMIS_IMATRIX_GGUF, NULL, err);
}
