/* Outputs spread over several files: where files end, their names and keys, what they hold when
 * opened again, and that nothing of a set appears before all of it is there. */
#include "support.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gguf/gguf.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != TAMIS_OK) fail_msg("%s: %s", #call, err.message);                            \
    } while (0)

static tamis_error err;

enum { N_TENSORS = 10 };

static const char *in_temp(const char *name) {
    static char path[4][4200];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", temp_dir(), name);
    return path[i];
}

static void clear_temp(void) {
    DIR *d = opendir(temp_dir());
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' || strstr(e->d_name, ".tmp")) unlink(in_temp(e->d_name));
    closedir(d);
}

/* Files whose name ends so. */
static int count_files(const char *ending) {
    int n = 0;
    DIR *d = opendir(temp_dir());
    for (struct dirent *e; (e = readdir(d));) {
        size_t have = strlen(e->d_name), want = strlen(ending);
        n += have >= want && !strcmp(e->d_name + have - want, ending);
    }
    closedir(d);
    return n;
}

/* Tensor i is a row of 8 * (i + 1) floats, "t0" .. "t9": 32, 64 .. 320 bytes. */
static uint64_t tensor_bytes(int i) {
    return 32 * (uint64_t)(i + 1);
}

static float value_of(int i, int j) {
    return (float)(1000 * i + j);
}

static tamis_gguf_writer *new_writer(uint32_t alignment) {
    tamis_gguf_writer *w = NULL;
    OK(tamis_gguf_writer_new(&w, &err));
    OK(tamis_gguf_set_string(w, "general.name", "set", 3, &err));
    if (alignment) OK(tamis_gguf_set_uint(w, "general.alignment", TAMIS_GGUF_U32, alignment, &err));
    OK(tamis_gguf_set_uint(w, "split.count", TAMIS_GGUF_U16, 7, &err)); /* a source's own */
    OK(tamis_gguf_set_string(w, "x.hash", "........", 8, &err));
    for (int i = 0; i < N_TENSORS; i++) {
        char name[16];
        uint64_t ne = 8 * (uint64_t)(i + 1);
        snprintf(name, sizeof name, "t%d", i);
        OK(tamis_gguf_add_tensor(w, name, TAMIS_TYPE_F32, 1, &ne, &err));
    }
    return w;
}

static void write_tensor(tamis_gguf_writer *w, int i) {
    float row[8 * N_TENSORS];
    for (int j = 0; j < 8 * (i + 1); j++)
        row[j] = value_of(i, j);
    OK(tamis_gguf_write_data(w, row, tensor_bytes(i) / 2, &err));
    OK(tamis_gguf_write_data(w, row + 4 * (i + 1), tensor_bytes(i) / 2, &err));
}

static void write_all(tamis_gguf_writer *w, const char *path) {
    OK(tamis_gguf_begin(w, path, &err));
    for (int i = 0; i < N_TENSORS; i++)
        write_tensor(w, i);
    OK(tamis_gguf_rewrite_string(w, "x.hash", "finished", 8, &err));
    OK(tamis_gguf_commit(w, &err));
}

static int64_t int_of(const tamis_gguf *g, const char *key, tamis_gguf_kind kind) {
    tamis_gguf_kv kv;
    int64_t value = -1;
    if (!tamis_gguf_find(g, key, &kv)) return -1;
    assert_int_equal(kv.kind, kind);
    assert_true(tamis_gguf_kv_int(g, &kv, 0, &value));
    return value;
}

static uint64_t size_of(const char *path) {
    size_t n;
    free(slurp(path, &n));
    return n;
}

