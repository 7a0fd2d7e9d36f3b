/* bpe.c - see bpe.h. Texts are interned once when the merges are loaded, so merging
 * compares numbers only: one hash lookup of (left, right) per new pair. Short words scan
 * an array for the lowest rank, long ones keep a heap; both merge the leftmost of equals.
 * Bound by cache misses in the merge table. */
#include "model/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/threads.h"
#include "model/meetings.h"
#include "model/unicode.h"

#define SHORT_WORD_SYMBOLS 40

typedef struct merge_slot {
    uint32_t left, right; /* left = TAMIS_NO_SYMBOL: free */
    uint32_t rank, result;
} merge_slot;

struct tamis_bpe {
    tamis_symbols *vocabulary; /* borrowed */
    bool is_mapped;
    merge_slot *merges;
    uint32_t merge_mask;
    uint32_t byte_symbols[256]; /* of a byte mapped; else of an ASCII character */
    tamis_meetings meetings;    /* of the two parts of merges; unused where words are mapped */
};

uint32_t tamis_byte_to_char(uint8_t b) {
    if ((b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD)) return b;
    return b <= 0x20 ? 0x100u + b : b == 0xAD ? 0x143u : 0x121u + (b - 0x7Fu);
}

int tamis_char_to_byte(uint32_t c) {
    if (c < 0x100) return tamis_byte_to_char((uint8_t)c) == c ? (int)c : -1;
    if (c > 0x143) return -1;
    return c == 0x143 ? 0xAD : c <= 0x120 ? (int)(c - 0x100) : (int)(c - 0x121 + 0x7F);
}

/* --- merges --- */

tamis_status tamis_bpe_new(tamis_symbols *symbols, bool is_mapped, uint64_t n_merges,
                           tamis_bpe **out, tamis_error *err) {
    *out = NULL;
    if (n_merges > TAMIS_MAX_TOKENS)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'tokenizer.ggml.merges': %llu merges (at most %llu)",
                          (unsigned long long)n_merges, (unsigned long long)TAMIS_MAX_TOKENS);
    tamis_bpe *bpe = tamis_alloc_array(1, sizeof *bpe, err);
    if (!bpe) return TAMIS_NO_RESOURCE;
    tamis_status st = TAMIS_OK;
    bpe->vocabulary = symbols;
    bpe->is_mapped = is_mapped;
    for (int b = 0; !st && b < (is_mapped ? 256 : 128); b++) {
        uint8_t text[4];
        size_t n =
            tamis_utf8_encode(is_mapped ? tamis_byte_to_char((uint8_t)b) : (uint32_t)b, text);
        st = tamis_symbols_intern(symbols, (const char *)text, n, &bpe->byte_symbols[b], err);
    }
    uint64_t n_slots = 1024;
    while (n_slots < n_merges * 2)
        n_slots *= 2;
    if (!st && !(bpe->merges = tamis_alloc_array(n_slots, sizeof *bpe->merges, err)))
        st = TAMIS_NO_RESOURCE;
    if (st) {
        tamis_bpe_free(bpe);
        return st;
    }
    bpe->merge_mask = (uint32_t)(n_slots - 1);
    for (uint64_t i = 0; i < n_slots; i++)
        bpe->merges[i].left = TAMIS_NO_SYMBOL;
    *out = bpe;
    return TAMIS_OK;
}

void tamis_bpe_free(tamis_bpe *bpe) {
    if (!bpe) return;
    free(bpe->merges);
    free(bpe);
}

static merge_slot *find_merge(const tamis_bpe *bpe, uint32_t left, uint32_t right) {
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    uint32_t i = (uint32_t)(h >> 32) & bpe->merge_mask;
    while (bpe->merges[i].left != TAMIS_NO_SYMBOL &&
           (bpe->merges[i].left != left || bpe->merges[i].right != right))
        i = (i + 1) & bpe->merge_mask;
    return &bpe->merges[i];
}

