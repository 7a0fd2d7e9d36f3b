/* fuzz_tokenize.c - hostile text through hostile vocabularies of every kind.
 * An input that begins like a GGUF file is one, and its own bytes are the text. Any other
 * describes a small vocabulary (see describe() below) and then the text. What is
 * tokenized must come back as text without an error. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void round_trip(const tamis_tokenizer *t, const char *text, size_t n_bytes, bool special) {
    tamis_tokens ids = {0};
    tamis_error err;
    char *back = NULL, *whole = NULL;
    size_t n_back;
    /* Every id it gives is one of its own. */
    if (tamis_tokenize(t, text, n_bytes, special, special, &ids, &err) == TAMIS_OK &&
        (tamis_detokenize(t, ids.ids, ids.n_ids, special, &back, &n_back, &err) != TAMIS_OK ||
         tamis_detokenize_text(t, ids.ids, ids.n_ids, special, &whole, &n_back, &err) != TAMIS_OK))
        abort();
    free(back);
    free(whole);
    tamis_tokens_release(&ids);
}

static void run(const uint8_t *file, size_t n_file, const uint8_t *text, size_t n_text) {
    tamis_gguf *g = NULL;
    tamis_tokenizer *t = NULL;
    tamis_error err;
    if (tamis_gguf_open_memory(file, n_file, NULL, &g, &err) == TAMIS_OK &&
        tamis_tokenizer_new(g, &t, &err) == TAMIS_OK) {
        round_trip(t, (const char *)text, n_text, false);
        round_trip(t, (const char *)text, n_text, true);
    }
    tamis_tokenizer_free(t);
    tamis_gguf_close(g);
}

/* --- a vocabulary from a description --- */

enum { MAX_TOKENS = 48 + 256, MAX_TOKEN_BYTES = 16, MAX_MERGES = 64 };

