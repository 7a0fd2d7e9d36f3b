/* make_model.c - a random BF16 model of the architecture qwen3, or qwen3next (delta nets and
 * attention, experts), in any shape, for benchmarks: the default is that of a 0.6B model. The
 * tokenizer is copied from a small model and padded with unused tokens up to the vocabulary wanted.
 * Weights are reproducible pseudo-random numbers. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/options.h"
#include "gguf/gguf.h"

struct shape {
    const char *arch;
    int64_t n_layers, n_embd, n_ff, n_heads, n_heads_kv, head_size, n_vocab;
    int64_t interval; /* each so many-th layer is attention, the others are delta nets */
    int64_t n_keys, n_values, state_size; /* key and value heads of a delta net, their width */
    int64_t n_experts, n_used, expert_ff, shared_ff;
};

enum { KEY_CAP = 96, WIDTH_MAX = 1 << 15 };

static uint64_t random_state = 88172645463325252u;

static uint32_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

/* About normal: the sum of four uniform numbers, scaled to the deviation wanted. */
static float next_normal(float deviation) {
    float sum = 0;
    for (int i = 0; i < 4; i++) sum += (float)(next_random() >> 8) * 0x1p-24f - 0.5f;
    return sum * 1.7320508f * deviation;
}

static uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

static tamis_status copy_tokenizer(tamis_gguf_writer *w, const tamis_gguf *from, int64_t n_vocab,
                                   tamis_error *err) {
    tamis_gguf_kv tokens;
    if (!tamis_gguf_find(from, "tokenizer.ggml.tokens", &tokens)) {
        return tamis_fail(err, TAMIS_BAD_INPUT, "the tokenizer model has no tokens");
    }
    char **items = tamis_alloc_array((uint64_t)n_vocab, sizeof *items, err);
    if (!items) return TAMIS_NO_RESOURCE;
    uint64_t cursor = 0;
    tamis_bytes text;
    int64_t n = 0;
    while (n < n_vocab && tamis_gguf_kv_next_string(from, &tokens, &cursor, &text)) {
        items[n++] = tamis_copy_text(text.data, text.n_bytes, err);
    }
    for (; n < n_vocab; n++) {
        char pad[32];
        int length = snprintf(pad, sizeof pad, "[PAD%" PRId64 "]", n);
        items[n] = tamis_copy_text(pad, (size_t)length, err);
    }
    tamis_status st = tamis_gguf_set_strings(w, "tokenizer.ggml.tokens",
                                             (const char *const *)items, (uint64_t)n_vocab, err);
    for (n = 0; n < n_vocab; n++) free(items[n]);
    free(items);
    static const char *const copied[] = { "tokenizer.ggml.model", "tokenizer.ggml.pre",
                                          "tokenizer.ggml.merges", "tokenizer.ggml.eos_token_id",
                                          "tokenizer.ggml.add_bos_token" };
    for (size_t i = 0; !st && i < sizeof copied / sizeof *copied; i++) {
        tamis_gguf_kv kv;
        if (tamis_gguf_find(from, copied[i], &kv)) st = tamis_gguf_set_copy(w, from, &kv, err);
    }
    return st;
}

static bool is_hybrid(const struct shape *s) {
    return strcmp(s->arch, "qwen3") != 0;
}

