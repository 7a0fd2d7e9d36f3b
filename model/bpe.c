/* bpe.c - see bpe.h. Texts are interned once when the vocabulary is loaded, so merging
 * compares numbers only: one hash lookup of (left, right) per new pair. Short words scan
 * an array for the lowest rank, long ones keep a heap; both merge the leftmost of equals.
 * Bound by cache misses in the merge table. */
#include "model/bpe.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/checked.h"
#include "model/unicode.h"

#define NO_RANK UINT32_MAX
#define SHORT_WORD_BYTES 40

typedef struct merge_slot {
    uint32_t left, right; /* left = TAMIS_NO_SYMBOL: free */
    uint32_t rank, result;
} merge_slot;

struct tamis_bpe {
    char *texts;    /* of all symbols, one behind the other */
    uint64_t *ends; /* [n_symbols] where each text ends */
    uint64_t n_text_bytes, cap_texts, cap_ends;
    uint32_t n_symbols, n_tokens;
    uint32_t *slots; /* text -> symbol; TAMIS_NO_SYMBOL: free */
    uint32_t slot_mask;
    merge_slot *merges;
    uint32_t merge_mask;
    uint32_t byte_symbols[256];
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

/* --- symbols --- */

tamis_status tamis_bpe_new(tamis_bpe **out, tamis_error *err) {
    *out = tamis_alloc_array(1, sizeof **out, err);
    return *out ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

void tamis_bpe_free(tamis_bpe *bpe) {
    if (!bpe) return;
    free(bpe->texts);
    free(bpe->ends);
    free(bpe->slots);
    free(bpe->merges);
    free(bpe);
}

uint32_t tamis_bpe_n_tokens(const tamis_bpe *bpe) {
    return bpe->n_tokens;
}

const char *tamis_bpe_text(const tamis_bpe *bpe, uint32_t symbol, size_t *n_bytes) {
    uint64_t begin = symbol ? bpe->ends[symbol - 1] : 0;
    *n_bytes = (size_t)(bpe->ends[symbol] - begin);
    return bpe->texts + begin;
}

/* Slot that holds the text, or the free one where it belongs. */
static uint32_t find_slot(const tamis_bpe *bpe, const char *text, size_t n_bytes) {
    uint32_t i = (uint32_t)XXH3_64bits(text, n_bytes) & bpe->slot_mask;
    for (; bpe->slots[i] != TAMIS_NO_SYMBOL; i = (i + 1) & bpe->slot_mask) {
        size_t n;
        const char *known = tamis_bpe_text(bpe, bpe->slots[i], &n);
        if (n == n_bytes && memcmp(known, text, n) == 0) break;
    }
    return i;
}

uint32_t tamis_bpe_find(const tamis_bpe *bpe, const char *text, size_t n_bytes) {
    return bpe->slots ? bpe->slots[find_slot(bpe, text, n_bytes)] : TAMIS_NO_SYMBOL;
}

/* Keep at least half of the slots free. */
static tamis_status grow_slots(tamis_bpe *bpe, tamis_error *err) {
    if (bpe->slots && bpe->n_symbols < bpe->slot_mask / 2) return TAMIS_OK;
    uint64_t n_slots = bpe->slots ? ((uint64_t)bpe->slot_mask + 1) * 4 : 1024;
    uint32_t *slots = tamis_alloc_array(n_slots, sizeof *slots, err);
    if (!slots) return TAMIS_NO_RESOURCE;
    memset(slots, 0xFF, (size_t)n_slots * sizeof *slots);
    free(bpe->slots);
    bpe->slots = slots;
    bpe->slot_mask = (uint32_t)(n_slots - 1);
    for (uint32_t s = 0; s < bpe->n_symbols; s++) {
        size_t n;
        const char *text = tamis_bpe_text(bpe, s, &n);
        bpe->slots[find_slot(bpe, text, n)] = s;
    }
    return TAMIS_OK;
}

/* Symbol of a text, made when it is new. */
static tamis_status intern(tamis_bpe *bpe, const char *text, size_t n_bytes, uint32_t *out,
                           tamis_error *err) {
    tamis_status st = grow_slots(bpe, err);
    if (st) return st;
    uint32_t i = find_slot(bpe, text, n_bytes);
    if (bpe->slots[i] == TAMIS_NO_SYMBOL) {
        st = tamis_grow(&bpe->texts, &bpe->cap_texts, bpe->n_text_bytes + n_bytes, 1, err);
        if (!st)
            st = tamis_grow(&bpe->ends, &bpe->cap_ends, (uint64_t)bpe->n_symbols + 1,
                            sizeof *bpe->ends, err);
        if (st) return st;
        if (n_bytes) memcpy(bpe->texts + bpe->n_text_bytes, text, n_bytes);
        bpe->n_text_bytes += n_bytes;
        bpe->ends[bpe->n_symbols] = bpe->n_text_bytes;
        bpe->slots[i] = bpe->n_symbols++;
    }
    *out = bpe->slots[i];
    return TAMIS_OK;
}

tamis_status tamis_bpe_add_token(tamis_bpe *bpe, const char *text, size_t n_bytes,
                                 tamis_error *err) {
    if (bpe->n_symbols >= TAMIS_BPE_MAX_TOKENS)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'tokenizer.ggml.tokens': more than %llu tokens",
                          (unsigned long long)TAMIS_BPE_MAX_TOKENS);
    uint32_t id = bpe->n_symbols, symbol;
    tamis_status st = intern(bpe, text, n_bytes, &symbol, err);
    if (st) return st;
    bpe->n_tokens = bpe->n_symbols;
    if (symbol == id) return TAMIS_OK;
    char shown[64];
    tamis_escape(text, n_bytes, shown, sizeof shown);
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "key 'tokenizer.ggml.tokens': tokens %u and %u have the same text '%s'",
                      symbol, id, shown);
}

