/* latent_attention.c - see latent_attention.h. With a matrix per head the attention works on the
 * latents themselves, which is what the inputs of those matrices are defined by. Tiles ascend, so
 * the keys of a long sequence are there when a later piece of it asks for them.
 * Formulas: reference/architectures.md section 14. Bound: compute. */
#include "model/ops/latent_attention.h"

#include <string.h>

#include "model/ops/attention.h"
#include "model/ops/norm.h"
#include "model/ops/residual.h"
#include "model/weights.h"

enum { TOKENS_PER_ITEM = 8 };

typedef struct part {
    tamis_weight norm, q, q_a, q_a_norm, q_b, kv_a, kv_a_norm, k_b, v_b, kv_b, output;
    int64_t layer, n_head, n_head_kv;
    int64_t head_q;         /* elements of a query head: unrotated, then rotated ones */
    int64_t head_k, head_v; /* of the keys and values that are attended to */
    int64_t n_keys;         /* rows of k and v per sequence */
    tamis_latent_hparams sizes;
    double scale;
    /* Rows of a tile. Some share memory, since the first is done with before the second starts. */
    float *normed, *q_a_rows, *q_rows, *kv_a_rows, *k_rows, *v_rows, *out;
    float *packed;   /* [n][n_head * head_nope] queries, or [n][kv_rank] normed latents */
    float *absorbed; /* [n][n_head * head_k] queries times attn_k_b; shares q_a_rows */
    float *unpacked; /* [n][n_head * (head_nope + sizes.head_v)] of attn_kv_b; shares q_a_rows */
    float *attended; /* [n][n_head * head_v]; shares kv_a_rows, or is heads */
    float *heads;    /* [n][n_head * sizes.head_v]; shares packed */
    float *scratch;  /* of tamis_attention_run() */
} part;

/* A matrix per head, all of them in one. */
static tamis_weight find_stack(const tamis_run *run, int64_t layer, const char *stem) {
    tamis_weight w = tamis_weight_find(run, layer, stem);
    w.n_out *= w.n_experts;
    w.n_experts = 1;
    return w;
}

