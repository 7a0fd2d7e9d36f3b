/* edit_job.h - what the sub-commands that change keys share: set, unset and template. */
#ifndef TAMIS_GGUF_COMMANDS_EDIT_JOB_H
#define TAMIS_GGUF_COMMANDS_EDIT_JOB_H

#include "gguf/commands/outputs.h"
#include "gguf/edit.h"

typedef struct gguf_edit_options {
    tamis_common common;
    const char *output; /* NULL: the file itself is changed */
    uint64_t shard_bytes;
    bool is_forced, is_dry, allow_gaps;
} gguf_edit_options;

/* clang-format off */
#define GGUF_EDIT_OPTIONS(o) \
    { 'o', "output", TAMIS_OPTION_TEXT, &(o)->output, "FILE", "write a copy, all parts of a split model in one, and leave the model as it is", 0, 0 }, \
    { 0, "shard-size,max-size,split-max-size", TAMIS_OPTION_SIZE, &(o)->shard_bytes, "SIZE", "spread the copy over files of at most so many tensor bytes", 0, 0 }, \
    { 0, "force", TAMIS_OPTION_FLAG, &(o)->is_forced, NULL, "change keys that tensors or vocabulary depend on, too", 0, 0 }, \
    { 0, "dry-run", TAMIS_OPTION_FLAG, &(o)->is_dry, NULL, "print old and new values, write nothing", 0, 0 }, \
    GGUF_READING_OPTIONS(&(o)->allow_gaps), \
    TAMIS_COMMON_OPTIONS(&(o)->common)
/* clang-format on */

/* Puts the changes into an edit. */
typedef tamis_status gguf_edit_fn(void *ctx, tamis_gguf_edit *edit, tamis_error *err);

/* Open `path`, change it, report, save. */
tamis_status gguf_run_edit(const gguf_edit_options *options, const char *path, gguf_edit_fn *change,
                           void *ctx, const tamis_log *log, tamis_error *err) TAMIS_MUST_USE;

#endif
