/* tasks_report.c - task scores for people and for programs. */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/parse.h"
#include "kld/tasks.h"

/* Answers of model i that differ from the first model's; those that became right and wrong. */
typedef struct changes {
    int64_t n_changed, n_gained, n_lost;
} changes;

static changes compare(const tamis_task_result *r, size_t i) {
    changes c = {0};
    const tamis_task_answers *parent = &r->models[0], *model = &r->models[i];
    for (int64_t t = 0; t < r->tasks.n_items; t++) {
        c.n_changed += model->answers[t] != parent->answers[t];
        c.n_gained += model->is_right[t] && !parent->is_right[t];
        c.n_lost += !model->is_right[t] && parent->is_right[t];
    }
    return c;
}

/* What guessing would reach: right choices over all choices. */
static double chance(const tamis_tasks *tasks) {
    int64_t n_choices = 0;
    for (int64_t i = 0; i < tasks->n_items; i++)
        n_choices += tasks->items[i].n_choices;
    return (double)tasks->n_items / (double)n_choices;
}

static void print_tasks(const tamis_task_result *r, const tamis_task_answers *model, FILE *stream) {
    int64_t n_right = 0;
    const double *scores = model->scores;
    fprintf(stream, "%s\n%6s %10s  %-22s %6s %6s  scores\n", model->model.name, "task", "score",
            "95 % interval", "answer", "right");
    for (int64_t i = 0; i < r->tasks.n_items; i++) {
        const tamis_task *task = &r->tasks.items[i];
        int32_t i_right = 0;
        while (i_right + 1 < task->n_choices && !task->choices[i_right].is_right)
            i_right++;
        n_right += model->is_right[i];
        const tamis_task_share s = tamis_task_share_of(n_right, i + 1);
        fprintf(stream, "%6lld %8.4f %%  [%8.4f, %8.4f]   %6d %6d ", (long long)i + 1,
                100 * s.share, 100 * s.low, 100 * s.high, model->answers[i] + 1, i_right + 1);
        for (int32_t c = 0; c < task->n_choices; c++)
            fprintf(stream, " %10.6f", scores[c]);
        fputc('\n', stream);
        scores += task->n_choices;
    }
    fputc('\n', stream);
}

static void print_model(const tamis_task_result *r, size_t i, FILE *stream) {
    const tamis_task_answers *model = &r->models[i];
    const tamis_task_share s = tamis_task_share_of(model->n_right, r->tasks.n_items);
    char size[32];
    fprintf(stream, "%-32.32s %10s %8.4f ± %6.4f  [%8.4f, %8.4f]", model->model.name,
            tamis_format_size(model->model.n_bytes, size, sizeof size), 100 * s.share,
            100 * s.error, 100 * s.low, 100 * s.high);
    if (i > 0) {
        const changes c = compare(r, i);
        fprintf(stream, "  %6lld %+5lld %+5lld", (long long)c.n_changed, (long long)c.n_gained,
                -(long long)c.n_lost);
    }
    fputc('\n', stream);
}

void tamis_tasks_report_text(const tamis_task_result *r, bool per_task, FILE *stream) {
    for (size_t i = 0; per_task && i < r->n_models; i++)
        print_tasks(r, &r->models[i], stream);
    fprintf(stream, "%s score over %lld of %lld tasks; by chance %.4f %%\n",
            tamis_task_kind_name(r->tasks.kind), (long long)r->tasks.n_items,
            (long long)r->tasks.n_in_file, 100 * chance(&r->tasks));
    fprintf(stream, "%-32s %10s %17s  %-20s%s\n", "file", "size", "right %", "  95 % interval",
            r->n_models > 1 ? "  change  gain  loss" : "");
    for (size_t i = 0; i < r->n_models; i++)
        print_model(r, i, stream);
    for (size_t i = 0; i < r->n_models; i++) {
        const tamis_task_answers *m = &r->models[i];
        if (m->n_exact_right == m->n_right) continue;
        fprintf(stream,
                "%s: %.4f %% when the second choice of short tasks is scored from its own "
                "context (docs/kld.md)\n",
                m->model.name, 100 * (double)m->n_exact_right / (double)r->tasks.n_items);
    }
}

static cJSON *model_json(const tamis_task_result *r, size_t i) {
    const tamis_task_answers *model = &r->models[i];
    const tamis_task_share s = tamis_task_share_of(model->n_right, r->tasks.n_items);
    const double *scores = model->scores;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "file", model->model.name);
    cJSON_AddStringToObject(item, "hash", model->model.hash);
    tamis_json_add_uint(item, "bytes", model->model.n_bytes);
    tamis_json_add_int(item, "right", model->n_right);
    tamis_json_add_double(item, "share", s.share);
    tamis_json_add_double(item, "error", s.error);
    tamis_json_add_double(item, "low", s.low);
    tamis_json_add_double(item, "high", s.high);
    tamis_json_add_int(item, "right_exact", model->n_exact_right);
    if (i > 0) {
        const changes c = compare(r, i);
        tamis_json_add_int(item, "changed", c.n_changed);
        tamis_json_add_int(item, "gained", c.n_gained);
        tamis_json_add_int(item, "lost", c.n_lost);
    }
    cJSON *tasks = cJSON_AddArrayToObject(item, "tasks");
    for (int64_t t = 0; t < r->tasks.n_items; t++) {
        const tamis_task *task = &r->tasks.items[t];
        cJSON *answer = cJSON_CreateObject();
        cJSON_AddItemToArray(tasks, answer);
        tamis_json_add_int(answer, "task", task->number);
        tamis_json_add_int(answer, "answer", model->answers[t] + 1);
        cJSON_AddBoolToObject(answer, "right", model->is_right[t]);
        cJSON_AddItemToObject(answer, "scores", cJSON_CreateDoubleArray(scores, task->n_choices));
        scores += task->n_choices;
    }
    return item;
}

tamis_status tamis_tasks_report_json(const tamis_task_result *r, const char *path,
                                     tamis_error *err) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "score", tamis_task_kind_name(r->tasks.kind));
    tamis_json_add_int(root, "tasks", r->tasks.n_items);
    tamis_json_add_int(root, "tasks_in_file", r->tasks.n_in_file);
    tamis_json_add_double(root, "chance", chance(&r->tasks));
    cJSON *models = cJSON_AddArrayToObject(root, "models");
    for (size_t i = 0; i < r->n_models; i++)
        cJSON_AddItemToArray(models, model_json(r, i));
    tamis_status st = tamis_json_write(root, path, err);
    cJSON_Delete(root);
    return st;
}
