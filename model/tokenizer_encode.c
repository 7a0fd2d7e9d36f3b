/* tokenizer_encode.c - text to ids: special tokens are cut out, the rest is prepared and cut
 * into words, and each word merged (reference/tokenizers.md sections 4, 5, 7, 8). Words
 * repeat, so the ids of recent ones are remembered for the length of a call.
 * Bound by finding the words: pattern matching, or a look at every character. */
#include "model/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/checked.h"
#include "base/threads.h"
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

/* Ids of one word that is not remembered. */
typedef tamis_status word_fn(tamis_encoder *e, const uint8_t *word, size_t n_bytes,
                             tamis_error *err);

struct tamis_encoder {
    const tamis_tokenizer *t;
    tamis_prepared prepared;
    tamis_fragments fragments;
    size_t fragment_start;
    tamis_pre_scratch *scratch;
    tamis_bpe_work bpe_work;
    tamis_spm_work spm_work;
    cached_word *cache;
    uint32_t cache_mask;
    tamis_tokens *out;
};

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

/* A text that is no token: the tokens of its bytes, as far as there are. */
static tamis_status emit_bytes(tamis_encoder *e, const uint8_t *text, size_t n_bytes,
                               tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (size_t i = 0; !st && i < n_bytes; i++) {
        int32_t id = e->t->byte_ids[text[i]];
        if (id >= 0) st = emit(e->out, (uint32_t)id, err);
    }
    return st;
}

/* Ids of a word at `start` of the prepared text, from memory when it was seen. */
static tamis_status on_word(tamis_encoder *e, word_fn *encode, size_t start, size_t n_bytes,
                            tamis_error *err) {
    const uint8_t *text = e->prepared.text, *word = text + start;
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    if (n_bytes > CACHE_MAX_WORD_BYTES) return encode(e, word, n_bytes, err);

    cached_word *slot = &e->cache[(uint32_t)XXH3_64bits(word, n_bytes) & e->cache_mask];
    if (slot->n_bytes == n_bytes && memcmp(text + slot->start, word, n_bytes) == 0) {
        tamis_status st = TAMIS_OK;
        for (uint32_t i = 0; !st && i < slot->n_ids; i++)
            st = emit(e->out, (uint32_t)e->out->ids[slot->ids_at + i], err);
        return st;
    }
    uint64_t ids_at = e->out->n_ids;
    tamis_status st = encode(e, word, n_bytes, err);
    if (!st)
        *slot = (cached_word){.start = start,
                              .ids_at = ids_at,
                              .n_bytes = (uint32_t)n_bytes,
                              .n_ids = (uint32_t)(e->out->n_ids - ids_at)};
    return st;
}

/* --- byte-pair encoding --- */

/* Is the word to be emitted whole when it is a token? */
static bool may_stay_whole(tamis_pre_whole rule, const uint8_t *word, size_t n_bytes) {
    if (rule != TAMIS_PRE_WHOLE_NEWLINES) return rule == TAMIS_PRE_WHOLE_ALWAYS;
    for (size_t i = 0; i < n_bytes; i++)
        if (word[i] != '\n') return false;
    return true;
}

static tamis_status encode_bpe_word(tamis_encoder *e, const uint8_t *word, size_t n_bytes,
                                    tamis_error *err) {
    const tamis_tokenizer *t = e->t;
    tamis_bpe_work *w = &e->bpe_work;
    tamis_status st;
    if (may_stay_whole(t->pre_name->whole, word, n_bytes)) {
        uint32_t id;
        st = tamis_bpe_whole_word(t->bpe, w, word, n_bytes, &id, err);
        if (st) return st;
        if (id != TAMIS_NO_SYMBOL) return emit(e->out, id, err);
    }
    st = tamis_bpe_merge(t->bpe, w, word, n_bytes, err);
    for (size_t i = 0, at = 0, n = 0; !st && i < w->n_symbols; i++, at += n) {
        uint32_t symbol = w->symbols[i];
        if (symbol == TAMIS_NO_SYMBOL) { /* never in a mapped word: `at` is its place */
            n = tamis_utf8_char_bytes(word[at], n_bytes - at);
            st = emit_bytes(e, word + at, n, err);
            continue;
        }
        const char *text = tamis_symbols_text(t->symbols, symbol, &n);
        st = symbol < (uint32_t)t->n_vocab ? emit(e->out, symbol, err)
                                           : emit_bytes(e, (const uint8_t *)text, n, err);
    }
    return st;
}

