/* test_formats_decode.c - the type table, decode of the reference vectors, byte order,
 * soundness of blocks, and the 16-bit floats against independent arithmetic. */
#include "support.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/float16.h"
#include "formats/formats.h"

static int hex_digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static uint32_t hex_number(const char *text, int n_digits) {
    uint32_t v = 0;
    for (int i = 0; i < n_digits; i++)
        v = v << 4 | (uint32_t)hex_digit(text[i]);
    return v;
}

/* "id name block floats": decode the block and compare every bit. */
static void check_vector(char *line, const tamis_type *type) {
    strtok_r(line, " ", &line);
    const char *name = strtok_r(NULL, " ", &line);
    const char *hex = strtok_r(NULL, " ", &line);
    const char *want = line;
    assert_string_equal(name, type->name);
    assert_int_equal(strlen(hex), 2 * type->block_bytes);
    assert_int_equal(strlen(want), 8 * type->block_elems);

    uint8_t block[292];
    float y[256];
    for (uint32_t i = 0; i < type->block_bytes; i++)
        block[i] = (uint8_t)hex_number(hex + 2 * i, 2);
    type->decode(block, y, type->block_elems);
    for (uint32_t i = 0; i < type->block_elems; i++) {
        uint32_t bits = hex_number(want + 8 * i, 8);
        if (tamis_f32_bits(y[i]) != bits) {
            fail_msg("%s element %u: %08x, not %08x", name, i, tamis_f32_bits(y[i]), bits);
        }
    }
}

static void test_reference_vectors(void **state) {
    (void)state;
    char *text = slurp(shared_path("reference/decode-vectors.txt"), NULL);
    int n_checked = 0;
    char *rest = text;
    for (char *line; (line = strtok_r(NULL, "\n", &rest));) {
        if (line[0] == '#') continue;
        const tamis_type *type = tamis_type_by_id((int32_t)strtol(line, NULL, 10));
        if (!type) continue; /* types of other programs */
        check_vector(line, type);
        n_checked++;
    }
    free(text);
    assert_true(n_checked >= 50);
}

static void test_table_is_consistent(void **state) {
    (void)state;
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    assert_true(n_types == 46);
    for (int i = 0; i < n_types; i++) {
        const tamis_type *t = &types[i];
        if (i > 0) assert_true(types[i - 1].id < t->id);
        assert_ptr_equal(tamis_type_by_id(t->id), t);
        bool is_retired = t->class == TAMIS_CLASS_RETIRED;
        assert_ptr_equal(tamis_type_by_name(t->name), is_retired ? NULL : t);
        assert_int_equal(t->block_elems == 0, is_retired);
        assert_int_equal(t->decode == NULL, is_retired || t->class == TAMIS_CLASS_INTEGER);
        uint64_t n_bytes;
        assert_int_equal(tamis_type_row_bytes(t, 256, &n_bytes), !is_retired);
        if (t->fallback_id >= 0)
            assert_int_equal(tamis_type_by_id(t->fallback_id)->block_elems, 32);
        for (int f = 0; f < 3; f++) {
            const tamis_type_field *field = &t->fields[f];
            if (field->count == 0) continue;
            int end = field->offset + (field->count - 1) * field->stride + field->width;
            assert_in_range(end, 1, t->block_bytes);
        }
    }
    assert_null(tamis_type_by_id(43));
    assert_null(tamis_type_by_id(-1));
    assert_null(tamis_type_by_name("q9_9"));
    assert_ptr_equal(tamis_type_by_name("Q4_k"), tamis_type_by_id(TAMIS_TYPE_Q4_K));
}

/* The row of a type in docs/tensor-types.md, as the table would have it. */
static void expected_row(const tamis_type *t, char *out, size_t cap) {
    static const char *const uses[] = {"ignored", "used", "required"};
    bool is_quantized = t->class == TAMIS_CLASS_QUANTIZED;
    snprintf(out, cap, "\n| %d | %s | %u | %u | %g | %s | %s | %s | %s |\n", t->id, t->name,
             t->block_elems, t->block_bytes, 8.0 * t->block_bytes / t->block_elems,
             t->decode ? "yes" : "–", tamis_can_encode(t) ? "yes" : "–",
             is_quantized ? uses[t->importance] : "–",
             t->fallback_id < 0 ? "–" : tamis_type_by_id(t->fallback_id)->name);
}

