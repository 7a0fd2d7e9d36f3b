/* Properties of random files: merging what was split, and removing what was set, gives the same
 * bytes; a change in place touches nothing but the value, and files that change underneath and
 * edits that cannot be are refused. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf/copy.h"
#include "gguf/edit.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != TAMIS_OK) fail_msg("%s: %s", #call, err.message);                            \
    } while (0)

static tamis_error err;
static uint64_t rng_state = 88172645463325252ull;

static uint64_t random_below(uint64_t n) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (rng_state >> 16) % n;
}

static const char *in_temp(const char *name) {
    static char ring[4][4200];
    static unsigned i;
    char *out = ring[i++ % 4];
    snprintf(out, sizeof ring[0], "%s/%s", temp_dir(), name);
    return out;
}

/* A file of up to 30 tensors of several types, and up to 20 keys of every kind. */
static void write_random(const char *path) {
    static const int32_t types[] = { TAMIS_TYPE_F32, TAMIS_TYPE_Q8_0, TAMIS_TYPE_Q4_K };
    static const uint32_t alignments[] = { 8, 32, 64, 4096 };
    tamis_gguf_writer *w = NULL;
    char name[64];
    uint64_t n_tensors = random_below(30), n_keys = random_below(20);
    OK(tamis_gguf_writer_new(&w, &err));
    if (random_below(2))
        OK(tamis_gguf_set_uint(w, "general.alignment", TAMIS_GGUF_U32, alignments[random_below(4)],
                               &err));
    for (uint64_t i = 0; i < n_keys; i++) {
        snprintf(name, sizeof name, "x.key%d", (int)i);
        if (random_below(2))
            OK(tamis_gguf_set_uint(w, name, TAMIS_GGUF_U16, random_below(65536), &err));
        else
            OK(tamis_gguf_set_string(w, name, name, random_below(6), &err));
    }
    for (uint64_t i = 0; i < n_tensors; i++) {
        uint64_t ne[2] = { 256, 1 + random_below(5) };
        snprintf(name, sizeof name, "t%d", (int)i);
        OK(tamis_gguf_add_tensor(w, name, types[random_below(3)], 2, ne, &err));
    }
    OK(tamis_gguf_begin(w, path, &err));
    uint64_t n_bytes = 0;
    OK(tamis_gguf_writer_size(w, &n_bytes, &err));
    while (tamis_gguf_commit(w, NULL) == TAMIS_BAD_USAGE) { /* tensors are not complete */
        uint8_t byte = (uint8_t)random_below(256);
        OK(tamis_gguf_write_data(w, &byte, 1, &err));
    }
    tamis_gguf_writer_free(w);
}

static void expect_same(const char *a, const char *b) {
    size_t n_a, n_b;
    char *x = slurp(a, &n_a), *y = slurp(b, &n_b);
    if (n_a != n_b || memcmp(x, y, n_a)) fail_msg("%s (%zu bytes) is not %s (%zu)", a, n_a, b, n_b);
    free(x);
    free(y);
}

/* Copy `from`, spread over files when `shards` is given; *first is the path to open then. */
static void copy_to(const char *from, const tamis_gguf_shards *shards, const char *to,
                    char **first) {
    tamis_gguf *g = NULL;
    tamis_gguf_writer *w = NULL;
    OK(tamis_gguf_open(from, NULL, &g, &err));
    OK(tamis_gguf_writer_new(&w, &err));
    OK(tamis_gguf_copy_prepare(w, g, &err));
    if (shards) OK(tamis_gguf_set_shards(w, shards, &err));
    OK(tamis_gguf_check_outputs(w, g, to, false, &err));
    OK(tamis_gguf_copy_run(w, g, tamis_gguf_n_tensors(g), to, NULL, &err));
    OK(tamis_gguf_writer_path(w, to, 0, first, &err));
    OK(tamis_gguf_copy_verify(g, *first, NULL, &err));
    tamis_gguf_writer_free(w);
    tamis_gguf_close(g);
}

static void test_merge_after_split(void **state) {
    (void)state;
    for (int round = 0; round < 12; round++) {
        const tamis_gguf_shards shards = { .max_bytes = random_below(2) ? random_below(8000) : 0,
                                           .max_tensors = random_below(12),
                                           .keys_alone = random_below(2) };
        char *first = NULL, *merged = NULL;
        write_random(in_temp("a.gguf"));
        copy_to(in_temp("a.gguf"), &shards, in_temp("parts"), &first);
        copy_to(first, NULL, in_temp("b.gguf"), &merged);
        expect_same(in_temp("a.gguf"), merged);
        free(first);
        free(merged);
    }
}

