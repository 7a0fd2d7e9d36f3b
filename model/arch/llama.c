/* llama.c - llama: Llama 1-3, Mistral, Mixtral and the models that reuse their layer; dense or
 * with experts; and mistral3, whose queries grow with their position.
 * Facts: reference/architectures.md sections 2 and 16. */
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
    int64_t head_k = hp->layers[0].head_k, head_v = hp->layers[0].head_v;
    int64_t n_rot = hp->ropes[TAMIS_ROPE_MAIN].n_rot;
    if (head_k != head_v || head_k != n_rot)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "keys of %lld, values of %lld and %lld rotated elements; in "
                          "architecture '%s' the three are equal (keys '%s.attention.key_length', "
                          "'value_length' and '%s.rope.dimension_count')",
                          (long long)head_k, (long long)head_v, (long long)n_rot, keys->arch,
                          keys->arch, keys->arch);
    hp->experts.n_ff = hp->experts.n ? hp->layers[0].n_ff : 0;
    for (int64_t i = 0; i < hp->n_blocks; i++)
        if (hp->layers[i].n_ff < 1 || (hp->experts.n && hp->layers[i].n_ff != hp->experts.n_ff))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "key '%s.feed_forward_length' is %lld in layer %lld", keys->arch,
                              (long long)hp->layers[i].n_ff, (long long)i);
    return TAMIS_OK;
}

static tamis_status check_mistral3(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_rope_params *rope = &hp->ropes[TAMIS_ROPE_MAIN];
    double temperature = 0.0;
    const struct {
        const char *suffix;
        double lo, hi, fallback, *out;
    } numbers[] = {
        {"attention.temperature_scale", 0.0, 1e3, 0.0, &temperature},
        {"rope.scaling.yarn_beta_fast", 1e-6, 1e6, rope->beta_fast, &rope->beta_fast},
        {"rope.scaling.yarn_beta_slow", 1e-6, 1e6, rope->beta_slow, &rope->beta_slow},
        {"rope.scaling.yarn_log_multiplier", 0.0, 1e3, 0.0, &rope->log_multiplier},
    };
    tamis_status st = check(keys, hp, err);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && !st; i++)
        st = tamis_keys_double(keys, numbers[i].suffix, numbers[i].lo, numbers[i].hi,
                               numbers[i].fallback, numbers[i].out, err);
    hp->temperature_scale = (float)temperature;
    hp->temperature_length = rope->original_context;
    return st;
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

const tamis_arch tamis_arch_mistral3 = {
    .name = "mistral3",
    .rule_sets = {&tamis_rules_model, &rope_set, &tamis_rules_attention, &tamis_rules_ffn_norm,
                  &tamis_rules_dense, &tamis_rules_experts},
    .check = check_mistral3,
    .rope_kind = TAMIS_ROPE_NORM,
    .has_rope_factors = true,
    .layer = layer,
};
