/* show.c - an open file as text for people.
 * A block of what one asks first, the metadata with long values shortened, the
 * tensors; what they add up to is in show_sums.c. Text from the file is escaped. */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "gguf/contents.h"
#include "gguf/gguf_internal.h"
#include "gguf/show_internal.h"

typedef unsigned long long ull;

enum { MAX_NAME_COLUMNS = 40, TEXT_BYTES = 4096 };

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

void gguf_show_header(const tamis_gguf *g, FILE *stream) {
    char text[64], contents[256];
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
    if (tamis_gguf_contents_text(g, contents, sizeof contents)[0])
        fprintf(stream, "%-14s %s\n", "contains", contents);
    fprintf(stream, "%-14s %s", "size", tamis_format_size(n_bytes, text, sizeof text));
    fprintf(stream, " (%llu bytes)\n", (ull)n_bytes);
    if (!sums.n_elems) return;
    fprintf(stream, "%-14s %s", "parameters", gguf_count_text(sums.n_elems, text, sizeof text));
    fprintf(stream, " (%llu) in %lld tensors\n", (ull)sums.n_elems,
            (long long)tamis_gguf_n_tensors(g));
    if (sums.is_exact)
        fprintf(stream, "%-14s %.4f\n", "bits / weight",
                8.0 * (double)sums.n_bytes / (double)sums.n_elems);
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

static void print_tensor(const tamis_gguf_tensor *t, int width, FILE *stream) {
    char name[GGUF_QUOTE_BYTES], shape[96], type[32], size[32] = "unknown";
    if (t->is_size_known) tamis_format_size(t->n_bytes, size, sizeof size);
    fprintf(stream, "%-*s  %-22s  %-10s  %10s", width,
            gguf_quote((tamis_bytes){t->name, strlen(t->name)}, name),
            gguf_shape_text(t, shape, sizeof shape), gguf_type_text(t, type, sizeof type), size);
    if (t->type && t->type->block_elems)
        fprintf(stream, "  %8.4f", 8.0 * (double)t->n_bytes / (double)tamis_tensor_n_elems(t));
    fputc('\n', stream);
}

bool gguf_show_chooses(const tamis_gguf_show_options *options, const tamis_gguf_tensor *t) {
    return !options->filter || fnmatch(options->filter, t->name, 0) == 0;
}

int64_t tamis_gguf_show_n_tensors(const tamis_gguf *g, const tamis_gguf_show_options *options) {
    int64_t n = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++)
        n += gguf_show_chooses(options, tamis_gguf_tensor_at(g, i));
    return n;
}

static void print_tensors(const tamis_gguf *g, const tamis_gguf_show_options *options,
                          FILE *stream) {
    int width = 6;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        size_t n = strlen(tamis_gguf_tensor_at(g, i)->name);
        if (n > (size_t)width) width = n > MAX_NAME_COLUMNS ? MAX_NAME_COLUMNS : (int)n;
    }
    fprintf(stream, "\n%-*s  %-22s  %-10s  %10s  %8s\n", width, "tensor", "shape", "type", "size",
            "bits");
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++)
        if (gguf_show_chooses(options, tamis_gguf_tensor_at(g, i)))
            print_tensor(tamis_gguf_tensor_at(g, i), width, stream);
}

tamis_status tamis_gguf_show_text(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                  FILE *stream, tamis_error *err) {
    gguf_show_header(g, stream);
    if (tamis_gguf_n_kv(g) && !options->no_metadata) print_metadata(g, options->all, stream);
    if (!tamis_gguf_n_tensors(g)) return TAMIS_OK;
    if (!options->no_tensors) print_tensors(g, options, stream);
    return gguf_show_sums(g, options, stream, err);
}
