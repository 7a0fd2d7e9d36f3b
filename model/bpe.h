/* bpe.h - byte-pair merging of one word over interned symbols.
 * A symbol is a mapped string (reference/tokenizers.md section 5); the first n_tokens
 * symbols are the vocabulary, symbol number = token id, the others only occur in merges.
 * Private to the tokenizer. */
#ifndef TAMIS_MODEL_BPE_H
#define TAMIS_MODEL_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TAMIS_NO_SYMBOL UINT32_MAX
#define TAMIS_BPE_MAX_TOKENS ((uint64_t)1 << 24)

typedef struct tamis_bpe tamis_bpe;

/* Empty. Free with tamis_bpe_free(); thread-safe once filled. */
tamis_status tamis_bpe_new(tamis_bpe **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_bpe_free(tamis_bpe *bpe);

/* Add the next token. A text that is there already: TAMIS_BAD_INPUT naming both ids. */
tamis_status tamis_bpe_add_token(tamis_bpe *bpe, const char *text, size_t n_bytes,
                                 tamis_error *err) TAMIS_MUST_USE;
/* After the last token: the byte map. Then merges, by ascending rank. */
tamis_status tamis_bpe_end_tokens(tamis_bpe *bpe, uint64_t n_merges,
                                  tamis_error *err) TAMIS_MUST_USE;
/* A "left right" line, split at the first space at index >= 1; without one: TAMIS_BAD_INPUT. Of
 * a pair given twice the first rank stays. */
tamis_status tamis_bpe_add_merge(tamis_bpe *bpe, uint32_t rank, const char *line, size_t n_bytes,
                                 tamis_error *err) TAMIS_MUST_USE;

uint32_t tamis_bpe_n_tokens(const tamis_bpe *bpe);
/* Text of a symbol; borrowed, not NUL-terminated. */
const char *tamis_bpe_text(const tamis_bpe *bpe, uint32_t symbol, size_t *n_bytes);
/* Symbol of a text, or TAMIS_NO_SYMBOL. */
uint32_t tamis_bpe_find(const tamis_bpe *bpe, const char *text, size_t n_bytes);

/* Working memory of merging; start from zero, one per call or thread. */
typedef struct tamis_bpe_work {
    uint32_t *symbols; /* result: n_symbols of them */
    uint32_t n_symbols;
    uint32_t *next, *prev, *ranks;
    uint64_t *heap;
    uint64_t cap_symbols, cap_next, cap_prev, cap_ranks, cap_heap, n_heap;
    char *mapped;
    uint64_t cap_mapped;
} tamis_bpe_work;
void tamis_bpe_work_release(tamis_bpe_work *work);

/* Merge the bytes of a word into work->symbols. O(n log n). */
tamis_status tamis_bpe_merge(const tamis_bpe *bpe, tamis_bpe_work *work, const uint8_t *word,
                             size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;
/* Token whose text is the whole word mapped, or TAMIS_NO_SYMBOL. */
tamis_status tamis_bpe_whole_word(const tamis_bpe *bpe, tamis_bpe_work *work, const uint8_t *word,
                                  size_t n_bytes, uint32_t *out, tamis_error *err) TAMIS_MUST_USE;

/* The byte map: code point of a byte, and byte of a code point (-1: outside the map). */
uint32_t tamis_byte_to_char(uint8_t byte);
int tamis_char_to_byte(uint32_t code_point);

#endif
