/* worst.c - see worst.h, worst_internal.h. The rows are few, so their logits are made again, tile
 * by tile, instead of being kept for all positions. */
#include "kld/worst_internal.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "model/logit_sums.h"
#include "model/perplexity.h"

typedef struct ranked {
    double kld;
    int64_t i_row;
} ranked;

static int by_divergence(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->kld != y->kld) return x->kld > y->kld ? -1 : 1;
    return (x->i_row > y->i_row) - (x->i_row < y->i_row);
}

tamis_status tamis_kld_worst_find(const tamis_kld_rows *rows, const tamis_kld_plan *plan,
                                  int64_t n_wanted, tamis_kld_worst *out, tamis_error *err) {
    *out = (tamis_kld_worst){0};
    const int64_t n = n_wanted < rows->n ? n_wanted : rows->n;
    tamis_status st = TAMIS_NO_RESOURCE;
    ranked *all = tamis_alloc_array((uint64_t)rows->n, sizeof *all, err);
    if (!all) goto out;
    out->positions = tamis_alloc_array((uint64_t)n, sizeof *out->positions, err);
    if (!out->positions) goto out;
    for (int64_t i = 0; i < rows->n; ++i)
        all[i] = (ranked){rows->kld[i], i};
    qsort(all, (size_t)rows->n, sizeof *all, by_divergence);
    out->n = n;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t i_row = all[i].i_row;
        out->positions[i] = (tamis_kld_position){
            .i_row = i_row,
            .i_chunk = i_row / plan->n_per_chunk,
            .i_token = plan->first + i_row % plan->n_per_chunk + 1,
            .kld = all[i].kld,
            .expected = tamis_kld_plan_target(plan, i_row),
        };
    }
    st = TAMIS_OK;
out:
    free(all);
    return st;
}

int64_t *tamis_kld_worst_rows(const tamis_kld_worst *worst, tamis_error *err) {
    int64_t *list = tamis_alloc_array((uint64_t)worst->n, sizeof *list, err);
    for (int64_t i = 0; list && i < worst->n; ++i)
        list[i] = worst->positions[i].i_row;
    return list;
}

/* Best values of a row so far, falling; equal ones keep the order of their ids. */
typedef struct best {
    tamis_logit_sum sum;
    float value[TAMIS_KLD_N_TOP];
    int32_t token[TAMIS_KLD_N_TOP];
} best;

static void best_init(best *b, int32_t expected) {
    tamis_logit_sum_init(&b->sum, expected);
    for (int i = 0; i < TAMIS_KLD_N_TOP; ++i) {
        b->value[i] = -INFINITY;
        b->token[i] = -1;
    }
}

static void best_add(best *b, const float *x, int64_t first, int64_t n) {
    tamis_logit_sum_add(&b->sum, x, first, n);
    for (int64_t k = 0; k < n; ++k) {
        if (!(x[k] > b->value[TAMIS_KLD_N_TOP - 1])) continue;
        int i = TAMIS_KLD_N_TOP - 1;
        for (; i > 0 && x[k] > b->value[i - 1]; --i) {
            b->value[i] = b->value[i - 1];
            b->token[i] = b->token[i - 1];
        }
        b->value[i] = x[k];
        b->token[i] = (int32_t)(first + k);
    }
}

static tamis_status collect(tamis_kld_logits *side, int64_t n, best *all, tamis_error *err) {
    const int64_t n_vocab = tamis_kld_logits_n_vocab(side);
    const int64_t n_group = tamis_kld_logits_max_rows(side);
    tamis_status st = TAMIS_OK;
    for (int64_t row = 0; row < n && !st; row += n_group) {
        const int64_t end = row + n_group < n ? row + n_group : n;
        st = tamis_kld_logits_load(side, row, end - row, err);
        for (int64_t first = 0; first < n_vocab && !st; first += TAMIS_LOGIT_TILE_COLS) {
            const int64_t left = n_vocab - first;
            const int64_t n_cols = left < TAMIS_LOGIT_TILE_COLS ? left : TAMIS_LOGIT_TILE_COLS;
            st = tamis_interrupted() ? tamis_fail_interrupted(err)
                                     : tamis_kld_logits_begin_tile(side, first, n_cols, err);
            for (int64_t i = row; i < end && !st; i += TAMIS_LOGIT_BLOCK_ROWS) {
                const int64_t n_rows =
                    end - i < TAMIS_LOGIT_BLOCK_ROWS ? end - i : TAMIS_LOGIT_BLOCK_ROWS;
                const float *x = tamis_kld_logits_get(side, i, n_rows);
                for (int64_t k = 0; k < n_rows; ++k)
                    best_add(&all[i + k], x + k * n_cols, first, n_cols);
            }
        }
    }
    return st;
}

