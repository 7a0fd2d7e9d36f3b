/* shared_rules.c - tensors that families have in common, with their shapes.
 * Names and shapes: reference/architectures.md sections 1, 2, 5 and 6. */
#include "model/arch/arch.h"

#define SET(rules)                                                                                 \
    { (rules), (int)(sizeof(rules) / sizeof(rules)[0]) }

enum {
    LAYER = TAMIS_RULE_LAYER,
    OPTIONAL = TAMIS_RULE_OPTIONAL,
    BIAS = TAMIS_RULE_BIAS,
    BARE = TAMIS_RULE_BARE,
    PRODUCT = TAMIS_RULE_PRODUCT,
    LINEAR = TAMIS_RULE_LAYER | TAMIS_RULE_BIAS | TAMIS_RULE_PRODUCT,
    SCALED = TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT,
};

/* clang-format off */
static const tamis_tensor_rule model_rules[] = {
    { "token_embd",  { TAMIS_DIM_EMBD, TAMIS_DIM_VOCAB }, PRODUCT, TAMIS_WHEN_ALWAYS, NULL },
    { "output_norm", { TAMIS_DIM_EMBD },                  0,       TAMIS_WHEN_ALWAYS, NULL },
    { "output",      { TAMIS_DIM_EMBD, TAMIS_DIM_VOCAB }, OPTIONAL | BIAS | PRODUCT, TAMIS_WHEN_ALWAYS, NULL },
};

static const tamis_tensor_rule head_rules[] = {
    { "output", { TAMIS_DIM_EMBD, TAMIS_DIM_VOCAB }, BIAS | PRODUCT, TAMIS_WHEN_ALWAYS, NULL },
};

static const tamis_tensor_rule attention_rules[] = {
    { "attn_norm",   { TAMIS_DIM_EMBD },                  LAYER,             TAMIS_WHEN_ATTENTION, NULL },
    { "attn_qkv",    { TAMIS_DIM_EMBD, TAMIS_DIM_QKV },   LINEAR | OPTIONAL, TAMIS_WHEN_ATTENTION, NULL },
    { "attn_q",      { TAMIS_DIM_EMBD, TAMIS_DIM_Q },     LINEAR,            TAMIS_WHEN_ATTENTION, "attn_qkv" },
    { "attn_k",      { TAMIS_DIM_EMBD, TAMIS_DIM_K },     LINEAR,            TAMIS_WHEN_ATTENTION, "attn_qkv" },
    { "attn_v",      { TAMIS_DIM_EMBD, TAMIS_DIM_V },     LINEAR,            TAMIS_WHEN_ATTENTION, "attn_qkv" },
    { "attn_output", { TAMIS_DIM_HEADS, TAMIS_DIM_EMBD }, LINEAR,            TAMIS_WHEN_ATTENTION, NULL },
};

static const tamis_tensor_rule qk_norm_rules[] = {
    { "attn_q_norm", { TAMIS_DIM_HEAD }, LAYER, TAMIS_WHEN_ATTENTION, NULL },
    { "attn_k_norm", { TAMIS_DIM_HEAD }, LAYER, TAMIS_WHEN_ATTENTION, NULL },
};

static const tamis_tensor_rule ffn_norm_rules[] = {
    { "ffn_norm", { TAMIS_DIM_EMBD }, LAYER, TAMIS_WHEN_ALWAYS, NULL },
};

/* The norm before the feed-forward part, by the name that some families give it. */
static const tamis_tensor_rule post_attention_norm_rules[] = {
    { "post_attention_norm", { TAMIS_DIM_EMBD }, LAYER, TAMIS_WHEN_ALWAYS, NULL },
};

static const tamis_tensor_rule post_ffw_norm_rules[] = {
    { "post_ffw_norm", { TAMIS_DIM_EMBD }, LAYER, TAMIS_WHEN_ALWAYS, NULL },
};

static const tamis_tensor_rule dense_rules[] = {
    { "ffn_gate", { TAMIS_DIM_EMBD, TAMIS_DIM_FF },  LINEAR, TAMIS_WHEN_DENSE, NULL },
    { "ffn_up",   { TAMIS_DIM_EMBD, TAMIS_DIM_FF },  LINEAR, TAMIS_WHEN_DENSE, NULL },
    { "ffn_down", { TAMIS_DIM_FF, TAMIS_DIM_EMBD },  LINEAR, TAMIS_WHEN_DENSE, NULL },
};

