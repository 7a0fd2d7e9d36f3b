/* types.c - the table of tensor types and the plain decode kernels in it.
 * A new type is one row here, its decode body, and its encode. Limits keep every scale a
 * finite f16: the largest code times the largest integer scale times the largest f16 (for
 * types with a minimum: the largest minimum they can store). Sizes, the use of an
 * importance matrix and the type a row falls back to when its length does not divide:
 * reference/tensor-types.md sections 2, 7 and 8.1. */
#include "formats/formats.h"

#include <strings.h>

#include "base/checked.h"
#include "formats/decode_internal.h"

#define F16_MAX 65504.0f

/* Ids that were once in use (retired) keep a row, so that a file with them is refused by name.
 * Fields: offset, count, width, stride, check. */
/* clang-format off */
static const tamis_type types[] = {
    { .id = 0, .name = "f32", .class = TAMIS_CLASS_FLOAT, .block_elems = 1, .block_bytes = 4,
      .fallback_id = -1, .decode = f32_decode,
      .fields = {{ 0, 1, 4, 4, TAMIS_FIELD_F32 }} },
    { .id = 1, .name = "f16", .class = TAMIS_CLASS_FLOAT, .block_elems = 1, .block_bytes = 2,
      .fallback_id = -1, .decode = f16_decode,
      .largest = 65519.996f,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 2, .name = "q4_0", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 32, .block_bytes = 18,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = -1, .decode = q4_0_decode,
      .largest = 8 * F16_MAX,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 3, .name = "q4_1", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 32, .block_bytes = 20,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = -1, .decode = q4_1_decode,
      .largest = F16_MAX,
      .fields = {{ 0, 2, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 4, .name = "q4_2", .class = TAMIS_CLASS_RETIRED, .fallback_id = -1 },
    { .id = 5, .name = "q4_3", .class = TAMIS_CLASS_RETIRED, .fallback_id = -1 },
    { .id = 6, .name = "q5_0", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 32, .block_bytes = 22,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = -1, .decode = q5_0_decode,
      .largest = 16 * F16_MAX,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }, { 2, 1, 4, 4, TAMIS_FIELD_ANY }} },
    { .id = 7, .name = "q5_1", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 32, .block_bytes = 24,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = -1, .decode = q5_1_decode,
      .largest = F16_MAX,
      .fields = {{ 0, 2, 2, 2, TAMIS_FIELD_F16 }, { 4, 1, 4, 4, TAMIS_FIELD_ANY }} },
    { .id = 8, .name = "q8_0", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 32, .block_bytes = 34,
      .fallback_id = -1, .decode = q8_0_decode,
      .largest = 127 * F16_MAX,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 9, .name = "q8_1", .class = TAMIS_CLASS_ACTIVATION, .block_elems = 32, .block_bytes = 36,
      .fallback_id = -1, .decode = q8_1_decode,
      .fields = {{ 0, 2, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 10, .name = "q2_K", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 84,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_Q4_0, .decode = q2_K_decode,
      .largest = 15 * F16_MAX,
      .fields = {{ 80, 2, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 11, .name = "q3_K", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 110,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_Q4_0, .decode = q3_K_decode,
      .largest = 4 * 32 * F16_MAX,
      .fields = {{ 108, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 12, .name = "q4_K", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 144,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_Q5_0, .decode = q4_K_decode,
      .largest = 63 * F16_MAX,
      .fields = {{ 0, 2, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 13, .name = "q5_K", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 176,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_Q5_1, .decode = q5_K_decode,
      .largest = 63 * F16_MAX,
      .fields = {{ 0, 2, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 14, .name = "q6_K", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 210,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_Q8_0, .decode = q6_K_decode,
      .largest = 32 * 128 * F16_MAX,
      .fields = {{ 208, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 15, .name = "q8_K", .class = TAMIS_CLASS_ACTIVATION, .block_elems = 256, .block_bytes = 292,
      .fallback_id = -1, .decode = q8_K_decode,
      .fields = {{ 0, 1, 4, 4, TAMIS_FIELD_F32 }, { 260, 16, 2, 2, TAMIS_FIELD_ANY }} },
    { .id = 16, .name = "iq2_xxs", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 66,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq2_xxs_decode,
      .largest = 43 * 31 * F16_MAX / 8,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }, { 6, 8, 4, 8, TAMIS_FIELD_ANY }} },
    { .id = 17, .name = "iq2_xs", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 74,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq2_xs_decode,
      .largest = 43 * 31 * F16_MAX / 8,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }, { 2, 32, 2, 2, TAMIS_FIELD_ANY }} },
    { .id = 18, .name = "iq3_xxs", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 98,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq3_xxs_decode,
      .largest = 62 * 31 * F16_MAX / 4,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }, { 66, 8, 4, 4, TAMIS_FIELD_ANY }} },
    { .id = 19, .name = "iq1_s", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 50,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq1_s_decode,
      .largest = 9 * 15 * F16_MAX / 8,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }, { 34, 8, 2, 2, TAMIS_FIELD_ANY }} },
    { .id = 20, .name = "iq4_nl", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 32, .block_bytes = 18,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = -1, .decode = iq4_nl_decode,
      .largest = 127 * F16_MAX,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 21, .name = "iq3_s", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 110,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq3_s_decode,
      .largest = 15 * 31 * F16_MAX,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 22, .name = "iq2_s", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 82,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq2_s_decode,
      .largest = 43 * 31 * F16_MAX / 8,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 23, .name = "iq4_xs", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 136,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq4_xs_decode,
      .largest = 127 * 32 * F16_MAX,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }, { 2, 1, 2, 2, TAMIS_FIELD_ANY }} },
    { .id = 24, .name = "i8", .class = TAMIS_CLASS_INTEGER, .block_elems = 1, .block_bytes = 1,
      .fallback_id = -1 },
    { .id = 25, .name = "i16", .class = TAMIS_CLASS_INTEGER, .block_elems = 1, .block_bytes = 2,
      .fallback_id = -1,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_ANY }} },
    { .id = 26, .name = "i32", .class = TAMIS_CLASS_INTEGER, .block_elems = 1, .block_bytes = 4,
      .fallback_id = -1,
      .fields = {{ 0, 1, 4, 4, TAMIS_FIELD_ANY }} },
    { .id = 27, .name = "i64", .class = TAMIS_CLASS_INTEGER, .block_elems = 1, .block_bytes = 8,
      .fallback_id = -1,
      .fields = {{ 0, 1, 8, 8, TAMIS_FIELD_ANY }} },
    { .id = 28, .name = "f64", .class = TAMIS_CLASS_FLOAT, .block_elems = 1, .block_bytes = 8,
      .fallback_id = -1, .decode = f64_decode,
      .fields = {{ 0, 1, 8, 8, TAMIS_FIELD_F64 }} },
    { .id = 29, .name = "iq1_m", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 56,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq1_m_decode,
      .largest = 9 * 15 * F16_MAX / 8,
      .fields = {{ 48, 4, 2, 2, TAMIS_FIELD_F16_OF_4_U16 }} },
    { .id = 30, .name = "bf16", .class = TAMIS_CLASS_FLOAT, .block_elems = 1, .block_bytes = 2,
      .fallback_id = -1, .decode = bf16_decode,
      .largest = 0x1.fefffep127f,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_BF16 }} },
    { .id = 31, .name = "q4_0_4_4", .class = TAMIS_CLASS_RETIRED, .fallback_id = -1 },
    { .id = 32, .name = "q4_0_4_8", .class = TAMIS_CLASS_RETIRED, .fallback_id = -1 },
    { .id = 33, .name = "q4_0_8_8", .class = TAMIS_CLASS_RETIRED, .fallback_id = -1 },
    { .id = 34, .name = "tq1_0", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 54,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_Q4_0, .decode = tq1_0_decode,
      .largest = F16_MAX,
      .fields = {{ 52, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 35, .name = "tq2_0", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 66,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_Q4_0, .decode = tq2_0_decode,
      .largest = F16_MAX,
      .fields = {{ 64, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 36, .name = "iq4_nl_4_4", .class = TAMIS_CLASS_RETIRED, .fallback_id = -1 },
    { .id = 37, .name = "iq4_nl_4_8", .class = TAMIS_CLASS_RETIRED, .fallback_id = -1 },
    { .id = 38, .name = "iq4_nl_8_8", .class = TAMIS_CLASS_RETIRED, .fallback_id = -1 },
    { .id = 39, .name = "mxfp4", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 32, .block_bytes = 17,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = -1, .decode = mxfp4_decode,
      .largest = 0x1.8p127f,
      .fields = {{ 0, 1, 1, 1, TAMIS_FIELD_E8M0 }} },
    { .id = 40, .name = "nvfp4", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 64, .block_bytes = 36,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = nvfp4_decode,
      .largest = 6 * 448.0f },
    { .id = 41, .name = "q1_0", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 128, .block_bytes = 18,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = -1, .decode = q1_0_decode,
      .largest = F16_MAX,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 42, .name = "q2_0", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 64, .block_bytes = 18,
      .importance = TAMIS_IMPORTANCE_USED, .fallback_id = TAMIS_TYPE_Q4_0, .decode = q2_0_decode,
      .largest = F16_MAX,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 64, .name = "iq1_xs", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 46,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq1_xs_decode,
      .largest = 9 * 15 * F16_MAX / 8,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 65, .name = "iq1_xxs", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 42,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq1_xxs_decode,
      .largest = 9 * 15 * F16_MAX / 8,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
    { .id = 66, .name = "iq1_xxxs", .class = TAMIS_CLASS_QUANTIZED, .block_elems = 256, .block_bytes = 38,
      .importance = TAMIS_IMPORTANCE_REQUIRED, .fallback_id = TAMIS_TYPE_IQ4_NL, .decode = iq1_xxxs_decode,
      .largest = 9 * 15 * F16_MAX / 8,
      .fields = {{ 0, 1, 2, 2, TAMIS_FIELD_F16 }} },
};
/* clang-format on */

static const int n_types_all = (int)(sizeof types / sizeof types[0]);

const tamis_type *tamis_type_by_id(int32_t id) {
    for (int i = 0; i < n_types_all; i++) {
        if (types[i].id == id) return &types[i];
    }
    return NULL;
}

const tamis_type *tamis_type_by_name(const char *name) {
    for (int i = 0; i < n_types_all; i++) {
        if (types[i].class != TAMIS_CLASS_RETIRED && strcasecmp(types[i].name, name) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

const tamis_type *tamis_type_table(int *n_types) {
    *n_types = n_types_all;
    return types;
}

bool tamis_type_row_bytes(const tamis_type *type, uint64_t ne0, uint64_t *out) {
    if (type->block_elems == 0 || ne0 % type->block_elems != 0) return false;
    return tamis_mul_u64(ne0 / type->block_elems, type->block_bytes, out);
}