/* The set at `first` holds everything, `counts` tensors per file, and is as large as foretold. */
static void expect_set(const char *first, const int *counts, int n_files, uint32_t alignment,
                       const tamis_gguf_writer *w) {
    tamis_gguf *g = NULL;
    uint64_t total = 0, foretold = 0, size = 0;
    OK(tamis_gguf_open(first, NULL, &g, &err));
    assert_int_equal(tamis_gguf_n_files(g), n_files);
    assert_int_equal(tamis_gguf_writer_n_files(w), n_files);
    assert_int_equal(tamis_gguf_n_tensors(g), N_TENSORS);
    assert_int_equal(tamis_gguf_alignment(g), alignment);
    assert_int_equal(tamis_gguf_trailing_bytes(g), 0);
    tamis_bytes text;
    OK(tamis_gguf_get_string(g, "x.hash", &text, &err));
    assert_memory_equal(text.data, "finished", 8);
    for (int i = 0, left = counts[0], i_file = 0; i < N_TENSORS; i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        float row[8 * N_TENSORS];
        while (!left)
            left = counts[++i_file];
        left--;
        assert_int_equal(t->i_file, i_file);
        assert_int_equal(t->n_bytes, tensor_bytes(i));
        assert_int_equal(t->file_offset % alignment, 0);
        OK(tamis_gguf_read_tensor(g, t, 0, t->n_bytes, row, &err));
        for (int j = 0; j < 8 * (i + 1); j++)
            assert_true(row[j] == value_of(i, j));
    }
    for (int i = 0; i < n_files; i++) {
        const char *path = tamis_gguf_file_path(g, i);
        tamis_gguf_options alone = { .single_file = true };
        tamis_gguf *one = NULL;
        OK(tamis_gguf_open(path, &alone, &one, &err));
        assert_int_equal(tamis_gguf_alignment(one), alignment);
        assert_int_equal(tamis_gguf_n_tensors(one), counts[i]);
        assert_int_equal(int_of(one, "split.no", TAMIS_GGUF_U16), i);
        assert_int_equal(int_of(one, "split.count", TAMIS_GGUF_U16), n_files);
        assert_int_equal(int_of(one, "split.tensors.count", TAMIS_GGUF_I32), N_TENSORS);
        if (i) assert_int_equal(tamis_gguf_n_kv(one), alignment == 32 ? 3 : 4);
        OK(tamis_gguf_writer_file_size(w, (uint64_t)i, &size, &err));
        assert_int_equal(size_of(path), size);
        total += size;
        tamis_gguf_close(one);
    }
    OK(tamis_gguf_writer_size(w, &foretold, &err));
    assert_int_equal(total, foretold);
    tamis_gguf_close(g);
    assert_int_equal(count_files(".tmp"), 0);
}

static void expect_shards(tamis_gguf_shards shards, uint32_t alignment, const int *counts,
                          int n_files) {
    char first[64];
    clear_temp();
    tamis_gguf_writer *w = new_writer(alignment);
    OK(tamis_gguf_set_shards(w, &shards, &err));
    write_all(w, in_temp("m.gguf"));
    snprintf(first, sizeof first, "m-00001-of-%05d.gguf", n_files);
    expect_set(in_temp(first), counts, n_files, alignment ? alignment : 32, w);
    assert_int_equal(count_files(".gguf"), n_files);
    tamis_gguf_writer_free(w);
}

static void test_by_count(void **state) {
    (void)state;
    expect_shards((tamis_gguf_shards){ .max_tensors = 4 }, 0, (const int[]){ 4, 4, 2 }, 3);
    expect_shards((tamis_gguf_shards){ .max_tensors = 10 }, 0, (const int[]){ 10 }, 1);
    expect_shards((tamis_gguf_shards){ 0 }, 0, (const int[]){ 10 }, 1);
    expect_shards((tamis_gguf_shards){ .max_tensors = 5, .keys_alone = true }, 0,
                  (const int[]){ 0, 5, 5 }, 3);
}

