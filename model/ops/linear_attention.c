/* linear_attention.c - see linear_attention.h. Tiles ascend: the state of a long sequence is
 * carried from one piece to the next, and only one sequence's is held; sequences that fit into a
 * tile whole need none. Bound: compute, the products of the projections. */
#include "model/ops/linear_attention.h"

#include <string.h>

#include "model/ops/delta_net.h"
#include "model/ops/norm.h"
#include "model/ops/residual.h"
#include "model/weights.h"

enum { TOKENS_PER_ITEM = 8 };

typedef struct part {
    tamis_weight norm, qkv, gate, in, beta, alpha, ba, decay, dt_bias, conv, head_norm, output;
    int64_t layer;
    tamis_delta_net net; /* all but the tile */
    float *normed, *qkv_rows, *z_rows, *beta_rows, *alpha_rows, *heads, *out;
    float *in_rows, *ba_rows; /* fused products, before they are taken apart */
    float *scratch;           /* of tamis_delta_net_run() */
} part;

/* Weights whose tensor a model lacks have none. */
static tamis_status load(tamis_run *run, part *p, tamis_error *err) {
    struct {
        tamis_weight *weight;
        const char *stem;
        bool is_bare;
    } wanted[] = {
        {&p->norm, "attn_norm", false},     {&p->qkv, "attn_qkv", false},
        {&p->gate, "attn_gate", false},     {&p->in, "ssm_in", false},
        {&p->beta, "ssm_beta", false},      {&p->alpha, "ssm_alpha", false},
        {&p->ba, "ssm_ba", false},          {&p->decay, "ssm_a", true},
        {&p->dt_bias, "ssm_dt.bias", true}, {&p->conv, "ssm_conv1d", false},
        {&p->head_norm, "ssm_norm", false}, {&p->output, "ssm_out", false},
    };
    enum { N = sizeof wanted / sizeof wanted[0] };
    tamis_weight *all[N];
    for (int i = 0; i < N; i++) {
        all[i] = wanted[i].weight;
        *all[i] = wanted[i].is_bare ? tamis_weight_find_bare(run, p->layer, wanted[i].stem)
                                    : tamis_weight_find(run, p->layer, wanted[i].stem);
    }
    tamis_status st = tamis_weights_load(run, all, N, 0, err);
    for (int64_t i = 0; !st && i < p->net.n_value_heads; i++)
        if (p->decay.w[i] > 0.0f)
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "%s: tensor '%s': element %lld is %g; a decay is 0 or below",
                            tamis_model_path(run->model), p->decay.tensor->name, (long long)i,
                            (double)p->decay.w[i]);
    return st;
}

/* Buffers for a tile. Of sequences in pieces there is one at a time, with its state and tail, which
 * lie behind the taps of the convolution. */
