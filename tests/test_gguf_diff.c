/* test_gguf_diff.c - the numbers of a comparison against sums done here in the plain way, the same
 * for any number of workers; what counts as a difference. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/diff.h"

enum { N = 200000 }; /* several pieces, the last not whole */

static float xs[N], ys[N];

static tamis_gguf *model_of(const char *file, int32_t type_id, const float *data, const char *value) {
    const uint64_t ne[2] = { 32, N / 32 };
    const tamis_type *type = tamis_type_by_id(type_id);
    char path[4200];
    tamis_gguf_writer *w = NULL;
    tamis_gguf *g = NULL;
    uint8_t *blocks = calloc(N, 4);
    const size_t n_bytes = (size_t)N / type->block_elems * type->block_bytes;
    snprintf(path, sizeof path, "%s/%s", temp_dir(), file);
    assert_non_null(blocks);
    assert_int_equal(tamis_encode_row(type, data, NULL, TAMIS_EFFORT_NORMAL, blocks, N, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_writer_new(&w, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_set_string(w, "k", value, strlen(value), NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_add_tensor(w, "t", type_id, 2, ne, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_begin(w, path, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_write_data(w, blocks, n_bytes, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_commit(w, NULL), TAMIS_OK);
    tamis_gguf_writer_free(w);
    free(blocks);
    assert_int_equal(tamis_gguf_open(path, NULL, &g, NULL), TAMIS_OK);
    return g;
}

static tamis_diff_sums compare(const tamis_gguf *a, const tamis_gguf *b, int n_threads) {
    tamis_diff_options options = { 0 };
    tamis_gguf_diff diff;
    tamis_error err = { 0 };
    assert_int_equal(tamis_pool_new(n_threads, &options.pool, NULL), TAMIS_OK);
    if (tamis_gguf_diff_files(a, b, &options, &diff, &err)) fail_msg("%s", err.message);
    assert_int_equal(diff.n_tensors, 1);
    assert_int_equal(diff.tensors[0].how, TAMIS_DIFF_VALUES);
    const tamis_diff_sums sums = diff.tensors[0].sums;
    assert_memory_equal(&sums, &diff.total, sizeof sums);
    assert_false(tamis_diff_is_equal(&diff));
    tamis_diff_release(&diff);
    tamis_pool_free(options.pool);
    return sums;
}

static void test_sums(void **state) {
    double abs = 0, sq = 0, aa = 0, bb = 0, ab = 0, max = 0;
    uint64_t n_differ = 0, i_max = 0;
    (void)state;
    for (int i = 0; i < N; i++) {
        xs[i] = sinf((float)i);
        ys[i] = i % 3 ? xs[i] : xs[i] * 1.001f;
    }
    ys[150001] += 0.5f;
    for (int i = 0; i < N; i++) {
        const double d = fabs((double)xs[i] - (double)ys[i]);
        abs += d;
        sq += d * d;
        aa += (double)xs[i] * xs[i];
        bb += (double)ys[i] * ys[i];
        ab += (double)xs[i] * ys[i];
        n_differ += d != 0;
        if (d > max) i_max = (uint64_t)i;
        if (d > max) max = d;
    }
    tamis_gguf *a = model_of("a.gguf", TAMIS_TYPE_F32, xs, "v");
    tamis_gguf *b = model_of("b.gguf", TAMIS_TYPE_F32, ys, "v");
    const tamis_diff_sums s = compare(a, b, 1), three = compare(a, b, 3);
    assert_memory_equal(&s, &three, sizeof s);
    assert_int_equal(s.n_elems, N);
    assert_int_equal(s.n_differ, n_differ);
    assert_int_equal(s.i_max, i_max);
    assert_true(s.max_abs == max);
    assert_true(fabs(tamis_diff_mean_abs(&s) - abs / N) < 1e-12);
    assert_true(fabs(tamis_diff_relative(&s) - sqrt(sq / aa)) < 1e-12);
    assert_true(fabs(tamis_diff_cosine(&s) - ab / sqrt(aa * bb)) < 1e-12);
    tamis_gguf_close(a);
    tamis_gguf_close(b);
}

static void test_other_type(void **state) {
    (void)state;
    tamis_gguf *a = model_of("a.gguf", TAMIS_TYPE_F32, xs, "v");
    tamis_gguf *b = model_of("b.gguf", TAMIS_TYPE_Q8_0, xs, "v");
    const tamis_diff_sums s = compare(a, b, 2);
    assert_false(s.has_other_bytes); /* says nothing about two types */
    assert_true(tamis_diff_relative(&s) > 1e-4 && tamis_diff_relative(&s) < 1e-2);
    assert_true(s.max_abs <= 0.6 / 127);
    tamis_gguf_close(a);
    tamis_gguf_close(b);
}

static void test_not_finite(void **state) {
    (void)state;
    memcpy(ys, xs, sizeof ys);
    tamis_gguf *a = model_of("a.gguf", TAMIS_TYPE_F32, xs, "v");
    tamis_gguf *b = model_of("b.gguf", TAMIS_TYPE_F32, ys, "v");
    FILE *f = fopen(tamis_gguf_path(b), "r+b");
    const float bad[2] = { NAN, INFINITY };
    assert_non_null(f);
    fseek(f, (long)tamis_gguf_tensor_at(b, 0)->file_offset + 4 * 77777, SEEK_SET);
    fwrite(bad, 4, 2, f);
    fclose(f);
    const tamis_diff_sums s = compare(a, b, 2);
    assert_int_equal(s.n_differ, 2);
    assert_int_equal(s.n_nonfinite, 2);
    assert_true(s.has_other_bytes);
    assert_true(s.max_abs == 0 && tamis_diff_relative(&s) == 0 && tamis_diff_mean_abs(&s) == 0);
    tamis_gguf_close(a);
    tamis_gguf_close(b);
}

/* A fixture in two byte orders, and cut in three, says the same; options leave things out. */
static void test_equal(void **state) {
    static const char *const pairs[][2] = { { "le-v3", "be-v3" },
                                            { "split-whole", "split-00002-of-00003" },
                                            { "all-tensor-types", "all-tensor-types" } };
    (void)state;
    for (int i = 0; i < 3; i++) {
        const tamis_diff_options options = { 0 };
        tamis_gguf_diff diff;
        tamis_gguf *a = NULL, *b = NULL;
        const char *path = shared_path("fixtures/gguf/valid/%s.gguf", pairs[i][0]);
        assert_int_equal(tamis_gguf_open(path, NULL, &a, NULL), TAMIS_OK);
        path = shared_path("fixtures/gguf/valid/%s.gguf", pairs[i][1]);
        assert_int_equal(tamis_gguf_open(path, NULL, &b, NULL), TAMIS_OK);
        assert_int_equal(tamis_gguf_diff_files(a, b, &options, &diff, NULL), TAMIS_OK);
        assert_true(tamis_diff_is_equal(&diff));
        for (uint64_t t = 0; t < diff.n_tensors; t++) {
            assert_int_not_equal(diff.tensors[t].how, TAMIS_DIFF_NOT_COMPARED);
            assert_true(diff.tensors[t].sums.n_elems);
        }
        tamis_diff_release(&diff);
        tamis_gguf_close(a);
        tamis_gguf_close(b);
    }
}

static void test_keys(void **state) {
    const tamis_diff_options options = { .metadata_only = true };
    tamis_gguf_diff diff;
    (void)state;
    tamis_gguf *a = model_of("a.gguf", TAMIS_TYPE_F32, xs, "v");
    tamis_gguf *b = model_of("b.gguf", TAMIS_TYPE_F32, xs, "w");
    assert_int_equal(tamis_gguf_diff_files(a, b, &options, &diff, NULL), TAMIS_OK);
    assert_int_equal(diff.n_keys, 1);
    assert_true(diff.keys[0].is_in_a && diff.keys[0].is_in_b && !diff.keys[0].is_layout);
    assert_int_equal(diff.n_tensors, 0);
    assert_false(tamis_diff_is_equal(&diff));
    tamis_diff_release(&diff);
    tamis_gguf_close(a);
    tamis_gguf_close(b);
}

int main(void) {
    require_shared();
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),  cmocka_unit_test(test_other_type),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_equal),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
