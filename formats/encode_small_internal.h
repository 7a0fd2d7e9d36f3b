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

/* Codes are made from the row itself, in its order: TAMIS_LANES elements times two factors. */
INLINE vi fp4_codes_at(const float *x, vf factor, float other) {
    return fp4_code(v_load_unaligned(x) * factor * v_set(other));
}

static void encode_mxfp4(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        lanes ex, inverse;
        load_turned(x + at, n, 32, false, t.x);
        tile_weigh(&t, importance ? importance + at : NULL, n, 32, 1, 0.0f);
        mxfp4_search(&t, effort, &ex, &inverse);
        for (int l = 0; l < n; l++, blocks += 17) {
            const float *row = x + at + 32 * l;
            vf half = v_set(inverse.v[l]);
            blocks[0] = (uint8_t)ex.v[l];
            FOR_LANES(g) {
                vi low = fp4_codes_at(row + g, half, 2.0f);
                vi high = fp4_codes_at(row + 16 + g, half, 2.0f);
                v_store_bytes(blocks + 1 + g, low | high << 4);
            }
        }
    }
}

/* Four groups of 16, each with its scale: elements r and r + 8 of a group share a byte. */
INLINE void put_nvfp4(uint8_t *block, const float *x, const float *scale, const float *inverse) {
    for (int s = 0; s < 4; s++) {
        uint8_t q[16];
        block[s] = (uint8_t)scale[s];
        FOR_LANES(g) {
            v_store_bytes(q + g, fp4_codes_at(x + 16 * s + g, v_set(inverse[s]), 1.0f));
        }
        uint64_t low, high; /* eight codes each, one a byte */
        memcpy(&low, q, 8);
        memcpy(&high, q + 8, 8);
        low |= high << 4;
        memcpy(block + 4 + 8 * s, &low, 8);
    }
}

static void encode_nvfp4(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    for (int64_t at = 0; at < n_elems; at += 16 * LANES) {
        int n = n_elems - at < 16 * LANES ? (int)(n_elems - at) / 16 : LANES;
        tile t;
        lanes scale, inverse;
        load_turned(x + at, n, 16, true, t.x);
        tile_weigh(&t, importance ? importance + at : NULL, n, 16, 1, 0.0f);
        nvfp4_search(&t, effort, &scale, &inverse);
        for (int l = 0; l < n; l += 4, blocks += 36) {
            put_nvfp4(blocks, x + at + 16 * l, scale.v + l, inverse.v + l);
        }
    }
}

/* --- one step per block --- */

static const level_set set_ternary = {16, 16, false};
static const level_set set_signs = {8, 16, false};
static const level_set set_q2_0 = {32, 2, true};

/* Fill a tile with one block in the order of the row: lane l of vector e is element 16e + l. */
INLINE void load_straight(tile *t, const float *x, const float *importance, const level_set *set) {
    memcpy(t->x, x, (size_t)set->n_sub * sizeof t->x[0]);
    if (importance) {
        memcpy(t->w, importance, (size_t)set->n_sub * sizeof t->w[0]);
        scale_importance(t, set->n_sub, 16, 0.0f);
    } else {
        tile_weigh(t, NULL, LANES, set->n_sub, 16, 0.0f);
    }
}

/* 0, 1, 2 for -1, 0, 1 times d. */
INLINE vi ternary_code(const float *x, vf half) {
    vf v = v_load(x);
    return 1 - (v > half) + (v < -half);
}

/* Five digits c0 .. c4 from vectors of elements as the fraction c0 c1 c2 c3 c4 / 243 of 256, up. */
INLINE vi ternary_byte(const float *x, int stride, vf half) {
    vi v = ternary_code(x, half);
    for (int k = 1; k < 5; k++) {
        v = 3 * v + ternary_code(x + k * stride, half);
    }
    /* (v * 256 + 242) / 243, for v < 243. */
    return (v * 256 + 242) * 8631 >> 21;
}

INLINE void put_tq1_0(uint8_t *block, const tile *t, float d, float half_step) {
    uint8_t last[16];
    FOR_LANES(g) {
        vf half = v_set(half_step);
        v_store_bytes(block + g, ternary_byte(&t->x[0][g], 2 * LANES, half));
        v_store_bytes(block + 16 + g, ternary_byte(&t->x[1][g], 2 * LANES, half));
        v_store_bytes(block + 32 + g, ternary_byte(&t->x[10][g], LANES, half));
        v_store_bytes(last + g, ternary_code(&t->x[15][g], half));
    }
    /* Four digits a byte, and no fifth. */
    for (int i = 0; i < 4; i++) {
        unsigned v = last[i] * 81u + last[i + 4] * 27u + last[i + 8] * 9u + last[i + 12] * 3u;
        block[48 + i] = (uint8_t)((v * 256 + 242) / 243);
    }
    put_f16(block + 52, d);
}