static tamis_status take_buffers(tamis_run *run, part *p, tamis_error *err) {
    tamis_delta_net *d = &p->net;
    int64_t n = tamis_run_tile_tokens(run), n_embd = run->model->hp.n_embd;
    int64_t n_channels = tamis_delta_net_channels(d), n_wide = d->n_value_heads * d->head_size;
    bool is_in_pieces = n < run->n_ctx;
    int64_t n_taps = d->conv_kernel * n_channels, n_carried = 0;
    float *conv = NULL;
    d->n_seqs = 1;
    if (is_in_pieces) n_carried = tamis_delta_net_state(d) + tamis_delta_net_tail(d);
    const tamis_buffer_wish wanted[] = {
        {&p->normed, TAMIS_BUFFER_NORMED, n * n_embd},
        {&p->qkv_rows, TAMIS_BUFFER_Q, n * n_channels},
        {&p->z_rows, TAMIS_BUFFER_GATE, n * n_wide},
        {&p->beta_rows, TAMIS_BUFFER_UP, n * 4 * d->n_value_heads},
        {&p->in_rows, TAMIS_BUFFER_K, p->in.tensor ? n * (n_channels + n_wide) : 0},
        {&p->heads, TAMIS_BUFFER_HEADS, n * n_wide},
        {&p->out, TAMIS_BUFFER_OUT, n * n_embd},
        {&p->scratch, TAMIS_BUFFER_SCORES, tamis_delta_net_scratch(d, tamis_pool_size(run->pool))},
        {&conv, TAMIS_BUFFER_V, n_taps + n_carried},
    };
    tamis_status st = tamis_run_take_buffers(run, wanted, sizeof wanted / sizeof wanted[0], err);
    if (st) return st;
    p->alpha_rows = p->beta_rows + n * d->n_value_heads;
    p->ba_rows = p->alpha_rows + n * d->n_value_heads;
    for (int64_t c = 0; c < n_channels; c++)
        for (int64_t j = 0; j < d->conv_kernel; j++)
            conv[j * n_channels + c] = p->conv.w[c * d->conv_kernel + j];
    d->conv = conv;
    d->state = is_in_pieces ? conv + n_taps : NULL;
    d->tail = is_in_pieces ? d->state + tamis_delta_net_state(d) : NULL;
    return TAMIS_OK;
}

/* The fused products of a tile, to be taken apart token by token. */
typedef struct split_job {
    const part *p;
    int64_t n_tokens;
} split_job;

static void split_in(const part *p, int64_t token) {
    const tamis_delta_net *d = &p->net;
    int64_t size = d->head_size, n_keys = d->n_key_heads, shared = d->n_value_heads / n_keys;
    int64_t n_channels = tamis_delta_net_channels(d), n_wide = d->n_value_heads * size;
    const float *from = p->in_rows + token * (n_channels + n_wide);
    float *qkv = p->qkv_rows + token * n_channels, *z = p->z_rows + token * n_wide;
    size_t n_key_bytes = (size_t)size * sizeof *from;
    size_t n_value_bytes = (size_t)(shared * size) * sizeof *from;
    for (int64_t k = 0; k < n_keys; k++, from += (2 + 2 * shared) * size) {
        memcpy(qkv + k * size, from, n_key_bytes);
        memcpy(qkv + (n_keys + k) * size, from + size, n_key_bytes);
        memcpy(qkv + (2 * n_keys + k * shared) * size, from + 2 * size, n_value_bytes);
        memcpy(z + k * shared * size, from + (2 + shared) * size, n_value_bytes);
    }
}

static void split_ba(const part *p, int64_t token) {
    int64_t n_heads = p->net.n_value_heads, shared = n_heads / p->net.n_key_heads;
    const float *from = p->ba_rows + token * 2 * n_heads;
    for (int64_t n = 0; n < n_heads; n++) {
        int64_t at = n / shared * 2 * shared + n % shared;
        p->beta_rows[token * n_heads + n] = from[at];
        p->alpha_rows[token * n_heads + n] = from[at + shared];
    }
}

static void split_tokens(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const split_job *j = ctx;
    int64_t end = (i_item + 1) * TOKENS_PER_ITEM;
    for (int64_t i = i_item * TOKENS_PER_ITEM; i < end && i < j->n_tokens; i++) {
        if (j->p->in.tensor) split_in(j->p, i);
        if (j->p->ba.tensor) split_ba(j->p, i);
    }
}

