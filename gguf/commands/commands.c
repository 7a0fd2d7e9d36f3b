/* commands.c - what the sub-commands share. */
#include "gguf/commands/commands.h"

#include <string.h>

#include "base/atomic_file.h"

tamis_status gguf_check_json_path(const tamis_common *common, const tamis_texts *inputs,
                                  tamis_error *err) {
    const char *path = common->json_path;
    if (!path || strcmp(path, "-") == 0) return TAMIS_OK;
    return tamis_output_check(path, inputs->items, inputs->n_items, err);
}
