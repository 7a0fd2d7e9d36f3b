/* tasks_internal.h - what the files of the task scores share. */
#ifndef TAMIS_KLD_TASKS_INTERNAL_H
#define TAMIS_KLD_TASKS_INTERNAL_H

#include "kld/tasks.h"
#include "model/tokenizer.h"

/* --- tasks_pick.c: which tasks, in which order --- */

/* Fill order [n_picked] with indices below n_tasks, no one twice, as llama-perplexity picks them
 * (a Mersenne twister seeded with 1). n_picked <= n_tasks; n_tasks < 2^31. */
tamis_status tasks_pick(tamis_task_kind kind, int64_t n_tasks, int64_t n_picked, int64_t *order,
                        tamis_error *err) TAMIS_MUST_USE;

/* --- tasks_plan.c: from texts to the tokens a model must read and those that are scored --- */

/* One choice: tokens [n] of which those from `first` to `end` are scored, each predicted from the
 * one before it. */
typedef struct task_sequence {
    int32_t *tokens;
    int64_t n, first, end;
    int64_t i_row;     /* row of the prediction of token `first`; the others follow */
    int64_t i_end_row; /* row of the prediction after its last token, which llama-perplexity takes
                          for the first token of the second choice; -1: not wanted */
} task_sequence;

/* A pass: n_slots sequences, each padded to n_ctx tokens. Causal attention and recurrence never
 * look ahead, so padding changes nothing before it. */
typedef struct task_pass {
    int64_t n_ctx, n_slots;
    int64_t *sequences; /* [n_slots] */
} task_pass;

enum { TASK_MAX_PASSES = 4 };

typedef struct task_plan {
    task_sequence *sequences; /* of all choices of all tasks, in order */
    int64_t n_sequences;
    task_pass passes[TASK_MAX_PASSES];
    int n_passes;
    int64_t n_rows;
    int32_t *targets; /* [n_rows] */
} task_plan;

/* *plan starts as zeros; release with task_plan_release(). TAMIS_BAD_INPUT: a choice without a
 * token of its own (task named). */
tamis_status task_plan_make(const tamis_tasks *tasks, const tamis_tokenizer *tokenizer,
                            task_plan *plan, tamis_error *err) TAMIS_MUST_USE;
void task_plan_release(task_plan *plan);

#endif
