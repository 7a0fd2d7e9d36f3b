/* support_vocab.h - vocabularies made by tests: a GGUF file in memory, key by key. */
#ifndef TAMIS_TESTS_SUPPORT_VOCAB_H
#define TAMIS_TESTS_SUPPORT_VOCAB_H

#include "support.h"

#include "model/tokenizer.h"

typedef struct vocab_file {
    uint8_t *bytes;
    size_t n, capacity;
} vocab_file;

/* A new file of that tokenizer kind; pre NULL: without one. */
void vocab_begin(vocab_file *f, const char *kind, const char *pre);
/* The name and kind of the next key, whose value follows. */
void vocab_put_key(vocab_file *f, const char *key, uint32_t kind);
void vocab_put(vocab_file *f, const void *data, size_t n);
void vocab_put_u32(vocab_file *f, uint32_t value);
/* Whole keys. */
void vocab_put_int(vocab_file *f, const char *key, uint32_t value);
void vocab_put_bool(vocab_file *f, const char *key, bool value);
void vocab_put_text(vocab_file *f, const char *key, const char *value);
void vocab_put_texts(vocab_file *f, const char *key, const char *const *items, uint64_t n);
void vocab_put_types(vocab_file *f, const int32_t *types, uint64_t n);
void vocab_put_scores(vocab_file *f, const float *scores, uint64_t n);
#define VOCAB_TEXTS(f, key, ...)                                                                   \
    vocab_put_texts(f, key, (const char *const[]){__VA_ARGS__},                                    \
                    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* The tokenizer of the file, which is freed. */
tamis_status vocab_build(vocab_file *f, tamis_tokenizer **t, tamis_error *err);

/* The ids of a text, as they are to be. */
void vocab_expect_ids(const tamis_tokenizer *t, const char *text, bool add_special,
                      bool parse_special, const int32_t *want, uint64_t n_want);
#define VOCAB_EXPECT(t, text, add_special, parse_special, ...)                                     \
    vocab_expect_ids(t, text, add_special, parse_special, (const int32_t[]){__VA_ARGS__},          \
                     sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

#endif
