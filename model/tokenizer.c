/* tokenizer.c - building a tokenizer from the tokenizer.* keys of a file, and what it
 * says of itself. Keys and defaults: reference/tokenizers.md sections 1 to 3.
 * What only one kind reads: tokenizer_kinds.c. */
#include "model/tokenizer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"

#define KEY(name) "tokenizer.ggml." name

static tamis_status load_tokens(tamis_tokenizer *t, const tamis_gguf *g, tamis_error *err) {
    tamis_gguf_kv kv;
    bool is_there = tamis_gguf_find(g, KEY("tokens"), &kv);
    if (is_there && (kv.kind != TAMIS_GGUF_ARRAY || kv.elem_kind != TAMIS_GGUF_STRING))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '" KEY("tokens") "': %s, not an array of strings",
                          tamis_gguf_kind_name(kv.kind));
    if (!is_there || kv.n_elems == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "no tokenizer: key '" KEY("tokens") "' is %s",
                          is_there ? "empty" : "missing");
    tamis_status st = TAMIS_OK;
    uint64_t cursor = 0;
    tamis_bytes text;
    for (uint64_t id = 0; !st && tamis_gguf_kv_next_string(g, &kv, &cursor, &text); id++) {
        char name[32];
        if (text.n_bytes == 0) {
            text.data = name;
            text.n_bytes =
                (size_t)snprintf(name, sizeof name, "[EMPTY_%llu]", (unsigned long long)id);
        }
        st = tamis_symbols_add_token(t->symbols, text.data, text.n_bytes, err);
    }
    t->n_vocab = (int32_t)tamis_symbols_n_tokens(t->symbols);
    return st;
}

static tamis_status load_types(tamis_tokenizer *t, const tamis_gguf *g, tamis_error *err) {
    /* By number of the type; 0 is undefined. */
    static const uint8_t attr_of_type[] = {0,
                                           TAMIS_ATTR_NORMAL,
                                           TAMIS_ATTR_UNKNOWN,
                                           TAMIS_ATTR_CONTROL,
                                           TAMIS_ATTR_USER_DEFINED,
                                           TAMIS_ATTR_UNUSED,
                                           TAMIS_ATTR_BYTE};
    t->attrs = tamis_alloc_array((uint64_t)t->n_vocab, sizeof *t->attrs, err);
    if (!t->attrs) return TAMIS_NO_RESOURCE;
    tamis_gguf_kv kv;
    if (!tamis_gguf_find(g, KEY("token_type"), &kv)) {
        memset(t->attrs, TAMIS_ATTR_NORMAL, (size_t)t->n_vocab);
        return TAMIS_OK;
    }
    if (kv.kind != TAMIS_GGUF_ARRAY || kv.n_elems != (uint64_t)t->n_vocab)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '" KEY("token_type") "': %llu values for %d tokens",
                          (unsigned long long)kv.n_elems, t->n_vocab);
    for (int32_t id = 0; id < t->n_vocab; id++) {
        int64_t type;
        if (!tamis_gguf_kv_int(g, &kv, (uint64_t)id, &type))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "key '" KEY("token_type") "': %s, not an array of integers",
                              tamis_gguf_kind_name(kv.elem_kind));
        bool is_known = type >= 0 && type < (int64_t)sizeof attr_of_type;
        t->attrs[id] = is_known ? attr_of_type[type] : 0;
    }
    return TAMIS_OK;
}

/* A special id; one that is out of range counts as absent. */
static tamis_status load_id(const tamis_tokenizer *t, const tamis_gguf *g, const char *key,
                            int32_t fallback, int32_t *out, tamis_error *err) {
    int64_t id;
    tamis_status st = tamis_gguf_get_int(g, key, INT32_MIN, UINT32_MAX, -1, &id, err);
    if (st) return st;
    *out = id >= 0 && id < t->n_vocab ? (int32_t)id : fallback < t->n_vocab ? fallback : -1;
    return TAMIS_OK;
}

/* Special ids but BOS, and what is added. */
static tamis_status load_special_ids(tamis_tokenizer *t, const tamis_gguf *g, tamis_error *err) {
    const tamis_tokenizer_kind *kind = t->kind;
    tamis_status st = load_id(t, g, KEY("eos_token_id"), kind->eos, &t->eos, err);
    if (!st) st = load_id(t, g, KEY("unknown_token_id"), kind->unk, &t->unk, err);
    if (!st) st = tamis_gguf_get_bool(g, KEY("add_eos_token"), false, &t->adds_eos, err);
    if (!st)
        st = tamis_gguf_get_bool(g, KEY("add_space_prefix"), kind->adds_space, &t->adds_space, err);
    return st;
}

