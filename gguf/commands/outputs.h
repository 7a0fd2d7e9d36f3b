/* outputs.h - what the sub-commands that write model files share: a plan printed, checked,
 * carried out, reported. */
#ifndef TAMIS_GGUF_COMMANDS_OUTPUTS_H
#define TAMIS_GGUF_COMMANDS_OUTPUTS_H

#include "base/json.h"
#include "gguf/commands/commands.h"

typedef struct gguf_output_job {
    const tamis_common *common;
    const tamis_gguf *source;
    tamis_gguf_writer *writer; /* prepared; its tensors are the first n_tensors of source */
    int64_t n_tensors;
    const char *path;  /* of the output, or the prefix of its files */
    const char *label; /* of the progress bar: "merging" */
    bool is_replacing; /* the output takes the place of an input */
    bool is_dry;       /* say what would be written */
    bool has_listing;  /* a line per file on standard output, unless --quiet (but with is_dry) */
    cJSON *json;       /* members "files" and "total_bytes" are added; may be NULL */
} gguf_output_job;

/* Check, write, report. */
tamis_status gguf_run_output(const gguf_output_job *job, tamis_error *err) TAMIS_MUST_USE;

/* --mem against what copying this source takes. */
tamis_status gguf_check_memory(const tamis_common *common, const tamis_gguf *source,
                               tamis_error *err) TAMIS_MUST_USE;
/* Standard output is free for lines: --json - does not own it. */
bool gguf_wants_text(const tamis_common *common);
/* The results for --json, NULL without it: an object with "dry_run". Free with cJSON_Delete(). */
cJSON *gguf_new_json(const tamis_common *common, bool is_dry);
/* Write the results where --json says; `json` may be NULL. */
tamis_status gguf_write_json(const tamis_common *common, const cJSON *json,
                             tamis_error *err) TAMIS_MUST_USE;

#endif
