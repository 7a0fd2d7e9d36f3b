/* encode_linear_internal.h - scale times code, with or without a minimum: search tile by tile, then
 * pack blocks. q4_0 .. q5_1, q2_K .. q6_K, iq4_nl, iq4_xs.
 * Included once per level by a file that defines TAMIS_LANES. Layouts:
 * reference/tensor-types.md sections 3 and 4. */
#ifndef TAMIS_FORMATS_ENCODE_LINEAR_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_LINEAR_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#define TAMIS_TILE_LANES 32
#include "formats/encode_internal.h"
#include "formats/encode_put_internal.h"
#include "formats/encode_symmetric_internal.h"
#include "formats/encode_affine_internal.h"

static const float ratios_q4_0[] = {-8.2f, -9.5f, -7.1f, -10.3f, -8.7f, -7.7f,
                                    8.5f,  -6.0f, -6.7f, -9.1f,  9.6f,  7.4f,
                                    -7.4f, -8.0f, -8.4f, -11.5f, -5.2f, -9.9f};
static const float ratios_q5_0[] = {-16.2f, -15.0f, -17.2f, -20.8f, -14.1f, -12.9f,
                                    -15.8f, -18.9f, -11.8f, 16.3f,  -13.5f, -16.7f,
                                    -15.4f, -14.6f, -18.0f, -10.6f, 15.0f,  17.5f};
static const float ratios_q3_K[] = {-4.1f, -5.2f, -3.2f, -4.4f, 5.2f,  4.1f, -4.8f,  -3.7f, -2.2f,
                                    -2.9f, 4.6f,  3.6f,  3.2f,  -5.8f, 5.8f, -3.95f, -3.5f, -4.25f};
static const float ratios_q6_K[] = {-32.0f, -31.0f, -26.4f, -30.0f, -28.8f, -34.2f,
                                    -31.5f, -29.4f, -30.5f, -33.0f, -27.7f, -25.0f,
                                    -35.5f, -37.5f, -23.0f, 31.5f,  30.0f,  33.0f};
static const float ratios_iq4[] = {-129.0f, 115.0f,  -146.0f, -107.0f, -123.0f, -164.0f,
                                   125.0f,  -136.0f, 163.0f,  109.0f,  -111.0f, -87.0f,
                                   -116.0f, 135.0f,  -154.0f, 100.0f,  -98.0f,  148.0f};

/* clang-format off */
static const code_set set_q4_0 = {32, 1, false, -8, 7, 0.05f, {3, 6, 18}, ratios_q4_0, 1, 1,
                                 &simple_plan};
static const code_set set_q5_0 = {32, 1, false, -16, 15, 0.025f, {3, 6, 18}, ratios_q5_0, 1, 1,
                                 &simple_plan};
static const code_set set_q3_K = {16, 16, false, -4, 3, 0.1f, {3, 6, 18}, ratios_q3_K, -32, 31,
                                 &super_plan};
static const code_set set_q6_K = {16, 16, false, -32, 31, 0.0125f, {3, 6, 18}, ratios_q6_K,
                                 -128, 127, &fine_plan};
static const code_set set_iq4_nl = {32, 1, true, -127, 113, 0.05f, {3, 6, 18}, ratios_iq4, 1, 1,
                                   &simple_plan};
static const code_set set_iq4_xs = {32, 8, true, -127, 113, 0.05f, {3, 6, 18}, ratios_iq4, -32, 31,
                                   &super_plan};

static const line_start starts_q4_1[] = {
    {0.0f, 0.15f},    {-0.15f, 0.45f}, {0.45f, -0.15f}, {0.3f, 0.3f},     {-0.9f, 0.15f},
    {1.1f, 0.3f},     {0.6f, 1.5f},    {-0.75f, -0.75f}, {0.3f, 0.6f},    {0.0f, -0.75f},
    {-0.3f, -0.3f},   {0.3f, 2.5f},    {2.0f, 0.0f},    {-0.15f, 0.75f},  {0.6f, 0.0f},
    {0.15f, 0.15f},   {-0.15f, -0.45f}, {1.0f, 1.0f},   {-0.75f, 0.3f},   {2.5f, 0.6f},
    {1.6f, -0.3f},    {-0.45f, 1.2f},  {0.75f, 0.75f},  {-0.45f, 0.0f},
};
static const line_start starts_q5_1[] = {
    {0.0f, 0.15f},    {-0.15f, 0.45f}, {0.45f, -0.15f}, {0.15f, 0.0f},    {-0.9f, -0.9f},
    {-0.9f, 0.15f},   {-0.15f, -0.9f}, {2.55f, 0.15f},  {0.45f, 1.0f},    {0.3f, -0.3f},
    {-0.45f, -0.45f}, {0.0f, 2.2f},    {1.2f, 0.3f},    {-0.15f, 0.8f},   {0.6f, 0.3f},
    {0.3f, 0.3f},     {-0.9f, -0.3f},  {0.0f, -0.3f},   {1.8f, -0.3f},    {-0.6f, 0.6f},
    {0.9f, 1.8f},     {-0.45f, 1.4f},  {0.9f, -0.6f},   {-0.3f, 0.0f},
};
static const line_start starts_q2_K[] = {
    {0.3f, 0.3f},     {0.4f, 0.0f},    {0.0f, 0.6f},    {1.1f, -0.2f},    {1.2f, 0.4f},
    {-0.6f, 0.3f},    {-0.3f, 1.3f},   {0.9f, 1.2f},    {-0.1f, 0.1f},    {0.7f, 0.5f},
    {-0.1f, 1.0f},    {0.7f, -0.1f},   {0.0f, 0.3f},    {0.3f, 0.7f},     {-0.4f, 0.7f},
    {0.2f, -0.3f},    {-0.5f, -0.3f},  {1.5f, 0.0f},    {0.5f, 1.4f},     {1.3f, 1.0f},
    {0.0f, 0.0f},     {0.5f, 0.2f},    {0.1f, 0.45f},   {0.9f, 0.1f},
};

static const line_set set_q4_1 = {32, 1, 15, 0, {3, 9, 24}, starts_q4_1};
static const line_set set_q5_1 = {32, 1, 31, 0, {3, 9, 24}, starts_q5_1};
static const line_set set_q2_K = {16, 16, 3, 15, {3, 9, 24}, starts_q2_K};
static const line_set set_q4_K = {32, 8, 15, 63, {3, 9, 24}, starts_q4_1};
static const line_set set_q5_K = {32, 8, 31, 63, {3, 9, 24}, starts_q5_1};
/* clang-format on */

/* Bit 4 of 32 codes: a product moves the bits of eight bytes into its highest byte. */
INLINE void put_fifth_bits(uint8_t *qh, const uint8_t *q) {
    for (int i = 0; i < 4; i++) {
        uint64_t eight;
        memcpy(&eight, q + 8 * i, sizeof eight);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        eight = __builtin_bswap64(eight);
#endif
        eight = (eight >> 4) & UINT64_C(0x0101010101010101);
        qh[i] = (uint8_t)(eight * UINT64_C(0x0102040810204080) >> 56);
    }
}

#include "formats/encode_simple_internal.h"
#include "formats/encode_super_internal.h"

#endif
