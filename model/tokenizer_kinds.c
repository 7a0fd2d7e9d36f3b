/* tokenizer_kinds.c - the table of tokenizer kinds, and what each of them reads from a file
 * (reference/tokenizers.md sections 2, 5, 7, 8). A new kind is a row here. */
#include "model/tokenizer_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define KEY(name) "tokenizer.ggml." name

/* --- byte-pair encoding --- */

/* Tokens of single bytes: "<0xXX>" where has_codes, else or without it the byte itself. */
static void find_byte_ids(tamis_tokenizer *t, bool has_codes, bool has_bytes) {
    for (int b = 0; b < 256; b++) {
        char code[8], byte = (char)b;
        snprintf(code, sizeof code, "<0x%02X>", (unsigned)b);
        uint32_t id = TAMIS_NO_SYMBOL;
        if (has_codes) id = tamis_symbols_find_token(t->symbols, code, strlen(code));
        if (has_bytes && id == TAMIS_NO_SYMBOL) id = tamis_symbols_find_token(t->symbols, &byte, 1);
        t->byte_ids[b] = id == TAMIS_NO_SYMBOL ? -1 : (int32_t)id;
    }
}

static tamis_status load_merges(tamis_tokenizer *t, const tamis_gguf *g, tamis_hash *hash,
                                tamis_error *err) {
    tamis_gguf_kv kv = {0};
    bool is_there = tamis_gguf_find(g, KEY("merges"), &kv);
    if (is_there && (kv.kind != TAMIS_GGUF_ARRAY || kv.elem_kind != TAMIS_GGUF_STRING))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '" KEY("merges") "': %s, not an array of strings",
                          tamis_gguf_kind_name(kv.kind));
    if (!is_there && strcmp(t->pre_name->set, "kimi_k2") != 0)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "key '" KEY("merges") "' is missing (byte-pair encoding needs its merges)");
    tamis_status st =
        tamis_bpe_new(t->symbols, t->is_mapped, is_there ? kv.n_elems : 0, &t->bpe, err);
    uint64_t cursor = 0;
    tamis_bytes line;
    for (uint32_t rank = 0; !st && is_there && tamis_gguf_kv_next_string(g, &kv, &cursor, &line);
         rank++) {
        tamis_hash_update(hash, line.data, line.n_bytes);
        tamis_hash_update(hash, "\n", 1);
        st = tamis_bpe_add_merge(t->bpe, rank, line.data, line.n_bytes, err);
    }
    return st;
}

static tamis_status load_bpe(tamis_tokenizer *t, const tamis_gguf *g, tamis_bytes pre,
                             tamis_hash *hash, tamis_error *err) {
    t->pre_name = tamis_pre_find(pre.data, pre.n_bytes, err);
    if (!t->pre_name) return TAMIS_BAD_INPUT;
    bool is_plain = t->pre_name->is_plain;
    t->rules = (tamis_text_rules){.repairs = true, .marks_spaces = is_plain};
    t->is_mapped = !is_plain;
    t->cleans_spaces = !t->pre_name->keeps_spaces;
    find_byte_ids(t, is_plain, !is_plain);
    tamis_status st = tamis_pretokenizer_new(tamis_pre_set_find(t->pre_name->set), &t->pre, err);
    return st ? st : load_merges(t, g, hash, err);
}

static tamis_status load_gpt2(tamis_tokenizer *t, const tamis_gguf *g, tamis_hash *hash,
                              tamis_error *err) {
    tamis_bytes pre;
    tamis_status st = tamis_gguf_get_string(g, KEY("pre"), &pre, err);
    if (st) return st;
    if (!pre.data) pre = (tamis_bytes){.data = "default", .n_bytes = strlen("default")};
    return load_bpe(t, g, pre, hash, err);
}

static tamis_status load_gemma4(tamis_tokenizer *t, const tamis_gguf *g, tamis_hash *hash,
                                tamis_error *err) {
    tamis_bytes pre = {.data = "gemma4", .n_bytes = strlen("gemma4")};
    return load_bpe(t, g, pre, hash, err);
}

/* --- SentencePiece --- */

/* scores: [n_vocab], all 0 when the file has none. */
static tamis_status read_scores(const tamis_tokenizer *t, const tamis_gguf *g, float *scores,
                                tamis_error *err) {
    tamis_gguf_kv kv;
    if (!tamis_gguf_find(g, KEY("scores"), &kv)) return TAMIS_OK;
    if (kv.n_elems < (uint64_t)t->n_vocab)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '" KEY("scores") "': %llu values for %d tokens",
                          (unsigned long long)kv.n_elems, t->n_vocab);
    for (int32_t id = 0; id < t->n_vocab; id++) {
        double score;
        if (!tamis_gguf_kv_double(g, &kv, (uint64_t)id, &score) || isnan(score))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "key '" KEY("scores") "': token %d has no number", id);
        scores[id] = (float)score;
    }
    return TAMIS_OK;
}