static tamis_status set_keys(tamis_gguf_writer *w, const struct shape *s, tamis_error *err) {
    const struct {
        const char *suffix;
        int64_t value;
        bool is_wanted;
    } keys[] = {
        { "block_count", s->n_layers, true },
        { "context_length", 40960, true },
        { "embedding_length", s->n_embd, true },
        { "feed_forward_length", s->n_ff, true },
        { "attention.head_count", s->n_heads, true },
        { "attention.head_count_kv", s->n_heads_kv, true },
        { "attention.key_length", s->head_size, true },
        { "attention.value_length", s->head_size, true },
        { "full_attention_interval", s->interval, is_hybrid(s) },
        { "rope.dimension_count", s->head_size / 8 * 2, is_hybrid(s) },
        { "ssm.conv_kernel", 4, is_hybrid(s) },
        { "ssm.inner_size", s->n_values * s->state_size, is_hybrid(s) },
        { "ssm.state_size", s->state_size, is_hybrid(s) },
        { "ssm.time_step_rank", s->n_values, is_hybrid(s) },
        { "ssm.group_count", s->n_keys, is_hybrid(s) },
        { "expert_count", s->n_experts, is_hybrid(s) },
        { "expert_used_count", s->n_used, is_hybrid(s) },
        { "expert_feed_forward_length", s->expert_ff, is_hybrid(s) },
        { "expert_shared_feed_forward_length", s->shared_ff, is_hybrid(s) },
    };
    char key[KEY_CAP];
    tamis_status st = tamis_gguf_set_string(w, "general.architecture", s->arch, strlen(s->arch),
                                            err);
    if (!st) st = tamis_gguf_set_string(w, "general.name", "benchmark", 9, err);
    if (!st) st = tamis_gguf_set_uint(w, "general.file_type", TAMIS_GGUF_U32, 32, err);
    for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) {
        snprintf(key, sizeof key, "%s.%s", s->arch, keys[i].suffix);
        if (keys[i].is_wanted)
            st = tamis_gguf_set_uint(w, key, TAMIS_GGUF_U32, (uint64_t)keys[i].value, err);
    }
    snprintf(key, sizeof key, "%s.rope.freq_base", s->arch);
    if (!st) st = tamis_gguf_set_double(w, key, TAMIS_GGUF_F32, 1e6, err);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", s->arch);
    if (!st) st = tamis_gguf_set_double(w, key, TAMIS_GGUF_F32, 1e-6, err);
    return st;
}

/* What a tensor holds. */
enum content { NORMAL, ONES, DECAYS };

/* Which layers have it. */
enum where { PLAIN = 1, GATED = 2, DELTA = 4, HYBRID = GATED | DELTA, ALL = PLAIN | HYBRID };

struct tensor {
    const char *name;
    int64_t ne[3]; /* 0: no such dimension */
    unsigned where;
    enum content content;
};

static bool is_wanted(const struct shape *s, const struct tensor *t, int64_t layer) {
    bool is_attention = !is_hybrid(s) || (layer + 1) % s->interval == 0;
    unsigned mixer = !is_hybrid(s) ? PLAIN : is_attention ? GATED : DELTA;
    return (t->where & mixer) != 0;
}

/* Declares a tensor, or writes its data. */
static tamis_status put(tamis_gguf_writer *w, const char *name, const struct tensor *t, bool write,
                        tamis_error *err) {
    int n_dims = t->ne[1] == 0 ? 1 : t->ne[2] == 0 ? 2 : 3;
    int64_t n_rows = 1;
    uint64_t ne[3];
    for (int i = 0; i < n_dims; i++) {
        ne[i] = (uint64_t)t->ne[i];
        if (i > 0) n_rows *= t->ne[i];
    }
    bool is_f32 = t->content != NORMAL || t->ne[0] < 32;
    if (!write)
        return tamis_gguf_add_tensor(w, name, is_f32 ? TAMIS_TYPE_F32 : TAMIS_TYPE_BF16, n_dims, ne,
                                     err);
    static float floats[WIDTH_MAX];
    static uint16_t row[WIDTH_MAX];
    float deviation = 0.7f / sqrtf((float)t->ne[0]);
    tamis_status st = TAMIS_OK;
    for (int64_t r = 0; r < n_rows && !st; r++) {
        for (int64_t i = 0; i < t->ne[0]; i++) {
            floats[i] = t->content == ONES     ? 1.0f
                        : t->content == DECAYS ? -0.01f * (float)(i + 1)
                                               : next_normal(deviation);
            row[i] = to_bf16(floats[i]);
        }
        st = is_f32 ? tamis_gguf_write_data(w, floats, ne[0] * sizeof *floats, err)
                    : tamis_gguf_write_data(w, row, ne[0] * sizeof *row, err);
    }
    return st;
}

