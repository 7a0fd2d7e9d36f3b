/* encode_small_internal.h - one to two bits with one scale (q1_0, q2_0, tq1_0, tq2_0) and the 4-bit
 * floats (mxfp4, nvfp4): search tile by tile, then pack blocks.
 * Included once per level by a file that defines TAMIS_LANES. Layouts:
 * reference/tensor-types.md section 3. */
#ifndef TAMIS_FORMATS_ENCODE_SMALL_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_SMALL_INTERNAL_H

#include <stddef.h>

#include "formats/encode_internal.h"
#include "formats/encode_put_internal.h"
#include "formats/encode_fp4_internal.h"
#include "formats/encode_levels_internal.h"

/* --- mxfp4, nvfp4 --- */

static void encode_mxfp4(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        lanes ex;
        codes q;
        load_turned(x + at, n, 32, t.x);
        tile_weigh(&t, importance ? importance + at : NULL, n, 32, 1, 0.0f);
        mxfp4_search(&t, effort, &ex, &q);
        for (int l = 0; l < n; l++, blocks += 17) {
            blocks[0] = (uint8_t)ex.v[l];
            put_halves(blocks + 1, q.row + 32 * l);
        }
    }
}

/* Four groups of 16, each with its scale: elements r and r + 8 of a group share a byte. */
static inline void put_nvfp4(uint8_t *block, const float *scale, const uint8_t *q) {
    for (int s = 0; s < 4; s++) {
        block[s] = (uint8_t)scale[s];
        for (int r = 0; r < 8; r++) {
            block[4 + 8 * s + r] = (uint8_t)(q[16 * s + r] | q[16 * s + r + 8] << 4);
        }
    }
}

static void encode_nvfp4(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    for (int64_t at = 0; at < n_elems; at += 16 * LANES) {
        int n = n_elems - at < 16 * LANES ? (int)(n_elems - at) / 16 : LANES;
        tile t;
        lanes scale;
        codes q;
        load_turned(x + at, n, 16, t.x);
        drop_specks(&t, 16);
        tile_weigh(&t, importance ? importance + at : NULL, n, 16, 1, 0.0f);
        nvfp4_search(&t, effort, &scale, &q);
        for (int l = 0; l < n; l += 4, blocks += 36) {
            put_nvfp4(blocks, scale.v + l, q.row + 16 * l);
        }
    }
}

/* --- one step per block --- */

typedef void put_levels(uint8_t *block, float d, const uint8_t *q);

INLINE void encode_levels(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                          tamis_effort effort, const level_set *set, ptrdiff_t block_bytes,
                          put_levels *put) {
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        level_choice best;
        codes q;
        load_turned(x + at, n, 32, t.x);
        drop_specks(&t, 32);
        tile_weigh(&t, importance ? importance + at : NULL, n, 32, set->unit, 0.0f);
        level_search(&t, set, effort, &best, &q);
        for (int l = 0; l < n; l += set->unit, blocks += block_bytes) {
            put(blocks, best.d.v[l], q.row + 32 * l);
        }
    }
}

static const level_set set_ternary = {8, false};
static const level_set set_q2_0 = {2, true};

/* Digits c0 .. c4 of a byte stand `stride` apart; the fraction c0 c1 c2 c3 c4 / 243 of 256, up. */
static inline void put_ternary_bytes(uint8_t *out, const uint8_t *q, int n_bytes, int stride,
                                     bool has_fifth) {
    for (int i = 0; i < n_bytes; i++) {
        unsigned v = q[i];
        for (int k = 1; k < 4; k++) {
            v = 3 * v + q[i + k * stride];
        }
        v = 3 * v + (has_fifth ? q[i + 4 * stride] : 0u);
        out[i] = (uint8_t)((v * 256 + 242) / 243);
    }
}

INLINE void put_tq1_0(uint8_t *block, float d, const uint8_t *q) {
    put_ternary_bytes(block, q, 32, 32, true);
    put_ternary_bytes(block + 32, q + 160, 16, 16, true);
    put_ternary_bytes(block + 48, q + 240, 4, 4, false);
    put_f16(block + 52, d);
}

INLINE void put_tq2_0(uint8_t *block, float d, const uint8_t *q) {
    put_two_bits(block, q, 0);
    put_f16(block + 64, d);
}

INLINE void put_q2_0(uint8_t *block, float d, const uint8_t *q) {
    put_f16(block, d);
    for (int i = 0; i < 16; i++, q += 4) {
        block[2 + i] = (uint8_t)(q[0] | q[1] << 2 | q[2] << 4 | q[3] << 6);
    }
}

static void encode_tq1_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    encode_levels(x, importance, blocks, n_elems, effort, &set_ternary, 54, put_tq1_0);
}

static void encode_tq2_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    encode_levels(x, importance, blocks, n_elems, effort, &set_ternary, 66, put_tq2_0);
}

static void encode_q2_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    encode_levels(x, importance, blocks, n_elems, effort, &set_q2_0, 18, put_q2_0);
}

/* The signs are the codes, so the weighted mean of the magnitudes is the best d. */
static void encode_q1_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    (void)effort;
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        lanes mean, top;
        load_turned(x + at, n, 32, t.x);
        tile_weigh(&t, importance ? importance + at : NULL, n, 32, 4, 0.0f);
        level_bounds(&t, 4, &mean, &top);
        for (int l = 0; l < n; l += 4, blocks += 18) {
            put_f16(blocks, mean.v[l]);
            for (int i = 0; i < 16; i++) {
                const float *eight = x + at + 32 * l + 8 * i;
                unsigned bits = 0;
                for (int b = 0; b < 8; b++) {
                    bits |= (unsigned)(eight[b] >= 0.0f) << b;
                }
                blocks[2 + i] = (uint8_t)bits;
            }
        }
    }
}

#endif
