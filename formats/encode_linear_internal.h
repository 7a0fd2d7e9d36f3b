/* encode_linear_internal.h - scale times code, with or without a minimum: search tile by tile, then
 * pack blocks. q4_0 .. q5_1, q2_K .. q6_K, iq4_nl, iq4_xs.
 * Included once per level by a file that defines TAMIS_LANES. Layouts:
 * reference/tensor-types.md sections 3 and 4. */
#ifndef TAMIS_FORMATS_ENCODE_LINEAR_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_LINEAR_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

enum { REFITS = 2, REACH = 1, LLOYD = 1 };

#include "formats/encode_internal.h"
#include "formats/encode_put_internal.h"
#include "formats/encode_symmetric_internal.h"
#include "formats/encode_affine_internal.h"

static const float ratios_q4_0[] = {-6.4f, -6.8f, -7.1f, -7.4f, -7.7f, -8.0f,
                                    -8.3f, -8.6f, 6.4f,  6.8f,  7.1f,  7.4f};
static const float ratios_q5_0[] = {-13.5f, -14.3f, -14.8f, -15.2f, -15.6f, -16.0f,
                                    -16.4f, -17.0f, 14.2f,  14.8f,  15.3f,  15.7f};
static const float ratios_q3_K[] = {-2.6f, -2.9f, -3.2f, -3.5f, -3.8f, -4.1f,
                                    -4.4f, -4.7f, 2.6f,  2.9f,  3.2f,  3.5f};
static const float ratios_q6_K[] = {-29.0f, -29.5f, -30.0f, -30.5f, -31.0f, -31.3f,
                                    -31.6f, -32.0f, -32.3f, -32.6f, -33.0f, -33.5f};
static const float ratios_iq4[] = {-104.0f, -108.0f, -112.0f, -115.0f, -118.0f, -121.0f,
                                   -124.0f, -127.0f, -130.0f, -134.0f, -138.0f, -142.0f,
                                   104.0f,  108.0f,  112.0f,  116.0f};

static const code_set set_q4_0 = {32, 1, false, -8, 7, 12, ratios_q4_0, 1, 1};
static const code_set set_q5_0 = {32, 1, false, -16, 15, 12, ratios_q5_0, 1, 1};
static const code_set set_q3_K = {16, 16, false, -4, 3, 12, ratios_q3_K, -32, 31};
static const code_set set_q6_K = {16, 16, false, -32, 31, 12, ratios_q6_K, -128, 127};
static const code_set set_iq4_nl = {32, 1, true, -127, 113, 16, ratios_iq4, 1, 1};
static const code_set set_iq4_xs = {32, 8, true, -127, 113, 16, ratios_iq4, -32, 31};

static const float ratios_q4_1[] = {13.2f, 13.8f, 14.3f, 14.7f, 15.0f, 15.3f, 15.8f, 16.4f, 17.2f};
static const float ratios_q5_1[] = {27.5f, 28.5f, 29.3f, 30.0f, 30.5f, 31.0f, 31.5f, 32.2f, 33.0f};
static const float ratios_q2_K[] = {2.1f, 2.4f, 2.7f, 3.0f, 3.3f, 3.6f, 3.9f, 4.2f, 4.5f};

static const line_set set_q4_1 = {32, 1, 15, 9, ratios_q4_1, 0};
static const line_set set_q5_1 = {32, 1, 31, 9, ratios_q5_1, 0};
static const line_set set_q2_K = {16, 16, 3, 9, ratios_q2_K, 15};
static const line_set set_q4_K = {32, 8, 15, 9, ratios_q4_1, 63};
static const line_set set_q5_K = {32, 8, 31, 9, ratios_q5_1, 63};

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
