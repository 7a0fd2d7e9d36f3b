/* encode_tile.h - a tile: 16 sub-blocks of a row, turned so that a vector holds one
 * element of several sub-blocks. Sums over a sub-block are then sums of vectors in order of
 * elements; sums over a super-block ("unit") go through unit_sum(), whose tree is the
 * same for every vector width. A unit is 1 lane (32-element formats), 8 or 16 lanes. */
#ifndef TAMIS_FORMATS_ENCODE_TILE_H
#define TAMIS_FORMATS_ENCODE_TILE_H

#include <string.h>

#include "formats/encode_lanes.h"
#include "formats/float16.h"

enum { LANES = 16, MAX_SUB = 32 };

typedef struct tile {
    _Alignas(64) float x[MAX_SUB][LANES];
    _Alignas(64) float w[MAX_SUB][LANES]; /* importance, scaled by a power of two per unit */
} tile;

/* Per lane values of a tile. */
typedef struct lanes {
    _Alignas(64) float v[LANES];
} lanes;

/* Codes of a tile, row[i_lane * n_sub + e]: the order of the elements in the row. */
typedef struct codes {
    _Alignas(64) uint8_t row[MAX_SUB * LANES];
} codes;

/* Loop over the vectors of a tile's lanes. */
#define FOR_LANES(g) for (int g = 0; g < LANES; g += TAMIS_LANES)

/* Replace each lane by the sum over its unit. Butterfly, so all lanes get the same bits. */
INLINE void unit_sum(lanes *a, int unit) {
    for (int step = unit / 2; step > 0; step /= 2) {
        lanes b;
        for (int i = 0; i < LANES; i++) {
            b.v[i] = a->v[i] + a->v[i ^ step];
        }
        *a = b;
    }
}

/* Replace each lane by the largest of its unit. */
INLINE void unit_max(lanes *a, int unit) {
    for (int step = unit / 2; step > 0; step /= 2) {
        lanes b;
        for (int i = 0; i < LANES; i++) {
            b.v[i] = a->v[i] > a->v[i ^ step] ? a->v[i] : a->v[i ^ step];
        }
        *a = b;
    }
}

INLINE void load_turned(const float *row, int n_lanes, int n_sub, float out[][LANES]) {
    for (int l = 0; l < n_lanes; l++) {
        for (int e = 0; e < n_sub; e++) {
            out[e][l] = row[l * n_sub + e];
        }
    }
    for (int l = n_lanes; l < LANES; l++) {
        for (int e = 0; e < n_sub; e++) {
            out[e][l] = 0.0f;
        }
    }
}

/* Values far below the smallest step of any format (2^-24) count as zero, so that no
 * inverse overflows and no square underflows. */
INLINE void drop_specks(tile *t, int n_sub) {
    for (int e = 0; e < n_sub; e++) {
        FOR_LANES(g) {
            vf x = v_load(&t->x[e][g]);
            v_store(&t->x[e][g], (vf)((vi)x & (v_abs(x) >= v_set(0x1p-40f))));
        }
    }
}

/* Bring the importance of a unit into [0, 2) by a power of two. A sub-block without any is
 * weighted evenly, and lightly when it shares its scale with others that have some. */
INLINE void scale_importance(tile *t, int n_sub, int unit) {
    lanes own, top;
    FOR_LANES(g) {
        vf m = v_load(&t->w[0][g]);
        for (int e = 1; e < n_sub; e++) {
            m = v_max(m, v_load(&t->w[e][g]));
        }
        v_store(own.v + g, m);
    }
    top = own;
    unit_max(&top, unit);
    FOR_LANES(g) {
        vf unit_top = v_load(top.v + g);
        vi exponent = (vi)unit_top >> 23;
        exponent = (exponent & ~(exponent > 253)) | (253 & (exponent > 253));
        vf factor = (vf)((254 - exponent) << 23);
        vf light = v_select(unit_top == v_set(0.0f), v_set(1.0f), v_set(1e-8f));
        vi empty = v_load(own.v + g) == v_set(0.0f);
        for (int e = 0; e < n_sub; e++) {
            vf w = v_load(&t->w[e][g]) * factor;
            v_store(&t->w[e][g], v_select(empty, light, w));
        }
    }
}

/* Fill a tile with up to 16 sub-blocks from x; the lanes left over are zero. */
INLINE void tile_load(tile *t, const float *x, const float *importance, int n_lanes, int n_sub,
                      int unit) {
    load_turned(x, n_lanes, n_sub, t->x);
    drop_specks(t, n_sub);
    if (importance) {
        load_turned(importance, n_lanes, n_sub, t->w);
        scale_importance(t, n_sub, unit);
    } else {
        for (int e = 0; e < n_sub; e++) {
            FOR_LANES(g) {
                v_store(&t->w[e][g], v_set(1.0f));
            }
        }
    }
}

#endif