/* --- merges --- */

tamis_status tamis_bpe_end_tokens(tamis_bpe *bpe, uint64_t n_merges, tamis_error *err) {
    if (n_merges > TAMIS_BPE_MAX_TOKENS)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'tokenizer.ggml.merges': %llu merges (at most %llu)",
                          (unsigned long long)n_merges, (unsigned long long)TAMIS_BPE_MAX_TOKENS);
    for (int b = 0; b < 256; b++) {
        uint8_t text[4];
        size_t n = tamis_utf8_encode(tamis_byte_to_char((uint8_t)b), text);
        tamis_status st = intern(bpe, (const char *)text, n, &bpe->byte_symbols[b], err);
        if (st) return st;
    }
    uint64_t n_slots = 1024;
    while (n_slots < n_merges * 2)
        n_slots *= 2;
    bpe->merges = tamis_alloc_array(n_slots, sizeof *bpe->merges, err);
    if (!bpe->merges) return TAMIS_NO_RESOURCE;
    bpe->merge_mask = (uint32_t)(n_slots - 1);
    for (uint64_t i = 0; i < n_slots; i++)
        bpe->merges[i].left = TAMIS_NO_SYMBOL;
    return TAMIS_OK;
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
    tamis_status st = intern(bpe, line, n_left, &left, err);
    if (!st) st = intern(bpe, space + 1, n_right, &right, err);
    if (st) return st;
    merge_slot *slot = find_merge(bpe, left, right);
    if (slot->left != TAMIS_NO_SYMBOL) return TAMIS_OK;

    char small[256];
    char *joined = n_bytes <= sizeof small ? small : tamis_alloc_array(n_bytes, 1, err);
    if (!joined) return TAMIS_NO_RESOURCE;
    memcpy(joined, line, n_left);
    memcpy(joined + n_left, space + 1, n_right);
    st = intern(bpe, joined, n_left + n_right, &result, err);
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
    free(w->heap);
    free(w->mapped);
    *w = (tamis_bpe_work){0};
}

/* Rank of merging two symbols, NO_RANK when no merge has them; *result is what they make. */
static uint32_t pair_rank(const tamis_bpe *bpe, uint32_t left, uint32_t right, uint32_t *result) {
    const merge_slot *slot = find_merge(bpe, left, right);
    *result = slot->result;
    return slot->left == TAMIS_NO_SYMBOL ? NO_RANK : slot->rank;
}

