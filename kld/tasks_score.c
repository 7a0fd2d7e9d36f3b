/* tasks_score.c - a model's scores of all choices, and its answers. Bound: the matrix products. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kld/source.h"
#include "kld/tasks_internal.h"
#include "model/head.h"
#include "model/pass.h"
#include "model/perplexity.h"
#include "model/store.h"

/* --- the passes --- */

typedef struct keeper {
    const task_plan *plan;
    const task_pass *pass;
    float *rows; /* [plan->n_rows][n_embd] */
    int64_t n_embd;
} keeper;

/* Keep the final hidden states that predict a scored token. */
static tamis_status keep(void *ctx, int64_t first_token, int64_t n_tokens, const float *h,
                         tamis_error *err) {
    (void)err;
    const keeper *k = ctx;
    const size_t row_bytes = (size_t)k->n_embd * sizeof *h;
    for (int64_t i = 0; i < n_tokens; i++, h += k->n_embd) {
        const int64_t slot = (first_token + i) / k->pass->n_ctx;
        const int64_t next = (first_token + i) % k->pass->n_ctx + 1;
        const task_sequence *s = &k->plan->sequences[k->pass->sequences[slot]];
        if (next >= s->first && next < s->end)
            memcpy(k->rows + (s->i_row + next - s->first) * k->n_embd, h, row_bytes);
        if (next == s->n && s->i_end_row >= 0)
            memcpy(k->rows + s->i_end_row * k->n_embd, h, row_bytes);
    }
    return TAMIS_OK;
}

static tamis_status run_pass(tamis_model *model, const task_plan *plan, const task_pass *pass,
                             const tamis_kld_machine *machine, float *rows, tamis_error *err) {
    keeper k = {plan, pass, rows, tamis_model_n_embd(model)};
    const tamis_observer observer = {.ctx = &k, .on_final = keep};
    const tamis_pass_options options = tamis_kld_pass_options(machine);
    int32_t *tokens =
        tamis_alloc_array((uint64_t)(pass->n_slots * pass->n_ctx), sizeof *tokens, err);
    if (!tokens) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < pass->n_slots; i++) {
        const task_sequence *s = &plan->sequences[pass->sequences[i]];
        memcpy(tokens + i * pass->n_ctx, s->tokens, (size_t)s->n * sizeof *tokens);
    }
    tamis_status st = tamis_pass_run(model, tokens, pass->n_slots * pass->n_ctx, pass->n_ctx,
                                     &options, &observer, 1, err);
    free(tokens);
    return st;
}

static tamis_status run_passes(tamis_model *model, const task_plan *plan,
                               const tamis_kld_machine *machine, float *rows, tamis_error *err) {
    int64_t n_tokens = 0;
    char name[256];
    for (int i = 0; i < plan->n_passes; i++)
        n_tokens += plan->passes[i].n_slots * plan->passes[i].n_ctx;
    tamis_kld_file_name(tamis_model_path(model), name);
    tamis_progress_begin(machine->progress, name,
                         (uint64_t)(n_tokens * tamis_model_n_layers(model)), "tokens");
    tamis_status st = TAMIS_OK;
    for (int i = 0; !st && i < plan->n_passes; i++)
        st = run_pass(model, plan, &plan->passes[i], machine, rows, err);
    tamis_progress_end(machine->progress);
    return st;
}

/* nll [plan->n_rows] of every scored token. */
static tamis_status predict(tamis_model *model, const task_plan *plan,
                            const tamis_kld_machine *machine, double *nll, tamis_error *err) {
    tamis_store rows = {0};
    tamis_head *head = NULL;
    tamis_status st =
        tamis_store_init(&rows, (uint64_t)plan->n_rows, 4 * (uint64_t)tamis_model_n_embd(model),
                         "final hidden states", machine->budget, err);
    if (!st) st = run_passes(model, plan, machine, rows.data, err);
    if (!st) st = tamis_head_open(model, &head, err);
    if (st) goto out;
    tamis_progress_begin(machine->progress, "scores",
                         (uint64_t)plan->n_rows * (uint64_t)tamis_head_n_vocab(head), "logits");
    st = tamis_nll(head, machine->gemm, machine->pool, rows.data, plan->n_rows, plan->targets, nll,
                   NULL, machine->progress, err);
    tamis_progress_end(machine->progress);
out:
    tamis_head_close(head);
    tamis_store_release(&rows);
    return st;
}

/* --- scores and answers --- */

/* Mean log-probability of a sequence's scored tokens, that of the first one taken from i_first. */
static double mean_log_probability(const task_sequence *s, const double *nll, int64_t i_first) {
    double sum = -nll[i_first];
    for (int64_t i = 1; i < s->end - s->first; i++)
        sum -= nll[s->i_row + i];
    return sum / (double)(s->end - s->first);
}

/* The first of the largest; WinoGrande's tie goes to the second, as in llama-perplexity. */
static int32_t choose(tamis_task_kind kind, const double *scores, int32_t n) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (scores[i] > scores[best] ||
            (kind == TAMIS_TASK_WINOGRANDE && scores[i] == scores[best]))
            best = i;
    return best;
}

