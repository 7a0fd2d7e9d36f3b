/* decode_around_internal.h - decoding an output so large that it leaves the caches before anyone
 * reads it. Stores through the caches first read every line that is written, which is half of the
 * traffic; these go around them. A few blocks are decoded into a tile and its whole lines are
 * copied on, in the order of the output, so that stores drain while the next tile is decoded.
 * Compiled per CPU level, on x86-64 only: gcc has no such stores for aarch64. Memory bound. */
#ifndef TAMIS_FORMATS_DECODE_AROUND_INTERNAL_H
#define TAMIS_FORMATS_DECODE_AROUND_INTERNAL_H

#include <string.h>

#include "formats/block_internal.h"
#include "formats/formats.h"
#include "formats/kernels_internal.h"

#if defined(__x86_64__)
enum {
    LINE_ELEMS = 16,  /* floats of a cache line */
    TILE_ELEMS = 256, /* whole blocks of every type */
};

static inline void copy_line(const float *restrict from, float *restrict to) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, _mm512_loadu_ps(from));
#elif defined(__AVX2__)
    _mm256_stream_ps(to, _mm256_loadu_ps(from));
    _mm256_stream_ps(to + 8, _mm256_loadu_ps(from + 8));
#else
    for (int i = 0; i < LINE_ELEMS; i += 4)
        _mm_stream_ps(to + i, _mm_loadu_ps(from + i));
#endif
}

static void decode_around(const tamis_type *type, tamis_decode_fn *decode, const uint8_t *blocks,
                          float *x, int64_t n_elems) {
    /* Up to a line of floats that the last tile left, and a tile behind them. */
    float tile[LINE_ELEMS + TILE_ELEMS];
    int64_t n_held = 0;
    size_t n_before_line = (64 - (uintptr_t)x % 64) % 64 / sizeof *x;
    while (n_elems > 0) {
        int64_t n = n_elems < TILE_ELEMS ? n_elems : TILE_ELEMS;
        decode(blocks, tile + n_held, n);
        blocks += n / type->block_elems * type->block_bytes;
        n_elems -= n;
        n_held += n;
        int64_t at = 0;
        if (n_before_line && n_held >= (int64_t)n_before_line) {
            memcpy(x, tile, n_before_line * sizeof *x);
            at = (int64_t)n_before_line;
            n_before_line = 0;
        }
        for (; at + LINE_ELEMS <= n_held; at += LINE_ELEMS)
            copy_line(tile + at, x + at);
        x += at;
        n_held -= at;
        memcpy(tile, tile + at, (size_t)n_held * sizeof *tile);
    }
    memcpy(x, tile, (size_t)n_held * sizeof *x);
    _mm_sfence(); /* whoever is told that this is done sees all of it */
}
#endif

#endif