static const tamis_tensor_rule expert_rules[] = {
    { "ffn_gate_inp",     { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERTS }, SCALED,  TAMIS_WHEN_EXPERTS, NULL },
    { "ffn_gate_up_exps", { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERT_FF2, TAMIS_DIM_EXPERTS },
                                                                 SCALED | OPTIONAL, TAMIS_WHEN_EXPERTS, NULL },
    { "ffn_gate_exps",    { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EXPERTS },
                                                                 SCALED,  TAMIS_WHEN_EXPERTS, "ffn_gate_up_exps" },
    { "ffn_up_exps",      { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EXPERTS },
                                                                 SCALED,  TAMIS_WHEN_EXPERTS, "ffn_gate_up_exps" },
    { "ffn_down_exps",    { TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EMBD, TAMIS_DIM_EXPERTS },
                                                                 SCALED,  TAMIS_WHEN_EXPERTS, NULL },
};

static const tamis_tensor_rule shared_expert_rules[] = {
    { "ffn_gate_shexp", { TAMIS_DIM_EMBD, TAMIS_DIM_SHARED_FF }, SCALED, TAMIS_WHEN_SHARED_EXPERT, NULL },
    { "ffn_up_shexp",   { TAMIS_DIM_EMBD, TAMIS_DIM_SHARED_FF }, SCALED, TAMIS_WHEN_SHARED_EXPERT, NULL },
    { "ffn_down_shexp", { TAMIS_DIM_SHARED_FF, TAMIS_DIM_EMBD }, SCALED, TAMIS_WHEN_SHARED_EXPERT, NULL },
};

static const tamis_tensor_rule shared_gate_rules[] = {
    { "ffn_gate_inp_shexp", { TAMIS_DIM_EMBD }, SCALED, TAMIS_WHEN_SHARED_EXPERT, NULL },
};

static const tamis_tensor_rule selection_bias_rules[] = {
    { "exp_probs_b.bias", { TAMIS_DIM_EXPERTS }, LAYER | BARE | OPTIONAL, TAMIS_WHEN_EXPERTS, NULL },
};

/* Beside the tensors of a full layer, reference/architectures.md section 8; a head, its norm and
 * an embedding of its own may be missing: then those of the trunk serve. */
static const tamis_tensor_rule mtp_rules[] = {
    { "nextn.eh_proj",          { TAMIS_DIM_EMBD2, TAMIS_DIM_EMBD }, LINEAR, TAMIS_WHEN_MTP, NULL },
    { "nextn.enorm",            { TAMIS_DIM_EMBD },                  LAYER,  TAMIS_WHEN_MTP, NULL },
    { "nextn.hnorm",            { TAMIS_DIM_EMBD },                  LAYER,  TAMIS_WHEN_MTP, NULL },
    { "nextn.embed_tokens",     { TAMIS_DIM_EMBD, TAMIS_DIM_VOCAB }, SCALED | OPTIONAL, TAMIS_WHEN_MTP, NULL },
    { "nextn.shared_head_head", { TAMIS_DIM_EMBD, TAMIS_DIM_VOCAB }, SCALED | OPTIONAL, TAMIS_WHEN_MTP, NULL },
    { "nextn.shared_head_norm", { TAMIS_DIM_EMBD },                  LAYER | OPTIONAL,   TAMIS_WHEN_MTP, NULL },
};
/* clang-format on */

const tamis_rule_set tamis_rules_model = SET(model_rules);
const tamis_rule_set tamis_rules_head = SET(head_rules);
const tamis_rule_set tamis_rules_attention = SET(attention_rules);
const tamis_rule_set tamis_rules_qk_norm = SET(qk_norm_rules);
const tamis_rule_set tamis_rules_ffn_norm = SET(ffn_norm_rules);
const tamis_rule_set tamis_rules_post_attention_norm = SET(post_attention_norm_rules);
const tamis_rule_set tamis_rules_post_ffw_norm = SET(post_ffw_norm_rules);
const tamis_rule_set tamis_rules_dense = SET(dense_rules);
const tamis_rule_set tamis_rules_experts = SET(expert_rules);
const tamis_rule_set tamis_rules_shared_expert = SET(shared_expert_rules);
const tamis_rule_set tamis_rules_shared_gate = SET(shared_gate_rules);
const tamis_rule_set tamis_rules_selection_bias = SET(selection_bias_rules);
const tamis_rule_set tamis_rules_mtp = SET(mtp_rules);

