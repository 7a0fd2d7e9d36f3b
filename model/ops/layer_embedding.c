/* layer_embedding.c - see layer_embedding.h. Formulas: reference/architectures.md section 12.
 * Bound: compute, and reading one piece of a row per token. */
#include "model/ops/layer_embedding.h"

#include <math.h>

#include "model/ops/glu.h"
#include "model/ops/norm.h"
#include "model/ops/residual.h"
#include "model/weights.h"

enum { ROWS_PER_ITEM = 16 };

typedef struct part {
    tamis_weight model_proj, proj_norm, inp_gate, proj, post_norm;
    tamis_weight embedding, layer_rows; /* rows are read as they are needed */
    int64_t layer, n_embd, width;       /* width: P */
    int64_t first_col, n_cols; /* of layer_rows, the whole blocks around this layer's part */
    float factor;              /* of layer_rows */
    float *embedded, *rows, *projected, *gates, *out;
} part;

static tamis_status load(tamis_run *run, part *p, tamis_error *err) {
    p->model_proj = tamis_weight_find(run, -1, "per_layer_model_proj");
    p->proj_norm = tamis_weight_find(run, -1, "per_layer_proj_norm");
    p->inp_gate = tamis_weight_find(run, p->layer, "inp_gate");
    p->proj = tamis_weight_find(run, p->layer, "proj");
    p->post_norm = tamis_weight_find(run, p->layer, "post_norm");
    p->embedding = tamis_weight_find(run, -1, "token_embd");
    p->layer_rows = tamis_weight_find(run, -1, "per_layer_token_embd");
    p->model_proj.n_out = p->width;
    p->model_proj.first_row = p->layer * p->width;
    int64_t block = (int64_t)p->layer_rows.tensor->type->block_elems, first = p->layer * p->width;
    p->first_col = first / block * block;
    p->n_cols = (first + p->width + block - 1) / block * block - p->first_col;
    tamis_weight scale = {.tensor = p->layer_rows.scale_tensor, .n_in = 1, .n_out = 1};
    tamis_weight *all[] = {&p->model_proj, &p->proj_norm, &p->inp_gate,
                           &p->proj,       &p->post_norm, &scale};
    tamis_status st = tamis_weights_load(run, all, sizeof all / sizeof all[0], 0, err);
    if (st) return st;
    p->factor = (float)sqrt((double)p->width) * (scale.tensor ? scale.w[0] : 1.0f);
    return TAMIS_OK;
}

static tamis_status take_buffers(tamis_run *run, part *p, tamis_error *err) {
    int64_t n = tamis_run_tile_tokens(run);
    const tamis_buffer_wish wanted[] = {
        {&p->embedded, TAMIS_BUFFER_NORMED, n * p->n_embd},
        {&p->rows, TAMIS_BUFFER_Q, n * p->n_cols},
        {&p->projected, TAMIS_BUFFER_UP, n * p->width},
        {&p->gates, TAMIS_BUFFER_GATE, n * p->width},
        {&p->out, TAMIS_BUFFER_OUT, n * p->n_embd},
    };
    return tamis_run_take_buffers(run, wanted, sizeof wanted / sizeof wanted[0], err);
}

typedef struct join_job {
    const part *p;
    int64_t n_rows;
    float eps;
} join_job;

/* projected <- (RMSNorm(projected / sqrt(n_embd)) + factor * rows) / sqrt(2). */
static void join_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const join_job *j = ctx;
    const part *p = j->p;
    const float root = (float)(1.0 / sqrt((double)p->n_embd)), half = (float)sqrt(0.5);
    int64_t end = (i_item + 1) * ROWS_PER_ITEM;
    for (int64_t r = i_item * ROWS_PER_ITEM; r < end && r < j->n_rows; r++) {
        const float *stored = p->rows + r * p->n_cols + p->layer * p->width - p->first_col;
        float *x = p->projected + r * p->width;
        for (int64_t i = 0; i < p->width; i++)
            x[i] *= root;
        tamis_rms_norm(x, p->proj_norm.w, p->width, j->eps, x);
        for (int64_t i = 0; i < p->width; i++)
            x[i] = (x[i] + p->factor * stored[i]) * half;
    }
}