/* Declares every tensor, or writes their data. */
static tamis_status each_tensor(tamis_gguf_writer *w, const struct shape *s, bool write,
                                tamis_error *err) {
    int64_t d = s->n_embd, n_q = s->n_heads * s->head_size, n_kv = s->n_heads_kv * s->head_size;
    int64_t inner = s->n_values * s->state_size, channels = 2 * s->n_keys * s->state_size + inner;
    const struct tensor whole[] = {
        { "token_embd.weight", { d, s->n_vocab, 0 }, ALL, NORMAL },
        { "output_norm.weight", { d, 0, 0 }, ALL, ONES },
    };
    const struct tensor tensors[] = {
        { "attn_norm.weight", { d, 0, 0 }, ALL, ONES },
        { "attn_q.weight", { d, n_q, 0 }, PLAIN, NORMAL },
        { "attn_q.weight", { d, 2 * n_q, 0 }, GATED, NORMAL },
        { "attn_k.weight", { d, n_kv, 0 }, PLAIN | GATED, NORMAL },
        { "attn_v.weight", { d, n_kv, 0 }, PLAIN | GATED, NORMAL },
        { "attn_q_norm.weight", { s->head_size, 0, 0 }, PLAIN | GATED, ONES },
        { "attn_k_norm.weight", { s->head_size, 0, 0 }, PLAIN | GATED, ONES },
        { "attn_output.weight", { n_q, d, 0 }, PLAIN | GATED, NORMAL },
        { "attn_qkv.weight", { d, channels, 0 }, DELTA, NORMAL },
        { "attn_gate.weight", { d, inner, 0 }, DELTA, NORMAL },
        { "ssm_conv1d.weight", { 4, channels, 0 }, DELTA, NORMAL },
        { "ssm_dt.bias", { s->n_values, 0, 0 }, DELTA, ONES },
        { "ssm_a", { s->n_values, 0, 0 }, DELTA, DECAYS },
        { "ssm_ba.weight", { d, 2 * s->n_values, 0 }, DELTA, NORMAL },
        { "ssm_norm.weight", { s->state_size, 0, 0 }, DELTA, ONES },
        { "ssm_out.weight", { inner, d, 0 }, DELTA, NORMAL },
        { "ffn_norm.weight", { d, 0, 0 }, PLAIN, ONES },
        { "post_attention_norm.weight", { d, 0, 0 }, HYBRID, ONES },
        { "ffn_gate.weight", { d, s->n_ff, 0 }, PLAIN, NORMAL },
        { "ffn_up.weight", { d, s->n_ff, 0 }, PLAIN, NORMAL },
        { "ffn_down.weight", { s->n_ff, d, 0 }, PLAIN, NORMAL },
        { "ffn_gate_inp.weight", { d, s->n_experts, 0 }, HYBRID, NORMAL },
        { "ffn_gate_exps.weight", { d, s->expert_ff, s->n_experts }, HYBRID, NORMAL },
        { "ffn_up_exps.weight", { d, s->expert_ff, s->n_experts }, HYBRID, NORMAL },
        { "ffn_down_exps.weight", { s->expert_ff, d, s->n_experts }, HYBRID, NORMAL },
        { "ffn_gate_inp_shexp.weight", { d, 0, 0 }, HYBRID, ONES },
        { "ffn_gate_shexp.weight", { d, s->shared_ff, 0 }, HYBRID, NORMAL },
        { "ffn_up_shexp.weight", { d, s->shared_ff, 0 }, HYBRID, NORMAL },
        { "ffn_down_shexp.weight", { s->shared_ff, d, 0 }, HYBRID, NORMAL },
    };
    tamis_status st = TAMIS_OK;
    for (size_t i = 0; !st && i < sizeof whole / sizeof *whole; i++)
        st = put(w, whole[i].name, &whole[i], write, err);
    for (int64_t l = 0; !st && l < s->n_layers; l++) {
        for (size_t i = 0; !st && i < sizeof tensors / sizeof *tensors; i++) {
            char name[KEY_CAP];
            snprintf(name, sizeof name, "blk.%" PRId64 ".%s", l, tensors[i].name);
            if (is_wanted(s, &tensors[i], l)) st = put(w, name, &tensors[i], write, err);
        }
    }
    return st;
}

static tamis_status make(const char *tokenizer, const char *out, const struct shape *s,
                         tamis_error *err) {
    tamis_gguf *from = NULL;
    tamis_gguf_writer *w = NULL;
    tamis_status st = tamis_gguf_open(tokenizer, NULL, &from, err);
    if (!st) st = tamis_gguf_writer_new(&w, err);
    if (!st) st = set_keys(w, s, err);
    if (!st) st = copy_tokenizer(w, from, s->n_vocab, err);
    if (!st) st = each_tensor(w, s, false, err);
    if (!st) st = tamis_gguf_begin(w, out, err);
    if (!st) st = each_tensor(w, s, true, err);
    if (!st) st = tamis_gguf_commit(w, err);
    tamis_gguf_writer_free(w);
    tamis_gguf_close(from);
    return st;
}

