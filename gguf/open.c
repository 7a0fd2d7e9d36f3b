/* open.c - opening a file or a split set, and reading tensor data from it.
 * Ties the parsers together in the order: metadata, known keys, tensor table of each
 * file; then what holds over the set. No tensor data is touched before it is asked for. */
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_internal.h"

typedef unsigned long long ull;

void tamis_gguf_close(tamis_gguf *g) {
    if (!g) return;
    for (uint64_t i = 0; i < g->n_files; i++)
        gguf_file_release(&g->files[i]);
    free(g->files);
    free(g->tensors);
    tamis_name_index_release(&g->names);
    free(g->string_cursor);
    free(g);
}

/* Open the bytes: of `path`, or of memory when `data` is not NULL. */
static tamis_status open_bytes(gguf_file *f, const char *path, const void *data, size_t n_bytes,
                               bool no_map, tamis_error *err) {
    f->path = tamis_copy_text(path, strlen(path), err);
    if (!f->path) return TAMIS_NO_RESOURCE;
    if (data) {
        f->memory = data;
        f->size = n_bytes;
        return TAMIS_OK;
    }
    tamis_status st =
        tamis_input_open(path, no_map ? TAMIS_INPUT_READ : TAMIS_INPUT_MAP, &f->input, err);
    if (!st) f->size = tamis_input_size(f->input);
    return st;
}

/* Metadata and what can be said of it alone. Messages get the path in front. */
static tamis_status read_file_metadata(gguf_file *f, tamis_error *err) {
    tamis_status st = gguf_read_metadata(f, err);
    if (!st) st = gguf_check_known_keys(f, err);
    if (!st) st = gguf_check_vocabulary(f, err);
    return st ? tamis_fail_prefix(err, "%s", f->path) : TAMIS_OK;
}

/* Append a file to the set and read its metadata; it belongs to g from here on. */
static tamis_status add_file(tamis_gguf *g, const char *path, const void *data, size_t n_bytes,
                             const tamis_gguf_options *options, tamis_error *err) {
    tamis_status st =
        tamis_grow(&g->files, &g->files_capacity, g->n_files + 1, sizeof *g->files, err);
    if (st) return st;
    gguf_file *f = &g->files[g->n_files++];
    st = open_bytes(f, path, data, n_bytes, options->no_map, err);
    return st ? st : read_file_metadata(f, err);
}

static tamis_status read_table(tamis_gguf *g, int32_t i_file, const tamis_gguf_options *options,
                               tamis_error *err) {
    tamis_status st = gguf_read_tensor_infos(g, i_file, options, err);
    return st ? tamis_fail_prefix(err, "%s", g->files[i_file].path) : TAMIS_OK;
}

/* Replace the one part that was opened by all parts, in order. */
static tamis_status open_parts(tamis_gguf *g, const gguf_split *split,
                               const tamis_gguf_options *options, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    gguf_file_release(&g->files[0]);
    g->n_files = 0;
    for (int64_t i = 0; !st && i < split->count; i++) {
        char *path = NULL;
        st = gguf_split_path(split, i, &path, err);
        if (!st) {
            st = add_file(g, path, NULL, 0, options, err);
            if (!st) st = gguf_check_part(&g->files[i], split, i, err);
            if (!st) st = read_table(g, (int32_t)i, options, err);
            if (st)
                (void)tamis_fail_prefix(err, "part %lld of %lld", (long long)i + 1,
                                        (long long)split->count);
        }
        free(path);
    }
    if (!st && g->n_tensors != (uint64_t)split->n_tensors)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: key 'split.tensors.count' is %lld but the set has %llu tensors",
                        g->files[0].path, (long long)split->n_tensors, (ull)g->n_tensors);
    return st;
}

static tamis_status open_set(const char *path, const void *data, size_t n_bytes,
                             const tamis_gguf_options *options, tamis_gguf **out,
                             tamis_error *err) {
    static const tamis_gguf_options defaults;
    gguf_split split = {0};
    tamis_status st = TAMIS_NO_RESOURCE;
    if (!options) options = &defaults;
    *out = NULL;
    tamis_gguf *g = tamis_alloc_array(1, sizeof *g, err);
    if (!g) goto out;
    g->string_cursor = tamis_alloc_array(1, sizeof *g->string_cursor, err);
    if (!g->string_cursor) goto out;
    st = add_file(g, path, data, n_bytes, options, err);
    if (st) goto out;
    if (!data && !options->single_file) {
        st = gguf_read_split(&g->files[0], &split, err);
        if (st) goto out;
    }
    st = split.count ? open_parts(g, &split, options, err) : read_table(g, 0, options, err);
    if (!st) st = gguf_index_tensors(g, err);
    if (!st) st = gguf_check_layer_numbers(g, err);
    if (st) goto out;
    *out = g;
    g = NULL;
out:
    free(split.prefix);
    tamis_gguf_close(g);
    return st;
}

