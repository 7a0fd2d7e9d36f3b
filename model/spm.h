/* spm.h - SentencePiece merging: of all neighbours that together are a token, the pair of
 * the highest score first (reference/tokenizers.md section 8). Private to the tokenizer. */
#ifndef TAMIS_MODEL_SPM_H
#define TAMIS_MODEL_SPM_H

#include "model/merge_heap.h"
#include "model/symbols.h"

typedef struct tamis_spm tamis_spm;

/* For a filled vocabulary, which it borrows. ranks: [n_tokens] 0 for the highest score, equal for
 * equal scores; taken over, also on failure. Free with tamis_spm_free(); thread-safe. */
tamis_status tamis_spm_new(const tamis_symbols *symbols, uint32_t *ranks, tamis_spm **out,
                           tamis_error *err) TAMIS_MUST_USE;
void tamis_spm_free(tamis_spm *spm);

/* Bytes of the first word of a text (n_bytes >= 1): no token reaches across its end, so that words
 * merge alike alone and within the text. */
size_t tamis_spm_word(const tamis_spm *spm, const uint8_t *text, size_t n_bytes);

/* A piece of a word: characters merged, or one character. */
typedef struct tamis_spm_piece {
    uint32_t begin, n_bytes;
    uint32_t token; /* TAMIS_NO_SYMBOL: a character that is no token */
    uint32_t prev, next;
    uint32_t rank,
        merged; /* of this piece and the next one: TAMIS_NO_RANK when they are no token */
} tamis_spm_piece;

/* Working memory of merging; start from zero, one per call or thread. */
typedef struct tamis_spm_work {
    tamis_spm_piece *pieces; /* result: n_pieces of them, in order */
    uint64_t n_pieces, capacity;
    tamis_merge_heap heap;
} tamis_spm_work;
void tamis_spm_work_release(tamis_spm_work *work);

/* Merge the characters of a word (any bytes) into work->pieces. O(n log n) while token texts are of
 * bounded length. */
tamis_status tamis_spm_merge(const tamis_spm *spm, tamis_spm_work *work, const uint8_t *word,
                             size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;

#endif
