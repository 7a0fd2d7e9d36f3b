/* tokenizer_decode.c - ids to text (reference/tokenizers.md section 10, without its
 * clean-up of spaces: the text that was tokenized comes back). */
#include "model/tokenizer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "model/unicode.h"

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
    const char *text = tamis_bpe_text(t->bpe, (uint32_t)id, &n);
    uint8_t attrs = t->attrs[id];
    if (attrs & (TAMIS_ATTR_CONTROL | TAMIS_ATTR_UNKNOWN))
        return render_special ? append(b, text, n, err) : TAMIS_OK;
    if (attrs & TAMIS_ATTR_USER_DEFINED) return append(b, text, n, err);
    if (attrs & TAMIS_ATTR_NORMAL) return append_mapped(b, text, n, err);
    if (attrs & TAMIS_ATTR_BYTE) return append_byte(b, text, n, err);
    return TAMIS_OK;
}

tamis_status tamis_detokenize(const tamis_tokenizer *t, const int32_t *ids, uint64_t n_ids,
                              bool render_special, char **out_text, size_t *out_n_bytes,
                              tamis_error *err) {
    text_buffer b = {0};
    *out_text = NULL;
    tamis_status st = append(&b, NULL, 0, err);
    for (uint64_t i = 0; !st && i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= t->n_vocab)
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "token %llu: id %d is not in the vocabulary (0..%d)",
                            (unsigned long long)i, ids[i], t->n_vocab - 1);
        else
            st = append_piece(t, ids[i], render_special, &b, err);
    }
    if (st) {
        free(b.data);
        return st;
    }
    b.data[b.n_bytes] = 0;
    *out_text = b.data;
    if (out_n_bytes) *out_n_bytes = (size_t)b.n_bytes;
    return TAMIS_OK;
}
