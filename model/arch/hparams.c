/* hparams.c - hyper-parameters from the metadata, each in its range.
 * Keys, defaults and limits: reference/architectures.md section 0.1. The ranges also keep every
 * product of two of them far below overflow. */
#include "model/arch/hparams.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum { HEADS_MAX = 1 << 16, HEAD_SIZE_MAX = 1 << 16 };
/* From a field of one block to that of the next. */
enum { LAYER_STRIDE = sizeof(tamis_layer_hparams) / sizeof(int64_t) };

static tamis_status read_blocks(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st =
        tamis_keys_need_int(keys, "block_count", 1, TAMIS_BLOCKS_MAX, &hp->n_blocks, err);
    if (!st)
        st = tamis_keys_int(keys, "nextn_predict_layers", 0, hp->n_blocks - 1, 0, &hp->n_mtp, err);
    if (st) return st;
    hp->n_layers = hp->n_blocks - hp->n_mtp;
    hp->layers = tamis_alloc_array((uint64_t)hp->n_blocks, sizeof *hp->layers, err);
    if (!hp->layers) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < hp->n_blocks; i++)
        hp->layers[i].kv_from = i;
    return TAMIS_OK;
}

/* Heads and feed-forward widths, which may differ from block to block. */
static tamis_status read_counts(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_layer_hparams *first = hp->layers;
    tamis_status st = tamis_keys_per_block(keys, "attention.head_count", HEADS_MAX, hp->n_blocks,
                                           &first->n_head, LAYER_STRIDE, err);
    for (int64_t i = 0; i < hp->n_blocks; i++)
        hp->layers[i].n_head_kv = hp->layers[i].n_head;
    if (!st)
        st = tamis_keys_per_block(keys, "attention.head_count_kv", HEADS_MAX, hp->n_blocks,
                                  &first->n_head_kv, LAYER_STRIDE, err);
    if (!st)
        st = tamis_keys_per_block(keys, "feed_forward_length", TAMIS_WIDTH_MAX, hp->n_blocks,
                                  &first->n_ff, LAYER_STRIDE, err);
    return st;
}

static tamis_status read_heads(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    int64_t n_head = hp->layers[0].n_head, head_k = 0, head_v = 0;
    if (n_head < 1)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "key '%s.attention.head_count' is missing or 0; at least 1 head is needed", keys->arch);
    int64_t even = hp->n_embd / n_head;
    if (!tamis_keys_has(keys, "attention.key_length") && even * n_head != hp->n_embd)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%lld attention heads do not divide an embedding of %lld (keys "
                          "'%s.attention.head_count', '%s.embedding_length')",
                          (long long)n_head, (long long)hp->n_embd, keys->arch, keys->arch);
    tamis_status st =
        tamis_keys_int(keys, "attention.key_length", 1, HEAD_SIZE_MAX, even, &head_k, err);
    if (!st)
        st = tamis_keys_int(keys, "attention.value_length", 1, HEAD_SIZE_MAX, even, &head_v, err);
    for (int64_t i = 0; i < hp->n_blocks; i++) {
        hp->layers[i].head_k = head_k;
        hp->layers[i].head_v = head_v;
    }
    bool is_causal = true;
    if (!st) st = tamis_keys_bool(keys, "attention.causal", true, &is_causal, err);
    if (!st && !is_causal)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "key '%s.attention.causal' is false; only causal models can be run",
                        keys->arch);
    return st;
}

/* Required; 0 and below would divide by nothing. */
static tamis_status read_epsilon(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    const char *suffix = "attention.layer_norm_rms_epsilon";
    double eps = 0.0;
    if (!tamis_keys_has(keys, suffix))
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s.%s' is missing", keys->arch, suffix);
    tamis_status st = tamis_keys_double(keys, suffix, 1e-30, 1.0, 0.0, &eps, err);
    hp->norm_eps = (float)eps;
    return st;
}

