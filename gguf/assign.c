/* assign.c - metadata values from text: "VALUE" or "TYPE:VALUE"; the forms are in edit.h.
 * Every number is parsed whole and held against the range of its kind; nothing is
 * rounded or cut silently but decimals to the nearest float. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/input_file.h"
#include "base/json.h"
#include "base/parse.h"
#include "gguf/edit_internal.h"

enum { MAX_FILE_BYTES = 1 << 28 };

/* What a text is to be read as. */
typedef enum form { FORM_SCALAR, FORM_LIST, FORM_JSON, FORM_TOKEN } form;

typedef struct wanted {
    form form;
    bool has_kind; /* kind (of a list: of its elements) is fixed */
    tamis_gguf_kind kind;
} wanted;

/* The place of an assignment: what is said in messages, and where the kind comes from. */
typedef struct target {
    tamis_gguf_edit *edit;
    const char *key;
    char quoted[GGUF_QUOTE_BYTES];
} target;

static bool is_number_kind(tamis_gguf_kind kind) {
    return kind != TAMIS_GGUF_STRING && kind != TAMIS_GGUF_ARRAY && kind != TAMIS_GGUF_BOOL;
}

static bool is_float_kind(tamis_gguf_kind kind) {
    return kind == TAMIS_GGUF_F32 || kind == TAMIS_GGUF_F64;
}

/* --- one value --- */

static tamis_status parse_bool(const target *at, const char *text, uint64_t *bits,
                               tamis_error *err) {
    static const char *const words[] = {"false", "true", "0", "1"};
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(text, words[i]) != 0) continue;
        *bits = i % 2;
        return TAMIS_OK;
    }
    char shown[GGUF_QUOTE_BYTES];
    return tamis_fail(err, TAMIS_BAD_USAGE, "key '%s': '%s' is not a bool (true or false)",
                      at->quoted, tamis_escape(text, strlen(text), shown, sizeof shown));
}

static tamis_status parse_float(const target *at, tamis_gguf_kind kind, const char *text,
                                uint64_t *bits, tamis_error *err) {
    char what[GGUF_QUOTE_BYTES + 24];
    double value = 0, most = kind == TAMIS_GGUF_F32 ? (double)FLT_MAX : DBL_MAX;
    snprintf(what, sizeof what, "key '%s'", at->quoted);
    tamis_status st = tamis_parse_double(text, -most, most, what, &value, err);
    if (st) return st;
    if (kind == TAMIS_GGUF_F64) {
        memcpy(bits, &value, sizeof value);
        return TAMIS_OK;
    }
    float narrow = (float)value;
    uint32_t bits32;
    memcpy(&bits32, &narrow, sizeof bits32);
    *bits = bits32;
    return TAMIS_OK;
}

/* Bits of a number or bool, as they will lie in the file. */
static tamis_status parse_bits(const target *at, tamis_gguf_kind kind, const char *text,
                               uint64_t *bits, tamis_error *err) {
    char what[GGUF_QUOTE_BYTES + 24];
    int64_t lo = 0, value = 0;
    uint64_t hi = 0;
    if (kind == TAMIS_GGUF_BOOL) return parse_bool(at, text, bits, err);
    if (is_float_kind(kind)) return parse_float(at, kind, text, bits, err);
    (void)gguf_int_range(kind, &lo, &hi);
    snprintf(what, sizeof what, "key '%s' (%s)", at->quoted, tamis_gguf_kind_name(kind));
    if (kind == TAMIS_GGUF_U64) return tamis_parse_uint(text, what, bits, err);
    tamis_status st = tamis_parse_int(text, lo, (int64_t)hi, what, &value, err);
    *bits = (uint64_t)value;
    return st;
}

/* --- lists --- */

typedef struct list {
    char **items; /* texts of the elements, owned */
    uint64_t n_items, capacity;
} list;

static void list_release(list *l) {
    for (uint64_t i = 0; i < l->n_items; i++)
        free(l->items[i]);
    free(l->items);
}

static tamis_status list_add(list *l, const char *text, size_t n_bytes, tamis_error *err) {
    tamis_status st = tamis_grow(&l->items, &l->capacity, l->n_items + 1, sizeof *l->items, err);
    if (st) return st;
    char *copy = tamis_copy_text(text, n_bytes, err);
    if (!copy) return TAMIS_NO_RESOURCE;
    l->items[l->n_items++] = copy;
    return TAMIS_OK;
}

