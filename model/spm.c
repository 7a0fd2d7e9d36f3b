/* spm.c - see spm.h. Pairs are looked up by their text, which lies in one piece in the word;
 * a heap gives the best one, stale entries are told by their rank.
 * Bound by cache misses in the vocabulary. */
#include "model/spm.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/threads.h"
#include "model/meetings.h"
#include "model/unicode.h"

struct tamis_spm {
    const tamis_symbols *vocabulary; /* borrowed */
    uint32_t *ranks;                 /* [n_tokens] */
    size_t max_token_bytes;
    tamis_meetings meetings; /* inside tokens */
};

tamis_status tamis_spm_new(const tamis_symbols *symbols, uint32_t *ranks, tamis_spm **out,
                           tamis_error *err) {
    *out = NULL;
    tamis_spm *spm = tamis_alloc_array(1, sizeof *spm, err);
    if (!spm) {
        free(ranks);
        return TAMIS_NO_RESOURCE;
    }
    spm->vocabulary = symbols;
    spm->ranks = ranks;
    for (uint32_t id = 0; id < tamis_symbols_n_tokens(symbols); id++) {
        size_t n;
        const char *text = tamis_symbols_text(symbols, id, &n);
        if (n > spm->max_token_bytes) spm->max_token_bytes = n;
        tamis_meetings_note_all(&spm->meetings, (const uint8_t *)text, n);
    }
    *out = spm;
    return TAMIS_OK;
}

void tamis_spm_free(tamis_spm *spm) {
    if (!spm) return;
    free(spm->ranks);
    free(spm);
}

size_t tamis_spm_word(const tamis_spm *spm, const uint8_t *text, size_t n_bytes) {
    return tamis_meetings_word(&spm->meetings, text, n_bytes);
}

/* --- merging --- */

void tamis_spm_work_release(tamis_spm_work *w) {
    free(w->pieces);
    free(w->heap.keys);
    *w = (tamis_spm_work){0};
}

/* Note what a piece and the one behind it make together. */
static void offer_pair(const tamis_spm *spm, tamis_spm_work *w, const uint8_t *word, uint32_t i) {
    tamis_spm_piece *piece = &w->pieces[i];
    size_t n = (size_t)piece->n_bytes + w->pieces[piece->next].n_bytes;
    piece->rank = TAMIS_NO_RANK;
    if (n > spm->max_token_bytes) return;
    piece->merged = tamis_symbols_find_token(spm->vocabulary, (const char *)word + piece->begin, n);
    if (piece->merged == TAMIS_NO_SYMBOL) return;
    piece->rank = spm->ranks[piece->merged];
    tamis_merge_heap_push(&w->heap, piece->rank, i);
}

/* Every character a piece, every pair of them on the heap. */
static void spell(const tamis_spm *spm, tamis_spm_work *w, const uint8_t *word, uint32_t n_bytes) {
    uint32_t n = 0;
    for (uint32_t i = 0, n_char; i < n_bytes; i += n_char, n++) {
        n_char = (uint32_t)tamis_utf8_char_bytes(word[i], n_bytes - i);
        w->pieces[n] = (tamis_spm_piece){
            .begin = i,
            .n_bytes = n_char,
            .token = tamis_symbols_find_token(spm->vocabulary, (const char *)word + i, n_char),
            .prev = n - 1, /* of the first: more than n */
            .next = n + 1,
            .rank = TAMIS_NO_RANK};
    }
    w->n_pieces = n;
    for (uint32_t i = 0; i + 1 < n; i++)
        offer_pair(spm, w, word, i);
}

tamis_status tamis_spm_merge(const tamis_spm *spm, tamis_spm_work *w, const uint8_t *word,
                             size_t n_bytes, tamis_error *err) {
    if (n_bytes > INT32_MAX)
        return tamis_fail(err, TAMIS_NO_RESOURCE,
                          "a word of %zu bytes is too long to tokenize (at most %d)", n_bytes,
                          INT32_MAX);
    tamis_status st = tamis_grow(&w->pieces, &w->capacity, n_bytes, sizeof *w->pieces, err);
    /* Each merge takes a pair out and offers two: at most 3 n are ever offered. */
    if (!st)
        st = tamis_grow(&w->heap.keys, &w->heap.capacity, 3 * (uint64_t)n_bytes,
                        sizeof *w->heap.keys, err);
    if (st) return st;
    w->heap.n = 0;
    spell(spm, w, word, (uint32_t)n_bytes);
    tamis_spm_piece *pieces = w->pieces;
    while (w->heap.n) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        uint64_t key = tamis_merge_heap_pop(&w->heap);
        uint32_t i = (uint32_t)key;
        /* Stale unless the rank is still the one noted: then it says the same as a fresh one. */
        if (pieces[i].rank != (uint32_t)(key >> 32)) continue;
        tamis_spm_piece *gone = &pieces[pieces[i].next];
        pieces[i].n_bytes += gone->n_bytes;
        pieces[i].token = pieces[i].merged;
        pieces[i].next = gone->next;
        pieces[i].rank = gone->rank = TAMIS_NO_RANK;
        if (pieces[i].next < w->n_pieces) {
            pieces[pieces[i].next].prev = i;
            offer_pair(spm, w, word, i);
        }
        if (pieces[i].prev < w->n_pieces) offer_pair(spm, w, word, pieces[i].prev);
    }
    uint64_t n_left = 0;
    for (uint64_t i = 0; i < w->n_pieces; i = pieces[i].next)
        pieces[n_left++] = pieces[i];
    w->n_pieces = n_left;
    return TAMIS_OK;
}
