/* tokenizer_special.c - which tokens are special, and cutting raw text at them.
 * Precedence is by length of the token text, not by place (reference/tokenizers.md
 * section 4). One scan finds which special tokens occur at all, so that hundreds of
 * them cost nothing on text that has none. */
#include "model/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "base/threads.h"

/* clang-format off */
/* Ends of generation: CONTROL whatever their type. */
static const char *const end_texts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
    "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
    "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
    "<｜end▁of▁sentence｜>", "[e~[",
};
/* Infill tokens by key: the first text that exists is CONTROL when the key is absent. */
typedef struct infill_kind {
    const char *key;
    const char *texts[6];
} infill_kind;
static const infill_kind infill[] = {
    {"tokenizer.ggml.fim_pre_token_id", {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",
        "<｜fim▁begin｜>", "<PRE>"}},
    {"tokenizer.ggml.fim_suf_token_id", {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",
        "<｜fim▁hole｜>", "<SUF>"}},
    {"tokenizer.ggml.fim_mid_token_id", {"<|fim_middle|>", "<fim-middle>", "<fim_middle>",
        "<｜fim▁end｜>", "<MID>"}},
    {"tokenizer.ggml.fim_pad_token_id", {"<|fim_pad|>", "<fim-pad>", "<fim_pad>"}},
    {"tokenizer.ggml.fim_rep_token_id", {"<|repo_name|>", "<|fim_repo|>", "<fim-repo>", "<reponame>"}},
    {"tokenizer.ggml.fim_sep_token_id", {"<|file_sep|>"}},
};
/* Tokens that take the white space before them, by a part of a key's value. */
typedef struct strip_rule {
    const char *key, *text;
    const char *parts[4];
} strip_rule;
static const strip_rule strip_rules[] = {
    {"tokenizer.ggml.pre", "<mask>", {"jina-v2-de", "jina-v2-es", "jina-v2-code"}},
    {"general.architecture", "<mask>", {"nomic-bert-moe", "jina-bert-v3"}},
    {"general.name", "[MASK]", {"modern-bert"}},
};
static const char *const channel_texts[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};
/* clang-format on */

/* Attributes of the tokens that are looked for in text. */
#define SPECIAL (TAMIS_ATTR_CONTROL | TAMIS_ATTR_UNKNOWN | TAMIS_ATTR_USER_DEFINED)
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Attributes of the token with that text, or NULL. */
static uint8_t *find_attrs(tamis_tokenizer *t, const char *text) {
    uint32_t id = tamis_symbols_find_token(t->symbols, text, strlen(text));
    return id == TAMIS_NO_SYMBOL ? NULL : &t->attrs[id];
}

static bool add_attr(tamis_tokenizer *t, const char *text, uint8_t attr) {
    uint8_t *attrs = find_attrs(t, text);
    if (attrs) *attrs |= attr;
    return attrs != NULL;
}

/* Messages made of channels: their marks are text, and so is an end that ends no turn. */
static void fix_channels(tamis_tokenizer *t) {
    for (size_t i = 0; i < COUNT(channel_texts); i++) {
        uint8_t *attrs = find_attrs(t, channel_texts[i]);
        if (attrs) *attrs = TAMIS_ATTR_USER_DEFINED;
    }
    uint8_t *end = find_attrs(t, "<|end|>");
    bool calls = find_attrs(t, "<|call|>") || find_attrs(t, "<|calls|>");
    bool ends_otherwise = find_attrs(t, "<|return|>") || find_attrs(t, "<|flush|>");
    if (end && calls && ends_otherwise) *end = TAMIS_ATTR_USER_DEFINED;
}

/* --- white space around special tokens --- */

/* Does the value of a key hold one of the parts, case ignored? */
static bool value_holds(const tamis_gguf *g, const char *key, const char *const *parts) {
    tamis_gguf_kv kv;
    tamis_bytes value;
    if (!tamis_gguf_find(g, key, &kv) || !tamis_gguf_kv_string(g, &kv, 0, &value)) return false;
    for (; *parts; parts++)
        for (size_t i = 0, n = strlen(*parts); i + n <= value.n_bytes; i++)
            if (strncasecmp(value.data + i, *parts, n) == 0) return true;
    return false;
}

