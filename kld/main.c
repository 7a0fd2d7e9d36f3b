/* main.c - the kld tool: arguments, set-up, output. The work is in job.h. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/progress.h"
#include "base/terminal.h"
#include "base/threads.h"
#include "formats/formats.h"
#include "kld/job.h"
#include "kld/ppl.h"
#include "kld/report.h"
#include "kld/tasks.h"
#include "model/gemm.h"

typedef struct arguments {
    tamis_common common;
    tamis_kld_options options;
    tamis_texts quants;
    const char *dump_path;
    bool summary, is_peer_style, is_ppl;
    int64_t ppl_stride, ppl_style;
    bool is_task[TAMIS_TASK_N_KINDS], per_task;
    int64_t max_tasks[TAMIS_TASK_N_KINDS];
} arguments;

static const char DESCRIPTION[] =
    "Each model is run over the text once; at every scored position the distribution of the next "
    "token is compared with the parent's, exactly: the parent's logits are neither rounded nor "
    "cut. "
    "The text is cut into chunks of --ctx tokens; scored are the positions llama-perplexity "
    "scores, the second half of each chunk, or all with --score all.\n"
    "\n"
    "With --base the parent's final hidden states and output head are written to a file, or read "
    "from it when it exists: then neither -m nor -f is needed, and the results are the same bit "
    "for bit. A vocabulary, context or text that differs from the base's is refused. A base file "
    "of llama-perplexity is read as well; from it the statistics are those that tool prints.";

static const tamis_example EXAMPLES[] = {
    {"kld -m parent.gguf -q a.gguf -q b.gguf -f text.txt", "compare two models with their parent"},
    {"kld -m parent.gguf -f text.txt --base parent.base", "write the parent's side once"},
    {"kld --base parent.base -q a.gguf --json a.json", "use it later, without the parent"},
    {"kld --base parent.base -q a.gguf --per-chunk --worst 20",
     "running statistics, and the positions that differ most"},
    {"kld -m parent.gguf -f text.txt --save-all-logits out.base",
     "write a base file for llama-perplexity"},
    {"kld -m parent.gguf -q a.gguf -f text.txt --mtp", "the multi-token prediction blocks as well"},
    {"kld -m parent.gguf -f text.txt", "only the parent's perplexity"},
    {"kld --ppl -m parent.gguf -q a.gguf -f text.txt", "perplexities of both, chunk by chunk"},
    {"kld -m parent.gguf -q a.gguf --hellaswag -f hellaswag_val_full.txt",
     "HellaSwag scores of both over 400 tasks"},
    {"kld -m m.gguf --tokens ids.bin --dump-logits m.logits", "raw logits for other engines"},
};

/* With --kl-divergence -m is what -q is without it. */
static tamis_status take_peer_style(arguments *a, tamis_error *err) {
    tamis_kld_options *o = &a->options;
    if (!o->base_path || !o->parent_path)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--kl-divergence compares -m FILE with --base FILE; give both, or the "
                          "parent with -m and the models with -q");
    tamis_status st = tamis_grow(&a->quants.items, &a->quants.capacity, a->quants.n_items + 1,
                                 sizeof *a->quants.items, err);
    if (st) return st;
    memmove(a->quants.items + 1, a->quants.items, a->quants.n_items * sizeof *a->quants.items);
    a->quants.items[0] = o->parent_path;
    ++a->quants.n_items;
    o->parent_path = NULL;
    return TAMIS_OK;
}

