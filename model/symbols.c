/* symbols.c - see symbols.h. One block of text and an open hash table over it, at most half
 * full; a slot keeps part of the hash, so that a text that is not there seldom costs a
 * look at another one. Bound by cache misses. */
#include "model/symbols.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/checked.h"
#include "base/parse.h"

typedef struct symbol_slot {
    uint32_t symbol; /* TAMIS_NO_SYMBOL: free */
    uint32_t tag;    /* upper half of the hash */
} symbol_slot;

struct tamis_symbols {
    char *texts;    /* of all symbols, one behind the other */
    uint64_t *ends; /* [n_symbols] where each text ends */
    uint64_t n_text_bytes, cap_texts, cap_ends;
    uint32_t n_symbols, n_tokens;
    symbol_slot *slots;
    uint32_t slot_mask;
};

tamis_status tamis_symbols_new(tamis_symbols **out, tamis_error *err) {
    *out = tamis_alloc_array(1, sizeof **out, err);
    return *out ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

void tamis_symbols_free(tamis_symbols *s) {
    if (!s) return;
    free(s->texts);
    free(s->ends);
    free(s->slots);
    free(s);
}

uint32_t tamis_symbols_n_tokens(const tamis_symbols *s) {
    return s->n_tokens;
}

const char *tamis_symbols_text(const tamis_symbols *s, uint32_t symbol, size_t *n_bytes) {
    uint64_t begin = symbol ? s->ends[symbol - 1] : 0;
    *n_bytes = (size_t)(s->ends[symbol] - begin);
    return s->texts + begin;
}

/* Slot that holds the text, or the free one where it belongs. */
static symbol_slot *find_slot(const tamis_symbols *s, uint64_t hash, const char *text,
                              size_t n_bytes) {
    uint32_t i = (uint32_t)hash & s->slot_mask, tag = (uint32_t)(hash >> 32);
    for (; s->slots[i].symbol != TAMIS_NO_SYMBOL; i = (i + 1) & s->slot_mask) {
        if (s->slots[i].tag != tag) continue;
        size_t n;
        const char *known = tamis_symbols_text(s, s->slots[i].symbol, &n);
        if (n == n_bytes && memcmp(known, text, n) == 0) break;
    }
    return &s->slots[i];
}

uint32_t tamis_symbols_find(const tamis_symbols *s, const char *text, size_t n_bytes) {
    if (!s->slots) return TAMIS_NO_SYMBOL;
    return find_slot(s, XXH3_64bits(text, n_bytes), text, n_bytes)->symbol;
}

uint32_t tamis_symbols_find_token(const tamis_symbols *s, const char *text, size_t n_bytes) {
    uint32_t symbol = tamis_symbols_find(s, text, n_bytes);
    return symbol < s->n_tokens ? symbol : TAMIS_NO_SYMBOL;
}

/* Keep at least half of the slots free. */
static tamis_status grow_slots(tamis_symbols *s, tamis_error *err) {
    if (s->slots && s->n_symbols < s->slot_mask / 2) return TAMIS_OK;
    uint64_t n_slots = s->slots ? ((uint64_t)s->slot_mask + 1) * 4 : 1024;
    symbol_slot *slots = tamis_alloc_array(n_slots, sizeof *slots, err);
    if (!slots) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i < n_slots; i++)
        slots[i].symbol = TAMIS_NO_SYMBOL;
    free(s->slots);
    s->slots = slots;
    s->slot_mask = (uint32_t)(n_slots - 1);
    for (uint32_t i = 0; i < s->n_symbols; i++) {
        size_t n;
        const char *text = tamis_symbols_text(s, i, &n);
        uint64_t hash = XXH3_64bits(text, n);
        *find_slot(s, hash, text, n) = (symbol_slot){.symbol = i, .tag = (uint32_t)(hash >> 32)};
    }
    return TAMIS_OK;
}

tamis_status tamis_symbols_intern(tamis_symbols *s, const char *text, size_t n_bytes, uint32_t *out,
                                  tamis_error *err) {
    tamis_status st = grow_slots(s, err);
    if (st) return st;
    uint64_t hash = XXH3_64bits(text, n_bytes);
    symbol_slot *slot = find_slot(s, hash, text, n_bytes);
    if (slot->symbol == TAMIS_NO_SYMBOL) {
        st = tamis_grow(&s->texts, &s->cap_texts, s->n_text_bytes + n_bytes, 1, err);
        if (!st)
            st = tamis_grow(&s->ends, &s->cap_ends, (uint64_t)s->n_symbols + 1, sizeof *s->ends,
                            err);
        if (st) return st;
        if (n_bytes) memcpy(s->texts + s->n_text_bytes, text, n_bytes);
        s->n_text_bytes += n_bytes;
        s->ends[s->n_symbols] = s->n_text_bytes;
        *slot = (symbol_slot){.symbol = s->n_symbols++, .tag = (uint32_t)(hash >> 32)};
    }
    *out = slot->symbol;
    return TAMIS_OK;
}

tamis_status tamis_symbols_add_token(tamis_symbols *s, const char *text, size_t n_bytes,
                                     tamis_error *err) {
    if (s->n_symbols >= TAMIS_MAX_TOKENS)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'tokenizer.ggml.tokens': more than %llu tokens",
                          (unsigned long long)TAMIS_MAX_TOKENS);
    uint32_t id = s->n_symbols, symbol;
    tamis_status st = tamis_symbols_intern(s, text, n_bytes, &symbol, err);
    if (st) return st;
    s->n_tokens = s->n_symbols;
    if (symbol == id) return TAMIS_OK;
    char shown[64];
    tamis_escape(text, n_bytes, shown, sizeof shown);
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "key 'tokenizer.ggml.tokens': tokens %u and %u have the same text '%s'",
                      symbol, id, shown);
}
