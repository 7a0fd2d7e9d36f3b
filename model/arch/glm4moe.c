/* glm4moe.c - glm4moe: GLM-4.5, 4.6, 4.7 and Solar-Open: half of each head is rotated, the first
 * layers are dense, the others have experts chosen by sigmoid and bias, and a shared one.
 * Facts: reference/architectures.md section 15. */
#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

/* clang-format off */
static const tamis_tensor_rule own_rules[] = {
    { "attn_q_norm", { TAMIS_DIM_HEAD }, TAMIS_RULE_LAYER | TAMIS_RULE_OPTIONAL, TAMIS_WHEN_ATTENTION, NULL },
    { "attn_k_norm", { TAMIS_DIM_HEAD }, TAMIS_RULE_LAYER | TAMIS_RULE_OPTIONAL, TAMIS_WHEN_ATTENTION, NULL },
    { "exp_probs_b.bias", { TAMIS_DIM_EXPERTS }, TAMIS_RULE_LAYER | TAMIS_RULE_BARE, TAMIS_WHEN_EXPERTS, NULL },
};
/* clang-format on */
static const tamis_rule_set own_set = {own_rules, sizeof own_rules / sizeof own_rules[0]};

static const tamis_attention_style attention_style = {0};
static const tamis_ffn_style ffn_style = {.norm = "post_attention_norm"};
static const tamis_expert_style expert_style = {.norm = "post_attention_norm",
                                                .beside = &tamis_shared_expert_post_attention};

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { ATTENTION, FFN, N_PARTS };
    tamis_status st = tamis_self_attention(run, i_layer, &attention_style, ATTENTION, N_PARTS, err);
    if (st) return st;
    if (run->model->hp.layers[i_layer].has_experts)
        return tamis_expert_ffn(run, i_layer, &expert_style, FFN, N_PARTS, err);
    return tamis_dense_ffn(run, i_layer, &ffn_style, FFN, N_PARTS, err);
}

static tamis_status check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = tamis_check_sparse(keys, TAMIS_GATING_SIGMOID, hp, err);
    return st ? st : tamis_hparams_read_sections(keys, TAMIS_SECTIONS_IN_ROW, false, hp, err);
}

const tamis_arch tamis_arch_glm4moe = {
    .name = "glm4moe",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &own_set,
                  &tamis_rules_post_attention_norm, &tamis_rules_dense, &tamis_rules_experts,
                  &tamis_rules_shared_expert, &tamis_rules_mtp},
    .check = check,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = layer,
};
