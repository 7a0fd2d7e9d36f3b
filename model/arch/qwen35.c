/* qwen35.c - qwen35 and qwen35moe (Qwen3.5 and 3.6): delta nets and gated attention in turn; the
 * norm before the feed-forward part is called post_attention_norm.
 * Facts: reference/architectures.md sections 8 and 9. */
#include "model/arch/hybrid.h"
#include "model/ops/ffn.h"

/* clang-format off */
static const tamis_tensor_rule gates[] = {
    { "ssm_beta",  { TAMIS_DIM_EMBD, TAMIS_DIM_SSM_HEADS }, TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT, TAMIS_WHEN_DELTA_NET, NULL },
    { "ssm_alpha", { TAMIS_DIM_EMBD, TAMIS_DIM_SSM_HEADS }, TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT, TAMIS_WHEN_DELTA_NET, NULL },
};
/* clang-format on */
static const tamis_rule_set gate_rules = {gates, sizeof gates / sizeof gates[0]};

enum { MIXER, FFN, N_PARTS };

static const tamis_linear_style linear_style = {.is_grouped = false};
static const tamis_ffn_style ffn_style = {.norm = "post_attention_norm"};
static const tamis_expert_style expert_style = {.norm = "post_attention_norm",
                                                .beside = &tamis_shared_expert_post_attention};

static tamis_status check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = tamis_hparams_read_sections(keys, TAMIS_SECTIONS_IN_TURN, true, hp, err);
    return st ? st : tamis_hybrid_check(keys, hp, err);
}

static tamis_status check_dense(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = tamis_check_dense(keys, hp, err);
    return st ? st : check(keys, hp, err);
}

static tamis_status check_experts(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = tamis_check_shared_expert(keys, hp, err);
    return st ? st : check(keys, hp, err);
}

static tamis_status dense_layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    tamis_status st = tamis_hybrid_mixer(run, i_layer, &linear_style, MIXER, N_PARTS, err);
    return st ? st : tamis_dense_ffn(run, i_layer, &ffn_style, FFN, N_PARTS, err);
}

static tamis_status expert_layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    tamis_status st = tamis_hybrid_mixer(run, i_layer, &linear_style, MIXER, N_PARTS, err);
    return st ? st : tamis_expert_ffn(run, i_layer, &expert_style, FFN, N_PARTS, err);
}

const tamis_arch tamis_arch_qwen35 = {
    .name = "qwen35",
    .rule_sets = {&tamis_rules_model, &tamis_rules_gated_attention, &tamis_rules_delta_net,
                  &gate_rules, &tamis_rules_post_attention_norm, &tamis_rules_dense,
                  &tamis_rules_mtp},
    .check = check_dense,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = dense_layer,
};

const tamis_arch tamis_arch_qwen35moe = {
    .name = "qwen35moe",
    .rule_sets = {&tamis_rules_model, &tamis_rules_gated_attention, &tamis_rules_delta_net,
                  &gate_rules, &tamis_rules_post_attention_norm, &tamis_rules_experts,
                  &tamis_rules_shared_expert, &tamis_rules_shared_gate, &tamis_rules_mtp},
    .check = check_experts,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = expert_layer,
};
