/* hparams.c - hyper-parameters from the metadata, each in its range.
 * Keys, defaults and limits: reference/architectures.md section 0.1. The ranges also keep every
 * product of two of them far below overflow. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/arch/hparams.h"

enum { KEY_CAP = 160, WIDTH_MAX = 1 << 24, HEADS_MAX = 1 << 16, HEAD_SIZE_MAX = 1 << 16 };

typedef struct source {
    const tamis_gguf *g;
    const char *arch;
} source;

static const char *key_of(const source *s, const char *suffix, char *key) {
    snprintf(key, KEY_CAP, "%s.%s", s->arch, suffix);
    return key;
}

static tamis_status get_int(const source *s, const char *suffix, int64_t lo, int64_t hi,
                            int64_t fallback, int64_t *out, tamis_error *err) {
    char key[KEY_CAP];
    return tamis_gguf_get_int(s->g, key_of(s, suffix, key), lo, hi, fallback, out, err);
}

static tamis_status need_int(const source *s, const char *suffix, int64_t lo, int64_t hi,
                             int64_t *out, tamis_error *err) {
    char key[KEY_CAP];
    tamis_gguf_kv kv;
    if (!tamis_gguf_find(s->g, key_of(s, suffix, key), &kv))
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is missing", key);
    return tamis_gguf_get_int(s->g, key, lo, hi, lo, out, err);
}

/* A finite number within [lo, hi]. */
static tamis_status get_double(const source *s, const char *suffix, double lo, double hi,
                               double fallback, double *out, tamis_error *err) {
    char key[KEY_CAP];
    tamis_status st = tamis_gguf_get_double(s->g, key_of(s, suffix, key), fallback, out, err);
    if (st) return st;
    if (*out >= lo && *out <= hi) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is %g; allowed is %g to %g", key, *out, lo,
                      hi);
}

/* A number or an array of one per block, into values [n_layers] `stride` int64 apart; left as
 * they are when the key is absent. */
static tamis_status get_per_layer(const source *s, const char *suffix, int64_t hi, int64_t n_layers,
                                  int64_t *values, int64_t stride, tamis_error *err) {
    char key[KEY_CAP];
    tamis_gguf_kv kv;
    if (!tamis_gguf_find(s->g, key_of(s, suffix, key), &kv)) return TAMIS_OK;
    bool is_array = kv.kind == TAMIS_GGUF_ARRAY;
    if (is_array && kv.n_elems != (uint64_t)n_layers)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' has %llu entries; expected %lld", key,
                          (unsigned long long)kv.n_elems, (long long)n_layers);
    for (int64_t i = 0; i < n_layers; i++) {
        int64_t value;
        if (!tamis_gguf_kv_int(s->g, &kv, is_array ? (uint64_t)i : 0, &value))
            return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is no integer", key);
        if (value < 0 || value > hi)
            return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is %lld; allowed is 0 to %lld", key,
                              (long long)value, (long long)hi);
        values[i * stride] = value;
    }
    return TAMIS_OK;
}

static tamis_status read_layers(const source *s, tamis_hparams *hp, tamis_error *err) {
    enum { STRIDE = sizeof(tamis_layer_hparams) / sizeof(int64_t) };
    hp->layers = tamis_alloc_array((uint64_t)hp->n_layers, sizeof *hp->layers, err);
    if (!hp->layers) return TAMIS_NO_RESOURCE;
    tamis_layer_hparams *first = hp->layers;
    tamis_status st = get_per_layer(s, "attention.head_count", HEADS_MAX, hp->n_layers,
                                    &first->n_head, STRIDE, err);
    for (int64_t i = 0; i < hp->n_layers; i++)
        hp->layers[i].n_head_kv = hp->layers[i].n_head;
    if (!st)
        st = get_per_layer(s, "attention.head_count_kv", HEADS_MAX, hp->n_layers, &first->n_head_kv,
                           STRIDE, err);
    if (!st)
        st = get_per_layer(s, "feed_forward_length", WIDTH_MAX, hp->n_layers, &first->n_ff, STRIDE,
                           err);
    for (int64_t i = 0; i < hp->n_layers && !st; i++) {
        const tamis_layer_hparams *l = &hp->layers[i];
        if (l->n_head < 1 || l->n_head_kv < 1 || l->n_head % l->n_head_kv != 0)
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "layer %lld: %lld attention heads do not share %lld key heads "
                            "evenly (keys '%s.attention.head_count' and '_kv')",
                            (long long)i, (long long)l->n_head, (long long)l->n_head_kv, s->arch);
    }
    return st;
}

