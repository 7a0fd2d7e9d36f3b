/* tasks_plan.c - what a model must read to score the tasks, and which of its predictions count.
 * Every choice is a sequence of its own; sequences of similar length share a pass, so that each
 * weight is decoded a few times for the whole run and little is computed for padding. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kld/tasks_internal.h"

/* With as many tokens or fewer that differ, llama-perplexity scores the filled-in word too. */
enum { WINOGRANDE_MIN_TAIL = 3 };

void task_plan_release(task_plan *plan) {
    if (!plan) return;
    for (int64_t i = 0; plan->sequences && i < plan->n_sequences; i++)
        free(plan->sequences[i].tokens);
    for (int i = 0; i < TASK_MAX_PASSES; i++)
        free(plan->passes[i].sequences);
    free(plan->sequences);
    free(plan->targets);
    *plan = (task_plan){0};
}

/* --- tokens --- */

static tamis_status count_tokens(const tamis_tokenizer *tokenizer, const char *text, size_t n_bytes,
                                 tamis_tokens *out, tamis_error *err) {
    *out = (tamis_tokens){0};
    return tamis_tokenize(tokenizer, text, n_bytes, true, false, out, err);
}

/* Number of tokens that all n sequences begin with; less where a sequence would have no token of
 * its own, and at least 1, as nothing predicts the first token. */
static int64_t common_prefix(const task_sequence *s, int32_t n) {
    int64_t shortest = s[0].n, k = 0;
    for (int32_t i = 1; i < n; i++)
        if (s[i].n < shortest) shortest = s[i].n;
    for (bool is_same = true; k < shortest - 1; k++) {
        for (int32_t i = 1; i < n && is_same; i++)
            is_same = s[i].tokens[k] == s[0].tokens[k];
        if (!is_same) break;
    }
    return k > 1 ? k : 1;
}

/* Which tokens of a task's sequences count. *is_short: WinoGrande with so little after the word
 * that the word counts too. */
static tamis_status find_scored(const tamis_tokenizer *tokenizer, tamis_task_kind kind,
                                const tamis_task *task, task_sequence *s, bool *is_short,
                                tamis_error *err) {
    const int64_t prefix = common_prefix(s, task->n_choices);
    *is_short = false;
    for (int32_t i = 0; i < task->n_choices; i++) {
        s[i].first = prefix;
        s[i].end = s[i].n;
        if (s[i].n - prefix <= WINOGRANDE_MIN_TAIL) *is_short = true;
    }
    if (kind != TAMIS_TASK_WINOGRANDE) *is_short = false;
    for (int32_t i = 0; kind == TAMIS_TASK_WINOGRANDE && i < task->n_choices; i++) {
        if (!*is_short) {
            tamis_tokens stem;
            tamis_status st = count_tokens(tokenizer, task->choices[i].text,
                                           task->choices[i].n_stem_bytes, &stem, err);
            if (!st && stem.n_ids && (int64_t)stem.n_ids < s[i].n) s[i].first = (int64_t)stem.n_ids;
            tamis_tokens_release(&stem);
            if (st) return st;
        }
        /* The last token, mostly the full stop, does not count. */
        if (s[i].end - s[i].first > 1) s[i].end--;
    }
    for (int32_t i = 0; i < task->n_choices; i++)
        if (s[i].first >= s[i].end)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "task %lld: choice %d has no token that could be predicted",
                              (long long)task->number, i + 1);
    return TAMIS_OK;
}

static tamis_status tokenize_task(const tamis_tokenizer *tokenizer, tamis_task_kind kind,
                                  const tamis_task *task, task_sequence *s, bool *is_short,
                                  tamis_error *err) {
    for (int32_t i = 0; i < task->n_choices; i++) {
        tamis_tokens tokens;
        const tamis_task_choice *choice = &task->choices[i];
        tamis_status st = count_tokens(tokenizer, choice->text, choice->n_bytes, &tokens, err);
        s[i].tokens = tokens.ids;
        s[i].n = (int64_t)tokens.n_ids;
        if (st) return st;
    }
    return find_scored(tokenizer, kind, task, s, is_short, err);
}

/* --- rows --- */

/* Number the predictions; those at the end of a first choice follow the regular ones. */
static tamis_status number_rows(const tamis_tasks *tasks, const bool *is_short, task_plan *plan,
                                tamis_error *err) {
    task_sequence *sequences = plan->sequences;
    for (int64_t i = 0; i < plan->n_sequences; i++) {
        sequences[i].i_row = plan->n_rows;
        sequences[i].i_end_row = -1;
        plan->n_rows += sequences[i].end - sequences[i].first;
    }
    /* Only WinoGrande has short ones, and it has two choices in every task. */
    for (int64_t i = 0; i < tasks->n_items; i++)
        if (is_short[i]) sequences[2 * i].i_end_row = plan->n_rows++;
    plan->targets = tamis_alloc_array((uint64_t)plan->n_rows, sizeof *plan->targets, err);
    if (!plan->targets) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < plan->n_sequences; i++) {
        const task_sequence *s = &sequences[i];
        memcpy(plan->targets + s->i_row, s->tokens + s->first,
               (size_t)(s->end - s->first) * sizeof *s->tokens);
        if (s->i_end_row >= 0) plan->targets[s->i_end_row] = s[1].tokens[s[1].first];
    }
    return TAMIS_OK;
}

