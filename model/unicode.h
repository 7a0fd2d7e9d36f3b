/* unicode.h - writing and stepping over UTF-8, and characters younger than the pattern library.
 * Private to the tokenizer. */
#ifndef TAMIS_MODEL_UNICODE_H
#define TAMIS_MODEL_UNICODE_H

#include <stddef.h>
#include <stdint.h>

#define TAMIS_REPLACEMENT_CHAR 0xFFFDu

/* Write a code point (no surrogate, at most 10FFFF) to out; returns its length 1..4. */
size_t tamis_utf8_encode(uint32_t code_point, uint8_t out[4]);

/* Bytes of the character that begins with `lead`, by that byte alone and at most n_left (>= 1); a
 * stray continuation byte counts as one. */
static inline size_t tamis_utf8_char_bytes(uint8_t lead, size_t n_left) {
    size_t n = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    return n < n_left ? n : n_left;
}

/* A character that Unicode 14 knows, of the same kind (letter, mark, number, punctuation, symbol),
 * with an encoding of the same length, that stands for one added in Unicode 15.0 or 15.1;
 * every other code point stands for itself. */
uint32_t tamis_unicode_stand_in(uint32_t code_point);

#endif
