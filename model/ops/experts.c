/* experts.c - the feed-forward part made of experts, see ffn.h. An expert's weights are decoded
 * once and its tokens gathered from the whole run; their normed inputs are made again rather
 * than kept. Formulas: reference/architectures.md section 1. Bound: compute. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/ops/ffn.h"
#include "model/ops/norm.h"
#include "model/ops/residual.h"
#include "model/ops/router.h"
#include "model/weights.h"

enum { TOKENS_PER_ITEM = 32 };

const tamis_mlp_stems tamis_shared_expert = {.norm = "ffn_norm",
                                             .gate = "ffn_gate_shexp",
                                             .up = "ffn_up_shexp",
                                             .down = "ffn_down_shexp",
                                             .gate_inp = "ffn_gate_inp_shexp"};
const tamis_mlp_stems tamis_shared_expert_post_attention = {.norm = "post_attention_norm",
                                                            .gate = "ffn_gate_shexp",
                                                            .up = "ffn_up_shexp",
                                                            .down = "ffn_down_shexp",
                                                            .gate_inp = "ffn_gate_inp_shexp"};

typedef struct part {
    tamis_weight gate, up, gate_up, down;
    int64_t layer, n_ff;
    const tamis_expert_hparams *experts;
    const tamis_expert_style *style;
    float *norm;   /* [n_embd] weight of the norm; own */
    float *scales; /* [n_tokens] of RMSNorm of the hidden states: each is normed several times */
    /* Tokens by expert: those of e are tokens[starts[e]] .. tokens[starts[e + 1] - 1]. */
    int64_t *starts; /* [n_expert + 1] */
    int32_t *tokens; /* [n_tokens * n_used] */
    float *weights;  /* [n_tokens * n_used] */
    float *normed, *gate_rows, *up_rows, *out;
} part;

/* ---- routing ---- */

/* What routes a layer's tokens, and their routes in order of token, before they are sorted by
 * expert. */
typedef struct routing {
    tamis_weight norm, inp, bias, scale;
    float *input_norm; /* [n_embd] weight of the norm of the router's input; own */
    int32_t *chosen;   /* [n_tokens][n_used] */
    float *weights;    /* [n_tokens][n_used] */
} routing;

typedef struct route_job {
    const tamis_expert_hparams *experts;
    float *logits;     /* [n_rows][n_expert] */
    const float *bias; /* [n_expert] or NULL */
    int64_t n_rows;
    int32_t *chosen;
    float *weights;
} route_job;

static void route_tokens(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const route_job *j = ctx;
    const tamis_expert_hparams *e = j->experts;
    int64_t end = (i_item + 1) * TOKENS_PER_ITEM;
    for (int64_t i = i_item * TOKENS_PER_ITEM; i < end && i < j->n_rows; i++)
        tamis_route(e, j->logits + i * e->n, j->bias, j->chosen + i * e->n_used,
                    j->weights + i * e->n_used);
}

