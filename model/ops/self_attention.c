/* self_attention.c - see self_attention.h. Tiles ascend, so the keys and values of a long
 * sequence are there when a later piece of it asks for them, and only one sequence's are held.
 * Formulas: reference/architectures.md sections 1, 2 and 5. Bound: compute. */
#include "model/ops/self_attention.h"

#include <math.h>

#include "model/ops/attention.h"
#include "model/ops/norm.h"
#include "model/ops/residual.h"
#include "model/weights.h"

enum { TOKENS_PER_ITEM = 8 };

typedef struct part {
    tamis_weight norm, q, k, v, qkv, q_norm, k_norm, output;
    const tamis_attention_style *style;
    const tamis_rope_table *rope;
    int64_t layer, n_head, n_head_kv, head_k, head_v;
    int64_t n_keys; /* rows of k and v per sequence */
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
    struct {
        tamis_weight *weight;
        const char *stem;
    } wanted[] = {
        {&p->norm, p->style->norm ? p->style->norm : "attn_norm"},
        {&p->q, "attn_q"},
        {&p->k, "attn_k"},
        {&p->v, "attn_v"},
        {&p->qkv, "attn_qkv"},
        {&p->q_norm, "attn_q_norm"},
        {&p->k_norm, "attn_k_norm"},
        {&p->output, "attn_output"},
    };
    enum { N = sizeof wanted / sizeof wanted[0] };
    tamis_weight *all[N];
    for (int i = 0; i < N; i++) {
        *wanted[i].weight = tamis_weight_find(run, p->layer, wanted[i].stem);
        all[i] = wanted[i].weight;
    }
    tamis_status st = tamis_weights_load(run, all, N, 0, err);
    if (st || !p->qkv.tensor) return st;
    int64_t n_q = p->n_head * p->head_k, n_k = p->n_head_kv * p->head_k;
    p->q = slice(&p->qkv, 0, n_q);
    p->k = slice(&p->qkv, n_q, n_k);
    p->v = slice(&p->qkv, n_q + n_k, p->n_head_kv * p->head_v);
    return TAMIS_OK;
}

static tamis_status take_buffers(tamis_run *run, part *p, tamis_error *err) {
    int64_t n = tamis_run_tile_tokens(run), n_keys = tamis_run_tile_keys(run);
    int64_t n_embd = run->model->hp.n_embd;
    tamis_attention sizes = {.head_v = p->head_v};
    struct {
        float **at;
        tamis_buffer which;
        int64_t n;
    } wanted[] = {
        {&p->normed, TAMIS_BUFFER_NORMED, n * n_embd},
        {&p->q_rows, TAMIS_BUFFER_Q, n * p->n_head * p->head_k},
        {&p->k_rows, TAMIS_BUFFER_K, n_keys * p->n_head_kv * p->head_k},
        {&p->v_rows, TAMIS_BUFFER_V, n_keys * p->n_head_kv * p->head_v},
        {&p->heads, TAMIS_BUFFER_HEADS, n * p->n_head * p->head_v},
        {&p->out, TAMIS_BUFFER_OUT, n * n_embd},
        {&p->scratch, TAMIS_BUFFER_SCORES,
         tamis_attention_scratch(&sizes, tamis_pool_size(run->pool))},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        *wanted[i].at = tamis_run_buffer(run, wanted[i].which, wanted[i].n, sizeof(float), err);
        if (!*wanted[i].at) return TAMIS_NO_RESOURCE;
    }
    return TAMIS_OK;
}

/* Norm and rotation of the query and key heads of a tile, in place. */
typedef struct turn_job {
    const tamis_run *run;
    const part *p;
    const tamis_tile *tile;
} turn_job;

static void turn_heads(const turn_job *j, const tamis_weight *norm, float *x, int64_t n_heads,
                       int64_t position) {
    int64_t size = j->p->head_k;
    for (int64_t h = 0; norm->tensor && h < n_heads; h++)
        tamis_rms_norm(x + h * size, norm->w, size, j->run->model->hp.norm_eps, x + h * size);
    tamis_rope_apply(j->p->rope, position, x, n_heads, size);
}

/* Row of the key buffer that belongs to token i of a tile. */
static int64_t key_row(const part *p, const tamis_tile *tile, int64_t i) {
    int64_t seq = i / tile->n_seq_tokens;
    return seq * p->n_keys + tile->first_pos + i % tile->n_seq_tokens;
}

