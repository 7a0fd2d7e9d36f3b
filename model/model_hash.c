/* model_hash.c - see model_hash.h. Reads metadata and a few pages per tensor; bound: seeks. */
#include "model/model_hash.h"

#include <string.h>

#include "base/hash.h"

enum { SAMPLE_BYTES = 4096 };

/* Integers as eight little-endian bytes, so that the hash is the same on every machine. */
static void hash_u64(tamis_hash *h, uint64_t value) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; ++i)
        bytes[i] = (uint8_t)(value >> (8 * i));
    tamis_hash_update(h, bytes, sizeof bytes);
}

static void hash_text(tamis_hash *h, const char *data, size_t n_bytes) {
    hash_u64(h, n_bytes);
    tamis_hash_update(h, data, n_bytes);
}

static void hash_number(tamis_hash *h, const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i) {
    int64_t integer;
    uint64_t natural;
    double real;
    if (tamis_gguf_kv_int(g, kv, i, &integer)) {
        hash_u64(h, (uint64_t)integer);
    } else if (tamis_gguf_kv_uint(g, kv, i, &natural)) {
        hash_u64(h, natural);
    } else if (tamis_gguf_kv_double(g, kv, i, &real)) {
        memcpy(&natural, &real, sizeof natural);
        hash_u64(h, natural);
    }
}

static void hash_value(tamis_hash *h, const tamis_gguf *g, const tamis_gguf_kv *kv) {
    hash_text(h, kv->key.data, kv->key.n_bytes);
    hash_u64(h, (uint64_t)kv->kind);
    hash_u64(h, (uint64_t)kv->elem_kind);
    hash_u64(h, kv->n_elems);
    tamis_bytes text;
    uint64_t cursor = 0;
    if (kv->kind == TAMIS_GGUF_STRING) {
        if (tamis_gguf_kv_string(g, kv, 0, &text)) hash_text(h, text.data, text.n_bytes);
    } else if (kv->elem_kind == TAMIS_GGUF_STRING) {
        while (tamis_gguf_kv_next_string(g, kv, &cursor, &text))
            hash_text(h, text.data, text.n_bytes);
    } else {
        for (uint64_t i = 0; i < kv->n_elems; ++i)
            hash_number(h, g, kv, i);
    }
}

/* Samples begin at whole blocks, which big-endian files are read in. */
static tamis_status hash_sample(tamis_hash *h, const tamis_gguf *g, const tamis_gguf_tensor *t,
                                uint64_t offset, tamis_error *err) {
    uint8_t sample[SAMPLE_BYTES];
    const uint64_t block = t->type->block_bytes;
    offset -= offset % block;
    uint64_t n_bytes = t->n_bytes - offset;
    if (n_bytes > SAMPLE_BYTES) n_bytes = SAMPLE_BYTES - SAMPLE_BYTES % block;
    tamis_status st = tamis_gguf_read_tensor(g, t, offset, n_bytes, sample, err);
    if (st) return st;
    tamis_hash_update(h, sample, (size_t)n_bytes);
    return TAMIS_OK;
}

static tamis_status hash_tensor(tamis_hash *h, const tamis_gguf *g, const tamis_gguf_tensor *t,
                                tamis_error *err) {
    hash_text(h, t->name, strlen(t->name));
    hash_u64(h, (uint64_t)(int64_t)t->type_id);
    for (int i = 0; i < 4; ++i)
        hash_u64(h, t->ne[i]);
    hash_u64(h, t->n_bytes);
    if (!t->type || t->type->block_bytes == 0 || !t->is_size_known) return TAMIS_OK;
    tamis_status st = hash_sample(h, g, t, 0, err);
    if (st || t->n_bytes <= SAMPLE_BYTES) return st;
    st = hash_sample(h, g, t, t->n_bytes / 2, err);
    if (st) return st;
    return hash_sample(h, g, t, t->n_bytes - SAMPLE_BYTES, err);
}

tamis_status tamis_model_hash(const tamis_gguf *g, char out[33], tamis_error *err) {
    tamis_hash *h;
    tamis_status st = tamis_hash_new(TAMIS_HASH_XXH3_128, &h, err);
    if (st) return st;
    for (int32_t i = 0; i < tamis_gguf_n_kv(g); ++i) {
        const tamis_gguf_kv kv = tamis_gguf_kv_at(g, i);
        hash_value(h, g, &kv);
    }
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g) && !st; ++i) {
        st = hash_tensor(h, g, tamis_gguf_tensor_at(g, i), err);
    }
    char hex[TAMIS_HASH_HEX_MAX];
    tamis_hash_hex(h, hex);
    memcpy(out, hex, 32);
    out[32] = 0;
    tamis_hash_free(h);
    return st;
}
