/* pieces.h - the data of all tensors in file order, cut into pieces for a pool of workers.
 * A walk gives the next batch of pieces; each piece is read and looked at by itself, and
 * what came of it is combined in the order of the pieces: the same for any number of threads. */
#ifndef TAMIS_GGUF_PIECES_H
#define TAMIS_GGUF_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gguf/gguf.h"

typedef struct gguf_piece {
    const tamis_gguf_tensor *tensor;
    int64_t i_tensor;
    uint64_t offset, n_bytes; /* of the tensor's data; a tensor without data is one empty piece */
    bool is_first, is_last;   /* of its tensor */
    size_t at;                /* bytes of the batch before it */
} gguf_piece;

typedef struct gguf_walk {
    const tamis_gguf *g;
    /* Longest piece; rounded down to whole blocks with whole_blocks. */
    uint64_t piece_bytes;
    bool whole_blocks; /* tensors without a block layout are left out */
    int64_t i_tensor;  /* where the walk is; starts at 0, 0 */
    uint64_t offset;
} gguf_walk;

/* The next pieces: at most `cap`, together at most max_bytes (>= piece_bytes). Returns their
 * number; 0 at the end. */
size_t gguf_walk_next(gguf_walk *walk, uint64_t max_bytes, gguf_piece *out, size_t cap);

#endif
