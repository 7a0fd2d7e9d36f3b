/* test_gguf_writer.c - what is written reads back: sound fixtures copied (byte for byte where
 * the layout is ours, and a big-endian file into its little-endian twin), random
 * metadata, and everything a writer must refuse. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "gguf/gguf.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != TAMIS_OK) fail_msg("%s: %s", #call, err.message);                            \
    } while (0)

static tamis_error err;

static const char *out_path(void) {
    static char path[4200];
    snprintf(path, sizeof path, "%s/out.gguf", temp_dir());
    return path;
}

static tamis_gguf *open_file(const char *path) {
    tamis_gguf *g = NULL;
    tamis_gguf_options options = { .single_file = true };
    OK(tamis_gguf_open(path, &options, &g, &err));
    return g;
}

static tamis_gguf_writer *new_writer(void) {
    tamis_gguf_writer *w = NULL;
    OK(tamis_gguf_writer_new(&w, &err));
    return w;
}

/* Stream all data in pieces of uneven size (whole blocks, for the byte order). */
static void stream_data(tamis_gguf_writer *w, const tamis_gguf *g) {
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        uint8_t *data = malloc((size_t)t->n_bytes);
        assert_non_null(data);
        OK(tamis_gguf_read_tensor(g, t, 0, t->n_bytes, data, &err));
        for (uint64_t at = 0, n = 1; at < t->n_bytes; at += n, n = 2 * n + 1) {
            if (n > t->n_bytes - at) n = t->n_bytes - at;
            OK(tamis_gguf_write_data(w, data + at, n, &err));
        }
        free(data);
    }
}

/* Copy a file; the size must be the one foretold. */
static void copy_file(const char *from, const char *to) {
    tamis_gguf *g = open_file(from);
    tamis_gguf_writer *w = new_writer();
    uint64_t size = 0;
    size_t n;
    OK(tamis_gguf_set_all(w, g, &err));
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        OK(tamis_gguf_add_tensor(w, t->name, t->type_id, t->n_dims, t->ne, &err));
    }
    OK(tamis_gguf_writer_size(w, &size, &err));
    OK(tamis_gguf_begin(w, to, &err));
    stream_data(w, g);
    OK(tamis_gguf_commit(w, &err));
    tamis_gguf_writer_free(w);
    tamis_gguf_close(g);
    free(slurp(to, &n));
    assert_int_equal(n, size);
}

static void expect_copy_equals(const char *from, const char *twin) {
    size_t n_have, n_want;
    copy_file(shared_path("fixtures/gguf/valid/%s.gguf", from), out_path());
    char *have = slurp(out_path(), &n_have);
    char *want = slurp(shared_path("fixtures/gguf/valid/%s.gguf", twin), &n_want);
    if (n_have != n_want || memcmp(have, want, n_have))
        fail_msg("the copy of %s is not %s (%zu and %zu bytes)", from, twin, n_have, n_want);
    free(have);
    free(want);
}