/* Apply one change to the file itself. */
static void edit_file(const char *path, const char *key, const char *text, bool *was_in_place) {
    tamis_gguf_edit *edit = NULL;
    tamis_gguf_writer *w = NULL;
    int64_t n_tensors = 0;
    OK(tamis_gguf_edit_open(path, NULL, &edit, &err));
    if (text)
        OK(tamis_gguf_edit_assign(edit, key, text, &err));
    else
        OK(tamis_gguf_edit_remove(edit, key, false, &err));
    OK(tamis_gguf_edit_finish(edit, false, &err));
    assert_int_equal(tamis_gguf_edit_n_changes(edit), 1);
    *was_in_place = tamis_gguf_edit_fits_in_place(edit);
    if (*was_in_place) {
        OK(tamis_gguf_edit_write_in_place(edit, &err));
    } else {
        OK(tamis_gguf_edit_rewrite(edit, &w, &n_tensors, &err));
        OK(tamis_gguf_copy_run(w, tamis_gguf_edit_source(edit), n_tensors, path, NULL, &err));
    }
    tamis_gguf_edit_close(edit);
}

static void test_unset_after_set(void **state) {
    (void)state;
    static const char *const values[] = { "u8:7", "str:text", "arr[i16]:1,2,3", "json:[\"a\",\"\"]",
                                          "f64:-1e300", "bool:true" };
    bool in_place;
    for (int round = 0; round < 12; round++) {
        char *copy = NULL;
        write_random(in_temp("a.gguf"));
        copy_to(in_temp("a.gguf"), NULL, in_temp("b.gguf"), &copy);
        edit_file(copy, "y.new", values[random_below(6)], &in_place);
        assert_false(in_place);
        edit_file(copy, "y.new", NULL, &in_place);
        assert_false(in_place);
        expect_same(in_temp("a.gguf"), copy);
        free(copy);
    }
}

/* A value of the same size: only its bytes change, and changing them back is the old file. */
static void test_in_place(void **state) {
    (void)state;
    bool in_place;
    char *copy = NULL;
    write_random(in_temp("a.gguf"));
    edit_file(in_temp("a.gguf"), "y.n", "u32:5", &in_place);
    copy_to(in_temp("a.gguf"), NULL, in_temp("b.gguf"), &copy);
    struct stat before, after;
    assert_int_equal(stat(copy, &before), 0);
    edit_file(copy, "y.n", "77", &in_place);
    assert_true(in_place);
    edit_file(copy, "y.n", "i32:-1", &in_place); /* another kind of the same width */
    assert_true(in_place);
    edit_file(copy, "y.n", "u32:5", &in_place);
    assert_true(in_place);
    assert_int_equal(stat(copy, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    expect_same(in_temp("a.gguf"), copy);
    free(copy);
}

/* The file is another one by the time of writing: nothing is written into it. */
static void test_changed_underneath(void **state) {
    (void)state;
    bool in_place;
    tamis_gguf_edit *edit = NULL;
    write_random(in_temp("a.gguf"));
    edit_file(in_temp("a.gguf"), "y.n", "u32:5", &in_place);
    OK(tamis_gguf_edit_open(in_temp("a.gguf"), NULL, &edit, &err));
    OK(tamis_gguf_edit_assign(edit, "y.n", "6", &err));
    OK(tamis_gguf_edit_finish(edit, false, &err));
    assert_true(tamis_gguf_edit_fits_in_place(edit));
    edit_file(in_temp("a.gguf"), "y.n", "u32:9", &in_place);
    assert_int_equal(tamis_gguf_edit_write_in_place(edit, &err), TAMIS_BAD_INPUT);
    tamis_gguf_edit_close(edit);
}

/* Verifying names what differs. */
static void test_verify(void **state) {
    (void)state;
    bool in_place;
    char *copy = NULL;
    size_t n;
    tamis_gguf *g = NULL;
    do {
        write_random(in_temp("a.gguf"));
        OK(tamis_gguf_open(in_temp("a.gguf"), NULL, &g, &err));
        if (tamis_gguf_n_tensors(g) > 3) break;
        tamis_gguf_close(g);
    } while (true);
    copy_to(in_temp("a.gguf"), NULL, in_temp("b.gguf"), &copy);
    uint64_t offset = tamis_gguf_tensor_at(g, 2)->file_offset;
    char *bytes = slurp(copy, &n);
    FILE *f = fopen(copy, "r+b");
    assert_non_null(f);
    fseek(f, (long)offset, SEEK_SET);
    fputc(bytes[offset] ^ 1, f);
    fclose(f);
    free(bytes);
    assert_int_equal(tamis_gguf_copy_verify(g, copy, NULL, &err), TAMIS_CHECK_FAILED);
    assert_non_null(strstr(err.message, "'t2' has other data"));
    edit_file(copy, "y.new", "u8:1", &in_place);
    assert_int_equal(tamis_gguf_copy_verify(g, copy, NULL, &err), TAMIS_CHECK_FAILED);
    assert_non_null(strstr(err.message, "keys"));
    tamis_gguf_close(g);
    free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_after_split), cmocka_unit_test(test_unset_after_set),
        cmocka_unit_test(test_in_place),          cmocka_unit_test(test_changed_underneath),
        cmocka_unit_test(test_verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
