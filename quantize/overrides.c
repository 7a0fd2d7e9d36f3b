/* overrides.c - "KEY=TYPE:VALUE" for --override-kv: keys of the result that differ from the
 * source's, and what the type rules see of the model.
 * TYPE is int, float, bool or str. A key keeps the width it has in the source; a value that does
 * not fit there is an error, never cut. Reference: peer-tools.md section 1.1. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "quantize/quantize_internal.h"

enum { SHOWN_BYTES = 160 };

void overrides_release(key_overrides *o) {
    if (!o) return;
    for (uint64_t i = 0; i < o->n_items; i++) {
        free(o->items[i].key);
        free(o->items[i].text);
    }
    free(o->items);
    *o = (key_overrides){0};
}

const key_override *overrides_find(const key_overrides *o, const char *key) {
    for (uint64_t i = 0; o && i < o->n_items; i++)
        if (!strcmp(o->items[i].key, key)) return &o->items[i];
    return NULL;
}

/* --- reading one --- */

static bool is_integer(tamis_gguf_kind kind) {
    return kind <= TAMIS_GGUF_I32 || kind == TAMIS_GGUF_U64 || kind == TAMIS_GGUF_I64;
}

/* The narrowest of the usual kinds for a key that has none yet. */
static tamis_gguf_kind kind_for(int64_t value) {
    if (value >= 0) return value <= UINT32_MAX ? TAMIS_GGUF_U32 : TAMIS_GGUF_U64;
    return value >= INT32_MIN ? TAMIS_GGUF_I32 : TAMIS_GGUF_I64;
}

static tamis_status parse_value(const char *text, const char *value, size_t n_type,
                                const char *type, key_override *o, tamis_error *err) {
    char what[SHOWN_BYTES + 16], shown[SHOWN_BYTES];
    tamis_escape(text, strlen(text), shown, sizeof shown);
    snprintf(what, sizeof what, "--override-kv %s", shown);
    if (n_type == 3 && !memcmp(type, "int", 3)) {
        tamis_status st = tamis_parse_int(value, INT64_MIN, INT64_MAX, what, &o->integer, err);
        if (st == TAMIS_OK) o->kind = kind_for(o->integer);
        return st;
    }
    if (n_type == 5 && !memcmp(type, "float", 5)) {
        o->kind = TAMIS_GGUF_F32;
        return tamis_parse_double(value, -DBL_MAX, DBL_MAX, what, &o->number, err);
    }
    if (n_type == 4 && !memcmp(type, "bool", 4)) {
        o->kind = TAMIS_GGUF_BOOL;
        o->integer = !strcmp(value, "true");
        if (o->integer || !strcmp(value, "false")) return TAMIS_OK;
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s: a bool is true or false", what);
    }
    if (n_type == 3 && !memcmp(type, "str", 3)) {
        o->kind = TAMIS_GGUF_STRING;
        o->text = tamis_copy_text(value, strlen(value), err);
        return o->text ? TAMIS_OK : TAMIS_NO_RESOURCE;
    }
    return tamis_fail(err, TAMIS_BAD_USAGE, "%s: the type is int, float, bool or str", what);
}

static tamis_status parse_override(const char *text, key_override *o, tamis_error *err) {
    const char *equals = strchr(text, '=');
    const char *colon = equals ? strchr(equals, ':') : NULL;
    if (!colon || equals == text) {
        char shown[SHOWN_BYTES];
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--override-kv '%s': write KEY=TYPE:VALUE, e.g. "
                          "tokenizer.ggml.eos_token_id=int:2",
                          tamis_escape(text, strlen(text), shown, sizeof shown));
    }
    o->key = tamis_copy_text(text, (size_t)(equals - text), err);
    if (!o->key) return TAMIS_NO_RESOURCE;
    return parse_value(text, colon + 1, (size_t)(colon - equals - 1), equals + 1, o, err);
}

/* --- against the source --- */

/* The i-th key that the format knows, as this architecture writes it; false behind the last. */
static bool known_key(const tamis_gguf *g, size_t i, char out[SHOWN_BYTES]) {
    static const char mark[] = "{arch}";
    const char *known = tamis_gguf_known_key(i);
    tamis_bytes arch = {NULL, 0};
    if (!known) return false;
    bool is_arch = !strncmp(known, mark, sizeof mark - 1);
    if (is_arch && tamis_gguf_get_string(g, "general.architecture", &arch, NULL)) arch.n_bytes = 0;
    snprintf(out, SHOWN_BYTES, "%.*s%s", (int)arch.n_bytes, arch.data ? arch.data : "",
             is_arch ? known + sizeof mark - 1 : known);
    return true;
}

static bool is_known(const tamis_gguf *g, const char *key) {
    char known[SHOWN_BYTES];
    if (!strcmp(key, "general.alignment")) return true;
    for (size_t i = 0; known_key(g, i, known); i++)
        if (!strcmp(known, key)) return true;
    return false;
}

/* Keep the nearer of two names of `key` in `best`. */
static void offer_key(const char *key, const char *candidate, char best[SHOWN_BYTES]) {
    const char *const both[] = {best, candidate};
    if (tamis_nearest(key, both, 2) == candidate) snprintf(best, SHOWN_BYTES, "%s", candidate);
}

