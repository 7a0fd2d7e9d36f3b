/* symbols.h - texts with numbers: the vocabulary, and what else merging meets.
 * The first n_tokens symbols are the tokens, symbol number = token id; the others only
 * occur inside merges. Private to the tokenizer. */
#ifndef TAMIS_MODEL_SYMBOLS_H
#define TAMIS_MODEL_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TAMIS_NO_SYMBOL UINT32_MAX
#define TAMIS_MAX_TOKENS ((uint64_t)1 << 24)

typedef struct tamis_symbols tamis_symbols;

/* Empty. Free with tamis_symbols_free(); thread-safe once filled. */
tamis_status tamis_symbols_new(tamis_symbols **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_symbols_free(tamis_symbols *s);

/* Add the next token; all tokens come before the first tamis_symbols_intern(). A text that is there
 * already: TAMIS_BAD_INPUT naming both ids. */
tamis_status tamis_symbols_add_token(tamis_symbols *s, const char *text, size_t n_bytes,
                                     tamis_error *err) TAMIS_MUST_USE;
/* Symbol of a text, made when it is new. */
tamis_status tamis_symbols_intern(tamis_symbols *s, const char *text, size_t n_bytes, uint32_t *out,
                                  tamis_error *err) TAMIS_MUST_USE;

uint32_t tamis_symbols_n_tokens(const tamis_symbols *s);
/* Text of a symbol; borrowed until the next symbol is made, not NUL-terminated. */
const char *tamis_symbols_text(const tamis_symbols *s, uint32_t symbol, size_t *n_bytes);
/* Symbol of a text, or TAMIS_NO_SYMBOL. */
uint32_t tamis_symbols_find(const tamis_symbols *s, const char *text, size_t n_bytes);
/* The same for tokens only. */
uint32_t tamis_symbols_find_token(const tamis_symbols *s, const char *text, size_t n_bytes);

#endif