static tamis_status set_list(const target *at, tamis_gguf_kind kind, const list *l,
                             tamis_error *err) {
    tamis_gguf_writer *w = at->edit->writer;
    if (kind == TAMIS_GGUF_STRING)
        return tamis_gguf_set_strings(w, at->key, (const char *const *)l->items, l->n_items, err);
    uint64_t *bits = tamis_alloc_array(l->n_items, sizeof *bits, err);
    if (!bits) return TAMIS_NO_RESOURCE;
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; !st && i < l->n_items; i++) {
        st = parse_bits(at, kind, l->items[i], &bits[i], err);
        if (st) (void)tamis_fail_prefix(err, "element %llu", (unsigned long long)i);
    }
    if (!st) st = gguf_set_numbers(w, at->key, kind, bits, l->n_items, err);
    free(bits);
    return st;
}

/* "a,b,c": what lies between commas, without blanks around it when it is a number. */
static tamis_status set_comma_list(const target *at, tamis_gguf_kind kind, const char *text,
                                   tamis_error *err) {
    list l = {0};
    tamis_status st = TAMIS_OK;
    for (const char *p = text; !st && *text;) {
        size_t n = strcspn(p, ","), n_blank = 0, n_own = n;
        if (kind != TAMIS_GGUF_STRING) {
            n_blank = strspn(p, " \t\r\n");
            if (n_blank > n) n_blank = n;
            while (n_own > n_blank && strchr(" \t\r\n", p[n_own - 1]))
                n_own--;
        }
        st = list_add(&l, p + n_blank, n_own - n_blank, err);
        if (!p[n]) break;
        p += n + 1;
    }
    if (!st) st = set_list(at, kind, &l, err);
    list_release(&l);
    return st;
}

/* --- JSON --- */

/* The text of a JSON number, string or bool, as it would be typed; false for other values. */
static bool json_text(const cJSON *item, char number[32], const char **out) {
    *out = number;
    if (cJSON_IsBool(item))
        *out = cJSON_IsTrue(item) ? "true" : "false";
    else if (cJSON_IsString(item))
        *out = item->valuestring;
    else if (!cJSON_IsNumber(item))
        return false;
    else if (item->valuedouble == floor(item->valuedouble) && fabs(item->valuedouble) < 0x1p53)
        snprintf(number, 32, "%.0f", item->valuedouble);
    else
        (void)tamis_format_double(item->valuedouble, number, 32);
    return true;
}

/* The kind of a value that nothing fixes. */
static tamis_gguf_kind json_kind(const cJSON *item) {
    if (cJSON_IsString(item)) return TAMIS_GGUF_STRING;
    if (cJSON_IsBool(item)) return TAMIS_GGUF_BOOL;
    double d = item->valuedouble;
    if (d != floor(d)) return TAMIS_GGUF_F32;
    return fabs(d) < 0x1p31 ? TAMIS_GGUF_I32 : TAMIS_GGUF_I64;
}

/* The kind that holds all elements: the widest of the numbers, in the order i32, i64, f32. */
static tamis_gguf_kind widest_kind(const cJSON *array) {
    const cJSON *item;
    tamis_gguf_kind kind = json_kind(array->child);
    cJSON_ArrayForEach(item, array) {
        tamis_gguf_kind own = json_kind(item);
        if (kind == TAMIS_GGUF_F32 || own == kind || !is_number_kind(own)) continue;
        if (own == TAMIS_GGUF_F32 || own == TAMIS_GGUF_I64) kind = own;
    }
    return kind;
}

static tamis_status set_json_array(const target *at, const wanted *want, const cJSON *array,
                                   tamis_error *err) {
    const cJSON *item;
    list l = {0};
    char number[32];
    const char *text;
    tamis_status st = TAMIS_OK;
    if (!want->has_kind && !array->child)
        return tamis_fail(
            err, TAMIS_BAD_USAGE,
            "key '%s': an empty list has no kind; say it, as in arr[str]:", at->quoted);
    tamis_gguf_kind kind = want->has_kind ? want->kind : widest_kind(array);
    cJSON_ArrayForEach(item, array) {
        bool fits = json_text(item, number, &text) &&
                    cJSON_IsString(item) == (kind == TAMIS_GGUF_STRING) &&
                    (kind == TAMIS_GGUF_BOOL || !cJSON_IsBool(item));
        if (!fits)
            st = tamis_fail(err, TAMIS_BAD_USAGE, "key '%s': element %llu is not %s", at->quoted,
                            (unsigned long long)l.n_items, tamis_gguf_kind_name(kind));
        if (!st) st = list_add(&l, text, strlen(text), err);
        if (st) break;
    }
    if (!st) st = set_list(at, kind, &l, err);
    list_release(&l);
    return st;
}