static void turn_tokens(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const turn_job *j = ctx;
    const part *p = j->p;
    int64_t end = (i_item + 1) * TOKENS_PER_ITEM;
    if (end > j->tile->n_tokens) end = j->tile->n_tokens;
    for (int64_t i = i_item * TOKENS_PER_ITEM; i < end; i++) {
        int64_t position = j->tile->first_pos + i % j->tile->n_seq_tokens;
        turn_heads(j, &p->q_norm, p->q_rows + i * p->n_head * p->head_k, p->n_head, position);
        turn_heads(j, &p->k_norm, p->k_rows + key_row(p, j->tile, i) * p->n_head_kv * p->head_k,
                   p->n_head_kv, position);
    }
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
static tamis_status make_qkv(tamis_run *run, const part *p, const tamis_tile *tile,
                             tamis_error *err) {
    int64_t row = key_row(p, tile, 0);
    tamis_status st = project(run, p, &p->q, tile, p->q_rows, "the attn_q product", err);
    if (!st)
        st = project(run, p, &p->k, tile, p->k_rows + row * p->k.n_out, "the attn_k product", err);
    if (!st)
        st = project(run, p, &p->v, tile, p->v_rows + row * p->v.n_out, "the attn_v product", err);
    if (st) return st;
    turn_job j = {.run = run, .p = p, .tile = tile};
    tamis_pool_run(run->pool, (tile->n_tokens + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM, turn_tokens,
                   &j);
    return TAMIS_OK;
}

static tamis_status run_tile(tamis_run *run, const part *p, const tamis_tile *tile,
                             tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    float *x = run->h + tile->first * hp->n_embd;
    tamis_rms_norm_rows(run->pool, x, NULL, p->norm.w, tile->n_tokens, hp->n_embd, hp->norm_eps,
                        p->normed);
    bool is_fused = p->qkv.tensor != NULL;
    const tamis_weight *inputs[] = {is_fused ? &p->qkv : &p->q, &p->k, &p->v};
    const tamis_weight *output = &p->output;
    tamis_product product = tamis_tile_product(p->layer, tile, p->normed);
    tamis_status st = tamis_weights_observe(run, inputs, is_fused ? 1 : 3, &product, err);
    if (!st) st = make_qkv(run, p, tile, err);
    if (st) return st;
    double scale = p->style->scale;
    tamis_attention a = {
        .n_head = p->n_head,
        .n_head_kv = p->n_head_kv,
        .head_k = p->head_k,
        .head_v = p->head_v,
        .scale = (float)(scale != 0.0 ? scale : 1.0 / sqrt((double)p->head_k)),
        .n_seqs = tile->n_seqs,
        .n_queries = tile->n_seq_tokens,
        .first_pos = tile->first_pos,
        .n_keys_stride = p->n_keys,
        .q = p->q_rows,
        .k = p->k_rows,
        .v = p->v_rows,
        .out = p->heads,
    };
    tamis_attention_run(&a, run->gemm, run->pool, p->scratch);
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    product.x = p->heads;
    st = tamis_weights_observe(run, &output, 1, &product, err);
    if (!st)
        st = tamis_weight_apply(run, output, p->heads, tile->n_tokens, p->out, hp->n_embd, err);
    if (st) return st;
    tamis_add_rows(run->pool, p->out, tile->n_tokens, hp->n_embd, x);
    return tamis_run_check_finite(run, x, tile->n_tokens, hp->n_embd, p->layer,
                                  "the hidden state after attention", tile->first, NULL, err);
}

tamis_status tamis_self_attention(tamis_run *run, int64_t layer, const tamis_attention_style *style,
                                  int i_part, int n_parts, tamis_error *err) {
    const tamis_layer_hparams *l = &run->model->hp.layers[layer];
    part p = {.style = style,
              .rope = &run->ropes[l->rope],
              .layer = layer,
              .n_head = l->n_head,
              .n_head_kv = l->n_head_kv,
              .head_k = l->head_k,
              .head_v = l->head_v,
              .n_keys = run->n_ctx};
    tamis_status st = load(run, &p, err);
    if (!st) st = take_buffers(run, &p, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        st = run_tile(run, &p, &tile, err);
        tamis_run_advance(run, layer, i_part, n_parts, tile.first + tile.n_tokens, run->n_tokens);
    }
    return st;
}