static void test_page_says_what_table_says(void **state) {
    (void)state;
    char *page = slurp(source_path("docs/tensor-types.md"), NULL);
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    for (int i = 0; i < n_types; i++) {
        if (types[i].class == TAMIS_CLASS_RETIRED) continue;
        char row[256];
        expected_row(&types[i], row, sizeof row);
        if (!strstr(page, row)) fail_msg("docs/tensor-types.md lacks the row %s", row);
    }
    free(page);
}

static void test_row_bytes(void **state) {
    (void)state;
    const tamis_type *q4_K = tamis_type_by_id(TAMIS_TYPE_Q4_K);
    uint64_t n = 7;
    assert_true(tamis_type_row_bytes(q4_K, 512, &n));
    assert_int_equal(n, 288);
    assert_false(tamis_type_row_bytes(q4_K, 255, &n));
    assert_false(tamis_type_row_bytes(tamis_type_by_id(4), 256, &n));
    assert_false(tamis_type_row_bytes(tamis_type_by_id(28), UINT64_MAX / 4, &n));
    assert_true(tamis_type_row_bytes(q4_K, 0, &n));
    assert_int_equal(n, 0);
}

/* The value of an f16 by its definition, in double. */
static double f16_value(unsigned h) {
    int exponent = (int)(h >> 10) & 31, mantissa = (int)h & 1023;
    double m = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -m : m;
}

static void test_f16_all_codes(void **state) {
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        float x = tamis_f16_to_f32((uint16_t)h);
        if ((h & 0x7C00) != 0x7C00) {
            assert_true((double)x == f16_value(h));
            assert_int_equal(tamis_f32_to_f16(x), h);
        } else if (h & 0x3FF) {
            assert_true(isnan(x));
            assert_int_equal(tamis_f32_to_f16(x), (h & 0x8000) | 0x7E00);
        } else {
            assert_true(isinf(x));
            assert_int_equal(tamis_f32_to_f16(x), h);
        }
    }
}

/* Between neighbours the middle goes to the even code, anything else to the nearer one. */
static void test_f16_rounding(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x7BFF; h++) {
        float middle = (float)((f16_value(h) + f16_value(h + 1)) / 2);
        assert_int_equal(tamis_f32_to_f16(middle), h + (h & 1));
        assert_int_equal(tamis_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(tamis_f32_to_f16(-nextafterf(middle, 1e9f)), 0x8000 | (h + 1));
    }
    assert_int_equal(tamis_f32_to_f16(65519.996f), 0x7BFF);
    assert_int_equal(tamis_f32_to_f16(65520.0f), 0x7C00);
    assert_int_equal(tamis_f32_to_f16(-1e30f), 0xFC00);
}

static void test_bf16(void **state) {
    (void)state;
    assert_int_equal(tamis_f32_to_bf16(1.0f), 0x3F80);
    assert_int_equal(tamis_f32_to_bf16(tamis_f32_from_bits(0x3F808000)), 0x3F80);
    assert_int_equal(tamis_f32_to_bf16(tamis_f32_from_bits(0x3F818000)), 0x3F82);
    assert_int_equal(tamis_f32_to_bf16(tamis_f32_from_bits(0x3F808001)), 0x3F81);
    assert_int_equal(tamis_f32_to_bf16(tamis_f32_from_bits(0x7F7FFFFF)), 0x7F80);
    assert_int_equal(tamis_f32_to_bf16(tamis_f32_from_bits(0xFF800001)), 0xFFC0);
    assert_true(tamis_bf16_to_f32(0xC2F7) == -123.5f);
}

