/* test_formats_golden.c - the reference file with every type encoded and decoded: each
 * kernel level must reproduce the decoded tensors, and the conversions the 16-bit ones,
 * bit for bit. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "formats/float16.h"
#include "formats/formats.h"
#include "gguf/gguf.h"

static tamis_gguf *golden;

static void *read_all(const tamis_gguf_tensor *t) {
    tamis_error err;
    void *data = tamis_alloc_array(t->n_bytes, 1, &err);
    assert_non_null(data);
    if (tamis_gguf_read_tensor(golden, t, 0, t->n_bytes, data, &err)) fail_msg("%s", err.message);
    return data;
}

static void check_pair(const tamis_gguf_tensor *coded, const tamis_gguf_tensor *decoded) {
    uint64_t n = tamis_tensor_n_elems(coded);
    assert_int_equal(tamis_tensor_n_elems(decoded), n);
    uint8_t *blocks = read_all(coded);
    float *want = read_all(decoded);
    float *got = tamis_alloc_array(n, sizeof *got, NULL);
    assert_non_null(got);
    tamis_decode(coded->type, blocks, got, (int64_t)n);
    for (uint64_t i = 0; i < n; i++) {
        if (tamis_f32_bits(got[i]) == tamis_f32_bits(want[i])) continue;
        fail_msg("%s '%s' element %llu: %08x, not %08x", tamis_formats_cpu(), coded->name,
                 (unsigned long long)i, tamis_f32_bits(got[i]), tamis_f32_bits(want[i]));
    }
    free(blocks);
    free(want);
    free(got);
}

/* Every "X" beside an "X.f32". */
static void check_level(const char *level) {
    if (!use_cpu(level)) return;
    int n_pairs = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(golden); i++) {
        const tamis_gguf_tensor *coded = tamis_gguf_tensor_at(golden, i);
        char name[80];
        snprintf(name, sizeof name, "%s.f32", coded->name);
        const tamis_gguf_tensor *decoded = tamis_gguf_find_tensor(golden, name);
        if (!decoded) continue;
        check_pair(coded, decoded);
        n_pairs++;
    }
    assert_int_equal(n_pairs, 81);
}

static void test_level(void **state) {
    check_level(*state);
}

static void check_rounding(const char *name, uint16_t (*round)(float)) {
    const tamis_gguf_tensor *rounded = tamis_gguf_find_tensor(golden, name);
    const tamis_gguf_tensor *source = tamis_gguf_find_tensor(golden, "rounding.source");
    assert_non_null(rounded);
    assert_non_null(source);
    float *x = read_all(source);
    uint16_t *want = read_all(rounded);
    for (uint64_t i = 0; i < tamis_tensor_n_elems(source); i++) {
        if (round(x[i]) == want[i]) continue;
        fail_msg("%s of %08x: %04x, not %04x", name, tamis_f32_bits(x[i]), round(x[i]), want[i]);
    }
    free(x);
    free(want);
}

static void test_rounding(void **state) {
    (void)state;
    check_rounding("rounding.F16", tamis_f32_to_f16);
    check_rounding("rounding.BF16", tamis_f32_to_bf16);
}

int main(void) {
    require_shared();
    tamis_error err;
    if (tamis_gguf_open(shared_path("fixtures/formats/golden.gguf"), NULL, &golden, &err)) {
        printf("%s\n", err.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        CPU_LEVEL_TESTS(test_level),
        cmocka_unit_test(test_rounding),
    };
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    tamis_gguf_close(golden);
    return n_failed;
}
