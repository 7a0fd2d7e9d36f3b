/* fuzz_encode.c - any numbers as rows of any type that can be encoded, with and without importance:
 * they are refused in words, or every CPU level makes the same sound blocks, which decode to
 * finite numbers, lose no more than storing nothing would (types without a minimum), and less or
 * the same with each effort.
 * Four bytes choose the type, what the numbers and the importance are made of, and the length; the
 * rest is repeated until the row is full. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/float16.h"
#include "formats/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

enum { MAX_ELEMS = 768, MAX_BYTES = 8 * MAX_ELEMS, HEAD_BYTES = 4 };

static const char *const levels[] = {"plain", "neon", "avx2", "avx512"};
enum { N_LEVELS = sizeof levels / sizeof *levels };

/* Element i of kind: small integers, 16-bit floats of either sort, or any 32 bits. */
static float number(const uint8_t *data, size_t n_bytes, size_t i, int kind) {
    uint8_t b[4];
    for (size_t k = 0; k < 4; k++)
        b[k] = data[(i * (kind == 0 ? 1 : kind < 3 ? 2 : 4) + k) % n_bytes];
    uint16_t half = (uint16_t)(b[0] | b[1] << 8);
    if (kind == 0) return (float)(int8_t)b[0] * 0x1p-8f;
    if (kind == 1) return tamis_f16_to_f32(half);
    if (kind == 2) return tamis_bf16_to_f32(half);
    return tamis_f32_from_bits((uint32_t)half | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24);
}

static double error_of(const float *x, const float *y, const float *w, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double off = (double)x[i] - (double)(y ? y[i] : 0.0f);
        sum += (w ? (double)w[i] : 1.0) * off * off;
    }
    return sum;
}

/* Encodes on every level; the blocks are the same. False when the row is refused, by all. */
static bool encode(const tamis_type *type, const float *x, const float *w, tamis_effort effort,
                   uint8_t *blocks, int64_t n) {
    static uint8_t again[MAX_BYTES];
    uint64_t n_bytes;
    tamis_status first = TAMIS_OK;
    if (!tamis_type_row_bytes(type, (uint64_t)n, &n_bytes)) abort();
    for (int i = 0; i < N_LEVELS; i++) {
        tamis_error err = {0};
        setenv("TAMIS_CPU", levels[i], 1);
        tamis_formats_init();
        uint8_t *to = i ? again : blocks;
        memset(to, i ? 0xA5 : 0x5A, (size_t)n_bytes + 1);
        tamis_status st = tamis_encode_row(type, x, w, effort, to, n, &err);
        if (i == 0) first = st;
        if (st != first || (st && !err.message[0])) abort();
        if (to[n_bytes] != (i ? 0xA5 : 0x5A)) abort(); /* it wrote behind the end */
        if (!st && memcmp(to, blocks, (size_t)n_bytes) != 0) abort();
    }
    return first == TAMIS_OK;
}

/* Sums of f32 are all that an encoder has to compare by. */
static bool is_above(double error, double bound) {
    return error > bound * (1 + 1e-4) + 1e-70;
}

static void try_row(const tamis_type *type, const float *x, const float *w, int64_t n) {
    static uint8_t blocks[MAX_BYTES];
    static float y[MAX_ELEMS];
    double bound = error_of(x, NULL, w, n);
    int64_t n_blocks = n / type->block_elems;
    for (tamis_effort effort = TAMIS_EFFORT_FAST; effort <= TAMIS_EFFORT_BEST; effort++) {
        if (!encode(type, x, w, effort, blocks, n)) return;
        if (tamis_find_bad_block(type, blocks, n_blocks) != n_blocks) abort();
        tamis_decode(type, blocks, y, n);
        if (tamis_find_nonfinite(y, n) != n) abort();
        double error = error_of(x, y, w, n);
        if (is_above(error, bound)) abort();
        bound = error;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static float x[MAX_ELEMS], w[MAX_ELEMS];
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    if (n_bytes <= HEAD_BYTES) return 0;
    const tamis_type *type = &types[data[0] % n_types];
    if (!tamis_can_encode(type)) return 0;
    int64_t n = type->block_elems * (1 + data[3] % (MAX_ELEMS / type->block_elems));
    const uint8_t *body = data + HEAD_BYTES;
    size_t n_body = n_bytes - HEAD_BYTES;
    for (size_t i = 0; i < (size_t)n; i++) {
        x[i] = number(body, n_body, i, data[1] & 3);
        /* Importance from the other end, so that it is not the numbers themselves. */
        w[i] = number(body, n_body, (size_t)n + 3 * i, data[1] >> 2 & 3);
        if (!(data[2] & 2)) w[i] = fabsf(w[i]); /* else a negative one is to be refused */
    }
    try_row(type, x, data[2] & 1 ? w : NULL, n);
    return 0;
}
