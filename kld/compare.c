/* compare.c - see compare.h.
 * Groups of rows that both sides can hold, in them tiles of the vocabulary, in them blocks of rows:
 * between two models there is one group, so each head row is read and decoded once; logits exist
 * for one block of one tile at a time. Bound: the matrix products. */
#include "kld/compare.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "model/logit_sums.h"
#include "model/perplexity.h"

typedef struct comparison {
    tamis_kld_logits *p, *q;
    const tamis_kld_machine *machine;
    tamis_logit_pair *pairs; /* [n_rows] */
    void (*add)(tamis_logit_pair *s, const float *p, const float *q, int64_t first, int64_t n_cols);
} comparison;

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

typedef struct block {
    const comparison *c;
    const float *p, *q; /* [n rows][n_cols] */
    tamis_logit_pair *pairs;
    int64_t first, n_cols;
} block;

static void add_row(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const block *b = ctx;
    b->c->add(&b->pairs[i_item], b->p + i_item * b->n_cols, b->q + i_item * b->n_cols, b->first,
              b->n_cols);
}

static tamis_status add_tile(const comparison *c, int64_t first, int64_t n_cols, int64_t first_row,
                             int64_t n_rows, tamis_error *err) {
    tamis_status st = tamis_kld_logits_begin_tile(c->p, first, n_cols, err);
    if (!st) st = tamis_kld_logits_begin_tile(c->q, first, n_cols, err);
    if (st) return st;
    const int64_t end = first_row + n_rows;
    for (int64_t row = first_row; row < end; row += TAMIS_LOGIT_BLOCK_ROWS) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        const int64_t n = smaller(end - row, TAMIS_LOGIT_BLOCK_ROWS);
        block b = {.c = c, .pairs = c->pairs + row, .first = first, .n_cols = n_cols};
        b.p = tamis_kld_logits_get(c->p, row, n);
        b.q = tamis_kld_logits_get(c->q, row, n);
        tamis_pool_run(c->machine->pool, n, add_row, &b);
        tamis_progress_advance(c->machine->progress, (uint64_t)n);
    }
    return TAMIS_OK;
}

static tamis_status add_all(const comparison *c, int64_t n_rows, tamis_error *err) {
    const int64_t n_vocab = tamis_kld_logits_n_vocab(c->p);
    const int64_t tile = smaller(n_vocab, TAMIS_LOGIT_TILE_COLS);
    const int64_t n_group =
        smaller(tamis_kld_logits_max_rows(c->p), tamis_kld_logits_max_rows(c->q));
    for (int64_t row = 0; row < n_rows; row += n_group) {
        const int64_t n = smaller(n_rows - row, n_group);
        tamis_status st = tamis_kld_logits_load(c->p, row, n, err);
        if (!st) st = tamis_kld_logits_load(c->q, row, n, err);
        for (int64_t first = 0; first < n_vocab && !st; first += tile) {
            st = add_tile(c, first, smaller(n_vocab - first, tile), row, n, err);
        }
        if (st) return st;
    }
    return TAMIS_OK;
}

/* The peer keeps these numbers of a row in f32. */
static void finish_stored(const tamis_logit_pair *pair, int64_t i, tamis_kld_rows *out) {
    out->nll_p[i] = -(double)pair->p.target;
    out->nll_q[i] = (double)(float)tamis_logit_sum_nll(&pair->q);
    out->kld[i] = (double)(float)tamis_logit_pair_kld_stored(pair);
}

static tamis_status finish_row(const comparison *c, int64_t i, tamis_kld_rows *out,
                               tamis_error *err) {
    const tamis_logit_pair *pair = &c->pairs[i];
    if (tamis_kld_logits_is_stored(c->p)) {
        finish_stored(pair, i, out);
    } else {
        out->nll_p[i] = tamis_logit_sum_nll(&pair->p);
        out->nll_q[i] = tamis_logit_sum_nll(&pair->q);
        out->kld[i] = tamis_logit_pair_kld(pair);
    }
    out->top_p[i] = pair->p.i_max;
    out->top_q[i] = pair->q.i_max;
    out->same_top[i] = out->top_p[i] == out->top_q[i];
    if (isfinite(out->nll_p[i]) && isfinite(out->nll_q[i]) && isfinite(out->kld[i]))
        return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT, "%s: logits of scored position %lld are not finite",
                      tamis_kld_logits_name(isfinite(out->nll_p[i]) ? c->q : c->p), (long long)i);
}

tamis_status tamis_kld_compare(tamis_kld_logits *p, tamis_kld_logits *q, const int32_t *targets,
                               int64_t n_rows, const tamis_kld_machine *machine,
                               tamis_kld_rows *out, tamis_error *err) {
    const int64_t n_vocab = tamis_kld_logits_n_vocab(p);
    if (tamis_kld_logits_n_vocab(q) != n_vocab)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s has a vocabulary of %lld tokens, %s one of %lld; only models with "
                          "the same vocabulary can be compared",
                          tamis_kld_logits_name(q), (long long)tamis_kld_logits_n_vocab(q),
                          tamis_kld_logits_name(p), (long long)n_vocab);
    comparison c = {.p = p, .q = q, .machine = machine};
    c.add = tamis_kld_logits_is_stored(p) ? tamis_logit_pair_add_stored : tamis_logit_pair_add;
    c.pairs = tamis_alloc_array((uint64_t)n_rows, sizeof *c.pairs, err);
    if (!c.pairs) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < n_rows; ++i)
        tamis_logit_pair_init(&c.pairs[i], targets[i]);
    const int64_t tile = smaller(n_vocab, TAMIS_LOGIT_TILE_COLS);
    const int64_t n_tiles = (n_vocab + tile - 1) / tile;
    tamis_progress_begin(machine->progress, "compare", (uint64_t)(n_rows * n_tiles), "rows");
    tamis_status st = add_all(&c, n_rows, err);
    tamis_progress_end(machine->progress);
    for (int64_t i = 0; i < n_rows && !st; ++i) {
        st = finish_row(&c, i, out, err);
    }
    free(c.pairs);
    return st;
}
