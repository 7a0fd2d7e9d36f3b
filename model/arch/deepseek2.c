/* deepseek2.c - deepseek2: DeepSeek V2, V3 and R1, Kimi K2, GLM-4.7-Flash, Mistral-Large-3: latent
 * attention; the first layers are dense, the others have experts in groups and shared ones.
 * Facts: reference/architectures.md section 14. */
#include <math.h>

#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/latent_attention.h"

enum {
    LAYER = TAMIS_RULE_LAYER,
    SCALED = TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT,
};

/* clang-format off */
static const tamis_tensor_rule latent_rules[] = {
    { "attn_norm",      { TAMIS_DIM_EMBD },                            LAYER,  TAMIS_WHEN_LATENT, NULL },
    { "attn_q",         { TAMIS_DIM_EMBD, TAMIS_DIM_LATENT_Q },        SCALED, TAMIS_WHEN_LATENT_Q_WHOLE, NULL },
    { "attn_q_a",       { TAMIS_DIM_EMBD, TAMIS_DIM_Q_RANK },          SCALED, TAMIS_WHEN_LATENT_Q_RANK, NULL },
    { "attn_q_a_norm",  { TAMIS_DIM_Q_RANK },                          LAYER,  TAMIS_WHEN_LATENT_Q_RANK, NULL },
    { "attn_q_b",       { TAMIS_DIM_Q_RANK, TAMIS_DIM_LATENT_Q },      SCALED, TAMIS_WHEN_LATENT_Q_RANK, NULL },
    { "attn_kv_a_mqa",  { TAMIS_DIM_EMBD, TAMIS_DIM_LATENT_KV },       SCALED, TAMIS_WHEN_LATENT, NULL },
    { "attn_kv_a_norm", { TAMIS_DIM_KV_RANK },                         LAYER,  TAMIS_WHEN_LATENT, NULL },
    { "attn_k_b",       { TAMIS_DIM_NOPE, TAMIS_DIM_KV_RANK, TAMIS_DIM_N_HEADS },
                                                                       LAYER,  TAMIS_WHEN_LATENT_ABSORBED, NULL },
    { "attn_v_b",       { TAMIS_DIM_KV_RANK, TAMIS_DIM_LATENT_V, TAMIS_DIM_N_HEADS },
                                                                       LAYER,  TAMIS_WHEN_LATENT_ABSORBED, NULL },
    { "attn_kv_b",      { TAMIS_DIM_KV_RANK, TAMIS_DIM_LATENT_KV_B },  SCALED, TAMIS_WHEN_LATENT_JOINED, NULL },
    { "attn_output",    { TAMIS_DIM_LATENT_HEADS, TAMIS_DIM_EMBD },    SCALED, TAMIS_WHEN_LATENT, NULL },
};
/* clang-format on */
static const tamis_rule_set latent_set = {latent_rules,
                                          sizeof latent_rules / sizeof latent_rules[0]};

static const tamis_ffn_style ffn_style = {0};
static const tamis_expert_style expert_style = {.beside = &tamis_shared_expert};

/* 1 / sqrt(head size), times the square of what YaRN stretches logits by. */
static double attention_scale(const tamis_hparams *hp) {
    const tamis_rope_params *rope = &hp->ropes[TAMIS_ROPE_MAIN];
    double stretch = 1.0, size = (double)(hp->latent.head_nope + hp->latent.head_rope);
    if (rope->scaling == TAMIS_ROPE_YARN && rope->freq_scale < 1.0)
        stretch += 0.1 * hp->latent.logit_multiplier * log(1.0 / rope->freq_scale);
    return stretch * stretch / sqrt(size);
}

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { ATTENTION, FFN, N_PARTS };
    const tamis_hparams *hp = &run->model->hp;
    tamis_status st =
        tamis_latent_attention(run, i_layer, attention_scale(hp), ATTENTION, N_PARTS, err);
    if (st) return st;
    if (hp->layers[i_layer].has_experts)
        return tamis_expert_ffn(run, i_layer, &expert_style, FFN, N_PARTS, err);
    return tamis_dense_ffn(run, i_layer, &ffn_style, FFN, N_PARTS, err);
}

/* The multiplier is stored as a tenth. With one, cos and sin are not stretched, whatever it is;
 * without, logits are stretched as with 1. */
