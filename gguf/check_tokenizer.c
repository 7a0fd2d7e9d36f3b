/* check_tokenizer.c - does a tokenizer agree with itself?
 * What breaks it outright was refused at opening (vocabulary.c, known_keys.c). Here: special
 * tokens that are missing or of the wrong type, bytes without a token, merges that give none or
 * are there twice, texts of the chat template that are no tokens. Rules and defaults:
 * reference/tokenizers.md sections 1 to 5. The template is searched, never rendered. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "gguf/check_internal.h"
#include "gguf/contents.h"

typedef long long ll;
typedef unsigned long long ull;

enum { TYPE_NORMAL = 1, NO_TOKEN = -1 };

typedef struct tokenizer {
    const tamis_gguf *g;
    const gguf_file *f;
    gguf_remarks to;
    tamis_gguf_kv tokens, types; /* types.n_elems 0: none */
    tamis_name_index index;
    tamis_bytes model;
} tokenizer;

/* Kinds of tokenizer: reference/tokenizers.md section 2. */
typedef struct model_rule {
    const char *name;
    int32_t bos, eos, unknown; /* defaults; NO_TOKEN = none */
    bool adds_bos;
    bool wants_scores, wants_merges, has_byte_tokens, has_byte_map;
} model_rule;

/* clang-format off */
static const model_rule models[] = {
    { "llama",      1,        2,        0,        true,  true,  false, true,  false },
    { "gpt2",       11,       11,       NO_TOKEN, false, false, true,  false, true  },
    { "gemma4",     NO_TOKEN, NO_TOKEN, NO_TOKEN, true,  false, true,  true,  false },
    { "t5",         NO_TOKEN, 1,        2,        false, true,  false, false, false },
    { "bert",       101,      102,      100,      true,  false, false, false, false },
    { "rwkv",       NO_TOKEN, NO_TOKEN, NO_TOKEN, false, false, false, false, false },
    { "plamo2",     1,        2,        0,        false, false, false, false, false },
    { "hybriddna",  NO_TOKEN, NO_TOKEN, NO_TOKEN, false, false, true,  false, false },
    { "whitespace", NO_TOKEN, NO_TOKEN, NO_TOKEN, false, false, false, false, false },
    { "none",       NO_TOKEN, NO_TOKEN, NO_TOKEN, false, false, false, false, false },
    { "no_vocab",   NO_TOKEN, NO_TOKEN, NO_TOKEN, false, false, false, false, false },
};

/* Tokens that steer generation, and so must not be ordinary text. */
static const char *const steering[] = { "bos", "eos", "eot", "eom" };
/* clang-format on */

static const char *quote_token(const tokenizer *t, uint64_t id, char out[GGUF_QUOTE_BYTES]) {
    tamis_bytes text = {"", 0};
    (void)tamis_gguf_kv_string(t->g, &t->tokens, id, &text);
    return gguf_quote(text, out);
}

static bool has_token(const tokenizer *t, const char *text, size_t n_bytes) {
    return tamis_name_index_find(&t->index, gguf_string_at, t->f, (tamis_bytes){text, n_bytes}) !=
           0;
}

/* Id that `tokenizer.ggml.<name>_token_id` gives; NO_TOKEN when it is absent. */
static int64_t token_id(const tokenizer *t, const char *name) {
    char key[64];
    tamis_gguf_kv kv;
    int64_t id;
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    if (!tamis_gguf_find(t->g, key, &kv) || !tamis_gguf_kv_int(t->g, &kv, 0, &id)) return NO_TOKEN;
    return id;
}

static int64_t type_of(const tokenizer *t, uint64_t id) {
    int64_t type = TYPE_NORMAL;
    if (t->types.n_elems) (void)tamis_gguf_kv_int(t->g, &t->types, id, &type);
    return type;
}

/* --- special tokens --- */

static void check_default(const tokenizer *t, const char *name, int32_t id) {
    char quoted[GGUF_QUOTE_BYTES];
    if (id < 0 || token_id(t, name) != NO_TOKEN) return;
    if ((uint64_t)id >= t->tokens.n_elems)
        gguf_remark(&t->to, TAMIS_CHECK_WARNING,
                    "there is no %s_token_id, and its default %d is beyond the %llu tokens", name,
                    id, (ull)t->tokens.n_elems);
    else
        gguf_remark(&t->to, TAMIS_CHECK_WARNING, "there is no %s_token_id: readers take %d ('%s')",
                    name, id, quote_token(t, (uint64_t)id, quoted));
}

