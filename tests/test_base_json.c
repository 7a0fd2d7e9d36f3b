/* test_base_json.c - what the JSON reader refuses, and what the writer writes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "support.h"

static tamis_error err;

static tamis_status parse(const char *text, size_t n) {
    /* an exact copy on the heap, so that a read past the end is seen by valgrind and ASan */
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    cJSON *value = NULL;
    tamis_status st = tamis_json_parse(copy, n, "x.json", &value, &err);
    assert_int_equal(value != NULL, st == TAMIS_OK);
    cJSON_Delete(value);
    free(copy);
    return st;
}

static void good_texts(void **state) {
    (void)state;
    static const char *const good[] = {
        "{}",
        " [ ] \r\n",
        "0",
        "-0.5e+10",
        "\"\"",
        "null",
        "true",
        "[1,2,[3,{\"a\":false}]]",
        "{\"a\":{\"a\":1},\"b\":[{\"a\":2}]}",
        "\"\\u00e9\\ud83c\\udf0a\\n\\/\"",
        "\"gr\xC3\xBC\xC3\x9F\xF0\x9F\x8C\x8A\"",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (parse(good[i], strlen(good[i]))) fail_msg("%s: %s", good[i], err.message);
}

static void bad_texts(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1}x",
        "1 2",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "nan",
        "Infinity",
        "tru",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\u0000\"",
        "\"a\nb\"",
        "\"\xC3\"",
        "\"\xED\xA0\x80\"",
        "// c\n1",
        "[1 2]",
        "\"\\",
        "{\"a\":1,\"a\":2}",
        "[{\"x\":{\"b\":1,\"c\":2,\"b\":3}}]",
        "{\"a\":1,\"\\u0061\":2}",
        "1111111111111111111111111111111111111111111111111111111111111",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse(bad[i], strlen(bad[i])) != TAMIS_BAD_INPUT) fail_msg("taken: %s", bad[i]);
        assert_ptr_equal(strstr(err.message, "'x.json'"), err.message);
    }
    assert_int_equal(parse("1\0", 2), TAMIS_BAD_INPUT);
    assert_int_equal(parse("{\"a\":1,\"a\":2}", 13), TAMIS_BAD_INPUT);
    assert_string_equal(err.message, "'x.json': key 'a' is there twice in one object");
}

static void depth_is_limited(void **state) {
    (void)state;
    char text[200000];
    for (size_t i = 0; i < 32; i++)
        text[i] = '[', text[32 + i] = ']';
    assert_int_equal(parse(text, 64), TAMIS_OK);
    for (size_t i = 0; i < 33; i++)
        text[i] = '[', text[33 + i] = ']';
    assert_int_equal(parse(text, 66), TAMIS_BAD_INPUT);
    memset(text, '[', sizeof text);
    assert_int_equal(parse(text, sizeof text), TAMIS_BAD_INPUT);
}

static void writer_keeps_every_digit(void **state) {
    (void)state;
    char path[4200];
    snprintf(path, sizeof path, "%s/out.json", temp_dir());
    cJSON *o = cJSON_CreateObject();
    tamis_json_add_int(o, "int", -42);
    tamis_json_add_int(o, "big", INT64_MIN);
    tamis_json_add_uint(o, "edge", UINT64_C(1) << 53);
    tamis_json_add_uint(o, "huge", UINT64_MAX);
    tamis_json_add_double(o, "third", 1.0 / 3);
    tamis_json_add_double(o, "tiny", 5e-324);
    tamis_json_add_double(o, "tenth", 0.1);
    tamis_json_add_double(o, "nan", NAN);
    tamis_json_add_double(o, "minus", -INFINITY);
    tamis_json_add_bytes(o, "text", "\"\xC3\xBC\n\x1b", 5);
    tamis_json_add_bytes(o, "bytes", "\xFF\x00", 2);
    tamis_json_add_bytes(o, "nothing", NULL, 0);
    cJSON_AddNumberToObject(o, "raw_inf", INFINITY);
    cJSON_AddStringToObject(o, "invalid",
                            "a\xFF"
                            "b");
    const double row[] = {1, 2.5};
    cJSON_AddItemToObject(o, "row", cJSON_CreateDoubleArray(row, 2));
    cJSON_AddItemToObject(o, "empty", cJSON_CreateArray());
    assert_int_equal(tamis_json_write(o, path, &err), TAMIS_OK);
    cJSON_Delete(o);
    size_t n = 0;
    char *text = slurp(path, &n);
    assert_string_equal(text, "{\n"
                              "  \"int\": -42,\n"
                              "  \"big\": \"-9223372036854775808\",\n"
                              "  \"edge\": 9007199254740992,\n"
                              "  \"huge\": \"18446744073709551615\",\n"
                              "  \"third\": 0.3333333333333333,\n"
                              "  \"tiny\": 4.94065645841247e-324,\n"
                              "  \"tenth\": 0.1,\n"
                              "  \"nan\": \"nan\",\n"
                              "  \"minus\": \"-inf\",\n"
                              "  \"text\": \"\\\"\xC3\xBC\\n\\u001b\",\n"
                              "  \"bytes\": {\n    \"hex\": \"ff00\"\n  },\n"
                              "  \"nothing\": \"\",\n"
                              "  \"raw_inf\": \"inf\",\n"
                              "  \"invalid\": \"a\xEF\xBF\xBD"
                              "b\",\n"
                              "  \"row\": [1, 2.5],\n"
                              "  \"empty\": []\n"
                              "}\n");
    assert_int_equal(parse(text, n), TAMIS_OK);
    free(text);
    assert_int_equal(tamis_json_write(NULL, path, &err), TAMIS_NO_RESOURCE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts),
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(writer_keeps_every_digit),
    };
    return cmocka_run_group_tests_name("base/json", tests, NULL, NULL);
}