/* 32 + 64 + 96 = 192 fits, 128 more does not; a tensor above the limit stands alone. */
static void test_by_size(void **state) {
    (void)state;
    expect_shards((tamis_gguf_shards){ .max_bytes = 192 }, 0,
                  (const int[]){ 3, 1, 1, 1, 1, 1, 1, 1 }, 8);
    expect_shards((tamis_gguf_shards){ .max_bytes = 1000, .max_tensors = 5 }, 0,
                  (const int[]){ 5, 4, 1 }, 3);
    expect_shards((tamis_gguf_shards){ .max_bytes = 1, .keys_alone = true }, 0,
                  (const int[]){ 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, 11);
}

/* Padding counts: three tensors of 32, 64 and 96 bytes take 384 with an alignment of 128. */
static void test_alignment(void **state) {
    (void)state;
    expect_shards((tamis_gguf_shards){ .max_bytes = 384 }, 128,
                  (const int[]){ 3, 2, 1, 1, 1, 1, 1 }, 7);
    expect_shards((tamis_gguf_shards){ .max_tensors = 6 }, 8, (const int[]){ 6, 4 }, 2);
    expect_shards((tamis_gguf_shards){ .max_tensors = 6 }, 32, (const int[]){ 6, 4 }, 2);
}

static void test_given_counts(void **state) {
    (void)state;
    static const uint64_t given[] = { 0, 3, 0, 7, 0 };
    static const uint64_t few[] = { 3, 3 }, many[] = { 8, 3 };
    clear_temp();
    tamis_gguf_writer *w = new_writer(64);
    assert_int_equal(tamis_gguf_set_shard_counts(w, few, 2, &err), TAMIS_BAD_USAGE);
    assert_int_equal(tamis_gguf_set_shard_counts(w, many, 2, &err), TAMIS_BAD_USAGE);
    assert_int_equal(tamis_gguf_set_shard_counts(w, many, 0, &err), TAMIS_BAD_USAGE);
    OK(tamis_gguf_set_shard_counts(w, given, 5, &err));
    write_all(w, in_temp("old-00001-of-00009.gguf"));
    expect_set(in_temp("old-00001-of-00005.gguf"), (const int[]){ 0, 3, 0, 7, 0 }, 5, 64, w);
    tamis_gguf_writer_free(w);
}

static void test_without_tensors(void **state) {
    (void)state;
    const tamis_gguf_shards shards = { .max_tensors = 1, .keys_alone = true };
    tamis_gguf_writer *w = NULL;
    clear_temp();
    OK(tamis_gguf_writer_new(&w, &err));
    OK(tamis_gguf_set_shards(w, &shards, &err));
    OK(tamis_gguf_begin(w, in_temp("none"), &err));
    OK(tamis_gguf_commit(w, &err));
    tamis_gguf_writer_free(w);
    tamis_gguf *g = NULL;
    OK(tamis_gguf_open(in_temp("none-00001-of-00001.gguf"), NULL, &g, &err));
    assert_int_equal(tamis_gguf_n_tensors(g), 0);
    tamis_gguf_close(g);
}

static void expect_path(const tamis_gguf_writer *w, const char *path, const char *want) {
    char *have = NULL;
    OK(tamis_gguf_writer_path(w, path, 1, &have, &err));
    assert_string_equal(have, want);
    free(have);
}

static void test_paths(void **state) {
    (void)state;
    const tamis_gguf_shards shards = { .max_tensors = 5 };
    char *path = NULL;
    tamis_gguf_writer *w = new_writer(0);
    OK(tamis_gguf_writer_path(w, "a.gguf", 0, &path, &err));
    assert_string_equal(path, "a.gguf");
    free(path);
    OK(tamis_gguf_set_shards(w, &shards, &err));
    expect_path(w, "a.gguf", "a-00002-of-00002.gguf");
    expect_path(w, "d/a", "d/a-00002-of-00002.gguf");
    expect_path(w, "a-00001-of-00003.gguf", "a-00002-of-00002.gguf");
    expect_path(w, "a-1-of-3.gguf", "a-1-of-3-00002-of-00002.gguf");
    expect_path(w, ".gguf", ".gguf-00002-of-00002.gguf");
    assert_int_equal(tamis_gguf_writer_path(w, "", 0, &path, &err), TAMIS_NO_RESOURCE);
    assert_int_equal(tamis_gguf_writer_path(w, "d/", 0, &path, &err), TAMIS_NO_RESOURCE);
    tamis_gguf_writer_free(w);
}

/* More than 65535 files cannot be numbered. */
static void test_too_many(void **state) {
    (void)state;
    const tamis_gguf_shards shards = { .max_tensors = 1 };
    const uint64_t ne = 1;
    tamis_gguf_writer *w = NULL;
    OK(tamis_gguf_writer_new(&w, &err));
    for (int i = 0; i < 65536; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        OK(tamis_gguf_add_tensor(w, name, TAMIS_TYPE_F32, 1, &ne, &err));
    }
    assert_int_equal(tamis_gguf_set_shards(w, &shards, &err), TAMIS_BAD_USAGE);
    assert_non_null(strstr(err.message, "65535"));
    assert_int_equal(tamis_gguf_writer_n_files(w), 1);
    tamis_gguf_writer_free(w);
}

/* Uncommitted, incomplete and killed outputs leave nothing under a final name. */
static void test_nothing_early(void **state) {
    (void)state;
    const tamis_gguf_shards shards = { .max_tensors = 3 };
    clear_temp();
    tamis_gguf_writer *w = new_writer(0);
    OK(tamis_gguf_set_shards(w, &shards, &err));
    OK(tamis_gguf_begin(w, in_temp("m"), &err));
    for (int i = 0; i < 7; i++)
        write_tensor(w, i);
    assert_int_equal(count_files(".gguf"), 0);
    assert_int_equal(count_files(".tmp"), 3);
    assert_int_equal(tamis_gguf_commit(w, &err), TAMIS_BAD_USAGE);
    tamis_gguf_writer_free(w);
    assert_int_equal(count_files(".gguf") + count_files(".tmp"), 0);

    pid_t pid = fork();
    if (pid == 0) {
        w = new_writer(0);
        if (tamis_gguf_set_shards(w, &shards, &err) || tamis_gguf_begin(w, in_temp("m"), &err))
            _exit(1);
        for (int i = 0; i < 7; i++)
            write_tensor(w, i);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(count_files(".gguf"), 0);
    w = new_writer(0);
    OK(tamis_gguf_set_shards(w, &shards, &err));
    write_all(w, in_temp("m")); /* clears what the killed one left */
    expect_set(in_temp("m-00001-of-00004.gguf"), (const int[]){ 3, 3, 3, 1 }, 4, 32, w);
    tamis_gguf_writer_free(w);
}

/* A set that cannot be put in place leaves no part of itself, and no first file. */
static void test_failed_rename(void **state) {
    (void)state;
    const tamis_gguf_shards shards = { .max_tensors = 3 };
    clear_temp();
    tamis_gguf_writer *w = new_writer(0);
    OK(tamis_gguf_set_shards(w, &shards, &err));
    OK(tamis_gguf_begin(w, in_temp("m"), &err));
    for (int i = 0; i < N_TENSORS; i++)
        write_tensor(w, i);
    assert_int_equal(mkdir(in_temp("m-00003-of-00004.gguf"), 0777), 0);
    assert_int_equal(tamis_gguf_commit(w, &err), TAMIS_NO_RESOURCE);
    assert_int_equal(rmdir(in_temp("m-00003-of-00004.gguf")), 0);
    tamis_gguf_writer_free(w);
    assert_int_equal(count_files(".gguf") + count_files(".tmp"), 0);
}

static void test_misuse(void **state) {
    (void)state;
    const tamis_gguf_shards shards = { .max_tensors = 3 };
    const uint64_t ne = 8;
    clear_temp();
    tamis_gguf_writer *w = new_writer(0);
    OK(tamis_gguf_set_shards(w, &shards, &err));
    OK(tamis_gguf_add_tensor(w, "late", TAMIS_TYPE_F32, 1, &ne, &err));
    assert_int_equal(tamis_gguf_begin(w, in_temp("m"), &err), TAMIS_BAD_USAGE);
    OK(tamis_gguf_set_shards(w, &shards, &err));
    OK(tamis_gguf_begin(w, in_temp("m"), &err));
    assert_int_equal(tamis_gguf_set_shards(w, &shards, &err), TAMIS_BAD_USAGE);
    tamis_gguf_writer_free(w);
    assert_int_equal(count_files(".gguf") + count_files(".tmp"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_count),      cmocka_unit_test(test_by_size),
        cmocka_unit_test(test_alignment),     cmocka_unit_test(test_given_counts),
        cmocka_unit_test(test_without_tensors), cmocka_unit_test(test_paths),
        cmocka_unit_test(test_too_many),      cmocka_unit_test(test_nothing_early),
        cmocka_unit_test(test_failed_rename), cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
