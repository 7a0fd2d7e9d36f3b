/* qwen3next.c - qwen3next (Qwen3-Next): as qwen35moe, but value heads that share a key head follow
 * each other, betas and alphas come from one product, and the rotation has no sections. Older files
 * have ssm_in for attn_qkv and attn_gate.
 * Facts: reference/architectures.md section 10. */
#include "model/arch/hybrid.h"
#include "model/ops/ffn.h"

/* clang-format off */
static const tamis_tensor_rule fused[] = {
    { "ssm_in", { TAMIS_DIM_EMBD, TAMIS_DIM_SSM_IN },     TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT | TAMIS_RULE_OPTIONAL, TAMIS_WHEN_DELTA_NET, NULL },
    { "ssm_ba", { TAMIS_DIM_EMBD, TAMIS_DIM_SSM_HEADS2 }, TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT, TAMIS_WHEN_DELTA_NET, NULL },
};
/* clang-format on */
static const tamis_rule_set fused_rules = {fused, sizeof fused / sizeof fused[0]};

static const tamis_linear_style linear_style = {.is_grouped = true};
static const tamis_expert_style expert_style = {.norm = "post_attention_norm",
                                                .beside = &tamis_shared_expert_post_attention};

static tamis_status check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = tamis_check_shared_expert(keys, hp, err);
    return st ? st : tamis_hybrid_check(keys, hp, err);
}

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { MIXER, FFN, N_PARTS };
    tamis_status st = tamis_hybrid_mixer(run, i_layer, &linear_style, MIXER, N_PARTS, err);
    return st ? st : tamis_expert_ffn(run, i_layer, &expert_style, FFN, N_PARTS, err);
}

const tamis_arch tamis_arch_qwen3next = {
    .name = "qwen3next",
    .rule_sets = {&tamis_rules_model, &tamis_rules_gated_attention, &tamis_rules_delta_net,
                  &fused_rules, &tamis_rules_post_attention_norm, &tamis_rules_experts,
                  &tamis_rules_shared_expert, &tamis_rules_shared_gate, &tamis_rules_mtp},
    .check = check,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = layer,
};
