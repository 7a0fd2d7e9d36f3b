/* ffn.c - the dense feed-forward part, see ffn.h. Bound: compute. */
#include "model/ops/ffn.h"

#include "model/ops/residual.h"

static tamis_status run_tile(tamis_run *run, const tamis_mlp *mlp, const tamis_tile *tile,
                             tamis_error *err) {
    int64_t n = tile->n_tokens, n_embd = run->model->hp.n_embd;
    float *x = run->h + tile->first * n_embd;
    tamis_status st = tamis_mlp_run(run, mlp, tile, err);
    if (st) return st;
    tamis_add_rows(run->pool, mlp->out, n, n_embd, x);
    return tamis_run_check_finite(run, x, n, n_embd, mlp->layer,
                                  "the hidden state after the feed-forward part", tile->first, NULL,
                                  err);
}

tamis_status tamis_dense_ffn(tamis_run *run, int64_t layer, const tamis_ffn_style *style,
                             int i_part, int n_parts, tamis_error *err) {
    const tamis_mlp_stems stems = {.norm = style->norm ? style->norm : "ffn_norm",
                                   .gate = "ffn_gate",
                                   .up = "ffn_up",
                                   .down = "ffn_down",
                                   .post_norm = style->post_norm};
    tamis_mlp mlp = tamis_mlp_find(run, layer, &stems, style->activation);
    tamis_weight *all[TAMIS_MLP_WEIGHTS];
    tamis_mlp_list(&mlp, all);
    tamis_status st = tamis_weights_load(run, all, TAMIS_MLP_WEIGHTS, 0, err);
    if (!st) st = tamis_mlp_take_buffers(run, &mlp, err);
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        st = run_tile(run, &mlp, &tile, err);
        tamis_run_advance(run, layer, i_part, n_parts, tile.first + tile.n_tokens, run->n_tokens);
    }
    return st;
}
