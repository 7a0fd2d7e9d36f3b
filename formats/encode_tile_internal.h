/* encode_tile_internal.h - a tile: 16 or 32 sub-blocks of a row, turned so that a vector holds one
 * element of several sub-blocks. Sums over a sub-block are then sums of vectors in order of
 * elements; sums over a super-block ("unit") go through unit_sum(), whose tree is the
 * same for every vector width. A unit is 1 lane (32-element formats), 8 or 16 lanes. */
#ifndef TAMIS_FORMATS_ENCODE_TILE_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_TILE_INTERNAL_H

#include <stdbool.h>
#include <string.h>

#include "formats/encode_lanes_internal.h"
#include "formats/float16.h"

/* A family whose sums over units and divisions are many takes more lanes, to hide their latency. */
#ifndef TAMIS_TILE_LANES
#define TAMIS_TILE_LANES 16
#endif
enum { LANES = TAMIS_TILE_LANES, MAX_SUB = 32 };

/* Per lane values of a tile. */
typedef struct lanes {
    _Alignas(64) float v[LANES];
} lanes;

typedef struct tile {
    _Alignas(64) float x[MAX_SUB][LANES];
    _Alignas(64) float w[MAX_SUB][LANES]; /* importance, scaled by a power of two per unit */
    int n_used;                           /* lanes that hold a sub-block, rounded up to a vector */
    lanes share; /* 0: without importance in a unit that has some; its errors do not count */
} tile;

/* Codes of a tile, row[i_lane * n_sub + e]: the order of the elements in the row. */
typedef struct codes {
    _Alignas(64) uint8_t row[MAX_SUB * LANES];
} codes;

/* Loop over the vectors of a tile's lanes. */
#define FOR_LANES(g) for (int g = 0; g < LANES; g += TAMIS_LANES)
/* The same over the vectors that hold any sub-block: for what goes through the elements. */
#define FOR_USED(t, g) for (int g = 0; g < (t)->n_used; g += TAMIS_LANES)

/* Replace each lane by the sum over its unit. Butterfly, so all lanes get the same bits. */
INLINE void unit_sum(lanes *a, int unit) {
    lanes b;
    for (int step = unit / 2; step > 0; step /= 2) {
        b = *a;
        FOR_LANES(g) {
            vf mine = v_load(b.v + g);
            vf other = step < TAMIS_LANES ? v_across(mine, step) : v_load(b.v + (g ^ step));
            v_store(a->v + g, mine + other);
        }
    }
}

/* Replace each lane by the largest of its unit. */
INLINE void unit_max(lanes *a, int unit) {
    lanes b;
    for (int step = unit / 2; step > 0; step /= 2) {
        b = *a;
        FOR_LANES(g) {
            vf mine = v_load(b.v + g);
            vf other = step < TAMIS_LANES ? v_across(mine, step) : v_load(b.v + (g ^ step));
            v_store(a->v + g, v_max(mine, other));
        }
    }
}

/* Values far below the smallest step of any format (2^-24) count as zero, so that no inverse
 * overflows and no square underflows. */
INLINE vf drop_specks(vf x) {
    return (vf)((vi)x & (v_abs(x) >= v_set(0x1p-40f)));
}

/* out[e][l] = row[l * n_sub + e]; lanes past n_lanes are zero, and specks where told so. */
INLINE void load_turned(const float *row, int n_lanes, int n_sub, bool without_specks,
                        float out[][LANES]) {
    FOR_LANES(g) {
        for (int at = 0; at < n_sub; at += TAMIS_LANES) {
            vf m[TAMIS_LANES];
            for (int i = 0; i < TAMIS_LANES; i++) {
                m[i] = v_set(0.0f);
                if (g + i < n_lanes) {
                    memcpy(&m[i], row + (g + i) * n_sub + at, sizeof m[i]);
                }
                if (without_specks) m[i] = drop_specks(m[i]);
            }
            v_turn(m);
            for (int i = 0; i < TAMIS_LANES; i++) {
                v_store(&out[at + i][g], m[i]);
            }
        }
    }
}

/* Four codes per lane, 0 .. 255, as the bytes of a word in the order of memory. */
INLINE vf word_of_codes(const vf code[4]) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    vf low = code[3] + v_set(256.0f) * code[2], high = code[1] + v_set(256.0f) * code[0];
#else
    vf low = code[0] + v_set(256.0f) * code[1], high = code[2] + v_set(256.0f) * code[3];