tamis_status tamis_check_widths(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    for (int64_t i = 0; i < hp->n_blocks; i++)
        if (hp->layers[i].n_ff < 1)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "layer %lld: the feed-forward length is missing or 0 (key "
                              "'%s.feed_forward_length')",
                              (long long)i, keys->arch);
    return TAMIS_OK;
}

tamis_status tamis_check_dense(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    if (hp->experts.n)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%lld experts are announced, but architecture '%s' is dense (key "
                          "'%s.expert_count')",
                          (long long)hp->experts.n, keys->arch, keys->arch);
    return tamis_check_widths(keys, hp, err);
}

tamis_status tamis_check_experts(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    const char *suffix = "expert_feed_forward_length";
    if (hp->experts.n < 1)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '%s.expert_count' is missing or 0; the architecture is made of "
                          "experts",
                          keys->arch);
    int64_t fallback = hp->layers[0].n_ff / hp->experts.n_used;
    tamis_status st =
        tamis_keys_int(keys, suffix, 1, TAMIS_WIDTH_MAX, fallback, &hp->experts.n_ff, err);
    if (!st && hp->experts.n_ff < 1)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "key '%s.%s' is missing", keys->arch, suffix);
    return st;
}

tamis_status tamis_check_shared_expert(const tamis_keys *keys, tamis_hparams *hp,
                                       tamis_error *err) {
    const char *suffix = "expert_shared_feed_forward_length";
    tamis_expert_hparams *e = &hp->experts;
    tamis_status st = tamis_check_experts(keys, hp, err);
    if (!st)
        st = tamis_keys_int(keys, suffix, 1, TAMIS_WIDTH_MAX, hp->layers[0].n_ff, &e->n_shared_ff,
                            err);
    if (!st && e->n_shared_ff < 1)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "key '%s.%s' is missing", keys->arch, suffix);
    return st;
}

static tamis_status read_gating(const tamis_keys *keys, tamis_gating fallback, tamis_hparams *hp,
                                tamis_error *err) {
    enum { GIVEN_NONE, GIVEN_SOFTMAX, GIVEN_SIGMOID };
    int64_t given = 0;
    tamis_status st = tamis_keys_int(keys, "expert_gating_func", 0, GIVEN_SIGMOID, 0, &given, err);
    hp->experts.gating = given == GIVEN_NONE      ? fallback
                         : given == GIVEN_SOFTMAX ? TAMIS_GATING_SOFTMAX
                                                  : TAMIS_GATING_SIGMOID;
    return st;
}

tamis_status tamis_check_sparse(const tamis_keys *keys, tamis_gating gating, tamis_hparams *hp,
                                tamis_error *err) {
    const double scale_max = 1e6;
    tamis_expert_hparams *e = &hp->experts;
    int64_t n_dense = 0, n_shared = 0;
    double scale = 0.0;
    tamis_status st = tamis_check_experts(keys, hp, err);
    if (!st) st = tamis_keys_need_int(keys, "expert_shared_count", 0, e->n, &n_shared, err);
    if (!st)
        st = tamis_keys_int(keys, "leading_dense_block_count", 0, hp->n_blocks, 0, &n_dense, err);
    if (!st) st = tamis_keys_double(keys, "expert_weights_scale", 0.0, scale_max, 0.0, &scale, err);
    if (!st) st = tamis_keys_bool(keys, "expert_weights_norm", false, &e->normalize, err);
    if (!st) st = read_gating(keys, gating, hp, err);
    if (st) return st;
    e->weights_scale = (float)scale;
    e->n_shared_ff = n_shared * e->n_ff;
    for (int64_t i = 0; i < n_dense; i++) {
        hp->layers[i].has_experts = 0;
        if (hp->layers[i].n_ff < 1)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "layer %lld is dense (key '%s.leading_dense_block_count'), and its "
                              "feed-forward length is missing or 0",
                              (long long)i, keys->arch);
    }
    return TAMIS_OK;
}
