/* bpe.h - byte-pair merging of one word by a list of merges.
 * A word is a string of bytes, each a character of the byte map (reference/tokenizers.md
 * section 5), or of plain UTF-8 characters (section 7). Private to the tokenizer. */
#ifndef TAMIS_MODEL_BPE_H
#define TAMIS_MODEL_BPE_H

#include <stdbool.h>

#include "model/merge_heap.h"
#include "model/symbols.h"

typedef struct tamis_bpe tamis_bpe;

/* For a filled vocabulary, which it borrows and adds the parts of merges to. is_mapped: words are
 * bytes through the byte map, else characters. Free with tamis_bpe_free(); thread-safe once all
 * merges are in. */
tamis_status tamis_bpe_new(tamis_symbols *symbols, bool is_mapped, uint64_t n_merges,
                           tamis_bpe **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_bpe_free(tamis_bpe *bpe);

/* A "left right" line, split at the first space at index >= 1; without one: TAMIS_BAD_INPUT. By
 * ascending rank; of a pair given twice the first rank stays. */
tamis_status tamis_bpe_add_merge(tamis_bpe *bpe, uint32_t rank, const char *line, size_t n_bytes,
                                 tamis_error *err) TAMIS_MUST_USE;

/* Bytes of the first word inside a word (n_bytes >= 1): merges do not cross its end. All of it
 * where words are mapped. */
size_t tamis_bpe_word(const tamis_bpe *bpe, const uint8_t *text, size_t n_bytes);

/* Working memory of merging; start from zero, one per call or thread. */
typedef struct tamis_bpe_work {
    uint32_t *symbols; /* result: n_symbols of them */
    uint32_t n_symbols;
    uint32_t *next, *prev, *ranks;
    uint64_t cap_symbols, cap_next, cap_prev, cap_ranks;
    tamis_merge_heap heap;
    char *mapped;
    uint64_t cap_mapped;
} tamis_bpe_work;
void tamis_bpe_work_release(tamis_bpe_work *work);

/* Merge a word (valid UTF-8 where it is not mapped) into work->symbols. A character that no token
 * and no merge has is TAMIS_NO_SYMBOL; it stays alone. O(n log n). */
tamis_status tamis_bpe_merge(const tamis_bpe *bpe, tamis_bpe_work *work, const uint8_t *word,
                             size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;
/* Token whose text is the whole word, mapped where words are; or TAMIS_NO_SYMBOL. */
tamis_status tamis_bpe_whole_word(const tamis_bpe *bpe, tamis_bpe_work *work, const uint8_t *word,
                                  size_t n_bytes, uint32_t *out, tamis_error *err) TAMIS_MUST_USE;

/* The byte map: code point of a byte, and byte of a code point (-1: outside the map). */
uint32_t tamis_byte_to_char(uint8_t byte);
int tamis_char_to_byte(uint32_t code_point);

#endif
