/* encode_super_internal.h - encoders of the 256-element formats: a tile is one super-block of 16
 * sub-blocks, or two of 8. Part of encode_linear_internal.h. */
#ifndef TAMIS_FORMATS_ENCODE_SUPER_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_SUPER_INTERNAL_H

enum { SUPER = 256 };

/* One super-block's share of a tile: d, dmin, integer scales (and minima) of its lanes, codes. */
typedef void put_super(uint8_t *block, float d, float dmin, const float *scale,
                       const float *minimum, const uint8_t *q);

/* A tile of each row in turn, so that its weights are prepared once. */
INLINE void encode_super_symmetric(const tamis_rows *r, tamis_effort effort, const code_set *set,
                                   ptrdiff_t block_bytes, put_super *put) {
    int per_tile = LANES / set->unit;
    for (int64_t at = 0; at < r->n_elems; at += per_tile * SUPER) {
        int n = r->n_elems - at < per_tile * SUPER ? (int)(r->n_elems - at) / SUPER : per_tile;
        int n_lanes = n * set->unit;
        tile t;
        tile_begin(&t, r->importance ? r->importance + at : NULL, n_lanes, set->n_sub, set->unit);
        for (int64_t row = 0; row < r->n_rows; row++) {
            uint8_t *blocks = r->blocks + row * r->row_bytes + at / SUPER * block_bytes;
            symmetric_choice best;
            codes q;
            tile_load(&t, r->x + row * r->n_elems + at, n_lanes, set->n_sub);
            symmetric_search(&t, set, effort, &best, &q);
            for (int i = 0, l = 0; i < n; i++, l += set->unit)
                put(blocks + i * block_bytes, best.d.v[l], 0.0f, best.scale.v + l, NULL,
                    q.row + i * SUPER);
        }
    }
}

INLINE void encode_super_affine(const tamis_rows *r, tamis_effort effort, const line_set *set,
                                ptrdiff_t block_bytes, put_super *put) {
    int per_tile = LANES / set->unit;
    for (int64_t at = 0; at < r->n_elems; at += per_tile * SUPER) {
        int n = r->n_elems - at < per_tile * SUPER ? (int)(r->n_elems - at) / SUPER : per_tile;
        int n_lanes = n * set->unit;
        tile t;
        tile_begin(&t, r->importance ? r->importance + at : NULL, n_lanes, set->n_sub, set->unit);
        for (int64_t row = 0; row < r->n_rows; row++) {
            uint8_t *blocks = r->blocks + row * r->row_bytes + at / SUPER * block_bytes;
            affine_choice best;
            codes q;
            tile_load(&t, r->x + row * r->n_elems + at, n_lanes, set->n_sub);
            affine_search(&t, set, effort, &best, &q);
            for (int i = 0, l = 0; i < n; i++, l += set->unit)
                put(blocks + i * block_bytes, best.d.v[l], best.dmin.v[l], best.scale.v + l,
                    best.minimum.v + l, q.row + i * SUPER);
        }
    }
}

/* Bit `bit` of the codes: element 32s + l is bit s of byte l. */
INLINE void put_one_bit(uint8_t *qh, const uint8_t *q, int bit) {
    for (int l = 0; l < 32; l++) {
        unsigned bits = 0;
        for (int s = 0; s < 8; s++) {
            bits |= ((unsigned)(q[32 * s + l] >> bit) & 1u) << s;
        }
        qh[l] = (uint8_t)bits;
    }
}

/* Low nibbles: elements 64i + l and 64i + 32 + l share byte 32i + l. */
INLINE void put_nibble_pairs(uint8_t *qs, const uint8_t *q) {
    for (int i = 0; i < 4; i++, qs += 32, q += 64) {
        for (int l = 0; l < 32; l++) {
            qs[l] = (uint8_t)((q[l] & 15) | (q[l + 32] & 15) << 4);
        }
    }
}

INLINE void put_q2_K(uint8_t *block, float d, float dmin, const float *scale, const float *minimum,
                     const uint8_t *q) {
    for (int i = 0; i < 16; i++) {
        block[i] = (uint8_t)((int)scale[i] | (int)minimum[i] << 4);
    }
    put_two_bits(block + 16, q, 0);
    put_f16(block + 80, d);
    put_f16(block + 82, dmin);
}

