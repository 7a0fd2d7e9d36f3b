/* merge.c - "gguf merge": make one file of a split model. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "gguf/commands/outputs.h"
#include "gguf/copy.h"

static const char summary[] = "make one file of a split model";
static const char usage[] = "[options] PART... OUT";

typedef struct arguments {
    tamis_common common;
    bool is_dry, delete_parts, sync, allow_gaps;
} arguments;

/* The first argument opened the set; the others must be files of it. */
static tamis_status check_parts(const tamis_gguf *g, const tamis_texts *words, tamis_error *err) {
    tamis_gguf_kv kv;
    if (tamis_gguf_n_files(g) == 1 && !tamis_gguf_find(g, "split.count", &kv))
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "%s: not a part of a split model (no key 'split.count'); there is nothing "
            "to merge",
            tamis_gguf_path(g));
    for (size_t i = 1; i + 1 < words->n_items; i++)
        if (!tamis_gguf_has_file(g, words->items[i]))
            return tamis_fail(err, TAMIS_BAD_USAGE, "'%s' is not a part of the same model as '%s'",
                              words->items[i], words->items[0]);
    return TAMIS_OK;
}

/* Remove the parts once the output holds what they hold. */
static tamis_status delete_parts(const arguments *args, const tamis_gguf *g, const char *path,
                                 tamis_error *err) {
    uint64_t n_bytes = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++)
        n_bytes += tamis_gguf_tensor_at(g, i)->n_bytes;
    tamis_progress *progress = tamis_progress_new(stderr, args->common.quiet);
    tamis_progress_begin(progress, "reading back", n_bytes, "B");
    tamis_status st = tamis_gguf_copy_verify(g, path, progress, err);
    tamis_progress_end(progress);
    tamis_progress_free(progress);
    for (int32_t i = tamis_gguf_n_files(g) - 1; !st && i >= 0; i--)
        if (unlink(tamis_gguf_file_path(g, i)) != 0)
            st = tamis_fail_errno(err, TAMIS_NO_RESOURCE, "'%s' is complete; cannot remove '%s'",
                                  path, tamis_gguf_file_path(g, i));
    return st;
}

static tamis_status merge_set(const arguments *args, const tamis_gguf *g, const char *path,
                              cJSON *json, tamis_error *err) {
    tamis_gguf_writer *w = NULL;
    tamis_status st = tamis_gguf_writer_new(&w, err);
    if (!st) st = tamis_gguf_copy_prepare(w, g, err);
    if (!st && !args->sync && !args->delete_parts) tamis_gguf_writer_skip_sync(w);
    const gguf_output_job job = {
        .common = &args->common,
        .source = g,
        .writer = w,
        .n_tensors = tamis_gguf_n_tensors(g),
        .path = path,
        .label = "merging",
        .is_dry = args->is_dry,
        .has_listing = true,
        .json = json,
    };
    if (!st) st = gguf_run_output(&job, err);
    tamis_gguf_writer_free(w);
    if (!st && args->delete_parts && !args->is_dry) st = delete_parts(args, g, path, err);
    return st;
}

static tamis_status run(void *ctx, const tamis_texts *words, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    if (words->n_items < 2)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%zu arguments given; a part of the model and an output are needed",
                          words->n_items);
    const tamis_gguf_options reading = {.allow_gaps = args->allow_gaps, .no_map = true, .log = log};
    const tamis_texts inputs = {.items = words->items, .n_items = words->n_items - 1};
    tamis_gguf *g = NULL;
    cJSON *json = gguf_new_json(&args->common, args->is_dry);
    tamis_status st = gguf_check_json_path(&args->common, &inputs, err);
    if (!st) st = tamis_gguf_open(words->items[0], &reading, &g, err);
    if (!st) st = check_parts(g, words, err);
    if (!st) st = merge_set(args, g, words->items[words->n_items - 1], json, err);
    if (!st) st = gguf_write_json(&args->common, json, err);
    tamis_gguf_close(g);
    cJSON_Delete(json);
    return st;
}

static int merge_main(int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "delete,delete-splits", TAMIS_OPTION_FLAG, &args.delete_parts, NULL, "remove the parts once the output is written, read back and found equal to them", 0, 0 },
        { 0, "dry-run", TAMIS_OPTION_FLAG, &args.is_dry, NULL, "print the file that would be written, write nothing", 0, 0 },
        { 0, "sync", TAMIS_OPTION_FLAG, &args.sync, NULL, "wait until the output is on the disk, so that a power failure cannot harm it (--delete does)", 0, 0 },
        GGUF_READING_OPTIONS(&args.allow_gaps),
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf merge model-00001-of-00003.gguf model.gguf", "the other parts are found by name"},
        {"gguf merge --delete model-*.gguf /data/model.gguf", "and the parts are removed"},
    };
    const tamis_command command = {
        .name = "gguf merge",
        .summary = summary,
        .usage = usage,
        .description =
            "PART is any file of the set; all of its files must be there, complete, and agree "
            "about their numbers. OUT appears when it is complete; an older file of that name is "
            "replaced. Its metadata is that of the first part without the split.* keys, its "
            "tensors those of all parts in order.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_merge_command = {"merge", summary, usage, merge_main};
