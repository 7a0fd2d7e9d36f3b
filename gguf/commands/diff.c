/* diff.c - "gguf diff": what two model files say differently. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "gguf/commands/commands.h"
#include "gguf/diff.h"

static const char summary[] = "compare two model files: metadata, tensors, values";
static const char usage[] = "[options] A B";

/* Memory behind the metadata, and of a thread. */
enum { BASE_BYTES = 4 << 20, WORKER_BYTES = 2 << 20 };

typedef struct arguments {
    tamis_common common;
    bool metadata_only, no_values, all, allow_gaps;
    int64_t n_top;
} arguments;

static tamis_status compare(const arguments *args, const tamis_gguf *a, const tamis_gguf *b,
                            tamis_error *err) {
    tamis_diff_options options = {.metadata_only = args->metadata_only,
                                  .no_values = args->no_values};
    tamis_gguf_diff diff = {0};
    const char *json_path = args->common.json_path;
    tamis_status st = gguf_pool_new(&args->common, BASE_BYTES, WORKER_BYTES, &options.pool, err);
    if (st) return st;
    options.progress = tamis_progress_new(stderr, args->common.quiet);
    st = tamis_gguf_diff_files(a, b, &options, &diff, err);
    tamis_progress_free(options.progress);
    tamis_pool_free(options.pool);
    if (st) return st;
    if (!json_path || strcmp(json_path, "-"))
        st = tamis_diff_show_text(&diff, (uint64_t)args->n_top, args->all, stdout, err);
    if (!st && json_path) {
        cJSON *json = tamis_diff_show_json(&diff);
        st = tamis_json_write(json, json_path, err);
        cJSON_Delete(json);
    }
    if (!st && !tamis_diff_is_equal(&diff))
        st = tamis_fail(err, TAMIS_CHECK_FAILED, "'%s' and '%s' differ", tamis_gguf_path(a),
                        tamis_gguf_path(b));
    tamis_diff_release(&diff);
    return st;
}

static tamis_status run(void *ctx, const tamis_texts *files, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    const tamis_gguf_options reading = {.allow_gaps = args->allow_gaps, .no_map = true, .log = log};
    tamis_gguf *a = NULL, *b = NULL;
    if (files->n_items != 2)
        return tamis_fail(err, TAMIS_BAD_USAGE, "two files are needed, %zu given", files->n_items);
    tamis_status st = gguf_check_json_path(&args->common, files, err);
    if (!st) st = tamis_gguf_open(files->items[0], &reading, &a, err);
    if (!st) st = tamis_gguf_open(files->items[1], &reading, &b, err);
    if (!st) st = compare(args, a, b, err);
    tamis_gguf_close(a);
    tamis_gguf_close(b);
    return st;
}

static const char description[] =
    "A is the reference: errors are relative to its values. Tensors of two types are compared as "
    "they decode; 'differ' is the share of values that are not equal, 'rms rel' the root of the "
    "sum of (a - b)^2 over the sum of a^2. Either file may be any part of a split model. Exit code "
    "0 when the files say the same, 1 when they differ; how a model is cut into files (split.*) "
    "and the order of tensors are shown and are no difference.";

static int diff_main(int argc, char **argv) {
    arguments args = {.n_top = 20};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "metadata-only", TAMIS_OPTION_FLAG, &args.metadata_only, NULL, "no tensors", 0, 0 },
        { 0, "no-values", TAMIS_OPTION_FLAG, &args.no_values, NULL, "names, shapes and types of tensors, not their data", 0, 0 },
        { 0, "top", TAMIS_OPTION_INT, &args.n_top, "N", "tensors listed, the largest relative error first (default: 20)", 0, INT32_MAX },
        { 0, "all", TAMIS_OPTION_FLAG, &args.all, NULL, "list every tensor, equal ones too", 0, 0 },
        GGUF_READING_OPTIONS(&args.allow_gaps),
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf diff parent.gguf quant.gguf", "what quantizing did to each tensor"},
        {"gguf diff --metadata-only a.gguf b.gguf", "keys alone"},
        {"gguf diff --all --json diff.json a.gguf b.gguf", "everything, as JSON too"},
    };
    const tamis_command command = {
        .name = "gguf diff",
        .summary = summary,
        .usage = usage,
        .description = description,
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_diff_command = {"diff", summary, usage, diff_main};
