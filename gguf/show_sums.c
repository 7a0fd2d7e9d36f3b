/* show_sums.c - what the tensors of a file add up to: by part, type, kind and layer.
 * Tensors are sorted by their label and added up one label after the other: n log n, and 24
 * bytes a tensor. Layers of the same content share a row unless each is wanted. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "gguf/contents.h"
#include "gguf/show_internal.h"
#include "gguf/tensor_names.h"

typedef unsigned long long ull;

enum { LABEL_BYTES = 160, TYPES_COLUMNS = 34, MAX_TYPES = 64 };

/* A tensor under its label. */
typedef struct labelled {
    const tamis_gguf_tensor *tensor;
    int64_t order;   /* type id, kind or layer; -1 for what is outside the layers */
    size_t n_prefix; /* of a layer: bytes of the name before the number */
} labelled;

typedef struct sums_row {
    labelled first;
    int64_t last; /* of a run of layers */
    uint64_t n_tensors, n_elems, n_bytes;
    bool is_exact;                 /* all sizes are known */
    uint32_t n_of_type[MAX_TYPES]; /* by row of the type table; the last: types without one */
} sums_row;

/* One way of dividing tensors: the label of one, and the text of a row's. */
typedef struct division {
    const char *heading, *member;
    void (*label)(labelled *item, int64_t first_mtp);
    void (*name)(const sums_row *row, char out[LABEL_BYTES]);
    bool has_types;    /* a column with the types is no repetition */
    bool has_runs;     /* rows that follow one another may be joined */
    bool is_only_many; /* one row says nothing (text) */
} division;

static void label_part(labelled *item, int64_t first_mtp) {
    item->order = tamis_part_of(item->tensor->name, first_mtp);
}

static void name_part(const sums_row *row, char out[LABEL_BYTES]) {
    snprintf(out, LABEL_BYTES, "%s", tamis_part_name((tamis_part)row->first.order));
}

static void label_type(labelled *item, int64_t first_mtp) {
    (void)first_mtp;
    item->order = item->tensor->type_id;
}

static void name_type(const sums_row *row, char out[LABEL_BYTES]) {
    gguf_type_text(row->first.tensor, out, LABEL_BYTES);
}

static void label_kind(labelled *item, int64_t first_mtp) {
    (void)first_mtp;
    item->order = tamis_tensor_kind_of(item->tensor->name);
}

static void name_kind(const sums_row *row, char out[LABEL_BYTES]) {
    snprintf(out, LABEL_BYTES, "%s", tamis_tensor_kind_name((tamis_tensor_kind)row->first.order));
}

static void label_layer(labelled *item, int64_t first_mtp) {
    (void)first_mtp;
    const char *name = item->tensor->name;
    size_t n = tamis_tensor_layer(name, &item->order);
    if (!n) item->order = -1;
    while (n && name[n - 1] != '.')
        n--;
    item->n_prefix = n;
}

static void name_layer(const sums_row *row, char out[LABEL_BYTES]) {
    char prefix[LABEL_BYTES - 48], last[24] = "";
    tamis_escape(row->first.tensor->name, row->first.n_prefix, prefix, sizeof prefix);
    if (row->last > row->first.order) snprintf(last, sizeof last, "-%lld", (long long)row->last);
    if (row->first.order < 0)
        snprintf(out, LABEL_BYTES, "outside");
    else
        snprintf(out, LABEL_BYTES, "%s%lld%s", prefix, (long long)row->first.order, last);
}

static const division divisions[] = {
    {"part", "parts", label_part, name_part, true, false, true},
    {"type", "types", label_type, name_type, false, false, false},
    {"kind", "kinds", label_kind, name_kind, true, false, false},
    {"layer", "layers", label_layer, name_layer, true, true, false},
};

