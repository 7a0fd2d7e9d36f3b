/* experts.c - the feed-forward part made of experts, see ffn.h. An expert's weights are decoded
 * once and its tokens gathered from the whole run; their normed inputs are made again rather
 * than kept. Formulas: reference/architectures.md section 1. Bound: compute. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/ops/ffn.h"
#include "model/ops/norm.h"
#include "model/ops/residual.h"
#include "model/weights.h"

enum { TOKENS_PER_ITEM = 32 };

typedef struct part {
    tamis_weight gate, up, gate_up, down;
    int64_t layer, n_ff;
    const tamis_router *router;
    float *norm; /* [n_embd] weight of the norm; own */
    /* Tokens by expert: those of e are tokens[starts[e]] .. tokens[starts[e + 1] - 1]. */
    int64_t *starts; /* [n_expert + 1] */
    int32_t *tokens; /* [n_tokens * n_used] */
    float *weights;  /* [n_tokens * n_used] */
    float *normed, *gate_rows, *up_rows, *out;
} part;

/* Routes of all tokens, in order of token, before they are sorted by expert. */
typedef struct route_list {
    int32_t *chosen; /* [n_tokens][n_used] */
    float *weights;  /* [n_tokens][n_used] */
} route_list;

typedef struct route_job {
    const tamis_router *router;
    float *logits; /* [n_rows][n_expert] */
    int64_t n_rows;
    int32_t *chosen;
    float *weights;
} route_job;

static void route_tokens(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const route_job *j = ctx;
    const tamis_router *r = j->router;
    int64_t end = (i_item + 1) * TOKENS_PER_ITEM;
    for (int64_t i = i_item * TOKENS_PER_ITEM; i < end && i < j->n_rows; i++)
        tamis_route(r, j->logits + i * r->n_expert, j->chosen + i * r->n_used,
                    j->weights + i * r->n_used);
}

static tamis_status route_tile(tamis_run *run, const part *p, const tamis_weight *inp,
                               const tamis_tile *tile, const route_list *routes, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    int64_t n = tile->n_tokens, n_used = p->router->n_used;
    tamis_rms_norm_rows(run->pool, run->h + tile->first * hp->n_embd, NULL, p->norm, n, hp->n_embd,
                        hp->norm_eps, p->normed);
    const tamis_product product = tamis_tile_product(p->layer, tile, p->normed);
    tamis_status st = tamis_weights_observe(run, &inp, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, inp, p->normed, n, p->gate_rows, hp->experts.n, err);
    if (!st)
        st = tamis_run_check_finite(run, p->gate_rows, n, hp->experts.n, p->layer,
                                    "the ffn_gate_inp product", tile->first, NULL, err);
    if (st) return st;
    route_job j = {.router = p->router,
                   .logits = p->gate_rows,
                   .n_rows = n,
                   .chosen = routes->chosen + tile->first * n_used,
                   .weights = routes->weights + tile->first * n_used};
    tamis_pool_run(run->pool, (n + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM, route_tokens, &j);
    return TAMIS_OK;
}

/* Count per expert, then fill: tokens of an expert ascend. */
static void sort_by_expert(const tamis_run *run, part *p, const route_list *routes) {
    int64_t n_used = p->router->n_used, n_expert = p->router->n_expert;
    int64_t next[TAMIS_EXPERTS_MAX];
    for (int64_t i = 0; i < run->n_tokens * n_used; i++)
        p->starts[routes->chosen[i] + 1]++;
    for (int64_t e = 0; e < n_expert; e++)
        p->starts[e + 1] += p->starts[e];
    memcpy(next, p->starts, (size_t)n_expert * sizeof *next);
    for (int64_t i = 0; i < run->n_tokens * n_used; i++) {
        int64_t at = next[routes->chosen[i]]++;
        p->tokens[at] = (int32_t)(i / n_used);
        p->weights[at] = routes->weights[i];
    }
}

/* Route all tokens and sort them by expert. */
static tamis_status route_all(tamis_run *run, part *p, const char *norm_stem, tamis_error *err) {
    tamis_status st = TAMIS_NO_RESOURCE;
    const tamis_hparams *hp = &run->model->hp;
    uint64_t n_routes = (uint64_t)(run->n_tokens * p->router->n_used);
    route_list routes = {0};
    routes.chosen = tamis_alloc_array(n_routes, sizeof *routes.chosen, err);
    if (!routes.chosen) goto out;
    routes.weights = tamis_alloc_array(n_routes, sizeof *routes.weights, err);
    if (!routes.weights) goto out;
    tamis_weight norm = tamis_weight_find(run, p->layer, norm_stem);
    tamis_weight inp = tamis_weight_find(run, p->layer, "ffn_gate_inp");
    tamis_weight *all[] = {&norm, &inp};
    st = tamis_weights_load(run, all, 2, 0, err);
    if (st) goto out;
    memcpy(p->norm, norm.w, (size_t)hp->n_embd * sizeof *p->norm);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile))
        st = route_tile(run, p, &inp, &tile, &routes, err);
    if (!st) sort_by_expert(run, p, &routes);
out:
    free(routes.chosen);
    free(routes.weights);
    return st;
}

