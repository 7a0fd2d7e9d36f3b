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

static tamis_status check(const tamis_gguf *g, tamis_hparams *hp, tamis_error *err) {
    (void)g;
    if (hp->head_k != hp->head_v || hp->head_k != hp->rope.n_rot)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "keys of %lld, values of %lld and %lld rotated elements; in "
                          "architecture 'llama' the three are equal",
                          (long long)hp->head_k, (long long)hp->head_v, (long long)hp->rope.n_rot);
    hp->n_expert_ff = hp->n_expert ? hp->layers[0].n_ff : 0;
    for (int64_t i = 0; i < hp->n_layers; i++)
        if (hp->layers[i].n_ff < 1 || (hp->n_expert && hp->layers[i].n_ff != hp->n_expert_ff))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "key 'llama.feed_forward_length' is %lld in layer %lld",
                              (long long)hp->layers[i].n_ff, (long long)i);
    return TAMIS_OK;
}

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { ATTENTION, FFN, N_PARTS };
    const tamis_hparams *hp = &run->model->hp;
    tamis_status st = tamis_self_attention(run, i_layer, ATTENTION, N_PARTS, err);
    if (st || !hp->n_expert)
        return st ? st : tamis_dense_ffn(run, i_layer, "ffn_norm", FFN, N_PARTS, err);
    tamis_router router = {.n_expert = hp->n_expert,
                           .n_used = hp->n_expert_used,
                           .n_groups = hp->n_expert_groups,
                           .n_groups_used = hp->n_expert_groups_used,
                           .normalize = true};
    return tamis_expert_ffn(run, i_layer, "ffn_norm", &router, FFN, N_PARTS, err);
}

const tamis_arch tamis_arch_llama = {
    .name = "llama",
    .rule_sets = {&tamis_rules_model, &rope_set, &tamis_rules_attention, &tamis_rules_dense,
                  &tamis_rules_experts},
    .check = check,
    .rope_kind = TAMIS_ROPE_NORM,
    .has_rope_factors = true,
    .layer = layer,
};
