/* qwen2.c - qwen2: Qwen 1.5 / 2 / 2.5, dense, and models distilled into them; qwen2moe: experts and
 * a shared expert with a gate. Facts: reference/architectures.md sections 3 and 4. */
#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

static const tamis_attention_style style = {0};
static const tamis_ffn_style ffn_style = {0};
static const tamis_expert_style expert_style = {.beside = &tamis_shared_expert};

enum { ATTENTION, FFN, N_PARTS };

static tamis_status dense_layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    tamis_status st = tamis_self_attention(run, i_layer, &style, ATTENTION, N_PARTS, err);
    return st ? st : tamis_dense_ffn(run, i_layer, &ffn_style, FFN, N_PARTS, err);
}

static tamis_status expert_layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    tamis_status st = tamis_self_attention(run, i_layer, &style, ATTENTION, N_PARTS, err);
    return st ? st : tamis_expert_ffn(run, i_layer, &expert_style, FFN, N_PARTS, err);
}

static tamis_status check_experts(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    hp->experts.normalize = false;
    return tamis_check_shared_expert(keys, hp, err);
}

const tamis_arch tamis_arch_qwen2 = {
    .name = "qwen2",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_ffn_norm,
                  &tamis_rules_dense},
    .check = tamis_check_dense,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = dense_layer,
};

const tamis_arch tamis_arch_qwen2moe = {
    .name = "qwen2moe",
    .rule_sets = {&tamis_rules_model, &tamis_rules_head, &tamis_rules_attention,
                  &tamis_rules_ffn_norm, &tamis_rules_experts, &tamis_rules_shared_expert,
                  &tamis_rules_shared_gate},
    .check = check_experts,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = expert_layer,
};