/* A kind and, for gpt2, a pre-tokenizer of every set. */
static const char *const kinds[][2] = {
    {"llama", NULL},          {"gemma4", NULL},         {"gpt2", "default"},
    {"gpt2", "gpt-2"},        {"gpt2", "llama-bpe"},    {"gpt2", "qwen2"},
    {"gpt2", "qwen35"},       {"gpt2", "deepseek-llm"}, {"gpt2", "deepseek-coder"},
    {"gpt2", "deepseek-v3"},  {"gpt2", "gpt-4o"},       {"gpt2", "tekken"},
    {"gpt2", "kimi-k2"},      {"gpt2", "starcoder"},    {"gpt2", "falcon"},
    {"gpt2", "jais-2"},       {"gpt2", "viking"},       {"gpt2", "poro-chat"},
    {"gpt2", "youtu"},        {"gpt2", "bailingmoe"},   {"gpt2", "seed-coder"},
    {"gpt2", "exaone-moe"},   {"gpt2", "minicpm5"},     {"gpt2", "laguna"},
    {"gpt2", "superbpe"},     {"gpt2", "afmoe"},        {"gpt2", "tiny_aya"},
    {"gpt2", "chameleon"},    {"gpt2", "sarvam-moe"},   {"gpt2", "granite-embed-multi-97m"},
    {"gpt2", "jina-v2-code"},
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

typedef struct description {
    const uint8_t *at;
    size_t n_left;
    uint8_t texts[MAX_TOKENS][MAX_TOKEN_BYTES];
    uint8_t sizes[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    float scores[MAX_TOKENS];
    uint32_t n_tokens, n_merges;
    uint8_t merges[MAX_MERGES][2]; /* token numbers */
    uint8_t kind, flags;
} description;

static uint8_t next(description *d) {
    if (d->n_left == 0) return 0;
    d->n_left--;
    return *d->at++;
}

/* A text that is there already is left out: it would only be refused. */
static void add_token(description *d, const uint8_t *text, size_t n, int32_t type, float score) {
    for (uint32_t i = 0; i < d->n_tokens; i++)
        if (d->sizes[i] == n && memcmp(d->texts[i], text, n) == 0) return;
    memcpy(d->texts[d->n_tokens], text, n);
    d->sizes[d->n_tokens] = (uint8_t)n;
    d->types[d->n_tokens] = type;
    d->scores[d->n_tokens++] = score;
}

/* kind, flags, count of tokens, then each: type * 16 + bytes - 1, score, bytes; count of merges,
 * then each: two token numbers. What is left is text. Flag 1: with all "<0xXX>" tokens. */
static void describe(description *d) {
    d->kind = next(d) % N_KINDS;
    d->flags = next(d);
    for (uint32_t n = next(d) % 48; n > 0 && d->n_left; n--) {
        uint8_t head = next(d);
        float score = (float)(int8_t)next(d);
        size_t n_text = (head & 15u) + 1;
        if (n_text > d->n_left) n_text = d->n_left;
        if (n_text > 0) add_token(d, d->at, n_text, head / 16 % 7, score);
        d->at += n_text;
        d->n_left -= n_text;
    }
    for (int b = 0; d->flags & 1 && b < 256; b++) {
        static const char digits[] = "0123456789ABCDEF";
        uint8_t text[] = {'<', '0', 'x', (uint8_t)digits[b / 16], (uint8_t)digits[b % 16], '>'};
        add_token(d, text, sizeof text, 6, 0);
    }
    for (uint32_t n = next(d) % MAX_MERGES; n > 0 && d->n_tokens && d->n_left > 1; n--) {
        d->merges[d->n_merges][0] = (uint8_t)(next(d) % d->n_tokens);
        d->merges[d->n_merges++][1] = (uint8_t)(next(d) % d->n_tokens);
    }
}

/* --- the description as a file --- */

static uint8_t file[1 << 16]; /* more than any description makes */
static size_t n_file;

static void put(const void *bytes, size_t n) {
    memcpy(file + n_file, bytes, n);
    n_file += n;
}

static void put_size(uint64_t n) {
    put(&n, 8);
}

static void put_string(const void *text, size_t n) {
    put_size(n);
    put(text, n);
}

static void put_key(const char *key, uint32_t kind) {
    uint64_t n_keys;
    memcpy(&n_keys, file + 16, 8);
    n_keys++;
    memcpy(file + 16, &n_keys, 8);
    put_string(key, strlen(key));
    put(&kind, 4);
}

static void put_array(const char *key, uint32_t elem_kind, uint64_t n) {
    put_key(key, TAMIS_GGUF_ARRAY);
    put(&elem_kind, 4);
    put_size(n);
}

static void put_bool(const char *key, bool value) {
    uint8_t byte = value;
    put_key(key, TAMIS_GGUF_BOOL);
    put(&byte, 1);
}

static void put_text(const char *key, const char *value) {
    put_key(key, TAMIS_GGUF_STRING);
    put_string(value, strlen(value));
}

static void make_file(const description *d) {
    memset(file, 0, sizeof file);
    memcpy(file, "GGUF\3", 5);
    n_file = 24;
    put_text("general.architecture", "llama");
    put_text("general.name", d->flags & 2 ? "phi-3" : "any");
    put_text("tokenizer.ggml.model", kinds[d->kind][0]);
    if (kinds[d->kind][1]) put_text("tokenizer.ggml.pre", kinds[d->kind][1]);
    put_array("tokenizer.ggml.tokens", TAMIS_GGUF_STRING, d->n_tokens);
    for (uint32_t i = 0; i < d->n_tokens; i++)
        put_string(d->texts[i], d->sizes[i]);
    put_array("tokenizer.ggml.token_type", TAMIS_GGUF_I32, d->n_tokens);
    put(d->types, d->n_tokens * sizeof *d->types);
    put_array("tokenizer.ggml.scores", TAMIS_GGUF_F32, d->n_tokens);
    put(d->scores, d->n_tokens * sizeof *d->scores);
    put_array("tokenizer.ggml.merges", TAMIS_GGUF_STRING, d->n_merges);
    for (uint32_t i = 0; i < d->n_merges; i++) {
        uint8_t line[2 * MAX_TOKEN_BYTES + 1];
        size_t n = d->sizes[d->merges[i][0]];
        memcpy(line, d->texts[d->merges[i][0]], n);
        line[n++] = ' ';
        memcpy(line + n, d->texts[d->merges[i][1]], d->sizes[d->merges[i][1]]);
        put_string(line, n + d->sizes[d->merges[i][1]]);
    }
    put_bool("tokenizer.ggml.add_space_prefix", d->flags & 4);
    put_bool("tokenizer.ggml.add_bos_token", d->flags & 8);
    put_bool("tokenizer.ggml.add_eos_token", d->flags & 16);
    n_file = (n_file + 31) / 32 * 32;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    if (n_bytes >= 4 && memcmp(data, "GGUF", 4) == 0) {
        run(data, n_bytes, data, n_bytes);
        return 0;
    }
    description d = {.at = data, .n_left = n_bytes};
    describe(&d);
    make_file(&d);
    run(file, n_file, d.at, d.n_left);
    return 0;
}
