/* main.c - the imatrix tool: the run over a text, which needs no sub-command's name, and the table
 * of the sub-commands in imatrix/commands/. Parses arguments, calls imatrix.h, prints. */
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/terminal.h"
#include "imatrix/commands/commands.h"
#include "imatrix/imatrix.h"
#include "imatrix/merge.h"

struct arguments {
    tamis_common common;
    const char *model, *output, *engine;
    tamis_texts texts, text_weights;
    int64_t n_ctx, first_chunk, n_chunks, n_rare; /* n_ctx 0: not given */
    int64_t output_frequency, save_frequency;     /* -1: not given */
    bool with_output, all_experts, no_mtp, parse_special, ppl, no_ppl, statistics;
    int64_t checkpoint_every_s;
    bool resume, no_checkpoint;
    tamis_texts in_files;     /* as given */
    imatrix_names files;      /* the same, one by one */
    const char *layout_asked; /* NULL: not given */
    tamis_imatrix_layout layout;
};

/* One line of running perplexities per this many chunks. */
enum { CHUNKS_PER_LINE = 6, DEFAULT_CONTEXT = 512 };

static void print_perplexity(const tamis_imatrix_result *result) {
    if (!result->running) return;
    printf("perplexity after each chunk:\n");
    for (int64_t c = 0; c < result->n_chunks; c++) {
        printf("[%lld]%.4f,%s", (long long)(c + 1), result->running[c].ppl,
               (c + 1) % CHUNKS_PER_LINE == 0 || c + 1 == result->n_chunks ? "\n" : "");
    }
    const tamis_perplexity *last = &result->running[result->n_chunks - 1];
    printf("final estimate: PPL = %.4f +/- %.5f\n", last->ppl, last->ppl_error);
    for (size_t i = 0; i < result->n_texts && result->n_texts > 1; i++) {
        const tamis_imatrix_text_result *t = &result->texts[i];
        char path[512];
        printf("  %s: %lld chunks, weight %g, PPL = %.4f +/- %.5f\n",
               tamis_printable(t->text.path, path, sizeof path), (long long)t->n_chunks,
               t->text.weight, t->perplexity.ppl, t->perplexity.ppl_error);
    }
}

static void add_texts_json(cJSON *root, const tamis_imatrix_result *result) {
    cJSON *texts = cJSON_AddArrayToObject(root, "texts");
    for (size_t i = 0; i < result->n_texts; i++) {
        const tamis_imatrix_text_result *t = &result->texts[i];
        cJSON *item = cJSON_CreateObject();
        char path[4096];
        cJSON_AddStringToObject(item, "path", tamis_printable(t->text.path, path, sizeof path));
        tamis_json_add_double(item, "weight", t->text.weight);
        tamis_json_add_int(item, "chunks", t->n_chunks);
        tamis_json_add_int(item, "tokens", t->n_tokens);
        if (t->perplexity.n > 0) {
            tamis_json_add_double(item, "ppl", t->perplexity.ppl);
            tamis_json_add_double(item, "ppl_error", t->perplexity.ppl_error);
        }
        cJSON_AddItemToArray(texts, item);
    }
}

static tamis_status write_json(const char *path, const tamis_imatrix *matrix,
                               const tamis_imatrix_result *result, double seconds, int64_t n_rare,
                               tamis_error *err) {
    cJSON *root = cJSON_CreateObject();
    tamis_json_add_int(root, "chunks", result->n_chunks);
    tamis_json_add_int(root, "ctx", result->n_ctx);
    tamis_json_add_int(root, "tokens", result->n_tokens);
    tamis_json_add_int(root, "mtp_blocks", result->n_mtp);
    tamis_json_add_uint(root, "weights", matrix->n_entries);
    tamis_json_add_double(root, "seconds", seconds);
    tamis_json_add_uint(root, "peak_memory_bytes", tamis_memory_peak_bytes());
    if (result->running) {
        const tamis_perplexity *last = &result->running[result->n_chunks - 1];
        tamis_json_add_double(root, "ppl", last->ppl);
        tamis_json_add_double(root, "ppl_error", last->ppl_error);
        cJSON *running = cJSON_AddArrayToObject(root, "running_ppl");
        for (int64_t c = 0; c < result->n_chunks; c++) {
            cJSON_AddItemToArray(running, cJSON_CreateNumber(result->running[c].ppl));
        }
    }
    add_texts_json(root, result);
    imatrix_add_matrix_json(root, matrix, n_rare);
    tamis_status st = tamis_json_write(root, path, err);
    cJSON_Delete(root);
    return st;
}

