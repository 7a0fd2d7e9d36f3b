/* tensors.c - the tensors of a file held against the rules of its architecture, before anything
 * is computed. A tensor of a block that no rule knows is refused too: leaving it out would
 * give wrong numbers in silence. */
#include <stdio.h>
#include <string.h>

#include "model/arch/arch.h"

enum { NAME_CAP = 128, SHAPE_CAP = 96 };

/* What is checked: a file, its architecture and hyper-parameters. */
typedef struct subject {
    const tamis_gguf *gguf;
    const tamis_arch *arch;
    const tamis_hparams *hp;
} subject;

/* All lengths of one layer. */
static void fill_dims(const tamis_hparams *hp, int64_t layer, int64_t dims[TAMIS_N_DIMS]) {
    const tamis_layer_hparams *l = &hp->layers[layer];
    dims[TAMIS_DIM_NONE] = 1;
    dims[TAMIS_DIM_EMBD] = hp->n_embd;
    dims[TAMIS_DIM_EMBD2] = 2 * hp->n_embd;
    dims[TAMIS_DIM_VOCAB] = hp->n_vocab;
    dims[TAMIS_DIM_Q] = l->n_head * l->head_k;
    dims[TAMIS_DIM_Q2] = 2 * dims[TAMIS_DIM_Q];
    dims[TAMIS_DIM_K] = l->n_head_kv * l->head_k;
    dims[TAMIS_DIM_V] = l->n_head_kv * l->head_v;
    dims[TAMIS_DIM_QKV] = dims[TAMIS_DIM_Q] + dims[TAMIS_DIM_K] + dims[TAMIS_DIM_V];
    dims[TAMIS_DIM_HEADS] = l->n_head * l->head_v;
    dims[TAMIS_DIM_HEAD] = l->head_k;
    dims[TAMIS_DIM_ROT_PAIRS] = hp->ropes[TAMIS_ROPE_MAIN].n_rot / 2;
    dims[TAMIS_DIM_FF] = l->n_ff;
    dims[TAMIS_DIM_EXPERT_FF] = hp->experts.n_ff;
    dims[TAMIS_DIM_EXPERT_FF2] = 2 * hp->experts.n_ff;
    dims[TAMIS_DIM_EXPERTS] = hp->experts.n;
    dims[TAMIS_DIM_N_HEADS] = l->n_head;
    dims[TAMIS_DIM_PLE] = hp->ple_width;
    dims[TAMIS_DIM_PLE_ALL] = hp->ple_width * hp->n_layers;
    dims[TAMIS_DIM_SHARED_FF] = hp->experts.n_shared_ff;
    const tamis_latent_hparams *latent = &hp->latent;
    dims[TAMIS_DIM_Q_RANK] = latent->q_rank;
    dims[TAMIS_DIM_KV_RANK] = latent->kv_rank;
    dims[TAMIS_DIM_LATENT_KV] = latent->kv_rank + latent->head_rope;
    dims[TAMIS_DIM_LATENT_Q] = l->n_head * (latent->head_nope + latent->head_rope);
    dims[TAMIS_DIM_NOPE] = latent->head_nope;
    dims[TAMIS_DIM_LATENT_V] = latent->head_v;
    dims[TAMIS_DIM_LATENT_KV_B] = l->n_head * (latent->head_nope + latent->head_v);
    dims[TAMIS_DIM_LATENT_HEADS] = l->n_head * latent->head_v;
    const tamis_ssm_hparams *ssm = &hp->ssm;
    dims[TAMIS_DIM_SSM_CHANNELS] = 2 * ssm->n_key_heads * ssm->state_size + ssm->inner_size;
    dims[TAMIS_DIM_SSM_INNER] = ssm->inner_size;
    dims[TAMIS_DIM_SSM_IN] = dims[TAMIS_DIM_SSM_CHANNELS] + ssm->inner_size;
    dims[TAMIS_DIM_SSM_CONV] = ssm->conv_kernel;
    dims[TAMIS_DIM_SSM_HEADS] = ssm->n_value_heads;
    dims[TAMIS_DIM_SSM_HEADS2] = 2 * ssm->n_value_heads;
    dims[TAMIS_DIM_SSM_STATE] = ssm->state_size;
}