/* BOS and whether it is added: the pre-tokenizer has its say. */
static tamis_status load_bos(tamis_tokenizer *t, const tamis_gguf *g, tamis_error *err) {
    static const tamis_pre_name none = {0};
    const tamis_pre_name *pre = t->pre_name ? t->pre_name : &none;
    int32_t default_bos = pre->has_no_default_bos ? -1 : t->kind->bos;
    bool adds_bos = t->kind->adds_bos || pre->adds_bos;
    tamis_status st = load_id(t, g, KEY("bos_token_id"), default_bos, &t->bos, err);
    if (!st) st = tamis_gguf_get_bool(g, KEY("add_bos_token"), adds_bos, &t->adds_bos, err);
    t->adds_bos |= pre->always_adds_bos;
    return st;
}

void tamis_hash_number(tamis_hash *hash, int64_t value) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
    tamis_hash_update(hash, bytes, sizeof bytes);
}

/* Everything that decides ids, in effect rather than in name: aliases of one set are alike. What
 * the kind alone knows went in before. */
static void hash_rules(const tamis_tokenizer *t, tamis_hash *hash) {
    for (int32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *text = tamis_symbols_text(t->symbols, (uint32_t)id, &n);
        tamis_hash_number(hash, (int64_t)n);
        tamis_hash_update(hash, text, n);
    }
    tamis_hash_update(hash, t->attrs, (size_t)t->n_vocab);
    const char *rules = t->pre_name ? t->pre_name->set : t->kind->name;
    tamis_hash_update(hash, rules, strlen(rules) + 1);
    int64_t numbers[] = {
        t->n_vocab, t->pre_name ? t->pre_name->whole : 0, t->bos, t->eos, t->adds_bos, t->adds_eos};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        tamis_hash_number(hash, numbers[i]);
}

static tamis_status load(tamis_tokenizer *t, const tamis_gguf *g, tamis_hash *hash,
                         tamis_error *err) {
    tamis_status st = tamis_tokenizer_find_kind(g, &t->kind, err);
    if (!st) st = tamis_symbols_new(&t->symbols, err);
    if (!st) st = load_tokens(t, g, err);
    if (!st) st = load_types(t, g, err);
    if (!st) st = load_special_ids(t, g, err);
    if (!st) st = t->kind->load(t, g, hash, err);
    if (!st) st = load_bos(t, g, err);
    if (st) return st;
    tamis_tokenizer_fix_attrs(t, g);
    for (int i = 0; !st && i < 2; i++)
        st = tamis_specials_init(&t->specials[i], t, i == 1, err);
    return st;
}

tamis_status tamis_tokenizer_new(const tamis_gguf *g, tamis_tokenizer **out, tamis_error *err) {
    *out = NULL;
    tamis_hash *hash = NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    tamis_tokenizer *t = tamis_alloc_array(1, sizeof *t, err);
    if (!t) goto out;
    st = tamis_hash_new(TAMIS_HASH_XXH3_128, &hash, err);
    if (!st) st = load(t, g, hash, err);
    if (st) goto out;
    hash_rules(t, hash);
    char hex[TAMIS_HASH_HEX_MAX];
    memcpy(t->hash, tamis_hash_hex(hash, hex), 32);
    *out = t;
    t = NULL;
out:
    if (st) tamis_fail_prefix(err, "%s", tamis_gguf_path(g));
    tamis_hash_free(hash);
    tamis_tokenizer_free(t);
    return st;
}

void tamis_tokenizer_free(tamis_tokenizer *t) {
    if (!t) return;
    tamis_spm_free(t->spm);
    tamis_bpe_free(t->bpe);
    tamis_pretokenizer_free(t->pre);
    tamis_symbols_free(t->symbols);
    for (int i = 0; i < 2; i++)
        tamis_specials_release(&t->specials[i]);
    free(t->attrs);
    free(t);
}

int32_t tamis_tokenizer_n_vocab(const tamis_tokenizer *t) {
    return t->n_vocab;
}

int32_t tamis_tokenizer_bos(const tamis_tokenizer *t) {
    return t->bos;
}

int32_t tamis_tokenizer_eos(const tamis_tokenizer *t) {
    return t->eos;
}

bool tamis_tokenizer_adds_bos(const tamis_tokenizer *t) {
    return t->adds_bos;
}

void tamis_tokenizer_hash(const tamis_tokenizer *t, char hex[33]) {
    memcpy(hex, t->hash, 33);
}
