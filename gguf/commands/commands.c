/* commands.c - what the sub-commands share. */
#include "gguf/commands/commands.h"

#include <string.h>

#include "base/atomic_file.h"
#include "base/parse.h"
#include "base/terminal.h"

tamis_status gguf_check_json_path(const tamis_common *common, const tamis_texts *inputs,
                                  tamis_error *err) {
    const char *path = common->json_path;
    if (!path || strcmp(path, "-") == 0) return TAMIS_OK;
    return tamis_output_check(path, inputs->items, inputs->n_items, err);
}

tamis_status gguf_pool_new(const tamis_common *common, uint64_t base_bytes, uint64_t worker_bytes,
                           tamis_pool **out, tamis_error *err) {
    int64_t n = common->n_threads ? common->n_threads : tamis_n_cores();
    const uint64_t limit = common->mem_bytes;
    if (limit && limit < base_bytes + worker_bytes) {
        char need[32], allowed[32];
        return tamis_fail(err, TAMIS_NO_RESOURCE, "%s of memory are needed, --mem allows %s",
                          tamis_format_size(base_bytes + worker_bytes, need, sizeof need),
                          tamis_format_size(limit, allowed, sizeof allowed));
    }
    if (limit && (limit - base_bytes) / worker_bytes < (uint64_t)n)
        n = (int64_t)((limit - base_bytes) / worker_bytes);
    return tamis_pool_new((int)n, out, err);
}

void gguf_clear_bar(void) {
    if (tamis_terminal_can_redraw(stderr)) fputs("\r\033[K", stderr);
}