tamis_status tamis_gguf_open(const char *path, const tamis_gguf_options *options, tamis_gguf **out,
                             tamis_error *err) {
    return open_set(path, NULL, 0, options, out, err);
}

tamis_status tamis_gguf_open_memory(const void *data, size_t n_bytes,
                                    const tamis_gguf_options *options, tamis_gguf **out,
                                    tamis_error *err) {
    return open_set("<memory>", n_bytes ? data : "", n_bytes, options, out, err);
}

const char *tamis_gguf_path(const tamis_gguf *g) {
    return g->files[0].path;
}

uint32_t tamis_gguf_version(const tamis_gguf *g) {
    return g->files[0].version;
}

bool tamis_gguf_is_big_endian(const tamis_gguf *g) {
    return g->files[0].is_big_endian;
}

uint32_t tamis_gguf_alignment(const tamis_gguf *g) {
    return g->files[0].alignment;
}

int32_t tamis_gguf_n_files(const tamis_gguf *g) {
    return (int32_t)g->n_files;
}

const char *tamis_gguf_file_path(const tamis_gguf *g, int32_t i_file) {
    return g->files[i_file].path;
}

uint64_t tamis_gguf_file_size(const tamis_gguf *g, int32_t i_file) {
    return g->files[i_file].size;
}

uint64_t tamis_gguf_data_offset(const tamis_gguf *g, int32_t i_file) {
    return g->files[i_file].data_offset;
}

uint64_t tamis_gguf_trailing_bytes(const tamis_gguf *g) {
    uint64_t n_bytes = 0;
    for (uint64_t i = 0; i < g->n_files; i++)
        n_bytes += g->files[i].trailing_bytes;
    return n_bytes;
}

bool tamis_gguf_has_file(const tamis_gguf *g, const char *path) {
    for (uint64_t i = 0; i < g->n_files; i++)
        if (g->files[i].input && tamis_is_same_file(g->files[i].path, path)) return true;
    return false;
}

int64_t tamis_gguf_n_tensors(const tamis_gguf *g) {
    return (int64_t)g->n_tensors;
}

const tamis_gguf_tensor *tamis_gguf_tensor_at(const tamis_gguf *g, int64_t i) {
    return &g->tensors[i];
}

static tamis_status read_fail(const tamis_gguf *g, const tamis_gguf_tensor *t, const char *what,
                              tamis_error *err) {
    char quoted[GGUF_QUOTE_BYTES];
    gguf_quote((tamis_bytes){t->name, strlen(t->name)}, quoted);
    return tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s': %s", g->files[t->i_file].path, quoted,
                      what);
}

tamis_status tamis_gguf_read_raw(const tamis_gguf *g, const tamis_gguf_tensor *t, uint64_t offset,
                                 uint64_t n_bytes, void *dst, tamis_error *err) {
    const gguf_file *f = &g->files[t->i_file];
    uint64_t at = t->file_offset + offset;
    size_t n;
    if (!t->is_size_known) return read_fail(g, t, "its size is unknown (unknown type)", err);
    if (offset > t->n_bytes || n_bytes > t->n_bytes - offset || !tamis_to_size(n_bytes, &n))
        return read_fail(g, t, "a range beyond its end was asked for", err);
    if (!n) return TAMIS_OK;
    if (!f->input) {
        memcpy(dst, f->memory + at, n);
        return TAMIS_OK;
    }
    tamis_status st = tamis_input_read(f->input, at, n, dst, err);
    if (!st) return TAMIS_OK;
    char quoted[GGUF_QUOTE_BYTES];
    gguf_quote((tamis_bytes){t->name, strlen(t->name)}, quoted);
    return tamis_fail_prefix(err, "tensor '%s'", quoted);
}

tamis_status tamis_gguf_read_tensor(const tamis_gguf *g, const tamis_gguf_tensor *t,
                                    uint64_t offset, uint64_t n_bytes, void *dst,
                                    tamis_error *err) {
    const bool is_host_big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    if (g->files[t->i_file].is_big_endian == is_host_big || !n_bytes)
        return tamis_gguf_read_raw(g, t, offset, n_bytes, dst, err);
    const uint32_t block_bytes = t->type ? t->type->block_bytes : 0;
    if (t->is_size_known && !block_bytes)
        return read_fail(g, t, "the byte order of an unknown type cannot be turned", err);
    if (t->is_size_known && (offset % block_bytes || n_bytes % block_bytes))
        return read_fail(g, t, "a range that is not whole blocks was asked for", err);
    tamis_status st = tamis_gguf_read_raw(g, t, offset, n_bytes, dst, err);
    if (!st) tamis_swap_bytes(t->type, dst, (int64_t)(n_bytes / block_bytes));
    return st;
}
