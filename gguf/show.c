/* show.c - an open file as text for people.
 * A block of what one asks first, the metadata with long values shortened, the
 * tensors, and what each type adds up to. Text from the file is escaped. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "gguf/gguf_internal.h"
#include "gguf/show.h"

typedef unsigned long long ull;

enum { VALUE_COLUMNS = 60, N_ARRAY_SHOWN = 6, MAX_NAME_COLUMNS = 44, TEXT_BYTES = 4096 };

/* "1.50 G" of 1500000000; counts, not bytes. */
static const char *format_count(uint64_t n, char *out, size_t cap) {
    static const char units[] = " KMBT";
    double value = (double)n;
    int i = 0;
    while (value >= 1000 && units[i + 1]) {
        value /= 1000;
        i++;
    }
    if (i)
        snprintf(out, cap, "%.2f %c", value, units[i]);
    else
        snprintf(out, cap, "%llu", (ull)n);
    return out;
}

static void print_text_key(const tamis_gguf *g, const char *key, const char *label, FILE *stream) {
    tamis_bytes text;
    char quoted[GGUF_QUOTE_BYTES];
    if (tamis_gguf_get_string(g, key, &text, NULL) || !text.data) return;
    fprintf(stream, "%-14s %s\n", label, gguf_quote(text, quoted));
}

typedef struct size_sums {
    uint64_t n_elems, n_bytes;
    bool is_exact; /* every tensor's size and elements are known */
} size_sums;

static size_sums sum_sizes(const tamis_gguf *g) {
    size_sums sums = {.is_exact = true};
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        sums.n_elems += tamis_tensor_n_elems(t);
        sums.n_bytes += t->n_bytes;
        sums.is_exact &= t->type && t->type->block_elems;
    }
    return sums;
}

static void print_header(const tamis_gguf *g, FILE *stream) {
    char text[64];
    int64_t file_type = -1;
    int32_t n_files = tamis_gguf_n_files(g);
    uint64_t n_bytes = 0;
    size_sums sums = sum_sizes(g);
    for (int32_t i = 0; i < n_files; i++)
        n_bytes += tamis_gguf_file_size(g, i);
    fprintf(stream, "%-14s %s", "file", tamis_gguf_path(g));
    if (n_files > 1) fprintf(stream, " (%d files)", n_files);
    fprintf(stream, "\n%-14s GGUF version %u, %s-endian, alignment %u\n", "format",
            tamis_gguf_version(g), tamis_gguf_is_big_endian(g) ? "big" : "little",
            tamis_gguf_alignment(g));
    print_text_key(g, "general.architecture", "architecture", stream);
    print_text_key(g, "general.name", "name", stream);
    if (!tamis_gguf_get_int(g, "general.file_type", 0, INT32_MAX, -1, &file_type, NULL) &&
        file_type >= 0) {
        const char *name = tamis_file_type_name(file_type);
        fprintf(stream, "%-14s %s (%" PRId64 ")\n", "file type", name ? name : "unknown",
                file_type);
    }
    fprintf(stream, "%-14s %s", "size", tamis_format_size(n_bytes, text, sizeof text));
    fprintf(stream, " (%llu bytes)\n", (ull)n_bytes);
    if (!sums.n_elems) return;
    fprintf(stream, "%-14s %s", "parameters", format_count(sums.n_elems, text, sizeof text));
    fprintf(stream, " (%llu) in %lld tensors\n", (ull)sums.n_elems,
            (long long)tamis_gguf_n_tensors(g));
    if (sums.is_exact)
        fprintf(stream, "%-14s %.4f\n", "bits / weight",
                8.0 * (double)sums.n_bytes / (double)sums.n_elems);
}

/* A string in quotes, cut to about `columns`. */
static void print_string(tamis_bytes text, bool all, FILE *stream) {
    size_t cap = all ? 4 * text.n_bytes + 8 : VALUE_COLUMNS;
    char small[VALUE_COLUMNS], *big = all ? malloc(cap) : NULL;
    fprintf(stream, "\"%s\"",
            tamis_escape(text.data, text.n_bytes, big ? big : small, big ? cap : sizeof small));
    if (!big && text.n_bytes > VALUE_COLUMNS) fprintf(stream, " (%zu bytes)", text.n_bytes);
    free(big);
}

/* Element i, which is no string. f32 prints with the digits that tell f32 apart. */
static void print_number(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, FILE *stream) {
    bool flag;
    int64_t si;
    uint64_t ui;
    double d = 0;
    if (tamis_gguf_kv_bool(g, kv, i, &flag))
        fputs(flag ? "true" : "false", stream);
    else if (tamis_gguf_kv_int(g, kv, i, &si))
        fprintf(stream, "%" PRId64, si);
    else if (tamis_gguf_kv_uint(g, kv, i, &ui))
        fprintf(stream, "%" PRIu64, ui);
    else if (tamis_gguf_kv_double(g, kv, i, &d))
        fprintf(stream, kv->elem_kind == TAMIS_GGUF_F32 ? "%.7g" : "%.16g", d);
}

static void print_array(const tamis_gguf *g, const tamis_gguf_kv *kv, bool all, FILE *stream) {
    uint64_t cursor = 0, n_columns = 0;
    tamis_bytes text;
    fprintf(stream, "%llu x %s [", (ull)kv->n_elems, tamis_gguf_kind_name(kv->elem_kind));
    for (uint64_t i = 0; i < kv->n_elems; i++) {
        if (i) fputs(", ", stream);
        if (!all && (i == N_ARRAY_SHOWN || n_columns > VALUE_COLUMNS)) {
            fputs("...", stream);
            break;
        }
        if (!tamis_gguf_kv_next_string(g, kv, &cursor, &text)) {
            print_number(g, kv, i, stream);
            continue;
        }
        n_columns += text.n_bytes + 4;
        print_string(text, all, stream);
    }
    fputc(']', stream);
}

