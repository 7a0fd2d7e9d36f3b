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
    bool all, arch, layers, tensors, no_tensors, no_metadata, allow_gaps;
    const char *filter, *key;
} arguments;

/* --key: the value alone. A key that is not there is named with the nearest one that is. */
static tamis_status show_key(const arguments *args, const tamis_gguf *g, cJSON **json,
                             tamis_error *err) {
    tamis_gguf_kv kv;
    if (!tamis_gguf_find(g, args->key, &kv)) return tamis_gguf_fail_no_key(g, args->key, err);
    const char *json_path = args->common.json_path;
    if (!json_path || strcmp(json_path, "-")) tamis_gguf_show_raw(g, &kv, stdout);
    if (!json_path) return TAMIS_OK;
    *json = cJSON_CreateObject();
    cJSON_AddStringToObject(*json, "key", args->key);
    return tamis_gguf_show_value_json(*json, g, &kv, true, err);
}

/* A pattern that matches nothing is a mistake, not a short table. */
static tamis_status check_filter(const arguments *args, const tamis_gguf *g, tamis_error *err) {
    const tamis_gguf_show_options options = {.filter = args->filter};
    if (!args->filter || tamis_gguf_show_n_tensors(g, &options)) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_USAGE, "%s: no tensor matches '%s'", tamis_gguf_path(g),
                      args->filter);
}

static tamis_status show_file(const arguments *args, const char *path, const tamis_log *log,
                              tamis_error *err) {
    tamis_gguf_show_options options = {.no_tensors = args->no_tensors,
                                       .no_metadata = args->no_metadata,
                                       .all = args->all,
                                       .every_layer = args->layers,
                                       .filter = args->filter};
    tamis_gguf_options reading = {.allow_gaps = args->allow_gaps, .log = log};
    tamis_gguf *g = NULL;
    cJSON *json = NULL;
    tamis_status st = tamis_gguf_open(path, &reading, &g, err);
    if (st) return st;
    const char *json_path = args->common.json_path;
    st = check_filter(args, g, err);
    if (!st && args->key)
        st = show_key(args, g, &json, err);
    else if (!st && (!json_path || strcmp(json_path, "-")))
        st = (args->arch ? tamis_gguf_show_arch : tamis_gguf_show_text)(g, &options, stdout, err);
    if (!st && json_path && args->arch)
        st = tamis_gguf_show_arch_json(g, &json, err);
    else if (!st && json_path && !args->key)
        st = tamis_gguf_show_json(g, &options, &json, err);
    if (!st && json_path) st = tamis_json_write(json, json_path, err);
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
    if (args->arch && (args->key || args->filter))
        return tamis_fail(err, TAMIS_BAD_USAGE, "--arch and --%s exclude each other",
                          args->key ? "key" : "filter");
    tamis_status st = gguf_check_json_path(&args->common, files, err);
    for (size_t i = 0; !st && i < files->n_items; i++) {
        if (i && !args->key) putchar('\n');
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
        { 0, "arch",       TAMIS_OPTION_FLAG, &args.arch,       NULL, "the model's layers as a table, nothing else: mixer, heads, window, feed-forward, experts, weights, types", 0, 0 },
        { 0, "layers",     TAMIS_OPTION_FLAG, &args.layers,     NULL, "a row for every layer, not for each run of equal ones", 0, 0 },
        { 0, "no-tensors", TAMIS_OPTION_FLAG, &args.no_tensors, NULL, "leave the tensor table out", 0, 0 },
        { 0, "no-metadata", TAMIS_OPTION_FLAG, &args.no_metadata, NULL, "leave the metadata out", 0, 0 },
        { 0, "filter",     TAMIS_OPTION_TEXT, &args.filter, "PATTERN", "only tensors whose names match, as in a shell ('*ffn_down*')", 0, 0 },
        { 0, "key",        TAMIS_OPTION_TEXT, &args.key, "KEY", "print the value of KEY and nothing else: whole, unescaped, arrays one element a line", 0, 0 },
        GGUF_READING_OPTIONS(&args.allow_gaps),
        TAMIS_COMMON_OPTIONS_LIGHT(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf show model.gguf", "header, metadata, tensors and totals"},
        {"gguf show --no-tensors --all model.gguf", "metadata only, nothing shortened"},
        {"gguf show --no-metadata --filter '*_exps*' model.gguf",
         "the experts and what they add up to"},
        {"gguf show --arch model.gguf", "what its layers are made of"},
        {"gguf show --key general.name model.gguf", "one value, for scripts"},
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