tamis_status tamis_bpe_add_merge(tamis_bpe *bpe, uint32_t rank, const char *line, size_t n_bytes,
                                 tamis_error *err) {
    const char *space = n_bytes > 1 ? memchr(line + 1, ' ', n_bytes - 1) : NULL;
    if (!space) {
        char shown[64];
        tamis_escape(line, n_bytes, shown, sizeof shown);
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'tokenizer.ggml.merges': merge %u is not 'left right': '%s'", rank,
                          shown);
    }
    size_t n_left = (size_t)(space - line), n_right = n_bytes - n_left - 1;
    uint32_t left, right, result;
    tamis_status st = tamis_symbols_intern(bpe->vocabulary, line, n_left, &left, err);
    if (!st) st = tamis_symbols_intern(bpe->vocabulary, space + 1, n_right, &right, err);
    if (st) return st;
    merge_slot *slot = find_merge(bpe, left, right);
    if (slot->left != TAMIS_NO_SYMBOL) return TAMIS_OK;

    char small[256];
    char *joined = n_bytes <= sizeof small ? small : tamis_alloc_array(n_bytes, 1, err);
    if (!joined) return TAMIS_NO_RESOURCE;
    memcpy(joined, line, n_left);
    memcpy(joined + n_left, space + 1, n_right);
    st = tamis_symbols_intern(bpe->vocabulary, joined, n_left + n_right, &result, err);
    if (!bpe->is_mapped && n_right)
        tamis_meetings_note(&bpe->meetings, (const uint8_t *)joined, n_left + n_right, n_left);
    if (joined != small) free(joined);
    if (!st) *slot = (merge_slot){.left = left, .right = right, .rank = rank, .result = result};
    return st;
}

/* --- merging --- */

void tamis_bpe_work_release(tamis_bpe_work *w) {
    free(w->symbols);
    free(w->next);
    free(w->prev);
    free(w->ranks);
    free(w->heap.keys);
    free(w->mapped);
    *w = (tamis_bpe_work){0};
}

/* Rank of merging two symbols, TAMIS_NO_RANK when no merge has them; *result is what they make. */
static uint32_t pair_rank(const tamis_bpe *bpe, uint32_t left, uint32_t right, uint32_t *result) {
    const merge_slot *slot = find_merge(bpe, left, right);
    *result = slot->result;
    return slot->left == TAMIS_NO_SYMBOL ? TAMIS_NO_RANK : slot->rank;
}

static void merge_short(const tamis_bpe *bpe, tamis_bpe_work *w) {
    uint32_t ranks[SHORT_WORD_SYMBOLS], results[SHORT_WORD_SYMBOLS];
    uint32_t *symbols = w->symbols, n = w->n_symbols;
    for (uint32_t i = 0; i + 1 < n; i++)
        ranks[i] = pair_rank(bpe, symbols[i], symbols[i + 1], &results[i]);
    while (n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == TAMIS_NO_RANK) break;
        symbols[best] = results[best];
        n--;
        for (uint32_t i = best + 1; i < n; i++) {
            symbols[i] = symbols[i + 1];
            ranks[i - 1] = ranks[i];
            results[i - 1] = results[i];
        }
        if (best > 0)
            ranks[best - 1] = pair_rank(bpe, symbols[best - 1], symbols[best], &results[best - 1]);
        if (best + 1 < n)
            ranks[best] = pair_rank(bpe, symbols[best], symbols[best + 1], &results[best]);
    }
    w->n_symbols = n;
}

/* Note the pair that begins at i; the heap orders by rank, then by place. */
static void offer_pair(const tamis_bpe *bpe, tamis_bpe_work *w, uint32_t i) {
    uint32_t unused;
    w->ranks[i] = pair_rank(bpe, w->symbols[i], w->symbols[w->next[i]], &unused);
    if (w->ranks[i] != TAMIS_NO_RANK) tamis_merge_heap_push(&w->heap, w->ranks[i], i);
}