/* 0 stands for none, as the key's absence does. */
static tamis_status read_factor(const tamis_keys *keys, const char *suffix, double fallback,
                                double *factor, tamis_error *err) {
    tamis_status st = tamis_keys_double(keys, suffix, 0.0, 1e9, fallback, factor, err);
    if (st || *factor == 0.0 || *factor >= 1e-6) return st;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "key '%s.%s' is %g; allowed is 0 (none), or 1e-6 to 1e9", keys->arch, suffix,
                      *factor);
}

static tamis_status read_scaling_type(const tamis_keys *keys, tamis_rope_params *rope,
                                      bool *is_none, tamis_error *err) {
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
    char key[TAMIS_KEY_CAP], shown[64];
    tamis_bytes text;
    tamis_keys_name(keys, "rope.scaling.type", key);
    tamis_status st = tamis_gguf_get_string(keys->gguf, key, &text, err);
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

static tamis_status read_rope(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_rope_params *rope = &hp->ropes[TAMIS_ROPE_MAIN];
    double old_factor = 0.0, factor = 0.0;
    bool is_none = false;
    int64_t head_k = hp->layers[0].head_k;
    tamis_status st =
        tamis_keys_int(keys, "rope.dimension_count", 2, head_k, head_k, &rope->n_rot, err);
    if (!st)
        st = tamis_keys_double(keys, "rope.freq_base", 1e-6, 1e15, 10000.0, &rope->freq_base, err);
    if (!st) st = read_scaling_type(keys, rope, &is_none, err);
    if (!st) st = read_factor(keys, "rope.scale_linear", 0.0, &old_factor, err);
    if (!st) st = read_factor(keys, "rope.scaling.factor", old_factor, &factor, err);
    if (!st)
        st = tamis_keys_int(keys, "rope.scaling.original_context_length", 1, INT32_MAX,
                            hp->context_length, &rope->original_context, err);
    if (!st)
        st = tamis_keys_double(keys, "rope.scaling.attn_factor", 1e-6, 1e6, 1.0, &rope->attn_factor,
                               err);
    rope->beta_fast = 32.0;
    rope->beta_slow = 1.0;
    rope->freq_scale = is_none || factor == 0.0 ? 1.0 : 1.0 / factor;
    hp->ropes[TAMIS_ROPE_WINDOW] = *rope;
    return st;
}

static tamis_status read_experts(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_expert_hparams *e = &hp->experts;
    tamis_status st = tamis_keys_int(keys, "expert_count", 0, TAMIS_EXPERTS_MAX, 0, &e->n, err);
    if (st || e->n == 0) return st;
    for (int64_t i = 0; i < hp->n_blocks; i++)
        hp->layers[i].has_experts = 1;
    e->normalize = true; /* in most families */
    st = tamis_keys_need_int(keys, "expert_used_count", 1, e->n, &e->n_used, err);
    if (!st) st = tamis_keys_int(keys, "expert_group_count", 0, e->n, 0, &e->n_groups, err);
    if (st || e->n_groups <= 1) return st;
    int64_t size = e->n / e->n_groups;
    if (size * e->n_groups != e->n)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "key '%s.expert_group_count' is %lld; it does not divide the %lld experts "
            "of '%s.expert_count'",
            keys->arch, (long long)e->n_groups, (long long)e->n, keys->arch);
    st = tamis_keys_need_int(keys, "expert_group_used_count", 1, e->n_groups - 1, &e->n_groups_used,
                             err);
    if (st) return st;
    if (e->n_used > size * e->n_groups_used)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%lld experts in %lld groups, %lld of them used, give no room for "
                          "%lld experts per token (keys '%s.expert_*')",
                          (long long)e->n, (long long)e->n_groups, (long long)e->n_groups_used,
                          (long long)e->n_used, keys->arch);
    return TAMIS_OK;
}

