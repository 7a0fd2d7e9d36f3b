/* qwen3.c - qwen3 (dense) and qwen3moe: query and key heads are normed before the rotation; and
 * the text of qwen3vl and qwen3vlmoe, whose pairs turn with one of several positions.
 * Facts: reference/architectures.md sections 5, 6 and 16. */
#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

enum { ATTENTION, FFN, N_PARTS };

static const tamis_attention_style style = {0};
static const tamis_ffn_style ffn_style = {0};
static const tamis_expert_style expert_style = {0};

static tamis_status dense_layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    tamis_status st = tamis_self_attention(run, i_layer, &style, ATTENTION, N_PARTS, err);
    return st ? st : tamis_dense_ffn(run, i_layer, &ffn_style, FFN, N_PARTS, err);
}

static tamis_status expert_layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    tamis_status st = tamis_self_attention(run, i_layer, &style, ATTENTION, N_PARTS, err);
    return st ? st : tamis_expert_ffn(run, i_layer, &expert_style, FFN, N_PARTS, err);
}

static tamis_status check_vl(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = tamis_check_dense(keys, hp, err);
    return st ? st : tamis_hparams_read_sections(keys, TAMIS_SECTIONS_IN_TURN, true, hp, err);
}

static tamis_status check_vl_experts(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = tamis_check_experts(keys, hp, err);
    return st ? st : tamis_hparams_read_sections(keys, TAMIS_SECTIONS_IN_TURN, true, hp, err);
}

const tamis_arch tamis_arch_qwen3 = {
    .name = "qwen3",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_ffn_norm,
                  &tamis_rules_qk_norm, &tamis_rules_dense},
    .check = tamis_check_dense,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = dense_layer,
};

const tamis_arch tamis_arch_qwen3moe = {
    .name = "qwen3moe",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_ffn_norm,
                  &tamis_rules_qk_norm, &tamis_rules_experts},
    .check = tamis_check_experts,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = expert_layer,
};

const tamis_arch tamis_arch_qwen3vl = {
    .name = "qwen3vl",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_ffn_norm,
                  &tamis_rules_qk_norm, &tamis_rules_dense},
    .check = check_vl,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = dense_layer,
};

const tamis_arch tamis_arch_qwen3vlmoe = {
    .name = "qwen3vlmoe",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_ffn_norm,
                  &tamis_rules_qk_norm, &tamis_rules_experts},
    .check = check_vl_experts,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = expert_layer,
};
