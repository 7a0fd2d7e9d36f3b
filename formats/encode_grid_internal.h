/* encode_grid_internal.h - encoders of the grid formats: the sets, and the way into the blocks.
 * A tile is one super-block of 16 sub-blocks, or two of 8. Layouts: reference/tensor-types.md
 * section 4; search: encode_grid_search_internal.h. */
#ifndef TAMIS_FORMATS_ENCODE_GRID_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_GRID_INTERNAL_H

#include "formats/encode_grid_search_internal.h"
#include "formats/encode_internal.h"
#include "formats/encode_put_internal.h"

enum { SUPER = 256 };

/* The entries of a super-block in the order of its groups, index by entry. */
typedef struct super_entries {
    const float *scale;
    uint16_t index[64];
    uint8_t sign[32];
} super_entries;

typedef void put_grid(uint8_t *block, float d, const super_entries *e);

static __attribute__((noinline)) void nearest_8_even(const grid_runs *runs, const float *values,
                                                     const group_pair *in, vi code[2]) {
    nearest_of_8(runs, values, in, true, code);
}

static __attribute__((noinline)) void nearest_8(const grid_runs *runs, const float *values,
                                                const group_pair *in, vi code[2]) {
    nearest_of_8(runs, values, in, false, code);
}

static __attribute__((noinline)) void nearest_2x4_even(const grid_runs *runs, const float *values,
                                                       const group_pair *in, vi code[2]) {
    for (int k = 0; k < 2; k++) {
        code[k] = nearest_of_2x4(runs, values, in->t[k], in->w[k], true, in->odd[k]);
    }
}

static __attribute__((noinline)) void nearest_2x4(const grid_runs *runs, const float *values,
                                                  const group_pair *in, vi code[2]) {
    for (int k = 0; k < 2; k++) {
        code[k] = nearest_of_2x4(runs, values, in->t[k], in->w[k], false, in->odd[k]);
    }
}

/* Where a code stands in a sorted grid whose length is a power of two. */
INLINE uint16_t grid_index(const uint16_t *grid, int n_entries, uint32_t code) {
    int at = 0;
    for (int step = n_entries / 2; step > 0; step /= 2) {
        at += grid[at + step] <= code ? step : 0;
    }
    return (uint16_t)at;
}

INLINE void collect_entries(const grid_set *set, const grid_choice *c, int first_lane,
                            super_entries *out) {
    int n_groups = set->n_sub / GROUP;
    out->scale = c->scale.v + first_lane;
    for (int i = 0; i < 32; i++) {
        int l = first_lane + i / n_groups, k = i % n_groups;
        uint32_t code = (uint32_t)c->e.code[k][l];
        out->sign[i] = (uint8_t)c->e.sign[k][l];
        if (set->n_bits == 2) {
            out->index[i] = grid_index(set->grid, set->n_entries, code);
        } else {
            out->index[2 * i] = grid_index(set->grid, set->n_entries, code & 0xFFF);
            out->index[2 * i + 1] = grid_index(set->grid, set->n_entries, code >> 12);
        }
    }
}

/* Sub-blocks without importance weigh nothing, so that sums are those of the decoded errors. */
INLINE void load_lanes(tile *t, const float *x, const float *w, int n_lanes, int n_sub, int unit) {
    load_turned(x, n_lanes, n_sub, t->x);
    drop_specks(t, n_sub);
    tile_weigh(t, w, n_lanes, n_sub, unit, 0.0f);
}

static void encode_grid(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort, const grid_set *set, ptrdiff_t block_bytes,
                        put_grid *put) {
    grid_work work;
    int per_tile = LANES / set->unit;
    work.set = set;
    find_runs(set->grid, set->n_entries, set->n_bits == 2 ? 8 : 6, &work.runs);
    for (int64_t at = 0; at < n_elems; at += per_tile * SUPER) {
        int n = n_elems - at < per_tile * SUPER ? (int)(n_elems - at) / SUPER : per_tile;
        const float *w = importance ? importance + at : NULL;
        if (set->unit == 8) {
            load_lanes(&work.t, x + at, w, n * 8, 32, 8);
        } else {
            load_lanes(&work.t, x + at, w, n * 16, 16, 16);
        }
        grid_search(&work, effort);
        for (int i = 0; i < n; i++) {
            super_entries e;
            collect_entries(set, &work.best, i * set->unit, &e);
            put(blocks, work.best.d.v[i * set->unit], &e);
            blocks += block_bytes;
        }
    }
}