/* Length of the token list; without one the key, then the rows of the embedding. */
static tamis_status read_vocab(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_gguf_kv kv;
    const tamis_gguf_tensor *embd = tamis_gguf_find_tensor(keys->gguf, "token_embd.weight");
    int64_t rows = embd && embd->ne[1] <= INT32_MAX ? (int64_t)embd->ne[1] : 0;
    tamis_status st = TAMIS_OK;
    if (tamis_gguf_find(keys->gguf, "tokenizer.ggml.tokens", &kv) && kv.kind == TAMIS_GGUF_ARRAY)
        hp->n_vocab = kv.n_elems <= INT32_MAX ? (int64_t)kv.n_elems : 0;
    else
        st = tamis_keys_int(keys, "vocab_size", 1, INT32_MAX, rows, &hp->n_vocab, err);
    if (!st && hp->n_vocab < 1)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "the vocabulary is empty or too large");
    return st;
}

tamis_status tamis_hparams_read(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st =
        tamis_keys_need_int(keys, "context_length", 1, INT32_MAX, &hp->context_length, err);
    hp->embd_scale = 1.0f;
    if (!st)
        st = tamis_keys_need_int(keys, "embedding_length", 1, TAMIS_WIDTH_MAX, &hp->n_embd, err);
    if (!st) st = read_blocks(keys, hp, err);
    if (!st) st = read_counts(keys, hp, err);
    if (!st) st = read_heads(keys, hp, err);
    if (!st) st = read_epsilon(keys, hp, err);
    if (!st) st = read_rope(keys, hp, err);
    if (!st) st = read_experts(keys, hp, err);
    if (!st) st = read_vocab(keys, hp, err);
    return st;
}

tamis_status tamis_hparams_read_sections(const tamis_keys *keys, tamis_rope_sectioning sectioning,
                                         bool is_needed, tamis_hparams *hp, tamis_error *err) {
    enum { N_SECTIONS = 4 };
    const char *suffix = "rope.dimension_sections";
    int64_t sections[N_SECTIONS] = {0}, sum = 0;
    tamis_status st = tamis_keys_array(keys, suffix, HEAD_SIZE_MAX, N_SECTIONS, sections, err);
    if (st) return st;
    for (int i = 0; i < N_SECTIONS; i++)
        sum += sections[i];
    if (is_needed && sum == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s.%s' is missing or all zero", keys->arch,
                          suffix);
    for (int i = 0; i < TAMIS_N_ROPES && sum > 0; i++) {
        hp->ropes[i].sectioning = sectioning;
        memcpy(hp->ropes[i].sections, sections, sizeof sections);
    }
    return TAMIS_OK;
}

/* A flag per block, or a period. */
static tamis_status read_pattern(const tamis_keys *keys, int64_t period, int64_t n_window,
                                 tamis_hparams *hp, tamis_error *err) {
    const char *suffix = "attention.sliding_window_pattern";
    char key[TAMIS_KEY_CAP];
    tamis_gguf_kv kv;
    tamis_layer_hparams *first = hp->layers;
    bool has_pattern = tamis_gguf_find(keys->gguf, tamis_keys_name(keys, suffix, key), &kv);
    tamis_status st = TAMIS_OK;
    if (has_pattern && kv.kind == TAMIS_GGUF_ARRAY)
        st = tamis_keys_per_block(keys, suffix, 1, hp->n_blocks, &first->window, LAYER_STRIDE, err);
    else if (period < 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is missing or no array of flags", key);
    else
        st = tamis_keys_int(keys, suffix, 0, TAMIS_BLOCKS_MAX, period, &period, err);
    for (int64_t i = 0; i < hp->n_blocks; i++) {
        bool slides = period == 0 || i % period < period - 1;
        if (has_pattern && kv.kind == TAMIS_GGUF_ARRAY) slides = hp->layers[i].window != 0;
        hp->layers[i].window = slides ? n_window : 0;
    }
    return st;
}

tamis_status tamis_hparams_read_windows(const tamis_keys *keys, int64_t period, bool is_needed,
                                        tamis_hparams *hp, tamis_error *err) {
    const char *suffix = "attention.sliding_window";
    int64_t n_window = 0;
    tamis_status st = tamis_keys_int(keys, suffix, 0, INT32_MAX, 0, &n_window, err);
    if (!st && n_window == 0 && is_needed)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "key '%s.%s' is missing or 0", keys->arch, suffix);
    return st ? st : read_pattern(keys, period, n_window, hp, err);
}