static tamis_status set_scalar(const target *at, tamis_gguf_kind kind, const char *text,
                               size_t n_bytes, tamis_error *err) {
    uint64_t bits = 0;
    if (kind == TAMIS_GGUF_STRING)
        return tamis_gguf_set_string(at->edit->writer, at->key, text, n_bytes, err);
    tamis_status st = parse_bits(at, kind, text, &bits, err);
    return st ? st : gguf_set_bits(at->edit->writer, at->key, kind, bits, err);
}

static tamis_status set_json(const target *at, const wanted *want, const char *text, size_t n_bytes,
                             tamis_error *err) {
    cJSON *value = NULL;
    char number[32], what[GGUF_QUOTE_BYTES + 8];
    const char *plain;
    snprintf(what, sizeof what, "key '%s'", at->quoted);
    tamis_status st = tamis_json_parse(text, n_bytes, what, &value, err);
    if (st) {
        if (err) err->code = TAMIS_BAD_USAGE;
        return TAMIS_BAD_USAGE;
    }
    if (cJSON_IsArray(value))
        st = set_json_array(at, want, value, err);
    else if (!json_text(value, number, &plain))
        st = tamis_fail(err, TAMIS_BAD_USAGE,
                        "key '%s': a JSON list, number, string or bool is needed", at->quoted);
    else
        st = set_scalar(at, want->has_kind ? want->kind : json_kind(value), plain, strlen(plain),
                        err);
    cJSON_Delete(value);
    return st;
}

/* --- tokens --- */

static tamis_status find_token(const target *at, const char *text, uint64_t *id, tamis_error *err) {
    const tamis_gguf *g = at->edit->before.view;
    char shown[GGUF_QUOTE_BYTES];
    tamis_gguf_kv tokens;
    tamis_bytes token;
    uint64_t cursor = 0;
    tamis_escape(text, strlen(text), shown, sizeof shown);
    if (!tamis_gguf_find(g, "tokenizer.ggml.tokens", &tokens))
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "key '%s': the file has no vocabulary for token '%s'", at->quoted, shown);
    for (*id = 0; tamis_gguf_kv_next_string(g, &tokens, &cursor, &token); ++*id)
        if (gguf_is_key(token, text)) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_USAGE, "key '%s': none of the %llu tokens is '%s'", at->quoted,
                      (unsigned long long)tokens.n_elems, shown);
}

static tamis_status set_token(const target *at, const wanted *want, const char *text,
                              tamis_error *err) {
    uint64_t id = 0;
    bool has_integer = want->has_kind && is_number_kind(want->kind) && !is_float_kind(want->kind);
    tamis_status st = find_token(at, text, &id, err);
    if (st) return st;
    return tamis_gguf_set_uint(at->edit->writer, at->key, has_integer ? want->kind : TAMIS_GGUF_U32,
                               id, err);
}

/* --- which --- */

/* The kind that the key has in the file, or that the format fixes. */
static void kind_of_key(const target *at, wanted *want) {
    const tamis_gguf *g = at->edit->before.view;
    tamis_gguf_kv kv;
    tamis_gguf_kind kind, elem_kind;
    if (tamis_gguf_find(g, at->key, &kv)) {
        kind = kv.kind;
        elem_kind = kv.elem_kind;
    } else if (!gguf_known_kind(&g->files[0], at->key, &kind, &elem_kind)) {
        return;
    }
    want->has_kind = true;
    want->kind = elem_kind;
    want->form = kind == TAMIS_GGUF_ARRAY ? FORM_LIST : FORM_SCALAR;
}

static bool find_kind(const char *name, size_t n_name, tamis_gguf_kind *out) {
    for (int i = 0; i < TAMIS_GGUF_N_KINDS; i++) {
        const char *own = tamis_gguf_kind_name((tamis_gguf_kind)i);
        if (i == TAMIS_GGUF_ARRAY || strlen(own) != n_name || strncmp(own, name, n_name)) continue;
        *out = (tamis_gguf_kind)i;
        return true;
    }
    return false;
}