/* Four signs codes of seven bits, the eighth follows, and the scale of 32 elements. */
INLINE uint32_t signs_and_scale(const super_entries *e, int s) {
    uint32_t word = (uint32_t)e->scale[s] << 28;
    for (int k = 0; k < 4; k++) {
        word |= (uint32_t)(e->sign[4 * s + k] & 127) << (7 * k);
    }
    return word;
}

INLINE void put_scale_nibbles(uint8_t *at, const float *scale, int n) {
    for (int i = 0; i < n; i++) {
        at[i] = (uint8_t)((int)scale[2 * i] | (int)scale[2 * i + 1] << 4);
    }
}

static void put_iq2_xxs(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    for (int s = 0; s < 8; s++) {
        for (int k = 0; k < 4; k++) {
            block[2 + 8 * s + k] = (uint8_t)e->index[4 * s + k];
        }
        put_u32(block + 6 + 8 * s, signs_and_scale(e, s));
    }
}

static void put_iq2_xs(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    for (int i = 0; i < 32; i++) {
        put_u16(block + 2 + 2 * i, (uint16_t)(e->index[i] | (e->sign[i] & 127) << 9));
    }
    put_scale_nibbles(block + 66, e->scale, 8);
}

static void put_iq2_s(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    memset(block + 66, 0, 8);
    for (int i = 0; i < 32; i++) {
        block[2 + i] = (uint8_t)e->index[i];
        block[34 + i] = e->sign[i];
        block[66 + i / 4] |= (uint8_t)(e->index[i] >> 8 << (2 * (i % 4)));
    }
    put_scale_nibbles(block + 74, e->scale, 8);
}

static void put_iq3_xxs(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    for (int i = 0; i < 64; i++) {
        block[2 + i] = (uint8_t)e->index[i];
    }
    for (int s = 0; s < 8; s++) {
        put_u32(block + 66 + 4 * s, signs_and_scale(e, s));
    }
}

static void put_iq3_s(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    memset(block + 66, 0, 8);
    for (int i = 0; i < 64; i++) {
        block[2 + i] = (uint8_t)e->index[i];
        block[66 + i / 8] |= (uint8_t)(e->index[i] >> 8 << (i % 8));
    }
    memcpy(block + 74, e->sign, 32);
    put_scale_nibbles(block + 106, e->scale, 4);
}

/* Values: reference/tensor-types.md section 4. */
static const float iq2_values[1][8] = {{8, 25, 43}};
static const float iq3_xxs_values[1][8] = {{4, 12, 20, 28, 36, 44, 52, 62}};
static const float iq3_s_values[1][8] = {{1, 3, 5, 7, 9, 11, 13, 15}};

static const grid_set set_iq2_xxs = {
    tamis_iq2_xxs_grid, 256, 2, nearest_8_even, nearest_8, true, 1, 4,
    iq2_values,         32,  8, 17.0f,          0.125f,    15.0f};
static const grid_set set_iq2_xs = {
    tamis_iq2_xs_grid, 512, 2,  nearest_8_even, nearest_8, true, 1, 2,
    iq2_values,        16,  16, 17.0f,          0.125f,    15.0f};
static const grid_set set_iq2_s = {tamis_iq2_s_grid, 1024, 2,  nearest_8, nearest_8, false, 1, 2,
                                   iq2_values,       16,   16, 17.0f,     0.125f,    15.0f};
static const grid_set set_iq3_xxs = {tamis_iq3_xxs_grid,
                                     256,
                                     3,
                                     nearest_2x4_even,
                                     nearest_2x4,
                                     true,
                                     1,
                                     4,
                                     iq3_xxs_values,
                                     32,
                                     8,
                                     20.0f,
                                     0.25f,
                                     15.0f};
static const grid_set set_iq3_s = {tamis_iq3_s_grid, 512, 3, nearest_2x4, nearest_2x4, false, 1, 4,
                                   iq3_s_values,     32,  8, 5.0f,        1.0f,        15.0f};

static void encode_iq2_xxs(const float *x, const float *importance, uint8_t *blocks,
                           int64_t n_elems, tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq2_xxs, 66, put_iq2_xxs);
}

static void encode_iq2_xs(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                          tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq2_xs, 74, put_iq2_xs);
}

static void encode_iq2_s(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq2_s, 82, put_iq2_s);
}

static void encode_iq3_xxs(const float *x, const float *importance, uint8_t *blocks,
                           int64_t n_elems, tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq3_xxs, 98, put_iq3_xxs);
}

static void encode_iq3_s(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq3_s, 110, put_iq3_s);
}

#endif
