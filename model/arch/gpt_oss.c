/* gpt_oss.c - gpt-oss: windows on every second layer, a sink per head, biases everywhere, experts
 * chosen by their logits. Facts: reference/architectures.md section 13. */
#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

enum {
    PERIOD = 2,
    OPTIONAL = TAMIS_RULE_OPTIONAL,
    LINEAR = TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT | TAMIS_RULE_BIAS | TAMIS_RULE_NEEDS_BIAS,
};

/* clang-format off */
static const tamis_tensor_rule rules[] = {
    { "attn_norm",     { TAMIS_DIM_EMBD },                  TAMIS_RULE_LAYER,   TAMIS_WHEN_ALWAYS, NULL },
    { "attn_qkv",      { TAMIS_DIM_EMBD, TAMIS_DIM_QKV },   LINEAR | OPTIONAL,  TAMIS_WHEN_ALWAYS, NULL },
    { "attn_q",        { TAMIS_DIM_EMBD, TAMIS_DIM_Q },     LINEAR, TAMIS_WHEN_ALWAYS, "attn_qkv" },
    { "attn_k",        { TAMIS_DIM_EMBD, TAMIS_DIM_K },     LINEAR, TAMIS_WHEN_ALWAYS, "attn_qkv" },
    { "attn_v",        { TAMIS_DIM_EMBD, TAMIS_DIM_V },     LINEAR, TAMIS_WHEN_ALWAYS, "attn_qkv" },
    { "attn_output",   { TAMIS_DIM_HEADS, TAMIS_DIM_EMBD }, LINEAR, TAMIS_WHEN_ALWAYS, NULL },
    { "attn_sinks",    { TAMIS_DIM_N_HEADS },               TAMIS_RULE_LAYER,   TAMIS_WHEN_ALWAYS, NULL },
    { "ffn_gate_inp",  { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERTS },                          LINEAR, TAMIS_WHEN_ALWAYS, NULL },
    { "ffn_gate_exps", { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EXPERTS },     LINEAR, TAMIS_WHEN_ALWAYS, NULL },
    { "ffn_up_exps",   { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EXPERTS },     LINEAR, TAMIS_WHEN_ALWAYS, NULL },
    { "ffn_down_exps", { TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EMBD, TAMIS_DIM_EXPERTS },     LINEAR, TAMIS_WHEN_ALWAYS, NULL },
};
/* clang-format on */
static const tamis_rule_set rule_set = {rules, sizeof rules / sizeof rules[0]};

static tamis_status check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_rope_params *rope = &hp->ropes[TAMIS_ROPE_WINDOW];
    tamis_status st = tamis_check_experts(keys, hp, err);
    if (!st) st = tamis_hparams_read_windows(keys, PERIOD, true, hp, err);
    hp->experts.gating = TAMIS_GATING_CHOSEN;
    hp->experts.normalize = false;
    if (st || !tamis_keys_has(keys, "rope.freq_base_swa")) return st;
    for (int64_t i = 0; i < hp->n_blocks; i++) /* the same rope but for its base */
        hp->layers[i].rope = hp->layers[i].window ? TAMIS_ROPE_WINDOW : TAMIS_ROPE_MAIN;
    return tamis_keys_double(keys, "rope.freq_base_swa", 1.0, 1e15, 0.0, &rope->freq_base, err);
}

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { ATTENTION, FFN, N_PARTS };
    static const tamis_attention_style attention = {0};
    static const tamis_expert_style experts = {.norm = "post_attention_norm",
                                               .activation = TAMIS_SWIGLU_OAI};
    tamis_status st = tamis_self_attention(run, i_layer, &attention, ATTENTION, N_PARTS, err);
    return st ? st : tamis_expert_ffn(run, i_layer, &experts, FFN, N_PARTS, err);
}

const tamis_arch tamis_arch_gpt_oss = {
    .name = "gpt-oss",
    .rule_sets = {&tamis_rules_model, &tamis_rules_head, &tamis_rules_post_attention_norm,
                  &rule_set},
    .check = check,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = layer,
};
