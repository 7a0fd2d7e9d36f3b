/* hash_model.c - the digest of a model: metadata, names, shapes, types and data.
 * What is fed to it, byte by byte: hash.h. Costs two arrays of numbers to sort keys and
 * tensors by; values go to the digest from where they lie. */
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_internal.h"
#include "gguf/hash_internal.h"

static const char first_line[] = "tamis-model-1\n";

/* How the file is laid out, not what it says. */
static const char *const layout_keys[] = {"general.alignment", "split.no", "split.count",
                                          "split.tensors.count"};

static void feed_uint(tamis_hash *h, uint64_t value, size_t width) {
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    tamis_hash_update(h, bytes, width);
}

static void feed_bytes(tamis_hash *h, const char *data, size_t n_bytes) {
    feed_uint(h, n_bytes, 8);
    tamis_hash_update(h, data, n_bytes);
}

static void feed_value(tamis_hash *h, const tamis_gguf *g, const tamis_gguf_kv *kv) {
    const gguf_file *f = &g->files[0];
    const size_t width = gguf_kind_bytes(kv->elem_kind);
    tamis_bytes text;
    uint64_t cursor = 0;
    if (kv->kind == TAMIS_GGUF_STRING && tamis_gguf_kv_string(g, kv, 0, &text)) {
        feed_bytes(h, text.data, text.n_bytes);
    } else if (!width) {
        while (gguf_file_next_string(f, kv, &cursor, &text))
            feed_bytes(h, text.data, text.n_bytes);
    } else if (!f->is_big_endian) {
        tamis_hash_update(h, gguf_file_payload(f, kv), (size_t)(width * kv->n_elems));
    } else {
        const uint8_t *p = gguf_file_payload(f, kv);
        for (uint64_t i = 0; i < kv->n_elems; i++)
            feed_uint(h, gguf_load(p + i * width, width, true), width);
    }
}

static void feed_key(tamis_hash *h, const tamis_gguf *g, const tamis_gguf_kv *kv) {
    feed_bytes(h, kv->key.data, kv->key.n_bytes);
    feed_uint(h, kv->kind, 4);
    if (kv->kind == TAMIS_GGUF_ARRAY) {
        feed_uint(h, kv->elem_kind, 4);
        feed_uint(h, kv->n_elems, 8);
    }
    feed_value(h, g, kv);
}

static void feed_tensor(tamis_hash *h, const tamis_gguf_tensor *t, const char *digest) {
    uint32_t n_dims = 4;
    while (n_dims > 1 && t->ne[n_dims - 1] == 1)
        n_dims--;
    feed_bytes(h, t->name, strlen(t->name));
    feed_uint(h, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++)
        feed_uint(h, t->ne[i], 8);
    feed_uint(h, (uint32_t)t->type_id, 4);
    tamis_hash_update(h, digest, strlen(digest));
}

static int compare_keys(const void *a, const void *b) {
    const tamis_bytes x = ((const tamis_gguf_kv *)a)->key, y = ((const tamis_gguf_kv *)b)->key;
    const int order = memcmp(x.data, y.data, x.n_bytes < y.n_bytes ? x.n_bytes : y.n_bytes);
    return order ? order : (x.n_bytes > y.n_bytes) - (x.n_bytes < y.n_bytes);
}

static int compare_names(const void *a, const void *b) {
    const tamis_gguf_tensor *x = *(const tamis_gguf_tensor *const *)a;
    const tamis_gguf_tensor *y = *(const tamis_gguf_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static bool is_layout_key(tamis_bytes key) {
    for (size_t i = 0; i < sizeof layout_keys / sizeof layout_keys[0]; i++)
        if (strlen(layout_keys[i]) == key.n_bytes && !memcmp(layout_keys[i], key.data, key.n_bytes))
            return true;
    return false;
}

tamis_status gguf_model_digest(const tamis_gguf *g, tamis_hash_kind kind,
                               const gguf_digest_text *texts, char hex[TAMIS_HASH_HEX_MAX],
                               tamis_error *err) {
    const size_t n_tensors = (size_t)tamis_gguf_n_tensors(g);
    size_t n_keys = 0;
    tamis_hash *h = NULL;
    const tamis_gguf_tensor **tensors = NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    tamis_gguf_kv *keys = tamis_alloc_array((uint64_t)tamis_gguf_n_kv(g), sizeof *keys, err);
    if (!keys) goto out;
    tensors = tamis_alloc_array(n_tensors, sizeof *tensors, err);
    if (!tensors) goto out;
    st = tamis_hash_new(kind, &h, err);
    if (st) goto out;
    for (int32_t i = 0; i < tamis_gguf_n_kv(g); i++) {
        keys[n_keys] = tamis_gguf_kv_at(g, i);
        if (!is_layout_key(keys[n_keys].key)) n_keys++;
    }
    for (size_t i = 0; i < n_tensors; i++)
        tensors[i] = tamis_gguf_tensor_at(g, (int64_t)i);
    qsort(keys, n_keys, sizeof *keys, compare_keys);
    qsort(tensors, n_tensors, sizeof *tensors, compare_names);
    tamis_hash_update(h, first_line, strlen(first_line));
    feed_uint(h, n_keys, 8);
    feed_uint(h, n_tensors, 8);
    for (size_t i = 0; i < n_keys; i++)
        feed_key(h, g, &keys[i]);
    for (size_t i = 0; i < n_tensors; i++)
        feed_tensor(h, tensors[i], texts[tensors[i] - g->tensors].text);
    tamis_hash_hex(h, hex);
out:
    tamis_hash_free(h);
    free(tensors);
    free(keys);
    return st;
}
