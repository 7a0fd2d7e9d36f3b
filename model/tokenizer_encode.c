/* tokenizer_encode.c - text to ids: special tokens are cut out, the rest is made valid
 * UTF-8, split into words, and each word merged (reference/tokenizers.md sections 4, 5).
 * Words repeat, so the ids of recent ones are remembered for the length of a call.
 * Bound by the pre-tokenizer's pattern matching. */
#include "model/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "model/unicode.h"

#define CACHE_MIN_SLOTS 64u
#define CACHE_MAX_SLOTS 65536u
#define CACHE_MAX_WORD_BYTES 64u

/* A word seen in this call and where its ids lie in the output. */
typedef struct cached_word {
    size_t start;
    uint64_t ids_at;
    uint32_t n_bytes, n_ids; /* n_bytes 0: free */
} cached_word;

typedef struct encoder {
    const tamis_tokenizer *t;
    const uint8_t *text;    /* valid UTF-8 in every fragment */
    const uint8_t *subject; /* text with stand-ins, for matching only */
    uint8_t *own_text, *own_subject;
    size_t fragment_start;
    tamis_fragments fragments;
    tamis_pre_scratch *scratch;
    tamis_bpe_work work;
    cached_word *cache;
    uint32_t cache_mask;
    tamis_tokens *out;
} encoder;

void tamis_tokens_release(tamis_tokens *tokens) {
    free(tokens->ids);
    *tokens = (tamis_tokens){0};
}

static tamis_status emit(tamis_tokens *out, uint32_t id, tamis_error *err) {
    if (out->n_ids == out->capacity) {
        tamis_status st =
            tamis_grow(&out->ids, &out->capacity, out->n_ids + 1, sizeof *out->ids, err);
        if (st) return st;
    }
    out->ids[out->n_ids++] = (int32_t)id;
    return TAMIS_OK;
}

/* A symbol that is no token: the tokens of the single bytes of its text, as far as there are. */
static tamis_status emit_bytes(encoder *e, uint32_t symbol, tamis_error *err) {
    const tamis_bpe *bpe = e->t->bpe;
    size_t n;
    const char *text = tamis_bpe_text(bpe, symbol, &n);
    tamis_status st = TAMIS_OK;
    for (size_t i = 0; !st && i < n; i++) {
        uint32_t id = tamis_bpe_find(bpe, text + i, 1);
        if (id < tamis_bpe_n_tokens(bpe)) st = emit(e->out, id, err);
    }
    return st;
}

static tamis_status encode_word(encoder *e, const uint8_t *word, size_t n_bytes, tamis_error *err) {
    const tamis_bpe *bpe = e->t->bpe;
    tamis_status st;
    if (e->t->pre_name->ignores_merges) {
        uint32_t id;
        st = tamis_bpe_whole_word(bpe, &e->work, word, n_bytes, &id, err);
        if (st) return st;
        if (id != TAMIS_NO_SYMBOL) return emit(e->out, id, err);
    }
    st = tamis_bpe_merge(bpe, &e->work, word, n_bytes, err);
    uint32_t n_tokens = tamis_bpe_n_tokens(bpe);
    for (uint32_t i = 0; !st && i < e->work.n_symbols; i++) {
        uint32_t symbol = e->work.symbols[i];
        st = symbol < n_tokens ? emit(e->out, symbol, err) : emit_bytes(e, symbol, err);
    }
    return st;
}

/* tamis_word_fn: ids of one word, from memory when it was seen. */
static tamis_status on_word(void *ctx, size_t start, size_t n_bytes, tamis_error *err) {
    encoder *e = ctx;
    start += e->fragment_start;
    const uint8_t *word = e->text + start;
    if (n_bytes > CACHE_MAX_WORD_BYTES) return encode_word(e, word, n_bytes, err);

    cached_word *slot = &e->cache[(uint32_t)XXH3_64bits(word, n_bytes) & e->cache_mask];
    if (slot->n_bytes == n_bytes && memcmp(e->text + slot->start, word, n_bytes) == 0) {
        tamis_status st = TAMIS_OK;
        for (uint32_t i = 0; !st && i < slot->n_ids; i++)
            st = emit(e->out, (uint32_t)e->out->ids[slot->ids_at + i], err);
        return st;
    }
    uint64_t ids_at = e->out->n_ids;
    tamis_status st = encode_word(e, word, n_bytes, err);
    if (!st)
        *slot = (cached_word){.start = start,
                              .ids_at = ids_at,
                              .n_bytes = (uint32_t)n_bytes,
                              .n_ids = (uint32_t)(e->out->n_ids - ids_at)};
    return st;
}

