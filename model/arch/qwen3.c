/* qwen3.c - qwen3 (dense) and qwen3moe: query and key heads are normed before the rotation.
 * Facts: reference/architectures.md sections 5 and 6. */
#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

enum { ATTENTION, FFN, N_PARTS };

static tamis_status dense_layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    tamis_status st = tamis_self_attention(run, i_layer, ATTENTION, N_PARTS, err);
    return st ? st : tamis_dense_ffn(run, i_layer, "ffn_norm", FFN, N_PARTS, err);
}

static tamis_status expert_layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    tamis_router router = {.n_expert = hp->n_expert,
                           .n_used = hp->n_expert_used,
                           .n_groups = hp->n_expert_groups,
                           .n_groups_used = hp->n_expert_groups_used,
                           .normalize = true};
    tamis_status st = tamis_self_attention(run, i_layer, ATTENTION, N_PARTS, err);
    return st ? st : tamis_expert_ffn(run, i_layer, "ffn_norm", &router, FFN, N_PARTS, err);
}

static tamis_status check_experts(const tamis_gguf *g, tamis_hparams *hp, tamis_error *err) {
    if (hp->n_expert < 1)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'qwen3moe.expert_count' is missing or 0; the architecture is "
                          "made of experts");
    int64_t fallback = hp->layers[0].n_ff / hp->n_expert_used;
    tamis_status st = tamis_gguf_get_int(g, "qwen3moe.expert_feed_forward_length", 1, 1 << 24,
                                         fallback, &hp->n_expert_ff, err);
    if (!st && hp->n_expert_ff < 1)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "key 'qwen3moe.expert_feed_forward_length' is missing");
    return st;
}

const tamis_arch tamis_arch_qwen3 = {
    .name = "qwen3",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_qk_norm,
                  &tamis_rules_dense},
    .check = tamis_check_dense,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = dense_layer,
};

const tamis_arch tamis_arch_qwen3moe = {
    .name = "qwen3moe",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_qk_norm,
                  &tamis_rules_experts},
    .check = check_experts,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = expert_layer,
};