/* The layer's embedding of a tile's tokens, into projected. */
static tamis_status make_embedding(tamis_run *run, const part *p, const tamis_tile *tile,
                                   tamis_error *err) {
    int64_t n = tile->n_tokens;
    const int32_t *tokens = run->tokens + tile->first;
    const tamis_row_source source = {.gguf = run->model->gguf,
                                     .tensor = p->layer_rows.tensor,
                                     .rows = tokens,
                                     .n_rows = n,
                                     .first_col = p->first_col,
                                     .n_cols = p->n_cols,
                                     .dst = p->rows};
    uint64_t n_bytes = tamis_staging_bytes(&source, 1, tamis_pool_size(run->pool));
    tamis_status st = tamis_weight_embed(run, &p->embedding, tokens, n, p->embedded, err);
    if (!st)
        st = tamis_weight_apply(run, &p->model_proj, p->embedded, n, p->projected, p->width, err);
    if (st) return st;
    uint8_t *staging = tamis_run_buffer(run, TAMIS_BUFFER_STAGING, (int64_t)n_bytes, 1, err);
    if (!staging) return TAMIS_NO_RESOURCE;
    st = tamis_decode_rows(run->pool, &source, 1, staging, err);
    if (st) return st;
    join_job j = {.p = p, .n_rows = n, .eps = run->model->hp.norm_eps};
    tamis_pool_run(run->pool, (n + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, join_rows, &j);
    return TAMIS_OK;
}

static tamis_status run_tile(tamis_run *run, const part *p, const tamis_tile *tile,
                             tamis_error *err) {
    int64_t n = tile->n_tokens;
    float *x = run->h + tile->first * p->n_embd;
    const tamis_weight *inp_gate = &p->inp_gate, *proj = &p->proj;
    tamis_product product = tamis_tile_product(p->layer, tile, x);
    tamis_status st = make_embedding(run, p, tile, err);
    if (!st) st = tamis_weights_observe(run, &inp_gate, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, inp_gate, x, n, p->gates, p->width, err);
    if (st) return st;
    tamis_glu_rows(run->pool, TAMIS_GEGLU, p->gates, p->width, p->projected, p->width, n, p->width,
                   p->gates);
    st = tamis_run_check_finite(run, p->gates, n, p->width, p->layer, "the input of proj",
                                tile->first, NULL, err);
    product.x = p->gates;
    if (!st) st = tamis_weights_observe(run, &proj, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, proj, p->gates, n, p->out, p->n_embd, err);
    if (st) return st;
    tamis_rms_norm_rows(run->pool, p->out, NULL, p->post_norm.w, n, p->n_embd,
                        run->model->hp.norm_eps, p->out);
    tamis_add_rows(run->pool, p->out, n, p->n_embd, x);
    return tamis_run_check_finite(run, x, n, p->n_embd, p->layer,
                                  "the hidden state after the layer's embedding", tile->first, NULL,
                                  err);
}

tamis_status tamis_layer_embedding(tamis_run *run, int64_t layer, int i_part, int n_parts,
                                   tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    part p = {.layer = layer, .n_embd = hp->n_embd, .width = hp->ple_width};
    tamis_status st = load(run, &p, err);
    if (!st) st = take_buffers(run, &p, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        st = run_tile(run, &p, &tile, err);
        tamis_run_advance(run, layer, i_part, n_parts, tile.first + tile.n_tokens, run->n_tokens);
    }
    return st;
}

tamis_status tamis_scale_layer(tamis_run *run, int64_t layer, const char *stem, tamis_error *err) {
    int64_t n_embd = run->model->hp.n_embd;
    tamis_weight scale = tamis_weight_find(run, layer, stem), *all = &scale;
    if (!scale.tensor) return TAMIS_OK;
    tamis_status st = tamis_weights_load(run, &all, 1, 0, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        float *x = run->h + tile.first * n_embd;
        tamis_scale_rows(run->pool, scale.w[0], tile.n_tokens, n_embd, x);
        st = tamis_run_check_finite(run, x, tile.n_tokens, n_embd, layer,
                                    "the hidden state after its scale", tile.first, NULL, err);
    }
    return st;
}