/* Parse the command line. *is_done: help or version was printed. */
static tamis_status parse(arguments *a, int argc, char **argv, bool *is_done, tamis_error *err) {
    tamis_kld_options *o = &a->options;
    tamis_common *c = &a->common;
    /* clang-format off */
    const tamis_option options[] = {
        { 0,   NULL,             TAMIS_OPTION_GROUP, NULL, NULL, "What to compare", 0, 0 },
        { 'm', "model",          TAMIS_OPTION_TEXT,  &o->parent_path, "FILE", "the parent, a GGUF file", 0, 0 },
        { 'q', "quant",          TAMIS_OPTION_TEXTS, &a->quants, "FILE", "a model to compare with it; may be repeated (silence is --quiet here, without a short form)", 0, 0 },
        { 'f', "file",           TAMIS_OPTION_TEXT,  &o->text_path, "FILE", "the text; one newline at its end is dropped", 0, 0 },
        { 0,   "tokens",         TAMIS_OPTION_TEXT,  &o->tokens_path, "FILE", "raw little-endian int32 ids in place of a text; one sequence unless --ctx is given", 0, 0 },
        { 0,   "base,kl-divergence-base", TAMIS_OPTION_TEXT,  &o->base_path, "FILE", "the parent's side as a file: read when it exists (this tool's or llama-perplexity's), else written", 0, 0 },
        { 0,   "save-all-logits", TAMIS_OPTION_TEXT, &o->save_logits_path, "FILE", "write the parent's side in the layout of llama-perplexity, 16 bits for every token of the vocabulary", 0, 0 },
        { 0,   "kl-divergence",  TAMIS_OPTION_FLAG,  &a->is_peer_style, NULL, "-m is the model to compare with the base, as in llama-perplexity", 0, 0 },
        { 0,   NULL,             TAMIS_OPTION_GROUP, NULL, NULL, "How", 0, 0 },
        { 'c', "ctx,ctx-size",   TAMIS_OPTION_INT,   &o->n_ctx, "N", "tokens per chunk (default: 512)", 1, 1 << 30 },
        { 0,   "chunks",         TAMIS_OPTION_INT,   &o->max_chunks, "N", "use at most N chunks (default, and -1: all)", -1, INT64_MAX },
        { 0,   "score",          TAMIS_OPTION_TEXT,  &o->score, "llama|all", "positions to score: second half of each chunk, or all (default: llama)", 0, 0 },
        { 0,   "parse-special",  TAMIS_OPTION_FLAG,  &o->parse_special, NULL, "names of control tokens in the text count as these tokens", 0, 0 },
        { 0,   "mtp",            TAMIS_OPTION_FLAG,  &o->mtp, NULL, "judge the multi-token prediction blocks, too: divergence from the parent's, drafts accepted", 0, 0 },
        { 0,   "per-chunk",      TAMIS_OPTION_FLAG,  &o->per_chunk, NULL, "print the running statistics of each chunk, too", 0, 0 },
        { 0,   "worst",          TAMIS_OPTION_INT,   &o->n_worst, "N", "show the N positions with the largest divergence of each model, with their text", 1, 1000000 },
        { 0,   "summary",        TAMIS_OPTION_FLAG,  &a->summary, NULL, "print only the table, one line per model", 0, 0 },
        { 0,   NULL,             TAMIS_OPTION_GROUP, NULL, NULL, "Other runs", 0, 0 },
        { 0,   "ppl",            TAMIS_OPTION_FLAG,  &a->is_ppl, NULL, "only the perplexity of -m and of each -q, chunk by chunk", 0, 0 },
        { 0,   "ppl-stride",     TAMIS_OPTION_INT,   &a->ppl_stride, "N", "--ppl over windows of --ctx tokens that begin every N tokens, the last N of each scored", 0, 1 << 30 },
        { 0,   "ppl-output-type", TAMIS_OPTION_INT,  &a->ppl_style, "0|1", "--ppl prints running values in one line, or a line per chunk: token, PPL, mean, error (default: 0)", 0, 1 },
        { 0,   "dump-logits",    TAMIS_OPTION_TEXT,  &a->dump_path, "FILE", "only write the logits of -m for every token, raw f32 [tokens][vocabulary]", 0, 0 },
        { 0,   NULL,             TAMIS_OPTION_GROUP, NULL, NULL, "Task scores, of -m and every -q; -f is the task file", 0, 0 },
        { 0,   "hellaswag",      TAMIS_OPTION_FLAG,  &a->is_task[TAMIS_TASK_HELLASWAG], NULL, "HellaSwag: six lines a task", 0, 0 },
        { 0,   "hellaswag-tasks", TAMIS_OPTION_INT,  &a->max_tasks[TAMIS_TASK_HELLASWAG], "N", "use N random tasks, 0 for all (default: 400)", 0, INT32_MAX },
        { 0,   "winogrande",     TAMIS_OPTION_FLAG,  &a->is_task[TAMIS_TASK_WINOGRANDE], NULL, "WinoGrande: a CSV line a task", 0, 0 },
        { 0,   "winogrande-tasks", TAMIS_OPTION_INT, &a->max_tasks[TAMIS_TASK_WINOGRANDE], "N", "use N random tasks (default: 0, all)", 0, INT32_MAX },
        { 0,   "multiple-choice", TAMIS_OPTION_FLAG, &a->is_task[TAMIS_TASK_MULTIPLE_CHOICE], NULL, "multiple choice: a binary file as made for llama-perplexity", 0, 0 },
        { 0,   "multiple-choice-tasks", TAMIS_OPTION_INT, &a->max_tasks[TAMIS_TASK_MULTIPLE_CHOICE], "N", "use N random tasks (default: 0, all)", 0, INT32_MAX },
        { 0,   "per-task",       TAMIS_OPTION_FLAG,  &a->per_task, NULL, "also print the answer and the scores of each task", 0, 0 },
        /* -q means a model here, not quiet. */
        TAMIS_COMMON_ROWS(c, 0, TAMIS_THREADS_HELP, TAMIS_MEM_HELP),
    };
    /* clang-format on */
    const tamis_command command = {
        .name = "kld",
        .summary = "say exactly how far a quantized model is from its parent",
        .usage = "-m PARENT -q MODEL [-q MODEL ...] -f TEXT [options]\n"
                 "--base FILE -q MODEL [-q MODEL ...] [options]",
        .description = DESCRIPTION,
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .examples = EXAMPLES,
        .n_examples = sizeof EXAMPLES / sizeof *EXAMPLES,
    };
    tamis_texts positional = {0};
    tamis_status st = tamis_options_parse(&command, argc, argv, &positional, err);
    *is_done = tamis_common_handled(c, &command);
    if (!st && !*is_done && positional.n_items > 0)
        st = tamis_fail(err, TAMIS_BAD_USAGE,
                        "\"%s\" belongs to no option; models are given with "
                        "-m and -q, the text with -f",
                        positional.items[0]);
    tamis_texts_release(&positional);
    if (o->max_chunks < 0) o->max_chunks = 0; /* as other tools spell "all" */
    if (!st && !*is_done && (a->ppl_stride || a->ppl_style) && !a->is_ppl) a->is_ppl = true;
    if (!st && !*is_done && a->is_peer_style) st = take_peer_style(a, err);
    o->quant_paths = a->quants.items;
    o->n_quants = a->quants.n_items;
    o->json_path = c->json_path && strcmp(c->json_path, "-") != 0 ? c->json_path : NULL;
    return st;
}