static tamis_status read_yarn(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    const double stored_max = 1e3, tenth = 0.1;
    double stored = 0.0, scale = 0.0;
    tamis_status st = tamis_keys_double(keys, "rope.scaling.yarn_log_multiplier", 0.0, stored_max,
                                        0.0, &stored, err);
    if (!st)
        st = tamis_keys_double(keys, "attention.temperature_scale", 0.0, stored_max, 0.0, &scale,
                               err);
    if (!st && scale != 0.0)
        st = tamis_keys_need_int(keys, "attention.temperature_length", 1, INT32_MAX,
                                 &hp->temperature_length, err);
    hp->temperature_scale = (float)scale;
    hp->latent.logit_multiplier = stored != 0.0 ? stored / tenth : 1.0;
    for (int i = 0; i < TAMIS_N_ROPES; i++)
        hp->ropes[i].log_multiplier = stored != 0.0 ? 1.0 : 0.0;
    return st;
}

/* Sizes of a head, whole: with attn_k_b and attn_v_b they have keys of their own, because
 * key_length and value_length are those of the latents then. */
static tamis_status read_sizes(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    enum { HEAD_SIZE_MAX = 1 << 16 };
    tamis_latent_hparams *s = &hp->latent;
    int64_t head_q = 0, head_v = 0, n_rot = hp->ropes[TAMIS_ROPE_MAIN].n_rot;
    tamis_status st =
        tamis_keys_need_int(keys, "attention.kv_lora_rank", 1, TAMIS_WIDTH_MAX, &s->kv_rank, err);
    if (!st)
        st = tamis_keys_int(keys, "attention.q_lora_rank", 0, TAMIS_WIDTH_MAX, 0, &s->q_rank, err);
    if (!st)
        st = tamis_keys_int(keys, "attention.key_length_mla", 0, HEAD_SIZE_MAX, 0, &head_q, err);
    if (!st)
        st = tamis_keys_int(keys, "attention.value_length_mla", 0, HEAD_SIZE_MAX, 0, &head_v, err);
    if (st) return st;
    s->is_absorbed = head_q > 0 && head_v > 0;
    if (!s->is_absorbed) head_q = hp->layers[0].head_k, head_v = hp->layers[0].head_v;
    if (tamis_gguf_find_tensor(keys->gguf, "blk.0.attn_q.weight")) s->q_rank = 0;
    s->head_nope = head_q - n_rot;
    s->head_rope = n_rot;
    s->head_v = head_v;
    if (s->head_nope < 1)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "keys of %lld elements, %lld of them rotated; architecture '%s' needs "
                          "some that are not (keys '%s.attention.key_length_mla', "
                          "'%s.rope.dimension_count')",
                          (long long)head_q, (long long)n_rot, keys->arch, keys->arch, keys->arch);
    return TAMIS_OK;
}

static tamis_status check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    /* GLM-4.7-Flash files do not say that its router takes the sigmoid */
    enum { FLASH_VOCAB = 154880, FLASH_LAYERS = 47 };
    bool is_flash = hp->n_vocab == FLASH_VOCAB &&
                    (hp->n_blocks == FLASH_LAYERS || hp->n_blocks == FLASH_LAYERS + 1);
    tamis_status st = read_sizes(keys, hp, err);
    if (!st) st = read_yarn(keys, hp, err);
    if (!st)
        st = tamis_check_sparse(keys, is_flash ? TAMIS_GATING_SIGMOID : TAMIS_GATING_SOFTMAX, hp,
                                err);
    const tamis_latent_hparams *s = &hp->latent;
    for (int64_t i = 0; i < hp->n_blocks && !st; i++) {
        tamis_layer_hparams *l = &hp->layers[i];
        if (l->n_head_kv != 1 && l->n_head_kv != l->n_head)
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "key '%s.attention.head_count_kv' is %lld; latents are 1 head, or "
                            "those of the %lld queries",
                            keys->arch, (long long)l->n_head_kv, (long long)l->n_head);
        l->mixer = TAMIS_MIXER_LATENT;
        l->n_head_kv = s->is_absorbed ? 1 : l->n_head;
        l->head_k = s->head_rope + (s->is_absorbed ? s->kv_rank : s->head_nope);
        l->head_v = s->is_absorbed ? s->kv_rank : s->head_v;
    }
    return st;
}

const tamis_arch tamis_arch_deepseek2 = {
    .name = "deepseek2",
    .rule_sets = {&tamis_rules_model, &latent_set, &tamis_rules_ffn_norm, &tamis_rules_dense,
                  &tamis_rules_experts, &tamis_rules_selection_bias, &tamis_rules_shared_expert,
                  &tamis_rules_mtp},
    .check = check,
    .rope_kind = TAMIS_ROPE_NORM,
    .layer = layer,
};
