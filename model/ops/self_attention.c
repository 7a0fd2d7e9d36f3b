/* self_attention.c - see self_attention.h. Tiles ascend, so the keys and values of a long
 * sequence are there when a later piece of it asks for them, and only one sequence's are held;
 * those of a layer that later layers attend to are kept for all tokens (tamis_run_kept_kv).
 * Formulas: reference/architectures.md sections 1, 2, 5, 8, 12 and 13. Bound: compute. */
#include "model/ops/self_attention.h"

#include <math.h>
#include <string.h>

#include "model/ops/attention.h"
#include "model/ops/exp.h"
#include "model/ops/norm.h"
#include "model/ops/residual.h"
#include "model/weights.h"

enum { TOKENS_PER_ITEM = 8 };

typedef struct part {
    tamis_weight norm, q, k, v, qkv, q_norm, k_norm, sinks, output, post_norm;
    const tamis_attention_style *style;
    const tamis_layer_hparams *hp;
    const tamis_rope_table *rope;
    int64_t layer, n_embd;
    int64_t q_step;         /* floats from one query head to the next */
    int64_t n_keys;         /* rows of k and v per sequence */
    bool is_borrower;       /* keys and values are another layer's */
    float *kept_k, *kept_v; /* of all tokens; NULL: only those of a tile's sequences */
    float *normed, *q_rows, *k_rows, *v_rows, *heads, *out;
    float *scratch; /* of tamis_attention_run() */
} part;

/* A third of a fused weight as a weight of its own; rows first .. first + n_out. */
static tamis_weight slice(const tamis_weight *fused, int64_t first, int64_t n_out) {
    tamis_weight w = *fused;
    w.w += first * fused->n_in;
    if (w.bias) w.bias += first;
    w.n_out = n_out;
    return w;
}

static tamis_status load(tamis_run *run, part *p, tamis_error *err) {
    const tamis_attention_style *style = p->style;
    const bool owns = !p->is_borrower;
    const struct {
        tamis_weight *weight;
        const char *stem; /* NULL: not used */
    } wanted[] = {
        {&p->norm, "attn_norm"},
        {&p->q, "attn_q"},
        {&p->k, owns ? "attn_k" : NULL},
        {&p->v, owns ? "attn_v" : NULL},
        {&p->qkv, owns ? "attn_qkv" : NULL},
        {&p->q_norm, "attn_q_norm"},
        {&p->k_norm, owns ? "attn_k_norm" : NULL},
        {&p->sinks, "attn_sinks"},
        {&p->output, "attn_output"},
        {&p->post_norm, style->post_norm},
    };
    enum { N = sizeof wanted / sizeof wanted[0] };
    tamis_weight *all[N];
    for (int i = 0; i < N; i++) {
        if (wanted[i].stem) *wanted[i].weight = tamis_weight_find(run, p->layer, wanted[i].stem);
        all[i] = wanted[i].weight;
    }
    tamis_status st = tamis_weights_load(run, all, N, 0, err);
    if (st || !p->qkv.tensor) return st;
    int64_t n_q = p->hp->n_head * p->hp->head_k, n_k = p->hp->n_head_kv * p->hp->head_k;
    p->q = slice(&p->qkv, 0, n_q);
    p->k = slice(&p->qkv, n_q, n_k);
    p->v = slice(&p->qkv, n_q + n_k, p->hp->n_head_kv * p->hp->head_v);
    return TAMIS_OK;
}

static tamis_status take_buffers(tamis_run *run, part *p, tamis_error *err) {
    const tamis_layer_hparams *l = p->hp;
    int64_t n = tamis_run_tile_tokens(run), n_keys = tamis_run_tile_keys(run);
    tamis_attention sizes = {.head_v = l->head_v};
    if (tamis_run_kept_kv(run, l->kv_from, &p->kept_k, &p->kept_v)) n_keys = 0;
    const tamis_buffer_wish wanted[] = {
        {&p->normed, TAMIS_BUFFER_NORMED, n * p->n_embd},
        {&p->q_rows, TAMIS_BUFFER_Q, n * l->n_head * p->q_step},
        {&p->k_rows, TAMIS_BUFFER_K, n_keys * l->n_head_kv * l->head_k},
        {&p->v_rows, TAMIS_BUFFER_V, n_keys * l->n_head_kv * l->head_v},
        {&p->heads, TAMIS_BUFFER_HEADS, n * l->n_head * l->head_v},
        {&p->out, TAMIS_BUFFER_OUT, n * p->n_embd},
        {&p->scratch, TAMIS_BUFFER_SCORES,
         tamis_attention_scratch(&sizes, tamis_pool_size(run->pool))},
    };
    return tamis_run_take_buffers(run, wanted, sizeof wanted / sizeof wanted[0], err);
}