/* Of the keys of the format and of the file; "" when none is near. */
static void nearest_key(const tamis_gguf *g, const char *key, char best[SHOWN_BYTES]) {
    char candidate[SHOWN_BYTES];
    best[0] = 0;
    for (size_t i = 0; known_key(g, i, candidate); i++)
        offer_key(key, candidate, best);
    for (int32_t i = 0; i < tamis_gguf_n_kv(g); i++) {
        tamis_bytes name = tamis_gguf_kv_at(g, i).key;
        snprintf(candidate, sizeof candidate, "%.*s",
                 (int)(name.n_bytes < SHOWN_BYTES ? name.n_bytes : SHOWN_BYTES), name.data);
        offer_key(key, candidate, best);
    }
}

/* Keep the kind that the key has in the source. */
static tamis_status adapt_kind(const tamis_gguf *g, const tamis_quantize_options *options,
                               key_override *o, tamis_error *err) {
    tamis_gguf_kv kv;
    char near[SHOWN_BYTES];
    if (!tamis_gguf_find(g, o->key, &kv)) {
        if (is_known(g, o->key)) return TAMIS_OK;
        nearest_key(g, o->key, near);
        return lax_fail(options, err,
                        "--override-kv: %s has no key '%s' and the format knows none of that "
                        "name%s%s%s",
                        tamis_gguf_path(g), o->key, near[0] ? "; did you mean '" : "", near,
                        near[0] ? "'" : "");
    }
    tamis_gguf_kind kind = kv.elem_kind; /* a number may stand for one per layer */
    if (is_integer(o->kind) && is_integer(kind)) {
        if (kv.kind != TAMIS_GGUF_ARRAY) o->kind = kind;
        return TAMIS_OK;
    }
    if (o->kind == TAMIS_GGUF_F32 && (kind == TAMIS_GGUF_F32 || kind == TAMIS_GGUF_F64)) {
        if (kv.kind != TAMIS_GGUF_ARRAY) o->kind = kind;
        return TAMIS_OK;
    }
    if (o->kind == kv.kind) return TAMIS_OK;
    return lax_fail(options, err, "--override-kv: key '%s' is %s%s in %s, not %s", o->key,
                    kv.kind == TAMIS_GGUF_ARRAY ? "an array of " : "", tamis_gguf_kind_name(kind),
                    tamis_gguf_path(g), tamis_gguf_kind_name(o->kind));
}

/* Keys that say what the written file is; they follow from it. */
static tamis_status check_key(const char *key, tamis_error *err) {
    static const char *const own[] = {"split.", "tamis."};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!strncmp(key, own[i], strlen(own[i])))
            return tamis_fail(err, TAMIS_BAD_USAGE,
                              "--override-kv: '%s' is set from what is written and cannot be "
                              "chosen",
                              key);
    return TAMIS_OK;
}

tamis_status overrides_init(key_overrides *o, const tamis_gguf *source,
                            const tamis_quantize_options *options, tamis_error *err) {
    *o = (key_overrides){0};
    if (options->n_overrides == 0) return TAMIS_OK;
    o->items = tamis_alloc_array(options->n_overrides, sizeof *o->items, err);
    if (!o->items) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i < options->n_overrides; i++) {
        key_override *item = &o->items[i];
        o->n_items = i + 1;
        tamis_status st = parse_override(options->overrides[i], item, err);
        if (st == TAMIS_OK) st = check_key(item->key, err);
        if (st == TAMIS_OK && overrides_find(o, item->key) != item)
            st = tamis_fail(err, TAMIS_BAD_USAGE, "--override-kv: key '%s' is given twice",
                            item->key);
        if (st == TAMIS_OK) st = adapt_kind(source, options, item, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

static tamis_status set_one(const key_override *o, tamis_gguf_writer *w, tamis_error *err) {
    if (o->kind == TAMIS_GGUF_STRING)
        return tamis_gguf_set_string(w, o->key, o->text, strlen(o->text), err);
    if (o->kind == TAMIS_GGUF_BOOL) return tamis_gguf_set_bool(w, o->key, o->integer != 0, err);
    if (o->kind == TAMIS_GGUF_F32 && (o->number > FLT_MAX || o->number < -FLT_MAX))
        return tamis_fail(err, TAMIS_BAD_USAGE, "key '%s': the value does not fit in f32", o->key);
    if (o->kind == TAMIS_GGUF_F32 || o->kind == TAMIS_GGUF_F64)
        return tamis_gguf_set_double(w, o->key, o->kind, o->number, err);
    return tamis_gguf_set_int(w, o->key, o->kind, o->integer, err);
}

tamis_status overrides_set_keys(const key_overrides *o, tamis_gguf_writer *w, tamis_error *err) {
    for (uint64_t i = 0; o && i < o->n_items; i++)
        if (set_one(&o->items[i], w, err)) {
            tamis_fail_prefix(err, "--override-kv");
            if (err && err->code == TAMIS_BAD_INPUT) err->code = TAMIS_BAD_USAGE;
            return err ? err->code : TAMIS_BAD_USAGE;
        }
    return TAMIS_OK;
}