/* Every second block of four gets a bad value in a field: it must be named, the others not. */
static void test_bad_blocks(void **state) {
    (void)state;
    static const struct {
        int32_t id;
        int offset; /* of the bytes written */
        int n_bytes;
        uint8_t bytes[8];
    } cases[] = {
        {0, 0, 4, {0, 0, 0x80, 0x7F}},  {1, 0, 2, {1, 0xFC}},
        {30, 0, 2, {0x80, 0xFF}},       {28, 0, 8, {0, 0, 0, 0, 0, 0, 0xF0, 0x7F}},
        {3, 2, 2, {0, 0x7C}},           {10, 82, 2, {0, 0xFE}},
        {12, 0, 2, {0, 0x7C}},          {14, 208, 2, {0, 0x7C}},
        {15, 0, 4, {0, 0, 0xC0, 0xFF}}, {29, 48, 8, {0, 0, 0, 0, 0, 0xC0, 0, 0x70}},
        {35, 64, 2, {0, 0x7C}},         {39, 0, 1, {255}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const tamis_type *t = tamis_type_by_id(cases[i].id);
        uint8_t blocks[4 * 292] = {0};
        assert_int_equal(tamis_find_bad_block(t, blocks, 4), 4);
        uint8_t *bad = blocks + 2 * t->block_bytes + cases[i].offset;
        memcpy(bad, cases[i].bytes, (size_t)cases[i].n_bytes);
        if (tamis_find_bad_block(t, blocks, 4) != 2) fail_msg("%s: not found", t->name);
        assert_int_equal(tamis_find_bad_block(t, blocks, 2), 2);
    }
    uint8_t all_ones[36];
    memset(all_ones, 255, sizeof all_ones);
    assert_int_equal(tamis_find_bad_block(tamis_type_by_name("nvfp4"), all_ones, 1), 1);
    assert_int_equal(tamis_find_bad_block(tamis_type_by_name("i64"), all_ones, 4), 4);
}

static void test_swap_bytes(void **state) {
    (void)state;
    uint8_t b[292], original[292];
    for (int i = 0; i < 292; i++)
        b[i] = original[i] = (uint8_t)i;
    /* q5_1: d, m (16 bits each), qh (32 bits), then bytes */
    tamis_swap_bytes(tamis_type_by_name("q5_1"), b, 2);
    static const uint8_t q5_1[] = {1, 0, 3, 2, 7, 6, 5, 4, 8, 9};
    assert_memory_equal(b, q5_1, sizeof q5_1);
    assert_int_equal(b[24], 25);
    assert_int_equal(b[48], 48);
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    for (int i = 0; i < n_types; i++) { /* twice is the identity */
        if (!types[i].block_bytes) continue;
        memcpy(b, original, sizeof b);
        int64_t n_blocks = (int64_t)sizeof b / types[i].block_bytes;
        tamis_swap_bytes(&types[i], b, n_blocks);
        tamis_swap_bytes(&types[i], b, n_blocks);
        assert_memory_equal(b, original, sizeof b);
    }
    memcpy(b, original, sizeof b);
    tamis_swap_bytes(tamis_type_by_name("mxfp4"), b, 2);
    assert_memory_equal(b, original, sizeof b);
}

static void test_find_nonfinite(void **state) {
    (void)state;
    float x[1000] = {0};
    assert_int_equal(tamis_find_nonfinite(x, 1000), 1000);
    x[999] = -INFINITY;
    assert_int_equal(tamis_find_nonfinite(x, 1000), 999);
    x[511] = NAN;
    assert_int_equal(tamis_find_nonfinite(x, 1000), 511);
    assert_int_equal(tamis_find_nonfinite(x, 511), 511);
    x[0] = INFINITY;
    assert_int_equal(tamis_find_nonfinite(x, 1000), 0);
    assert_int_equal(tamis_find_nonfinite(x, 0), 0);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_vectors),
        cmocka_unit_test(test_table_is_consistent),
        cmocka_unit_test(test_page_says_what_table_says),
        cmocka_unit_test(test_row_bytes),
        cmocka_unit_test(test_f16_all_codes),
        cmocka_unit_test(test_f16_rounding),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_bad_blocks),
        cmocka_unit_test(test_swap_bytes),
        cmocka_unit_test(test_find_nonfinite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