/* A tile on its way: its keys and values start at those of its first sequence's first token. */
typedef struct tile_job {
    const tamis_run *run;
    const part *p;
    const tamis_tile *tile;
    float *k, *v; /* [n_seqs][n_keys][n_head_kv * head] */
} tile_job;

static tile_job job_of(const tamis_run *run, const part *p, const tamis_tile *tile) {
    int64_t first = tile->first - tile->first_pos, n_head_kv = p->hp->n_head_kv;
    tile_job j = {.run = run, .p = p, .tile = tile, .k = p->k_rows, .v = p->v_rows};
    if (p->kept_k) {
        j.k = p->kept_k + first * n_head_kv * p->hp->head_k;
        j.v = p->kept_v + first * n_head_kv * p->hp->head_v;
    }
    return j;
}

static void norm_heads(const tile_job *j, const float *w, float *x, int64_t n_heads, int64_t size,
                       int64_t step) {
    for (int64_t h = 0; h < n_heads; h++)
        tamis_rms_norm(x + h * step, w, size, j->run->model->hp.norm_eps, x + h * step);
}

/* Row of the keys that belongs to token i of a tile. */
static int64_t key_row(const part *p, const tamis_tile *tile, int64_t i) {
    int64_t seq = i / tile->n_seq_tokens;
    return seq * p->n_keys + tile->first_pos + i % tile->n_seq_tokens;
}

/* Norm and rotation of the heads of token i, in place. */
static void turn_token(const tile_job *j, int64_t i) {
    const part *p = j->p;
    const tamis_layer_hparams *l = p->hp;
    int64_t position = j->tile->first_pos + i % j->tile->n_seq_tokens;
    float *q = p->q_rows + i * l->n_head * p->q_step;
    if (p->q_norm.tensor) norm_heads(j, p->q_norm.w, q, l->n_head, l->head_k, p->q_step);
    tamis_rope_apply(p->rope, position, q, l->n_head, p->q_step);
    tamis_rope_heat(&j->run->model->hp, position, q, l->n_head * p->q_step);
    if (p->is_borrower) return;
    int64_t row = key_row(p, j->tile, i);
    float *k = j->k + row * l->n_head_kv * l->head_k, *v = j->v + row * l->n_head_kv * l->head_v;
    if (!p->v.tensor) memcpy(v, k, (size_t)(l->n_head_kv * l->head_v) * sizeof *v);
    if (p->style->norms_values) norm_heads(j, NULL, v, l->n_head_kv, l->head_v, l->head_v);
    if (p->k_norm.tensor) norm_heads(j, p->k_norm.w, k, l->n_head_kv, l->head_k, l->head_k);
    tamis_rope_apply(p->rope, position, k, l->n_head_kv, l->head_k);
}

/* The attended values of token i times the logistic function of its gates. */
static void gate_token(const tile_job *j, int64_t i) {
    const part *p = j->p;
    const tamis_layer_hparams *l = p->hp;
    for (int64_t h = 0; h < l->n_head; h++) {
        const float *gate = p->q_rows + (i * l->n_head + h) * p->q_step + l->head_k;
        float *heads = p->heads + (i * l->n_head + h) * l->head_v;
        for (int64_t d = 0; d < l->head_v; d++)
            heads[d] *= tamis_sigmoid(gate[d]);
    }
}

static void turn_tokens(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const tile_job *j = ctx;
    int64_t end = (i_item + 1) * TOKENS_PER_ITEM;
    for (int64_t i = i_item * TOKENS_PER_ITEM; i < end && i < j->tile->n_tokens; i++)
        turn_token(j, i);
}

static void gate_tokens(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const tile_job *j = ctx;
    int64_t end = (i_item + 1) * TOKENS_PER_ITEM;
    for (int64_t i = i_item * TOKENS_PER_ITEM; i < end && i < j->tile->n_tokens; i++)
        gate_token(j, i);
}

