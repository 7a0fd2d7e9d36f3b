/* blocks.c - what needs only the field list of a type: byte order and soundness.
 * Rules of soundness: reference/tensor-types.md section 6. Memory bound. */
#include "formats/formats.h"

#include "formats/block_internal.h"

/* Is the value at p NaN or Inf: all exponent bits set. */
static bool is_bad_value(const uint8_t *p, tamis_field_check check) {
    switch (check) {
    case TAMIS_FIELD_F16: return (read_u16(p) & 0x7C00) == 0x7C00;
    case TAMIS_FIELD_BF16: return (read_u16(p) & 0x7F80) == 0x7F80;
    case TAMIS_FIELD_F32: return (read_u32(p) & 0x7F800000u) == 0x7F800000u;
    case TAMIS_FIELD_F64: return (read_u32(p + 4) & 0x7FF00000u) == 0x7FF00000u;
    case TAMIS_FIELD_E8M0: return *p == 255;
    /* The exponent of the f16 is in the last two of its four nibbles. */
    case TAMIS_FIELD_F16_OF_4_U16: return (p[7] & 0x70) == 0x70 && (p[5] & 0xC0) == 0xC0;
    case TAMIS_FIELD_ANY: break;
    }
    return false;
}

static bool is_bad_field(const uint8_t *block, const tamis_type_field *field) {
    if (field->check == TAMIS_FIELD_ANY) return false;
    /* One value is made of all four words. */
    int count = field->check == TAMIS_FIELD_F16_OF_4_U16 ? 1 : field->count;
    for (int i = 0; i < count; i++) {
        if (is_bad_value(block + field->offset + i * field->stride, field->check)) return true;
    }
    return false;
}

static const int n_fields_max = (int)(sizeof((tamis_type *)0)->fields / sizeof(tamis_type_field));

int64_t tamis_find_bad_block(const tamis_type *type, const uint8_t *blocks, int64_t n_blocks) {
    for (int64_t i = 0; i < n_blocks; i++) {
        for (int f = 0; f < n_fields_max; f++) {
            if (is_bad_field(blocks + i * type->block_bytes, &type->fields[f])) return i;
        }
    }
    return n_blocks;
}

static void reverse(uint8_t *p, int n_bytes) {
    for (int i = 0, j = n_bytes - 1; i < j; i++, j--) {
        uint8_t t = p[i];
        p[i] = p[j];
        p[j] = t;
    }
}

void tamis_swap_bytes(const tamis_type *type, uint8_t *blocks, int64_t n_blocks) {
    for (int64_t i = 0; i < n_blocks; i++) {
        for (int f = 0; f < n_fields_max; f++) {
            const tamis_type_field *field = &type->fields[f];
            uint8_t *p = blocks + i * type->block_bytes + field->offset;
            for (int k = 0; k < field->count; k++) reverse(p + k * field->stride, field->width);
        }
    }
}

int64_t tamis_find_nonfinite(const float *x, int64_t n) {
    enum { STEP = 256 };
    int64_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        uint32_t largest = 0; /* a maximum over the step: no branch, so it becomes vector code */
        for (int k = 0; k < STEP; k++) {
            uint32_t magnitude = tamis_f32_bits(x[i + k]) & 0x7FFFFFFFu;
            largest = magnitude > largest ? magnitude : largest;
        }
        if (largest >= 0x7F800000u) break;
    }
    for (; i < n; i++) {
        if ((tamis_f32_bits(x[i]) & 0x7F800000u) == 0x7F800000u) return i;
    }
    return n;
}
