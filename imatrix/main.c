/* main.c - the imatrix tool: parses arguments, calls imatrix.h, prints. */
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/terminal.h"
#include "imatrix/imatrix.h"

struct arguments {
    tamis_common common;
    const char *model, *text, *output, *engine;
    int64_t n_ctx, first_chunk, n_chunks;
    bool with_output, parse_special, no_ppl;
    int64_t checkpoint_every_s;
    bool resume, no_checkpoint;
};

/* One line of running perplexities per this many chunks. */
enum { CHUNKS_PER_LINE = 6, RARE_TOKENS = 32, RARE_SHOWN = 10 };

static void print_perplexity(const tamis_imatrix_result *result) {
    if (!result->running) return;
    printf("perplexity after each chunk:\n");
    for (int64_t c = 0; c < result->n_chunks; c++) {
        printf("[%lld]%.4f,%s", (long long)(c + 1), result->running[c].ppl,
               (c + 1) % CHUNKS_PER_LINE == 0 || c + 1 == result->n_chunks ? "\n" : "");
    }
    const tamis_perplexity *last = &result->running[result->n_chunks - 1];
    printf("final estimate: PPL = %.4f +/- %.5f\n", last->ppl, last->ppl_error);
}

struct rare {
    int64_t n_shown;
};

static void print_rare(void *ctx, const char *name, int64_t expert, int64_t n_tokens) {
    struct rare *rare = ctx;
    if (rare->n_shown++ < RARE_SHOWN) {
        printf("  %s expert %lld: %lld tokens\n", name, (long long)expert, (long long)n_tokens);
    }
}

static void print_statistics(const tamis_imatrix *matrix) {
    uint64_t n_columns = 0, n_expert_tensors = 0, n_unseen = 0, n_experts = 0;
    for (uint64_t i = 0; i < matrix->n_entries; i++) {
        const tamis_imatrix_entry *entry = &matrix->entries[i];
        n_columns += entry->n_values;
        if (entry->n_counts < 2) continue;
        n_expert_tensors++;
        n_experts += entry->n_counts;
        for (uint64_t e = 0; e < entry->n_counts; e++)
            n_unseen += entry->counts[e] == 0;
    }
    printf("%llu weight matrices, %llu input columns", (unsigned long long)matrix->n_entries,
           (unsigned long long)n_columns);
    if (n_expert_tensors) {
        printf("; %llu of them hold experts, %llu of %llu expert slices saw no token",
               (unsigned long long)n_expert_tensors, (unsigned long long)n_unseen,
               (unsigned long long)n_experts);
    }
    printf("\n");
    struct rare rare = {0};
    int64_t n_rare = tamis_imatrix_rare_experts(matrix, RARE_TOKENS, print_rare, &rare);
    if (n_rare > RARE_SHOWN) {
        printf("  ... %lld experts in all saw fewer than %d tokens; use a longer text\n",
               (long long)n_rare, RARE_TOKENS);
    }
}