static tamis_status read_heads(const source *s, tamis_hparams *hp, tamis_error *err) {
    int64_t n_head = hp->layers[0].n_head, even = hp->n_embd / n_head;
    tamis_status st = get_int(s, "attention.key_length", 1, HEAD_SIZE_MAX, even, &hp->head_k, err);
    if (!st) st = get_int(s, "attention.value_length", 1, HEAD_SIZE_MAX, even, &hp->head_v, err);
    if (st) return st;
    char key[KEY_CAP];
    tamis_gguf_kv kv;
    bool is_given = tamis_gguf_find(s->g, key_of(s, "attention.key_length", key), &kv);
    if (!is_given && even * n_head != hp->n_embd)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%lld attention heads do not divide an embedding of %lld (keys "
                          "'%s.attention.head_count', '%s.embedding_length')",
                          (long long)n_head, (long long)hp->n_embd, s->arch, s->arch);
    bool is_causal;
    st = tamis_gguf_get_bool(s->g, key_of(s, "attention.causal", key), true, &is_causal, err);
    if (st) return st;
    if (!is_causal)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is false; only causal models can be run",
                          key);
    return TAMIS_OK;
}

/* Required; 0 and below would divide by nothing. */
static tamis_status read_epsilon(const source *s, tamis_hparams *hp, tamis_error *err) {
    char key[KEY_CAP];
    tamis_gguf_kv kv;
    double eps = 0.0;
    if (!tamis_gguf_find(s->g, key_of(s, "attention.layer_norm_rms_epsilon", key), &kv))
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is missing", key);
    tamis_status st = get_double(s, "attention.layer_norm_rms_epsilon", 1e-30, 1.0, 0.0, &eps, err);
    hp->norm_eps = (float)eps;
    return st;
}

static tamis_status read_scaling_type(const source *s, tamis_rope_params *rope, bool *is_none,
                                      tamis_error *err) {
    static const struct {
        const char *name;
        tamis_rope_scaling scaling;
        bool is_none;
    } types[] = {
        {"none", TAMIS_ROPE_LINEAR, true},
        {"linear", TAMIS_ROPE_LINEAR, false},
        {"yarn", TAMIS_ROPE_YARN, false},
        {"longrope", TAMIS_ROPE_LONGROPE, false},
    };
    char key[KEY_CAP], shown[64];
    tamis_bytes text;
    tamis_status st = tamis_gguf_get_string(s->g, key_of(s, "rope.scaling.type", key), &text, err);
    if (st) return st;
    *is_none = false;
    if (!text.data) return TAMIS_OK;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strlen(types[i].name) != text.n_bytes ||
            memcmp(types[i].name, text.data, text.n_bytes) != 0)
            continue;
        rope->scaling = types[i].scaling;
        *is_none = types[i].is_none;
        return TAMIS_OK;
    }
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "key '%s' is '%s'; known are none, linear, yarn and longrope", key,
                      tamis_escape(text.data, text.n_bytes, shown, sizeof shown));
}

static tamis_status read_rope(const source *s, tamis_hparams *hp, tamis_error *err) {
    tamis_rope_params *rope = &hp->rope;
    double old_factor = 0.0, factor = 0.0;
    bool is_none = false;
    tamis_status st =
        get_int(s, "rope.dimension_count", 2, hp->head_k, hp->head_k, &rope->n_rot, err);
    if (!st && rope->n_rot % 2 != 0)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "%lld rotated elements of a head are an odd number",
                        (long long)rope->n_rot);
    if (!st) st = get_double(s, "rope.freq_base", 1e-6, 1e15, 10000.0, &rope->freq_base, err);
    if (!st) st = read_scaling_type(s, rope, &is_none, err);
    if (!st) st = get_double(s, "rope.scale_linear", 0.0, 1e9, 0.0, &old_factor, err);
    if (!st) st = get_double(s, "rope.scaling.factor", 0.0, 1e9, old_factor, &factor, err);
    if (!st)
        st = get_int(s, "rope.scaling.original_context_length", 1, INT32_MAX, hp->context_length,
                     &rope->original_context, err);
    if (!st)
        st = get_double(s, "rope.scaling.attn_factor", -1e9, 1e9, 1.0, &rope->attn_factor, err);
    if (!st && rope->scaling == TAMIS_ROPE_YARN && rope->freq_base <= 1.0)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "key '%s.rope.freq_base' is %g; yarn needs more "
                        "than 1",
                        s->arch, rope->freq_base);
    rope->freq_scale = is_none || factor == 0.0 ? 1.0 : 1.0 / factor;
    return st;
}

