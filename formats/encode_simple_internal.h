/* encode_simple_internal.h - encoders of the 32-element formats, one block per lane.
 * Part of encode_linear_internal.h. */
#ifndef TAMIS_FORMATS_ENCODE_SIMPLE_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_SIMPLE_INTERNAL_H

typedef void put_symmetric(uint8_t *block, float d, const uint8_t *q);
typedef void put_affine(uint8_t *block, float d, float minimum, const uint8_t *q);

INLINE void encode_symmetric(const float *x, const float *importance, uint8_t *blocks,
                             int64_t n_elems, tamis_effort effort, const code_set *set,
                             ptrdiff_t block_bytes, put_symmetric *put) {
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        symmetric_choice best;
        codes q;
        tile_load(&t, x + at, importance ? importance + at : NULL, n, 32, 1);
        symmetric_search(&t, set, effort, &best, &q);
        for (int l = 0; l < n; l++) {
            put(blocks, best.d.v[l], q.row + 32 * l);
            blocks += block_bytes;
        }
    }
}

INLINE void encode_affine(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                          tamis_effort effort, const line_set *set, ptrdiff_t block_bytes,
                          put_affine *put) {
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        affine_choice best;
        codes q;
        tile_load(&t, x + at, importance ? importance + at : NULL, n, 32, 1);
        affine_search(&t, set, effort, &best, &q);
        for (int l = 0; l < n; l++) {
            put(blocks, best.d.v[l], best.dmin.v[l], q.row + 32 * l);
            blocks += block_bytes;
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

static void encode_q4_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    encode_symmetric(x, importance, blocks, n_elems, effort, &set_q4_0, 18, put_q4_0);
}

static void encode_q5_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    encode_symmetric(x, importance, blocks, n_elems, effort, &set_q5_0, 22, put_q5_0);
}

static void encode_iq4_nl(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                          tamis_effort effort) {
    encode_symmetric(x, importance, blocks, n_elems, effort, &set_iq4_nl, 18, put_q4_0);
}

static void encode_q4_1(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    encode_affine(x, importance, blocks, n_elems, effort, &set_q4_1, 20, put_q4_1);
}

static void encode_q5_1(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                        tamis_effort effort) {
    encode_affine(x, importance, blocks, n_elems, effort, &set_q5_1, 24, put_q5_1);
}

#endif