static void check_specials(const tokenizer *t, const model_rule *rule) {
    char quoted[GGUF_QUOTE_BYTES];
    bool adds_bos = rule->adds_bos;
    check_default(t, "eos", rule->eos);
    check_default(t, "bos", rule->adds_bos ? rule->bos : NO_TOKEN);
    if (token_id(t, "eos") == NO_TOKEN && rule->eos == NO_TOKEN)
        gguf_remark(&t->to, TAMIS_CHECK_WARNING,
                    "there is no eos_token_id: generation ends at a limit only");
    (void)!tamis_gguf_get_bool(t->g, "tokenizer.ggml.add_bos_token", adds_bos, &adds_bos, NULL);
    if (adds_bos && token_id(t, "bos") == NO_TOKEN && rule->bos == NO_TOKEN)
        gguf_remark(&t->to, TAMIS_CHECK_WARNING,
                    "texts are to begin with BOS and there is no bos_token_id");
    for (size_t i = 0; i < sizeof steering / sizeof steering[0]; i++) {
        const int64_t id = token_id(t, steering[i]);
        if (id < 0 || (uint64_t)id >= t->tokens.n_elems) continue;
        if (!t->types.n_elems || type_of(t, (uint64_t)id) != TYPE_NORMAL) continue;
        gguf_remark(
            &t->to, TAMIS_CHECK_WARNING,
            "token %lld ('%s') is %s_token_id and of type normal: it is matched as text and "
            "shown",
            (ll)id, quote_token(t, (uint64_t)id, quoted), steering[i]);
    }
}

/* --- tokens --- */

static void check_texts(const tokenizer *t) {
    uint64_t cursor = 0, n_empty = 0, first_empty = 0, n_invalid = 0, first_invalid = 0;
    tamis_bytes text;
    for (uint64_t i = 0; tamis_gguf_kv_next_string(t->g, &t->tokens, &cursor, &text); i++) {
        if (!text.n_bytes && !n_empty++) first_empty = i;
        if (!tamis_utf8_is_valid(text.data, text.n_bytes) && !n_invalid++) first_invalid = i;
    }
    if (n_empty)
        gguf_remark(&t->to, TAMIS_CHECK_WARNING, "%llu token%s empty, the first is %llu",
                    (ull)n_empty, n_empty == 1 ? " is" : "s are", (ull)first_empty);
    if (n_invalid)
        gguf_remark(&t->to, TAMIS_CHECK_NOTE, "%llu token%s no valid UTF-8, the first is %llu",
                    (ull)n_invalid, n_invalid == 1 ? " is" : "s are", (ull)first_invalid);
}

static void check_scores(const tokenizer *t, const model_rule *rule) {
    tamis_gguf_kv scores;
    uint64_t n_bad = 0, first = 0;
    if (!tamis_gguf_find(t->g, "tokenizer.ggml.scores", &scores)) {
        if (rule->wants_scores)
            gguf_remark(&t->to, TAMIS_CHECK_ERROR,
                        "there are no scores, and a '%s' tokenizer chooses by them", rule->name);
        return;
    }
    for (uint64_t i = 0; i < scores.n_elems; i++) {
        double score = 0;
        if (tamis_gguf_kv_double(t->g, &scores, i, &score) && isfinite(score)) continue;
        if (!n_bad++) first = i;
    }
    if (n_bad)
        gguf_remark(&t->to, TAMIS_CHECK_ERROR, "%llu scores are not finite, the first is %llu",
                    (ull)n_bad, (ull)first);
}