/* Size of a stretch once every invalid byte is U+FFFD; *differs when it holds such bytes or
 * characters that need a stand-in. */
static size_t clean_size(const uint8_t *text, size_t n_bytes, bool *differs) {
    size_t n_clean = 0;
    for (size_t i = 0; i < n_bytes;) {
        if (text[i] < 0x80) {
            i++, n_clean++;
            continue;
        }
        uint32_t c;
        size_t n = tamis_utf8_next((const char *)text + i, n_bytes - i, &c);
        *differs |= n == 0 || tamis_unicode_stand_in(c) != c;
        i += n ? n : 1;
        n_clean += n ? n : 3;
    }
    return n_clean;
}

/* Write the cleaned stretch and what the patterns get to see of it; returns its size. */
static size_t clean(const uint8_t *text, size_t n_bytes, uint8_t *out, uint8_t *subject) {
    size_t n_clean = 0;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        size_t n = tamis_utf8_next((const char *)text + i, n_bytes - i, &c);
        if (n == 0) c = TAMIS_REPLACEMENT_CHAR;
        i += n ? n : 1;
        tamis_utf8_encode(tamis_unicode_stand_in(c), subject + n_clean);
        n_clean += tamis_utf8_encode(c, out + n_clean);
    }
    return n_clean;
}

/* Give the encoder text that is valid in every fragment: the caller's own where it is. */
static tamis_status clean_fragments(encoder *e, const uint8_t *text, tamis_error *err) {
    size_t n_clean = 0;
    bool differs = false;
    for (uint64_t i = 0; i < e->fragments.n; i++) {
        const tamis_fragment *f = &e->fragments.items[i];
        if (f->token < 0) n_clean += clean_size(text + f->start, f->n_bytes, &differs);
    }
    e->text = e->subject = text;
    if (!differs) return TAMIS_OK;

    /* Encoding writes up to four bytes at a time. */
    e->text = e->own_text = tamis_alloc_array((uint64_t)n_clean + 4, 1, err);
    e->subject = e->own_subject = tamis_alloc_array((uint64_t)n_clean + 4, 1, err);
    if (!e->own_text || !e->own_subject) return TAMIS_NO_RESOURCE;
    size_t at = 0;
    for (uint64_t i = 0; i < e->fragments.n; i++) {
        tamis_fragment *f = &e->fragments.items[i];
        if (f->token >= 0) continue;
        f->n_bytes = clean(text + f->start, f->n_bytes, e->own_text + at, e->own_subject + at);
        f->start = at;
        at += f->n_bytes;
    }
    return TAMIS_OK;
}

static tamis_status encode_fragments(encoder *e, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; !st && i < e->fragments.n; i++) {
        const tamis_fragment *f = &e->fragments.items[i];
        e->fragment_start = f->start;
        st = f->token >= 0 ? emit(e->out, (uint32_t)f->token, err)
                           : tamis_pretokenizer_split(e->t->pre, e->scratch, e->subject + f->start,
                                                      f->n_bytes, on_word, e, err);
    }
    return st;
}

tamis_status tamis_tokenize(const tamis_tokenizer *t, const char *text, size_t n_bytes,
                            bool add_special, bool parse_special, tamis_tokens *out,
                            tamis_error *err) {
    encoder e = {.t = t, .out = out};
    const uint8_t *bytes = (const uint8_t *)text;
    uint64_t n_ids_before = out->n_ids;
    uint32_t n_slots = CACHE_MIN_SLOTS;
    while (n_slots < CACHE_MAX_SLOTS && n_slots < n_bytes / 8)
        n_slots *= 2;
    e.cache_mask = n_slots - 1;

    tamis_status st = TAMIS_OK;
    if (add_special && t->adds_bos && t->bos >= 0) st = emit(out, (uint32_t)t->bos, err);
    if (st || n_bytes == 0) goto end;
    e.cache = calloc(n_slots, sizeof *e.cache);
    st = e.cache ? tamis_pre_scratch_new(&e.scratch, err)
                 : tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory for the tokenizer");
    if (!st)
        st = tamis_specials_cut(&t->specials[parse_special], t, bytes, n_bytes, &e.fragments, err);
    if (!st) st = clean_fragments(&e, bytes, err);
    if (!st) st = encode_fragments(&e, err);
end:
    if (!st && add_special && t->adds_eos && t->eos >= 0) st = emit(out, (uint32_t)t->eos, err);
    if (st) out->n_ids = n_ids_before;
    free(e.cache);
    free(e.own_text);
    free(e.own_subject);
    free(e.fragments.items);
    tamis_pre_scratch_free(e.scratch);
    tamis_bpe_work_release(&e.work);
    return st;
}