static tamis_status load(tamis_run *run, part *p, tamis_error *err) {
    struct {
        tamis_weight *weight;
        const char *stem;
    } wanted[] = {
        {&p->norm, "attn_norm"},           {&p->q, "attn_q"},           {&p->q_a, "attn_q_a"},
        {&p->q_a_norm, "attn_q_a_norm"},   {&p->q_b, "attn_q_b"},       {&p->kv_a, "attn_kv_a_mqa"},
        {&p->kv_a_norm, "attn_kv_a_norm"}, {&p->k_b, "attn_k_b"},       {&p->v_b, "attn_v_b"},
        {&p->kv_b, "attn_kv_b"},           {&p->output, "attn_output"},
    };
    enum { N = sizeof wanted / sizeof wanted[0] };
    tamis_weight *all[N];
    for (int i = 0; i < N; i++) {
        *wanted[i].weight = find_stack(run, p->layer, wanted[i].stem);
        all[i] = wanted[i].weight;
    }
    return tamis_weights_load(run, all, N, 0, err);
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static tamis_status take_buffers(tamis_run *run, part *p, tamis_error *err) {
    int64_t n = tamis_run_tile_tokens(run), n_keys = tamis_run_tile_keys(run);
    int64_t n_embd = run->model->hp.n_embd, n_head = p->n_head;
    const tamis_latent_hparams *s = &p->sizes;
    bool is_joined = p->kv_b.tensor != NULL;
    int64_t first_wide = n_head * (is_joined ? s->head_nope + s->head_v : p->head_k);
    int64_t second_wide = is_joined ? 0 : n_head * p->head_v;
    int64_t packed = is_joined ? s->kv_rank : n_head * s->head_nope;
    tamis_attention sizes = {.head_v = p->head_v};
    const tamis_buffer_wish wanted[] = {
        {&p->normed, TAMIS_BUFFER_NORMED, n * n_embd},
        {&p->q_rows, TAMIS_BUFFER_Q, n * n_head * p->head_q},
        {&p->k_rows, TAMIS_BUFFER_K, n_keys * p->n_head_kv * p->head_k},
        {&p->v_rows, TAMIS_BUFFER_V, n_keys * p->n_head_kv * p->head_v},
        {&p->q_a_rows, TAMIS_BUFFER_GATE, n * larger(s->q_rank, first_wide)},
        {&p->kv_a_rows, TAMIS_BUFFER_UP, n * larger(s->kv_rank + s->head_rope, second_wide)},
        {&p->heads, TAMIS_BUFFER_HEADS, n * larger(n_head * s->head_v, packed)},
        {&p->out, TAMIS_BUFFER_OUT, n * n_embd},
        {&p->scratch, TAMIS_BUFFER_SCORES,
         tamis_attention_scratch(&sizes, tamis_pool_size(run->pool))},
    };
    tamis_status st = tamis_run_take_buffers(run, wanted, sizeof wanted / sizeof wanted[0], err);
    if (st) return st;
    p->packed = p->heads;
    p->absorbed = p->unpacked = p->q_a_rows;
    p->attended = is_joined ? p->heads : p->kv_a_rows;
    return TAMIS_OK;
}

typedef struct tile_job {
    const tamis_run *run;
    const part *p;
    const tamis_tile *tile;
    void (*token)(const struct tile_job *j, int64_t i);
} tile_job;

static void run_tokens(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const tile_job *j = ctx;
    int64_t end = (i_item + 1) * TOKENS_PER_ITEM;
    for (int64_t i = i_item * TOKENS_PER_ITEM; i < end && i < j->tile->n_tokens; i++)
        j->token(j, i);
}

static void for_tokens(const tamis_run *run, const part *p, const tamis_tile *tile,
                       void (*token)(const tile_job *j, int64_t i)) {
    tile_job j = {.run = run, .p = p, .tile = tile, .token = token};
    tamis_pool_run(run->pool, (tile->n_tokens + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM, run_tokens,
                   &j);
}

static int64_t position_of(const tamis_tile *tile, int64_t i) {
    return tile->first_pos + i % tile->n_seq_tokens;
}

/* Row of the keys that belongs to token i of a tile. */
static int64_t key_row(const part *p, const tamis_tile *tile, int64_t i) {
    return i / tile->n_seq_tokens * p->n_keys + position_of(tile, i);
}

/* Norm of the latent, rotation of the key and of the queries, and what the next product reads:
 * the queries' unrotated parts side by side, or the latent. */
static void turn_token(const tile_job *j, int64_t i) {
    const part *p = j->p;
    const tamis_latent_hparams *s = &p->sizes;
    const tamis_rope_table *rope = &j->run->ropes[j->run->model->hp.layers[p->layer].rope];
    int64_t position = position_of(j->tile, i), row = key_row(p, j->tile, i);
    float *q = p->q_rows + i * p->n_head * p->head_q;
    float *latent = p->kv_a_rows + i * (s->kv_rank + s->head_rope);
    tamis_rms_norm(latent, p->kv_a_norm.w, s->kv_rank, j->run->model->hp.norm_eps, latent);
    tamis_rope_apply(rope, position, latent + s->kv_rank, 1, s->head_rope);
    tamis_rope_apply(rope, position, q + s->head_nope, p->n_head, p->head_q);
    if (p->kv_b.tensor) {
        memcpy(p->packed + i * s->kv_rank, latent, (size_t)s->kv_rank * sizeof *latent);
        return;
    }
    memcpy(p->k_rows + row * p->head_k, latent, (size_t)p->head_k * sizeof *latent);
    memcpy(p->v_rows + row * p->head_v, latent, (size_t)p->head_v * sizeof *latent);
    for (int64_t h = 0; h < p->n_head; h++)
        memcpy(p->packed + (i * p->n_head + h) * s->head_nope, q + h * p->head_q,
               (size_t)s->head_nope * sizeof *q);
}

/* The rotated parts of the queries to behind their absorbed ones. */
static void finish_absorbed(const tile_job *j, int64_t i) {
    const part *p = j->p;
    const tamis_latent_hparams *s = &p->sizes;
    const float *q = p->q_rows + i * p->n_head * p->head_q;
    float *to = p->absorbed + i * p->n_head * p->head_k;
    for (int64_t h = 0; h < p->n_head; h++)
        memcpy(to + h * p->head_k + s->kv_rank, q + h * p->head_q + s->head_nope,
               (size_t)s->head_rope * sizeof *to);
    tamis_rope_heat(&j->run->model->hp, position_of(j->tile, i), to, p->n_head * p->head_k);
}

/* Keys and values of every head from the product of attn_kv_b. */
static void finish_unpacked(const tile_job *j, int64_t i) {
    const part *p = j->p;
    const tamis_latent_hparams *s = &p->sizes;
    int64_t row = key_row(p, j->tile, i), n_each = s->head_nope + s->head_v;
    const float *turned = p->kv_a_rows + i * (s->kv_rank + s->head_rope) + s->kv_rank;
    for (int64_t h = 0; h < p->n_head; h++) {
        const float *from = p->unpacked + (i * p->n_head + h) * n_each;
        float *k = p->k_rows + (row * p->n_head + h) * p->head_k;
        float *v = p->v_rows + (row * p->n_head + h) * p->head_v;
        memcpy(k, from, (size_t)s->head_nope * sizeof *k);
        memcpy(k + s->head_nope, turned, (size_t)s->head_rope * sizeof *k);
        memcpy(v, from + s->head_nope, (size_t)s->head_v * sizeof *v);
    }
    tamis_rope_heat(&j->run->model->hp, position_of(j->tile, i),
                    p->q_rows + i * p->n_head * p->head_q, p->n_head * p->head_q);
}

/* y [n][n_head][y_step] = each head's x [n][n_head][n_in] times its own matrix of n_out rows.
 * Observed as one row of all heads per token. */
static tamis_status apply_per_head(tamis_run *run, const part *p, const tamis_weight *w,
                                   const tamis_tile *tile, const float *x, float *y, int64_t y_step,
                                   tamis_error *err) {
    int64_t n_in = w->n_in, n_out = w->n_out / p->n_head;
    tamis_product product = tamis_tile_product(p->layer, tile, x);
    const char *name = w->tensor->name;
    product.names = &name;
    product.n_names = 1;
    product.n_experts = 1;
    product.d_in = p->n_head * n_in;
    tamis_status st = tamis_run_observe(run, &product, err);
    for (int64_t h = 0; h < p->n_head && !st; h++) {
        tamis_gemm_xwt(run->gemm, run->pool, tile->n_tokens, n_out, n_in, x + h * n_in,
                       p->n_head * n_in, w->w + h * n_out * n_in, y + h * y_step,
                       p->n_head * y_step, 0);
        if (tamis_interrupted()) st = tamis_fail_interrupted(err);
    }
    return st;
}

/* One product of a tile; `stage` names its output in messages. */
static tamis_status project(tamis_run *run, const part *p, const tamis_weight *w,
                            const tamis_tile *tile, const float *x, float *y, const char *stage,
                            tamis_error *err) {
    tamis_status st = tamis_weight_apply(run, w, x, tile->n_tokens, y, w->n_out, err);
    return st ? st
              : tamis_run_check_finite(run, y, tile->n_tokens, w->n_out, p->layer, stage,
                                       tile->first, NULL, err);
}

static tamis_status make_queries(tamis_run *run, const part *p, const tamis_tile *tile,
                                 tamis_error *err) {
    const tamis_weight *q_b = &p->q_b;
    if (!p->q_a.tensor)
        return project(run, p, &p->q, tile, p->normed, p->q_rows, "the attn_q product", err);
    tamis_status st =
        project(run, p, &p->q_a, tile, p->normed, p->q_a_rows, "the attn_q_a product", err);
    if (st) return st;
    tamis_rms_norm_rows(run->pool, p->q_a_rows, NULL, p->q_a_norm.w, tile->n_tokens, p->q_a.n_out,
                        run->model->hp.norm_eps, p->q_a_rows);
    tamis_product product = tamis_tile_product(p->layer, tile, p->q_a_rows);
    st = tamis_weights_observe(run, &q_b, 1, &product, err);
    return st ? st
              : project(run, p, q_b, tile, p->q_a_rows, p->q_rows, "the attn_q_b product", err);
}

/* Queries, keys and values of a tile, as the attention reads them. */
static tamis_status make_qkv(tamis_run *run, const part *p, const tamis_tile *tile,
                             tamis_error *err) {
    const tamis_weight *kv_b = &p->kv_b;
    tamis_status st = make_queries(run, p, tile, err);
    if (!st)
        st = project(run, p, &p->kv_a, tile, p->normed, p->kv_a_rows, "the attn_kv_a_mqa product",
                     err);
    if (st) return st;
    for_tokens(run, p, tile, turn_token);
    if (!kv_b->tensor) {
        st = apply_per_head(run, p, &p->k_b, tile, p->packed, p->absorbed, p->head_k, err);
        if (!st) for_tokens(run, p, tile, finish_absorbed);
        return st;
    }
    tamis_product product = tamis_tile_product(p->layer, tile, p->packed);
    st = tamis_weights_observe(run, &kv_b, 1, &product, err);
    if (!st) st = project(run, p, kv_b, tile, p->packed, p->unpacked, "the attn_kv_b product", err);
    if (!st) for_tokens(run, p, tile, finish_unpacked);
    return st;
}

static tamis_status attend(tamis_run *run, const part *p, const tamis_tile *tile,
                           tamis_error *err) {
    bool is_joined = p->kv_b.tensor != NULL;
    tamis_attention a = {
        .n_head = p->n_head,
        .n_head_kv = p->n_head_kv,
        .head_k = p->head_k,
        .head_v = p->head_v,
        .scale = (float)p->scale,
        .n_seqs = tile->n_seqs,
        .n_queries = tile->n_seq_tokens,
        .first_pos = tile->first_pos,
        .n_keys_stride = p->n_keys,
        .q = is_joined ? p->q_rows : p->absorbed,
        .k = p->k_rows,
        .v = p->v_rows,
        .out = p->attended,
    };
    tamis_attention_run(&a, run->gemm, run->pool, p->scratch);
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    if (is_joined) return TAMIS_OK;
    return apply_per_head(run, p, &p->v_b, tile, p->attended, p->heads, p->sizes.head_v, err);
}

static tamis_status run_tile(tamis_run *run, const part *p, const tamis_tile *tile,
                             tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    int64_t n = tile->n_tokens;
    float *x = run->h + tile->first * hp->n_embd;
    const tamis_weight *inputs[] = {&p->q_a, &p->q, &p->kv_a}, *output = &p->output;
    tamis_rms_norm_rows(run->pool, x, NULL, p->norm.w, n, hp->n_embd, hp->norm_eps, p->normed);
    tamis_product product = tamis_tile_product(p->layer, tile, p->normed);
    tamis_status st = tamis_weights_observe(run, inputs, 3, &product, err);
    if (!st) st = make_qkv(run, p, tile, err);
    if (!st) st = attend(run, p, tile, err);
    product.x = p->heads;
    if (!st) st = tamis_weights_observe(run, &output, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, output, p->heads, n, p->out, hp->n_embd, err);
    if (st) return st;
    tamis_add_rows(run->pool, p->out, n, hp->n_embd, x);
    return tamis_run_check_finite(run, x, n, hp->n_embd, p->layer,
                                  "the hidden state after attention", tile->first, NULL, err);
}

tamis_status tamis_latent_attention(tamis_run *run, int64_t layer, double scale, int i_part,
                                    int n_parts, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    const tamis_layer_hparams *l = &hp->layers[layer];
    part p = {.layer = layer,
              .n_head = l->n_head,
              .n_head_kv = l->n_head_kv,
              .head_q = hp->latent.head_nope + hp->latent.head_rope,
              .head_k = l->head_k,
              .head_v = l->head_v,
              .n_keys = run->n_ctx,
              .sizes = hp->latent,
              .scale = scale};
    tamis_status st = load(run, &p, err);
    if (!st) st = take_buffers(run, &p, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        st = run_tile(run, &p, &tile, err);
        tamis_run_advance(run, layer, i_part, n_parts, tile.first + tile.n_tokens, run->n_tokens);
    }
    return st;
}
