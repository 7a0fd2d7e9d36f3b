/* test_base_parse.c - numbers, sizes, nearest names, error messages and escaped text. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "support.h"

static tamis_error err;

static void integers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t lo, hi;
        tamis_status status;
        int64_t value;
    } cases[] = {
        {"0", 0, 10, TAMIS_OK, 0},
        {"+7", 0, 10, TAMIS_OK, 7},
        {"-0", 0, 10, TAMIS_OK, 0},
        {"10", 0, 10, TAMIS_OK, 10},
        {"11", 0, 10, TAMIS_BAD_USAGE, 0},
        {"-1", 0, 10, TAMIS_BAD_USAGE, 0},
        {"9223372036854775807", 0, INT64_MAX, TAMIS_OK, INT64_MAX},
        {"-9223372036854775808", INT64_MIN, 0, TAMIS_OK, INT64_MIN},
        {"9223372036854775808", INT64_MIN, INT64_MAX, TAMIS_BAD_USAGE, 0},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, TAMIS_BAD_USAGE, 0},
        {"99999999999999999999999", INT64_MIN, INT64_MAX, TAMIS_BAD_USAGE, 0},
        {"", 0, 10, TAMIS_BAD_USAGE, 0},
        {"-", 0, 10, TAMIS_BAD_USAGE, 0},
        {"1 ", 0, 10, TAMIS_BAD_USAGE, 0},
        {" 1", 0, 10, TAMIS_BAD_USAGE, 0},
        {"1.0", 0, 10, TAMIS_BAD_USAGE, 0},
        {"0x1", 0, 10, TAMIS_BAD_USAGE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t r = 4711;
        tamis_status st = tamis_parse_int(cases[i].text, cases[i].lo, cases[i].hi, "--n", &r, &err);
        if (st != cases[i].status || (r != (st ? 4711 : cases[i].value)))
            fail_msg("'%s' gave %d, %lld", cases[i].text, (int)st, (long long)r);
    }
}

static void doubles(void **state) {
    (void)state;
    double r = 0;
    assert_int_equal(tamis_parse_double("1e-3", 0, 1, "x", &r, &err), TAMIS_OK);
    assert_true(r == 1e-3);
    assert_int_equal(tamis_parse_double("-.5", -1, 1, "x", &r, &err), TAMIS_OK);
    assert_true(r == -0.5);
    static const char *const bad[] = {"",      ".",   "nan", "inf", "1e999",
                                      "0x1p0", "1,5", "1 ",  " 1",  "-"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (tamis_parse_double(bad[i], -DBL_MAX, DBL_MAX, "x", &r, &err) != TAMIS_BAD_USAGE)
            fail_msg("'%s' was taken as %g", bad[i], r);
    assert_int_equal(tamis_parse_double("1.01", 0, 1, "--share", &r, &err), TAMIS_BAD_USAGE);
    assert_string_equal(err.message, "--share: 1.01 is out of range; 0 to 1 are allowed");
}

static void sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"123", 123},
        {"0", 0},
        {"500M", 500000000},
        {"12G", 12000000000},
        {"12gb", 12000000000},
        {"1.5GiB", 1610612736},
        {"2 KiB", 2048},
        {"1T", 1000000000000},
        {"7B", 7},
        {"9007199254740993", 9007199254740993u},
    };
    uint64_t r = 0;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(tamis_parse_size(good[i].text, "--mem", &r, &err), TAMIS_OK);
        if (r != good[i].bytes) fail_msg("%s is %llu", good[i].text, (unsigned long long)r);
    }
    static const char *const bad[] = {"",    "G",    "-1",  "-1G",      "1X",
                                      "1GG", "1e30", "nan", "99999999T"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (tamis_parse_size(bad[i], "--mem", &r, &err) != TAMIS_BAD_USAGE)
            fail_msg("'%s' was taken as %llu", bad[i], (unsigned long long)r);
}

static void printed_numbers(void **state) {
    (void)state;
    char s[64];
    assert_string_equal(tamis_format_size(999, s, sizeof s), "999 B");
    assert_string_equal(tamis_format_size(1000, s, sizeof s), "1.00 kB");
    assert_string_equal(tamis_format_size(999999, s, sizeof s), "1.00 MB");
    assert_string_equal(tamis_format_size(1500000000, s, sizeof s), "1.50 GB");
    assert_string_equal(tamis_format_size(UINT64_MAX, s, sizeof s), "18.45 EB");
    assert_string_equal(tamis_format_seconds(12.34, s, sizeof s), "12.3 s");
    assert_string_equal(tamis_format_seconds(59.97, s, sizeof s), "1:00");
    assert_string_equal(tamis_format_seconds(3723, s, sizeof s), "1:02:03");
    assert_string_equal(tamis_format_seconds(NAN, s, sizeof s), "0.0 s");
    assert_string_equal(tamis_format_double(0.1, s, sizeof s), "0.1");
    assert_string_equal(tamis_format_double(1.0 / 3, s, sizeof s), "0.3333333333333333");
    assert_string_equal(tamis_format_double(4096, s, sizeof s), "4096");
    assert_true(strtod(tamis_format_double(DBL_TRUE_MIN, s, sizeof s), NULL) == DBL_TRUE_MIN);
}

static void nearest(void **state) {
    (void)state;
    static const char *const names[] = {"Q4_K_M", "Q4_K_S", "Q8_0", "threads", "f"};
    const size_t n = sizeof names / sizeof names[0];
    assert_string_equal(tamis_nearest("q4km", names, n) ? "found" : "none", "none");
    assert_string_equal(tamis_nearest("q4_km", names, n), "Q4_K_M");
    assert_string_equal(tamis_nearest("Q4_KS", names, n), "Q4_K_S");
    assert_string_equal(tamis_nearest("thraeds", names, n), "threads");
    assert_null(tamis_nearest("completely-other", names, n));
    assert_null(tamis_nearest("", names, n));
    assert_null(tamis_nearest("x", names, n));
}

static void error_messages(void **state) {
    (void)state;
    assert_int_equal(tamis_fail(&err, TAMIS_BAD_INPUT, "byte %d", 7), TAMIS_BAD_INPUT);
    assert_int_equal(tamis_fail_prefix(&err, "'%s'", "m.gguf"), TAMIS_BAD_INPUT);
    assert_string_equal(err.message, "'m.gguf': byte 7");
    errno = EACCES;
    tamis_fail_errno(&err, TAMIS_NO_RESOURCE, "cannot write '%s'", "x");
    assert_string_equal(err.message, "cannot write 'x': permission denied");
    assert_int_equal(tamis_fail(NULL, TAMIS_BAD_USAGE, "nobody listens"), TAMIS_BAD_USAGE);
    /* cut at the end, not inside a character */
    char text[1200];
    memset(text, 'a', sizeof text);
    text[0] = 'b';
    for (size_t i = 1; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    text[sizeof text - 1] = 0;
    tamis_fail(&err, TAMIS_BAD_INPUT, "%s", text);
    size_t n = strlen(err.message);
    assert_in_range(n, 1018, 1023);
    assert_int_equal((unsigned char)err.message[n - 1], 0xA9);
}