static tamis_status route_tile(tamis_run *run, const part *p, const routing *r,
                               const tamis_tile *tile, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    int64_t n = tile->n_tokens, n_used = p->experts->n_used, n_expert = p->experts->n;
    const tamis_weight *inp = &r->inp;
    const float *x = run->h + tile->first * hp->n_embd;
    float *scales = p->scales + tile->first;
    tamis_rms_scales(run->pool, x, n, hp->n_embd, hp->norm_eps, scales);
    tamis_rms_norm_scaled_rows(run->pool, x, scales, NULL, r->input_norm, n, hp->n_embd, p->normed);
    const tamis_product product = tamis_tile_product(p->layer, tile, p->normed);
    tamis_status st = tamis_weights_observe(run, &inp, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, inp, p->normed, n, p->gate_rows, n_expert, err);
    if (!st)
        st = tamis_run_check_finite(run, p->gate_rows, n, n_expert, p->layer,
                                    "the ffn_gate_inp product", tile->first, NULL, err);
    if (st) return st;
    route_job j = {.experts = p->experts,
                   .logits = p->gate_rows,
                   .bias = r->bias.tensor ? r->bias.w : NULL,
                   .n_rows = n,
                   .chosen = r->chosen + tile->first * n_used,
                   .weights = r->weights + tile->first * n_used};
    tamis_pool_run(run->pool, (n + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM, route_tokens, &j);
    return TAMIS_OK;
}

/* Count per expert, then fill: tokens of an expert ascend. */
static void sort_by_expert(const tamis_run *run, part *p, const routing *r) {
    int64_t n_used = p->experts->n_used, n_expert = p->experts->n;
    int64_t next[TAMIS_EXPERTS_MAX];
    for (int64_t i = 0; i < run->n_tokens * n_used; i++)
        p->starts[r->chosen[i] + 1]++;
    for (int64_t e = 0; e < n_expert; e++)
        p->starts[e + 1] += p->starts[e];
    memcpy(next, p->starts, (size_t)n_expert * sizeof *next);
    for (int64_t i = 0; i < run->n_tokens * n_used; i++) {
        int64_t at = next[r->chosen[i]]++;
        p->tokens[at] = (int32_t)(i / n_used);
        p->weights[at] = r->weights[i];
    }
}

/* Load what the router needs; the norms' weights go to arrays of their own, since the experts'
 * weights will overwrite what is loaded. */
static tamis_status load_routing(tamis_run *run, part *p, routing *r, tamis_error *err) {
    int64_t n_embd = run->model->hp.n_embd;
    const float inverse_root = (float)(1.0 / sqrt((double)n_embd));
    const char *norm = p->style->norm ? p->style->norm : "ffn_norm";
    r->norm = tamis_weight_find(run, p->layer, norm);
    r->inp = tamis_weight_find(run, p->layer, "ffn_gate_inp");
    r->bias = tamis_weight_find_bare(run, p->layer, "exp_probs_b.bias");
    if (p->style->has_router_input) {
        r->inp.scale_tensor = NULL; /* this one is of the input, not of the product */
        r->scale = tamis_weight_find_bare(run, p->layer, "ffn_gate_inp.scale");
    }
    tamis_weight *all[] = {&r->norm, &r->inp, &r->bias, &r->scale};
    tamis_status st = tamis_weights_load(run, all, 4, 0, err);
    if (st) return st;
    memcpy(p->norm, r->norm.w, (size_t)n_embd * sizeof *p->norm);
    for (int64_t i = 0; i < n_embd; i++)
        r->input_norm[i] = r->scale.tensor ? r->scale.w[i] * inverse_root : p->norm[i];
    return TAMIS_OK;
}

/* Route all tokens and sort them by expert. */
static tamis_status route_all(tamis_run *run, part *p, tamis_error *err) {
    tamis_status st = TAMIS_NO_RESOURCE;
    uint64_t n_routes = (uint64_t)(run->n_tokens * p->experts->n_used);
    routing r = {0};
    r.input_norm = tamis_alloc_array((uint64_t)run->model->hp.n_embd, sizeof *r.input_norm, err);
    if (!r.input_norm) goto out;
    r.chosen = tamis_alloc_array(n_routes, sizeof *r.chosen, err);
    if (!r.chosen) goto out;
    r.weights = tamis_alloc_array(n_routes, sizeof *r.weights, err);
    if (!r.weights) goto out;
    st = load_routing(run, p, &r, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile))
        st = route_tile(run, p, &r, &tile, err);
    if (!st) sort_by_expert(run, p, &r);
out:
    free(r.input_norm);
    free(r.chosen);
    free(r.weights);
    return st;
}

/* ---- the experts ---- */

/* Rows of one expert: those of `tokens`, or from first_token on when it is NULL. */
typedef struct rows {
    int64_t expert, n;
    const int32_t *tokens;
    int64_t first_token;
} rows;

