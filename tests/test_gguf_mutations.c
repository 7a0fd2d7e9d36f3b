/* test_gguf_mutations.c - small sound files, cut at every length and with every header byte
 * changed, through the fuzz target: each is read or refused, and nothing else happens
 * (run it under the sanitizers to see that). */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz_gguf.c"

static const char *const names[] = {
    "v2",     "v3",       "be-v3-align-64", "empty",        "metadata-only",
    "dims",   "utf8",     "empty-arrays",   "cut-whole",    "integer-widths",
    "align-8", "no-final-padding", "bytes-in-strings", "split-count-zero", "tokenizer-smallest",
    "all-value-types", "unknown-keys-and-case", "split-00001-of-00003", "be-v3", "align-16",
};

/* A copy of exactly n bytes, so that a sanitizer sees the first byte too far. */
static void replay(const char *data, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n) memcpy(copy, data, n);
    assert_int_equal(LLVMFuzzerTestOneInput(copy, n), 0);
    free(copy);
}

static size_t header_bytes(const char *data, size_t n) {
    tamis_gguf *g = NULL;
    tamis_error err;
    if (tamis_gguf_open_memory(data, n, NULL, &g, &err)) fail_msg("%s", err.message);
    size_t size = (size_t)tamis_gguf_data_offset(g, 0);
    tamis_gguf_close(g);
    return size < n ? size : n;
}

static void test_prefixes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t n;
        char *data = slurp(shared_path("fixtures/gguf/valid/%s.gguf", names[i]), &n);
        size_t end = header_bytes(data, n) + 64;
        for (size_t cut = 0; cut <= n && cut < end; cut++)
            replay(data, cut);
        replay(data, n);
        free(data);
    }
}

static void test_header_bytes(void **state) {
    (void)state;
    static const uint8_t flips[] = { 0x01, 0x80, 0xFF };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t n;
        char *data = slurp(shared_path("fixtures/gguf/valid/%s.gguf", names[i]), &n);
        size_t end = header_bytes(data, n);
        for (size_t at = 0; at < end; at++) {
            char kept = data[at];
            for (size_t f = 0; f < sizeof flips; f++) {
                data[at] = (char)(kept ^ (char)flips[f]);
                replay(data, n);
            }
            data[at] = kept;
        }
        free(data);
    }
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_header_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