/* A result that cannot be written is better known before the work than after it. */
static tamis_status check_outputs(const struct arguments *args, tamis_error *err) {
    const char *const others[] = {args->model, args->output};
    const imatrix_names *files = &args->files;
    const tamis_texts *texts = &args->texts;
    tamis_status st = tamis_output_check(args->output, others, 1, err);
    if (!st) st = tamis_output_check(args->output, texts->items, texts->n_items, err);
    if (!st) st = tamis_output_check(args->output, files->items, files->n_items, err);
    if (!st) st = imatrix_check_json_path(&args->common, others, 2, err);
    if (!st) st = imatrix_check_json_path(&args->common, texts->items, texts->n_items, err);
    if (!st) st = imatrix_check_json_path(&args->common, files->items, files->n_items, err);
    return st;
}

/* The checkpoint beside the output; none when neither reading nor writing one is wanted, or when
 * the place cannot be written to. */
static tamis_status make_checkpoint(const struct arguments *args, const tamis_log *log, char **path,
                                    tamis_checkpoint **out, tamis_error *err) {
    if (args->no_checkpoint && !args->resume) return TAMIS_OK;
    tamis_status st = tamis_checkpoint_path(args->output, path, err);
    if (st) return st;
    if (!*path && args->resume)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "'%s' is no regular file: such a run has no checkpoint to resume from",
                          args->output);
    if (!*path) return TAMIS_OK;
    const char *const others[] = {args->model, args->output, args->common.json_path};
    st = tamis_output_check(*path, args->texts.items, args->texts.n_items, err);
    if (!st) st = tamis_output_check(*path, args->files.items, args->files.n_items, err);
    if (!st) st = tamis_output_check(*path, others, N_OF(others), err);
    if (st == TAMIS_NO_RESOURCE && !args->resume) {
        tamis_warn(log, "this run has no checkpoints: %s", err->message);
        return TAMIS_OK;
    }
    if (st) return st;
    const tamis_checkpoint_options options = {.path = *path,
                                              .resume = args->resume,
                                              .writes = !args->no_checkpoint,
                                              .every_s = args->checkpoint_every_s,
                                              .log = log};
    return tamis_checkpoint_new(&options, out, err);
}

/* `texts` [args->texts.n_items] and what *pass points to are borrowed. */
static tamis_imatrix_options options_of(const struct arguments *args,
                                        const tamis_imatrix_text *texts,
                                        const tamis_pass_options *pass) {
    return (tamis_imatrix_options){
        .model_path = args->model,
        .texts = texts,
        .n_texts = args->texts.n_items,
        .chunks = {.n_ctx = args->n_ctx,
                   .first_chunk = args->first_chunk,
                   .max_chunks = args->n_chunks,
                   .parse_special = args->parse_special},
        .with_output = args->with_output,
        .all_experts = args->all_experts,
        .without_mtp = args->no_mtp,
        .with_perplexity = !args->no_ppl,
        .pass = *pass,
    };
}