/* The rows up to the input of ffn_down_exps, in *acted. */
static tamis_status activate(tamis_run *run, const part *p, const rows *r, bool is_observed,
                             float **acted, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    bool is_fused = p->gate_up.tensor != NULL;
    const tamis_weight *inputs[] = {is_fused ? &p->gate_up : &p->gate, &p->up};
    const tamis_weight *down = &p->down;
    int64_t n = r->n, stride = is_fused ? 2 * p->n_ff : p->n_ff;
    const float *up_rows = is_fused ? p->gate_rows + p->n_ff : p->up_rows;
    tamis_status st = TAMIS_OK;
    tamis_rms_norm_scaled_rows(run->pool, run->h + r->first_token * hp->n_embd,
                               p->scales + r->first_token, r->tokens, p->norm, n, hp->n_embd,
                               p->normed);
    tamis_product product = {.layer = p->layer,
                             .expert = r->expert,
                             .x = p->normed,
                             .n_tokens = n,
                             .first_token = r->first_token,
                             .tokens = r->tokens};
    if (is_observed) st = tamis_weights_observe(run, inputs, is_fused ? 1 : 2, &product, err);
    if (!st) st = tamis_weight_apply(run, inputs[0], p->normed, n, p->gate_rows, stride, err);
    if (!st && !is_fused)
        st = tamis_weight_apply(run, &p->up, p->normed, n, p->up_rows, p->n_ff, err);
    if (st) return st;
    /* in place when separate; else packed into up_rows, whose rows are free then */
    *acted = is_fused ? p->up_rows : p->gate_rows;
    tamis_glu_rows(run->pool, p->style->activation, p->gate_rows, stride, up_rows, stride, n,
                   p->n_ff, *acted);
    st = tamis_run_check_finite(run, *acted, n, p->n_ff, p->layer, "the input of ffn_down_exps",
                                r->first_token, r->tokens, err);
    product.x = *acted;
    if (!st && is_observed) st = tamis_weights_observe(run, &down, 1, &product, err);
    return st;
}

/* Rows first .. first + n of the tokens that were routed to an expert. */
static tamis_status run_routed(tamis_run *run, const part *p, int64_t expert, int64_t first,
                               int64_t n, tamis_error *err) {
    int64_t n_embd = run->model->hp.n_embd;
    const rows r = {.expert = expert, .n = n, .tokens = p->tokens + first};
    float *acted = NULL;
    tamis_status st = activate(run, p, &r, !run->options.all_experts, &acted, err);
    if (!st) st = tamis_weight_apply(run, &p->down, acted, n, p->out, n_embd, err);
    if (st) return st;
    tamis_scatter_rows(run->pool, p->out, r.tokens, p->weights + first, n, n_embd, run->sums);
    return TAMIS_OK;
}

/* All tokens up to the input of ffn_down_exps, for the observers only: the routed ones are made
 * anew by run_routed(), as they are without this. */
static tamis_status observe_all(tamis_run *run, const part *p, int64_t expert, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        const rows r = {.expert = expert, .n = tile.n_tokens, .first_token = tile.first};
        float *acted = NULL;
        st = activate(run, p, &r, true, &acted, err);
    }
    return st;
}

static tamis_status run_expert(tamis_run *run, part *p, int64_t expert, tamis_error *err) {
    int64_t end = p->starts[expert + 1], step = tamis_run_tile_tokens(run);
    if (p->starts[expert] == end && !run->options.all_experts) return TAMIS_OK;
    tamis_weight *all[] = {&p->gate, &p->up, &p->gate_up, &p->down};
    tamis_status st = tamis_weights_load(run, all, 4, expert, err);
    if (!st && run->options.all_experts) st = observe_all(run, p, expert, err);
    for (int64_t first = p->starts[expert]; !st && first < end; first += step)
        st = run_routed(run, p, expert, first, end - first < step ? end - first : step, err);
    return st;
}

/* ---- what follows the experts ---- */

/* The experts' sums of a tile, normed and with what is beside them, to the residual stream;
 * cleared for the next layer. `beside` may be NULL. */
static tamis_status finish_tile(tamis_run *run, const part *p, const tamis_weight *routed_norm,
                                const tamis_mlp *beside, const tamis_weight *post_norm,
                                const tamis_tile *tile, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    int64_t n = tile->n_tokens, n_embd = hp->n_embd;
    float *x = run->h + tile->first * n_embd, *sums = run->sums + tile->first * n_embd;
    tamis_status st = TAMIS_OK;
    if (routed_norm->tensor)
        tamis_rms_norm_rows(run->pool, sums, NULL, routed_norm->w, n, n_embd, hp->norm_eps, sums);
    if (beside) {
        st = tamis_mlp_run(run, beside, tile, err);
        if (st) return st;
        tamis_add_rows(run->pool, beside->out, n, n_embd, sums);
    }
    if (post_norm->tensor)
        tamis_rms_norm_rows(run->pool, sums, NULL, post_norm->w, n, n_embd, hp->norm_eps, sums);
    tamis_add_rows(run->pool, sums, n, n_embd, x);
    memset(sums, 0, (size_t)(n * n_embd) * sizeof *sums);
    return tamis_run_check_finite(run, x, n, n_embd, p->layer, "the hidden state after the experts",
                                  tile->first, NULL, err);
}

