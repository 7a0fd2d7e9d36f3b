/* show.c - "gguf show": print what a model file holds. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "gguf/commands/commands.h"
#include "gguf/show.h"

static const char summary[] = "print what a model file holds";
static const char usage[] = "[options] FILE...";

typedef struct arguments {
    tamis_common common;
    bool all, tensors, no_tensors, allow_gaps;
} arguments;

static tamis_status show_file(const arguments *args, const char *path, const tamis_log *log,
                              tamis_error *err) {
    tamis_gguf_show_options options = {.no_tensors = args->no_tensors, .all = args->all};
    tamis_gguf_options reading = {.allow_gaps = args->allow_gaps, .log = log};
    tamis_gguf *g = NULL;
    cJSON *json = NULL;
    tamis_status st = tamis_gguf_open(path, &reading, &g, err);
    if (st) return st;
    const char *json_path = args->common.json_path;
    if (!json_path || strcmp(json_path, "-")) tamis_gguf_show_text(g, &options, stdout);
    if (json_path) {
        st = tamis_gguf_show_json(g, &options, &json, err);
        if (!st) st = tamis_json_write(json, json_path, err);
    }
    cJSON_Delete(json);
    tamis_gguf_close(g);
    return st;
}

static tamis_status run(void *ctx, const tamis_texts *files, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    if (!files->n_items) return tamis_fail(err, TAMIS_BAD_USAGE, "no file given");
    if (args->common.json_path && files->n_items > 1)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--json takes one file at a time");
    tamis_status st = gguf_check_json_path(&args->common, files, err);
    for (size_t i = 0; !st && i < files->n_items; i++) {
        if (i) putchar('\n');
        st = show_file(args, files->items[i], log, err);
    }
    return st;
}

static int show_main(int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "all",        TAMIS_OPTION_FLAG, &args.all,        NULL, "print whole strings and arrays", 0, 0 },
        { 0, "tensors",    TAMIS_OPTION_FLAG, &args.tensors,    NULL, "print the tensor table (default)", 0, 0 },
        { 0, "no-tensors", TAMIS_OPTION_FLAG, &args.no_tensors, NULL, "leave the tensor table out", 0, 0 },
        GGUF_READING_OPTIONS(&args.allow_gaps),
        TAMIS_COMMON_OPTIONS_LIGHT(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf show model.gguf", "header, metadata, tensors and totals"},
        {"gguf show --no-tensors --all model.gguf", "metadata only, nothing shortened"},
        {"gguf show --json - model.gguf", "everything as JSON on standard output"},
    };
    const tamis_command command = {
        .name = "gguf show",
        .summary = summary,
        .usage = usage,
        .description = "FILE may be any part of a split model: the whole set is opened. A file "
                       "that breaks the container's rules is refused with the reason.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_show_command = {"show", summary, usage, show_main};