tamis_status tamis_hparams_read_window_rope(const tamis_keys *keys, double base, tamis_hparams *hp,
                                            tamis_error *err) {
    tamis_rope_params *rope = &hp->ropes[TAMIS_ROPE_WINDOW];
    rope->scaling = TAMIS_ROPE_LINEAR;
    rope->freq_scale = 1.0;
    for (int64_t i = 0; i < hp->n_blocks; i++)
        if (hp->layers[i].window) hp->layers[i].rope = TAMIS_ROPE_WINDOW;
    tamis_status st =
        tamis_keys_double(keys, "rope.freq_base_swa", 1e-6, 1e15, base, &rope->freq_base, err);
    if (!st)
        st = tamis_keys_int(keys, "rope.dimension_count_swa", 2, HEAD_SIZE_MAX, rope->n_rot,
                            &rope->n_rot, err);
    return st;
}

static tamis_status check_head_counts(const tamis_keys *keys, const tamis_layer_hparams *l,
                                      int64_t i, tamis_error *err) {
    if (l->n_head < 1 || l->n_head_kv < 1 || l->n_head % l->n_head_kv != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "layer %lld: %lld attention heads do not share %lld key heads "
                          "evenly (keys '%s.attention.head_count' and '_kv')",
                          (long long)i, (long long)l->n_head, (long long)l->n_head_kv, keys->arch);
    return TAMIS_OK;
}

static tamis_status check_attention(const tamis_keys *keys, const tamis_hparams *hp, int64_t i,
                                    tamis_error *err) {
    const tamis_layer_hparams *l = &hp->layers[i], *from = &hp->layers[l->kv_from];
    int64_t n_rot = hp->ropes[l->rope].n_rot;
    if (n_rot > l->head_k)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "layer %lld: key '%s.rope.dimension_count%s' is %lld; a head has %lld "
                          "elements",
                          (long long)i, keys->arch, l->rope == TAMIS_ROPE_WINDOW ? "_swa" : "",
                          (long long)n_rot, (long long)l->head_k);
    if (l->kv_from != i && (from->kv_from != l->kv_from || from->head_k != l->head_k ||
                            from->head_v != l->head_v || from->n_head_kv != l->n_head_kv))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "layer %lld attends to the keys of layer %lld, whose heads are others",
                          (long long)i, (long long)l->kv_from);
    return TAMIS_OK;
}

static tamis_status check_rope(const tamis_keys *keys, const tamis_rope_params *rope,
                               const char *suffix, tamis_error *err) {
    if (rope->n_rot % 2 != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '%s.rope.dimension_count%s': %lld rotated elements of a head are an "
                          "odd number",
                          keys->arch, suffix, (long long)rope->n_rot);
    if (rope->scaling == TAMIS_ROPE_YARN && rope->freq_base <= 1.0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '%s.rope.freq_base%s' is %g; yarn needs more than 1", keys->arch,
                          suffix, rope->freq_base);
    return TAMIS_OK;
}

tamis_status tamis_hparams_check(const tamis_keys *keys, const tamis_hparams *hp,
                                 tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (int i = 0; i < TAMIS_N_ROPES && !st; i++)
        st = check_rope(keys, &hp->ropes[i], i == TAMIS_ROPE_WINDOW ? "_swa" : "", err);
    for (int64_t i = 0; i < hp->n_blocks && !st; i++) {
        const tamis_layer_hparams *l = &hp->layers[i];
        if (l->mixer != TAMIS_MIXER_DELTA_NET) st = check_head_counts(keys, l, i, err);
        if (!st && l->mixer == TAMIS_MIXER_ATTENTION) st = check_attention(keys, hp, i, err);
    }
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