static void check_escape(const char *in, size_t n, const char *wanted) {
    char out[64];
    assert_string_equal(tamis_escape(in, n, out, sizeof out), wanted);
}

static void messages_hold_no_hidden_characters(void **state) {
    (void)state;
    tamis_fail(&err, TAMIS_BAD_INPUT, "tensor '%s' \"x\\\"", "a\x1b[31m\n\xff\xe2\x80\xae");
    assert_string_equal(err.message, "tensor 'a\\x1b[31m\\x0a\\xff\\xe2\\x80\\xae' \"x\\\"");
    char bells[2 * sizeof err.message];
    memset(bells, '\a', sizeof bells - 1);
    bells[sizeof bells - 1] = 0;
    tamis_fail(&err, TAMIS_BAD_INPUT, "%s", bells);
    assert_int_equal(strlen(err.message), (sizeof err.message - 1) / 4 * 4);
}

static void escaped_text(void **state) {
    (void)state;
    check_escape("plain", 5, "plain");
    check_escape("a\nb\tc\"d\\e", 9, "a\\nb\\tc\\\"d\\\\e");
    check_escape("\x1b[31m\0x", 7, "\\x1b[31m\\x00x");
    check_escape("gr\xC3\xBC\xC3\x9F \xF0\x9F\x8C\x8A", 11, "gr\xC3\xBC\xC3\x9F \xF0\x9F\x8C\x8A");
    check_escape("\xC2\x9B"
                 "31m",
                 5, "\\xc2\\x9b31m"); /* C1 control */
    check_escape("a\xE2\x80\xAE"
                 "b",
                 5,
                 "a\\xe2\\x80\\xae"
                 "b"); /* right-to-left override */
    check_escape("\xE2\x81\xA6", 3, "\\xe2\\x81\\xa6");
    check_escape("\xC3", 1, "\\xc3");                            /* cut */
    check_escape("\xC0\x80", 2, "\\xc0\\x80");                   /* overlong */
    check_escape("\xED\xA0\x80", 3, "\\xed\\xa0\\x80");          /* surrogate */
    check_escape("\xF4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
    check_escape("\x7F", 1, "\\x7f");
    char out[8];
    assert_string_equal(tamis_escape("1234567", 7, out, sizeof out), "1234567");
    assert_string_equal(tamis_escape("12345678", 8, out, sizeof out), "1234...");
    assert_string_equal(tamis_escape("123\n\n\n\n", 7, out, sizeof out), "123...");
    assert_string_equal(tamis_escape("123456", 6, out, 3), "..");
    assert_string_equal(tamis_escape("123456", 6, out, 1), "");
}

static void allocations(void **state) {
    (void)state;
    assert_null(tamis_alloc_array(UINT64_MAX / 2, 4, &err));
    assert_int_equal(err.code, TAMIS_NO_RESOURCE);
    assert_null(tamis_alloc_array(UINT64_MAX, 1, &err));
    unsigned char *block = tamis_alloc_array(3, 50, &err);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 64, 0);
    for (size_t i = 0; i < 150; i++)
        assert_int_equal(block[i], 0);
    free(block);
    int64_t *items = NULL;
    uint64_t capacity = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(tamis_grow(&items, &capacity, i + 1, sizeof *items, &err), TAMIS_OK);
        assert_int_equal(items[i], 0);
        items[i] = (int64_t)i + 1;
    }
    assert_int_equal(items[999], 1000);
    assert_int_equal(tamis_grow(&items, &capacity, UINT64_MAX / 4, sizeof *items, &err),
                     TAMIS_NO_RESOURCE);
    assert_int_equal(items[0], 1); /* kept */
    free(items);
    uint64_t r = 5;
    assert_false(tamis_add_u64(UINT64_MAX, 1, &r));
    assert_false(tamis_mul_u64(UINT64_C(1) << 33, UINT64_C(1) << 31, &r));
    assert_false(tamis_align_up_u64(UINT64_MAX - 3, 32, &r));
    assert_true(r == 5);
    assert_true(tamis_align_up_u64(33, 32, &r) && r == 64);
}

static void unsigned_integers(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616"};
    uint64_t r = 5;
    assert_int_equal(tamis_parse_uint("18446744073709551615", "n", &r, &err), TAMIS_OK);
    assert_true(r == UINT64_MAX);
    assert_int_equal(tamis_parse_uint("0", "n", &r, &err), TAMIS_OK);
    assert_true(r == 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(tamis_parse_uint(wrong[i], "n", &r, &err), TAMIS_BAD_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(unsigned_integers),
        cmocka_unit_test(doubles),
        cmocka_unit_test(sizes),
        cmocka_unit_test(printed_numbers),
        cmocka_unit_test(nearest),
        cmocka_unit_test(error_messages),
        cmocka_unit_test(messages_hold_no_hidden_characters),
        cmocka_unit_test(escaped_text),
        cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests_name("base/parse", tests, NULL, NULL);
}
