/* tokenizer.h - text to token ids and back, exactly as llama.cpp does it.
 * Kinds: byte-level BPE ("gpt2", with its pre-tokenizers), SentencePiece ("llama") and BPE on
 * characters ("gemma4"); others are refused by name. Facts: reference/tokenizers.md. */
#ifndef TAMIS_MODEL_TOKENIZER_H
#define TAMIS_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gguf/gguf.h"

typedef struct tamis_tokenizer tamis_tokenizer;

/* Build from a file's tokenizer.* keys. The tokenizer keeps its own copies; `g` may be closed.
 * Free with tamis_tokenizer_free(). TAMIS_BAD_INPUT: no tokenizer, unknown kind or pre (named),
 * keys of wrong type or length. Thread-safe for concurrent encode and decode. */
tamis_status tamis_tokenizer_new(const tamis_gguf *g, tamis_tokenizer **out,
                                 tamis_error *err) TAMIS_MUST_USE;
void tamis_tokenizer_free(tamis_tokenizer *t);

int32_t tamis_tokenizer_n_vocab(const tamis_tokenizer *t);
/* -1 when there is none. */
int32_t tamis_tokenizer_bos(const tamis_tokenizer *t);
int32_t tamis_tokenizer_eos(const tamis_tokenizer *t);
bool tamis_tokenizer_adds_bos(const tamis_tokenizer *t);

typedef struct tamis_tokens {
    int32_t *ids;
    uint64_t n_ids, capacity;
} tamis_tokens;
void tamis_tokens_release(tamis_tokens *tokens);

/* Append the ids of `text` to *out. add_special: BOS/EOS as the vocabulary wants;
 * parse_special: text of CONTROL and UNKNOWN tokens is recognised (USER_DEFINED always is).
 * Any bytes are accepted: invalid UTF-8 counts as U+FFFD, byte by byte, or, in the llama kind, is
 * kept as bytes. */
tamis_status tamis_tokenize(const tamis_tokenizer *t, const char *text, size_t n_bytes,
                            bool add_special, bool parse_special, tamis_tokens *out,
                            tamis_error *err) TAMIS_MUST_USE;

/* The pieces of ids side by side, special tokens rendered or left out, nothing cleaned up.
 * *out_text is NUL-terminated (it may also hold NULs), free() it. Ids out of range:
 * TAMIS_BAD_INPUT. */
tamis_status tamis_detokenize(const tamis_tokenizer *t, const int32_t *ids, uint64_t n_ids,
                              bool render_special, char **out_text, size_t *out_n_bytes,
                              tamis_error *err) TAMIS_MUST_USE;

/* The same for the ids of a whole text: without the space that the vocabulary puts before a text,
 * and with spaces before punctuation cleaned up where llama.cpp does so ("gpt2" by pre-tokenizer,
 * "gemma4"). BOS and EOS are the caller's to leave out. */
tamis_status tamis_detokenize_text(const tamis_tokenizer *t, const int32_t *ids, uint64_t n_ids,
                                   bool render_special, char **out_text, size_t *out_n_bytes,
                                   tamis_error *err) TAMIS_MUST_USE;

/* Identity of the vocabulary and its rules: XXH3-128 hex (33 bytes with NUL) over tokens, types,
 * merges or the order of scores, pre and special ids. Two files that tokenize alike have the same
 * one. */
void tamis_tokenizer_hash(const tamis_tokenizer *t, char hex[33]);

#endif
