/* split.c - sets of files that hold one model.
 * Names are made from the path the user gave and the numbers of the keys, never from
 * text in a file. Keys and naming: reference/gguf.md section 4; rule 13 of
 * gguf-threats.md section 2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "gguf/gguf_internal.h"

enum { SUFFIX_BYTES = 64 };

/* A split key as an integer (its kind and range were checked); `fallback` when absent. */
static int64_t split_int(const gguf_file *f, const char *key, int64_t fallback) {
    tamis_gguf_kv kv;
    int64_t value = fallback;
    if (gguf_file_find(f, key, &kv)) (void)gguf_file_int(f, &kv, 0, &value);
    return value;
}

static void make_suffix(int64_t no, int64_t count, char out[SUFFIX_BYTES]) {
    snprintf(out, SUFFIX_BYTES, "-%05lld-of-%05lld.gguf", (long long)no + 1, (long long)count);
}

/* The numbers of a name that ends in "-00001-of-00003.gguf", and where that begins. */
static bool parse_suffix(const char *path, int64_t *no, int64_t *count, size_t *n_prefix) {
    static const char digits[] = "0123456789";
    char text[2][24], suffix[SUFFIX_BYTES];
    const char *of = NULL;
    for (const char *p = strstr(path, "-of-"); p; p = strstr(p + 1, "-of-"))
        of = p;
    if (!of) return false;
    const char *begin = of;
    while (begin > path && strchr(digits, begin[-1]))
        begin--;
    size_t n_no = (size_t)(of - begin), n_count = strspn(of + 4, digits);
    if (begin == path || n_no >= sizeof text[0] || n_count >= sizeof text[1]) return false;
    begin--;
    snprintf(text[0], sizeof text[0], "%.*s", (int)n_no, begin + 1);
    snprintf(text[1], sizeof text[1], "%.*s", (int)n_count, of + 4);
    if (tamis_parse_int(text[0], 1, INT32_MAX, "part", no, NULL) ||
        tamis_parse_int(text[1], 1, INT32_MAX, "parts", count, NULL))
        return false;
    --*no;
    make_suffix(*no, *count, suffix);
    *n_prefix = (size_t)(begin - path);
    return !strcmp(begin, suffix);
}

size_t gguf_split_prefix_bytes(const char *path) {
    static const char extension[] = ".gguf";
    int64_t no, count;
    size_t n = strlen(path), n_prefix = 0, n_extension = sizeof extension - 1;
    if (parse_suffix(path, &no, &count, &n_prefix)) return n_prefix;
    return n > n_extension && !strcmp(path + n - n_extension, extension) ? n - n_extension : n;
}

tamis_status gguf_read_split(const gguf_file *f, gguf_split *out, tamis_error *err) {
    int64_t count = split_int(f, "split.count", 0), no = split_int(f, "split.no", 0);
    int64_t name_no = 0, name_count = 0;
    size_t n_prefix = 0;
    *out = (gguf_split){0};
    if (count <= 1) return TAMIS_OK;
    if (no >= count)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: key 'split.no' is %lld, out of range for %lld parts", f->path,
                          (long long)no, (long long)count);
    if (!parse_suffix(f->path, &name_no, &name_count, &n_prefix)) {
        char suffix[SUFFIX_BYTES];
        make_suffix(no, count, suffix);
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: one of %lld parts, but its name does not end in %s, so that the "
                          "others cannot be found; rename it",
                          f->path, (long long)count, suffix);
    }
    if (name_count != count)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: its name and the key 'split.count' disagree (%lld parts and %lld)",
                          f->path, (long long)name_count, (long long)count);
    out->prefix = tamis_copy_text(f->path, n_prefix, err);
    if (!out->prefix) return TAMIS_NO_RESOURCE;
    out->count = count;
    out->no = name_no;
    out->n_tensors = split_int(f, "split.tensors.count", -1);
    if (out->n_tensors < 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: key 'split.tensors.count' is missing",
                          f->path);
    return TAMIS_OK;
}

tamis_status gguf_split_path(const gguf_split *split, int64_t i, char **out, tamis_error *err) {
    char suffix[SUFFIX_BYTES];
    make_suffix(i, split->count, suffix);
    size_t n_prefix = strlen(split->prefix), n_suffix = strlen(suffix);
    *out = tamis_alloc_array(n_prefix + n_suffix + 1, 1, err);
    if (!*out) return TAMIS_NO_RESOURCE;
    memcpy(*out, split->prefix, n_prefix);
    memcpy(*out + n_prefix, suffix, n_suffix);
    return TAMIS_OK;
}

tamis_status gguf_check_part(const gguf_file *f, const gguf_split *split, int64_t i,
                             tamis_error *err) {
    int64_t no = split_int(f, "split.no", -1), count = split_int(f, "split.count", -1);
    int64_t n_tensors = split_int(f, "split.tensors.count", -1);
    if (count != split->count)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: key 'split.count' differs: %lld here, %lld in the part that was "
                          "opened",
                          f->path, (long long)count, (long long)split->count);
    if (no != i && i == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: the first part must have 'split.no' 0, it has %lld", f->path,
                          (long long)no);
    if (no != i)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: 'split.no' %lld in part %lld (%lld expected)",
                          f->path, (long long)no, (long long)i + 1, (long long)i);
    if (n_tensors != split->n_tensors)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: key 'split.tensors.count' differs: %lld here, %lld in the part that "
                          "was opened",
                          f->path, (long long)n_tensors, (long long)split->n_tensors);
    return TAMIS_OK;
}