/* tamis_word_fn */
static tamis_status on_bpe_word(void *ctx, size_t start, size_t n_bytes, tamis_error *err) {
    tamis_encoder *e = ctx;
    start += e->fragment_start;
    const uint8_t *text = e->prepared.text;
    if (may_stay_whole(e->t->pre_name->whole, text + start, n_bytes))
        return on_word(e, encode_bpe_word, start, n_bytes, err);
    tamis_status st = TAMIS_OK;
    for (size_t end = start + n_bytes, n; !st && start < end; start += n) {
        n = tamis_bpe_word(e->t->bpe, text + start, end - start);
        st = on_word(e, encode_bpe_word, start, n, err);
    }
    return st;
}

tamis_status tamis_encode_bpe(tamis_encoder *e, size_t start, size_t n_bytes, tamis_error *err) {
    tamis_status st = e->scratch ? TAMIS_OK : tamis_pre_scratch_new(&e->scratch, err);
    if (st) return st;
    e->fragment_start = start;
    return tamis_pretokenizer_split(e->t->pre, e->scratch, e->prepared.subject + start, n_bytes,
                                    on_bpe_word, e, err);
}

/* --- SentencePiece --- */

/* A character that is no token: its bytes, or the unknown token when one of them has none. */
static tamis_status emit_unknown(tamis_encoder *e, const uint8_t *text, size_t n_bytes,
                                 tamis_error *err) {
    for (size_t i = 0; e->t->unk >= 0 && i < n_bytes; i++)
        if (e->t->byte_ids[text[i]] < 0) return emit(e->out, (uint32_t)e->t->unk, err);
    return emit_bytes(e, text, n_bytes, err);
}

static tamis_status encode_spm_word(tamis_encoder *e, const uint8_t *word, size_t n_bytes,
                                    tamis_error *err) {
    const tamis_spm_work *w = &e->spm_work;
    tamis_status st = tamis_spm_merge(e->t->spm, &e->spm_work, word, n_bytes, err);
    for (uint64_t i = 0; !st && i < w->n_pieces; i++) {
        const tamis_spm_piece *piece = &w->pieces[i];
        st = piece->token == TAMIS_NO_SYMBOL
                 ? emit_unknown(e, word + piece->begin, piece->n_bytes, err)
                 : emit(e->out, piece->token, err);
    }
    return st;
}

tamis_status tamis_encode_spm(tamis_encoder *e, size_t start, size_t n_bytes, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (size_t end = start + n_bytes, n; !st && start < end; start += n) {
        n = tamis_spm_word(e->t->spm, e->prepared.text + start, end - start);
        st = on_word(e, encode_spm_word, start, n, err);
    }
    return st;
}

/* --- a whole text --- */

static tamis_status encode_text(tamis_encoder *e, const uint8_t *text, size_t n_bytes,
                                bool parse_special, tamis_error *err) {
    uint32_t n_slots = CACHE_MIN_SLOTS;
    while (n_slots < CACHE_MAX_SLOTS && n_slots < n_bytes / 8)
        n_slots *= 2;
    e->cache_mask = n_slots - 1;
    e->cache = tamis_alloc_array(n_slots, sizeof *e->cache, err);
    if (!e->cache) return TAMIS_NO_RESOURCE;

    const tamis_tokenizer *t = e->t;
    tamis_status st =
        tamis_specials_cut(&t->specials[parse_special], t, text, n_bytes, &e->fragments, err);
    if (!st) st = tamis_prepare(&t->rules, text, &e->fragments, &e->prepared, err);
    for (uint64_t i = 0; !st && i < e->fragments.n; i++) {
        const tamis_fragment *f = &e->fragments.items[i];
        st = f->token >= 0 ? emit(e->out, (uint32_t)f->token, err)
                           : t->kind->encode(e, f->start, f->n_bytes, err);
    }
    return st;
}

tamis_status tamis_tokenize(const tamis_tokenizer *t, const char *text, size_t n_bytes,
                            bool add_special, bool parse_special, tamis_tokens *out,
                            tamis_error *err) {
    tamis_encoder e = {.t = t, .out = out};
    uint64_t n_ids_before = out->n_ids;
    tamis_status st = TAMIS_OK;
    if (add_special && t->adds_bos && t->bos >= 0) st = emit(out, (uint32_t)t->bos, err);
    if (!st && n_bytes > 0)
        st = encode_text(&e, (const uint8_t *)text, n_bytes, parse_special, err);
    if (!st && add_special && t->adds_eos && t->eos >= 0) st = emit(out, (uint32_t)t->eos, err);
    if (st) out->n_ids = n_ids_before;
    free(e.cache);
    free(e.fragments.items);
    tamis_prepared_release(&e.prepared);
    tamis_pre_scratch_free(e.scratch);
    tamis_bpe_work_release(&e.bpe_work);
    tamis_spm_work_release(&e.spm_work);
    return st;
}
