/* blocks.c - what needs only the field list of a type: byte order and soundness.
 * Rules of soundness: reference/tensor-types.md section 6. Memory bound. */
#include "formats/formats.h"

#include "formats/block_internal.h"

/* Is the value at p unsound: for floats, are all exponent bits set (NaN or Inf). */
typedef bool bad_value_fn(const uint8_t *p);

static inline bool is_bad_f16(const uint8_t *p) {
    return (read_u16(p) & 0x7C00) == 0x7C00;
}

static inline bool is_bad_bf16(const uint8_t *p) {
    return (read_u16(p) & 0x7F80) == 0x7F80;
}

static inline bool is_bad_f32(const uint8_t *p) {
    return (read_u32(p) & 0x7F800000u) == 0x7F800000u;
}

static inline bool is_bad_f64(const uint8_t *p) {
    return (read_u32(p + 4) & 0x7FF00000u) == 0x7FF00000u;
}

static inline bool is_bad_e8m0(const uint8_t *p) {
    return *p == 255;
}

/* The exponent of the f16 is in the last two of its four nibbles. */
static inline bool is_bad_f16_of_4(const uint8_t *p) {
    return (p[7] & 0x70) == 0x70 && (p[5] & 0xC0) == 0xC0;
}

/* First of n values, step bytes apart, that is_bad says yes to; n when none. Steps of 256
 * without a branch inside, so that scanning f16 or f32 tensors becomes vector code. */
static TAMIS_ALWAYS_INLINE int64_t scan(const uint8_t *p, int64_t n, uint32_t step,
                                        bad_value_fn *is_bad) {
    int64_t i = 0;
    for (; i + 256 <= n; i += 256) {
        uint32_t n_bad = 0;
        for (int64_t k = 0; k < 256; k++)
            n_bad += is_bad(p + (i + k) * step);
        if (n_bad) break;
    }
    for (; i < n; i++) {
        if (is_bad(p + i * step)) return i;
    }
    return n;
}

/* `step` is the block's size; a constant one is given where the value is the whole block. */
static int64_t scan_field(const uint8_t *p, int64_t n, uint32_t step, tamis_field_check check) {
    switch (check) {
    case TAMIS_FIELD_F16:
        return step == 2 ? scan(p, n, 2, is_bad_f16) : scan(p, n, step, is_bad_f16);
    case TAMIS_FIELD_BF16:
        return scan(p, n, 2, is_bad_bf16);
    case TAMIS_FIELD_F32:
        return step == 4 ? scan(p, n, 4, is_bad_f32) : scan(p, n, step, is_bad_f32);
    case TAMIS_FIELD_F64:
        return scan(p, n, 8, is_bad_f64);
    case TAMIS_FIELD_E8M0:
        return scan(p, n, step, is_bad_e8m0);
    case TAMIS_FIELD_F16_OF_4_U16:
        return scan(p, n, step, is_bad_f16_of_4);
    case TAMIS_FIELD_ANY:
        break;
    }
    return n;
}

static const int n_fields_max = (int)(sizeof((tamis_type *)0)->fields / sizeof(tamis_type_field));

int64_t tamis_find_bad_block(const tamis_type *type, const uint8_t *blocks, int64_t n_blocks) {
    int64_t n_sound = n_blocks; /* blocks before the first bad one found so far */
    for (int f = 0; f < n_fields_max; f++) {
        const tamis_type_field *field = &type->fields[f];
        /* One value is made of all four words. */
        int count = field->check == TAMIS_FIELD_F16_OF_4_U16 ? 1 : field->count;
        for (int k = 0; k < count; k++) {
            const uint8_t *p = blocks + field->offset + k * field->stride;
            n_sound = scan_field(p, n_sound, type->block_bytes, field->check);
        }
    }
    return n_sound;
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
            for (int k = 0; k < field->count; k++)
                reverse(p + k * field->stride, field->width);
        }
    }
}
