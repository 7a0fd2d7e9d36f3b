/* support_vocab.c - see support_vocab.h. */
#include "support_vocab.h"

#include <stdlib.h>
#include <string.h>

void vocab_put(vocab_file *f, const void *data, size_t n) {
    if (f->n + n > f->capacity) {
        f->capacity = 2 * (f->n + n);
        f->bytes = realloc(f->bytes, f->capacity);
        assert_non_null(f->bytes);
    }
    memcpy(f->bytes + f->n, data, n);
    f->n += n;
}

void vocab_put_u32(vocab_file *f, uint32_t value) {
    vocab_put(f, &value, 4);
}

static void put_string(vocab_file *f, const char *text) {
    uint64_t n = strlen(text);
    vocab_put(f, &n, 8);
    vocab_put(f, text, n);
}

void vocab_put_key(vocab_file *f, const char *key, uint32_t kind) {
    uint64_t n;
    memcpy(&n, f->bytes + 16, 8);
    n++;
    memcpy(f->bytes + 16, &n, 8);
    put_string(f, key);
    vocab_put_u32(f, kind);
}

void vocab_put_int(vocab_file *f, const char *key, uint32_t value) {
    vocab_put_key(f, key, TAMIS_GGUF_U32);
    vocab_put_u32(f, value);
}

void vocab_put_bool(vocab_file *f, const char *key, bool value) {
    uint8_t byte = value;
    vocab_put_key(f, key, TAMIS_GGUF_BOOL);
    vocab_put(f, &byte, 1);
}

void vocab_put_text(vocab_file *f, const char *key, const char *value) {
    vocab_put_key(f, key, TAMIS_GGUF_STRING);
    put_string(f, value);
}

void vocab_begin(vocab_file *f, const char *kind, const char *pre) {
    static const uint64_t none[2] = {0, 0};
    *f = (vocab_file){0};
    vocab_put(f, "GGUF\3\0\0\0", 8);
    vocab_put(f, none, 16);
    vocab_put_text(f, "general.architecture", "llama");
    vocab_put_text(f, "tokenizer.ggml.model", kind);
    if (pre) vocab_put_text(f, "tokenizer.ggml.pre", pre);
}

static void begin_array(vocab_file *f, const char *key, uint32_t kind, uint64_t n) {
    vocab_put_key(f, key, TAMIS_GGUF_ARRAY);
    vocab_put_u32(f, kind);
    vocab_put(f, &n, 8);
}

void vocab_put_texts(vocab_file *f, const char *key, const char *const *items, uint64_t n) {
    begin_array(f, key, TAMIS_GGUF_STRING, n);
    for (uint64_t i = 0; i < n; i++)
        put_string(f, items[i]);
}

void vocab_put_types(vocab_file *f, const int32_t *types, uint64_t n) {
    begin_array(f, "tokenizer.ggml.token_type", TAMIS_GGUF_I32, n);
    vocab_put(f, types, 4 * n);
}

void vocab_put_scores(vocab_file *f, const float *scores, uint64_t n) {
    begin_array(f, "tokenizer.ggml.scores", TAMIS_GGUF_F32, n);
    vocab_put(f, scores, 4 * n);
}

tamis_status vocab_build(vocab_file *f, tamis_tokenizer **t, tamis_error *err) {
    static const char zeros[32];
    vocab_put(f, zeros, (32 - f->n % 32) % 32);
    tamis_gguf *g;
    *t = NULL;
    tamis_status st = tamis_gguf_open_memory(f->bytes, f->n, NULL, &g, err);
    if (!st) {
        st = tamis_tokenizer_new(g, t, err);
        tamis_gguf_close(g);
    }
    free(f->bytes);
    return st;
}

void vocab_expect_ids(const tamis_tokenizer *t, const char *text, bool add_special,
                      bool parse_special, const int32_t *want, uint64_t n_want) {
    tamis_tokens got = {0};
    tamis_error err;
    if (tamis_tokenize(t, text, strlen(text), add_special, parse_special, &got, &err))
        fail_msg("'%s': %s", text, err.message);
    for (uint64_t i = 0; i < got.n_ids && i < n_want; i++)
        if (got.ids[i] != want[i])
            fail_msg("'%s': token %d is %d, expected %d", text, (int)i, got.ids[i], want[i]);
    if (got.n_ids != n_want)
        fail_msg("'%s': %d tokens, expected %d", text, (int)got.n_ids, (int)n_want);
    tamis_tokens_release(&got);
}
