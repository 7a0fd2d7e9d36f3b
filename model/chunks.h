/* chunks.h - the tokens of a run: a text (or raw ids) cut into pieces of one context each.
 * Rules of the peer tools, so that positions and perplexities can be compared:
 * reference/files.md sections A.6 and B.2. Used by imatrix and kld alike. */
#ifndef TAMIS_MODEL_CHUNKS_H
#define TAMIS_MODEL_CHUNKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/tokenizer.h"

typedef struct tamis_chunks_options {
    const char *path;    /* text file; for tamis_chunks_from_ids raw little-endian int32 ids */
    int64_t n_ctx;       /* tokens per chunk, >= 1; 0 (ids only): the whole file is one chunk */
    int64_t first_chunk; /* chunks skipped at the beginning */
    int64_t max_chunks;  /* 0 = all */
    int64_t stride;      /* tokens from the start of a chunk to that of the next; 0: n_ctx */
    bool parse_special;  /* text of control tokens counts as those tokens */
} tamis_chunks_options;

typedef struct tamis_chunks {
    int32_t *tokens; /* [n_chunks * n_ctx] as the model is to see them: the first of each chunk
                        is BOS when the vocabulary adds one (never for raw ids) */
    int32_t *ids;    /* [n_chunks * n_ctx] as the text gave them */
    int64_t n_ctx, n_chunks;
    int64_t n_text_tokens; /* in the whole text, skipped and trailing ones included */
    char hash[33];         /* XXH3-128 hex over all ids of the text, little-endian int32 */
} tamis_chunks;

/* Read the text, drop one final newline, tokenize it with the special tokens the vocabulary adds,
 * and keep n_text_tokens / n_ctx - first_chunk chunks, at most max_chunks; tokens after the last
 * full chunk are dropped. With a stride chunks overlap: (n_text_tokens - n_ctx) / stride + 1 in all. Release with tamis_chunks_release(). TAMIS_BAD_INPUT: unreadable or
 * empty text, fewer tokens than one chunk (tokens found and needed are named). */
tamis_status tamis_chunks_from_text(const tamis_tokenizer *tokenizer,
                                    const tamis_chunks_options *options, tamis_chunks *out,
                                    tamis_error *err) TAMIS_MUST_USE;

/* The same from a file of raw ids, each in [0, n_vocab). TAMIS_BAD_INPUT: empty, size not a
 * multiple of 4, an id out of range (its position is named), fewer ids than one chunk. */
tamis_status tamis_chunks_from_ids(int64_t n_vocab, const tamis_chunks_options *options,
                                   tamis_chunks *out, tamis_error *err) TAMIS_MUST_USE;

void tamis_chunks_release(tamis_chunks *chunks);

#endif