int main(int argc, char **argv) {
    struct shape s = { .arch = "qwen3",
                       .n_layers = 28,
                       .n_embd = 1024,
                       .n_ff = 3072,
                       .n_heads = 16,
                       .n_heads_kv = 8,
                       .head_size = 128,
                       .n_vocab = 151936,
                       .interval = 4,
                       .n_keys = 16,
                       .n_values = 32,
                       .state_size = 128,
                       .n_experts = 32,
                       .n_used = 4,
                       .expert_ff = 512,
                       .shared_ff = 512 };
    const char *tokenizer = NULL;
    tamis_common common = { 0 };
    const tamis_option options[] = {
        { 0, "tokenizer", TAMIS_OPTION_TEXT, &tokenizer, "FILE", "model to copy the tokenizer from", 0, 0 },
        { 0, "arch", TAMIS_OPTION_TEXT, &s.arch, "qwen3|qwen3next", "architecture (default qwen3)", 0, 0 },
        { 0, "layers", TAMIS_OPTION_INT, &s.n_layers, "N", "layers", 1, 1000 },
        { 0, "embd", TAMIS_OPTION_INT, &s.n_embd, "N", "width", 32, 8192 },
        { 0, "ff", TAMIS_OPTION_INT, &s.n_ff, "N", "width of the feed-forward part", 32, 32768 },
        { 0, "heads", TAMIS_OPTION_INT, &s.n_heads, "N", "query heads", 1, 256 },
        { 0, "heads-kv", TAMIS_OPTION_INT, &s.n_heads_kv, "N", "key and value heads", 1, 256 },
        { 0, "head-size", TAMIS_OPTION_INT, &s.head_size, "N", "width of a head", 2, 512 },
        { 0, "interval", TAMIS_OPTION_INT, &s.interval, "N", "each N-th layer is attention, the others are delta nets", 1, 1000 },
        { 0, "ssm-keys", TAMIS_OPTION_INT, &s.n_keys, "N", "key heads of a delta net", 1, 256 },
        { 0, "ssm-values", TAMIS_OPTION_INT, &s.n_values, "N", "value heads of a delta net", 1, 256 },
        { 0, "ssm-size", TAMIS_OPTION_INT, &s.state_size, "N", "width of these heads", 4, 512 },
        { 0, "experts", TAMIS_OPTION_INT, &s.n_experts, "N", "experts", 1, 512 },
        { 0, "used", TAMIS_OPTION_INT, &s.n_used, "N", "experts per token", 1, 512 },
        { 0, "expert-ff", TAMIS_OPTION_INT, &s.expert_ff, "N", "width of an expert", 32, 32768 },
        { 0, "shared-ff", TAMIS_OPTION_INT, &s.shared_ff, "N", "width of the shared expert", 32, 32768 },
        { 0, "vocab", TAMIS_OPTION_INT, &s.n_vocab, "N", "vocabulary", 16, 1 << 20 },
        TAMIS_COMMON_OPTIONS(&common),
    };
    const tamis_command command = {
        .name = "make_model",
        .summary = "write a random BF16 model for benchmarks",
        .usage = "--tokenizer FILE [options] OUT",
        .options = options,
        .n_options = sizeof options / sizeof *options,
    };
    tamis_texts positional = { 0 };
    tamis_error err = { 0 };
    tamis_status st = tamis_options_parse(&command, argc, argv, &positional, &err);
    if (!tamis_common_handled(&common, &command)) {
        if (!st && (positional.n_items != 1 || !tokenizer)) {
            st = tamis_fail(&err, TAMIS_BAD_USAGE, "--tokenizer and one output are needed");
        }
        if (!st && strcmp(s.arch, "qwen3") != 0 && strcmp(s.arch, "qwen3next") != 0)
            st = tamis_fail(&err, TAMIS_BAD_USAGE, "there is no architecture '%s' here", s.arch);
        if (!st) st = make(tokenizer, positional.items[0], &s, &err);
    }
    tamis_texts_release(&positional);
    return st ? tamis_report("make_model", &err) : 0;
}