/* Code point that stands for a byte in byte-level BPE: reference/tokenizers.md section 5. */
static uint32_t mapped_byte(int byte) {
    const bool is_itself =
        (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    if (is_itself) return (uint32_t)byte;
    if (byte <= 0x20) return 0x100 + (uint32_t)byte;
    return byte == 0xAD ? 0x143 : 0x100 + 0x21 + (uint32_t)byte - 0x7F;
}

static bool has_byte(const tokenizer *t, const model_rule *rule, int byte) {
    char text[8];
    if (rule->has_byte_map) {
        const uint32_t c = mapped_byte(byte);
        text[0] = (char)(c < 0x80 ? c : 0xC0 | c >> 6);
        text[1] = (char)(0x80 | (c & 0x3F));
        return has_token(t, text, c < 0x80 ? 1 : 2);
    }
    snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
    return has_token(t, text, strlen(text));
}

static void check_bytes(const tokenizer *t, const model_rule *rule) {
    int n_missing = 0, first = 0;
    if (!rule->has_byte_map && !rule->has_byte_tokens) return;
    for (int b = 0; b < 256; b++)
        if (!has_byte(t, rule, b) && !n_missing++) first = b;
    if (n_missing)
        gguf_remark(&t->to, TAMIS_CHECK_WARNING,
                    "%d of the 256 bytes have no token, the first is 0x%02X: texts with them are "
                    "not kept whole",
                    n_missing, (unsigned)first);
}

/* --- merges --- */

/* What was wrong with merges in one way: how often, and the first. */
typedef struct merge_fault {
    uint64_t n, i_first;
    tamis_bytes first;
} merge_fault;

static void count_fault(merge_fault *fault, uint64_t i, tamis_bytes merge) {
    if (fault->n++) return;
    fault->i_first = i;
    fault->first = merge;
}

static void remark_fault(const tokenizer *t, const merge_fault *fault, uint64_t n_merges,
                         const char *what) {
    char quoted[GGUF_QUOTE_BYTES];
    if (fault->n)
        gguf_remark(&t->to, TAMIS_CHECK_WARNING, "%llu of %llu merges %s, the first is %llu ('%s')",
                    (ull)fault->n, (ull)n_merges, what, (ull)fault->i_first,
                    gguf_quote(fault->first, quoted));
}

static tamis_status walk_merges(const tokenizer *t, const tamis_gguf_kv *merges,
                                tamis_name_index *seen, tamis_error *err) {
    merge_fault no_part = {0}, no_result = {0}, repeated = {0};
    uint64_t cursor = 0, capacity = 0;
    tamis_bytes merge, left, right;
    char *joined = NULL;
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; gguf_file_next_string(t->f, merges, &cursor, &merge); i++) {
        const uint32_t offset = (uint32_t)((const uint8_t *)merge.data - t->f->head - 8);
        if (!gguf_split_merge(merge, &left, &right)) continue; /* refused at opening */
        if (tamis_name_index_add(seen, gguf_string_at, t->f, offset))
            count_fault(&repeated, i, merge);
        if (!has_token(t, left.data, left.n_bytes) || !has_token(t, right.data, right.n_bytes))
            count_fault(&no_part, i, merge);
        st = tamis_grow(&joined, &capacity, merge.n_bytes, 1, err);
        if (st) break;
        memcpy(joined, left.data, left.n_bytes);
        memcpy(joined + left.n_bytes, right.data, right.n_bytes);
        if (!has_token(t, joined, left.n_bytes + right.n_bytes)) count_fault(&no_result, i, merge);
    }
    free(joined);
    if (st) return st;
    remark_fault(t, &no_part, merges->n_elems, "join what is no token");
    remark_fault(t, &no_result, merges->n_elems, "give no token");
    remark_fault(t, &repeated, merges->n_elems, "are there twice (the first one counts)");
    return TAMIS_OK;
}

static tamis_status check_merges(const tokenizer *t, const model_rule *rule, tamis_error *err) {
    tamis_gguf_kv merges;
    tamis_name_index seen = {0};
    if (!tamis_gguf_find(t->g, "tokenizer.ggml.merges", &merges)) {
        if (rule->wants_merges)
            gguf_remark(&t->to, TAMIS_CHECK_WARNING,
                        "there are no merges: readers refuse a '%s' tokenizer without", rule->name);
        return TAMIS_OK;
    }
    tamis_status st = tamis_name_index_init(&seen, merges.n_elems, err);
    if (!st) st = walk_merges(t, &merges, &seen, err);
    tamis_name_index_release(&seen);
    return st;
}

/* --- chat template --- */