/* Rows first .. first + n of an expert's tokens. */
static tamis_status run_rows(tamis_run *run, const part *p, int64_t expert, int64_t first,
                             int64_t n, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    const int32_t *tokens = p->tokens + first;
    bool is_fused = p->gate_up.tensor != NULL;
    const tamis_weight *inputs[] = {is_fused ? &p->gate_up : &p->gate, &p->up};
    const tamis_weight *down = &p->down;
    int64_t stride = is_fused ? 2 * p->n_ff : p->n_ff;
    const float *up_rows = is_fused ? p->gate_rows + p->n_ff : p->up_rows;
    tamis_rms_norm_rows(run->pool, run->h, tokens, p->norm, n, hp->n_embd, hp->norm_eps, p->normed);
    tamis_product product = {
        .layer = p->layer, .expert = expert, .x = p->normed, .n_tokens = n, .tokens = tokens};
    tamis_status st = tamis_weights_observe(run, inputs, is_fused ? 1 : 2, &product, err);
    if (!st) st = tamis_weight_apply(run, inputs[0], p->normed, n, p->gate_rows, stride, err);
    if (!st && !is_fused)
        st = tamis_weight_apply(run, &p->up, p->normed, n, p->up_rows, p->n_ff, err);
    if (st) return st;
    /* in place when separate; else packed into up_rows, whose rows are free then */
    float *acted = is_fused ? p->up_rows : p->gate_rows;
    tamis_swiglu_rows(run->pool, p->gate_rows, stride, up_rows, stride, n, p->n_ff, acted);
    st = tamis_run_check_finite(run, acted, n, p->n_ff, p->layer, "the input of ffn_down_exps", 0,
                                tokens, err);
    product.x = acted;
    if (!st) st = tamis_weights_observe(run, &down, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, down, acted, n, p->out, hp->n_embd, err);
    if (st) return st;
    tamis_scatter_rows(run->pool, p->out, tokens, p->weights + first, n, hp->n_embd, run->sums);
    return TAMIS_OK;
}

static tamis_status run_expert(tamis_run *run, part *p, int64_t expert, tamis_error *err) {
    int64_t end = p->starts[expert + 1], step = tamis_run_tile_tokens(run);
    if (p->starts[expert] == end) return TAMIS_OK;
    tamis_weight *all[] = {&p->gate, &p->up, &p->gate_up, &p->down};
    tamis_status st = tamis_weights_load(run, all, 4, expert, err);
    for (int64_t first = p->starts[expert]; !st && first < end; first += step)
        st = run_rows(run, p, expert, first, end - first < step ? end - first : step, err);
    return st;
}

/* Add the experts' sums to the residual stream and clear them for the next layer. */
static tamis_status add_sums(tamis_run *run, int64_t layer, tamis_error *err) {
    int64_t n_embd = run->model->hp.n_embd;
    tamis_status st = TAMIS_OK;
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        float *x = run->h + tile.first * n_embd, *sums = run->sums + tile.first * n_embd;
        tamis_add_rows(run->pool, sums, tile.n_tokens, n_embd, x);
        memset(sums, 0, (size_t)(tile.n_tokens * n_embd) * sizeof *sums);
        st = tamis_run_check_finite(run, x, tile.n_tokens, n_embd, layer,
                                    "the hidden state after the experts", tile.first, NULL, err);
    }
    return st;
}

static tamis_status prepare(tamis_run *run, part *p, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    int64_t n = tamis_run_tile_tokens(run);
    uint64_t n_routes = (uint64_t)(run->n_tokens * hp->experts.n_used);
    int64_t n_wide = 2 * p->n_ff > hp->experts.n ? 2 * p->n_ff : hp->experts.n;
    p->gate = tamis_weight_find(run, p->layer, "ffn_gate_exps");
    p->up = tamis_weight_find(run, p->layer, "ffn_up_exps");
    p->gate_up = tamis_weight_find(run, p->layer, "ffn_gate_up_exps");
    p->down = tamis_weight_find(run, p->layer, "ffn_down_exps");
    if (!(p->norm = tamis_alloc_array((uint64_t)hp->n_embd, sizeof *p->norm, err)) ||
        !(p->starts = tamis_alloc_array((uint64_t)hp->experts.n + 1, sizeof *p->starts, err)) ||
        !(p->tokens = tamis_alloc_array(n_routes, sizeof *p->tokens, err)) ||
        !(p->weights = tamis_alloc_array(n_routes, sizeof *p->weights, err)))
        return TAMIS_NO_RESOURCE;
    p->normed = tamis_run_buffer(run, TAMIS_BUFFER_NORMED, n * hp->n_embd, sizeof(float), err);
    if (!p->normed) return TAMIS_NO_RESOURCE;
    p->gate_rows = tamis_run_buffer(run, TAMIS_BUFFER_GATE, n * n_wide, sizeof(float), err);
    if (!p->gate_rows) return TAMIS_NO_RESOURCE;
    p->up_rows = tamis_run_buffer(run, TAMIS_BUFFER_UP, n * p->n_ff, sizeof(float), err);
    if (!p->up_rows) return TAMIS_NO_RESOURCE;
    p->out = tamis_run_buffer(run, TAMIS_BUFFER_OUT, n * hp->n_embd, sizeof(float), err);
    return p->out ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

tamis_status tamis_expert_ffn(tamis_run *run, int64_t layer, const char *norm_stem,
                              const tamis_router *router, int i_part, int n_parts,
                              tamis_error *err) {
    part p = {.layer = layer, .n_ff = run->model->hp.experts.n_ff, .router = router};
    tamis_status st = prepare(run, &p, err);
    if (!st) st = route_all(run, &p, norm_stem, err);
    for (int64_t e = 0; !st && e < router->n_expert; e++) {
        st = run_expert(run, &p, e, err);
        tamis_run_advance(run, layer, i_part, n_parts, p.starts[e + 1], p.starts[router->n_expert]);
    }
    if (!st) st = add_sums(run, layer, err);
    free(p.norm);
    free(p.starts);
    free(p.tokens);
    free(p.weights);
    return st;
}
