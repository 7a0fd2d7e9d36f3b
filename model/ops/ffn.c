/* ffn.c - the dense feed-forward part, see ffn.h. Bound: compute. */
#include "model/ops/ffn.h"

#include "model/ops/norm.h"
#include "model/ops/residual.h"
#include "model/weights.h"

typedef struct part {
    tamis_weight norm, gate, up, down;
    int64_t layer;
    float *normed, *gate_rows, *up_rows, *out;
} part;

static tamis_status prepare(tamis_run *run, part *p, const char *norm_stem, tamis_error *err) {
    int64_t n = tamis_run_tile_tokens(run), n_embd = run->model->hp.n_embd;
    p->norm = tamis_weight_find(run, p->layer, norm_stem);
    p->gate = tamis_weight_find(run, p->layer, "ffn_gate");
    p->up = tamis_weight_find(run, p->layer, "ffn_up");
    p->down = tamis_weight_find(run, p->layer, "ffn_down");
    tamis_weight *all[] = {&p->norm, &p->gate, &p->up, &p->down};
    tamis_status st = tamis_weights_load(run, all, 4, 0, err);
    if (st) return st;
    st = TAMIS_NO_RESOURCE;
    p->normed = tamis_run_buffer(run, TAMIS_BUFFER_NORMED, n * n_embd, sizeof(float), err);
    if (!p->normed) return st;
    p->gate_rows = tamis_run_buffer(run, TAMIS_BUFFER_GATE, n * p->gate.n_out, sizeof(float), err);
    if (!p->gate_rows) return st;
    p->up_rows = tamis_run_buffer(run, TAMIS_BUFFER_UP, n * p->up.n_out, sizeof(float), err);
    if (!p->up_rows) return st;
    p->out = tamis_run_buffer(run, TAMIS_BUFFER_OUT, n * n_embd, sizeof(float), err);
    return p->out ? TAMIS_OK : st;
}

static tamis_status run_tile(tamis_run *run, const part *p, const tamis_tile *tile,
                             tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    int64_t n = tile->n_tokens, n_ff = p->gate.n_out;
    float *x = run->h + tile->first * hp->n_embd;
    const tamis_weight *inputs[] = {&p->gate, &p->up}, *down = &p->down;
    tamis_rms_norm_rows(run->pool, x, NULL, p->norm.w, n, hp->n_embd, hp->norm_eps, p->normed);
    tamis_product product = tamis_tile_product(p->layer, tile, p->normed);
    tamis_status st = tamis_weights_observe(run, inputs, 2, &product, err);
    if (!st) st = tamis_weight_apply(run, &p->gate, p->normed, n, p->gate_rows, n_ff, err);
    if (!st) st = tamis_weight_apply(run, &p->up, p->normed, n, p->up_rows, n_ff, err);
    if (st) return st;
    tamis_swiglu_rows(run->pool, p->gate_rows, n_ff, p->up_rows, n_ff, n, n_ff, p->gate_rows);
    st = tamis_run_check_finite(run, p->gate_rows, n, n_ff, p->layer, "the input of ffn_down",
                                tile->first, NULL, err);
    product.x = p->gate_rows;
    if (!st) st = tamis_weights_observe(run, &down, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, down, p->gate_rows, n, p->out, hp->n_embd, err);
    if (st) return st;
    tamis_add_rows(run->pool, p->out, n, hp->n_embd, x);
    return tamis_run_check_finite(run, x, n, hp->n_embd, p->layer,
                                  "the hidden state after the feed-forward part", tile->first, NULL,
                                  err);
}

tamis_status tamis_dense_ffn(tamis_run *run, int64_t layer, const char *norm_stem, int i_part,
                             int n_parts, tamis_error *err) {
    part p = {.layer = layer};
    tamis_status st = prepare(run, &p, norm_stem, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        st = run_tile(run, &p, &tile, err);
        tamis_run_advance(run, layer, i_part, n_parts, tile.first + tile.n_tokens, run->n_tokens);
    }
    return st;
}