static bool is_word(const char *text, size_t n, const char *word) {
    return n == strlen(word) && !strncmp(text, word, n);
}

/* "int" and "float" keep a kind that fits. The value's sign decides between u32 and i64. */
static void choose_number(wanted *want, bool is_integer, const char *value) {
    bool keeps = want->has_kind && want->form == FORM_SCALAR && is_number_kind(want->kind) &&
                 is_float_kind(want->kind) != is_integer;
    if (!keeps)
        want->kind = !is_integer ? TAMIS_GGUF_F32 : *value == '-' ? TAMIS_GGUF_I64 : TAMIS_GGUF_U32;
    want->form = FORM_SCALAR;
    want->has_kind = true;
}

/* Read "TYPE:" at *text, and step over it. What the key itself says is in want. */
static void take_type(const char **text, wanted *want) {
    size_t n = strcspn(*text, ":");
    const char *t = *text, *value = t + n + 1;
    tamis_gguf_kind kind;
    if (!t[n]) return;
    if (find_kind(t, n, &kind)) {
        *want = (wanted){FORM_SCALAR, true, kind};
    } else if (n > 5 && !strncmp(t, "arr[", 4) && t[n - 1] == ']' &&
               find_kind(t + 4, n - 5, &kind)) {
        *want = (wanted){FORM_LIST, true, kind};
    } else if (is_word(t, n, "int") || is_word(t, n, "float")) {
        choose_number(want, is_word(t, n, "int"), value);
    } else if (is_word(t, n, "json")) {
        want->form = FORM_JSON;
    } else if (is_word(t, n, "token")) {
        want->form = FORM_TOKEN;
    } else {
        return; /* a colon of the value itself */
    }
    *text = value;
}

/* The value of "@PATH", without the end of its last line unless it becomes a string. */
static tamis_status read_value(const target *at, const wanted *want, const char *path, char **out,
                               size_t *n_bytes, tamis_error *err) {
    tamis_status st = tamis_read_file(path, MAX_FILE_BYTES, out, n_bytes, err);
    if (st) return tamis_fail_prefix(err, "key '%s' ('@@' begins a text with @)", at->quoted);
    st = tamis_gguf_edit_note_input(at->edit, path, err);
    if (st) return st;
    if (want->form == FORM_SCALAR && want->kind == TAMIS_GGUF_STRING) return TAMIS_OK;
    while (*n_bytes && strchr("\r\n", (*out)[*n_bytes - 1]))
        (*out)[--*n_bytes] = 0;
    if (memchr(*out, 0, *n_bytes))
        st = tamis_fail(err, TAMIS_BAD_INPUT, "key '%s': '%s' holds a NUL", at->quoted, path);
    return st;
}

tamis_status tamis_gguf_edit_assign(tamis_gguf_edit *edit, const char *key, const char *text,
                                    tamis_error *err) {
    target at = {.edit = edit, .key = key};
    wanted want = {0};
    char *owned = NULL;
    gguf_quote((tamis_bytes){key, strlen(key)}, at.quoted);
    kind_of_key(&at, &want);
    take_type(&text, &want);
    bool is_json = want.form == FORM_JSON, is_token = want.form == FORM_TOKEN;
    if (!want.has_kind && !is_json && !is_token)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "key '%s' is not in the file and not one that the format fixes; give the "
                          "kind of its value, as in %s=u32:5 or %s=str:text",
                          at.quoted, at.quoted, at.quoted);
    tamis_status st = TAMIS_OK;
    size_t n_bytes = strlen(text);
    if (text[0] == '@' && text[1] == '@') {
        text++;
        n_bytes--;
    } else if (text[0] == '@') {
        st = read_value(&at, &want, text + 1, &owned, &n_bytes, err);
        text = owned;
    }
    if (st)
        ;
    else if (is_token)
        st = set_token(&at, &want, text, err);
    else if (is_json || (want.form == FORM_LIST && *text == '['))
        st = set_json(&at, &want, text, n_bytes, err);
    else if (want.form == FORM_LIST)
        st = set_comma_list(&at, want.kind, text, err);
    else
        st = set_scalar(&at, want.kind, text, n_bytes, err);
    free(owned);
    return st;
}