static void merge_short(const tamis_bpe *bpe, tamis_bpe_work *w) {
    uint32_t ranks[SHORT_WORD_BYTES], results[SHORT_WORD_BYTES];
    uint32_t *symbols = w->symbols, n = w->n_symbols;
    for (uint32_t i = 0; i + 1 < n; i++)
        ranks[i] = pair_rank(bpe, symbols[i], symbols[i + 1], &results[i]);
    while (n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == NO_RANK) break;
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

static void heap_push(tamis_bpe_work *w, uint64_t key) {
    uint64_t i = w->n_heap++;
    for (; i > 0 && w->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = key;
}

static uint64_t heap_pop(tamis_bpe_work *w) {
    uint64_t top = w->heap[0], last = w->heap[--w->n_heap], i = 0;
    for (uint64_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && w->heap[child + 1] < w->heap[child]) child++;
        if (w->heap[child] >= last) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

/* Note the pair that begins at i; the heap orders by rank, then by place. */
static void offer_pair(const tamis_bpe *bpe, tamis_bpe_work *w, uint32_t i) {
    uint32_t unused;
    w->ranks[i] = pair_rank(bpe, w->symbols[i], w->symbols[w->next[i]], &unused);
    if (w->ranks[i] != NO_RANK) heap_push(w, (uint64_t)w->ranks[i] << 32 | i);
}

static tamis_status merge_long(const tamis_bpe *bpe, tamis_bpe_work *w, tamis_error *err) {
    uint32_t n = w->n_symbols;
    tamis_status st = tamis_grow(&w->next, &w->cap_next, n, sizeof *w->next, err);
    if (!st) st = tamis_grow(&w->prev, &w->cap_prev, n, sizeof *w->prev, err);
    if (!st) st = tamis_grow(&w->ranks, &w->cap_ranks, n, sizeof *w->ranks, err);
    /* Each merge takes a pair out and offers two: at most 3 n are ever offered. */
    if (!st) st = tamis_grow(&w->heap, &w->cap_heap, 3 * (uint64_t)n, sizeof *w->heap, err);
    if (st) return st;

    w->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        w->next[i] = i + 1;
        w->prev[i] = i ? i - 1 : n;
        w->ranks[i] = NO_RANK;
        if (i + 1 < n) offer_pair(bpe, w, i);
    }
    while (w->n_heap) {
        uint64_t key = heap_pop(w);
        uint32_t i = (uint32_t)key, result;
        /* A rank belongs to one pair of symbols: an entry whose rank has changed is stale. */
        if (w->ranks[i] != (uint32_t)(key >> 32)) continue;
        uint32_t gone = w->next[i];
        pair_rank(bpe, w->symbols[i], w->symbols[gone], &result);
        w->symbols[i] = result;
        w->ranks[i] = w->ranks[gone] = NO_RANK;
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

tamis_status tamis_bpe_merge(const tamis_bpe *bpe, tamis_bpe_work *w, const uint8_t *word,
                             size_t n_bytes, tamis_error *err) {
    if (n_bytes > INT32_MAX)
        return tamis_fail(err, TAMIS_NO_RESOURCE,
                          "a word of %zu bytes is too long to tokenize (at most %d)", n_bytes,
                          INT32_MAX);
    tamis_status st = tamis_grow(&w->symbols, &w->cap_symbols, n_bytes, sizeof *w->symbols, err);
    if (st) return st;
    for (size_t i = 0; i < n_bytes; i++)
        w->symbols[i] = bpe->byte_symbols[word[i]];
    w->n_symbols = (uint32_t)n_bytes;
    if (n_bytes > SHORT_WORD_BYTES) return merge_long(bpe, w, err);
    merge_short(bpe, w);
    return TAMIS_OK;
}

tamis_status tamis_bpe_whole_word(const tamis_bpe *bpe, tamis_bpe_work *w, const uint8_t *word,
                                  size_t n_bytes, uint32_t *out, tamis_error *err) {
    tamis_status st = tamis_grow(&w->mapped, &w->cap_mapped, 2 * (uint64_t)n_bytes, 1, err);
    if (st) return st;
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        size_t n_char;
        const char *text = tamis_bpe_text(bpe, bpe->byte_symbols[word[i]], &n_char);
        for (size_t k = 0; k < n_char; k++)
            w->mapped[n++] = text[k];
    }
    uint32_t symbol = tamis_bpe_find(bpe, w->mapped, n);
    *out = symbol < bpe->n_tokens ? symbol : TAMIS_NO_SYMBOL;
    return TAMIS_OK;
}
