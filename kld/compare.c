/* compare.c - see compare.h.
 * Tiles of the vocabulary outside, blocks of positions inside: each head row is read and decoded
 * once, and logits exist for one block of one tile at a time. Bound: the matrix products. */
#include "kld/compare.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "model/logit_sums.h"
#include "model/perplexity.h"

typedef struct work {
    float *weights_p, *weights_q; /* [tile][n_embd] */
    float *logits_p, *logits_q;   /* [block rows][tile] */
    tamis_logit_pair *pairs;      /* [n_rows] */
} work;

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static tamis_status work_init(work *w, const tamis_kld_side *p, const tamis_kld_side *q,
                              int64_t tile, const int32_t *targets, int64_t n_rows,
                              tamis_error *err) {
    const uint64_t cells = (uint64_t)(tile * TAMIS_LOGIT_BLOCK_ROWS);
    w->weights_p =
        tamis_alloc_array((uint64_t)(tile * tamis_head_n_embd(p->head)), sizeof(float), err);
    if (!w->weights_p) return TAMIS_NO_RESOURCE;
    w->weights_q =
        tamis_alloc_array((uint64_t)(tile * tamis_head_n_embd(q->head)), sizeof(float), err);
    if (!w->weights_q) return TAMIS_NO_RESOURCE;
    w->logits_p = tamis_alloc_array(cells, sizeof(float), err);
    if (!w->logits_p) return TAMIS_NO_RESOURCE;
    w->logits_q = tamis_alloc_array(cells, sizeof(float), err);
    if (!w->logits_q) return TAMIS_NO_RESOURCE;
    w->pairs = tamis_alloc_array((uint64_t)n_rows, sizeof *w->pairs, err);
    if (!w->pairs) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < n_rows; ++i)
        tamis_logit_pair_init(&w->pairs[i], targets[i]);
    return TAMIS_OK;
}

static void work_release(work *w) {
    free(w->weights_p);
    free(w->weights_q);
    free(w->logits_p);
    free(w->logits_q);
    free(w->pairs);
}

typedef struct block {
    const float *p, *q; /* [n rows][n_cols] */
    tamis_logit_pair *pairs;
    int64_t first, n_cols;
} block;

static void add_row(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const block *b = ctx;
    tamis_logit_pair_add(&b->pairs[i_item], b->p + i_item * b->n_cols, b->q + i_item * b->n_cols,
                         b->first, b->n_cols);
}

static tamis_status add_tile(const work *w, const tamis_kld_side *p, const tamis_kld_side *q,
                             int64_t first, int64_t n_cols, int64_t n_rows,
                             const tamis_kld_machine *machine, tamis_error *err) {
    tamis_status st = tamis_head_decode(p->head, machine->pool, first, n_cols, w->weights_p, err);
    if (st) return st;
    st = tamis_head_decode(q->head, machine->pool, first, n_cols, w->weights_q, err);
    if (st) return st;
    const int64_t n_embd_p = tamis_head_n_embd(p->head), n_embd_q = tamis_head_n_embd(q->head);
    for (int64_t row = 0; row < n_rows; row += TAMIS_LOGIT_BLOCK_ROWS) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        const int64_t n = smaller(n_rows - row, TAMIS_LOGIT_BLOCK_ROWS);
        tamis_head_logits(p->head, machine->gemm, machine->pool, w->weights_p, first, n_cols,
                          p->hidden + row * n_embd_p, n, w->logits_p);
        tamis_head_logits(q->head, machine->gemm, machine->pool, w->weights_q, first, n_cols,
                          q->hidden + row * n_embd_q, n, w->logits_q);
        block b = {.p = w->logits_p,
                   .q = w->logits_q,
                   .pairs = w->pairs + row,
                   .first = first,
                   .n_cols = n_cols};
        tamis_pool_run(machine->pool, n, add_row, &b);
        tamis_progress_advance(machine->progress, (uint64_t)n);
    }
    return TAMIS_OK;
}

static tamis_status finish_row(const tamis_logit_pair *pair, int64_t i, const tamis_kld_side *p,
                               const tamis_kld_side *q, tamis_kld_rows *out, tamis_error *err) {
    out->nll_p[i] = tamis_logit_sum_nll(&pair->p);
    out->nll_q[i] = tamis_logit_sum_nll(&pair->q);
    out->kld[i] = tamis_logit_pair_kld(pair);
    out->same_top[i] = pair->p.i_max == pair->q.i_max;
    if (isfinite(out->nll_p[i]) && isfinite(out->nll_q[i]) && isfinite(out->kld[i]))
        return TAMIS_OK;
    const tamis_kld_side *bad = isfinite(out->nll_p[i]) ? q : p;
    return tamis_fail(err, TAMIS_BAD_INPUT, "%s: logits of scored position %lld are not finite",
                      bad->name, (long long)i);
}

tamis_status tamis_kld_compare(const tamis_kld_side *p, const tamis_kld_side *q,
                               const int32_t *targets, int64_t n_rows,
                               const tamis_kld_machine *machine, tamis_kld_rows *out,
                               tamis_error *err) {
    const int64_t n_vocab = tamis_head_n_vocab(p->head);
    if (tamis_head_n_vocab(q->head) != n_vocab)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s has a vocabulary of %lld tokens, %s one of %lld; only models with "
                          "the same vocabulary can be compared",
                          q->name, (long long)tamis_head_n_vocab(q->head), p->name,
                          (long long)n_vocab);
    const int64_t tile = smaller(n_vocab, TAMIS_LOGIT_TILE_COLS);
    const int64_t n_tiles = (n_vocab + tile - 1) / tile;
    work w = {0};
    tamis_status st = work_init(&w, p, q, tile, targets, n_rows, err);
    if (st) goto out;
    tamis_progress_begin(machine->progress, "compare", (uint64_t)(n_rows * n_tiles), "rows");
    for (int64_t first = 0; first < n_vocab && !st; first += tile) {
        st = add_tile(&w, p, q, first, smaller(n_vocab - first, tile), n_rows, machine, err);
    }
    tamis_progress_end(machine->progress);
    for (int64_t i = 0; i < n_rows && !st; ++i) {
        st = finish_row(&w.pairs[i], i, p, q, out, err);
    }
out:
    work_release(&w);
    return st;
}
