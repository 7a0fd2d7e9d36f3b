/* gemma4.c - gemma4: windows with smaller heads and a rope of their own, layers that attend to an
 * earlier layer's keys, an embedding per token and layer, a dense part beside the experts.
 * Facts: reference/architectures.md section 12. */
#include <math.h>

#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/layer_embedding.h"
#include "model/ops/self_attention.h"

enum {
    LAYER = TAMIS_RULE_LAYER,
    OPTIONAL = TAMIS_RULE_OPTIONAL,
    LINEAR = TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT,
    BARE = TAMIS_RULE_LAYER | TAMIS_RULE_BARE,
};

/* clang-format off */
static const tamis_tensor_rule attention_rules[] = {
    { "rope_freqs",          { TAMIS_DIM_ROT_PAIRS },             0,                 TAMIS_WHEN_ALWAYS, NULL },
    { "attn_norm",           { TAMIS_DIM_EMBD },                  LAYER,             TAMIS_WHEN_ALWAYS, NULL },
    { "attn_qkv",            { TAMIS_DIM_EMBD, TAMIS_DIM_QKV },   LINEAR | OPTIONAL, TAMIS_WHEN_OWN_KV, NULL },
    { "attn_q",              { TAMIS_DIM_EMBD, TAMIS_DIM_Q },     LINEAR,            TAMIS_WHEN_OWN_KV, "attn_qkv" },
    { "attn_q_norm",         { TAMIS_DIM_HEAD },                  LAYER,             TAMIS_WHEN_ALWAYS, NULL },
    { "attn_k",              { TAMIS_DIM_EMBD, TAMIS_DIM_K },     LINEAR,            TAMIS_WHEN_OWN_KV, "attn_qkv" },
    { "attn_v",              { TAMIS_DIM_EMBD, TAMIS_DIM_V },     LINEAR | OPTIONAL, TAMIS_WHEN_OWN_KV, "attn_qkv" },
    { "attn_k_norm",         { TAMIS_DIM_HEAD },                  LAYER,             TAMIS_WHEN_OWN_KV, NULL },
    { "attn_q",              { TAMIS_DIM_EMBD, TAMIS_DIM_Q },     LINEAR,            TAMIS_WHEN_SHARED_KV, NULL },
    { "attn_k",              { TAMIS_DIM_EMBD, TAMIS_DIM_K },     LINEAR | OPTIONAL, TAMIS_WHEN_SHARED_KV, NULL },
    { "attn_v",              { TAMIS_DIM_EMBD, TAMIS_DIM_V },     LINEAR | OPTIONAL, TAMIS_WHEN_SHARED_KV, NULL },
    { "attn_k_norm",         { TAMIS_DIM_HEAD },                  LAYER | OPTIONAL,  TAMIS_WHEN_SHARED_KV, NULL },
    { "attn_output",         { TAMIS_DIM_HEADS, TAMIS_DIM_EMBD }, LINEAR,            TAMIS_WHEN_ALWAYS, NULL },
    { "layer_output_scale",  { TAMIS_DIM_NONE },                  LAYER | OPTIONAL,  TAMIS_WHEN_ALWAYS, NULL },
};

