/* tokenizer_decode.c - ids to text (reference/tokenizers.md section 10): piece by piece, or a
 * whole text with the spaces taken out that tokenizing put in. */
#include "model/tokenizer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "model/unicode.h"

#define SPACE_MARK "\xE2\x96\x81" /* U+2581 */
#define N_MARK 3

typedef struct text_buffer {
    char *data;
    uint64_t n_bytes, capacity;
} text_buffer;

static tamis_status append(text_buffer *b, const void *data, size_t n_bytes, tamis_error *err) {
    /* One more for the final NUL. */
    if (b->capacity - b->n_bytes <= n_bytes) {
        tamis_status st = tamis_grow(&b->data, &b->capacity, b->n_bytes + n_bytes + 1, 1, err);
        if (st) return st;
    }
    if (n_bytes) memcpy(b->data + b->n_bytes, data, n_bytes);
    b->n_bytes += n_bytes;
    return TAMIS_OK;
}

/* A character outside the byte map: "[UNK_BYTE_0x<hex of it><whole text>]". */
static tamis_status append_unmapped(text_buffer *b, uint32_t c, const char *text, size_t n_bytes,
                                    tamis_error *err) {
    uint8_t encoded[4];
    size_t n = tamis_utf8_encode(c, encoded);
    tamis_status st = append(b, "[UNK_BYTE_0x", 12, err);
    for (size_t i = 0; !st && i < n; i++) {
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", encoded[i]);
        st = append(b, hex, 2, err);
    }
    if (!st) st = append(b, text, n_bytes, err);
    return st ? st : append(b, "]", 1, err);
}

/* A normal token: every character back through the byte map. */
static tamis_status append_mapped(text_buffer *b, const char *text, size_t n_bytes,
                                  tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (size_t i = 0; !st && i < n_bytes;) {
        uint32_t c = TAMIS_REPLACEMENT_CHAR;
        size_t n = tamis_utf8_next(text + i, n_bytes - i, &c);
        i += n ? n : 1;
        int byte = tamis_char_to_byte(c);
        uint8_t value = (uint8_t)byte;
        st = byte >= 0 ? append(b, &value, 1, err) : append_unmapped(b, c, text, n_bytes, err);
    }
    return st;
}

/* A normal token where spaces are marked: the marks back to spaces. */
static tamis_status append_marked(text_buffer *b, const char *text, size_t n_bytes,
                                  tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (size_t i = 0, n; !st && i < n_bytes; i += n) {
        const char *mark = memmem(text + i, n_bytes - i, SPACE_MARK, N_MARK);
        n = mark ? (size_t)(mark - (text + i)) : n_bytes - i;
        st = append(b, text + i, n, err);
        if (!st && mark) st = append(b, " ", 1, err);
        if (mark) n += N_MARK;
    }
    return st;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* A byte token, "<0xXX>". */
static tamis_status append_byte(text_buffer *b, const char *text, size_t n_bytes,
                                tamis_error *err) {
    if (n_bytes < 5 || hex_digit(text[3]) < 0 || hex_digit(text[4]) < 0) return TAMIS_OK;
    uint8_t value = (uint8_t)(hex_digit(text[3]) * 16 + hex_digit(text[4]));
    return append(b, &value, 1, err);
}

static tamis_status append_piece(const tamis_tokenizer *t, int32_t id, bool render_special,
                                 text_buffer *b, tamis_error *err) {
    size_t n;
    const char *text = tamis_symbols_text(t->symbols, (uint32_t)id, &n);
    uint8_t attrs = t->attrs[id];
    if (attrs & (TAMIS_ATTR_CONTROL | TAMIS_ATTR_UNKNOWN))
        return render_special ? append(b, text, n, err) : TAMIS_OK;
    if (attrs & TAMIS_ATTR_USER_DEFINED) return append(b, text, n, err);
    if (attrs & TAMIS_ATTR_NORMAL)
        return t->is_mapped ? append_mapped(b, text, n, err) : append_marked(b, text, n, err);
    if (attrs & TAMIS_ATTR_BYTE) return append_byte(b, text, n, err);
    return TAMIS_OK;
}

static tamis_status append_pieces(const tamis_tokenizer *t, const int32_t *ids, uint64_t n_ids,
                                  bool render_special, text_buffer *b, tamis_error *err) {
    for (uint64_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= t->n_vocab)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "token %llu: id %d is not in the vocabulary (0..%d)",
                              (unsigned long long)i, ids[i], t->n_vocab - 1);
        tamis_status st = append_piece(t, ids[i], render_special, b, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

/* Hand over what was collected, or free it. */
static tamis_status finish(text_buffer *b, tamis_status st, char **out_text, size_t *out_n_bytes) {
    if (st) {
        free(b->data);
        return st;
    }
    b->data[b->n_bytes] = 0;
    *out_text = b->data;
    if (out_n_bytes) *out_n_bytes = (size_t)b->n_bytes;
    return TAMIS_OK;
}

tamis_status tamis_detokenize(const tamis_tokenizer *t, const int32_t *ids, uint64_t n_ids,
                              bool render_special, char **out_text, size_t *out_n_bytes,
                              tamis_error *err) {
    text_buffer b = {0};
    *out_text = NULL;
    tamis_status st = append(&b, NULL, 0, err);
    if (!st) st = append_pieces(t, ids, n_ids, render_special, &b, err);
    return finish(&b, st, out_text, out_n_bytes);
}

/* --- whole texts --- */

/* Is the space at text[i - 1] to go, for what follows it? `next`: the text from i on. */
typedef bool drops_space_fn(const char *next, size_t n_left);

static bool before_mark(const char *next, size_t n_left) {
    return n_left > 0 && memchr("?!.,", *next, 4);
}

static bool before_contraction(const char *next, size_t n_left) {
    if (n_left < 2 || *next != '\'') return false;
    return next[1] == 's' || next[1] == 'm' ||
           (n_left > 2 && (next[1] == 'r' || next[1] == 'v') && next[2] == 'e');
}

static void drop_spaces(text_buffer *b, drops_space_fn *drops) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < b->n_bytes; i++)
        if (b->data[i] != ' ' || !drops(b->data + i + 1, (size_t)(b->n_bytes - i - 1)))
            b->data[n++] = b->data[i];
    b->n_bytes = n;
}

/* An apostrophe alone between spaces takes both. */
static void join_apostrophes(text_buffer *b) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < b->n_bytes; i++) {
        b->data[n++] = b->data[i];
        if (n < 2 || i + 1 == b->n_bytes || b->data[i] != '\'') continue;
        if (b->data[n - 2] != ' ' || b->data[i + 1] != ' ') continue;
        b->data[n - 2] = '\'';
        n--, i++;
    }
    b->n_bytes = n;
}

tamis_status tamis_detokenize_text(const tamis_tokenizer *t, const int32_t *ids, uint64_t n_ids,
                                   bool render_special, char **out_text, size_t *out_n_bytes,
                                   tamis_error *err) {
    text_buffer b = {0};
    *out_text = NULL;
    tamis_status st = append(&b, NULL, 0, err);
    if (!st) st = append_pieces(t, ids, n_ids, render_special, &b, err);
    if (!st && t->adds_space && n_ids > 0 && b.n_bytes > 0 && b.data[0] == ' ')
        memmove(b.data, b.data + 1, --b.n_bytes);
    if (!st && t->cleans_spaces) {
        drop_spaces(&b, before_mark);
        join_apostrophes(&b);
        drop_spaces(&b, before_contraction);
    }
    return finish(&b, st, out_text, out_n_bytes);
}
