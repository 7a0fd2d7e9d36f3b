/* formats.h - every tensor type: one table, decode, encode, validate, byte order.
 * A row of a tensor is `ne0` weights stored as ne0 / block_elems blocks of
 * block_bytes bytes. All code asks the table; nobody tests for a type by name.
 * Ids, layouts and formulas: reference/tensor-types.md. Decode is bit-exact;
 * encode is a pure function of (row, importance row): the same bytes for any thread
 * count, compiler and CPU. */
#ifndef TAMIS_FORMATS_FORMATS_H
#define TAMIS_FORMATS_FORMATS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Type ids as stored in files (only the ones code has to name). */
enum {
    TAMIS_TYPE_F32 = 0,
    TAMIS_TYPE_F16 = 1,
    TAMIS_TYPE_Q4_0 = 2,
    TAMIS_TYPE_Q4_1 = 3,
    TAMIS_TYPE_Q5_0 = 6,
    TAMIS_TYPE_Q5_1 = 7,
    TAMIS_TYPE_Q8_0 = 8,
    TAMIS_TYPE_Q2_K = 10,
    TAMIS_TYPE_Q3_K = 11,
    TAMIS_TYPE_Q4_K = 12,
    TAMIS_TYPE_Q5_K = 13,
    TAMIS_TYPE_Q6_K = 14,
    TAMIS_TYPE_IQ2_XXS = 16,
    TAMIS_TYPE_IQ2_XS = 17,
    TAMIS_TYPE_IQ3_XXS = 18,
    TAMIS_TYPE_IQ1_S = 19,
    TAMIS_TYPE_IQ4_NL = 20,
    TAMIS_TYPE_IQ3_S = 21,
    TAMIS_TYPE_IQ2_S = 22,
    TAMIS_TYPE_IQ4_XS = 23,
    TAMIS_TYPE_I32 = 26,
    TAMIS_TYPE_IQ1_M = 29,
    TAMIS_TYPE_BF16 = 30,
    TAMIS_TYPE_TQ1_0 = 34,
    TAMIS_TYPE_TQ2_0 = 35,
    TAMIS_TYPE_MXFP4 = 39,
    TAMIS_TYPE_NVFP4 = 40,
    TAMIS_TYPE_Q1_0 = 41,
    TAMIS_TYPE_Q2_0 = 42,
    TAMIS_TYPE_IQ1_XS = 64,
    TAMIS_TYPE_IQ1_XXS = 65,
    TAMIS_TYPE_IQ1_XXXS = 66,
};

typedef enum tamis_type_class {
    TAMIS_CLASS_FLOAT,      /* f32 f16 bf16 f64 */
    TAMIS_CLASS_INTEGER,    /* i8 .. i64: stored, never a weight */
    TAMIS_CLASS_QUANTIZED,  /* blocks with scales */
    TAMIS_CLASS_ACTIVATION, /* q8_1, q8_K: stored in no sound model, decodable */
    TAMIS_CLASS_RETIRED,    /* id known, removed from the format: no size */
} tamis_type_class;

typedef enum tamis_importance_use {
    TAMIS_IMPORTANCE_IGNORED,
    TAMIS_IMPORTANCE_USED,
    TAMIS_IMPORTANCE_REQUIRED, /* the encoder gives garbage without */
} tamis_importance_use;

/* What makes the value of a field unsound (reference/tensor-types.md section 6). */
typedef enum tamis_field_check {
    TAMIS_FIELD_ANY, /* every value is sound */
    TAMIS_FIELD_F16, /* the rest: NaN or Inf of that format is not */
    TAMIS_FIELD_BF16,
    TAMIS_FIELD_F32,
    TAMIS_FIELD_F64,
    TAMIS_FIELD_E8M0,         /* 255 is not */
    TAMIS_FIELD_F16_OF_4_U16, /* an f16 made of the top four bits of each of the four values */
} tamis_field_check;

/* `count` values of `width` bytes, the first at `offset` in the block, `stride` bytes apart. */
typedef struct tamis_type_field {
    uint16_t offset;
    uint16_t count;
    uint8_t width;
    uint8_t stride;
    tamis_field_check check;
} tamis_type_field;

/* One row of the table. Constant, never freed. */
typedef struct tamis_type {
    int32_t id;
    const char *name; /* as in reference/tensor-types.md: "q4_K", "iq4_xs", "f16" */
    tamis_type_class class;
    uint32_t block_elems; /* 0 for retired types */
    uint32_t block_bytes;
    tamis_importance_use importance;
    int32_t fallback_id; /* used when ne0 does not divide; -1 = none (an error) */

    /* Largest magnitude an encoder takes: above it a scale or a value would be Inf. 0 where any
     * finite value will do. */
    float largest;

    /* The plain version, where the type can be decoded; NULL otherwise. n_elems is a multiple of
     * block_elems. */
    void (*decode)(const uint8_t *blocks, float *x, int64_t n_elems);
    /* Fields of a block that are wider than a byte or have to be checked; the unused tail is zero.
     * tamis_swap_bytes() and tamis_find_bad_block() work from them. */
    tamis_type_field fields[3];
} tamis_type;

