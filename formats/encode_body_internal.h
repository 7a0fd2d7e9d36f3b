/* encode_body_internal.h - the encoders of one CPU level: search tile by tile, then pack blocks.
 * Included once per level by a file that defines TAMIS_LANES. Layouts:
 * reference/tensor-types.md sections 3 and 4. */
#ifndef TAMIS_FORMATS_ENCODE_BODY_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_BODY_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

enum { REFITS = 2, REACH = 1 };

#include "formats/encode_internal.h"
#include "formats/formats.h"
#include "formats/encode_symmetric_internal.h"
#include "formats/encode_affine_internal.h"

static const float ratios_q4_0[] = {-8.0f, -7.0f, -7.25f, -7.5f, -7.75f, -8.25f, -8.5f, -6.5f, 7.0f, 6.5f};
static const float ratios_q5_0[] = {-16.0f, -15.0f, -15.25f, -15.5f, -15.75f, -16.25f, -16.5f, -14.5f, 15.0f, 15.4f};
static const float ratios_q3_K[] = {-4.0f, -3.0f, -3.25f, -3.5f, -3.75f, -4.25f, -4.5f, -2.75f, 3.0f, 3.4f};
static const float ratios_q6_K[] = {-32.0f, -31.0f, -31.25f, -31.5f, -31.75f, -32.25f, -32.5f, -30.5f};
static const float ratios_iq4[] = {-127.0f, -116.0f, -120.0f, -123.0f, -109.0f, -112.0f, -131.0f, -135.0f, 113.0f, 117.0f, 110.0f, 105.0f};

static const code_set set_q4_0 = {32, 1, false, -8, 7, 10, ratios_q4_0, 1, 1};
static const code_set set_q5_0 = {32, 1, false, -16, 15, 10, ratios_q5_0, 1, 1};
static const code_set set_q3_K = {16, 16, false, -4, 3, 10, ratios_q3_K, -32, 31};
static const code_set set_q6_K = {16, 16, false, -32, 31, 8, ratios_q6_K, -128, 127};
static const code_set set_iq4_nl = {32, 1, true, -127, 113, 12, ratios_iq4, 1, 1};
static const code_set set_iq4_xs = {32, 8, true, -127, 113, 12, ratios_iq4, -32, 31};

static const float ratios_q4_1[] = {15, 14.5f, 14, 15.3f, 15.6f, 16, 13.5f, 13};
static const float ratios_q5_1[] = {31, 30.5f, 30, 31.3f, 31.6f, 32, 29.5f, 29};
static const float ratios_q2_K[] = {3, 2.75f, 2.5f, 2.25f, 3.25f, 3.5f, 3.75f, 4.0f, 4.25f, 4.5f};

static const line_set set_q4_1 = {32, 1, 15, 8, ratios_q4_1, 0};
static const line_set set_q5_1 = {32, 1, 31, 8, ratios_q5_1, 0};
static const line_set set_q2_K = {16, 16, 3, 10, ratios_q2_K, 15};
static const line_set set_q4_K = {32, 8, 15, 8, ratios_q4_1, 63};
static const line_set set_q5_K = {32, 8, 31, 8, ratios_q5_1, 63};

INLINE void put_u16(uint8_t *at, uint16_t v) {
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

INLINE void put_f16(uint8_t *at, float v) {
    put_u16(at, tamis_f32_to_f16(v));
}

/* Two 16-code halves of a 32-element block as nibbles. */
INLINE void put_halves(uint8_t *qs, const uint8_t *q) {
    for (int i = 0; i < 16; i++) {
        qs[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
    }
}

/* Bit 4 of 32 codes. */
INLINE void put_fifth_bits(uint8_t *qh, const uint8_t *q) {
    for (int i = 0; i < 4; i++) {
        unsigned bits = 0;
        for (int b = 0; b < 8; b++) {
            bits |= (unsigned)(q[8 * i + b] >> 4) << b;
        }
        qh[i] = (uint8_t)bits;
    }
}

#include "formats/encode_simple_internal.h"
#include "formats/encode_super_internal.h"

#endif