/* Bytes of "<|...|>" (or with the full-width bar) at text[0]; 0 when there is none. */
static size_t marker_bytes(const char *text, size_t n_bytes) {
    static const char *const bars[] = {"|", "\xEF\xBD\x9C"};
    enum { MAX_MARKER_BYTES = 64 };
    for (size_t b = 0; b < sizeof bars / sizeof bars[0]; b++) {
        const size_t n_bar = strlen(bars[b]);
        if (n_bytes < 2 * n_bar + 3 || text[0] != '<' || memcmp(text + 1, bars[b], n_bar)) continue;
        for (size_t i = 1 + n_bar; i + n_bar < n_bytes && i < MAX_MARKER_BYTES; i++) {
            if (strchr(" \t\n\r'\"<>{}", text[i])) break;
            if (!memcmp(text + i, bars[b], n_bar) && text[i + n_bar] == '>') return i + n_bar + 1;
        }
    }
    return 0;
}

static void check_template(const tokenizer *t) {
    tamis_bytes text, first = {0};
    uint64_t n_missing = 0;
    char quoted[GGUF_QUOTE_BYTES];
    if (tamis_gguf_get_string(t->g, "tokenizer.chat_template", &text, NULL) || !text.data) return;
    for (size_t i = 0; i < text.n_bytes; i++) {
        const size_t n = text.data[i] == '<' ? marker_bytes(text.data + i, text.n_bytes - i) : 0;
        if (!n || has_token(t, text.data + i, n)) continue;
        if (!n_missing++) first = (tamis_bytes){text.data + i, n};
    }
    if (n_missing)
        gguf_remark(&t->to, TAMIS_CHECK_WARNING,
                    "the chat template has %llu marker%s that %s no token, the first is '%s'",
                    (ull)n_missing, n_missing == 1 ? "" : "s", n_missing == 1 ? "is" : "are",
                    gguf_quote(first, quoted));
}

/* --- all of it --- */

static const model_rule *rule_of(const tokenizer *t) {
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (strlen(models[i].name) == t->model.n_bytes &&
            !memcmp(models[i].name, t->model.data, t->model.n_bytes))
            return &models[i];
    return NULL;
}

static tamis_status check_rules(tokenizer *t, const model_rule *rule, tamis_error *err) {
    tamis_gguf_kv kv;
    if (rule->has_byte_map && !tamis_gguf_find(t->g, "tokenizer.ggml.pre", &kv))
        gguf_remark(&t->to, TAMIS_CHECK_WARNING,
                    "there is no tokenizer.ggml.pre: readers cut words by the default rule");
    if (rule->has_byte_tokens && !t->types.n_elems)
        gguf_remark(&t->to, TAMIS_CHECK_WARNING,
                    "there are no token types: control and byte tokens are taken for text");
    check_specials(t, rule);
    check_scores(t, rule);
    check_bytes(t, rule);
    return check_merges(t, rule, err);
}

tamis_status tamis_gguf_check_tokenizer(const tamis_gguf *g, tamis_remark_fn *found, void *ctx,
                                        tamis_error *err) {
    tokenizer t = {.g = g, .f = &g->files[0], .to = {"tokenizer", found, ctx}};
    tamis_status st = tamis_gguf_get_string(g, "tokenizer.ggml.model", &t.model, err);
    if (st) return st;
    if (!tamis_gguf_find(g, "tokenizer.ggml.tokens", &t.tokens)) {
        if (!tamis_gguf_is_mmproj(g)) gguf_remark(&t.to, TAMIS_CHECK_NOTE, "there is none");
        return TAMIS_OK;
    }
    if (!tamis_gguf_find(g, "tokenizer.ggml.token_type", &t.types)) t.types.n_elems = 0;
    st = gguf_index_tokens(t.f, &t.tokens, &t.index, err);
    if (st) goto out;
    const model_rule *rule = t.model.data ? rule_of(&t) : NULL;
    char quoted[GGUF_QUOTE_BYTES];
    if (!t.model.data)
        gguf_remark(&t.to, TAMIS_CHECK_ERROR,
                    "there is no tokenizer.ggml.model: nobody can use the tokens");
    else if (!rule)
        gguf_remark(&t.to, TAMIS_CHECK_WARNING, "its model '%s' is unknown",
                    gguf_quote(t.model, quoted));
    check_texts(&t);
    if (rule) st = check_rules(&t, rule, err);
    if (!st) check_template(&t);
out:
    tamis_name_index_release(&t.index);
    return st;
}