static tamis_status compare(const arguments *a, const tamis_kld_machine *machine,
                            tamis_error *err) {
    const char *json_path = a->common.json_path;
    const bool json_to_stdout = json_path && strcmp(json_path, "-") == 0;
    tamis_kld_result result = {0};
    tamis_status st = TAMIS_OK;
    if (a->options.json_path) st = tamis_kld_check_output(&a->options, json_path, err);
    if (!st) st = tamis_kld_run(&a->options, machine, &result, err);
    if (st) return st;
    if (!json_to_stdout) tamis_kld_report_text(&result, a->summary, stdout);
    if (json_path) st = tamis_kld_report_json(&result, json_path, err);
    tamis_kld_result_release(&result);
    if (!st) st = tamis_flush_results(err);
    return st;
}

static tamis_status perplexity(const arguments *a, const tamis_kld_machine *machine,
                               tamis_error *err) {
    const char *json_path = a->common.json_path;
    tamis_kld_ppl ppl = {0};
    tamis_status st = TAMIS_OK;
    if (a->options.json_path) st = tamis_kld_check_output(&a->options, json_path, err);
    if (!st) st = tamis_kld_ppl_run(&a->options, a->ppl_stride, machine, &ppl, err);
    if (st) return st;
    if (!json_path || a->options.json_path)
        tamis_kld_ppl_report_text(&ppl, a->ppl_style, a->summary, stdout);
    if (json_path) st = tamis_kld_ppl_report_json(&ppl, json_path, err);
    tamis_kld_ppl_release(&ppl);
    if (!st) st = tamis_flush_results(err);
    return st;
}

/* --- task scores --- */

/* The kind asked for, or TAMIS_TASK_N_KINDS. */
static tamis_task_kind task_kind(const arguments *a) {
    int kind = 0;
    while (kind < TAMIS_TASK_N_KINDS && !a->is_task[kind])
        kind++;
    return (tamis_task_kind)kind;
}