/* A rule of the whole model (layer -1) is judged by the first block. */
static bool applies(const tamis_tensor_rule *rule, const tamis_hparams *hp, int64_t layer) {
    const tamis_layer_hparams *l = &hp->layers[layer < 0 ? 0 : layer];
    const bool when[TAMIS_N_WHENS] = {
        [TAMIS_WHEN_ALWAYS] = true,
        [TAMIS_WHEN_DENSE] = !l->has_experts,
        [TAMIS_WHEN_EXPERTS] = l->has_experts,
        [TAMIS_WHEN_SHARED_EXPERT] = l->has_experts && hp->experts.n_shared_ff > 0,
        [TAMIS_WHEN_ATTENTION] = l->mixer == TAMIS_MIXER_ATTENTION,
        [TAMIS_WHEN_DELTA_NET] = l->mixer == TAMIS_MIXER_DELTA_NET,
        [TAMIS_WHEN_LATENT] = l->mixer == TAMIS_MIXER_LATENT,
        [TAMIS_WHEN_LATENT_Q_RANK] = l->mixer == TAMIS_MIXER_LATENT && hp->latent.q_rank > 0,
        [TAMIS_WHEN_LATENT_Q_WHOLE] = l->mixer == TAMIS_MIXER_LATENT && hp->latent.q_rank == 0,
        [TAMIS_WHEN_LATENT_ABSORBED] = l->mixer == TAMIS_MIXER_LATENT && hp->latent.is_absorbed,
        [TAMIS_WHEN_LATENT_JOINED] = l->mixer == TAMIS_MIXER_LATENT && !hp->latent.is_absorbed,
        [TAMIS_WHEN_OWN_KV] = l->kv_from == (layer < 0 ? 0 : layer),
        [TAMIS_WHEN_SHARED_KV] = l->kv_from != (layer < 0 ? 0 : layer),
        [TAMIS_WHEN_PLE] = hp->ple_width > 0,
        [TAMIS_WHEN_MTP] = layer >= hp->n_layers,
        [TAMIS_WHEN_LONGROPE] = hp->ropes[TAMIS_ROPE_MAIN].scaling == TAMIS_ROPE_LONGROPE,
    };
    return when[rule->when];
}

/* "128 x 160", without dimensions of 1 at the end. */
static const char *show_shape(const uint64_t ne[4], char out[SHAPE_CAP]) {
    int n_dims = 4, n = 0;
    while (n_dims > 1 && ne[n_dims - 1] == 1)
        n_dims--;
    for (int i = 0; i < n_dims; i++)
        n += snprintf(out + n, SHAPE_CAP - (size_t)n, "%s%llu", i ? " x " : "",
                      (unsigned long long)ne[i]);
    return out;
}

static tamis_status check_tensor(const tamis_gguf_tensor *t, const uint64_t expected[4],
                                 tamis_error *err) {
    char found[SHAPE_CAP], wanted[SHAPE_CAP];
    if (memcmp(t->ne, expected, sizeof t->ne) != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "tensor '%s' has shape %s; expected %s", t->name,
                          show_shape(t->ne, found), show_shape(expected, wanted));
    bool is_weight =
        t->type && t->type->decode &&
        (t->type->class == TAMIS_CLASS_FLOAT || t->type->class == TAMIS_CLASS_QUANTIZED);
    if (!is_weight)
        return tamis_fail(err, TAMIS_BAD_INPUT, "tensor '%s' has type %s, which holds no weights",
                          t->name, t->type ? t->type->name : "unknown");
    return TAMIS_OK;
}

static const tamis_gguf_tensor *find(const tamis_gguf *g, int64_t layer, const char *stem,
                                     const char *suffix, char name[NAME_CAP]) {
    if (layer >= 0)
        snprintf(name, NAME_CAP, "blk.%lld.%s%s", (long long)layer, stem, suffix);
    else
        snprintf(name, NAME_CAP, "%s%s", stem, suffix);
    return tamis_gguf_find_tensor(g, name);
}

static const char *suffix_of(const tamis_tensor_rule *rule) {
    return rule->flags & TAMIS_RULE_BARE ? "" : ".weight";
}

static tamis_status fail_missing(const subject *m, const char *name, const uint64_t ne[4],
                                 tamis_error *err) {
    char wanted[SHAPE_CAP];
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "tensor '%s' is missing; architecture '%s' needs it with shape %s", name,
                      m->arch->name, show_shape(ne, wanted));
}

/* What may or must stand beside a weight of shape ne: one bias per output of each matrix, one scale
 * per matrix. */
static tamis_status check_companions(const subject *m, const tamis_tensor_rule *rule, int64_t layer,
                                     const uint64_t ne[4], tamis_error *err) {
    const uint64_t bias[4] = {ne[1], ne[2], 1, 1}, scale[4] = {ne[2], 1, 1, 1};
    const struct {
        unsigned flags;
        const char *suffix;
        const uint64_t *ne;
    } companions[] = {
        {TAMIS_RULE_BIAS | TAMIS_RULE_NEEDS_BIAS, ".bias", bias},
        {TAMIS_RULE_PRODUCT, ".scale", scale},
    };
    char name[NAME_CAP];
    tamis_status st = TAMIS_OK;
    for (int i = 0; i < 2 && !st; i++) {
        if (!(rule->flags & companions[i].flags)) continue;
        const tamis_gguf_tensor *t = find(m->gguf, layer, rule->stem, companions[i].suffix, name);
        if (t)
            st = check_tensor(t, companions[i].ne, err);
        else if (rule->flags & companions[i].flags & TAMIS_RULE_NEEDS_BIAS)
            st = fail_missing(m, name, companions[i].ne, err);
    }
    return st;
}

