/* tasks.h - multiple-choice scores of a model: HellaSwag, WinoGrande and the binary multiple-choice
 * files of llama.cpp. For each task the model's average log-probability per token of every choice
 * is computed, and the largest is the model's answer. Files, choice of tasks and scores are those
 * of llama-perplexity, so that its published numbers can be compared; docs/kld.md describes them.
 * All sequences of a run go through the model in a few layer-major passes. */
#ifndef TAMIS_KLD_TASKS_H
#define TAMIS_KLD_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "kld/evaluate.h"
#include "kld/identity.h"

typedef enum tamis_task_kind {
    TAMIS_TASK_HELLASWAG,
    TAMIS_TASK_WINOGRANDE,
    TAMIS_TASK_MULTIPLE_CHOICE,
    TAMIS_TASK_N_KINDS,
} tamis_task_kind;

/* "HellaSwag", "WinoGrande", "multiple choice". */
const char *tamis_task_kind_name(tamis_task_kind kind);

/* One choice of a task as text: what the model reads, context and choice together. */
typedef struct tamis_task_choice {
    char *text; /* [n_bytes], owned */
    size_t n_bytes;
    size_t n_stem_bytes; /* WinoGrande: bytes up to the end of the filled-in word; what follows
                            is scored. Else 0 */
    bool is_right;
} tamis_task_choice;

typedef struct tamis_task {
    tamis_task_choice *choices;
    int32_t n_choices; /* 2 or more but for a multiple-choice file, where 1 is possible */
    int64_t number;    /* in the file, from 1 */
} tamis_task;

typedef struct tamis_tasks {
    tamis_task_kind kind;
    tamis_task *items; /* in the order they are scored */
    int64_t n_items, n_in_file;
    bool leaves_last_line; /* WinoGrande: the file's last line was left out (docs/kld.md) */
} tamis_tasks;

/* Read a task file and choose max_tasks of it (0: all) in the order llama-perplexity does.
 * TAMIS_BAD_INPUT names the file and the line or offset that is wrong. Release with
 * tamis_tasks_release(). */
tamis_status tamis_tasks_read(const char *path, tamis_task_kind kind, int64_t max_tasks,
                              tamis_tasks *out, tamis_error *err) TAMIS_MUST_USE;
void tamis_tasks_release(tamis_tasks *tasks);

/* A model's answers. */
typedef struct tamis_task_answers {
    tamis_kld_identity model;
    double *scores;   /* of all choices of all tasks, in order: mean log-probability per
                         token, in nats */
    int32_t *answers; /* [n_items] index of the choice with the largest score */
    bool *is_right;   /* [n_items] */
    int64_t n_right;
    int64_t n_exact_right; /* WinoGrande: with the second choice's first token scored from its
                              own context everywhere; else n_right. See docs/kld.md */
} tamis_task_answers;

typedef struct tamis_task_options {
    const char *const *model_paths; /* the parent first */
    size_t n_models;
    const char *path;
    tamis_task_kind kind;
    int64_t max_tasks; /* 0: all */
} tamis_task_options;

typedef struct tamis_task_result {
    tamis_tasks tasks;
    tamis_task_answers *models; /* [n_models] in the order given */
    size_t n_models;
} tamis_task_result;

/* Score every model on the tasks. Each must have the vocabulary of the first.
 * TAMIS_BAD_INPUT: a file that cannot be used. Release with tamis_task_result_release(). */
tamis_status tamis_tasks_run(const tamis_task_options *options, const tamis_kld_machine *machine,
                             tamis_task_result *out, tamis_error *err) TAMIS_MUST_USE;
void tamis_task_result_release(tamis_task_result *result);

/* The share of right answers with its 95 % interval (Wilson). */
typedef struct tamis_task_share {
    double share, low, high;
    double error; /* sqrt(p (1 - p) / (n - 1)), 0 for n < 2 */
} tamis_task_share;
tamis_task_share tamis_task_share_of(int64_t n_right, int64_t n);

/* A line per model; per_task: also the running score after each task, of each model. */
void tamis_tasks_report_text(const tamis_task_result *result, bool per_task, FILE *stream);
/* The same with every score as JSON, to a file or "-"; fields: docs/kld.md. */
tamis_status tamis_tasks_report_json(const tamis_task_result *result, const char *path,
                                     tamis_error *err) TAMIS_MUST_USE;

#endif
