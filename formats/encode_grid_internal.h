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

static __attribute__((noinline)) void nearest_8_even(const tamis_grid_lists *runs,
                                                     const float *values, const group_pair *in,
                                                     vi code[2]) {
    nearest_of_8(runs, values, in, true, code);
}

static __attribute__((noinline)) void nearest_8(const tamis_grid_lists *runs, const float *values,
                                                const group_pair *in, vi code[2]) {
    nearest_of_8(runs, values, in, false, code);
}

static __attribute__((noinline)) void nearest_2x4_even(const tamis_grid_lists *runs,
                                                       const float *values, const group_pair *in,
                                                       vi code[2]) {
    for (int k = 0; k < 2; k++) {
        code[k] = nearest_of_2x4(runs, values, in->t[k], in->w[k], true, in->odd[k]);
    }
}

static __attribute__((noinline)) void nearest_2x4(const tamis_grid_lists *runs, const float *values,
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
    load_turned(x, n_lanes, n_sub, true, t->x);
    tile_weigh(t, w, n_lanes, n_sub, unit, 0.0f);
}

static void encode_grid(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort, const grid_set *set, ptrdiff_t block_bytes,
                        put_grid *put) {
    grid_work work;
    int per_tile = LANES / set->unit;
    work.set = set;
    work.lists = tamis_grid_lists_of(set->grid);
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

/* Low bytes of the indices, and what is above them in `n_bits` bits each of a byte per 32. */
INLINE void put_index_bytes(uint8_t *low, const super_entries *e) {
    for (int i = 0; i < 32; i++) {
        low[i] = (uint8_t)e->index[i];
    }
}

INLINE uint32_t high_index_bits(const super_entries *e, int s, int n_bits) {
    uint32_t bits = 0;
    for (int k = 0; k < 4; k++) {
        bits |= (uint32_t)(e->index[4 * s + k] >> 8) << (n_bits * k);
    }
    return bits;
}

/* Scale and sign of the shift of 32 elements in four bits. */
INLINE uint32_t scale_and_shift(const super_entries *e, int s) {
    return (uint32_t)e->scale[s] | (uint32_t)e->sign[4 * s] << 3;
}

INLINE void put_scales_and_shifts(uint8_t *at, const super_entries *e) {
    for (int s = 0; s < 8; s += 2) {
        at[s / 2] = (uint8_t)(scale_and_shift(e, s) | scale_and_shift(e, s + 1) << 4);
    }
}

static void put_iq1_s(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    put_index_bytes(block + 2, e);
    for (int s = 0; s < 8; s++) {
        uint32_t word = high_index_bits(e, s, 3) | scale_and_shift(e, s) << 12;
        put_u16(block + 34 + 2 * s, (uint16_t)word);
    }
}

/* The f16 is spread over the top four bits of the four words of scales. */
static void put_iq1_m(uint8_t *block, float d, const super_entries *e) {
    uint16_t d_bits = tamis_f32_to_f16(d);
    put_index_bytes(block, e);
    for (int i = 0; i < 16; i++) {
        uint32_t first = (uint32_t)(e->index[2 * i] >> 8 | e->sign[2 * i] << 3);
        uint32_t second = (uint32_t)(e->index[2 * i + 1] >> 8 | e->sign[2 * i + 1] << 3);
        block[32 + i] = (uint8_t)(first | second << 4);
    }
    for (int n = 0; n < 4; n++) {
        uint32_t word = (uint32_t)(d_bits >> (4 * n) & 15) << 12;
        for (int i = 0; i < 4; i++) {
            word |= (uint32_t)e->scale[4 * n + i] << (3 * i);
        }
        put_u16(block + 48 + 2 * n, (uint16_t)word);
    }
}

static void put_iq1_xs(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    put_index_bytes(block + 2, e);
    for (int s = 0; s < 8; s++) {
        block[34 + s] = (uint8_t)high_index_bits(e, s, 2);
    }
    put_scales_and_shifts(block + 42, e);
}

static void put_iq1_xxs(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    put_index_bytes(block + 2, e);
    for (int s = 0; s < 8; s++) {
        block[34 + s] = (uint8_t)(high_index_bits(e, s, 1) | scale_and_shift(e, s) << 4);
    }
}

static void put_iq1_xxxs(uint8_t *block, float d, const super_entries *e) {
    put_f16(block, d);
    put_index_bytes(block + 2, e);
    put_scales_and_shifts(block + 34, e);
}

/* Values: reference/tensor-types.md section 4; those of iq1 with both shifts. */
static const float iq1_values[2][8] = {{-0.875f, 0.125f, 1.125f}, {-1.125f, -0.125f, 0.875f}};
static const float iq2_values[1][8] = {{8, 25, 43}};
static const float iq3_xxs_values[1][8] = {{4, 12, 20, 28, 36, 44, 52, 62}};
static const float iq3_s_values[1][8] = {{1, 3, 5, 7, 9, 11, 13, 15}};

/* clang-format off */
static const grid_set set_iq2_xxs = {
    .grid = tamis_iq2_xxs_grid, .n_entries = 256, .n_bits = 2, .nearest = nearest_8_even, .is_even = true,
    .n_variants = 1, .n_shared = 4, .values = iq2_values, .n_sub = 32, .unit = 8,
    .mean_value = 17.0f, .base = 0.125f, .scale_hi = 15.0f};
static const grid_set set_iq2_xs = {
    .grid = tamis_iq2_xs_grid, .n_entries = 512, .n_bits = 2, .nearest = nearest_8_even, .is_even = true,
    .n_variants = 1, .n_shared = 2, .values = iq2_values, .n_sub = 16, .unit = 16,
    .mean_value = 17.0f, .base = 0.125f, .scale_hi = 15.0f};
static const grid_set set_iq2_s = {
    .grid = tamis_iq2_s_grid, .n_entries = 1024, .n_bits = 2, .nearest = nearest_8, .is_even = false,
    .n_variants = 1, .n_shared = 2, .values = iq2_values, .n_sub = 16, .unit = 16,
    .mean_value = 17.0f, .base = 0.125f, .scale_hi = 15.0f};
static const grid_set set_iq3_xxs = {
    .grid = tamis_iq3_xxs_grid, .n_entries = 256, .n_bits = 3, .nearest = nearest_2x4_even, .is_even = true,
    .n_variants = 1, .n_shared = 4, .values = iq3_xxs_values, .n_sub = 32, .unit = 8,
    .mean_value = 20.0f, .base = 0.25f, .scale_hi = 15.0f};
static const grid_set set_iq3_s = {
    .grid = tamis_iq3_s_grid, .n_entries = 512, .n_bits = 3, .nearest = nearest_2x4, .is_even = false,
    .n_variants = 1, .n_shared = 4, .values = iq3_s_values, .n_sub = 32, .unit = 8,
    .mean_value = 5.0f, .base = 1.0f, .scale_hi = 15.0f};
static const grid_set set_iq1_s = {
    .grid = tamis_iq1_s_grid, .n_entries = 2048, .n_bits = 2, .nearest = nearest_8, .is_even = false,
    .n_variants = 2, .n_shared = 4, .values = iq1_values, .n_sub = 32, .unit = 8,
    .mean_value = 0.75f, .base = 1.0f, .scale_hi = 7.0f, .is_thorough = true};
static const grid_set set_iq1_m = {
    .grid = tamis_iq1_s_grid, .n_entries = 2048, .n_bits = 2, .nearest = nearest_8, .is_even = false,
    .n_variants = 2, .n_shared = 1, .values = iq1_values, .n_sub = 16, .unit = 16,
    .mean_value = 0.75f, .base = 1.0f, .scale_hi = 7.0f, .is_thorough = true};
static const grid_set set_iq1_xs = {
    .grid = tamis_iq1_xs_grid, .n_entries = 1024, .n_bits = 2, .nearest = nearest_8, .is_even = false,
    .n_variants = 2, .n_shared = 4, .values = iq1_values, .n_sub = 32, .unit = 8,
    .mean_value = 0.75f, .base = 1.0f, .scale_hi = 7.0f, .is_thorough = true};
static const grid_set set_iq1_xxs = {
    .grid = tamis_iq1_xxs_grid, .n_entries = 512, .n_bits = 2, .nearest = nearest_8, .is_even = false,
    .n_variants = 2, .n_shared = 4, .values = iq1_values, .n_sub = 32, .unit = 8,
    .mean_value = 0.75f, .base = 1.0f, .scale_hi = 7.0f, .is_thorough = true};
static const grid_set set_iq1_xxxs = {
    .grid = tamis_iq1_xxxs_grid, .n_entries = 256, .n_bits = 2, .nearest = nearest_8, .is_even = false,
    .n_variants = 2, .n_shared = 4, .values = iq1_values, .n_sub = 32, .unit = 8,
    .mean_value = 0.75f, .base = 1.0f, .scale_hi = 7.0f, .is_thorough = true};
/* clang-format on */

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

static void encode_iq1_s(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq1_s, 50, put_iq1_s);
}

static void encode_iq1_m(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                         tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq1_m, 56, put_iq1_m);
}

static void encode_iq1_xs(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                          tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq1_xs, 46, put_iq1_xs);
}

static void encode_iq1_xxs(const float *x, const float *importance, uint8_t *blocks,
                           int64_t n_elems, tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq1_xxs, 42, put_iq1_xxs);
}

static void encode_iq1_xxxs(const float *x, const float *importance, uint8_t *blocks,
                            int64_t n_elems, tamis_effort effort) {
    encode_grid(x, importance, blocks, n_elems, effort, &set_iq1_xxxs, 38, put_iq1_xxxs);
}

#endif