void tamis_gguf_show_value(const tamis_gguf *g, const tamis_gguf_kv *kv, bool all, FILE *stream) {
    tamis_bytes text;
    if (kv->kind == TAMIS_GGUF_ARRAY)
        print_array(g, kv, all, stream);
    else if (tamis_gguf_kv_string(g, kv, 0, &text))
        print_string(text, all, stream);
    else
        print_number(g, kv, 0, stream);
}

static void print_metadata(const tamis_gguf *g, bool all, FILE *stream) {
    int width = 3;
    for (int32_t i = 0; i < tamis_gguf_n_kv(g); i++) {
        size_t n = tamis_gguf_kv_at(g, i).key.n_bytes;
        if (n > (size_t)width) width = n > MAX_NAME_COLUMNS ? MAX_NAME_COLUMNS : (int)n;
    }
    fprintf(stream, "\n%-*s  kind  value (%d keys)\n", width, "key", tamis_gguf_n_kv(g));
    for (int32_t i = 0; i < tamis_gguf_n_kv(g); i++) {
        tamis_gguf_kv kv = tamis_gguf_kv_at(g, i);
        char key[TEXT_BYTES];
        fprintf(stream, "%-*s  %-4s  ", width,
                tamis_escape(kv.key.data, kv.key.n_bytes, key, all ? sizeof key : GGUF_QUOTE_BYTES),
                tamis_gguf_kind_name(kv.kind));
        tamis_gguf_show_value(g, &kv, all, stream);
        fputc('\n', stream);
    }
}

static const char *type_text(const tamis_gguf_tensor *t, char *out, size_t cap) {
    if (t->type && t->type->block_elems) return t->type->name;
    snprintf(out, cap, "%s%d", t->type ? "retired " : "type ", t->type_id);
    return out;
}

static double bits_per_weight(uint64_t n_bytes, uint64_t n_elems) {
    return n_elems ? 8.0 * (double)n_bytes / (double)n_elems : 0;
}

static void print_tensor(const tamis_gguf_tensor *t, int width, FILE *stream) {
    char name[GGUF_QUOTE_BYTES], shape[96], type[32], size[32] = "unknown";
    size_t n = 0;
    shape[0] = 0;
    for (int i = 0; i < t->n_dims && n < sizeof shape; i++)
        n += (size_t)snprintf(shape + n, sizeof shape - n, "%s%" PRIu64, i ? " x " : "", t->ne[i]);
    if (t->is_size_known) tamis_format_size(t->n_bytes, size, sizeof size);
    fprintf(stream, "%-*s  %-22s  %-10s  %10s", width,
            gguf_quote((tamis_bytes){t->name, strlen(t->name)}, name), shape,
            type_text(t, type, sizeof type), size);
    if (t->type && t->type->block_elems)
        fprintf(stream, "  %8.4f", bits_per_weight(t->n_bytes, tamis_tensor_n_elems(t)));
    fputc('\n', stream);
}

static void print_tensors(const tamis_gguf *g, FILE *stream) {
    int width = 4;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        size_t n = strlen(tamis_gguf_tensor_at(g, i)->name);
        if (n > (size_t)width) width = n > MAX_NAME_COLUMNS ? MAX_NAME_COLUMNS : (int)n;
    }
    fprintf(stream, "\n%-*s  %-22s  %-10s  %10s  %8s\n", width, "tensor", "shape", "type", "size",
            "bits");
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++)
        print_tensor(tamis_gguf_tensor_at(g, i), width, stream);
}

/* Sums over the tensors of one type id. */
static void print_type_total(const tamis_gguf *g, const tamis_gguf_tensor *like, FILE *stream) {
    uint64_t n_elems = 0, n_bytes = 0, n_tensors = 0;
    char type[32], size[32], count[32];
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        if (t->type_id != like->type_id) continue;
        n_tensors++;
        n_elems += tamis_tensor_n_elems(t);
        n_bytes += t->n_bytes;
    }
    fprintf(stream, "%-10s  %7llu  %12s  %10s", type_text(like, type, sizeof type), (ull)n_tensors,
            format_count(n_elems, count, sizeof count),
            tamis_format_size(n_bytes, size, sizeof size));
    if (like->type && like->type->block_elems)
        fprintf(stream, "  %8.4f", bits_per_weight(n_bytes, n_elems));
    fputc('\n', stream);
}

static void print_totals(const tamis_gguf *g, FILE *stream) {
    fprintf(stream, "\n%-10s  %7s  %12s  %10s  %8s\n", "type", "tensors", "weights", "size",
            "bits");
    int64_t last_id = INT64_MIN;
    for (;;) { /* the next higher id each time; a file holds few types */
        const tamis_gguf_tensor *next = NULL;
        for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
            const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
            if (t->type_id > last_id && (!next || t->type_id < next->type_id)) next = t;
        }
        if (!next) return;
        print_type_total(g, next, stream);
        last_id = next->type_id;
    }
}

void tamis_gguf_show_text(const tamis_gguf *g, const tamis_gguf_show_options *options,
                          FILE *stream) {
    print_header(g, stream);
    if (tamis_gguf_n_kv(g)) print_metadata(g, options->all, stream);
    if (!tamis_gguf_n_tensors(g)) return;
    if (!options->no_tensors) print_tensors(g, stream);
    print_totals(g, stream);
}