tamis_status tamis_kld_worst_ask(tamis_kld_worst *worst, tamis_kld_logits *side, const double *nll,
                                 bool is_parent, const tamis_kld_machine *machine,
                                 tamis_error *err) {
    best *all = tamis_alloc_array((uint64_t)worst->n, sizeof *all, err);
    if (!all) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < worst->n; ++i)
        best_init(&all[i], worst->positions[i].expected);
    tamis_progress_begin(machine->progress, "worst positions", 1, "sides");
    tamis_status st = collect(side, worst->n, all, err);
    tamis_progress_end(machine->progress);
    const bool is_stored = tamis_kld_logits_is_stored(side);
    for (int64_t i = 0; i < worst->n && !st; ++i) {
        tamis_kld_position *position = &worst->positions[i];
        tamis_kld_opinion *opinion = is_parent ? &position->p : &position->q;
        const double lse = is_stored ? 0 : (double)all[i].sum.max + log(all[i].sum.sum);
        opinion->p_expected = exp(-nll[position->i_row]);
        for (int k = 0; k < TAMIS_KLD_N_TOP; ++k)
            opinion->top[k] = (tamis_kld_candidate){
                .token = all[i].token[k],
                .p = all[i].token[k] < 0 ? 0 : exp((double)all[i].value[k] - lse),
            };
    }
    free(all);
    return st;
}

static tamis_status tell(const tamis_tokenizer *t, const int32_t *ids, int64_t n,
                         tamis_kld_bytes *out, tamis_error *err) {
    return tamis_detokenize(t, ids, (uint64_t)n, true, &out->data, &out->n_bytes, err);
}

static tamis_status tell_opinion(const tamis_tokenizer *t, tamis_kld_opinion *o, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (int k = 0; k < TAMIS_KLD_N_TOP && !st; ++k) {
        if (o->top[k].token >= 0) st = tell(t, &o->top[k].token, 1, &o->top[k].text, err);
    }
    return st;
}

tamis_status tamis_kld_worst_tell(tamis_kld_worst *worst, const tamis_kld_plan *plan,
                                  const tamis_tokenizer *tokenizer, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (int64_t i = 0; tokenizer && i < worst->n && !st; ++i) {
        tamis_kld_position *p = &worst->positions[i];
        const int64_t n = p->i_token < TAMIS_KLD_N_CONTEXT ? p->i_token : TAMIS_KLD_N_CONTEXT;
        const int32_t *here = plan->tokens + p->i_chunk * plan->n_ctx + p->i_token;
        st = tell(tokenizer, here - n, n, &p->context, err);
        if (!st) st = tell(tokenizer, &p->expected, 1, &p->expected_text, err);
        if (!st) st = tell_opinion(tokenizer, &p->p, err);
        if (!st) st = tell_opinion(tokenizer, &p->q, err);
    }
    return st;
}

void tamis_kld_worst_release(tamis_kld_worst *worst) {
    if (!worst) return;
    for (int64_t i = 0; i < worst->n; ++i) {
        tamis_kld_position *p = &worst->positions[i];
        free(p->context.data);
        free(p->expected_text.data);
        for (int k = 0; k < TAMIS_KLD_N_TOP; ++k) {
            free(p->p.top[k].text.data);
            free(p->q.top[k].text.data);
        }
    }
    free(worst->positions);
    *worst = (tamis_kld_worst){0};
}