static void test_copies(void **state) {
    (void)state;
    static const char *const same[] = {
        "v3",       "empty",      "metadata-only", "all-value-types", "empty-arrays",
        "align-8",  "align-16",   "align-64",      "align-4096",      "align-32-explicit",
        "utf8",     "many-keys",  "many-tensors",  "bytes-in-strings", "long-strings",
        "le-v3",    "split-whole", "integer-widths", "all-tensor-types", "tokenizer-smallest",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        expect_copy_equals(same[i], same[i]);
    expect_copy_equals("be-v3", "le-v3");
}

/* Copies whose layout differs from the original (dimensions trimmed, padding added, version 3). */
static void test_copies_that_differ(void **state) {
    (void)state;
    static const char *const names[] = { "v2", "dims", "no-final-padding", "be-v3-align-64",
                                         "all-value-types-v2", "empty-24-bytes" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *from = shared_path("fixtures/gguf/valid/%s.gguf", names[i]);
        char again[4200];
        snprintf(again, sizeof again, "%s/again.gguf", temp_dir());
        copy_file(from, out_path());
        copy_file(out_path(), again);
        size_t n_once, n_twice;
        char *once = slurp(out_path(), &n_once), *twice = slurp(again, &n_twice);
        assert_int_equal(n_once, n_twice);
        assert_memory_equal(once, twice, n_once);
        tamis_gguf *a = open_file(from), *b = open_file(out_path());
        assert_int_equal(tamis_gguf_n_kv(a), tamis_gguf_n_kv(b));
        assert_int_equal(tamis_gguf_n_tensors(a), tamis_gguf_n_tensors(b));
        assert_int_equal(tamis_gguf_version(b), 3);
        for (int64_t j = 0; j < tamis_gguf_n_tensors(a); j++) {
            const tamis_gguf_tensor *x = tamis_gguf_tensor_at(a, j), *y = tamis_gguf_tensor_at(b, j);
            assert_string_equal(x->name, y->name);
            assert_memory_equal(x->ne, y->ne, sizeof x->ne);
            assert_int_equal(x->n_bytes, y->n_bytes);
        }
        tamis_gguf_close(a);
        tamis_gguf_close(b);
        free(once);
        free(twice);
    }
}

/* --- random metadata --- */

static uint64_t rng_state = 88172645463325252ull;

static uint64_t random_u64(void) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

enum { N_KEYS = 40 };

typedef struct expected {
    tamis_gguf_kind kind;
    uint64_t bits;
    char text[64];
    size_t n_text;
} expected;

static void set_random(tamis_gguf_writer *w, const char *key, expected *e) {
    static const tamis_gguf_kind integers[] = { TAMIS_GGUF_U8,  TAMIS_GGUF_I8,  TAMIS_GGUF_U16,
                                                TAMIS_GGUF_I16, TAMIS_GGUF_U32, TAMIS_GGUF_I32,
                                                TAMIS_GGUF_U64, TAMIS_GGUF_I64 };
    static const int widths[] = { 1, 1, 2, 2, 4, 4, 8, 8 };
    uint64_t r = random_u64();
    int i = (int)(r % 8);
    e->bits = random_u64() >> (64 - 8 * widths[i]);
    switch (r / 8 % 5) {
    case 0:
    case 1:
        e->kind = integers[i];
        if (i % 2 == 0) {
            OK(tamis_gguf_set_uint(w, key, e->kind, e->bits, &err));
        } else {
            int64_t value = (int64_t)(e->bits << (64 - 8 * widths[i])) >> (64 - 8 * widths[i]);
            e->bits = (uint64_t)value;
            OK(tamis_gguf_set_int(w, key, e->kind, value, &err));
        }
        break;
    case 2:
        e->kind = TAMIS_GGUF_F64;
        OK(tamis_gguf_set_double(w, key, e->kind, (double)e->bits / 3, &err));
        break;
    case 3:
        e->kind = TAMIS_GGUF_BOOL;
        e->bits &= 1;
        OK(tamis_gguf_set_bool(w, key, e->bits, &err));
        break;
    default:
        e->kind = TAMIS_GGUF_STRING;
        e->n_text = random_u64() % sizeof e->text;
        for (size_t j = 0; j < e->n_text; j++)
            e->text[j] = (char)random_u64();
        OK(tamis_gguf_set_string(w, key, e->text, e->n_text, &err));
    }
}

static void compare_value(const tamis_gguf *g, const char *key, const expected *e) {
    tamis_gguf_kv kv;
    int64_t si = 0;
    uint64_t ui = 0;
    double d = 0;
    bool flag = false;
    tamis_bytes text;
    assert_true(tamis_gguf_find(g, key, &kv));
    assert_int_equal(kv.kind, e->kind);
    switch (e->kind) {
    case TAMIS_GGUF_F64:
        assert_true(tamis_gguf_kv_double(g, &kv, 0, &d));
        assert_true(d == (double)e->bits / 3);
        break;
    case TAMIS_GGUF_BOOL:
        assert_true(tamis_gguf_kv_bool(g, &kv, 0, &flag));
        assert_int_equal(flag, e->bits);
        break;
    case TAMIS_GGUF_STRING:
        assert_true(tamis_gguf_kv_string(g, &kv, 0, &text));
        assert_int_equal(text.n_bytes, e->n_text);
        assert_memory_equal(text.data, e->text, e->n_text);
        break;
    default:
        if (tamis_gguf_kv_int(g, &kv, 0, &si)) assert_int_equal((uint64_t)si, e->bits);
        else assert_true(tamis_gguf_kv_uint(g, &kv, 0, &ui) && ui == e->bits);
    }
}

static void test_random_metadata(void **state) {
    (void)state;
    for (int round = 0; round < 50; round++) {
        static expected want[N_KEYS];
        char key[32];
        tamis_gguf_writer *w = new_writer();
        for (int i = 0; i < N_KEYS; i++) {
            snprintf(key, sizeof key, "x.%d", i);
            set_random(w, key, &want[i]);
            if (random_u64() % 3 == 0) set_random(w, key, &want[i]); /* replaced in place */
        }
        tamis_gguf_unset(w, "x.7");
        tamis_gguf_unset(w, "x.absent");
        OK(tamis_gguf_begin(w, out_path(), &err));
        OK(tamis_gguf_commit(w, &err));
        tamis_gguf_writer_free(w);

        tamis_gguf *g = open_file(out_path());
        assert_int_equal(tamis_gguf_n_kv(g), N_KEYS - 1);
        for (int i = 0; i < N_KEYS; i++) {
            tamis_gguf_kv kv;
            snprintf(key, sizeof key, "x.%d", i);
            if (i == 7) {
                assert_false(tamis_gguf_find(g, key, &kv));
                continue;
            }
            compare_value(g, key, &want[i]);
            assert_true(tamis_gguf_find(g, key, &kv));
            assert_int_equal(kv.index, i - (i > 7));
        }
        tamis_gguf_close(g);
    }
}

static void test_string_arrays(void **state) {
    (void)state;
    static const char *const items[] = { "one", "", "three", "four" };
    tamis_gguf_writer *w = new_writer();
    OK(tamis_gguf_set_strings(w, "x.a", items, 4, &err));
    OK(tamis_gguf_set_strings(w, "x.none", NULL, 0, &err));
    OK(tamis_gguf_begin(w, out_path(), &err));
    OK(tamis_gguf_commit(w, &err));
    tamis_gguf_writer_free(w);
    tamis_gguf *g = open_file(out_path());
    tamis_gguf_kv kv;
    tamis_bytes text;
    assert_true(tamis_gguf_find(g, "x.a", &kv));
    static const int order[] = { 2, 0, 3, 1, 1, 2, 3, 0 }; /* back and forth */
    for (size_t i = 0; i < 8; i++) {
        assert_true(tamis_gguf_kv_string(g, &kv, (uint64_t)order[i], &text));
        assert_int_equal(text.n_bytes, strlen(items[order[i]]));
        assert_memory_equal(text.data, items[order[i]], text.n_bytes);
    }
    assert_false(tamis_gguf_kv_string(g, &kv, 4, &text));
    assert_true(tamis_gguf_find(g, "x.none", &kv));
    assert_int_equal(kv.n_elems, 0);
    assert_false(tamis_gguf_kv_string(g, &kv, 0, &text));
    tamis_gguf_close(g);
}

/* --- refusals --- */

static void refuse_tensor(tamis_gguf_writer *w, const char *name, int32_t type_id, int32_t n_dims,
                          const uint64_t *ne, const char *reason) {
    assert_int_equal(tamis_gguf_add_tensor(w, name, type_id, n_dims, ne, &err), TAMIS_BAD_INPUT);
    if (!strstr(err.message, reason)) fail_msg("'%s' does not say '%s'", err.message, reason);
}

static void test_refused_tensors(void **state) {
    (void)state;
    const uint64_t row[4] = { 32, 2, 1, 1 }, odd[4] = { 33, 1, 1, 1 }, zero[4] = { 32, 0, 1, 1 };
    const uint64_t huge[4] = { 1ull << 40, 1ull << 40, 1, 1 };
    char name[65];
    memset(name, 'n', 64);
    name[64] = 0;
    tamis_gguf_writer *w = new_writer();
    OK(tamis_gguf_add_tensor(w, "a", TAMIS_TYPE_Q8_0, 2, row, &err));
    refuse_tensor(w, "a", TAMIS_TYPE_Q8_0, 2, row, "duplicate");
    refuse_tensor(w, "", TAMIS_TYPE_F32, 2, row, "0 bytes");
    refuse_tensor(w, name, TAMIS_TYPE_F32, 2, row, "64 bytes");
    refuse_tensor(w, "b", TAMIS_TYPE_Q8_0, 1, odd, "not a multiple of 32");
    refuse_tensor(w, "b", TAMIS_TYPE_F32, 2, zero, "dimension 1");
    refuse_tensor(w, "b", TAMIS_TYPE_F32, 2, huge, "overflows");
    refuse_tensor(w, "b", 99, 2, row, "unknown");
    refuse_tensor(w, "b", 4, 2, row, "retired");
    refuse_tensor(w, "b", TAMIS_TYPE_F32, 0, row, "dimensions");
    OK(tamis_gguf_add_tensor(w, "b", TAMIS_TYPE_F32, 4, row, &err));
    tamis_gguf_writer_free(w);
}

static void test_refused_values(void **state) {
    (void)state;
    tamis_gguf_writer *w = new_writer();
    uint64_t size;
    assert_int_equal(tamis_gguf_set_uint(w, "x", TAMIS_GGUF_U8, 256, &err), TAMIS_BAD_INPUT);
    assert_int_equal(tamis_gguf_set_int(w, "x", TAMIS_GGUF_I8, -129, &err), TAMIS_BAD_INPUT);
    assert_int_equal(tamis_gguf_set_int(w, "x", TAMIS_GGUF_U32, -1, &err), TAMIS_BAD_INPUT);
    assert_int_equal(tamis_gguf_set_uint(w, "x", TAMIS_GGUF_F32, 1, &err), TAMIS_BAD_INPUT);
    assert_int_equal(tamis_gguf_set_bool(w, "", true, &err), TAMIS_BAD_INPUT);
    assert_int_equal(tamis_gguf_set_bool(w, "\xff", true, &err), TAMIS_BAD_INPUT);
    OK(tamis_gguf_set_uint(w, "general.alignment", TAMIS_GGUF_U32, 24, &err));
    assert_int_equal(tamis_gguf_writer_size(w, &size, &err), TAMIS_BAD_INPUT);
    OK(tamis_gguf_set_uint(w, "general.alignment", TAMIS_GGUF_U32, 64, &err));
    OK(tamis_gguf_writer_size(w, &size, &err));
    assert_int_equal(size % 64, 0);
    tamis_gguf_writer_free(w);
}

/* Too much, too little: nothing appears under the name, and no temporary stays. */
static void test_incomplete(void **state) {
    (void)state;
    const uint64_t ne[1] = { 8 };
    const float data[16] = { 1 };
    (void)unlink(out_path());
    tamis_gguf_writer *w = new_writer();
    OK(tamis_gguf_add_tensor(w, "a", TAMIS_TYPE_F32, 1, ne, &err));
    assert_int_equal(tamis_gguf_write_data(w, data, 4, &err), TAMIS_BAD_USAGE);
    OK(tamis_gguf_begin(w, out_path(), &err));
    assert_int_equal(tamis_gguf_write_data(w, data, 33, &err), TAMIS_BAD_USAGE);
    OK(tamis_gguf_write_data(w, data, 31, &err));
    assert_int_equal(tamis_gguf_commit(w, &err), TAMIS_BAD_USAGE);
    assert_int_equal(tamis_gguf_set_bool(w, "x", true, &err), TAMIS_BAD_USAGE);
    tamis_gguf_writer_free(w);
    assert_int_not_equal(access(out_path(), F_OK), 0);
    w = new_writer();
    assert_int_equal(tamis_gguf_begin(w, "/nonexistent/out.gguf", &err), TAMIS_NO_RESOURCE);
    tamis_gguf_writer_free(w);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),          cmocka_unit_test(test_copies_that_differ),
        cmocka_unit_test(test_random_metadata), cmocka_unit_test(test_string_arrays),
        cmocka_unit_test(test_refused_tensors), cmocka_unit_test(test_refused_values),
        cmocka_unit_test(test_incomplete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