/* --- passes --- */

/* Ends of the length classes: by_length[n] is the number of sequences of n tokens, n <= longest.
 * ends [TASK_MAX_PASSES] ascending; returns their number. Least padding, by dynamic programming
 * over the lengths: cost[k][n] = least tokens for all sequences up to length n in k classes. */
static int choose_lengths(const int64_t *by_length, int64_t longest, int64_t *ends, int64_t *cost,
                          int64_t *from) {
    const int64_t n_columns = longest + 1;
    for (int64_t n = 0; n <= longest; n++)
        cost[n] = n ? INT64_MAX / 4 : 0;
    for (int k = 1; k <= TASK_MAX_PASSES; k++) {
        int64_t *now = cost + k * n_columns;
        const int64_t *before = now - n_columns;
        for (int64_t n = 0; n <= longest; n++) {
            int64_t n_sequences = 0;
            now[n] = before[n];
            from[k * n_columns + n] = n;
            for (int64_t m = n; m-- > 0;) {
                n_sequences += by_length[m + 1];
                const int64_t c = before[m] + n_sequences * n;
                if (c >= now[n]) continue;
                now[n] = c;
                from[k * n_columns + n] = m;
            }
        }
    }
    int n_ends = 0;
    int64_t reversed[TASK_MAX_PASSES];
    for (int64_t k = TASK_MAX_PASSES, n = longest; k > 0 && n > 0; k--) {
        const int64_t m = from[k * n_columns + n];
        if (m < n) reversed[n_ends++] = n;
        n = m;
    }
    for (int i = 0; i < n_ends; i++)
        ends[i] = reversed[n_ends - 1 - i];
    return n_ends;
}

/* A class wider than this is not looked for: the search is quadratic in the length. */
enum { MAX_CLASSED_TOKENS = 2048 };

static tamis_status place(task_plan *plan, const int64_t *ends, int n_ends, tamis_error *err) {
    plan->n_passes = n_ends;
    for (int p = 0; p < n_ends; p++) {
        task_pass *pass = &plan->passes[p];
        pass->n_ctx = ends[p];
        for (int64_t i = 0; i < plan->n_sequences; i++) {
            const int64_t n = plan->sequences[i].n;
            pass->n_slots += n <= ends[p] && (p == 0 || n > ends[p - 1]);
        }
        pass->sequences = tamis_alloc_array((uint64_t)pass->n_slots, sizeof *pass->sequences, err);
        if (!pass->sequences) return TAMIS_NO_RESOURCE;
        pass->n_slots = 0;
    }
    for (int64_t i = 0; i < plan->n_sequences; i++) {
        int p = 0;
        while (plan->sequences[i].n > ends[p])
            p++;
        plan->passes[p].sequences[plan->passes[p].n_slots++] = i;
    }
    return TAMIS_OK;
}

static tamis_status form_passes(task_plan *plan, tamis_error *err) {
    int64_t longest = 0, ends[TASK_MAX_PASSES];
    for (int64_t i = 0; i < plan->n_sequences; i++)
        if (plan->sequences[i].n > longest) longest = plan->sequences[i].n;
    if (longest > MAX_CLASSED_TOKENS) return place(plan, &longest, 1, err);
    const uint64_t n_columns = (uint64_t)longest + 1, n_cells = n_columns * (TASK_MAX_PASSES + 1);
    int64_t *by_length = tamis_alloc_array(n_columns, sizeof *by_length, err);
    int64_t *cost = by_length ? tamis_alloc_array(n_cells, sizeof *cost, err) : NULL;
    int64_t *from = cost ? tamis_alloc_array(n_cells, sizeof *from, err) : NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    if (from) {
        for (int64_t i = 0; i < plan->n_sequences; i++)
            by_length[plan->sequences[i].n]++;
        st = place(plan, ends, choose_lengths(by_length, longest, ends, cost, from), err);
    }
    free(by_length);
    free(cost);
    free(from);
    return st;
}

tamis_status task_plan_make(const tamis_tasks *tasks, const tamis_tokenizer *tokenizer,
                            task_plan *plan, tamis_error *err) {
    for (int64_t i = 0; i < tasks->n_items; i++)
        plan->n_sequences += tasks->items[i].n_choices;
    plan->sequences = tamis_alloc_array((uint64_t)plan->n_sequences, sizeof *plan->sequences, err);
    bool *is_short = tamis_alloc_array((uint64_t)tasks->n_items, sizeof *is_short, err);
    tamis_status st = plan->sequences && is_short ? TAMIS_OK : TAMIS_NO_RESOURCE;
    int64_t at = 0;
    for (int64_t i = 0; !st && i < tasks->n_items; i++) {
        const tamis_task *task = &tasks->items[i];
        st = tamis_interrupted() ? tamis_fail_interrupted(err)
                                 : tokenize_task(tokenizer, tasks->kind, task, plan->sequences + at,
                                                 &is_short[i], err);
        at += task->n_choices;
    }
    if (!st) st = number_rows(tasks, is_short, plan, err);
    if (!st) st = form_passes(plan, err);
    free(is_short);
    return st;
}