/* The dense part is there with and without experts. */
static const tamis_tensor_rule ffn_rules[] = {
    { "ffn_gate",            { TAMIS_DIM_EMBD, TAMIS_DIM_FF },      LINEAR, TAMIS_WHEN_ALWAYS, NULL },
    { "ffn_up",              { TAMIS_DIM_EMBD, TAMIS_DIM_FF },      LINEAR, TAMIS_WHEN_ALWAYS, NULL },
    { "ffn_down",            { TAMIS_DIM_FF, TAMIS_DIM_EMBD },      LINEAR, TAMIS_WHEN_ALWAYS, NULL },
    { "pre_ffw_norm_2",      { TAMIS_DIM_EMBD },                    LAYER,  TAMIS_WHEN_EXPERTS, NULL },
    { "post_ffw_norm_1",     { TAMIS_DIM_EMBD },                    LAYER,  TAMIS_WHEN_EXPERTS, NULL },
    { "post_ffw_norm_2",     { TAMIS_DIM_EMBD },                    LAYER,  TAMIS_WHEN_EXPERTS, NULL },
    { "ffn_gate_inp",        { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERTS }, LAYER,  TAMIS_WHEN_EXPERTS, NULL },
    { "ffn_gate_inp.scale",  { TAMIS_DIM_EMBD },                    BARE,   TAMIS_WHEN_EXPERTS, NULL },
    { "ffn_gate_up_exps",    { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERT_FF2, TAMIS_DIM_EXPERTS },
                                                                    LINEAR | OPTIONAL, TAMIS_WHEN_EXPERTS, NULL },
    { "ffn_gate_exps",       { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EXPERTS },
                                                                    LINEAR, TAMIS_WHEN_EXPERTS, "ffn_gate_up_exps" },
    { "ffn_up_exps",         { TAMIS_DIM_EMBD, TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EXPERTS },
                                                                    LINEAR, TAMIS_WHEN_EXPERTS, "ffn_gate_up_exps" },
    { "ffn_down_exps",       { TAMIS_DIM_EXPERT_FF, TAMIS_DIM_EMBD, TAMIS_DIM_EXPERTS },
                                                                    LINEAR, TAMIS_WHEN_EXPERTS, NULL },
    { "ffn_down_exps.scale", { TAMIS_DIM_EXPERTS },                 BARE,   TAMIS_WHEN_EXPERTS, NULL },
};

static const tamis_tensor_rule embedding_rules[] = {
    { "per_layer_token_embd", { TAMIS_DIM_PLE_ALL, TAMIS_DIM_VOCAB }, TAMIS_RULE_PRODUCT, TAMIS_WHEN_PLE, NULL },
    { "per_layer_model_proj", { TAMIS_DIM_EMBD, TAMIS_DIM_PLE_ALL },  TAMIS_RULE_PRODUCT, TAMIS_WHEN_PLE, NULL },
    { "per_layer_proj_norm",  { TAMIS_DIM_PLE },                      0,                  TAMIS_WHEN_PLE, NULL },
    { "inp_gate",             { TAMIS_DIM_EMBD, TAMIS_DIM_PLE },      LINEAR,             TAMIS_WHEN_PLE, NULL },
    { "proj",                 { TAMIS_DIM_PLE, TAMIS_DIM_EMBD },      LINEAR,             TAMIS_WHEN_PLE, NULL },
    { "post_norm",            { TAMIS_DIM_EMBD },                     LAYER,              TAMIS_WHEN_PLE, NULL },
};
/* clang-format on */

#define SET(rules)                                                                                 \
    { (rules), (int)(sizeof(rules) / sizeof(rules)[0]) }
static const tamis_rule_set attention_set = SET(attention_rules);
static const tamis_rule_set ffn_set = SET(ffn_rules);
static const tamis_rule_set embedding_set = SET(embedding_rules);

/* Smaller heads where there is a window; keys and values are as wide as each other, so that values
 * can be made of the product of the keys. */
static tamis_status read_heads(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    enum { HEAD_SIZE_MAX = 1 << 16 };
    int64_t head_k = 0, head_v = 0;
    tamis_status st =
        tamis_keys_need_int(keys, "attention.key_length_swa", 1, HEAD_SIZE_MAX, &head_k, err);
    if (!st)
        st =
            tamis_keys_need_int(keys, "attention.value_length_swa", 1, HEAD_SIZE_MAX, &head_v, err);
    for (int64_t i = 0; i < hp->n_blocks && !st; i++) {
        tamis_layer_hparams *l = &hp->layers[i];
        if (l->window) {
            l->head_k = head_k;
            l->head_v = head_v;
        }
        if (l->head_k != l->head_v)
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "layer %lld: keys of %lld and values of %lld; in architecture '%s' "
                            "they are equal (keys '%s.attention.key_length' and 'value_length')",
                            (long long)i, (long long)l->head_k, (long long)l->head_v, keys->arch,
                            keys->arch);
    }
    return st;
}

