/* mtp.c - see mtp.h. The states stay where those of the trunk were: before each block the sequences
 * lose their last position and move together. A block runs as a layer of its family does; what is
 * here is its input and its norm. Bound: compute, as in the trunk. */
#include "model/mtp.h"

#include <stdio.h>
#include <string.h>

#include "model/arch/arch.h"
#include "model/ops/norm.h"
#include "model/weights.h"

enum { ROWS_PER_ITEM = 16 };

bool tamis_mtp_is_wanted(const tamis_run *run) {
    if (run->model->hp.n_mtp == 0) return false;
    for (int i = 0; i < run->n_observers; i++)
        if (run->observers[i].wants_mtp) return true;
    return false;
}

tamis_status tamis_mtp_check(tamis_run *run, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    if (run->n_ctx <= hp->n_mtp)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "a context of %lld tokens leaves nothing to predict for the %lld "
                          "multi-token prediction blocks of %s; use --ctx %lld or more",
                          (long long)run->n_ctx, (long long)hp->n_mtp, tamis_model_path(run->model),
                          (long long)hp->n_mtp + 1);
    for (int64_t i = hp->n_layers; i < hp->n_blocks; i++)
        if (!tamis_weight_find(run, i, "nextn.eh_proj").tensor)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "%s: tensor 'blk.%lld.nextn.eh_proj.weight' is missing; multi-token "
                              "prediction is not known for architecture '%s'",
                              tamis_model_path(run->model), (long long)i, run->model->arch->name);
    return TAMIS_OK;
}

/* What joins a block to what is before it. */
typedef struct joint {
    int64_t layer; /* of the block */
    int64_t depth; /* which of them it is */
    const int32_t *tokens;
    tamis_weight embedding; /* rows are read as they are needed */
    tamis_weight enorm, hnorm, eh_proj;
} joint;

/* Row i of a run's sequences as they are now, counted in sequences one position longer. */
static int64_t row_before(const tamis_run *run, int64_t i) {
    return i / run->n_ctx * (run->n_ctx + 1) + i % run->n_ctx;
}

typedef struct norm_job {
    const tamis_run *run;
    const joint *joint;
    int64_t first, n_rows;
    const float *embedded; /* [n_rows][n_embd] */
    float *x;              /* [n_rows][2 * n_embd] */
} norm_job;

static void norm_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const norm_job *j = ctx;
    const tamis_hparams *hp = &j->run->model->hp;
    const int64_t n = hp->n_embd;
    int64_t end = (i_item + 1) * ROWS_PER_ITEM;
    if (end > j->n_rows) end = j->n_rows;
    for (int64_t r = i_item * ROWS_PER_ITEM; r < end; r++) {
        const float *h = j->run->h + row_before(j->run, j->first + r) * n;
        float *x = j->x + r * 2 * n;
        tamis_rms_norm(j->embedded + r * n, j->joint->enorm.w, n, hp->norm_eps, x);
        tamis_rms_norm(h, j->joint->hnorm.w, n, hp->norm_eps, x + n);
    }
}

/* The input of a block for a tile: eh_proj · [norm of the next token's embedding | norm of h]. The
 * rows that are written lie before those that later tiles read. */