static tamis_status merge_long(const tamis_bpe *bpe, tamis_bpe_work *w, tamis_error *err) {
    uint32_t n = w->n_symbols;
    tamis_status st = tamis_grow(&w->next, &w->cap_next, n, sizeof *w->next, err);
    if (!st) st = tamis_grow(&w->prev, &w->cap_prev, n, sizeof *w->prev, err);
    if (!st) st = tamis_grow(&w->ranks, &w->cap_ranks, n, sizeof *w->ranks, err);
    /* Each merge takes a pair out and offers two: at most 3 n are ever offered. */
    if (!st)
        st = tamis_grow(&w->heap.keys, &w->heap.capacity, 3 * (uint64_t)n, sizeof *w->heap.keys,
                        err);
    if (st) return st;

    w->heap.n = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        w->next[i] = i + 1;
        w->prev[i] = i ? i - 1 : n;
        w->ranks[i] = TAMIS_NO_RANK;
        if (i + 1 < n) offer_pair(bpe, w, i);
    }
    while (w->heap.n) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        uint64_t key = tamis_merge_heap_pop(&w->heap);
        uint32_t i = (uint32_t)key, result;
        /* A rank belongs to one pair of symbols: an entry whose rank has changed is stale. */
        if (w->ranks[i] != (uint32_t)(key >> 32)) continue;
        uint32_t gone = w->next[i];
        pair_rank(bpe, w->symbols[i], w->symbols[gone], &result);
        w->symbols[i] = result;
        w->ranks[i] = w->ranks[gone] = TAMIS_NO_RANK;
        w->next[i] = w->next[gone];
        if (w->next[i] < n) {
            w->prev[w->next[i]] = i;
            offer_pair(bpe, w, i);
        }
        if (w->prev[i] < n) offer_pair(bpe, w, w->prev[i]);
    }
    uint32_t n_left = 0;
    for (uint32_t i = 0; i < n; i = w->next[i])
        w->symbols[n_left++] = w->symbols[i];
    w->n_symbols = n_left;
    return TAMIS_OK;
}

size_t tamis_bpe_word(const tamis_bpe *bpe, const uint8_t *text, size_t n_bytes) {
    return bpe->is_mapped ? n_bytes : tamis_meetings_word(&bpe->meetings, text, n_bytes);
}

/* The symbols that a word begins as. */
static uint32_t spell(const tamis_bpe *bpe, const uint8_t *word, size_t n_bytes, uint32_t *out) {
    uint32_t n = 0;
    for (size_t i = 0, n_char; i < n_bytes; i += n_char) {
        n_char = bpe->is_mapped ? 1 : tamis_utf8_char_bytes(word[i], n_bytes - i);
        out[n++] = bpe->is_mapped || word[i] < 0x80
                       ? bpe->byte_symbols[word[i]]
                       : tamis_symbols_find(bpe->vocabulary, (const char *)word + i, n_char);
    }
    return n;
}

tamis_status tamis_bpe_merge(const tamis_bpe *bpe, tamis_bpe_work *w, const uint8_t *word,
                             size_t n_bytes, tamis_error *err) {
    if (n_bytes > INT32_MAX)
        return tamis_fail(err, TAMIS_NO_RESOURCE,
                          "a word of %zu bytes is too long to tokenize (at most %d)", n_bytes,
                          INT32_MAX);
    tamis_status st = tamis_grow(&w->symbols, &w->cap_symbols, n_bytes, sizeof *w->symbols, err);
    if (st) return st;
    w->n_symbols = spell(bpe, word, n_bytes, w->symbols);
    if (w->n_symbols > SHORT_WORD_SYMBOLS) return merge_long(bpe, w, err);
    merge_short(bpe, w);
    return TAMIS_OK;
}

tamis_status tamis_bpe_whole_word(const tamis_bpe *bpe, tamis_bpe_work *w, const uint8_t *word,
                                  size_t n_bytes, uint32_t *out, tamis_error *err) {
    if (!bpe->is_mapped) {
        *out = tamis_symbols_find_token(bpe->vocabulary, (const char *)word, n_bytes);
        return TAMIS_OK;
    }
    tamis_status st = tamis_grow(&w->mapped, &w->cap_mapped, 2 * (uint64_t)n_bytes, 1, err);
    if (st) return st;
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        uint8_t text[4];
        size_t n_char = tamis_utf8_encode(tamis_byte_to_char(word[i]), text);
        for (size_t k = 0; k < n_char; k++)
            w->mapped[n++] = (char)text[k];
    }
    *out = tamis_symbols_find_token(bpe->vocabulary, w->mapped, n);
    return TAMIS_OK;
}
