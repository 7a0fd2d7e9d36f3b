/* format_digests.c - what the formats room makes of numbers, in few lines: a digest of random
 * blocks as they decode and of rows as they encode, per type. It needs no library but libc, so
 * that scripts/same_bytes_arm.sh can build it for another architecture and compare the lines.
 *   format_digests [FILE]    also decodes the blocks of a reference/decode-vectors.txt
 * Inputs are integers, exact divisions and powers of two: the same from every compiler. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/float16.h"
#include "formats/formats.h"

enum { N = 512, N_BLOCK_BYTES = 1 << 15, LINE_CAP = 1 << 13 };

static uint64_t state;

static uint32_t random_bits(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 40);
}

static float bell(void) {
    int32_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (int32_t)random_bits() - (1 << 23);
    return (float)(sum >> 2) / (float)(1 << 21);
}

/* FNV-1a over 64 bits. */
static uint64_t digest(uint64_t h, const void *data, size_t n_bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < n_bytes; i++)
        h = (h ^ p[i]) * 0x100000001B3u;
    return h;
}

static const uint64_t EMPTY = 0xCBF29CE484222325u;

/* Which NaN comes of an operation is the CPU's choice; that it is one is not. */
static void settle_nan(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (isnan(x[i])) x[i] = tamis_f32_from_bits(0x7FC00000u);
}

static void decode_blocks(const tamis_type *type) {
    static uint8_t blocks[N_BLOCK_BYTES];
    static float x[N_BLOCK_BYTES * 8]; /* one bit a weight at the least */
    int64_t n_blocks = N_BLOCK_BYTES / type->block_bytes;
    int64_t n_elems = n_blocks * type->block_elems;
    state = 1;
    for (int i = 0; i < N_BLOCK_BYTES; i++)
        blocks[i] = (uint8_t)random_bits();
    tamis_decode(type, blocks, x, n_elems);
    settle_nan(x, n_elems);
    printf("decode %s %016llx\n", type->name,
           (unsigned long long)digest(EMPTY, x, (size_t)n_elems * sizeof *x));
}

static void fill_bell(float *x) {
    for (int i = 0; i < N; i++)
        x[i] = 0.03125f * bell();
}

static void fill_heavy(float *x) {
    for (int i = 0; i < N; i++) {
        float b = bell();
        x[i] = 0.0625f * b * b * b;
    }
}

static void fill_outliers(float *x) {
    for (int i = 0; i < N; i++) {
        float size = random_bits() % 100 == 0 ? 100.0f : 0.0625f;
        x[i] = size * bell();
    }
}

/* Down to subnormal numbers, with zeros of both signs: where -0 and +0, or flushing, would show. */
static void fill_specks(float *x) {
    for (int i = 0; i < N; i++) {
        x[i] = ldexpf(bell(), -20 - i / 4);
        if (random_bits() % 8 == 0) x[i] *= 0.0f;
    }
}

static void fill_importance(float *w) {
    for (int i = 0; i < N; i++) {
        w[i] = 0.015625f + fabsf(bell());
        w[i] = ldexpf(w[i], -(int)(random_bits() % 12));
    }
}

static void encode_rows(const tamis_type *type, tamis_effort effort) {
    static void (*const fills[])(float *) = {fill_bell, fill_heavy, fill_outliers, fill_specks};
    float x[N], w[N];
    uint8_t blocks[8 * N];
    uint64_t h = EMPTY, n_bytes = 0;
    if (!tamis_type_row_bytes(type, N, &n_bytes)) return;
    state = 2;
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        for (int is_weighted = 0; is_weighted < 2; is_weighted++) {
            tamis_error err;
            fills[i](x);
            fill_importance(w);
            if (tamis_encode_row(type, x, is_weighted ? w : NULL, effort, blocks, N, &err)) {
                h = digest(h, err.message, strlen(err.message));
            } else {
                h = digest(h, blocks, (size_t)n_bytes);
            }
        }
    }
    printf("encode %s %s %016llx\n", type->name, tamis_effort_name(effort), (unsigned long long)h);
}

static unsigned hex_number(const char *text, int n_digits) {
    char digits[9] = "";
    memcpy(digits, text, (size_t)n_digits);
    return (unsigned)strtoul(digits, NULL, 16);
}

/* "id name block floats": decode and compare every bit. */
static bool is_vector_right(const tamis_type *type, const char *block_hex, const char *want) {
    uint8_t block[512];
    float x[512];
    if (strlen(block_hex) != 2 * type->block_bytes || strlen(want) != 8 * type->block_elems)
        return false;
    for (uint32_t i = 0; i < type->block_bytes; i++)
        block[i] = (uint8_t)hex_number(block_hex + 2 * i, 2);
    tamis_decode(type, block, x, type->block_elems);
    for (uint32_t i = 0; i < type->block_elems; i++)
        if (tamis_f32_bits(x[i]) != hex_number(want + 8 * i, 8)) return false;
    return true;
}

static bool check_vectors(const char *path) {
    static char line[LINE_CAP];
    int n_right = 0, n_wrong = 0;
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        return false;
    }
    while (fgets(line, sizeof line, file)) {
        char name[32], block_hex[1024], want[4200];
        int id;
        if (sscanf(line, "%d %31s %1023s %4199s", &id, name, block_hex, want) != 4) continue;
        const tamis_type *type = tamis_type_by_id(id);
        if (!type) continue; /* types of other programs */
        bool is_right = is_vector_right(type, block_hex, want);
        if (!is_right) printf("vectors: %s is wrong\n", type->name);
        n_right += is_right;
        n_wrong += !is_right;
    }
    fclose(file);
    printf("vectors: %d blocks right, %d wrong\n", n_right, n_wrong);
    return n_wrong == 0 && n_right >= 50;
}

int main(int argc, char **argv) {
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    tamis_formats_init();
    fprintf(stderr, "%s\n", tamis_formats_cpu());
    for (int i = 0; i < n_types; i++) {
        if (types[i].decode) decode_blocks(&types[i]);
        for (tamis_effort e = TAMIS_EFFORT_FAST; e <= TAMIS_EFFORT_BEST; e++)
            if (tamis_can_encode(&types[i])) encode_rows(&types[i], e);
    }
    return argc > 1 && !check_vectors(argv[1]) ? 1 : 0;
}
