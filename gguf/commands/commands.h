/* commands.h - the sub-commands of gguf, one file each, and what they share. A new one is a file
 * here and a row in main.c. They parse, call the library and print; the work is gguf.h's. */
#ifndef TAMIS_GGUF_COMMANDS_COMMANDS_H
#define TAMIS_GGUF_COMMANDS_COMMANDS_H

#include "base/sub_commands.h"
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

#endif
