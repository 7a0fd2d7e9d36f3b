/* mlp.c - see mlp.h. Formulas: reference/architectures.md section 1. Bound: compute. */
#include "model/ops/mlp.h"

#include <stdio.h>

#include "model/ops/norm.h"

tamis_mlp tamis_mlp_find(const tamis_run *run, int64_t layer, const tamis_mlp_stems *stems,
                         tamis_activation activation) {
    tamis_mlp mlp = {.activation = activation, .layer = layer, .down_stem = stems->down};
    mlp.norm = tamis_weight_find(run, layer, stems->norm);
    mlp.gate = tamis_weight_find(run, layer, stems->gate);
    mlp.up = tamis_weight_find(run, layer, stems->up);
    mlp.down = tamis_weight_find(run, layer, stems->down);
    if (stems->gate_inp) mlp.gate_inp = tamis_weight_find(run, layer, stems->gate_inp);
    if (stems->post_norm) mlp.post_norm = tamis_weight_find(run, layer, stems->post_norm);
    return mlp;
}

void tamis_mlp_list(tamis_mlp *mlp, tamis_weight **all) {
    tamis_weight *const weights[TAMIS_MLP_WEIGHTS] = {&mlp->norm, &mlp->gate,     &mlp->up,
                                                      &mlp->down, &mlp->gate_inp, &mlp->post_norm};
    for (int i = 0; i < TAMIS_MLP_WEIGHTS; i++)
        all[i] = weights[i];
}

tamis_status tamis_mlp_take_buffers(tamis_run *run, tamis_mlp *mlp, tamis_error *err) {
    int64_t n = tamis_run_tile_tokens(run), n_embd = run->model->hp.n_embd;
    const tamis_buffer_wish wanted[] = {
        {&mlp->normed, TAMIS_BUFFER_NORMED, n * n_embd},
        {&mlp->gate_rows, TAMIS_BUFFER_GATE, n * mlp->gate.n_out},
        {&mlp->up_rows, TAMIS_BUFFER_UP, n * mlp->up.n_out},
        {&mlp->out, TAMIS_BUFFER_OUT, n * n_embd},
    };
    return tamis_run_take_buffers(run, wanted, sizeof wanted / sizeof wanted[0], err);
}

static tamis_status check_activation(const tamis_run *run, const tamis_mlp *mlp,
                                     const tamis_tile *tile, tamis_error *err) {
    enum { STAGE_CAP = 96 };
    char stage[STAGE_CAP];
    snprintf(stage, sizeof stage, "the input of %s", mlp->down_stem);
    return tamis_run_check_finite(run, mlp->gate_rows, tile->n_tokens, mlp->gate.n_out, mlp->layer,
                                  stage, tile->first, NULL, err);
}

tamis_status tamis_mlp_run(tamis_run *run, const tamis_mlp *mlp, const tamis_tile *tile,
                           tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    int64_t n = tile->n_tokens, n_ff = mlp->gate.n_out;
    float *h = mlp->normed, *acted = mlp->gate_rows, *gates = mlp->up_rows;
    const tamis_weight *inputs[] = {&mlp->gate, &mlp->up, &mlp->gate_inp}, *down = &mlp->down;
    tamis_rms_norm_rows(run->pool, run->h + tile->first * hp->n_embd, NULL, mlp->norm.w, n,
                        hp->n_embd, hp->norm_eps, h);
    tamis_product product = tamis_tile_product(mlp->layer, tile, h);
    tamis_status st = tamis_weights_observe(run, inputs, 3, &product, err);
    if (!st) st = tamis_weight_apply(run, &mlp->gate, h, n, mlp->gate_rows, n_ff, err);
    if (!st) st = tamis_weight_apply(run, &mlp->up, h, n, mlp->up_rows, n_ff, err);
    if (st) return st;
    tamis_glu_rows(run->pool, mlp->activation, mlp->gate_rows, n_ff, mlp->up_rows, n_ff, n, n_ff,
                   acted);
    st = check_activation(run, mlp, tile, err);
    product.x = acted;
    if (!st) st = tamis_weights_observe(run, &down, 1, &product, err);
    if (!st) st = tamis_weight_apply(run, down, acted, n, mlp->out, hp->n_embd, err);
    if (!st && mlp->gate_inp.tensor) {
        st = tamis_weight_apply(run, &mlp->gate_inp, h, n, gates, 1, err);
        if (!st) tamis_sigmoid_gate_rows(run->pool, gates, n, hp->n_embd, mlp->out);
    }
    if (!st && mlp->post_norm.tensor)
        tamis_rms_norm_rows(run->pool, mlp->out, NULL, mlp->post_norm.w, n, hp->n_embd,
                            hp->norm_eps, mlp->out);
    return st;
}