static tamis_status read_experts(const source *s, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = get_int(s, "expert_count", 0, TAMIS_EXPERTS_MAX, 0, &hp->n_expert, err);
    if (st || hp->n_expert == 0) return st;
    st = need_int(s, "expert_used_count", 1, hp->n_expert, &hp->n_expert_used, err);
    if (!st) st = get_int(s, "expert_group_count", 0, hp->n_expert, 0, &hp->n_expert_groups, err);
    if (st || hp->n_expert_groups <= 1) return st;
    st = need_int(s, "expert_group_used_count", 1, hp->n_expert_groups - 1,
                  &hp->n_expert_groups_used, err);
    if (st) return st;
    int64_t size = hp->n_expert / hp->n_expert_groups;
    if (size * hp->n_expert_groups != hp->n_expert ||
        hp->n_expert_used > size * hp->n_expert_groups_used)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%lld experts in %lld groups, %lld of them used, give no room for "
                          "%lld experts per token (keys '%s.expert_*')",
                          (long long)hp->n_expert, (long long)hp->n_expert_groups,
                          (long long)hp->n_expert_groups_used, (long long)hp->n_expert_used,
                          s->arch);
    return TAMIS_OK;
}

/* Length of the token list; without one the key, then the rows of the embedding. */
static tamis_status read_vocab(const source *s, tamis_hparams *hp, tamis_error *err) {
    tamis_gguf_kv kv;
    const tamis_gguf_tensor *embd = tamis_gguf_find_tensor(s->g, "token_embd.weight");
    int64_t rows = embd && embd->ne[1] <= INT32_MAX ? (int64_t)embd->ne[1] : 0;
    tamis_status st = TAMIS_OK;
    if (tamis_gguf_find(s->g, "tokenizer.ggml.tokens", &kv) && kv.kind == TAMIS_GGUF_ARRAY)
        hp->n_vocab = kv.n_elems <= INT32_MAX ? (int64_t)kv.n_elems : 0;
    else
        st = get_int(s, "vocab_size", 1, INT32_MAX, rows, &hp->n_vocab, err);
    if (!st && hp->n_vocab < 1)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "the vocabulary is empty or too large");
    return st;
}

tamis_status tamis_hparams_read(const tamis_gguf *g, const char *arch, tamis_hparams *hp,
                                tamis_error *err) {
    source s = {.g = g, .arch = arch};
    tamis_status st = need_int(&s, "context_length", 1, INT32_MAX, &hp->context_length, err);
    if (!st) st = need_int(&s, "embedding_length", 1, WIDTH_MAX, &hp->n_embd, err);
    if (!st) st = need_int(&s, "block_count", 1, TAMIS_BLOCKS_MAX, &hp->n_layers, err);
    if (!st) st = read_layers(&s, hp, err);
    if (!st) st = read_heads(&s, hp, err);
    if (!st) st = read_epsilon(&s, hp, err);
    if (!st) st = read_rope(&s, hp, err);
    if (!st) st = read_experts(&s, hp, err);
    if (!st) st = read_vocab(&s, hp, err);
    return st;
}

const char *tamis_layer_of_name(const char *name, int64_t *layer) {
    if (strncmp(name, "blk.", 4) != 0) return NULL;
    const char *at = name + 4;
    int64_t n = 0;
    if (*at == '0' && at[1] != '.') return NULL;
    const char *first = at;
    for (; *at >= '0' && *at <= '9' && n < INT32_MAX; at++)
        n = n * 10 + (*at - '0');
    if (at == first || *at != '.') return NULL;
    *layer = n;
    return at + 1;
}