/* The run itself; resources live here. */
static tamis_status run(const struct arguments *args, const tamis_log *log, tamis_error *err) {
    tamis_budget budget;
    tamis_budget_init(&budget, args->common.mem_bytes);
    tamis_pool *pool = NULL;
    tamis_progress *progress = NULL;
    char *checkpoint_path = NULL;
    tamis_checkpoint *checkpoint = NULL;
    tamis_imatrix_text *texts = NULL;
    tamis_imatrix matrix, earlier;
    tamis_imatrix_init(&matrix);
    tamis_imatrix_init(&earlier);
    tamis_imatrix_result result = {0};
    double started = tamis_now_s();

    tamis_status st =
        tamis_imatrix_texts_weigh(args->texts.items, args->texts.n_items, args->text_weights.items,
                                  args->text_weights.n_items, &texts, err);
    if (st) goto out;
    st = check_outputs(args, err);
    if (st) goto out;
    st = imatrix_load_files(&args->files, args->model, args->n_ctx, log, &earlier, err);
    if (st) goto out;
    st = make_checkpoint(args, log, &checkpoint_path, &checkpoint, err);
    if (st) goto out;
    st = tamis_pool_new((int)args->common.n_threads, &pool, err);
    if (st) goto out;
    progress = tamis_progress_new(stderr, args->common.quiet);
    const tamis_pass_options pass = {.pool = pool,
                                     .engine = args->engine,
                                     .budget = &budget,
                                     .progress = progress,
                                     .log = log,
                                     .checkpoint = checkpoint};
    const tamis_imatrix_options options = options_of(args, texts, &pass);
    st = tamis_imatrix_make(&options, &matrix, &result, err);
    if (st) goto out;
    st = imatrix_add_files(&args->files, &earlier, &matrix, log, err);
    if (!st) st = tamis_imatrix_save_as(&matrix, args->output, args->layout, log, err);
    if (st) goto out;
    tamis_checkpoint_remove(checkpoint);
    double seconds = tamis_now_s() - started;
    if (args->common.json_path) {
        st = write_json(args->common.json_path, &matrix, &result, seconds, args->n_rare, err);
        if (st) goto out;
    }
    if (imatrix_prints_text(&args->common)) {
        print_perplexity(&result);
        imatrix_print_summary(&matrix, args->n_rare, IMATRIX_RARE_SHOWN);
        st = tamis_flush_results(err);
        if (st) goto out;
    }
    char time_text[32], memory_text[32];
    tamis_info(log, "wrote '%s' in %s, peak memory %s", args->output,
               tamis_format_seconds(seconds, time_text, sizeof time_text),
               tamis_format_size(tamis_memory_peak_bytes(), memory_text, sizeof memory_text));
out:
    tamis_imatrix_result_release(&result);
    tamis_imatrix_release(&matrix);
    tamis_imatrix_release(&earlier);
    tamis_progress_free(progress);
    tamis_pool_free(pool);
    tamis_checkpoint_free(checkpoint);
    free(checkpoint_path);
    free(texts);
    return st;
}

/* Without a text the files are merged, or looked at. */
static tamis_status work_on_files(const struct arguments *args, const tamis_log *log,
                                  tamis_error *err) {
    if (args->model || args->n_chunks || args->first_chunk || args->with_output ||
        args->all_experts || args->no_mtp || args->parse_special || args->ppl || args->no_ppl ||
        args->resume || args->text_weights.n_items || (args->statistics && args->texts.n_items))
        tamis_warn(log, "no text is run: the model and the options of a run have no effect");
    tamis_status st;
    if (args->statistics) {
        st = imatrix_show_statistics(&args->common, &args->files, args->n_ctx, log, err);
    } else {
        const imatrix_merge_request request = {
            .common = &args->common,
            .files = &args->files,
            .output = args->output,
            .layout = args->layout,
            .chunk_size = args->n_ctx,
            .n_rare = args->n_rare,
        };
        st = imatrix_merge_files(&request, log, err);
    }
    return st ? st : tamis_flush_results(err);
}

/* What the peer's options would mean if a run saved while it goes; said once, not ignored. */
static void warn_of_frequencies(const struct arguments *args, const tamis_log *log) {
    if (args->output_frequency >= 0 || args->save_frequency >= 0)
        tamis_warn(
            log,
            "--%s has no effect: every layer sees the whole text before the next one "
            "begins, so there is no matrix of the first chunks to save; checkpoints are made "
            "by time (--checkpoint-every) and --resume goes on from them",
            args->output_frequency >= 0 ? "output-frequency" : "save-frequency");
}

/* "-ofreq N" as other tools spell it; "-o" would take the rest of the word as a file. */
static void spell_out(int argc, char **argv) {
    static char name[] = "--output-frequency";
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "-ofreq") == 0) argv[i] = name;
}

static tamis_status work(struct arguments *args, const tamis_log *log, tamis_error *err) {
    warn_of_frequencies(args, log);
    if (!args->statistics)
        args->layout = imatrix_choose_layout(args->layout_asked, &args->output, log);
    if (args->statistics || !args->texts.n_items) return work_on_files(args, log, err);
    if (!args->n_ctx) args->n_ctx = DEFAULT_CONTEXT;
    if (args->n_chunks < 0) args->n_chunks = 0; /* as other tools spell "all" */
    return run(args, log, err);
}