static tamis_status write_json(const char *path, const tamis_imatrix *matrix,
                               const tamis_imatrix_result *result, double seconds,
                               tamis_error *err) {
    cJSON *root = cJSON_CreateObject();
    tamis_json_add_int(root, "chunks", result->n_chunks);
    tamis_json_add_int(root, "ctx", result->n_ctx);
    tamis_json_add_int(root, "tokens", result->n_tokens);
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
    cJSON *tensors = cJSON_AddArrayToObject(root, "entries");
    for (uint64_t i = 0; i < matrix->n_entries; i++) {
        const tamis_imatrix_entry *entry = &matrix->entries[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", entry->name);
        tamis_json_add_uint(item, "columns", entry->n_values / entry->n_counts);
        cJSON *counts = cJSON_AddArrayToObject(item, "counts");
        for (uint64_t e = 0; e < entry->n_counts; e++) {
            cJSON_AddItemToArray(counts, cJSON_CreateNumber((double)entry->counts[e]));
        }
        cJSON_AddItemToArray(tensors, item);
    }
    tamis_status st = tamis_json_write(root, path, err);
    cJSON_Delete(root);
    return st;
}

/* A result that cannot be written is better known before the work than after it. */
static tamis_status check_outputs(const struct arguments *args, tamis_error *err) {
    const char *json_path = args->common.json_path;
    if (json_path && strcmp(json_path, "-") == 0) json_path = NULL;
    const char *const others[] = {args->model, args->text, args->output};
    tamis_status st = tamis_output_check(args->output, others, 2, err);
    if (!st && json_path) st = tamis_output_check(json_path, others, 3, err);
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
    const char *const others[] = {args->model, args->text, args->output, args->common.json_path};
    st = tamis_output_check(*path, others, sizeof others / sizeof *others, err);
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

/* The run itself; resources live here. */
static tamis_status run(const struct arguments *args, const tamis_log *log, tamis_error *err) {
    tamis_budget budget;
    tamis_budget_init(&budget, args->common.mem_bytes);
    tamis_pool *pool = NULL;
    tamis_progress *progress = NULL;
    char *checkpoint_path = NULL;
    tamis_checkpoint *checkpoint = NULL;
    tamis_imatrix matrix;
    tamis_imatrix_init(&matrix);
    tamis_imatrix_result result = {0};
    double started = tamis_now_s();

    tamis_status st = check_outputs(args, err);
    if (st) goto out;
    st = make_checkpoint(args, log, &checkpoint_path, &checkpoint, err);
    if (st) goto out;
    st = tamis_pool_new((int)args->common.n_threads, &pool, err);
    if (st) goto out;
    progress = tamis_progress_new(stderr, args->common.quiet);
    tamis_imatrix_options options = {
        .model_path = args->model,
        .chunks = {.path = args->text,
                   .n_ctx = args->n_ctx,
                   .first_chunk = args->first_chunk,
                   .max_chunks = args->n_chunks,
                   .parse_special = args->parse_special},
        .with_output = args->with_output,
        .with_perplexity = !args->no_ppl,
        .pass = {pool, args->engine, &budget, progress, log, checkpoint},
    };
    st = tamis_imatrix_make(&options, &matrix, &result, err);
    if (st) goto out;
    st = tamis_imatrix_save(&matrix, args->output, err);
    if (st) goto out;
    tamis_checkpoint_remove(checkpoint);
    double seconds = tamis_now_s() - started;
    if (args->common.json_path) {
        st = write_json(args->common.json_path, &matrix, &result, seconds, err);
        if (st) goto out;
    }
    bool json_on_stdout = args->common.json_path && strcmp(args->common.json_path, "-") == 0;
    if (!json_on_stdout) {
        print_perplexity(&result);
        print_statistics(&matrix);
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
    tamis_progress_free(progress);
    tamis_pool_free(pool);
    tamis_checkpoint_free(checkpoint);
    free(checkpoint_path);
    return st;
}

static tamis_status check(const struct arguments *args, const tamis_texts *positional,
                          tamis_error *err) {
    if (positional->n_items > 0) {
        return tamis_fail(err, TAMIS_BAD_USAGE, "unexpected argument '%s'", positional->items[0]);
    }
    if (!args->model) return tamis_fail(err, TAMIS_BAD_USAGE, "no model given (-m FILE)");
    if (!args->text) return tamis_fail(err, TAMIS_BAD_USAGE, "no text given (-f FILE)");
    return TAMIS_OK;
}

int main(int argc, char **argv) {
    struct arguments args = {.output = "imatrix.gguf", .n_ctx = 512, .checkpoint_every_s = 60};
    /* clang-format off */
    const tamis_option options[] = {
        { 'm', "model",  TAMIS_OPTION_TEXT, &args.model,  "FILE", "model to run (GGUF, or the first file of a split set)", 0, 0 },
        { 'f', "file",   TAMIS_OPTION_TEXT, &args.text,   "FILE", "calibration text", 0, 0 },
        { 'o', "output,output-file", TAMIS_OPTION_TEXT, &args.output, "FILE", "importance matrix to write (default: imatrix.gguf)", 0, 0 },
        { 'c', "ctx,ctx-size",  TAMIS_OPTION_INT, &args.n_ctx, "N", "tokens per chunk (default: 512)", 1, 1 << 24 },
        { 0,   "chunks", TAMIS_OPTION_INT,  &args.n_chunks, "N", "stop after N chunks (default: all)", 0, INT32_MAX },
        { 0,   "from-chunk,chunk", TAMIS_OPTION_INT, &args.first_chunk, "N", "skip the first N chunks", 0, INT32_MAX },
        { 0,   "process-output", TAMIS_OPTION_FLAG, &args.with_output, NULL, "collect the output head too", 0, 0 },
        { 0,   "parse-special", TAMIS_OPTION_FLAG, &args.parse_special, NULL, "read the text of control tokens as those tokens", 0, 0 },
        { 0,   "no-ppl", TAMIS_OPTION_FLAG, &args.no_ppl, NULL, "do not compute the perplexity", 0, 0 },
        { 0,   "engine", TAMIS_OPTION_TEXT, &args.engine, "NAME", "matrix product engine (openblas)", 0, 0 },
        { 0,   NULL,     TAMIS_OPTION_GROUP, NULL, NULL, "Checkpoints", 0, 0 },
        { 0,   "resume", TAMIS_OPTION_FLAG, &args.resume, NULL, "go on from FILE.checkpoint, which a killed run left beside its output", 0, 0 },
        { 0,   "checkpoint-every", TAMIS_OPTION_INT, &args.checkpoint_every_s, "SECONDS", "least time between two checkpoints, 0: after every layer (default: 60)", 0, INT32_MAX },
        { 0,   "no-checkpoint", TAMIS_OPTION_FLAG, &args.no_checkpoint, NULL, "write no checkpoints", 0, 0 },
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    const tamis_example examples[] = {
        { "imatrix -m model-BF16.gguf -f calibration.txt -o imatrix.gguf", "the usual run" },
        { "imatrix -m model-BF16.gguf -f calibration.txt -c 2048 --chunks 100", "longer chunks, the first hundred of them" },
        { "imatrix -m model-BF16.gguf -f calibration.txt -o imatrix.gguf --resume", "go on after a kill or Ctrl-C" },
    };
    const tamis_command command = {
        .name = "imatrix",
        .summary = "run calibration text through a model and record what its weights see",
        .usage = "-m MODEL -f TEXT [-o FILE] [options]",
        .description = "For every weight matrix of the model, the sum of squares of each input column "
                       "over all tokens of the text is written to FILE, per expert where there are "
                       "experts. quantize --imatrix spends its bits by it. The file is the same as "
                       "llama-imatrix writes.",
        .options = options, .n_options = sizeof options / sizeof *options,
        .examples = examples, .n_examples = sizeof examples / sizeof *examples,
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
    tamis_interrupt_install();
    tamis_formats_init();
    tamis_log log = tamis_log_to_stream(stderr, args.common.quiet);
    st = run(&args, &log, &err);
out:
    tamis_texts_release(&positional);
    return st ? tamis_report("imatrix", &err) : 0;
}