static tamis_status join_tile(tamis_run *run, const joint *j, const tamis_tile *tile,
                              tamis_error *err) {
    const int64_t n = tile->n_tokens, n_embd = run->model->hp.n_embd;
    const int64_t n_tile = tamis_run_tile_tokens(run);
    int32_t *next = tamis_run_buffer(run, TAMIS_BUFFER_NEXT, n_tile, sizeof *next, err);
    if (!next) return TAMIS_NO_RESOURCE;
    float *embedded = tamis_run_buffer(run, TAMIS_BUFFER_OUT, n_tile * n_embd, sizeof(float), err);
    if (!embedded) return TAMIS_NO_RESOURCE;
    float *x = tamis_run_buffer(run, TAMIS_BUFFER_NORMED, n_tile * 2 * n_embd, sizeof(float), err);
    if (!x) return TAMIS_NO_RESOURCE;
    for (int64_t r = 0; r < n; r++)
        next[r] = j->tokens[tamis_run_token(run, tile->first + r) + 1 + j->depth];
    tamis_status st = tamis_weight_embed(run, &j->embedding, next, n, embedded, err);
    if (st) return st;
    norm_job job = {
        .run = run, .joint = j, .first = tile->first, .n_rows = n, .embedded = embedded, .x = x};
    tamis_pool_run(run->pool, (n + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, norm_rows, &job);
    const tamis_weight *eh_proj = &j->eh_proj;
    const tamis_product product = tamis_tile_product(j->layer, tile, x);
    st = tamis_weights_observe(run, &eh_proj, 1, &product, err);
    float *h = run->h + tile->first * n_embd;
    if (!st) st = tamis_weight_apply(run, eh_proj, x, n, h, n_embd, err);
    return st ? st
              : tamis_run_check_finite(run, h, n, n_embd, j->layer, "the nextn.eh_proj product",
                                       tile->first, NULL, err);
}

/* Every sequence loses its last position, and run->h becomes the input of the block. */
static tamis_status join(tamis_run *run, const int32_t *tokens, int64_t depth, tamis_error *err) {
    joint j = {.layer = run->model->hp.n_layers + depth, .depth = depth, .tokens = tokens};
    j.embedding = tamis_weight_find(run, j.layer, "nextn.embed_tokens");
    if (!j.embedding.tensor) j.embedding = tamis_weight_find(run, -1, "token_embd");
    j.enorm = tamis_weight_find(run, j.layer, "nextn.enorm");
    j.hnorm = tamis_weight_find(run, j.layer, "nextn.hnorm");
    j.eh_proj = tamis_weight_find(run, j.layer, "nextn.eh_proj");
    tamis_weight *all[] = {&j.enorm, &j.hnorm, &j.eh_proj};
    tamis_status st = tamis_weights_load(run, all, 3, 0, err);
    run->n_tokens -= run->n_tokens / run->n_ctx;
    run->n_ctx--;
    run->n_left_out++;
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile))
        st = join_tile(run, &j, &tile, err);
    return st;
}

/* The norm behind a block, what its head would see, and the observers of both. */
static tamis_status finish(tamis_run *run, int64_t depth, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    const int64_t layer = hp->n_layers + depth;
    tamis_weight norm = tamis_weight_find(run, layer, "nextn.shared_head_norm"), *all = &norm;
    if (!norm.tensor) norm = tamis_weight_find(run, -1, "output_norm");
    const tamis_weight own_head = tamis_weight_find(run, layer, "nextn.shared_head_head");
    const tamis_weight *head = &own_head;
    tamis_status st = tamis_weights_load(run, &all, 1, 0, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        float *h = run->h + tile.first * hp->n_embd;
        tamis_rms_norm_rows(run->pool, h, NULL, norm.w, tile.n_tokens, hp->n_embd, hp->norm_eps, h);
        const tamis_product product = tamis_tile_product(layer, &tile, h);
        if (own_head.tensor) st = tamis_weights_observe(run, &head, 1, &product, err);
        for (int i = 0; i < run->n_observers && !st; i++) {
            const tamis_observer *o = &run->observers[i];
            if (o->wants_mtp && o->on_mtp_final)
                st = o->on_mtp_final(o->ctx, depth, tile.first, tile.n_tokens, h, err);
        }
    }
    return st;
}

tamis_status tamis_mtp_run(tamis_run *run, const int32_t *tokens, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    tamis_status st = TAMIS_OK;
    for (int64_t depth = 0; depth < hp->n_mtp && !st; depth++) {
        st = join(run, tokens, depth, err);
        if (!st) st = run->model->arch->layer(run, hp->n_layers + depth, err);
        if (!st) st = finish(run, depth, err);
    }
    return st;
}
