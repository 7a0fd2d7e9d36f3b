/* tokenizer_text.c - text as merging wants it: valid UTF-8 where words are split by patterns,
 * spaces as U+2581 where tokens have them so (reference/tokenizers.md sections 5, 7, 8).
 * A few runs over the text, to count and to write: hundreds of MB/s, never the bound. */
#include "model/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "model/unicode.h"

#define SPACE_MARK "\xE2\x96\x81" /* U+2581 */
#define N_MARK 3

/* Work that goes over a whole text is broken off where it stands when the run is interrupted;
 * tamis_prepare() reports it. */
enum { LOOK_BYTES = 1 << 20 };

static bool is_stopped(size_t at, size_t *next_look) {
    if (at < *next_look) return false;
    *next_look = at + LOOK_BYTES;
    return tamis_interrupted();
}

/* The next character of a stretch under the rules: what to write and its size, and what patterns
 * get to see. Returns the bytes of text used up. */
static size_t next_char(const tamis_text_rules *rules, const uint8_t *text, size_t n_left,
                        uint8_t out[4], uint8_t subject[4], size_t *n_out) {
    if (*text == ' ' && rules->marks_spaces) {
        memcpy(out, SPACE_MARK, N_MARK);
        memcpy(subject, SPACE_MARK, N_MARK);
        *n_out = N_MARK;
        return 1;
    }
    if (*text < 0x80 || !rules->repairs) {
        *out = *subject = *text;
        *n_out = 1;
        return 1;
    }
    uint32_t c;
    size_t n = tamis_utf8_next((const char *)text, n_left, &c);
    if (n == 0) c = TAMIS_REPLACEMENT_CHAR;
    tamis_utf8_encode(tamis_unicode_stand_in(c), subject);
    *n_out = tamis_utf8_encode(c, out);
    return n ? n : 1;
}

/* Size of a stretch under the rules; *differs when patterns or merging see another text. */
static size_t prepared_size(const tamis_text_rules *rules, const uint8_t *text, size_t n_bytes,
                            bool *differs) {
    size_t n = rules->adds_space ? N_MARK : 0, n_out, next_look = 0;
    uint8_t out[4], subject[4];
    *differs |= rules->adds_space;
    for (size_t i = 0; i < n_bytes && !is_stopped(i, &next_look); n += n_out) {
        if (text[i] < 0x80 && text[i] != ' ') {
            i++, n_out = 1;
            continue;
        }
        size_t used = next_char(rules, text + i, n_bytes - i, out, subject, &n_out);
        *differs |= n_out != used || memcmp(out, text + i, used) || memcmp(subject, out, used);
        i += used;
    }
    return n;
}

/* Write a stretch and return its size; subject NULL: none is wanted. */
static size_t write_prepared(const tamis_text_rules *rules, const uint8_t *text, size_t n_bytes,
                             uint8_t *out, uint8_t *subject) {
    uint8_t c[4], s[4];
    size_t n = 0, n_out, next_look = 0;
    if (rules->adds_space) {
        memcpy(out, SPACE_MARK, N_MARK);
        if (subject) memcpy(subject, SPACE_MARK, N_MARK);
        n = N_MARK;
    }
    for (size_t i = 0; i < n_bytes && !is_stopped(i, &next_look); n += n_out) {
        i += next_char(rules, text + i, n_bytes - i, c, s, &n_out);
        for (size_t k = 0; k < n_out; k++) {
            out[n + k] = c[k];
            if (subject) subject[n + k] = s[k];
        }
    }
    return n;
}

tamis_status tamis_prepare(const tamis_text_rules *rules, const uint8_t *text,
                           tamis_fragments *fragments, tamis_prepared *out, tamis_error *err) {
    *out = (tamis_prepared){.text = text, .subject = text};
    uint64_t n_all = 0;
    bool differs = false;
    for (uint64_t i = 0; i < fragments->n; i++) {
        const tamis_fragment *f = &fragments->items[i];
        if (f->token < 0) n_all += prepared_size(rules, text + f->start, f->n_bytes, &differs);
    }
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    if (!differs) return TAMIS_OK;

    out->text = out->own_text = tamis_alloc_array(n_all, 1, err);
    if (!out->own_text) return TAMIS_NO_RESOURCE;
    if (rules->repairs) {
        out->subject = out->own_subject = tamis_alloc_array(n_all, 1, err);
        if (!out->own_subject) return TAMIS_NO_RESOURCE;
    }
    size_t at = 0;
    for (uint64_t i = 0; i < fragments->n; i++) {
        tamis_fragment *f = &fragments->items[i];
        if (f->token >= 0) continue;
        size_t n = write_prepared(rules, text + f->start, f->n_bytes, out->own_text + at,
                                  out->own_subject ? out->own_subject + at : NULL);
        f->start = at;
        f->n_bytes = n;
        at += n;
    }
    return tamis_interrupted() ? tamis_fail_interrupted(err) : TAMIS_OK;
}

void tamis_prepared_release(tamis_prepared *p) {
    free(p->own_text);
    free(p->own_subject);
    *p = (tamis_prepared){0};
}
