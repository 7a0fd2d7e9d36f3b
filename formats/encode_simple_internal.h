/* encode_simple_internal.h - encoders of the 32-element formats, one block per lane.
 * Part of encode_body_internal.h. */
#ifndef TAMIS_FORMATS_ENCODE_SIMPLE_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_SIMPLE_INTERNAL_H

typedef void put_symmetric(uint8_t *block, float d, const uint8_t *q);
typedef void put_affine(uint8_t *block, float d, float minimum, const uint8_t *q);

INLINE void encode_symmetric(const float *x, const float *importance, uint8_t *blocks,
                             int64_t n_elems, const code_set *set, ptrdiff_t block_bytes,
                             put_symmetric *put) {
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        symmetric_choice best;
        codes q;
        tile_load(&t, x + at, importance ? importance + at : NULL, n, 32, 1);
        symmetric_search(&t, set, &best, &q);
        for (int l = 0; l < n; l++) {
            put(blocks, best.d.v[l], q.row + 32 * l);
            blocks += block_bytes;
        }
    }
}

INLINE void encode_affine(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems,
                          const line_set *set, ptrdiff_t block_bytes, put_affine *put) {
    for (int64_t at = 0; at < n_elems; at += 32 * LANES) {
        int n = n_elems - at < 32 * LANES ? (int)(n_elems - at) / 32 : LANES;
        tile t;
        affine_choice best;
        codes q;
        tile_load(&t, x + at, importance ? importance + at : NULL, n, 32, 1);
        affine_search(&t, set, &best, &q);
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

static void encode_q4_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_symmetric(x, importance, blocks, n_elems, &set_q4_0, 18, put_q4_0);
}

static void encode_q5_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_symmetric(x, importance, blocks, n_elems, &set_q5_0, 22, put_q5_0);
}

static void encode_iq4_nl(const float *x, const float *importance, uint8_t *blocks,
                          int64_t n_elems) {
    encode_symmetric(x, importance, blocks, n_elems, &set_iq4_nl, 18, put_q4_0);
}

static void encode_q4_1(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_affine(x, importance, blocks, n_elems, &set_q4_1, 20, put_q4_1);
}

static void encode_q5_1(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_affine(x, importance, blocks, n_elems, &set_q5_1, 24, put_q5_1);
}

/* Rounding half away from zero with d = amax / 127, as reference/tensor-types.md section 5
 * fixes it. */
static void encode_q8_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    (void)importance;
    for (; n_elems > 0; n_elems -= 32, x += 32, blocks += 34) {
        float top = 0.0f;
        for (int e = 0; e < 32; e++) {
            float magnitude = __builtin_fabsf(x[e]);
            top = magnitude > top ? magnitude : top;
        }
        float d = top / 127.0f;
        float id = d != 0.0f ? 1.0f / d : 0.0f;
        put_f16(blocks, d);
        for (int e = 0; e < 32; e++) {
            float t = x[e] * id;
            float even = (t + 12582912.0f) - 12582912.0f;
            float rest = t - even;
            even += rest == 0.5f && t > 0.0f ? 1.0f : 0.0f;
            even -= rest == -0.5f && t < 0.0f ? 1.0f : 0.0f;
            blocks[2 + e] = (uint8_t)(int8_t)(int)even;
        }
    }
}

#endif