/* All products of the normed input; what the file has fused is taken apart. */
static tamis_status project(tamis_run *run, const part *p, const tamis_tile *tile,
                            tamis_error *err) {
    const struct {
        const tamis_weight *weight;
        float *rows;
        const char *stage; /* for messages */
    } products[] = {
        {&p->qkv, p->qkv_rows, "the attn_qkv product"},
        {&p->gate, p->z_rows, "the attn_gate product"},
        {&p->in, p->in_rows, "the ssm_in product"},
        {&p->beta, p->beta_rows, "the ssm_beta product"},
        {&p->alpha, p->alpha_rows, "the ssm_alpha product"},
        {&p->ba, p->ba_rows, "the ssm_ba product"},
    };
    enum { N = sizeof products / sizeof products[0] };
    const tamis_weight *inputs[N];
    for (int i = 0; i < N; i++)
        inputs[i] = products[i].weight;
    tamis_product product = tamis_tile_product(p->layer, tile, p->normed);
    tamis_status st = tamis_weights_observe(run, inputs, N, &product, err);
    for (int i = 0; i < N && !st; i++) {
        const tamis_weight *w = inputs[i];
        if (!w->tensor) continue;
        st = tamis_weight_apply(run, w, p->normed, tile->n_tokens, products[i].rows, w->n_out, err);
        if (!st)
            st = tamis_run_check_finite(run, products[i].rows, tile->n_tokens, w->n_out, p->layer,
                                        products[i].stage, tile->first, NULL, err);
    }
    if (st || !(p->in.tensor || p->ba.tensor)) return st;
    split_job j = {.p = p, .n_tokens = tile->n_tokens};
    tamis_pool_run(run->pool, (tile->n_tokens + TOKENS_PER_ITEM - 1) / TOKENS_PER_ITEM,
                   split_tokens, &j);
    return TAMIS_OK;
}

static tamis_status run_tile(tamis_run *run, const part *p, const tamis_tile *tile,
                             tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    const tamis_weight *output = &p->output;
    float *x = run->h + tile->first * hp->n_embd;
    tamis_rms_norm_rows(run->pool, x, NULL, p->norm.w, tile->n_tokens, hp->n_embd, hp->norm_eps,
                        p->normed);
    tamis_status st = project(run, p, tile, err);
    if (st) return st;
    tamis_delta_net d = p->net;
    d.n_seqs = tile->n_seqs;
    d.n_tokens = tile->n_seq_tokens;
    d.is_start = tile->first_pos == 0;
    d.qkv = p->qkv_rows;
    d.z = p->z_rows;
    d.beta = p->beta_rows;
    d.alpha = p->alpha_rows;
    d.out = p->heads;
    tamis_delta_net_run(&d, run->gemm, run->pool, p->scratch);
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    st = tamis_run_check_finite(run, p->heads, tile->n_tokens, output->n_in, p->layer,
                                "the input of ssm_out", tile->first, NULL, err);
    const tamis_product product = tamis_tile_product(p->layer, tile, p->heads);
    if (!st) st = tamis_weights_observe(run, &output, 1, &product, err);
    if (!st)
        st = tamis_weight_apply(run, output, p->heads, tile->n_tokens, p->out, hp->n_embd, err);
    if (st) return st;
    tamis_add_rows(run->pool, p->out, tile->n_tokens, hp->n_embd, x);
    return tamis_run_check_finite(run, x, tile->n_tokens, hp->n_embd, p->layer,
                                  "the hidden state after the delta net", tile->first, NULL, err);
}

tamis_status tamis_linear_attention(tamis_run *run, int64_t layer, const tamis_linear_style *style,
                                    int i_part, int n_parts, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    part p = {.layer = layer,
              .net = {.n_key_heads = hp->ssm.n_key_heads,
                      .n_value_heads = hp->ssm.n_value_heads,
                      .head_size = hp->ssm.state_size,
                      .conv_kernel = hp->ssm.conv_kernel,
                      .is_grouped = style->is_grouped,
                      .norm_eps = hp->norm_eps}};
    tamis_status st = load(run, &p, err);
    if (!st) st = take_buffers(run, &p, err);
    p.net.decay = p.decay.w;
    p.net.dt_bias = p.dt_bias.w;
    p.net.norm = p.head_norm.w;
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        st = run_tile(run, &p, &tile, err);
        tamis_run_advance(run, layer, i_part, n_parts, tile.first + tile.n_tokens, run->n_tokens);
    }
    return st;
}
