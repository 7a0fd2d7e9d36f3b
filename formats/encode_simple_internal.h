/* encode_simple_internal.h - encoders of the 32-element formats, one block per lane.
 * Part of encode_linear_internal.h. */
#ifndef TAMIS_FORMATS_ENCODE_SIMPLE_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_SIMPLE_INTERNAL_H

typedef void put_symmetric(uint8_t *block, float d, const uint8_t *q);
typedef void put_affine(uint8_t *block, float d, float minimum, const uint8_t *q);

/* A tile of each row in turn, so that its weights are prepared once. */
INLINE void encode_symmetric(const tamis_rows *r, tamis_effort effort, const code_set *set,
                             ptrdiff_t block_bytes, put_symmetric *put) {
    for (int64_t at = 0; at < r->n_elems; at += 32 * LANES) {
        int n = r->n_elems - at < 32 * LANES ? (int)(r->n_elems - at) / 32 : LANES;
        tile t;
        tile_begin(&t, r->importance ? r->importance + at : NULL, n, 32, 1);
        for (int64_t i = 0; i < r->n_rows; i++) {
            uint8_t *blocks = r->blocks + i * r->row_bytes + at / 32 * block_bytes;
            symmetric_choice best;
            codes q;
            tile_load(&t, r->x + i * r->n_elems + at, n, 32);
            symmetric_search(&t, set, effort, &best, &q);
            for (int l = 0; l < n; l++)
                put(blocks + l * block_bytes, best.d.v[l], q.row + 32 * l);
        }
    }
}

INLINE void encode_affine(const tamis_rows *r, tamis_effort effort, const line_set *set,
                          ptrdiff_t block_bytes, put_affine *put) {
    for (int64_t at = 0; at < r->n_elems; at += 32 * LANES) {
        int n = r->n_elems - at < 32 * LANES ? (int)(r->n_elems - at) / 32 : LANES;
        tile t;
        tile_begin(&t, r->importance ? r->importance + at : NULL, n, 32, 1);
        for (int64_t i = 0; i < r->n_rows; i++) {
            uint8_t *blocks = r->blocks + i * r->row_bytes + at / 32 * block_bytes;
            affine_choice best;
            codes q;
            tile_load(&t, r->x + i * r->n_elems + at, n, 32);
            affine_search(&t, set, effort, &best, &q);
            for (int l = 0; l < n; l++)
                put(blocks + l * block_bytes, best.d.v[l], best.dmin.v[l], q.row + 32 * l);
        }
    }
}

INLINE void put_q4_0(uint8_t *block, float d, const uint8_t *q) {
    put_f16(block, d);
    put_halves(block + 2, q);
}

INLINE void put_q5_0(uint8_t *block, float d, const uint8_t *q) {
    put_f16(block, d);
    put_fifth_bits(block + 2, q);
    put_halves(block + 6, q);
}

INLINE void put_q4_1(uint8_t *block, float d, float minimum, const uint8_t *q) {
    put_f16(block, d);
    put_f16(block + 2, minimum);
    put_halves(block + 4, q);
}

INLINE void put_q5_1(uint8_t *block, float d, float minimum, const uint8_t *q) {
    put_f16(block, d);
    put_f16(block + 2, minimum);
    put_fifth_bits(block + 4, q);
    put_halves(block + 8, q);
}

static void encode_q4_0(const tamis_rows *rows, tamis_effort effort) {
    encode_symmetric(rows, effort, &set_q4_0, 18, put_q4_0);
}

static void encode_q5_0(const tamis_rows *rows, tamis_effort effort) {
    encode_symmetric(rows, effort, &set_q5_0, 22, put_q5_0);
}

static void encode_iq4_nl(const tamis_rows *rows, tamis_effort effort) {
    encode_symmetric(rows, effort, &set_iq4_nl, 18, put_q4_0);
}

static void encode_q4_1(const tamis_rows *rows, tamis_effort effort) {
    encode_affine(rows, effort, &set_q4_1, 20, put_q4_1);
}

static void encode_q5_1(const tamis_rows *rows, tamis_effort effort) {
    encode_affine(rows, effort, &set_q5_1, 24, put_q5_1);
}

#endif
