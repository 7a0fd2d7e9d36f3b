/* commands.h - the sub-commands of imatrix, one file each, and what they and the plain run share.
 * They parse, call the library and print. */
#ifndef TAMIS_IMATRIX_COMMANDS_COMMANDS_H
#define TAMIS_IMATRIX_COMMANDS_COMMANDS_H

#include "base/json.h"
#include "base/sub_commands.h"
#include "imatrix/imatrix_file.h"
#include "imatrix/matrix.h"

#define N_OF(table) (sizeof(table) / sizeof(table)[0])

enum { IMATRIX_RARE_TOKENS = 32, IMATRIX_RARE_SHOWN = 10 };

extern const tamis_sub_command imatrix_show_command, imatrix_statistics_command,
    imatrix_merge_command, imatrix_diff_command;

/* clang-format off */
#define IMATRIX_RARE_OPTION(rare) \
    { 0, "rare", TAMIS_OPTION_INT, rare, "N", "list the experts that saw fewer than N tokens (default: 32, 0: none)", 0, INT32_MAX }
#define IMATRIX_LAYOUT_OPTION(layout) \
    { 0, "output-format", TAMIS_OPTION_TEXT, layout, "gguf|dat", "layout to write: GGUF (default) or the legacy one, which keeps no counts per expert", 0, 0 }
/* clang-format on */

/* File names given one by one or with commas between them. */
typedef struct imatrix_names {
    char *text;         /* the names, cut apart */
    const char **items; /* [n_items], into text */
    size_t n_items;
} imatrix_names;
tamis_status imatrix_names_split(const tamis_texts *given, imatrix_names *out,
                                 tamis_error *err) TAMIS_MUST_USE;
void imatrix_names_release(imatrix_names *names);

/* What --output-format asks for (one of its words; NULL: GGUF). *output NULL becomes the layout's
 * usual name; one that ends like the other layout's gets a warning. */
tamis_imatrix_layout imatrix_choose_layout(const char *asked, const char **output,
                                           const tamis_log *log);

/* True when results as text belong on standard output: not when --json took it. */
bool imatrix_prints_text(const tamis_common *common);

/* Refuse a --json path that is one of the inputs, or cannot be written. */
tamis_status imatrix_check_json_path(const tamis_common *common, const char *const *inputs,
                                     size_t n_inputs, tamis_error *err) TAMIS_MUST_USE;

/* Numbers of weights, columns, experts; at most n_shown experts that saw fewer than n_rare tokens
 * (n_shown < 0: all). */
void imatrix_print_summary(const tamis_imatrix *m, int64_t n_rare, int64_t n_shown);

/* "datasets", "chunk_count", "chunk_size" and "entries" with their counts; "rare_experts" below
 * n_rare. */
void imatrix_add_matrix_json(cJSON *root, const tamis_imatrix *m, int64_t n_rare);

/* Load files and write their sum; the whole of "imatrix merge" and of a run without text. */
typedef struct imatrix_merge_request {
    const tamis_common *common;
    const imatrix_names *files;
    const char *output;
    tamis_imatrix_layout layout;
    int64_t chunk_size; /* 0: not given */
    int64_t n_rare;
} imatrix_merge_request;
tamis_status imatrix_merge_files(const imatrix_merge_request *request, const tamis_log *log,
                                 tamis_error *err) TAMIS_MUST_USE;

/* Before a run with chunks of n_ctx tokens: the sum of the files, into *earlier (initialised),
 * which must be of the model's shapes. After it: their sum and the run's, into *run. Nothing
 * without files. */
tamis_status imatrix_load_files(const imatrix_names *files, const char *model, int64_t n_ctx,
                                const tamis_log *log, tamis_imatrix *earlier,
                                tamis_error *err) TAMIS_MUST_USE;
tamis_status imatrix_add_files(const imatrix_names *files, tamis_imatrix *earlier,
                               tamis_imatrix *run, const tamis_log *log,
                               tamis_error *err) TAMIS_MUST_USE;

/* The tables of "imatrix statistics" and --show-statistics for the sum of the files. */
tamis_status imatrix_show_statistics(const tamis_common *common, const imatrix_names *files,
                                     int64_t chunk_size, const tamis_log *log,
                                     tamis_error *err) TAMIS_MUST_USE;

#endif
