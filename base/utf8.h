/* utf8.h - strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef TAMIS_BASE_UTF8_H
#define TAMIS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `text` (1..4) with its code point in *c; 0 when the bytes there are
 * no valid UTF-8 or n_bytes is 0. *c is untouched then. */
size_t tamis_utf8_next(const char *text, size_t n_bytes, uint32_t *c);

/* True when all of text[0..n_bytes) is valid. */
bool tamis_utf8_is_valid(const char *text, size_t n_bytes);

#endif