static tamis_status check_rule(const subject *m, const tamis_tensor_rule *rule, int64_t layer,
                               const int64_t dims[TAMIS_N_DIMS], tamis_error *err) {
    char name[NAME_CAP];
    uint64_t ne[4] = {1, 1, 1, 1};
    for (int i = 0; i < 3; i++)
        ne[i] = (uint64_t)dims[rule->ne[i]];
    if (rule->unless && find(m->gguf, layer, rule->unless, ".weight", name)) return TAMIS_OK;
    const tamis_gguf_tensor *t = find(m->gguf, layer, rule->stem, suffix_of(rule), name);
    if (!t && (rule->flags & TAMIS_RULE_OPTIONAL)) return TAMIS_OK;
    if (!t) return fail_missing(m, name, ne, err);
    tamis_status st = check_tensor(t, ne, err);
    return st ? st : check_companions(m, rule, layer, ne, err);
}

/* Whether `rest` ("attn_q.bias") is a tensor of this rule. */
static bool is_of_rule(const tamis_tensor_rule *rule, const char *rest) {
    const unsigned any_bias = TAMIS_RULE_BIAS | TAMIS_RULE_NEEDS_BIAS;
    size_t n = strlen(rule->stem);
    if (strncmp(rule->stem, rest, n) != 0) return false;
    rest += n;
    return strcmp(rest, suffix_of(rule)) == 0 ||
           ((rule->flags & any_bias) && strcmp(rest, ".bias") == 0) ||
           ((rule->flags & TAMIS_RULE_PRODUCT) &&
            (strcmp(rest, ".scale") == 0 || strcmp(rest, ".input_scale") == 0));
}

/* Whether a tensor of a block takes part in the computation. */
static bool is_used(const subject *m, int64_t layer, const char *rest) {
    char name[NAME_CAP];
    for (int i = 0; i < TAMIS_RULE_SETS_MAX && m->arch->rule_sets[i]; i++) {
        const tamis_rule_set *set = m->arch->rule_sets[i];
        for (int r = 0; r < set->n_rules; r++) {
            const tamis_tensor_rule *rule = &set->rules[r];
            if (!(rule->flags & TAMIS_RULE_LAYER) || !applies(rule, m->hp, layer)) continue;
            if (rule->unless && find(m->gguf, layer, rule->unless, ".weight", name)) continue;
            if (is_of_rule(rule, rest)) return true;
        }
    }
    return false;
}

static tamis_status check_layer(const subject *m, const tamis_rule_set *set, int64_t layer,
                                tamis_error *err) {
    int64_t dims[TAMIS_N_DIMS];
    fill_dims(m->hp, layer < 0 ? 0 : layer, dims);
    tamis_status st = TAMIS_OK;
    for (int r = 0; r < set->n_rules && !st; r++) {
        bool is_of_layer = (set->rules[r].flags & TAMIS_RULE_LAYER) != 0;
        if (is_of_layer == (layer >= 0) && applies(&set->rules[r], m->hp, layer))
            st = check_rule(m, &set->rules[r], layer, dims, err);
    }
    return st;
}

tamis_status tamis_tensors_check(const tamis_gguf *g, const tamis_arch *arch,
                                 const tamis_hparams *hp, tamis_error *err) {
    const subject of = {.gguf = g, .arch = arch, .hp = hp}, *m = &of;
    tamis_status st = TAMIS_OK;
    for (int64_t layer = -1; layer < m->hp->n_blocks && !st; layer++)
        for (int i = 0; i < TAMIS_RULE_SETS_MAX && m->arch->rule_sets[i] && !st; i++)
            st = check_layer(m, m->arch->rule_sets[i], layer, err);
    for (int64_t i = 0; i < tamis_gguf_n_tensors(m->gguf) && !st; i++) {
        int64_t layer;
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(m->gguf, i);
        const char *rest = tamis_layer_of_name(t->name, &layer);
        if (rest && layer < m->hp->n_blocks && !is_used(m, layer, rest))
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "tensor '%s' is no part of architecture '%s' as it is known here",
                            t->name, m->arch->name);
    }
    return st;
}