static int compare_labels(const labelled *x, const labelled *y) {
    const size_t n = x->n_prefix < y->n_prefix ? x->n_prefix : y->n_prefix;
    int order = memcmp(x->tensor->name, y->tensor->name, n);
    if (!order) order = (x->n_prefix > y->n_prefix) - (x->n_prefix < y->n_prefix);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int compare_items(const void *a, const void *b) {
    const labelled *x = a, *y = b;
    const int order = compare_labels(x, y);
    return order ? order : (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

/* The tensors chosen, sorted by label and then as in the file. *out: free() it. */
static tamis_status label_all(const tamis_gguf *g, const tamis_gguf_show_options *options,
                              const division *by, labelled **out, size_t *n_out, tamis_error *err) {
    size_t n = 0;
    const int64_t first_mtp = tamis_gguf_first_mtp(g);
    *n_out = 0;
    *out = tamis_alloc_array((uint64_t)tamis_gguf_n_tensors(g), sizeof **out, err);
    if (!*out) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        labelled *item = &(*out)[n];
        item->tensor = tamis_gguf_tensor_at(g, i);
        if (!gguf_show_chooses(options, item->tensor)) continue;
        by->label(item, first_mtp);
        n++;
    }
    qsort(*out, n, sizeof **out, compare_items);
    *n_out = n;
    return TAMIS_OK;
}

/* The tensors from *i on that have one label, added up. False at the end. */
static bool next_label(const labelled *items, size_t n_items, size_t *i, sums_row *row) {
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    if (*i >= n_items) return false;
    *row = (sums_row){.first = items[*i], .last = items[*i].order, .is_exact = true};
    for (; *i < n_items && !compare_labels(&items[*i], &row->first); ++*i) {
        const tamis_gguf_tensor *t = items[*i].tensor;
        const bool has_row = t->type && t->type - types < MAX_TYPES - 1;
        row->n_tensors++;
        row->n_elems += tamis_tensor_n_elems(t);
        row->n_bytes += t->n_bytes;
        row->is_exact &= t->type && t->type->block_elems;
        row->n_of_type[has_row ? t->type - types : MAX_TYPES - 1]++;
    }
    return true;
}

static bool is_next_alike(const sums_row *row, const sums_row *next, int64_t last) {
    return next->first.order > 0 && next->first.order == last + 1 &&
           next->first.n_prefix == row->first.n_prefix &&
           !memcmp(next->first.tensor->name, row->first.tensor->name, row->first.n_prefix) &&
           next->n_elems == row->n_elems && next->n_bytes == row->n_bytes &&
           !memcmp(next->n_of_type, row->n_of_type, sizeof row->n_of_type);
}

/* The next row: a label, or (runs) as many layers that follow one another and hold the same. */
static bool next_row(const labelled *items, size_t n_items, size_t *i, bool runs, sums_row *out) {
    sums_row next;
    if (!next_label(items, n_items, i, out)) return false;
    const sums_row one = *out;
    for (size_t k = *i; runs && out->first.order >= 0 && next_label(items, n_items, &k, &next);) {
        if (!is_next_alike(&one, &next, out->last)) break;
        out->last = next.first.order;
        out->n_tensors += one.n_tensors;
        out->n_elems += one.n_elems;
        out->n_bytes += one.n_bytes;
        for (int t = 0; t < MAX_TYPES; t++)
            out->n_of_type[t] += one.n_of_type[t];
        *i = k;
    }
    return true;
}

/* "4 q4_K, 2 f32", the most frequent first, cut to the columns. */
static void format_types(const sums_row *row, char *out, size_t cap) {
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    bool is_shown[MAX_TYPES] = {false};
    size_t n = 0;
    out[0] = 0;
    for (;;) {
        int best = -1;
        for (int i = 0; i < MAX_TYPES; i++)
            if (row->n_of_type[i] && !is_shown[i] &&
                (best < 0 || row->n_of_type[i] > row->n_of_type[best]))
                best = i;
        if (best < 0) return;
        is_shown[best] = true;
        char part[48];
        const int n_part = snprintf(part, sizeof part, "%s%u %s", n ? ", " : "",
                                    row->n_of_type[best], best < n_types ? types[best].name : "?");
        if (n + (size_t)n_part + 4 > cap) {
            snprintf(out + n, cap - n, "...");
            return;
        }
        n += (size_t)snprintf(out + n, cap - n, "%s", part);
    }
}

static void print_row(const division *by, const sums_row *row, int width, uint64_t all_bytes,
                      FILE *stream) {
    char label[LABEL_BYTES], count[32], size[32], types[TYPES_COLUMNS], bits[32] = "";
    by->name(row, label);
    if (row->is_exact && row->n_elems)
        snprintf(bits, sizeof bits, "%.4f", 8.0 * (double)row->n_bytes / (double)row->n_elems);
    format_types(row, types, sizeof types);
    fprintf(stream, "%-*s  %7llu  %10s  %10s  %5.1f%%  %8s%s%s\n", width, label,
            (ull)row->n_tensors, gguf_count_text(row->n_elems, count, sizeof count),
            tamis_format_size(row->n_bytes, size, sizeof size),
            all_bytes ? 100.0 * (double)row->n_bytes / (double)all_bytes : 0, bits,
            by->has_types ? "  " : "", by->has_types ? types : "");
}

static void print_division(const division *by, const labelled *items, size_t n_items, bool runs,
                           FILE *stream) {
    uint64_t n_bytes = 0;
    int width = 10;
    size_t n_rows = 0;
    sums_row row;
    for (size_t i = 0; next_row(items, n_items, &i, runs, &row);) {
        char label[LABEL_BYTES];
        by->name(&row, label);
        width = strlen(label) > (size_t)width ? (int)strlen(label) : width;
        n_bytes += row.n_bytes;
        n_rows++;
    }
    if (by->is_only_many && n_rows < 2) return;
    fprintf(stream, "\n%-*s  %7s  %10s  %10s  %6s  %8s%s\n", width, by->heading, "tensors",
            "weights", "size", "share", "bits", by->has_types ? "  types" : "");
    for (size_t i = 0; next_row(items, n_items, &i, runs, &row);)
        print_row(by, &row, width, n_bytes, stream);
}

static void add_json_row(cJSON *array, const division *by, const sums_row *row) {
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    char label[LABEL_BYTES];
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(array, item);
    by->name(row, label);
    cJSON_AddStringToObject(item, "name", label);
    tamis_json_add_uint(item, "tensors", row->n_tensors);
    tamis_json_add_uint(item, "weights", row->n_elems);
    tamis_json_add_uint(item, "size", row->n_bytes);
    if (row->is_exact && row->n_elems)
        tamis_json_add_double(item, "bits", 8.0 * (double)row->n_bytes / (double)row->n_elems);
    cJSON *counts = cJSON_AddObjectToObject(item, "types");
    for (int k = 0; k < MAX_TYPES; k++)
        if (row->n_of_type[k])
            tamis_json_add_uint(counts, k < n_types ? types[k].name : "?", row->n_of_type[k]);
}

tamis_status gguf_show_sums(const tamis_gguf *g, const tamis_gguf_show_options *options,
                            FILE *stream, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (size_t d = 0; !st && d < sizeof divisions / sizeof divisions[0]; d++) {
        const division *by = &divisions[d];
        labelled *items = NULL;
        size_t n_items = 0;
        st = label_all(g, options, by, &items, &n_items, err);
        if (!st && n_items)
            print_division(by, items, n_items, by->has_runs && !options->every_layer, stream);
        free(items);
    }
    return st;
}

tamis_status gguf_show_sums_json(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                 cJSON *object, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (size_t d = 0; !st && d < sizeof divisions / sizeof divisions[0]; d++) {
        const division *by = &divisions[d];
        labelled *items = NULL;
        size_t n_items = 0;
        sums_row row;
        st = label_all(g, options, by, &items, &n_items, err);
        cJSON *rows = cJSON_AddArrayToObject(object, by->member);
        for (size_t i = 0; !st && next_row(items, n_items, &i, false, &row);)
            add_json_row(rows, by, &row);
        free(items);
    }
    return st;
}