static tamis_status finish(tamis_run *run, const part *p, tamis_error *err) {
    enum { ROUTED_NORM = TAMIS_MLP_WEIGHTS, POST_NORM, N };
    const tamis_expert_style *style = p->style;
    tamis_weight routed_norm = {0}, post_norm = {0};
    tamis_weight *all[N];
    tamis_mlp mlp = {0};
    if (style->beside) mlp = tamis_mlp_find(run, p->layer, style->beside, style->activation);
    if (style->routed_norm) routed_norm = tamis_weight_find(run, p->layer, style->routed_norm);
    if (style->post_norm) post_norm = tamis_weight_find(run, p->layer, style->post_norm);
    tamis_mlp_list(&mlp, all);
    all[ROUTED_NORM] = &routed_norm;
    all[POST_NORM] = &post_norm;
    const tamis_mlp *beside = mlp.gate.tensor ? &mlp : NULL;
    tamis_status st = tamis_weights_load(run, all, N, 0, err);
    if (!st && beside) st = tamis_mlp_take_buffers(run, &mlp, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile))
        st = finish_tile(run, p, &routed_norm, beside, &post_norm, &tile, err);
    return st;
}

static tamis_status prepare(tamis_run *run, part *p, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    const tamis_expert_hparams *e = p->experts;
    int64_t n = tamis_run_tile_tokens(run);
    uint64_t n_routes = (uint64_t)(run->n_tokens * e->n_used);
    int64_t n_wide = 2 * p->n_ff > e->n ? 2 * p->n_ff : e->n;
    p->gate = tamis_weight_find(run, p->layer, "ffn_gate_exps");
    p->up = tamis_weight_find(run, p->layer, "ffn_up_exps");
    p->gate_up = tamis_weight_find(run, p->layer, "ffn_gate_up_exps");
    p->down = tamis_weight_find(run, p->layer, "ffn_down_exps");
    if (!(p->norm = tamis_alloc_array((uint64_t)hp->n_embd, sizeof *p->norm, err)) ||
        !(p->scales = tamis_alloc_array((uint64_t)run->n_tokens, sizeof *p->scales, err)) ||
        !(p->starts = tamis_alloc_array((uint64_t)e->n + 1, sizeof *p->starts, err)) ||
        !(p->tokens = tamis_alloc_array(n_routes, sizeof *p->tokens, err)) ||
        !(p->weights = tamis_alloc_array(n_routes, sizeof *p->weights, err)))
        return TAMIS_NO_RESOURCE;
    const tamis_buffer_wish wanted[] = {
        {&p->normed, TAMIS_BUFFER_NORMED, n * hp->n_embd},
        {&p->gate_rows, TAMIS_BUFFER_GATE, n * n_wide},
        {&p->up_rows, TAMIS_BUFFER_UP, n * p->n_ff},
        {&p->out, TAMIS_BUFFER_OUT, n * hp->n_embd},
    };
    return tamis_run_take_buffers(run, wanted, sizeof wanted / sizeof wanted[0], err);
}

tamis_status tamis_expert_ffn(tamis_run *run, int64_t layer, const tamis_expert_style *style,
                              int i_part, int n_parts, tamis_error *err) {
    const tamis_expert_hparams *e = &run->model->hp.experts;
    part p = {.layer = layer, .n_ff = e->n_ff, .experts = e, .style = style};
    tamis_status st = prepare(run, &p, err);
    if (!st) st = route_all(run, &p, err);
    for (int64_t i = 0; !st && i < e->n; i++) {
        st = run_expert(run, &p, i, err);
        if (run->options.all_experts)
            tamis_run_advance(run, layer, i_part, n_parts, i + 1, e->n);
        else
            tamis_run_advance(run, layer, i_part, n_parts, p.starts[i + 1], p.starts[e->n]);
    }
    if (!st) st = finish(run, &p, err);
    free(p.norm);
    free(p.scales);
    free(p.starts);
    free(p.tokens);
    free(p.weights);
    return st;
}