/* The row for an id, or NULL when the id is unknown. Retired ids have a row. */
const tamis_type *tamis_type_by_id(int32_t id);
/* By name, case ignored; NULL when unknown. Retired types are not found. */
const tamis_type *tamis_type_by_name(const char *name);
/* All rows in order of id: *n_types rows. */
const tamis_type *tamis_type_table(int *n_types);

/* Bytes of a row of ne0 elements. False when the type has no size, ne0 is not a multiple of the
 * block, or the size overflows. */
bool tamis_type_row_bytes(const tamis_type *type, uint64_t ne0, uint64_t *out);

/* Index of the first of n_blocks blocks with a scale (or value) that is not finite, as
 * reference/tensor-types.md section 6 defines it; n_blocks when all are sound or the type has
 * nothing to check. */
int64_t tamis_find_bad_block(const tamis_type *type, const uint8_t *blocks, int64_t n_blocks);

/* Reverse the bytes of every multi-byte field of n_blocks blocks in place: big-endian data to
 * little-endian and back. Does nothing for types made of bytes. */
void tamis_swap_bytes(const tamis_type *type, uint8_t *blocks, int64_t n_blocks);

/* Choose the kernels for this CPU; every tool calls it once at start, before threads.
 * `TAMIS_CPU=plain|neon|avx2|avx512` in the environment lowers the choice (for tests). Calling any
 * function below without it uses the plain kernels. */
void tamis_formats_init(void);
/* Name of the kernels in use: "plain", "neon", "avx2", "avx512". */
const char *tamis_formats_cpu(void);

/* Decode n_elems (a multiple of the block) through the fastest kernel; the same bits as
 * type->decode. The type must be decodable (type->decode not NULL). */
void tamis_decode(const tamis_type *type, const uint8_t *blocks, float *x, int64_t n_elems);

/* How long an encoder may search. The error of a row never rises with the effort. */
typedef enum tamis_effort {
    TAMIS_EFFORT_FAST = -1,  /* one well-chosen pass */
    TAMIS_EFFORT_NORMAL = 0, /* the default */
    TAMIS_EFFORT_BEST = 1,   /* several times as long */
} tamis_effort;

/* "fast", "normal" or "best". */
const char *tamis_effort_name(tamis_effort effort);

/* Whether tamis_encode_row() knows the type. */
bool tamis_can_encode(const tamis_type *type);

/* Encode one row through the fastest kernel; the same bytes through every kernel: the least
 * sum of importance * (x - decoded)^2 that the search finds.
 * x [n_elems], importance [n_elems] weights >= 0 or NULL (all equal). Returns TAMIS_BAD_INPUT (err
 * names the element index and value) when x is not finite, or when the format cannot hold a value
 * (it would put Inf in a scale or an f16); nothing is promised about `blocks` then. */
tamis_status tamis_encode_row(const tamis_type *type, const float *x, const float *importance,
                              tamis_effort effort, uint8_t *blocks, int64_t n_elems,
                              tamis_error *err) TAMIS_MUST_USE;
/* The same for rows that share their importance: x [n_rows][n_elems], importance [n_elems] or NULL,
 * blocks [n_rows][bytes of a row]; the same bytes as row by row, and faster. *bad_row: the first row
 * at fault, where one is. */
tamis_status tamis_encode_rows(const tamis_type *type, const float *x, const float *importance,
                               tamis_effort effort, uint8_t *blocks, int64_t n_elems,
                               int64_t n_rows, int64_t *bad_row, tamis_error *err) TAMIS_MUST_USE;

/* The longest segment of tamis_encode_segment(). */
enum { TAMIS_SEGMENT_MAX = 256 };

/* Encode part of a row for inputs that are correlated: the least (x - y)' H (x - y) that the search
 * finds, y being what decodes. Never above what tamis_encode_row() reaches with the diagonal of H.
 * x [n_elems]: the target, which error feedback may have moved away from the weights; form
 * [n_elems][n_elems]: H, symmetric and positive semi-definite, a block of X'X. n_elems is a
 * multiple of the type's block and at most TAMIS_SEGMENT_MAX (else TAMIS_BAD_USAGE). Errors as
 * tamis_encode_row(). */
tamis_status tamis_encode_segment(const tamis_type *type, const float *x, const float *form,
                                  tamis_effort effort, uint8_t *blocks, int64_t n_elems,
                                  tamis_error *err) TAMIS_MUST_USE;

/* Index of the first value of x whose magnitude is above `largest` or that is NaN; n when there is
 * none. */
int64_t tamis_find_above(const float *x, int64_t n, float largest);

/* How far a decoded row y is from its source x: sums of (x - y)^2, x^2 and y^2. */
typedef struct tamis_row_error {
    double error, norm, decoded;
} tamis_row_error;

/* Add n values to the sums; the same bits through every kernel. */
void tamis_add_row_error(const float *x, const float *y, int64_t n, tamis_row_error *sums);

/* Index of the first non-finite value in x, or n when all are finite. */
int64_t tamis_find_nonfinite(const float *x, int64_t n);

#endif
