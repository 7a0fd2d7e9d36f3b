/* vocabulary.c - what the tokenizer's keys say about each other.
 * 1 to 2^24 tokens, all different; as many scores and types as tokens, of the exact
 * element kind; merges of tokens that exist. The meaning of the texts is the
 * tokenizer's business. Rule 15 of reference/gguf-threats.md section 2. */
#include <string.h>

#include "gguf/gguf_internal.h"

typedef unsigned long long ull;

enum { MAX_TOKENS = 1 << 24, FIRST_TOKEN_TYPE = 1, LAST_TOKEN_TYPE = 6 };

static tamis_status check_parallel(const gguf_file *f, const char *key, tamis_gguf_kind elem_kind,
                                   uint64_t n_tokens, tamis_error *err) {
    tamis_gguf_kv kv;
    if (!gguf_file_find(f, key, &kv)) return TAMIS_OK;
    if (kv.kind != TAMIS_GGUF_ARRAY || kv.elem_kind != elem_kind)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' must be an array of %s, it is %s%s", key,
                          tamis_gguf_kind_name(elem_kind),
                          kv.kind == TAMIS_GGUF_ARRAY ? "an array of " : "",
                          tamis_gguf_kind_name(kv.elem_kind));
    if (kv.n_elems != n_tokens)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' has %llu values for %llu tokens", key,
                          (ull)kv.n_elems, (ull)n_tokens);
    return TAMIS_OK;
}

static tamis_status check_token_types(const gguf_file *f, tamis_error *err) {
    tamis_gguf_kv kv;
    if (!gguf_file_find(f, "tokenizer.ggml.token_type", &kv)) return TAMIS_OK;
    for (uint64_t i = 0; i < kv.n_elems; i++) {
        int64_t type = 0;
        if (gguf_file_int(f, &kv, i, &type) && type >= FIRST_TOKEN_TYPE && type <= LAST_TOKEN_TYPE)
            continue;
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'tokenizer.ggml.token_type': unknown token type %lld of token %llu "
                          "(%d to %d are known)",
                          (long long)type, (ull)i, FIRST_TOKEN_TYPE, LAST_TOKEN_TYPE);
    }
    return TAMIS_OK;
}

/* Number of the token whose string lies at an offset of the header. */
static uint64_t token_number(const gguf_file *f, const tamis_gguf_kv *tokens, uint32_t offset) {
    uint64_t cursor = 0;
    tamis_bytes unused;
    for (uint64_t i = 0; gguf_file_next_string(f, tokens, &cursor, &unused); i++)
        if (cursor > offset) return i;
    return 0;
}

tamis_status gguf_index_tokens(const gguf_file *f, const tamis_gguf_kv *tokens,
                               tamis_name_index *index, tamis_error *err) {
    tamis_status st = tamis_name_index_init(index, tokens->n_elems, err);
    if (st) return st;
    uint64_t cursor = 0;
    tamis_bytes token;
    for (uint64_t i = 0; gguf_file_next_string(f, tokens, &cursor, &token); i++) {
        uint32_t offset = (uint32_t)((const uint8_t *)token.data - f->head - 8);
        uint32_t other = tamis_name_index_add(index, gguf_string_at, f, offset);
        if (!other) continue;
        char quoted[GGUF_QUOTE_BYTES];
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'tokenizer.ggml.tokens': token '%s' twice (%llu and %llu)",
                          gguf_quote(token, quoted), (ull)token_number(f, tokens, other), (ull)i);
    }
    return TAMIS_OK;
}

bool gguf_split_merge(tamis_bytes merge, tamis_bytes *left, tamis_bytes *right) {
    const char *space = merge.n_bytes > 1 ? memchr(merge.data + 1, ' ', merge.n_bytes - 1) : NULL;
    size_t n_left = space ? (size_t)(space - merge.data) : 0;
    if (!space || n_left + 1 == merge.n_bytes) return false;
    *left = (tamis_bytes){merge.data, n_left};
    *right = (tamis_bytes){space + 1, merge.n_bytes - n_left - 1};
    return true;
}

/* Merges name tokens that exist (what they give need not be one). A list in which no merge does is
 * inert, as in vocabularies without letters, and passes. */
static tamis_status check_merges(const gguf_file *f, const tamis_name_index *index,
                                 tamis_error *err) {
    tamis_gguf_kv kv;
    tamis_bytes merge, left, right, first_missing = {0};
    uint64_t cursor = 0, n_sound = 0, i_missing = 0;
    char quoted[GGUF_QUOTE_BYTES];
    if (!gguf_file_find(f, "tokenizer.ggml.merges", &kv)) return TAMIS_OK;
    for (uint64_t i = 0; gguf_file_next_string(f, &kv, &cursor, &merge); i++) {
        if (!gguf_split_merge(merge, &left, &right))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "key 'tokenizer.ggml.merges': merge %llu ('%s') is malformed: it is "
                              "not two texts with a space between",
                              (ull)i, gguf_quote(merge, quoted));
        if (tamis_name_index_find(index, gguf_string_at, f, left) &&
            tamis_name_index_find(index, gguf_string_at, f, right)) {
            n_sound++;
        } else if (!first_missing.data) {
            first_missing = merge;
            i_missing = i;
        }
    }
    if (!first_missing.data || !n_sound) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "key 'tokenizer.ggml.merges': merge %llu ('%s') names a token that does not "
                      "exist",
                      (ull)i_missing, gguf_quote(first_missing, quoted));
}

tamis_status gguf_check_vocabulary(const gguf_file *f, tamis_error *err) {
    tamis_gguf_kv tokens;
    if (!gguf_file_find(f, "tokenizer.ggml.tokens", &tokens)) return TAMIS_OK;
    if (!tokens.n_elems || tokens.n_elems > MAX_TOKENS)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'tokenizer.ggml.tokens' has %llu tokens: a vocabulary needs at "
                          "least one token, and at most %d",
                          (ull)tokens.n_elems, MAX_TOKENS);
    tamis_name_index index = {0};
    tamis_status st =
        check_parallel(f, "tokenizer.ggml.scores", TAMIS_GGUF_F32, tokens.n_elems, err);
    if (!st)
        st = check_parallel(f, "tokenizer.ggml.token_type", TAMIS_GGUF_I32, tokens.n_elems, err);
    if (!st) st = check_token_types(f, err);
    if (!st) st = gguf_index_tokens(f, &tokens, &index, err);
    if (!st) st = check_merges(f, &index, err);
    tamis_name_index_release(&index);
    return st;
}