/* Element 128n + 32j + l is bits 2j of byte 32n + l. */
INLINE void put_tq2_0(uint8_t *block, const tile *t, float d, float half_step) {
    for (int i = 0; i < 4; i++) {
        FOR_LANES(g) {
            const float *x = &t->x[8 * (i / 2) + i % 2][g];
            vf half = v_set(half_step);
            vi a = ternary_code(x, half), b = ternary_code(x + 2 * LANES, half);
            vi c = ternary_code(x + 4 * LANES, half), e = ternary_code(x + 6 * LANES, half);
            v_store_bytes(block + 16 * i + g, a | b << 2 | c << 4 | e << 6);
        }
    }
    put_f16(block + 64, d);
}

/* d as stored, and half of it: what a magnitude has to be above to count; nothing is above with a
 * step of 0. */
typedef void put_ternary(uint8_t *block, const tile *t, float d, float half);

INLINE void encode_ternary(const float *x, const float *importance, uint8_t *blocks,
                           int64_t n_elems, tamis_effort effort, ptrdiff_t block_bytes,
                           put_ternary *put) {
    for (int64_t at = 0; at < n_elems; at += 256, blocks += block_bytes) {
        tile t;
        lanes d;
        load_straight(&t, x + at, importance ? importance + at : NULL, &set_ternary);
        level_search(&t, &set_ternary, effort, &d);
        put(blocks, &t, d.v[0], d.v[0] > 0.0f ? 0.5f * d.v[0] : __builtin_inff());
    }
}

static void encode_tq1_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    encode_ternary(x, importance, blocks, n_elems, effort, 54, put_tq1_0);
}

static void encode_tq2_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    encode_ternary(x, importance, blocks, n_elems, effort, 66, put_tq2_0);
}

/* bytes[i][l]: codes of elements 4i .. 4i + 3 of lane l, the first in the lowest bits. */
INLINE void q2_0_bytes(const tile *t, const lanes *d, uint8_t bytes[8][LANES]) {
    FOR_LANES(g) {
        vf inverse = v_inverse(v_load(d->v + g));
        for (int i = 0; i < 8; i++) {
            vi byte = (vi)v_set(0.0f);
            for (int k = 3; k >= 0; k--) {
                vf value = v_round(v_load(&t->x[4 * i + k][g]) * inverse);
                value = v_clamp(value, -1.0f, 2.0f) + v_set(1.0f);
                byte = byte << 2 | __builtin_convertvector(value, vi);
            }
            v_store_bytes(bytes[i] + g, byte);
        }
    }
}

static void encode_q2_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        lanes d;
        uint8_t bytes[8][LANES];
        load_turned(x + at, n, 32, true, t.x);
        tile_weigh(&t, importance ? importance + at : NULL, n, 32, set_q2_0.unit, 0.0f);
        level_search(&t, &set_q2_0, effort, &d);
        q2_0_bytes(&t, &d, bytes);
        for (int l = 0; l < n; l += 2, blocks += 18) {
            put_f16(blocks, d.v[l]);
            for (int i = 0; i < 8; i++) {
                blocks[2 + i] = bytes[i][l];
                blocks[10 + i] = bytes[i][l + 1];
            }
        }
    }
}

/* The signs are the codes, so the weighted mean of the magnitudes is the best d. */
static void encode_q1_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    (void)effort;
    for (int64_t at = 0; at < n_elems; at += 128, blocks += 18) {
        tile t;
        lanes mean, top;
        load_straight(&t, x + at, importance ? importance + at : NULL, &set_signs);
        level_bounds(&t, &set_signs, &mean, &top);
        put_f16(blocks, mean.v[0]);
        for (int e = 0; e < 8; e++) {
            unsigned bits = 0;
            FOR_LANES(g) {
                bits |= v_bits(v_load(&t.x[e][g]) >= v_set(0.0f)) << g;
            }
            put_u16(blocks + 2 + 2 * e, (uint16_t)bits);
        }
    }
}

#endif
