/* lax.c - what has no effect: an error that names what was probably meant, or with --lax a warning.
 * Names in rules are pieces of patterns, so likeness is the longest common piece where no name is
 * within a few letters. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "quantize/quantize_internal.h"

enum { WORD_BYTES = sizeof(((nearest_name *)0)->word) };

tamis_status lax_fail(const tamis_quantize_options *options, tamis_error *err, const char *format,
                      ...) {
    char text[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!options->lax)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s (--lax makes this a warning)", text);
    tamis_warn(options->log, "%s", text);
    return TAMIS_OK;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9');
}

/* The longest run of letters, digits and underscores: what a pattern is mostly made of. */
static void longest_word(const char *text, char out[WORD_BYTES]) {
    const char *best = text;
    size_t n_best = 0;
    const char *end = strrchr(text, '=');
    if (!end) end = text + strlen(text);
    for (const char *p = text; p < end;) {
        size_t n = 0;
        while (p + n < end && is_word(p[n]))
            n++;
        if (n > n_best) {
            best = p;
            n_best = n;
        }
        p += n ? n : 1;
    }
    if (n_best >= WORD_BYTES) n_best = WORD_BYTES - 1;
    memcpy(out, best, n_best);
    out[n_best] = 0;
}

/* "ffn_down" of "blk.0.ffn_down.weight". */
static void stem_of(const char *name, char out[WORD_BYTES]) {
    const char *from = mix_layer_of(name) >= 0 ? strchr(name + 4, '.') + 1 : name;
    const char *dot = strrchr(from, '.');
    size_t n = dot ? (size_t)(dot - from) : strlen(from);
    if (n >= WORD_BYTES) n = WORD_BYTES - 1;
    memcpy(out, from, n);
    out[n] = 0;
}

static size_t common_piece(const char *a, const char *b) {
    size_t longest = 0;
    for (const char *p = a; *p; p++)
        for (const char *q = b; *q; q++) {
            size_t n = 0;
            while (n < WORD_BYTES && p[n] && q[n] && (p[n] | 32) == (q[n] | 32))
                n++;
            if (n > longest) longest = n;
        }
    return longest;
}

void nearest_begin(nearest_name *n, const char *wanted) {
    *n = (nearest_name){0};
    longest_word(wanted, n->word);
}

void nearest_offer(nearest_name *n, const char *name) {
    char stem[WORD_BYTES];
    stem_of(name, stem);
    const char *const both[] = {n->stem, stem};
    if (tamis_nearest(n->word, both, 2) == stem) {
        memcpy(n->stem, stem, sizeof n->stem);
        n->nearest = name;
    }
    size_t n_common = common_piece(n->word, stem);
    if (n_common <= n->n_common && n->likest) return;
    n->n_common = n_common;
    n->likest = name;
}

const char *nearest_end(const nearest_name *n) {
    return n->nearest ? n->nearest : n->likest;
}
