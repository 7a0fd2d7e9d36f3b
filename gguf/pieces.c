/* pieces.c - see pieces.h. */
#include "gguf/pieces.h"

/* Longest piece of a tensor; 0 when it is left out. */
static uint64_t limit_of(const gguf_walk *walk, const tamis_gguf_tensor *t) {
    if (!walk->whole_blocks) return walk->piece_bytes;
    if (!t->type || !t->type->block_bytes) return 0;
    return walk->piece_bytes / t->type->block_bytes * t->type->block_bytes;
}

size_t gguf_walk_next(gguf_walk *walk, uint64_t max_bytes, gguf_piece *out, size_t cap) {
    size_t n = 0, n_bytes = 0;
    while (n < cap && walk->i_tensor < tamis_gguf_n_tensors(walk->g)) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(walk->g, walk->i_tensor);
        const uint64_t limit = limit_of(walk, t), left = t->n_bytes - walk->offset;
        const uint64_t n_piece = left < limit ? left : limit;
        if (limit && n_piece > max_bytes - n_bytes) break;
        if (limit)
            out[n++] = (gguf_piece){
                .tensor = t,
                .i_tensor = walk->i_tensor,
                .offset = walk->offset,
                .n_bytes = n_piece,
                .is_first = walk->offset == 0,
                .is_last = n_piece == left,
                .at = n_bytes,
            };
        n_bytes += limit ? (size_t)n_piece : 0;
        walk->offset += n_piece;
        if (!limit || n_piece == left) {
            walk->i_tensor++;
            walk->offset = 0;
        }
    }
    return n;
}
