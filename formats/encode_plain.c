/* encode_plain.c - the encoders without CPU-specific flags, and those of the float types.
 * The search is compute bound; the float types are memory bound. */
#define TAMIS_LANES 4
#include "formats/encode_body_internal.h"

void tamis_encode_f32(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    (void)importance;
    for (int64_t i = 0; i < n_elems; i++) {
        uint32_t bits = tamis_f32_bits(x[i]);
        put_u16(blocks + 4 * i, (uint16_t)bits);
        put_u16(blocks + 4 * i + 2, (uint16_t)(bits >> 16));
    }
}

void tamis_encode_f16(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    (void)importance;
    for (int64_t i = 0; i < n_elems; i++) {
        put_f16(blocks + 2 * i, x[i]);
    }
}

void tamis_encode_bf16(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    (void)importance;
    for (int64_t i = 0; i < n_elems; i++) {
        put_u16(blocks + 2 * i, tamis_f32_to_bf16(x[i]));
    }
}

void tamis_encode_q4_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q4_0(x, importance, blocks, n_elems);
}

void tamis_encode_q4_1(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q4_1(x, importance, blocks, n_elems);
}

void tamis_encode_q5_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q5_0(x, importance, blocks, n_elems);
}

void tamis_encode_q5_1(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q5_1(x, importance, blocks, n_elems);
}

void tamis_encode_q8_0(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q8_0(x, importance, blocks, n_elems);
}

void tamis_encode_q2_K(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q2_K(x, importance, blocks, n_elems);
}

void tamis_encode_q3_K(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q3_K(x, importance, blocks, n_elems);
}

void tamis_encode_q4_K(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q4_K(x, importance, blocks, n_elems);
}

void tamis_encode_q5_K(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q5_K(x, importance, blocks, n_elems);
}

void tamis_encode_q6_K(const float *x, const float *importance, uint8_t *blocks, int64_t n_elems) {
    encode_q6_K(x, importance, blocks, n_elems);
}

void tamis_encode_iq4_nl(const float *x, const float *importance, uint8_t *blocks,
                         int64_t n_elems) {
    encode_iq4_nl(x, importance, blocks, n_elems);
}

void tamis_encode_iq4_xs(const float *x, const float *importance, uint8_t *blocks,
                         int64_t n_elems) {
    encode_iq4_xs(x, importance, blocks, n_elems);
}
