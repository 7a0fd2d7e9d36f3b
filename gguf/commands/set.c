/* set.c - "gguf set": change or add keys of a model file. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/commands/edit_job.h"

static const char summary[] = "change or add keys of a model file";
static const char usage[] = "[options] FILE KEY=[TYPE:]VALUE...";

/* The assignments, behind the file. */
static tamis_status assign_all(void *ctx, tamis_gguf_edit *edit, tamis_error *err) {
    const tamis_texts *words = ctx;
    tamis_status st = TAMIS_OK;
    for (size_t i = 1; !st && i < words->n_items; i++) {
        const char *word = words->items[i], *equals = strchr(word, '=');
        char *key = tamis_copy_text(word, (size_t)(equals - word), err);
        st = key ? tamis_gguf_edit_assign(edit, key, equals + 1, err) : TAMIS_NO_RESOURCE;
        free(key);
    }
    return st;
}

static tamis_status run(void *ctx, const tamis_texts *words, const tamis_log *log,
                        tamis_error *err) {
    if (words->n_items < 2)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "a model file and at least one KEY=VALUE are needed");
    for (size_t i = 1; i < words->n_items; i++) {
        const char *equals = strchr(words->items[i], '=');
        if (!equals || equals == words->items[i])
            return tamis_fail(err, TAMIS_BAD_USAGE, "'%s' is not KEY=[TYPE:]VALUE",
                              words->items[i]);
    }
    return gguf_run_edit(ctx, words->items[0], assign_all, (void *)(uintptr_t)words, log, err);
}

static int set_main(int argc, char **argv) {
    gguf_edit_options args = {0};
    /* clang-format off */
    const tamis_option options[] = { GGUF_EDIT_OPTIONS(&args) };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf set model.gguf general.name=\"My model\"", "the key keeps its kind"},
        {"gguf set model.gguf tokenizer.ggml.eos_token_id='token:<|im_end|>'",
         "a token by its text"},
        {"gguf set model.gguf x.layers=arr[u32]:1,2,3 general.tags='json:[\"a\",\"b\"]'", "arrays"},
        {"gguf set model.gguf general.description=str:@card.md -o new.gguf", "from a file, a copy"},
    };
    const tamis_command command = {
        .name = "gguf set",
        .summary = summary,
        .usage = usage,
        .description =
            "TYPE is u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool or str; arr[TYPE] for a "
            "list with commas between; json for a JSON value; token for the id of the token with "
            "that text; int or float. Without TYPE the key keeps the kind it has, or gets the one "
            "that the format fixes for it. VALUE is read from a file as @PATH (@@ begins a text "
            "with @).\n"
            "A change that keeps the size of the value and lies within one disk sector is made in "
            "place; else the file is written anew beside the old one and replaces it when it is "
            "complete. Of a split model only the first file is touched. Keys that tensors or "
            "vocabulary depend on need --force, and what gguf could not read is never written.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_set_command = {"set", summary, usage, set_main};