static tamis_status judge(const tamis_tasks *tasks, const task_plan *plan, const double *nll,
                          tamis_task_answers *out, tamis_error *err) {
    out->scores = tamis_alloc_array((uint64_t)plan->n_sequences, sizeof *out->scores, err);
    out->answers = tamis_alloc_array((uint64_t)tasks->n_items, sizeof *out->answers, err);
    out->is_right = tamis_alloc_array((uint64_t)tasks->n_items, sizeof *out->is_right, err);
    if (!out->scores || !out->answers || !out->is_right) return TAMIS_NO_RESOURCE;
    const task_sequence *s = plan->sequences;
    double *scores = out->scores;
    for (int64_t i = 0; i < tasks->n_items; i++) {
        const tamis_task *task = &tasks->items[i];
        for (int32_t c = 0; c < task->n_choices; c++)
            scores[c] = mean_log_probability(&s[c], nll, s[c].i_row);
        int32_t answer = choose(tasks->kind, scores, task->n_choices);
        out->n_exact_right += task->choices[answer].is_right;
        if (s[0].i_end_row >= 0) {
            scores[1] = mean_log_probability(&s[1], nll, s[0].i_end_row);
            answer = choose(tasks->kind, scores, task->n_choices);
        }
        out->answers[i] = answer;
        out->is_right[i] = task->choices[answer].is_right;
        out->n_right += out->is_right[i];
        s += task->n_choices;
        scores += task->n_choices;
    }
    return TAMIS_OK;
}

tamis_task_share tamis_task_share_of(int64_t n_right, int64_t n) {
    const double z = 1.959963984540054, total = (double)n, p = (double)n_right / total;
    const double center = (p + z * z / (2 * total)) / (1 + z * z / total);
    const double half =
        z / (1 + z * z / total) * sqrt(p * (1 - p) / total + z * z / (4 * total * total));
    return (tamis_task_share){
        .share = p,
        .low = center - half,
        .high = center + half,
        .error = n > 1 ? sqrt(p * (1 - p) / (total - 1)) : 0,
    };
}

/* --- the run --- */

static void release_answers(tamis_task_answers *a) {
    free(a->scores);
    free(a->answers);
    free(a->is_right);
}

void tamis_task_result_release(tamis_task_result *result) {
    if (!result) return;
    for (size_t i = 0; result->models && i < result->n_models; i++)
        release_answers(&result->models[i]);
    free(result->models);
    tamis_tasks_release(&result->tasks);
    *result = (tamis_task_result){0};
}

/* Open every model once before any work, to know that all can be used. */
static tamis_status check_models(const tamis_task_options *options,
                                 const tamis_kld_machine *machine, tamis_task_result *out,
                                 task_plan *plan, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (size_t i = 0; !st && i < options->n_models; i++) {
        tamis_kld_source source;
        st = tamis_kld_source_open(options->model_paths[i], true, machine->log, &source, err);
        if (st) break;
        out->models[i].model = source.identity;
        if (i > 0)
            st = tamis_kld_check_quant(&out->models[0].model, &source.identity, machine->log, err);
        else
            st = task_plan_make(&out->tasks, source.tokenizer, plan, err);
        if (st && i == 0) st = tamis_fail_prefix(err, "%s", options->path);
        tamis_kld_source_close(&source);
    }
    return st;
}

static tamis_status score_model(const char *path, const tamis_tasks *tasks, const task_plan *plan,
                                const tamis_kld_machine *machine, double *nll,
                                tamis_task_answers *out, tamis_error *err) {
    tamis_model *model = NULL;
    tamis_status st = tamis_model_open(path, machine->log, &model, err);
    if (!st) st = predict(model, plan, machine, nll, err);
    if (!st) st = judge(tasks, plan, nll, out, err);
    tamis_model_close(model);
    return st;
}

tamis_status tamis_tasks_run(const tamis_task_options *options, const tamis_kld_machine *machine,
                             tamis_task_result *out, tamis_error *err) {
    *out = (tamis_task_result){0};
    task_plan plan = {0};
    double *nll = NULL;
    tamis_status st =
        tamis_tasks_read(options->path, options->kind, options->max_tasks, &out->tasks, err);
    if (st) return st;
    out->n_models = options->n_models;
    out->models = tamis_alloc_array(options->n_models, sizeof *out->models, err);
    st = out->models ? check_models(options, machine, out, &plan, err) : TAMIS_NO_RESOURCE;
    if (st) goto out;
    st = TAMIS_NO_RESOURCE;
    nll = tamis_alloc_array((uint64_t)plan.n_rows, sizeof *nll, err);
    if (!nll) goto out;
    tamis_info(machine->log, "%s: %lld of %lld %s tasks, %lld tokens to predict", options->path,
               (long long)out->tasks.n_items, (long long)out->tasks.n_in_file,
               tamis_task_kind_name(options->kind), (long long)plan.n_rows);
    if (out->tasks.leaves_last_line)
        tamis_warn(machine->log,
                   "%s: the last line is left out, as llama-perplexity does; an empty line after "
                   "it takes it in",
                   options->path);
    st = TAMIS_OK;
    for (size_t i = 0; !st && i < options->n_models; i++)
        st = score_model(options->model_paths[i], &out->tasks, &plan, machine, nll, &out->models[i],
                         err);
out:
    free(nll);
    task_plan_release(&plan);
    if (st) tamis_task_result_release(out);
    return st;
}
