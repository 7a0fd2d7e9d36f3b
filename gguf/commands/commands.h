/* commands.h - the sub-commands of gguf, one file each, and what they share. A new one is a file
 * here and a row in main.c. They parse, call the library and print; the work is gguf.h's. */
#ifndef TAMIS_GGUF_COMMANDS_COMMANDS_H
#define TAMIS_GGUF_COMMANDS_COMMANDS_H

#include "base/sub_commands.h"
#include "base/threads.h"
#include "gguf/gguf.h"

#define N_OF(table) (sizeof(table) / sizeof(table)[0])

extern const tamis_sub_command gguf_show_command, gguf_check_command, gguf_hash_command;
extern const tamis_sub_command gguf_diff_command;
extern const tamis_sub_command gguf_split_command, gguf_merge_command;
extern const tamis_sub_command gguf_set_command, gguf_unset_command, gguf_template_command;

/* clang-format off */
/* How a file is read: a bool for --allow-gaps. */
#define GGUF_READING_OPTIONS(allow_gaps) \
    { 0, "allow-gaps", TAMIS_OPTION_FLAG, allow_gaps, NULL, "read files with unused bytes between tensors", 0, 0 }
/* clang-format on */

/* --json takes a file name, so that "--json model.gguf" alone would replace the model: refuse one
 * of the inputs, and a path that cannot be written. */
tamis_status gguf_check_json_path(const tamis_common *common, const tamis_texts *inputs,
                                  tamis_error *err) TAMIS_MUST_USE;

/* Workers for a command that needs base_bytes of memory and worker_bytes for each of them: as many
 * as --threads says, fewer when --mem holds no more. TAMIS_NO_RESOURCE when it does not hold one.
 */
tamis_status gguf_pool_new(const tamis_common *common, uint64_t base_bytes, uint64_t worker_bytes,
                           tamis_pool **out, tamis_error *err) TAMIS_MUST_USE;
/* To be called before a result is printed on a terminal on which a progress bar may stand. */
void gguf_clear_bar(void);

#endif
