/* copy.c - tensors taken over from an open file, byte for byte; see copy.h.
 * Data streams through the output's buffer; a file of the other byte order passes
 * through a piece of whole blocks. A type that is unknown is copied when the next
 * tensor bounds it (rule 10 of reference/gguf-threats.md). Bound by the disk. */
#include "gguf/copy.h"

#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "gguf/writer_internal.h"

enum { PIECE_BYTES = 1 << 20, COPY_BYTES = 16 << 20, BYTES_PER_TENSOR = 512 };

static const char *const split_keys[] = {"split.no", "split.count", "split.tensors.count"};
enum { N_SPLIT_KEYS = sizeof split_keys / sizeof split_keys[0] };

tamis_status tamis_gguf_add_all(tamis_gguf_writer *w, const tamis_gguf *from, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (int64_t i = 0; !st && i < tamis_gguf_n_tensors(from); i++)
        st = tamis_gguf_add_copy(w, tamis_gguf_tensor_at(from, i), err);
    return st ? tamis_fail_prefix(err, "%s", tamis_gguf_path(from)) : TAMIS_OK;
}

tamis_status tamis_gguf_copy_prepare(tamis_gguf_writer *w, const tamis_gguf *from,
                                     tamis_error *err) {
    tamis_status st = tamis_gguf_set_all(w, from, err);
    for (int i = 0; !st && i < N_SPLIT_KEYS; i++)
        tamis_gguf_unset(w, split_keys[i]);
    return st ? st : tamis_gguf_add_all(w, from, err);
}

static tamis_status append_bytes(tamis_gguf_writer *w, const tamis_gguf *from,
                                 const tamis_gguf_tensor *t, uint64_t offset, uint64_t n_bytes,
                                 uint8_t *piece, tamis_error *err) {
    if (!piece)
        return gguf_copy_data(w, from->files[t->i_file].input, t->file_offset + offset, n_bytes,
                              err);
    tamis_status st = tamis_gguf_read_tensor(from, t, offset, n_bytes, piece, err);
    return st ? st : tamis_gguf_write_data(w, piece, n_bytes, err);
}

tamis_status tamis_gguf_write_copy(tamis_gguf_writer *w, const tamis_gguf *from,
                                   const tamis_gguf_tensor *t, tamis_progress *progress,
                                   tamis_error *err) {
    const gguf_file *f = &from->files[t->i_file];
    bool is_direct = f->input && !f->is_big_endian;
    uint64_t block_bytes = t->type && t->type->block_bytes ? t->type->block_bytes : 1;
    uint64_t most = is_direct ? COPY_BYTES : PIECE_BYTES / block_bytes * block_bytes;
    uint8_t *piece = is_direct ? NULL : tamis_alloc_array(PIECE_BYTES, 1, err);
    if (!is_direct && !piece) return TAMIS_NO_RESOURCE;
    tamis_status st = TAMIS_OK;
    for (uint64_t at = 0; !st && at < t->n_bytes; at += most) {
        uint64_t n = t->n_bytes - at < most ? t->n_bytes - at : most;
        st = tamis_interrupted() ? tamis_fail_interrupted(err)
                                 : append_bytes(w, from, t, at, n, piece, err);
        tamis_progress_advance(progress, n);
    }
    free(piece);
    return st;
}

tamis_status tamis_gguf_check_outputs(const tamis_gguf_writer *w, const tamis_gguf *from,
                                      const char *path, bool is_dry, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; !st && i < tamis_gguf_writer_n_files(w); i++) {
        char *own = NULL;
        st = tamis_gguf_writer_path(w, path, i, &own, err);
        if (!st && tamis_gguf_has_file(from, own))
            st =
                tamis_fail(err, TAMIS_BAD_USAGE,
                           "'%s' is already a file of this run; give the output another name", own);
        if (!st && !is_dry) st = tamis_output_check(own, NULL, 0, err);
        free(own);
    }
    return st;
}

