/* outputs.c - the files that a plan will write, held against the files it reads and the disk. */
#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/parse.h"
#include "quantize/quantize_internal.h"

#include <stdlib.h>

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

static tamis_status check_space(const tamis_quantize_plan *plan, const char *path,
                                tamis_error *err) {
    uint64_t n_free;
    tamis_status st = tamis_disk_free_bytes(path, &n_free, err);
    if (st) return st;
    if (n_free >= plan->file_bytes) return TAMIS_OK;
    char need[32], have[32];
    return tamis_fail(err, TAMIS_NO_RESOURCE, "%s: needs %s, the disk has %s free", path,
                      tamis_format_size(plan->file_bytes, need, sizeof need),
                      tamis_format_size(n_free, have, sizeof have));
}

tamis_status outputs_check(const tamis_quantize_plan *plan, const char *path, tamis_error *err) {
    const char **others = NULL;
    size_t n_others = 0;
    tamis_status st = list_others(plan, &others, &n_others, err);
    if (st == TAMIS_OK) st = tamis_output_check(path, others, n_others, err);
    if (st == TAMIS_OK) st = check_space(plan, path, err);
    free(others);
    return st;
}