static tamis_status check(struct arguments *args, const tamis_texts *positional, tamis_error *err) {
    if (positional->n_items > 0) {
        return tamis_fail(err, TAMIS_BAD_USAGE, "unexpected argument '%s'", positional->items[0]);
    }
    if (args->ppl && args->no_ppl)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--ppl and --no-ppl exclude each other");
    tamis_status st = imatrix_names_split(&args->in_files, &args->files, err);
    if (st) return st;
    if (args->statistics && !args->files.n_items)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--show-statistics wants a file (--in-file FILE)");
    if (args->statistics || (!args->texts.n_items && args->files.n_items)) return TAMIS_OK;
    if (!args->model) return tamis_fail(err, TAMIS_BAD_USAGE, "no model given (-m FILE)");
    if (!args->texts.n_items)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "no text given (-f FILE), and no files to merge (--in-file)");
    return TAMIS_OK;
}

static const tamis_sub_command *const sub_commands[] = {
    &imatrix_show_command,
    &imatrix_statistics_command,
    &imatrix_merge_command,
    &imatrix_diff_command,
};

static const tamis_tool tool = {
    .name = "imatrix",
    .summary = "run calibration text through a model and record what its weights see",
    .subs = sub_commands,
    .n_subs = N_OF(sub_commands),
};