#endif
    return (vf)(__builtin_convertvector(low, vi) | __builtin_convertvector(high, vi) << 16);
}

/* Codes of one vector of lanes, code[e] of element e, into the order of the row. Sixteen codes of
 * a lane are four words, and words are turned in squares of four. */
INLINE void store_turned(const vf *code, int g, int n_sub, codes *out) {
    for (int at = 0; at < n_sub; at += 16) {
        vf word[4];
        for (int i = 0; i < 4; i++)
            word[i] = word_of_codes(code + at + 4 * i);
        v_turn_fours(word);
        for (int i = 0; i < 4; i++) {
            for (int l = 0; l < TAMIS_LANES; l += 4)
                memcpy(out->row + (g + l + i) * n_sub + at, (const char *)&word[i] + 4 * l, 16);
        }
    }
}

/* Whether a step in use is only few f16 subnormal units (2^-24). */
INLINE bool any_tiny_step(const lanes *d) {
    vi tiny = (vi)v_set(0.0f);
    uint64_t any = 0, part[sizeof tiny / sizeof any];
    FOR_LANES(g) {
        vf magnitude = v_abs(v_load(d->v + g));
        tiny |= (magnitude > v_set(0.0f)) & (magnitude < v_set(0x1p-17f));
    }
    memcpy(part, &tiny, sizeof part);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        any |= part[i];
    }
    return any != 0;
}

/* Such steps rounded away from zero: half a unit added. The others stay. */
INLINE void widen_tiny_steps(lanes *d) {
    FOR_LANES(g) {
        vf step = v_load(d->v + g), magnitude = v_abs(step);
        vf wider = step + v_select(step < v_set(0.0f), v_set(-0x1p-25f), v_set(0x1p-25f));
        vi tiny = (magnitude > v_set(0.0f)) & (magnitude < v_set(0x1p-17f));
        v_store(d->v + g, v_select(tiny, wider, step));
    }
}

INLINE void round_steps(lanes *d) {
    FOR_LANES(g) {
        v_store(d->v + g, v_f16(v_load(d->v + g)));
    }
}

/* Bring the importance of a unit into [0, 2) by a power of two. A sub-block without any is
 * weighted evenly: with 1 when its unit has none either, else with `faint`. */
INLINE void scale_importance(tile *t, int n_sub, int unit, float faint) {
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
        vf light = v_select(unit_top == v_set(0.0f), v_set(1.0f), v_set(faint));
        vi empty = v_load(own.v + g) == v_set(0.0f);
        vi is_ignored = empty & (unit_top > v_set(0.0f));
        v_store(t->share.v + g, v_select(is_ignored, v_set(0.0f), v_set(1.0f)));
        for (int e = 0; e < n_sub; e++) {
            vf w = v_load(&t->w[e][g]) * factor;
            v_store(&t->w[e][g], v_select(empty, light, w));
        }
    }
}

/* Whether an error is lower than the least so far by more than the sums may be off: so that what
 * a longer search finds is never worse. */
INLINE vi is_lower(vf error, vf least) {
    return error < least * v_set(1.0f - 1e-5f);
}

/* Fill the weights of a tile from the importance of up to LANES sub-blocks; NULL weighs all alike.
 */
INLINE void tile_weigh(tile *t, const float *importance, int n_lanes, int n_sub, int unit,
                       float faint) {
    if (importance) {
        load_turned(importance, n_lanes, n_sub, false, t->w);
        scale_importance(t, n_sub, unit, faint);
    } else {
        FOR_LANES(g) {
            v_store(t->share.v + g, v_set(1.0f));
            for (int e = 0; e < n_sub; e++) {
                v_store(&t->w[e][g], v_set(1.0f));
            }
        }
    }
}

/* Fill the weights of a tile for up to LANES sub-blocks of every row that has this importance. A
 * sub-block that shares its scale and has no importance is weighted for a sub-scale that fits;
 * share is 0 there. */
INLINE void tile_begin(tile *t, const float *importance, int n_lanes, int n_sub, int unit) {
    t->n_used = (n_lanes + TAMIS_LANES - 1) / TAMIS_LANES * TAMIS_LANES;
    tile_weigh(t, importance, n_lanes, n_sub, unit, 1.0f);
}

/* The sub-blocks of one row; the lanes left over are zero. */
INLINE void tile_load(tile *t, const float *x, int n_lanes, int n_sub) {
    load_turned(x, n_lanes, n_sub, true, t->x);
}

#endif
