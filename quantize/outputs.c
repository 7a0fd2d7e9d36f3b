/* outputs.c - the files that a plan will write, held against the files it reads and the disk. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/parse.h"
#include "quantize/quantize_internal.h"

/* Every file that is read, as tamis_output_check() wants them. Borrowed strings. */
static tamis_status list_others(const tamis_quantize_plan *plan, const char ***out, size_t *n_out,
                                tamis_error *err) {
    int32_t n_files = tamis_gguf_n_files(plan->source);
    const char **others =
        tamis_alloc_array((uint64_t)n_files + plan->n_inputs, sizeof *others, err);
    *out = others;
    if (!others) return TAMIS_NO_RESOURCE;
    size_t n = 0;
    for (int32_t i = 0; i < n_files; i++)
        others[n++] = tamis_gguf_file_path(plan->source, i);
    for (uint64_t i = 0; i < plan->n_inputs; i++)
        others[n++] = plan->inputs[i];
    *n_out = n;
    return TAMIS_OK;
}

/* Length of "<prefix>" when `name` is "<prefix>-00001-of-00003.gguf", and its count; else 0. */
static size_t set_prefix(const char *name, int64_t *count) {
    static const char ending[] = ".gguf";
    char number[24];
    size_t n = strlen(name), n_digits = 0;
    if (n <= sizeof ending - 1 || strcmp(name + n - (sizeof ending - 1), ending)) return 0;
    n -= sizeof ending - 1;
    while (n_digits < n && name[n - 1 - n_digits] >= '0' && name[n - 1 - n_digits] <= '9')
        n_digits++;
    if (n_digits < 5 || n_digits >= sizeof number) return 0;
    memcpy(number, name + n - n_digits, n_digits);
    number[n_digits] = 0;
    if (tamis_parse_int(number, 0, INT32_MAX, "count", count, NULL)) return 0;
    n -= n_digits;
    if (n < 4 || memcmp(name + n - 4, "-of-", 4)) return 0;
    n -= 4;
    n_digits = 0;
    while (n_digits < n && name[n - 1 - n_digits] >= '0' && name[n - 1 - n_digits] <= '9')
        n_digits++;
    n -= n_digits;
    return n_digits >= 5 && n > 0 && name[n - 1] == '-' ? n - 1 : 0;
}

/* Files of a set of another count under the same prefix stay; two sets side by side confuse. */
static void warn_other_sets(const tamis_quantize_plan *plan, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int64_t count = 0, other = 0;
    size_t n_prefix = set_prefix(name, &count);
    char folder[PATH_MAX];
    int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 2,
                     slash ? path : "./");
    DIR *dir = n_prefix && n < (int)sizeof folder ? opendir(folder) : NULL;
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (set_prefix(e->d_name, &other) != n_prefix || other == count) continue;
        if (memcmp(e->d_name, name, n_prefix)) continue;
        tamis_warn(plan->log, "%s%s belongs to another set of that name, of %lld files; it stays",
                   folder, e->d_name, (long long)other);
        break;
    }
    closedir(dir);
}

tamis_status outputs_check(const tamis_quantize_plan *plan, const char *path, tamis_error *err) {
    const char **others = NULL;
    size_t n_others = 0;
    uint64_t n_files = tamis_gguf_writer_n_files(plan->writer);
    tamis_status st = list_others(plan, &others, &n_others, err);
    for (uint64_t i = 0; st == TAMIS_OK && i < n_files; i++) {
        char *one = NULL;
        st = tamis_gguf_writer_path(plan->writer, path, i, &one, err);
        if (st == TAMIS_OK) st = tamis_output_check(one, others, n_others, err);
        if (st == TAMIS_OK && i == 0 && n_files > 1) warn_other_sets(plan, one);
        free(one);
    }
    if (st == TAMIS_OK) st = tamis_disk_check(path, plan->file_bytes, err);
    free(others);
    return st;
}