static void fix_strips(tamis_tokenizer *t, const tamis_gguf *g) {
    static const char *const not_stripped[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (size_t i = 0; i < COUNT(strip_rules); i++)
        if (value_holds(g, strip_rules[i].key, strip_rules[i].parts))
            add_attr(t, strip_rules[i].text, TAMIS_ATTR_LSTRIP);
    if (!value_holds(g, "general.name", (const char *const[]){"phi-3", "phi3", NULL})) return;
    for (int32_t id = 0; id < t->n_vocab; id++)
        if (t->attrs[id] & SPECIAL) t->attrs[id] |= TAMIS_ATTR_RSTRIP;
    add_attr(t, "</s>", TAMIS_ATTR_RSTRIP);
    for (size_t i = 0; i < COUNT(not_stripped); i++) {
        uint8_t *attrs = find_attrs(t, not_stripped[i]);
        if (attrs) *attrs &= (uint8_t)~TAMIS_ATTR_RSTRIP;
    }
}

void tamis_tokenizer_fix_attrs(tamis_tokenizer *t, const tamis_gguf *g) {
    tamis_gguf_kv kv;
    for (size_t i = 0; i < COUNT(infill); i++) {
        if (tamis_gguf_find(g, infill[i].key, &kv)) continue;
        for (const char *const *text = infill[i].texts;
             *text && !add_attr(t, *text, TAMIS_ATTR_CONTROL);)
            text++;
    }
    for (size_t i = 0; i < COUNT(end_texts); i++)
        add_attr(t, end_texts[i], TAMIS_ATTR_CONTROL);
    fix_channels(t);
    /* Where turns end otherwise, the old end of text is text. */
    uint8_t *end = find_attrs(t, "</s>");
    if (end && find_attrs(t, "<|tool_response>")) *end = TAMIS_ATTR_NORMAL;
    fix_strips(t, g);
}

/* --- the index --- */

static int compare_lengths(const void *a, const void *b, void *symbols) {
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    size_t n_i, n_k;
    tamis_symbols_text(symbols, i, &n_i);
    tamis_symbols_text(symbols, k, &n_k);
    return n_i != n_k ? (n_i < n_k ? 1 : -1) : (i > k) - (i < k);
}

typedef struct text_order {
    const tamis_symbols *symbols;
    const uint32_t *ids;
} text_order;

static int compare_texts(const void *a, const void *b, void *ctx) {
    const text_order *order = ctx;
    size_t n_a, n_b;
    const char *text_a = tamis_symbols_text(order->symbols, order->ids[*(const uint32_t *)a], &n_a);
    const char *text_b = tamis_symbols_text(order->symbols, order->ids[*(const uint32_t *)b], &n_b);
    int c = memcmp(text_a, text_b, n_a < n_b ? n_a : n_b);
    return c ? c : (n_a > n_b) - (n_a < n_b);
}

tamis_status tamis_specials_init(tamis_specials *s, const tamis_tokenizer *t, bool with_control,
                                 tamis_error *err) {
    uint8_t skipped = with_control ? 0 : TAMIS_ATTR_CONTROL | TAMIS_ATTR_UNKNOWN;
    uint32_t n = 0;
    for (int32_t id = 0; id < t->n_vocab; id++)
        n += (t->attrs[id] & SPECIAL) && !(t->attrs[id] & skipped);
    s->by_length = tamis_alloc_array(n, sizeof *s->by_length, err);
    s->sorted = tamis_alloc_array(n, sizeof *s->sorted, err);
    if (!s->by_length || !s->sorted) return TAMIS_NO_RESOURCE;
    for (int32_t id = 0; id < t->n_vocab; id++)
        if ((t->attrs[id] & SPECIAL) && !(t->attrs[id] & skipped))
            s->by_length[s->n++] = (uint32_t)id;

    qsort_r(s->by_length, n, sizeof *s->by_length, compare_lengths, t->symbols);
    for (uint32_t i = 0; i < n; i++)
        s->sorted[i] = i;
    text_order order = {.symbols = t->symbols, .ids = s->by_length};
    qsort_r(s->sorted, n, sizeof *s->sorted, compare_texts, &order);
    for (uint32_t i = 0, b = 0; b <= 256; b++) {
        size_t n_bytes;
        while (i < n &&
               b > (uint8_t)*tamis_symbols_text(t->symbols, s->by_length[s->sorted[i]], &n_bytes))
            i++;
        s->first_byte[b] = i;
    }
    return TAMIS_OK;
}

void tamis_specials_release(tamis_specials *s) {
    free(s->by_length);
    free(s->sorted);
    *s = (tamis_specials){0};
}

/* --- cutting --- */

/* First of sorted[lo..hi), all longer than depth and equal before it, whose byte there is >= b. */
static uint32_t lower_bound(const tamis_specials *s, const tamis_symbols *symbols, uint32_t lo,
                            uint32_t hi, size_t depth, unsigned b) {
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        size_t n;
        const char *text = tamis_symbols_text(symbols, s->by_length[s->sorted[mid]], &n);
        if ((uint8_t)text[depth] < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Mark the special tokens that begin at `text`; returns how many were newly marked. */
static uint32_t mark_at(const tamis_specials *s, const tamis_symbols *symbols, const uint8_t *text,
                        size_t n_bytes, bool *occurs) {
    uint32_t lo = s->first_byte[text[0]], hi = s->first_byte[text[0] + 1], n_new = 0;
    for (size_t depth = 1; lo < hi; depth++) {
        size_t n;
        tamis_symbols_text(symbols, s->by_length[s->sorted[lo]], &n);
        if (n == depth) { /* the shortest comes first */
            n_new += !occurs[s->sorted[lo]];
            occurs[s->sorted[lo++]] = true;
        }
        if (depth == n_bytes) break;
        lo = lower_bound(s, symbols, lo, hi, depth, text[depth]);
        hi = lower_bound(s, symbols, lo, hi, depth, text[depth] + 1u);
    }
    return n_new;
}

static tamis_status append(tamis_fragments *list, size_t start, size_t n_bytes, int32_t token,
                           tamis_error *err) {
    if (n_bytes == 0) return TAMIS_OK;
    if (list->n == list->capacity) {
        tamis_status st =
            tamis_grow(&list->items, &list->capacity, list->n + 1, sizeof *list->items, err);
        if (st) return st;
    }
    list->items[list->n++] = (tamis_fragment){start, n_bytes, token};
    return TAMIS_OK;
}

/* White space of the C locale. */
static bool is_space(uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Cut one special token out of every text fragment of `from`, into `to`. */
static tamis_status cut_token(const tamis_fragments *from, tamis_fragments *to, const uint8_t *text,
                              const tamis_tokenizer *t, uint32_t id, tamis_error *err) {
    size_t n_token;
    const char *token = tamis_symbols_text(t->symbols, id, &n_token);
    uint8_t attrs = t->attrs[id];
    tamis_status st = TAMIS_OK;
    to->n = 0;
    for (uint64_t i = 0; !st && i < from->n; i++) {
        tamis_fragment f = from->items[i];
        const uint8_t *found;
        while (!st && f.token < 0 && (found = memmem(text + f.start, f.n_bytes, token, n_token))) {
            size_t start = (size_t)(found - text), end = start + n_token;
            size_t f_end = f.start + f.n_bytes, left = start;
            while (attrs & TAMIS_ATTR_LSTRIP && left > f.start && is_space(text[left - 1]))
                left--;
            while (attrs & TAMIS_ATTR_RSTRIP && end < f_end && is_space(text[end]))
                end++;
            st = append(to, f.start, left - f.start, -1, err);
            if (!st) st = append(to, start, n_token, (int32_t)id, err);
            f.start = end;
            f.n_bytes = f_end - end;
        }
        if (!st) st = append(to, f.start, f.n_bytes, f.token, err);
    }
    return st;
}

enum { LOOK_BYTES = 1 << 20 }; /* between two looks at the interrupt */

tamis_status tamis_specials_cut(const tamis_specials *s, const tamis_tokenizer *t,
                                const uint8_t *text, size_t n_bytes, tamis_fragments *out,
                                tamis_error *err) {
    tamis_fragments spare = {0};
    bool *occurs = NULL;
    uint32_t n_occurring = 0;
    tamis_status st = append(out, 0, n_bytes, -1, err);
    if (st || s->n == 0 || n_bytes == 0) return st;
    occurs = tamis_alloc_array(s->n, sizeof *occurs, err);
    if (!occurs) return TAMIS_NO_RESOURCE;

    for (size_t i = 0; i < n_bytes && n_occurring < s->n; i++) {
        if (i % LOOK_BYTES == 0 && tamis_interrupted()) break;
        if (s->first_byte[text[i]] < s->first_byte[text[i] + 1])
            n_occurring += mark_at(s, t->symbols, text + i, n_bytes - i, occurs);
    }
    for (uint32_t i = 0; !st && n_occurring && i < s->n; i++) {
        if (!occurs[i]) continue;
        if (tamis_interrupted()) break;
        st = cut_token(out, &spare, text, t, s->by_length[i], err);
        tamis_fragments swap = *out;
        *out = spare;
        spare = swap;
    }
    if (!st && tamis_interrupted()) st = tamis_fail_interrupted(err);
    free(spare.items);
    free(occurs);
    return st;
}