static tamis_status check_task_options(const arguments *a, tamis_task_kind kind, tamis_error *err) {
    const tamis_kld_options *o = &a->options;
    for (int other = (int)kind + 1; other < TAMIS_TASK_N_KINDS; other++)
        if (a->is_task[other])
            return tamis_fail(err, TAMIS_BAD_USAGE, "one kind of task at a time");
    if (!o->parent_path || !o->text_path)
        return tamis_fail(err, TAMIS_BAD_USAGE, "task scores need a model (-m) and tasks (-f)");
    if (o->tokens_path || o->base_path || o->save_logits_path || a->dump_path || o->score ||
        o->max_chunks || o->n_ctx || a->is_ppl || o->per_chunk || o->n_worst || o->mtp)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "task scores take no --tokens, --base, --save-all-logits, --dump-logits, "
                          "--score, --chunks, --ctx, --ppl, --per-chunk, --worst or --mtp");
    return TAMIS_OK;
}

static tamis_status score_tasks(const arguments *a, tamis_task_kind kind,
                                const tamis_kld_machine *machine, tamis_error *err) {
    const char *json_path = a->common.json_path;
    const bool json_to_stdout = json_path && strcmp(json_path, "-") == 0;
    tamis_task_result result = {0};
    tamis_texts models = {0};
    tamis_status st = check_task_options(a, kind, err);
    if (!st && json_path && !json_to_stdout)
        st = tamis_kld_check_output(&a->options, json_path, err);
    if (!st) st = tamis_texts_add(&models, a->options.parent_path, err);
    for (size_t i = 0; !st && i < a->options.n_quants; i++)
        st = tamis_texts_add(&models, a->options.quant_paths[i], err);
    const tamis_task_options options = {
        .model_paths = models.items,
        .n_models = models.n_items,
        .path = a->options.text_path,
        .kind = kind,
        .max_tasks = a->max_tasks[kind],
    };
    if (!st) st = tamis_tasks_run(&options, machine, &result, err);
    if (!st && !json_to_stdout) tamis_tasks_report_text(&result, a->per_task, stdout);
    if (!st && json_path) st = tamis_tasks_report_json(&result, json_path, err);
    if (!st) st = tamis_flush_results(err);
    tamis_task_result_release(&result);
    tamis_texts_release(&models);
    return st;
}

static tamis_status run(const arguments *a, tamis_error *err) {
    tamis_log log = tamis_log_to_stream(stderr, a->common.quiet);
    tamis_budget budget;
    tamis_kld_machine machine = {.budget = &budget, .log = &log};
    tamis_budget_init(&budget, a->common.mem_bytes);
    tamis_formats_init();
    tamis_interrupt_install();
    tamis_status st = tamis_pool_new((int)a->common.n_threads, &machine.pool, err);
    if (st) goto out;
    st = tamis_gemm_new(NULL, &machine.gemm, err);
    if (st) goto out;
    machine.progress = tamis_progress_new(stderr, a->common.quiet);
    if (task_kind(a) < TAMIS_TASK_N_KINDS)
        st = score_tasks(a, task_kind(a), &machine, err);
    else if (a->dump_path && a->is_ppl)
        st = tamis_fail(err, TAMIS_BAD_USAGE,
                        "--ppl and --dump-logits are runs of their own; give one");
    else if (a->options.mtp && (a->dump_path || a->is_ppl))
        st = tamis_fail(err, TAMIS_BAD_USAGE,
                        "--mtp goes with a comparison or the parent's perplexity, not with %s",
                        a->is_ppl ? "--ppl" : "--dump-logits");
    else if (a->dump_path)
        st = tamis_kld_dump_logits(&a->options, &machine, a->dump_path, err);
    else if (a->is_ppl)
        st = perplexity(a, &machine, err);
    else
        st = compare(a, &machine, err);
out:
    tamis_progress_free(machine.progress);
    tamis_gemm_free(machine.gemm);
    tamis_pool_free(machine.pool);
    return st;
}

int main(int argc, char **argv) {
    arguments a = {.max_tasks[TAMIS_TASK_HELLASWAG] = 400};
    tamis_error err = {0};
    bool is_done = false;
    tamis_status st = parse(&a, argc, argv, &is_done, &err);
    if (!st && !is_done) st = run(&a, &err);
    tamis_texts_release(&a.quants);
    if (is_done || !st) return TAMIS_OK;
    return tamis_report("kld", &err);
}