tamis_status tamis_gguf_copy_run(tamis_gguf_writer *w, const tamis_gguf *from, int64_t n_tensors,
                                 const char *path, tamis_progress *progress, tamis_error *err) {
    tamis_status st = tamis_gguf_begin(w, path, err);
    for (int64_t i = 0; !st && i < n_tensors; i++)
        st = tamis_gguf_write_copy(w, from, tamis_gguf_tensor_at(from, i), progress, err);
    return st ? st : tamis_gguf_commit(w, err);
}

/* --- reading back --- */

static bool is_same_shape(const tamis_gguf_tensor *a, const tamis_gguf_tensor *b) {
    return !strcmp(a->name, b->name) && a->type_id == b->type_id && a->n_bytes == b->n_bytes &&
           !memcmp(a->ne, b->ne, sizeof a->ne);
}

static tamis_status compare_data(const tamis_gguf *a, const tamis_gguf *b, int64_t i,
                                 uint8_t *pieces, tamis_progress *progress, tamis_error *err) {
    const tamis_gguf_tensor *x = tamis_gguf_tensor_at(a, i), *y = tamis_gguf_tensor_at(b, i);
    uint64_t block_bytes = x->type && x->type->block_bytes ? x->type->block_bytes : 1;
    uint64_t most = PIECE_BYTES / block_bytes * block_bytes;
    for (uint64_t at = 0; at < x->n_bytes; at += most) {
        uint64_t n = x->n_bytes - at < most ? x->n_bytes - at : most;
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        tamis_status st = tamis_gguf_read_tensor(a, x, at, n, pieces, err);
        if (!st) st = tamis_gguf_read_tensor(b, y, at, n, pieces + PIECE_BYTES, err);
        if (st) return st;
        if (memcmp(pieces, pieces + PIECE_BYTES, (size_t)n))
            return tamis_fail(err, TAMIS_CHECK_FAILED, "tensor '%s' has other data", x->name);
        tamis_progress_advance(progress, n);
    }
    return TAMIS_OK;
}

static int32_t n_own_keys(const tamis_gguf *g) {
    int32_t n = tamis_gguf_n_kv(g);
    tamis_gguf_kv kv;
    for (int i = 0; i < N_SPLIT_KEYS; i++)
        n -= tamis_gguf_find(g, split_keys[i], &kv);
    return n;
}

tamis_status tamis_gguf_copy_verify(const tamis_gguf *from, const char *path,
                                    tamis_progress *progress, tamis_error *err) {
    const tamis_gguf_options reading = {.no_map = true};
    tamis_gguf *g = NULL;
    uint8_t *pieces = tamis_alloc_array(PIECE_BYTES, 2, err);
    if (!pieces) return TAMIS_NO_RESOURCE;
    int64_t n = tamis_gguf_n_tensors(from);
    tamis_status st = tamis_gguf_open(path, &reading, &g, err);
    if (!st && (tamis_gguf_n_tensors(g) != n || n_own_keys(g) != n_own_keys(from)))
        st = tamis_fail(err, TAMIS_CHECK_FAILED, "%lld tensors and %d keys, expected %lld and %d",
                        (long long)tamis_gguf_n_tensors(g), n_own_keys(g), (long long)n,
                        n_own_keys(from));
    for (int64_t i = 0; !st && i < n; i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(from, i);
        st = is_same_shape(t, tamis_gguf_tensor_at(g, i))
                 ? compare_data(from, g, i, pieces, progress, err)
                 : tamis_fail(err, TAMIS_CHECK_FAILED, "tensor '%s' differs", t->name);
    }
    tamis_gguf_close(g);
    free(pieces);
    return st == TAMIS_CHECK_FAILED ? tamis_fail_prefix(err, "%s", path) : st;
}

uint64_t tamis_gguf_copy_memory_bytes(const tamis_gguf *from) {
    uint64_t n_bytes = (uint64_t)tamis_gguf_n_tensors(from) * BYTES_PER_TENSOR + 4 * PIECE_BYTES;
    for (int32_t i = 0; i < tamis_gguf_n_files(from); i++)
        n_bytes += 2 * tamis_gguf_data_offset(from, i);
    return n_bytes;
}
