/* gemma3.c - gemma3: sliding windows with a rope of their own, a norm before and after each part,
 * GeGLU. Facts: reference/architectures.md section 11. */
#include <math.h>

#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

enum { PERIOD = 6, BLOCKS_OF_27B = 62 };

static tamis_status check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    double softcap = 0.0;
    tamis_status st = tamis_check_dense(keys, hp, err);
    if (!st) st = tamis_hparams_read_windows(keys, PERIOD, false, hp, err);
    if (!st) st = tamis_hparams_read_window_rope(keys, 10000.0, hp, err);
    if (!st) st = tamis_keys_double(keys, "final_logit_softcapping", 0.0, 1e6, 0.0, &softcap, err);
    hp->embd_scale = (float)sqrt((double)hp->n_embd);
    hp->logit_softcap = (float)softcap;
    return st;
}

/* The largest model scales by the width per head, not by the size of a head. */
static double attention_scale(const tamis_hparams *hp, const tamis_layer_hparams *l) {
    double size = (double)l->head_k;
    if (hp->n_blocks == BLOCKS_OF_27B) size = (double)hp->n_embd / (double)l->n_head;
    return 1.0 / sqrt(size);
}

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { ATTENTION, FFN, N_PARTS };
    const tamis_hparams *hp = &run->model->hp;
    const tamis_attention_style attention = {.post_norm = "post_attention_norm",
                                             .scale = attention_scale(hp, &hp->layers[i_layer])};
    const tamis_ffn_style ffn = {.post_norm = "post_ffw_norm", .activation = TAMIS_GEGLU};
    tamis_status st = tamis_self_attention(run, i_layer, &attention, ATTENTION, N_PARTS, err);
    return st ? st : tamis_dense_ffn(run, i_layer, &ffn, FFN, N_PARTS, err);
}

const tamis_arch tamis_arch_gemma3 = {
    .name = "gemma3",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_qk_norm,
                  &tamis_rules_ffn_norm, &tamis_rules_dense, &tamis_rules_post_attention_norm,
                  &tamis_rules_post_ffw_norm},
    .check = check,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = layer,
};
