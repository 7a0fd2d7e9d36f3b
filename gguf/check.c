/* check.c - non-finite values and scales in the data of every tensor.
 * Streams whole blocks in pieces of at most 1 MiB, so memory does not depend on the
 * model; bound by reading. What counts as unsound: reference/tensor-types.md section 6. */
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "gguf/gguf_internal.h"

enum { PIECE_BYTES = 1 << 20 };

/* Count the unsound blocks of one piece; *first is set by the first ever found. */
static uint64_t count_bad(const tamis_type *type, const uint8_t *blocks, int64_t n_blocks,
                          uint64_t i_first_block, uint64_t n_bad_before, uint64_t *first) {
    uint64_t n_bad = 0;
    int64_t at = 0;
    while (at < n_blocks) {
        at += tamis_find_bad_block(type, blocks + (size_t)at * type->block_bytes, n_blocks - at);
        if (at >= n_blocks) break;
        if (!n_bad_before && !n_bad) *first = i_first_block + (uint64_t)at;
        n_bad++;
        at++;
    }
    return n_bad;
}

static tamis_status check_tensor(const tamis_gguf *g, const tamis_gguf_tensor *t, uint8_t *piece,
                                 tamis_gguf_finding *finding, tamis_error *err) {
    uint64_t block_bytes = t->type->block_bytes, n_blocks = t->n_bytes / block_bytes;
    uint64_t blocks_per_piece = PIECE_BYTES / block_bytes, first = 0;
    uint64_t blocks_per_row = t->ne[0] / t->type->block_elems;
    const tamis_input *input = g->files[t->i_file].input;
    *finding =
        (tamis_gguf_finding){.tensor = t->name, .is_scale = t->type->class != TAMIS_CLASS_FLOAT};
    for (uint64_t at = 0; at < n_blocks; at += blocks_per_piece) {
        uint64_t n = n_blocks - at < blocks_per_piece ? n_blocks - at : blocks_per_piece;
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        tamis_status st =
            tamis_gguf_read_tensor(g, t, at * block_bytes, n * block_bytes, piece, err);
        if (st) return st;
        if (input) tamis_input_dont_need(input, t->file_offset + at * block_bytes, n * block_bytes);
        finding->n_bad += count_bad(t->type, piece, (int64_t)n, at, finding->n_bad, &first);
    }
    finding->row = first / blocks_per_row;
    finding->block = first % blocks_per_row;
    return TAMIS_OK;
}

tamis_status tamis_gguf_check_values(const tamis_gguf *g,
                                     void (*found)(void *ctx, const tamis_gguf_finding *finding),
                                     void *ctx, int64_t *n_bad_tensors, tamis_error *err) {
    *n_bad_tensors = 0;
    uint8_t *piece = tamis_alloc_array(PIECE_BYTES, 1, err);
    if (!piece) return TAMIS_NO_RESOURCE;
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; !st && i < g->n_tensors; i++) {
        const tamis_gguf_tensor *t = &g->tensors[i];
        tamis_gguf_finding finding;
        if (!t->type || !t->type->block_elems) continue; /* no layout: nothing to look at */
        st = check_tensor(g, t, piece, &finding, err);
        if (st || !finding.n_bad) continue;
        ++*n_bad_tensors;
        found(ctx, &finding);
    }
    free(piece);
    return st;
}