/* The last layers attend to the keys of the last of their kind that has its own: a window first,
 * then a full one. */
static tamis_status share_keys(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    const char *suffix = "attention.shared_kv_layers";
    int64_t n_shared = 0;
    tamis_status st = tamis_keys_int(keys, suffix, 0, hp->n_blocks, 0, &n_shared, err);
    if (st || n_shared == 0) return st;
    int64_t n_own = hp->n_blocks - n_shared;
    if (n_own < 2 || !hp->layers[n_own - 2].window || hp->layers[n_own - 1].window)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '%s.%s' is %lld of %lld layers; the two layers before those are to "
                          "be one with a window and one without",
                          keys->arch, suffix, (long long)n_shared, (long long)hp->n_blocks);
    for (int64_t i = n_own; i < hp->n_blocks; i++)
        hp->layers[i].kv_from = hp->layers[i].window ? n_own - 2 : n_own - 1;
    return TAMIS_OK;
}

static tamis_status check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    enum { NO_PERIOD = -1 };
    double softcap = 0.0;
    tamis_status st = hp->experts.n ? tamis_check_experts(keys, hp, err) : TAMIS_OK;
    if (!st) st = tamis_check_widths(keys, hp, err);
    if (!st) st = tamis_hparams_read_windows(keys, NO_PERIOD, true, hp, err);
    if (!st) st = tamis_hparams_read_window_rope(keys, 10000.0, hp, err);
    if (!st) st = read_heads(keys, hp, err);
    if (!st) st = share_keys(keys, hp, err);
    if (!st)
        st = tamis_keys_need_int(keys, "embedding_length_per_layer_input", 0, TAMIS_WIDTH_MAX,
                                 &hp->ple_width, err);
    if (!st) st = tamis_keys_double(keys, "final_logit_softcapping", 0.0, 1e6, 30.0, &softcap, err);
    hp->embd_scale = (float)sqrt((double)hp->n_embd);
    hp->logit_softcap = (float)softcap;
    return st;
}

enum { ATTENTION, FFN, EMBEDDING, N_PARTS };

static tamis_status feed_forward(tamis_run *run, int64_t i_layer, tamis_error *err) {
    static const tamis_mlp_stems beside = {.norm = "ffn_norm",
                                           .gate = "ffn_gate",
                                           .up = "ffn_up",
                                           .down = "ffn_down",
                                           .post_norm = "post_ffw_norm_1"};
    static const tamis_expert_style experts = {.norm = "pre_ffw_norm_2",
                                               .routed_norm = "post_ffw_norm_2",
                                               .post_norm = "post_ffw_norm",
                                               .activation = TAMIS_GEGLU,
                                               .has_router_input = true,
                                               .beside = &beside};
    static const tamis_ffn_style dense = {.post_norm = "post_ffw_norm", .activation = TAMIS_GEGLU};
    if (run->model->hp.layers[i_layer].has_experts)
        return tamis_expert_ffn(run, i_layer, &experts, FFN, N_PARTS, err);
    return tamis_dense_ffn(run, i_layer, &dense, FFN, N_PARTS, err);
}

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    static const tamis_attention_style attention = {
        .post_norm = "post_attention_norm", .scale = 1.0, .norms_values = true};
    tamis_status st = tamis_self_attention(run, i_layer, &attention, ATTENTION, N_PARTS, err);
    if (!st) st = feed_forward(run, i_layer, err);
    if (!st && run->model->hp.ple_width)
        st = tamis_layer_embedding(run, i_layer, EMBEDDING, N_PARTS, err);
    return st ? st : tamis_scale_layer(run, i_layer, "layer_output_scale", err);
}

const tamis_arch tamis_arch_gemma4 = {
    .name = "gemma4",
    .rule_sets = {&tamis_rules_model, &attention_set, &tamis_rules_ffn_norm, &ffn_set,
                  &tamis_rules_post_attention_norm, &tamis_rules_post_ffw_norm, &embedding_set},
    .check = check,
    .rope_kind = TAMIS_ROPE_NEOX,
    .has_rope_factors = true,
    .layer = layer,
};