INLINE void put_q3_K(uint8_t *block, float d, float dmin, const float *scale, const float *minimum,
                     const uint8_t *q) {
    (void)dmin;
    (void)minimum;
    uint8_t *packed = block + 96;
    put_one_bit(block, q, 2);
    put_two_bits(block + 32, q, 0);
    memset(packed, 0, 12);
    for (int g = 0; g < 16; g++) {
        unsigned s = (unsigned)((int)scale[g] + 32);
        packed[g % 8] = (uint8_t)(packed[g % 8] | (s & 15) << (g < 8 ? 0 : 4));
        packed[8 + g % 4] = (uint8_t)(packed[8 + g % 4] | (s >> 4) << (2 * (g / 4)));
    }
    put_f16(block + 108, d);
}

/* Six-bit scales and minima of q4_K and q5_K in 12 bytes. */
INLINE void put_six_bits(uint8_t *k, const float *scale, const float *minimum) {
    for (int s = 0; s < 4; s++) {
        unsigned sc = (unsigned)(int)scale[s], m = (unsigned)(int)minimum[s];
        unsigned sc4 = (unsigned)(int)scale[s + 4], m4 = (unsigned)(int)minimum[s + 4];
        k[s] = (uint8_t)(sc | (sc4 >> 4) << 6);
        k[s + 4] = (uint8_t)(m | (m4 >> 4) << 6);
        k[s + 8] = (uint8_t)((sc4 & 15) | (m4 & 15) << 4);
    }
}

INLINE void put_q4_K(uint8_t *block, float d, float dmin, const float *scale, const float *minimum,
                     const uint8_t *q) {
    put_f16(block, d);
    put_f16(block + 2, dmin);
    put_six_bits(block + 4, scale, minimum);
    put_nibble_pairs(block + 16, q);
}

INLINE void put_q5_K(uint8_t *block, float d, float dmin, const float *scale, const float *minimum,
                     const uint8_t *q) {
    put_f16(block, d);
    put_f16(block + 2, dmin);
    put_six_bits(block + 4, scale, minimum);
    put_one_bit(block + 16, q, 4);
    put_nibble_pairs(block + 48, q);
}

INLINE void put_q6_K(uint8_t *block, float d, float dmin, const float *scale, const float *minimum,
                     const uint8_t *q) {
    (void)dmin;
    (void)minimum;
    for (int n = 0; n < 2; n++) {
        for (int l = 0; l < 64; l++) {
            const uint8_t *pair = q + 128 * n + l;
            block[64 * n + l] = (uint8_t)((pair[0] & 15) | (pair[64] & 15) << 4);
        }
    }
    put_two_bits(block + 128, q, 4);
    for (int i = 0; i < 16; i++) {
        block[192 + i] = (uint8_t)(int8_t)scale[i];
    }
    put_f16(block + 208, d);
}

INLINE void put_iq4_xs(uint8_t *block, float d, float dmin, const float *scale,
                       const float *minimum, const uint8_t *q) {
    (void)dmin;
    (void)minimum;
    unsigned high = 0;
    put_f16(block, d);
    for (int s = 0; s < 8; s += 2) {
        unsigned a = (unsigned)((int)scale[s] + 32), b = (unsigned)((int)scale[s + 1] + 32);
        block[4 + s / 2] = (uint8_t)((a & 15) | (b & 15) << 4);
        high |= (a >> 4) << (2 * s) | (b >> 4) << (2 * s + 2);
    }
    put_u16(block + 2, (uint16_t)high);
    for (int s = 0; s < 8; s++) {
        put_halves(block + 8 + 16 * s, q + 32 * s);
    }
}

static void encode_q2_K(const tamis_rows *rows, tamis_effort effort) {
    encode_super_affine(rows, effort, &set_q2_K, 84, put_q2_K);
}

static void encode_q3_K(const tamis_rows *rows, tamis_effort effort) {
    encode_super_symmetric(rows, effort, &set_q3_K, 110, put_q3_K);
}

static void encode_q4_K(const tamis_rows *rows, tamis_effort effort) {
    encode_super_affine(rows, effort, &set_q4_K, 144, put_q4_K);
}

static void encode_q5_K(const tamis_rows *rows, tamis_effort effort) {
    encode_super_affine(rows, effort, &set_q5_K, 176, put_q5_K);
}

static void encode_q6_K(const tamis_rows *rows, tamis_effort effort) {
    encode_super_symmetric(rows, effort, &set_q6_K, 210, put_q6_K);
}

static void encode_iq4_xs(const tamis_rows *rows, tamis_effort effort) {
    encode_super_symmetric(rows, effort, &set_iq4_xs, 136, put_iq4_xs);
}

#endif
