/* diff_keys.c - metadata of two files held against each other.
 * Values are compared as the bytes they are in a little-endian file, so that kinds count and a
 * NaN equals itself. */
#include <string.h>

#include "gguf/diff_internal.h"
#include "gguf/gguf_internal.h"

static bool is_same_text(tamis_bytes a, tamis_bytes b) {
    return a.n_bytes == b.n_bytes && !memcmp(a.data, b.data, a.n_bytes);
}

/* Elements 0 .. n-1 of two values of one kind. */
static void compare_elements(const tamis_gguf_diff *diff, tamis_diff_key *k, uint64_t n) {
    const gguf_file *fa = &diff->a->files[0], *fb = &diff->b->files[0];
    const size_t width = gguf_kind_bytes(k->a.elem_kind);
    uint64_t cursor_a = 0, cursor_b = 0;
    const uint8_t *pa = gguf_file_payload(fa, &k->a), *pb = gguf_file_payload(fb, &k->b);
    tamis_bytes x, y;
    k->i_first = n;
    for (uint64_t i = 0; i < n; i++) {
        bool is_same = true;
        if (k->a.kind == TAMIS_GGUF_STRING)
            is_same = tamis_gguf_kv_string(diff->a, &k->a, 0, &x) &&
                      tamis_gguf_kv_string(diff->b, &k->b, 0, &y) && is_same_text(x, y);
        else if (!width)
            is_same = gguf_file_next_string(fa, &k->a, &cursor_a, &x) &&
                      gguf_file_next_string(fb, &k->b, &cursor_b, &y) && is_same_text(x, y);
        else
            is_same = gguf_load(pa + i * width, width, fa->is_big_endian) ==
                      gguf_load(pb + i * width, width, fb->is_big_endian);
        if (is_same) continue;
        if (!k->n_differ++) k->i_first = i;
    }
}

/* True when both say the same; else *k says how they differ. */
static bool compare_key(const tamis_gguf_diff *diff, tamis_diff_key *k) {
    if (k->a.kind != k->b.kind || k->a.elem_kind != k->b.elem_kind) return false;
    compare_elements(diff, k, k->a.n_elems < k->b.n_elems ? k->a.n_elems : k->b.n_elems);
    return !k->n_differ && k->a.n_elems == k->b.n_elems;
}

static tamis_status add_key(tamis_gguf_diff *diff, const tamis_diff_key *k, tamis_error *err) {
    static const char layout[] = "split.";
    const tamis_bytes name = k->is_in_a ? k->a.key : k->b.key;
    tamis_status st =
        tamis_grow(&diff->keys, &diff->keys_capacity, diff->n_keys + 1, sizeof *diff->keys, err);
    if (st) return st;
    tamis_diff_key *added = &diff->keys[diff->n_keys++];
    *added = *k;
    added->is_layout = name.n_bytes > strlen(layout) && !memcmp(name.data, layout, strlen(layout));
    return TAMIS_OK;
}

/* The key of the other file; keys hold no NUL and are at most 65535 bytes. */
static bool find_in(const tamis_gguf *g, tamis_bytes key, tamis_gguf_kv *out) {
    char name[GGUF_MAX_KEY_BYTES + 1];
    memcpy(name, key.data, key.n_bytes);
    name[key.n_bytes] = 0;
    return tamis_gguf_find(g, name, out);
}

tamis_status gguf_diff_keys(tamis_gguf_diff *diff, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (int32_t i = 0; !st && i < tamis_gguf_n_kv(diff->a); i++) {
        tamis_diff_key k = {.is_in_a = true, .a = tamis_gguf_kv_at(diff->a, i)};
        k.is_in_b = find_in(diff->b, k.a.key, &k.b);
        if (k.is_in_b && compare_key(diff, &k))
            diff->n_same_keys++;
        else
            st = add_key(diff, &k, err);
    }
    for (int32_t i = 0; !st && i < tamis_gguf_n_kv(diff->b); i++) {
        tamis_diff_key k = {.is_in_b = true, .b = tamis_gguf_kv_at(diff->b, i)};
        if (!find_in(diff->a, k.b.key, &k.a)) st = add_key(diff, &k, err);
    }
    return st;
}
