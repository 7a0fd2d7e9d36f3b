/* test_formats_kernels.c - every kernel level gives the bits of the plain decoders, for
 * every type, on random blocks: any scale, any code, any number of blocks. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/float16.h"
#include "formats/formats.h"

enum { N_BYTES = 1 << 16 };

static uint8_t blocks[N_BYTES];
static float want[N_BYTES * 8], got[N_BYTES * 8]; /* one bit a weight at the least */

/* xorshift: the same blocks in every run. */
static void fill_random(void) {
    uint64_t s = 0x9E3779B97F4A7C15u;
    for (int i = 0; i < N_BYTES; i++) {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        blocks[i] = (uint8_t)(s >> 32);
    }
}

/* NaNs need only be NaN in both: which operand's payload survives an operation is the compiler's.
 */
static void compare(const char *level, const tamis_type *type, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (isnan(want[i]) && isnan(got[i])) continue;
        uint32_t a = tamis_f32_bits(want[i]), b = tamis_f32_bits(got[i]);
        if (a != b)
            fail_msg("%s %s element %lld: %08x, plain %08x", level, type->name, (long long)i, b, a);
    }
}

/* n blocks from memory of exactly that size, so that a sanitizer sees reads behind it. */
static void check_blocks(const char *level, const tamis_type *t, int64_t n_blocks) {
    int64_t n_elems = n_blocks * t->block_elems;
    size_t n_bytes = (size_t)n_blocks * t->block_bytes;
    uint8_t *exact = malloc(n_bytes);
    assert_non_null(exact);
    memcpy(exact, blocks, n_bytes);
    memset(got, 0x55, sizeof got[0] * (size_t)(n_elems + 1));
    t->decode(exact, want, n_elems);
    tamis_decode(t, exact, got, n_elems);
    free(exact);
    compare(level, t, n_elems);
    assert_int_equal(tamis_f32_bits(got[n_elems]), 0x55555555); /* nothing behind */
}

static void check_level(const char *level) {
    if (!use_cpu(level)) return;
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    for (int i = 0; i < n_types; i++) {
        if (!types[i].decode) continue;
        check_blocks(level, &types[i], N_BYTES / types[i].block_bytes);
        for (int64_t n = 40; n >= 0; n--)
            check_blocks(level, &types[i], n);
    }
}

static void test_level(void **state) {
    check_level(*state);
}

/* Outputs of many MiB in one call, at any place in a cache line, are written another way. */
static void check_large(const tamis_type *t, int64_t shift) {
    enum { GUARD = 32 };
    int64_t n_blocks = (4 << 20) / t->block_elems + 3;
    int64_t n = n_blocks * t->block_elems;
    uint8_t *large = malloc((size_t)n_blocks * t->block_bytes);
    float *plain = malloc((size_t)n * sizeof *plain);
    float *room = aligned_alloc(64, (size_t)(n / 16 + 2) * 64 + GUARD * sizeof *room);
    assert_true(large && plain && room);
    int64_t n_once = N_BYTES / t->block_bytes;
    for (int64_t at = 0; at < n_blocks; at += n_once) {
        int64_t n_part = n_blocks - at < n_once ? n_blocks - at : n_once;
        memcpy(large + at * t->block_bytes, blocks, (size_t)n_part * t->block_bytes);
    }
    float *x = room + shift;
    memset(room, 0x55, (size_t)(shift + n + 1) * sizeof *room);
    t->decode(large, plain, n);
    tamis_decode(t, large, x, n);
    for (int64_t i = -shift; i < n + 1; i++) {
        bool is_outside = i < 0 || i == n;
        uint32_t want_bits = is_outside ? 0x55555555 : tamis_f32_bits(plain[i]);
        if (!is_outside && isnan(plain[i]) && isnan(x[i])) continue;
        if (tamis_f32_bits(x[i]) != want_bits)
            fail_msg("%s %s element %lld of a large output, %lld floats into a line: %08x, not "
                     "%08x",
                     tamis_formats_cpu(), t->name, (long long)i, (long long)shift,
                     tamis_f32_bits(x[i]), want_bits);
    }
    free(large);
    free(plain);
    free(room);
}

static void test_large_outputs(void **state) {
    if (!use_cpu(*state)) return;
    check_large(tamis_type_by_name("f16"), 0);
    check_large(tamis_type_by_name("q8_0"), 1);
    check_large(tamis_type_by_name("q6_K"), 15);
    check_large(tamis_type_by_name("iq4_xs"), 4);
}

int main(void) {
    fill_random();
    const struct CMUnitTest tests[] = {
        CPU_LEVEL_TESTS(test_level),
        CPU_LEVEL_TESTS(test_large_outputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
