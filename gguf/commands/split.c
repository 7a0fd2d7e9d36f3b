/* split.c - "gguf split": spread a model file over several. */
#include "gguf/commands/outputs.h"
#include "gguf/copy.h"

static const char summary[] = "spread a model over several files";
static const char usage[] = "[options] FILE PREFIX";

enum { DEFAULT_MAX_TENSORS = 128 };

typedef struct arguments {
    tamis_common common;
    bool keys_alone, is_dry, sync, allow_gaps;
    uint64_t max_bytes; /* UINT64_MAX: not given */
    int64_t max_tensors;
} arguments;

static tamis_status split_file(const arguments *args, const tamis_gguf *g, const char *prefix,
                               cJSON *json, tamis_error *err) {
    tamis_gguf_shards shards = {
        .max_bytes = args->max_bytes == UINT64_MAX ? 0 : args->max_bytes,
        .max_tensors = (uint64_t)args->max_tensors,
        .keys_alone = args->keys_alone,
    };
    tamis_gguf_writer *w = NULL;
    if (!shards.max_bytes && !shards.max_tensors) shards.max_tensors = DEFAULT_MAX_TENSORS;
    tamis_status st = tamis_gguf_writer_new(&w, err);
    if (!st) st = tamis_gguf_copy_prepare(w, g, err);
    if (!st) st = tamis_gguf_set_shards(w, &shards, err);
    if (!st && !args->sync) tamis_gguf_writer_skip_sync(w);
    const gguf_output_job job = {
        .common = &args->common,
        .source = g,
        .writer = w,
        .n_tensors = tamis_gguf_n_tensors(g),
        .path = prefix,
        .label = "splitting",
        .is_dry = args->is_dry,
        .has_listing = true,
        .json = json,
    };
    if (!st) st = gguf_run_output(&job, err);
    tamis_gguf_writer_free(w);
    return st;
}

static tamis_status run(void *ctx, const tamis_texts *words, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    if (words->n_items != 2)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%zu arguments given; a model file and a prefix are needed",
                          words->n_items);
    if (!args->max_bytes)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--max-size: a file must hold something");
    const tamis_gguf_options reading = {.allow_gaps = args->allow_gaps, .no_map = true, .log = log};
    const tamis_texts inputs = {.items = words->items, .n_items = 1};
    tamis_gguf *g = NULL;
    cJSON *json = gguf_new_json(&args->common, args->is_dry);
    tamis_status st = gguf_check_json_path(&args->common, &inputs, err);
    if (!st) st = tamis_gguf_open(words->items[0], &reading, &g, err);
    if (!st) st = split_file(args, g, words->items[1], json, err);
    if (!st) st = gguf_write_json(&args->common, json, err);
    tamis_gguf_close(g);
    cJSON_Delete(json);
    return st;
}

static int split_main(int argc, char **argv) {
    arguments args = {.max_bytes = UINT64_MAX};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "max-size,split-max-size,shard-size", TAMIS_OPTION_SIZE, &args.max_bytes, "SIZE", "most tensor bytes in a file, e.g. 20G (powers of 1000; padding counts, metadata does not)", 0, 0 },
        { 0, "max-tensors,split-max-tensors", TAMIS_OPTION_INT, &args.max_tensors, "N", "most tensors in a file (default: 128 when no --max-size is given)", 1, INT32_MAX },
        { 0, "no-tensor-first-split", TAMIS_OPTION_FLAG, &args.keys_alone, NULL, "the first file holds the metadata and no tensor", 0, 0 },
        { 0, "dry-run", TAMIS_OPTION_FLAG, &args.is_dry, NULL, "print the files that would be written, write nothing", 0, 0 },
        { 0, "sync", TAMIS_OPTION_FLAG, &args.sync, NULL, "wait until the files are on the disk, so that a power failure cannot harm them", 0, 0 },
        GGUF_READING_OPTIONS(&args.allow_gaps),
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf split --max-size 20G model.gguf model", "model-00001-of-0000N.gguf and so on"},
        {"gguf split --max-tensors 128 --dry-run model.gguf model", "only the plan"},
        {"gguf split --max-size 5G big-00001-of-00002.gguf small", "other sizes for a split model"},
    };
    const tamis_command command = {
        .name = "gguf split",
        .summary = summary,
        .usage = usage,
        .description =
            "The files are named PREFIX-00001-of-0000N.gguf; a \".gguf\" at the end of PREFIX is "
            "left out. They appear together when all are complete; older files of these names are "
            "replaced. Metadata goes to the first file. Tensors keep their order; one that is "
            "larger than --max-size gets a file of its own. FILE may be a part of a split model.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_split_command = {"split", summary, usage, split_main};
