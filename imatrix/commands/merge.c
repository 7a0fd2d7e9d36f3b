/* merge.c - "imatrix merge": add importance matrices up, or write one in the other layout. */
#include <stdio.h>
#include <string.h>

#include "base/atomic_file.h"
#include "imatrix/commands/commands.h"
#include "imatrix/merge.h"

static const char summary[] = "add importance matrices up, or convert one";
static const char usage[] = "[options] -o OUT FILE...";

static tamis_status check_outputs(const imatrix_merge_request *r, tamis_error *err) {
    tamis_status st = tamis_output_check(r->output, r->files->items, r->files->n_items, err);
    if (!st) st = imatrix_check_json_path(r->common, r->files->items, r->files->n_items, err);
    if (!st) st = imatrix_check_json_path(r->common, &r->output, 1, err);
    return st;
}

static tamis_status write_json(const imatrix_merge_request *r, const tamis_imatrix *m,
                               tamis_error *err) {
    cJSON *root = cJSON_CreateObject();
    tamis_json_add_bytes(root, "output", r->output, strlen(r->output));
    tamis_json_add_uint(root, "files", r->files->n_items);
    imatrix_add_matrix_json(root, m, r->n_rare);
    tamis_status st = tamis_json_write(root, r->common->json_path, err);
    cJSON_Delete(root);
    return st;
}

tamis_status imatrix_merge_files(const imatrix_merge_request *r, const tamis_log *log,
                                 tamis_error *err) {
    tamis_imatrix m;
    tamis_imatrix_init(&m);
    tamis_status st = check_outputs(r, err);
    if (!st)
        st = tamis_imatrix_load_merged(r->files->items, r->files->n_items, (uint32_t)r->chunk_size,
                                       log, &m, err);
    if (!st) st = tamis_imatrix_save_as(&m, r->output, r->layout, log, err);
    if (!st && r->common->json_path) st = write_json(r, &m, err);
    if (!st && imatrix_prints_text(r->common)) {
        printf("%zu file%s: %u chunks of %u tokens\n", r->files->n_items,
               r->files->n_items == 1 ? "" : "s", m.chunk_count, m.chunk_size);
        imatrix_print_summary(&m, r->n_rare, IMATRIX_RARE_SHOWN);
    }
    if (!st) tamis_info(log, "wrote '%s'", r->output);
    tamis_imatrix_release(&m);
    return st;
}

tamis_status imatrix_load_files(const imatrix_names *files, const char *model, int64_t n_ctx,
                                const tamis_log *log, tamis_imatrix *earlier, tamis_error *err) {
    if (!files->n_items) return TAMIS_OK;
    tamis_status st =
        tamis_imatrix_load_merged(files->items, files->n_items, (uint32_t)n_ctx, log, earlier, err);
    if (!st) st = tamis_imatrix_check_model(earlier, files->items, model, err);
    return st;
}

tamis_status imatrix_add_files(const imatrix_names *files, tamis_imatrix *earlier,
                               tamis_imatrix *run, const tamis_log *log, tamis_error *err) {
    if (!files->n_items) return TAMIS_OK;
    return tamis_imatrix_merge_run(earlier, files->items, files->n_items, run, "this run", log,
                                   err);
}

typedef struct arguments {
    tamis_common common;
    const char *output, *layout;
    int64_t chunk_size, n_rare;
} arguments;

static tamis_status run(void *ctx, const tamis_texts *positional, const tamis_log *log,
                        tamis_error *err) {
    arguments *args = ctx;
    const imatrix_names files = {.items = positional->items, .n_items = positional->n_items};
    if (!files.n_items) return tamis_fail(err, TAMIS_BAD_USAGE, "no file given");
    if (!args->output) return tamis_fail(err, TAMIS_BAD_USAGE, "no output given (-o FILE)");
    const imatrix_merge_request request = {
        .common = &args->common,
        .files = &files,
        .output = args->output,
        .layout = imatrix_choose_layout(args->layout, &args->output, log),
        .chunk_size = args->chunk_size,
        .n_rare = args->n_rare,
    };
    return imatrix_merge_files(&request, log, err);
}

static int merge_main(int argc, char **argv) {
    arguments args = {.n_rare = IMATRIX_RARE_TOKENS};
    /* clang-format off */
    const tamis_option options[] = {
        { 'o', "output,output-file", TAMIS_OPTION_TEXT, &args.output, "FILE", "importance matrix to write", 0, 0 },
        IMATRIX_LAYOUT_OPTION(&args.layout),
        { 'c', "ctx,ctx-size", TAMIS_OPTION_INT, &args.chunk_size, "N", "tokens per chunk of the result and of legacy files, which do not say (default: that of the first file that says, else 512)", 1, 1 << 24 },
        IMATRIX_RARE_OPTION(&args.n_rare),
        TAMIS_COMMON_OPTIONS_LIGHT(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"imatrix merge -o all.gguf prose.gguf code.gguf chat.gguf", "three runs as one"},
        {"imatrix merge -o imatrix.gguf -c 512 imatrix.dat", "a legacy file as GGUF"},
        {"imatrix merge --output-format dat -o imatrix.dat imatrix.gguf", "and back"},
    };
    const tamis_command command = {
        .name = "imatrix merge",
        .summary = summary,
        .usage = usage,
        .description =
            "Sums and counts of equal names are added in the order of the files; entries that only "
            "some files have stay as they are, with a warning. Files of different models (no name "
            "in common, or other sizes) are refused. Values of legacy files are means per chunk: "
            "they are scaled by the tokens per chunk.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command imatrix_merge_command = {"merge", summary, usage, merge_main};