int main(int argc, char **argv) {
    tamis_interrupt_install();
    const tamis_sub_command *sub = tamis_sub_command_find(&tool, argc, argv);
    if (sub) return sub->main(argc - 1, argv + 1);
    spell_out(argc, argv);
    struct arguments args = {.n_rare = IMATRIX_RARE_TOKENS,
                             .output_frequency = -1,
                             .save_frequency = -1,
                             .checkpoint_every_s = 60};
    /* clang-format off */
    const tamis_option options[] = {
        { 'm', "model",  TAMIS_OPTION_TEXT, &args.model,  "FILE", "model to run (GGUF, or the first file of a split set)", 0, 0 },
        { 'f', "file",   TAMIS_OPTION_TEXTS, &args.texts,  "FILE", "calibration text; may be repeated", 0, 0 },
        { 0,   "text-weight", TAMIS_OPTION_TEXTS, &args.text_weights, "FILE=W", "count the tokens of this text (a FILE of -f) W times (default: 1; may be repeated)", 0, 0 },
        { 'o', "output,output-file", TAMIS_OPTION_TEXT, &args.output, "FILE", "importance matrix to write (default: imatrix.gguf, or imatrix.dat)", 0, 0 },
        { 'c', "ctx,ctx-size",  TAMIS_OPTION_INT, &args.n_ctx, "N", "tokens per chunk (default: 512; when files are merged as in 'imatrix merge')", 1, 1 << 24 },
        { 0,   "chunks", TAMIS_OPTION_INT,  &args.n_chunks, "N", "stop after N chunks, of each text (default, and -1: all)", -1, INT32_MAX },
        { 0,   "from-chunk,chunk", TAMIS_OPTION_INT, &args.first_chunk, "N", "skip the first N chunks of each text", 0, INT32_MAX },
        { 0,   "process-output", TAMIS_OPTION_FLAG, &args.with_output, NULL, "collect the output head too", 0, 0 },
        { 0,   "all-experts", TAMIS_OPTION_FLAG, &args.all_experts, NULL, "collect for each expert from all tokens, not only from those sent to it; what the layers put out stays the same", 0, 0 },
        { 0,   "no-mtp", TAMIS_OPTION_FLAG, &args.no_mtp, NULL, "leave multi-token prediction blocks out, as llama-imatrix does", 0, 0 },
        { 0,   "parse-special", TAMIS_OPTION_FLAG, &args.parse_special, NULL, "read the text of control tokens as those tokens", 0, 0 },
        { 0,   "no-ppl", TAMIS_OPTION_FLAG, &args.no_ppl, NULL, "do not compute the perplexity", 0, 0 },
        { 0,   "ppl", TAMIS_OPTION_FLAG, &args.ppl, NULL, "compute the perplexity (default)", 0, 0 },
        IMATRIX_RARE_OPTION(&args.n_rare),
        { 0,   "engine", TAMIS_OPTION_TEXT, &args.engine, "NAME", "matrix product engine (openblas)", 0, 0 },
        { 0,   NULL,     TAMIS_OPTION_GROUP, NULL, NULL, "Checkpoints", 0, 0 },
        { 0,   "resume", TAMIS_OPTION_FLAG, &args.resume, NULL, "go on from FILE.checkpoint, which a killed run left beside its output", 0, 0 },
        { 0,   "checkpoint-every", TAMIS_OPTION_INT, &args.checkpoint_every_s, "SECONDS", "least time between two checkpoints, 0: after every layer (default: 60)", 0, INT32_MAX },
        { 0,   "no-checkpoint", TAMIS_OPTION_FLAG, &args.no_checkpoint, NULL, "write no checkpoints", 0, 0 },
        { 0,   "output-frequency", TAMIS_OPTION_INT, &args.output_frequency, "N", "accepted without effect (also -ofreq): each layer sees the whole text before the next begins, so there is no matrix after N chunks; checkpoints are made by time (--checkpoint-every)", 0, INT32_MAX },
        { 0,   "save-frequency", TAMIS_OPTION_INT, &args.save_frequency, "N", "accepted without effect, likewise", 0, INT32_MAX },
        { 0,   NULL, TAMIS_OPTION_GROUP, NULL, NULL, "Files made before", 0, 0 },
        { 0,   "in-file", TAMIS_OPTION_TEXTS, &args.in_files, "FILE,...", "start from the sum of these files (repeatable); without -f only merge or convert them", 0, 0 },
        IMATRIX_LAYOUT_OPTION(&args.layout_asked),
        { 0,   "show-statistics", TAMIS_OPTION_FLAG, &args.statistics, NULL, "print the statistics of --in-file and end, as 'imatrix statistics'", 0, 0 },
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    const tamis_example examples[] = {
        { "imatrix -m model-BF16.gguf -f calibration.txt -o imatrix.gguf", "the usual run" },
        { "imatrix -m model-BF16.gguf -f more.txt --in-file imatrix.gguf -o both.gguf", "on top of an earlier run" },
        { "imatrix --in-file a.gguf,b.gguf -o both.gguf", "add two runs up" },
        { "imatrix -m model-BF16.gguf -f prose.txt -f code.txt --text-weight code.txt=2", "two texts, the second counted twice" },
        { "imatrix show imatrix.gguf", "a sub-command: show, statistics, merge, diff" },
        { "imatrix -m model-BF16.gguf -f calibration.txt -c 2048 --chunks 100", "longer chunks, the first hundred of them" },
        { "imatrix -m model-BF16.gguf -f calibration.txt -o imatrix.gguf --resume", "go on after a kill or Ctrl-C" },
    };
    const tamis_command command = {
        .name = "imatrix",
        .summary = tool.summary,
        .usage = "-m MODEL -f TEXT [-o FILE] [options]\n--in-file A,B [-o FILE]\nshow|statistics|merge|diff [options] FILE...",
        .description = "For every weight matrix of the model, the sum of squares of each input column "
                       "over all tokens of the text is written to FILE, per expert where there are "
                       "experts. quantize --imatrix spends its bits by it. The file is the same as "
                       "llama-imatrix writes.",
        .options = options, .n_options = sizeof options / sizeof *options,
        .examples = examples, .n_examples = sizeof examples / sizeof *examples,
        .tool = &tool,
    };
    /* clang-format on */
    tamis_error err = {0};
    tamis_texts positional = {0};
    tamis_status st = tamis_options_parse(&command, argc, argv, &positional, &err);
    if (tamis_common_handled(&args.common, &command)) {
        st = TAMIS_OK;
        goto out;
    }
    if (st) goto out;
    st = check(&args, &positional, &err);
    if (st) goto out;
    tamis_formats_init();
    tamis_log log = tamis_log_to_stream(stderr, args.common.quiet);
    st = work(&args, &log, &err);
out:
    imatrix_names_release(&args.files);
    tamis_texts_release(&args.in_files);
    tamis_texts_release(&args.texts);
    tamis_texts_release(&args.text_weights);
    tamis_texts_release(&positional);
    return st ? tamis_report("imatrix", &err) : 0;
}