static int64_t n_items(const tamis_tile *tile) {
    return (tile->n_tokens + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM;
}

/* One of the three products; stage names its output in messages. */
static tamis_status project(tamis_run *run, const part *p, const tamis_weight *weight,
                            const tamis_tile *tile, float *y, const char *stage, tamis_error *err) {
    tamis_status st =
        tamis_weight_apply(run, weight, p->normed, tile->n_tokens, y, weight->n_out, err);
    if (st) return st;
    return tamis_run_check_finite(run, y, tile->n_tokens, weight->n_out, p->layer, stage,
                                  tile->first, NULL, err);
}

/* Queries, keys and values of a tile. Keys of whole sequences and of a piece of one both lie
 * behind each other from the first one's row on. */
static tamis_status make_qkv(tamis_run *run, tile_job *j, tamis_error *err) {
    const part *p = j->p;
    int64_t row = key_row(p, j->tile, 0);
    tamis_status st = project(run, p, &p->q, j->tile, p->q_rows, "the attn_q product", err);
    if (!st && p->k.tensor)
        st = project(run, p, &p->k, j->tile, j->k + row * p->k.n_out, "the attn_k product", err);
    if (!st && p->v.tensor)
        st = project(run, p, &p->v, j->tile, j->v + row * p->v.n_out, "the attn_v product", err);
    if (!st) tamis_pool_run(run->pool, n_items(j->tile), turn_tokens, j);
    return st;
}

static tamis_status attend(tamis_run *run, tile_job *j, tamis_error *err) {
    const part *p = j->p;
    const tamis_layer_hparams *l = p->hp;
    double scale = p->style->scale;
    tamis_attention a = {
        .n_head = l->n_head,
        .n_head_kv = l->n_head_kv,
        .head_k = l->head_k,
        .head_v = l->head_v,
        .scale = (float)(scale != 0.0 ? scale : 1.0 / sqrt((double)l->head_k)),
        .window = l->window,
        .q_step = p->q_step,
        .n_seqs = j->tile->n_seqs,
        .n_queries = j->tile->n_seq_tokens,
        .first_pos = j->tile->first_pos,
        .n_keys_stride = p->n_keys,
        .q = p->q_rows,
        .k = j->k,
        .v = j->v,
        .sinks = p->sinks.tensor ? p->sinks.w : NULL,
        .out = p->heads,
    };
    tamis_attention_run(&a, run->gemm, run->pool, p->scratch);
    if (p->style->is_gated) tamis_pool_run(run->pool, n_items(j->tile), gate_tokens, j);
    return tamis_interrupted() ? tamis_fail_interrupted(err) : TAMIS_OK;
}

static tamis_status run_tile(tamis_run *run, const part *p, const tamis_tile *tile,
                             tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    int64_t n = tile->n_tokens;
    float *x = run->h + tile->first * p->n_embd;
    tamis_rms_norm_rows(run->pool, x, NULL, p->norm.w, n, p->n_embd, hp->norm_eps, p->normed);
    bool is_fused = p->qkv.tensor != NULL;
    const tamis_weight *inputs[] = {is_fused ? &p->qkv : &p->q, &p->k, &p->v};
    const tamis_weight *output = &p->output;
    tamis_product product = tamis_tile_product(p->layer, tile, p->normed);
    tile_job j = job_of(run, p, tile);
    tamis_status st = tamis_weights_observe(run, inputs, is_fused ? 1 : 3, &product, err);
    if (!st) st = make_qkv(run, &j, err);
    if (!st) st = attend(run, &j, err);
    product.x = p->heads;
    if (!st) st = tamis_weights_observe(run, &output, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, output, p->heads, n, p->out, p->n_embd, err);
    if (st) return st;
    if (p->post_norm.tensor)
        tamis_rms_norm_rows(run->pool, p->out, NULL, p->post_norm.w, n, p->n_embd, hp->norm_eps,
                            p->out);
    tamis_add_rows(run->pool, p->out, n, p->n_embd, x);
    return tamis_run_check_finite(run, x, n, p->n_embd, p->layer,
                                  "the hidden state after attention", tile->first, NULL, err);
}

tamis_status tamis_self_attention(tamis_run *run, int64_t layer, const tamis_attention_style *style,
                                  int i_part, int n_parts, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    const tamis_layer_hparams *l = &hp->layers[layer];
    part p = {.style = style,
              .hp = l,
              .rope = &run->ropes[l->rope],
              .layer = layer,
              .n_embd = hp->n_embd,
              .q_step = style->is_gated ? 2 * l->head_k : l->head_k,
              .n_keys = run->n_ctx,
              .is_borrower = l->kv_from != layer};
    tamis_status st = load(run, &p, err);
    if (!st) st = take_buffers(run, &p, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        st = run_tile(run, &p, &tile, err);
        tamis_run_advance(run, layer, i_part, n_parts, tile.first + tile.n_tokens, run->n_tokens);
    }
    return st;
}
