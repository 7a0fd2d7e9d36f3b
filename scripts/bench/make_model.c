/* make_model.c - a random BF16 model of the qwen3 architecture in any shape, for benchmarks: the
 * default is that of a 0.6B model. The tokenizer is copied from a small model and padded with
 * unused tokens up to the vocabulary wanted. Weights are reproducible pseudo-random numbers. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/options.h"
#include "gguf/gguf.h"

struct shape {
    int64_t n_layers, n_embd, n_ff, n_heads, n_heads_kv, head_size, n_vocab;
};

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

static tamis_status set_keys(tamis_gguf_writer *w, const struct shape *s, tamis_error *err) {
    const struct {
        const char *key;
        int64_t value;
    } keys[] = {
        { "qwen3.block_count", s->n_layers },
        { "qwen3.context_length", 40960 },
        { "qwen3.embedding_length", s->n_embd },
        { "qwen3.feed_forward_length", s->n_ff },
        { "qwen3.attention.head_count", s->n_heads },
        { "qwen3.attention.head_count_kv", s->n_heads_kv },
        { "qwen3.attention.key_length", s->head_size },
        { "qwen3.attention.value_length", s->head_size },
        { "general.file_type", 32 },
    };
    tamis_status st = tamis_gguf_set_string(w, "general.architecture", "qwen3", 5, err);
    if (!st) st = tamis_gguf_set_string(w, "general.name", "benchmark", 9, err);
    for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) {
        st = tamis_gguf_set_uint(w, keys[i].key, TAMIS_GGUF_U32, (uint64_t)keys[i].value, err);
    }
    if (!st) st = tamis_gguf_set_double(w, "qwen3.rope.freq_base", TAMIS_GGUF_F32, 1e6, err);
    if (!st) {
        st = tamis_gguf_set_double(w, "qwen3.attention.layer_norm_rms_epsilon", TAMIS_GGUF_F32,
                                   1e-6, err);
    }
    return st;
}

static tamis_status add_matrix(tamis_gguf_writer *w, const char *name, int64_t n_in, int64_t n_out,
                               tamis_error *err) {
    uint64_t ne[2] = { (uint64_t)n_in, (uint64_t)n_out };
    return tamis_gguf_add_tensor(w, name, n_out > 1 ? TAMIS_TYPE_BF16 : TAMIS_TYPE_F32,
                                 n_out > 1 ? 2 : 1, ne, err);
}

static tamis_status write_matrix(tamis_gguf_writer *w, int64_t n_in, int64_t n_out, float deviation,
                                 tamis_error *err) {
    uint16_t row[1 << 15];
    float ones[1 << 13];
    if (n_out == 1) {
        for (int64_t i = 0; i < n_in; i++) ones[i] = 1;
        return tamis_gguf_write_data(w, ones, (uint64_t)n_in * sizeof *ones, err);
    }
    for (int64_t r = 0; r < n_out; r++) {
        for (int64_t i = 0; i < n_in; i++) row[i] = to_bf16(next_normal(deviation));
        tamis_status st = tamis_gguf_write_data(w, row, (uint64_t)n_in * sizeof *row, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

/* Calls add_matrix for every tensor (w_data NULL) or writes their data. */
static tamis_status each_tensor(tamis_gguf_writer *w, const struct shape *s, bool write,
                                tamis_error *err) {
    int64_t n_q = s->n_heads * s->head_size, n_kv = s->n_heads_kv * s->head_size;
    const struct {
        const char *name;
        int64_t n_in, n_out;
    } tensors[] = {
        { "attn_norm", s->n_embd, 1 },     { "attn_q", s->n_embd, n_q },
        { "attn_k", s->n_embd, n_kv },     { "attn_v", s->n_embd, n_kv },
        { "attn_q_norm", s->head_size, 1 }, { "attn_k_norm", s->head_size, 1 },
        { "attn_output", n_q, s->n_embd }, { "ffn_norm", s->n_embd, 1 },
        { "ffn_gate", s->n_embd, s->n_ff }, { "ffn_up", s->n_embd, s->n_ff },
        { "ffn_down", s->n_ff, s->n_embd },
    };
    tamis_status st = write ? write_matrix(w, s->n_embd, s->n_vocab, 0.02f, err)
                            : add_matrix(w, "token_embd.weight", s->n_embd, s->n_vocab, err);
    if (!st) {
        st = write ? write_matrix(w, s->n_embd, 1, 0, err)
                   : add_matrix(w, "output_norm.weight", s->n_embd, 1, err);
    }
    for (int64_t l = 0; !st && l < s->n_layers; l++) {
        for (size_t i = 0; !st && i < sizeof tensors / sizeof *tensors; i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%" PRId64 ".%s.weight", l, tensors[i].name);
            float deviation = 0.7f / sqrtf((float)tensors[i].n_in);
            st = write ? write_matrix(w, tensors[i].n_in, tensors[i].n_out, deviation, err)
                       : add_matrix(w, name, tensors[i].n_in, tensors[i].n_out, err);
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
    struct shape s = { 28, 1024, 3072, 16, 8, 128, 151936 };
    const char *tokenizer = NULL;
    tamis_common common = { 0 };
    const tamis_option options[] = {
        { 0, "tokenizer", TAMIS_OPTION_TEXT, &tokenizer, "FILE", "model to copy the tokenizer from", 0, 0 },
        { 0, "layers", TAMIS_OPTION_INT, &s.n_layers, "N", "layers", 1, 1000 },
        { 0, "embd", TAMIS_OPTION_INT, &s.n_embd, "N", "width", 32, 8192 },
        { 0, "ff", TAMIS_OPTION_INT, &s.n_ff, "N", "width of the feed-forward part", 32, 32768 },
        { 0, "heads", TAMIS_OPTION_INT, &s.n_heads, "N", "query heads", 1, 256 },
        { 0, "heads-kv", TAMIS_OPTION_INT, &s.n_heads_kv, "N", "key and value heads", 1, 256 },
        { 0, "head-size", TAMIS_OPTION_INT, &s.head_size, "N", "width of a head", 2, 512 },
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
        if (!st) st = make(tokenizer, positional.items[0], &s, &err);
    }
    tamis_texts_release(&positional);
    return st ? tamis_report("make_model", &err) : 0;
}