static int compare_scores(const void *a, const void *b, void *ctx) {
    const float *scores = ctx;
    float x = scores[*(const uint32_t *)a], y = scores[*(const uint32_t *)b];
    return (x < y) - (x > y);
}

/* ranks: [n_vocab] 0 for the highest score, equal for equal scores. */
static tamis_status rank_scores(const tamis_tokenizer *t, float *scores, uint32_t *ranks,
                                tamis_error *err) {
    uint32_t n = (uint32_t)t->n_vocab;
    uint32_t *order = tamis_alloc_array(n, sizeof *order, err);
    if (!order) return TAMIS_NO_RESOURCE;
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof *order, compare_scores, scores);
    for (uint32_t i = 1; i < n; i++)
        ranks[order[i]] = ranks[order[i - 1]] + (scores[order[i]] < scores[order[i - 1]]);
    free(order);
    return TAMIS_OK;
}

static tamis_status load_llama(tamis_tokenizer *t, const tamis_gguf *g, tamis_hash *hash,
                               tamis_error *err) {
    uint32_t *ranks = tamis_alloc_array((uint64_t)t->n_vocab, sizeof *ranks, err);
    float *scores = tamis_alloc_array((uint64_t)t->n_vocab, sizeof *scores, err);
    tamis_status st = ranks && scores ? TAMIS_OK : TAMIS_NO_RESOURCE;
    if (!st) st = read_scores(t, g, scores, err);
    if (!st) st = rank_scores(t, scores, ranks, err);
    if (st) goto out;
    t->rules = (tamis_text_rules){.marks_spaces = true, .adds_space = t->adds_space};
    find_byte_ids(t, true, true);
    for (int32_t id = 0; id < t->n_vocab; id++)
        tamis_hash_number(hash, ranks[id]);
    tamis_hash_number(hash, t->adds_space);
    tamis_hash_number(hash, t->unk);
    st = tamis_spm_new(t->symbols, ranks, &t->spm, err);
    ranks = NULL;
out:
    free(scores);
    free(ranks);
    return st;
}

/* --- the table --- */

/* clang-format off */
static const tamis_tokenizer_kind kinds[] = {
    {.name = "gpt2",   .bos = 11, .eos = 11, .unk = -1, .load = load_gpt2,   .encode = tamis_encode_bpe},
    {.name = "llama",  .bos = 1,  .eos = 2,  .unk = 0,  .load = load_llama,  .encode = tamis_encode_spm,
        .adds_bos = true, .adds_space = true},
    {.name = "gemma4", .bos = -1, .eos = -1, .unk = -1, .load = load_gemma4, .encode = tamis_encode_bpe},
};
/* clang-format on */

/* Kinds that other tools know. */
static const struct {
    const char *name, *algorithm;
} others[] = {{"t5", "Unigram"},     {"bert", "WordPiece"},   {"rwkv", "RWKV"},
              {"plamo2", "PLaMo 2"}, {"hybriddna", "k-mers"}, {"whitespace", "words"}};

tamis_status tamis_tokenizer_find_kind(const tamis_gguf *g, const tamis_tokenizer_kind **out,
                                       tamis_error *err) {
    tamis_bytes kind;
    char shown[64];
    tamis_status st = tamis_gguf_get_string(g, KEY("model"), &kind, err);
    if (st) return st;
    if (!kind.data)
        return tamis_fail(err, TAMIS_BAD_INPUT, "no tokenizer: key '" KEY("model") "' is missing");
    tamis_escape(kind.data, kind.n_bytes, shown, sizeof shown);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(shown, kinds[i].name) != 0) continue;
        *out = &kinds[i];
        return TAMIS_OK;
    }
    if (strcmp(shown, "none") == 0 || strcmp(shown, "no_vocab") == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "no tokenizer: key '" KEY("model") "' is '%s'",
                          shown);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(shown, others[i].name) == 0)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "tokenizer kind '%s' (%s) is not supported (supported: gpt2, llama, "
                              "gemma4)",
                              shown, others[i].algorithm);
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "key '" KEY("model") "': unknown tokenizer kind '%s' (supported: gpt2, "
                                           "llama, gemma4)",
                      shown);
}
