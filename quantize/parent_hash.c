/* parent_hash.c - a hash of each of the source's files, from the pieces that are read anyway.
 * A file is hashed in its order: a piece that lies ahead makes the hash read what is between
 * itself, a piece that lies behind was hashed as part of such a gap, and the end closes with the
 * rest. So every byte is hashed once whatever the order of the pieces, and read once when they
 * come in the order of the file. Bound by memory, or by SHA-256 where that is asked for. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/input_file.h"
#include "quantize/quantize_internal.h"

#define GAP_BYTES (UINT64_C(1) << 18)

/* One file of the source. */
typedef struct hashed_file {
    tamis_input *in;
    tamis_hash *hash;
    uint64_t n_hashed; /* from its beginning */
} hashed_file;

struct parent_hash {
    hashed_file *files;
    int32_t n_files;
    size_t hex_length; /* of a digest */
    bool is_swapped;   /* pieces are not as the files have them: nothing is taken from them */
    uint8_t *gap;      /* [GAP_BYTES] */
    const atomic_bool *is_stopped;
};

/* Of SHA-256, or of XXH3-128. */
static size_t hex_length(bool sha256) {
    return sha256 ? 64 : 32;
}

size_t parent_hash_length(const tamis_gguf *source, bool sha256) {
    return (size_t)tamis_gguf_n_files(source) * (hex_length(sha256) + 1) - 1;
}

tamis_status parent_hash_new(const tamis_gguf *source, bool sha256, const atomic_bool *is_stopped,
                             parent_hash **out, tamis_error *err) {
    tamis_status st = TAMIS_NO_RESOURCE;
    parent_hash *p = tamis_alloc_array(1, sizeof *p, err);
    *out = NULL;
    if (!p) return st;
    p->n_files = tamis_gguf_n_files(source);
    p->is_swapped = tamis_gguf_is_big_endian(source);
    p->is_stopped = is_stopped;
    p->hex_length = hex_length(sha256);
    p->gap = tamis_alloc_array(GAP_BYTES, 1, err);
    p->files = p->gap ? tamis_alloc_array((uint64_t)p->n_files, sizeof *p->files, err) : NULL;
    if (!p->files) goto out;
    st = TAMIS_OK;
    for (int32_t i = 0; st == TAMIS_OK && i < p->n_files; i++) {
        const char *path = tamis_gguf_file_path(source, i);
        st = tamis_input_open(path, TAMIS_INPUT_READ, &p->files[i].in, err);
        if (st == TAMIS_OK)
            st = tamis_hash_new(sha256 ? TAMIS_HASH_SHA256 : TAMIS_HASH_XXH3_128, &p->files[i].hash,
                                err);
    }
out:
    if (st)
        parent_hash_free(p);
    else
        *out = p;
    return st;
}

void parent_hash_free(parent_hash *p) {
    if (!p) return;
    for (int32_t i = 0; p->files && i < p->n_files; i++) {
        tamis_hash_free(p->files[i].hash);
        tamis_input_close(p->files[i].in);
    }
    free(p->files);
    free(p->gap);
    free(p);
}

static tamis_status hash_up_to(parent_hash *p, hashed_file *f, uint64_t end, tamis_error *err) {
    while (f->n_hashed < end && !atomic_load(p->is_stopped)) {
        uint64_t left = end - f->n_hashed;
        size_t n = (size_t)(left < GAP_BYTES ? left : GAP_BYTES);
        tamis_status st = tamis_input_read(f->in, f->n_hashed, n, p->gap, err);
        if (st) return st;
        tamis_hash_update(f->hash, p->gap, n);
        f->n_hashed += n;
    }
    return TAMIS_OK;
}

tamis_status parent_hash_add(parent_hash *p, const tamis_gguf_tensor *t, uint64_t offset,
                             const void *bytes, uint64_t n_bytes, tamis_error *err) {
    hashed_file *f = &p->files[t->i_file];
    uint64_t at = t->file_offset + offset;
    if (p->is_swapped || at < f->n_hashed) return TAMIS_OK;
    tamis_status st = hash_up_to(p, f, at, err);
    if (st || f->n_hashed != at) return st;
    tamis_hash_update(f->hash, bytes, (size_t)n_bytes);
    f->n_hashed += n_bytes;
    return TAMIS_OK;
}

tamis_status parent_hash_finish(parent_hash *p, char *hex, tamis_error *err) {
    char digest[TAMIS_HASH_HEX_MAX];
    for (int32_t i = 0; i < p->n_files; i++) {
        hashed_file *f = &p->files[i];
        tamis_status st = hash_up_to(p, f, tamis_input_size(f->in), err);
        if (st) return st;
        if (i > 0) *hex++ = ',';
        memcpy(hex, tamis_hash_hex(f->hash, digest), p->hex_length);
        hex += p->hex_length;
    }
    return TAMIS_OK;
}
