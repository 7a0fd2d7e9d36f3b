/* llama.c - llama: Llama 1-3, Mistral, Mixtral and the models that reuse their layer; dense or
 * with experts. Facts: reference/architectures.md section 2. */
#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

/* clang-format off */
static const tamis_tensor_rule rope_rules[] = {
    { "rope_freqs",         { TAMIS_DIM_ROT_PAIRS }, TAMIS_RULE_OPTIONAL, TAMIS_WHEN_ALWAYS, NULL },
    { "rope_factors_long",  { TAMIS_DIM_ROT_PAIRS }, 0, TAMIS_WHEN_LONGROPE, NULL },
    { "rope_factors_short", { TAMIS_DIM_ROT_PAIRS }, 0, TAMIS_WHEN_LONGROPE, NULL },
};
/* clang-format on */
static const tamis_rule_set rope_set = {rope_rules, sizeof rope_rules / sizeof rope_rules[0]};

static tamis_status check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    (void)keys;
    int64_t head_k = hp->layers[0].head_k, head_v = hp->layers[0].head_v;
    int64_t n_rot = hp->ropes[TAMIS_ROPE_MAIN].n_rot;
    if (head_k != head_v || head_k != n_rot)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "keys of %lld, values of %lld and %lld rotated elements; in "
                          "architecture 'llama' the three are equal",
                          (long long)head_k, (long long)head_v, (long long)n_rot);
    hp->experts.n_ff = hp->experts.n ? hp->layers[0].n_ff : 0;
    for (int64_t i = 0; i < hp->n_blocks; i++)
        if (hp->layers[i].n_ff < 1 || (hp->experts.n && hp->layers[i].n_ff != hp->experts.n_ff))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "key 'llama.feed_forward_length' is %lld in layer %lld",
                              (long long)hp->layers[i].n_ff, (long long)i);
    return TAMIS_OK;
}

static const tamis_attention_style style = {0};
static const tamis_ffn_style ffn_style = {0};
static const tamis_expert_style expert_style = {0};

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { ATTENTION, FFN, N_PARTS };
    const tamis_hparams *hp = &run->model->hp;
    tamis_status st = tamis_self_attention(run, i_layer, &style, ATTENTION, N_PARTS, err);
    if (st || !hp->layers[i_layer].has_experts)
        return st ? st : tamis_dense_ffn(run, i_layer, &ffn_style, FFN, N_PARTS, err);
    return tamis_expert_ffn(run, i_layer, &expert_style, FFN, N_PARTS, err);
}

const tamis_arch tamis_arch_llama = {
    .name = "llama",
    .rule_sets = {&tamis_rules_model, &rope_set, &tamis_rules_attention, &tamis_rules_ffn_norm,
                  &tamis_rules_dense, &tamis_rules_experts},
    .check = check,
    .rope_kind = TAMIS_ROPE_NORM,
    .has_rope_factors = true,
    .layer = layer,
};
