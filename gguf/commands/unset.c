/* unset.c - "gguf unset": remove keys of a model file. */
#include "gguf/commands/edit_job.h"

static const char summary[] = "remove keys of a model file";
static const char usage[] = "[options] FILE KEY...";

typedef struct arguments {
    gguf_edit_options edit;
    bool is_lax;
} arguments;

typedef struct removal {
    const tamis_texts *words; /* the keys, behind the file */
    bool is_lax;
} removal;

static tamis_status remove_all(void *ctx, tamis_gguf_edit *edit, tamis_error *err) {
    const removal *r = ctx;
    tamis_status st = TAMIS_OK;
    for (size_t i = 1; !st && i < r->words->n_items; i++)
        st = tamis_gguf_edit_remove(edit, r->words->items[i], r->is_lax, err);
    return st;
}

static tamis_status run(void *ctx, const tamis_texts *words, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    removal r = {words, args->is_lax};
    if (words->n_items < 2)
        return tamis_fail(err, TAMIS_BAD_USAGE, "a model file and at least one key are needed");
    return gguf_run_edit(&args->edit, words->items[0], remove_all, &r, log, err);
}

static int unset_main(int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "lax,ignore-missing", TAMIS_OPTION_FLAG, &args.is_lax, NULL, "a key that is not there is no error", 0, 0 },
        GGUF_EDIT_OPTIONS(&args.edit),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf unset model.gguf general.url general.source.url", "remove two keys"},
        {"gguf unset --lax merged.gguf split.no split.count split.tensors.count",
         "what llama-gguf-split --merge leaves"},
    };
    const tamis_command command = {
        .name = "gguf unset",
        .summary = summary,
        .usage = usage,
        .description = "The file is written anew beside the old one and replaces it when it is "
                       "complete; of a split model only the first file. Keys that tensors or "
                       "vocabulary depend on need --force.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.edit.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_unset_command = {"unset", summary, usage, unset_main};
