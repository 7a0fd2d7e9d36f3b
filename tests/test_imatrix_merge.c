/* Importance matrices merged and converted: the fixtures made by other tools come out byte for byte
 * or within the last bit or two; what does not belong together is refused by name. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "imatrix/imatrix_file.h"
#include "imatrix/merge.h"

/* --- a log that keeps its lines --- */

static char said[8192];

static void keep_line(void *ctx, tamis_log_level level, const char *text) {
    (void)ctx;
    (void)level;
    size_t n = strlen(said);
    snprintf(said + n, sizeof said - n, "%s\n", text);
}

static const tamis_log listening = {.line = keep_line};

/* --- helpers --- */

static const char *fixture(const char *name) {
    return shared_path("fixtures/imatrix/%s", name);
}

static void merge(const char *const *names, size_t n, uint32_t chunk_size, tamis_imatrix *m) {
    const char *paths[4];
    tamis_error err;
    for (size_t i = 0; i < n; i++)
        paths[i] = fixture(names[i]);
    said[0] = 0;
    if (tamis_imatrix_load_merged(paths, n, chunk_size, &listening, m, &err))
        fail_msg("%s: %s", names[0], err.message);
}

static void assert_same_bytes(const char *path, const char *expected) {
    size_t n_got, n_want;
    char *got = slurp(path, &n_got), *want = slurp(expected, &n_want);
    if (n_got != n_want || memcmp(got, want, n_got)) fail_msg("%s is not %s", path, expected);
    free(got);
    free(want);
}

static void save(const tamis_imatrix *m, tamis_imatrix_layout layout, const char *path) {
    tamis_error err;
    if (tamis_imatrix_save_as(m, path, layout, NULL, &err)) fail_msg("%s", err.message);
}

static const char *temp(const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
    return path;
}

/* --- what other tools made of the same files --- */

static void merges_are_those_of_other_tools(void **state) {
    (void)state;
    static const char *const models[] = {"llama", "idle-expert"};
    for (size_t k = 0; k < 2; k++) {
        char a[64], b[64], want[64];
        snprintf(a, sizeof a, "%s.c128.gguf", models[k]);
        snprintf(b, sizeof b, "%s.c128-b.gguf", models[k]);
        const char *const both[] = {a, b};
        tamis_imatrix m;
        merge(both, 2, 128, &m);
        assert_int_equal(m.n_datasets, 2);
        save(&m, TAMIS_IMATRIX_GGUF, temp("m.gguf"));
        snprintf(want, sizeof want, "%s.merged.gguf", models[k]);
        assert_same_bytes(temp("m.gguf"), fixture(want));
        save(&m, TAMIS_IMATRIX_DAT, temp("m.dat"));
        snprintf(want, sizeof want, "%s.merged.dat", models[k]);
        assert_same_bytes(temp("m.dat"), fixture(want));
        tamis_imatrix_release(&m);

        snprintf(a, sizeof a, "%s.c128.dat", models[k]);
        merge(both, 1, 128, &m);
        save(&m, TAMIS_IMATRIX_GGUF, temp("f.gguf"));
        snprintf(want, sizeof want, "%s.from-dat.merged.gguf", models[k]);
        assert_same_bytes(temp("f.gguf"), fixture(want));
        tamis_imatrix_release(&m);
    }
}

static void legacy_files_are_those_of_other_tools(void **state) {
    (void)state;
    static const char *const models[] = {"llama", "mixtral", "qwen3moe", "qwen35moe",
                                         "idle-expert"};
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        tamis_imatrix m;
        tamis_error err;
        char want[64];
        snprintf(want, sizeof want, "%s.c128.gguf", models[k]);
        assert_int_equal(tamis_imatrix_load(fixture(want), &m, &err), TAMIS_OK);
        save(&m, TAMIS_IMATRIX_DAT, temp("x.dat"));
        snprintf(want, sizeof want, "%s.c128.dat", models[k]);
        assert_same_bytes(temp("x.dat"), fixture(want));
        tamis_imatrix_release(&m);
    }
}

/* --- small matrices made here --- */

/* One entry of n_values, the first of which are given; counts alike. */
static void make(tamis_imatrix *m, const char *name, uint64_t n_values, uint64_t n_counts,
                 float value, double count, uint32_t i_source) {
    tamis_imatrix_entry *e;
    tamis_error err;
    tamis_imatrix_init(m);
    m->chunk_size = 4;
    if (tamis_imatrix_add(m, name, n_values, n_counts, &e, &err)) fail_msg("%s", err.message);
    for (uint64_t i = 0; i < n_values; i++)
        e->sums[i] = value;
    for (uint64_t i = 0; i < n_counts; i++)
        e->counts[i] = count;
    e->i_source = i_source;
}

static const char *const names[] = {"a.gguf", "b.gguf"};

static tamis_status merge_made(tamis_imatrix *a, tamis_imatrix *b, tamis_error *err) {
    said[0] = 0;
    tamis_status st = tamis_imatrix_merge(a, b, names, &listening, err);
    tamis_imatrix_release(b);
    return st;
}

static void one_count_meets_several(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        tamis_imatrix a, b;
        tamis_error err;
        make(&a, "blk.0.x.weight", 6, k ? 3 : 1, 1, 10, 0);
        make(&b, "blk.0.x.weight", 6, k ? 1 : 3, 2, 5, 1);
        assert_int_equal(merge_made(&a, &b, &err), TAMIS_OK);
        assert_int_equal(a.entries[0].n_counts, 3);
        for (int j = 0; j < 3; j++)
            assert_true(a.entries[0].counts[j] == 15);
        assert_true(a.entries[0].sums[5] == 3);
        assert_int_equal(a.chunk_count, 3); /* 15 / 4 */
        assert_string_equal(said, "");
        tamis_imatrix_release(&a);
    }
}

static void what_does_not_fit_is_named(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t n_values, n_counts;
        float value;
        const char *says[3];
    } rows[] = {
        {"blk.0.x.weight",
         8,
         1,
         1,
         {"b.gguf: entry 'blk.0.x.weight' has 8 values", "a.gguf has 6", ""}},
        {"blk.0.x.weight", 6, 3, 1, {"has 3 counts", "a.gguf has 2", "different models"}},
        {"blk.0.y.weight", 6, 2, 1, {"no entry in common with a.gguf", "blk.0.x", "blk.0.y"}},
        {"blk.0.x.weight", 6, 2, 3e38f, {"beyond f32", "b.gguf", "a.gguf"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tamis_imatrix a, b;
        tamis_error err;
        make(&a, "blk.0.x.weight", 6, 2, 3e38f, 4, 0);
        make(&b, rows[i].name, rows[i].n_values, rows[i].n_counts, rows[i].value, 4, 1);
        assert_int_equal(merge_made(&a, &b, &err), TAMIS_BAD_INPUT);
        for (int k = 0; k < 3; k++)
            if (!strstr(err.message, rows[i].says[k]))
                fail_msg("\"%s\" does not say \"%s\"", err.message, rows[i].says[k]);
        tamis_imatrix_release(&a);
    }
}

static void entries_of_one_side_stay_and_are_said(void **state) {
    (void)state;
    static const char *const files[] = {"llama.c128.gguf", "llama.c128-out.gguf"};
    tamis_imatrix m;
    merge(files, 2, 0, &m);
    assert_int_equal(m.n_entries, 29);
    assert_int_equal(m.chunk_size, 128);
    assert_int_equal(m.chunk_count, 64);
    assert_string_equal(m.entries[28].name, "output.weight");
    assert_true(m.entries[28].counts[0] == 32 * 128);
    assert_non_null(strstr(said, "has 1 entries that"));
    assert_non_null(strstr(said, "'output.weight' first"));
    tamis_imatrix_release(&m);
}

/* Legacy files take the chunk size asked for, else that of a file that says one, else 512. */
static void chunk_sizes(void **state) {
    (void)state;
    static const char *const mixed[] = {"llama.c128.dat", "llama.c64.gguf"};
    static const struct {
        const char *const *files;
        size_t n_files;
        uint32_t asked, size;
        double count;
    } rows[] = {
        {mixed, 1, 0, 512, 32 * 512},          {mixed, 1, 128, 128, 32 * 128},
        {mixed, 1, 100, 100, 32 * 100},        {mixed, 2, 0, 64, 32 * 64 + 4096},
        {mixed, 2, 128, 128, 32 * 128 + 4096},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tamis_imatrix m;
        merge(rows[i].files, rows[i].n_files, rows[i].asked, &m);
        assert_int_equal(m.chunk_size, rows[i].size);
        assert_true(m.entries[0].counts[0] == rows[i].count);
        assert_int_equal(m.chunk_count, (uint32_t)(rows[i].count / rows[i].size));
        assert_int_equal(strstr(said, "chunks of 64") != NULL, i == 4);
        tamis_imatrix_release(&m);
    }
}

static void files_come_before_a_run(void **state) {
    (void)state;
    static const char *const one[] = {"llama.c128.gguf"};
    tamis_imatrix run, want, files;
    tamis_error err;
    assert_int_equal(tamis_imatrix_load(fixture("llama.c128-b.gguf"), &run, &err), TAMIS_OK);
    merge(one, 1, run.chunk_size, &files);
    assert_int_equal(tamis_imatrix_merge_run(&files, one, 1, &run, "this run", NULL, &err),
                     TAMIS_OK);
    assert_int_equal(tamis_imatrix_load(fixture("llama.merged.gguf"), &want, &err), TAMIS_OK);
    assert_int_equal(run.chunk_count, want.chunk_count);
    assert_string_equal(run.datasets[1], "calib-b.txt");
    for (uint64_t i = 0; i < want.n_entries; i++)
        assert_memory_equal(run.entries[i].sums, want.entries[i].sums,
                            want.entries[i].n_values * sizeof(float));
    tamis_imatrix_release(&run);
    tamis_imatrix_release(&want);

    /* Older files count a dense 3-D weight once per matrix. */
    make(&files, "blk.0.x.weight", 6, 3, 1, 8, 0);
    make(&run, "blk.0.x.weight", 6, 1, 1, 4, 0);
    assert_int_equal(tamis_imatrix_merge_run(&files, one, 1, &run, "this run", NULL, &err),
                     TAMIS_OK);
    assert_int_equal(run.entries[0].n_counts, 1);
    assert_true(run.entries[0].counts[0] == 12 && run.entries[0].sums[5] == 2);
    tamis_imatrix_release(&run);
}

/* Counts are added exactly, and a file that cannot hold them says so. */
static void counts_beyond_f32_are_said(void **state) {
    (void)state;
    tamis_imatrix a, b;
    tamis_error err;
    make(&a, "blk.0.x.weight", 2, 1, 1, 16777216, 0);
    said[0] = 0;
    assert_int_equal(
        tamis_imatrix_save_as(&a, temp("c.gguf"), TAMIS_IMATRIX_GGUF, &listening, &err), TAMIS_OK);
    assert_string_equal(said, "");
    for (int i = 0; i < 5; i++) {
        make(&b, "blk.0.x.weight", 2, 1, 1, 1, 1);
        assert_int_equal(merge_made(&a, &b, &err), TAMIS_OK);
    }
    assert_true(a.entries[0].counts[0] == 16777221);
    said[0] = 0;
    assert_int_equal(
        tamis_imatrix_save_as(&a, temp("c.gguf"), TAMIS_IMATRIX_GGUF, &listening, &err), TAMIS_OK);
    assert_non_null(strstr(said, "beyond 2^24 (up to 16777221, 'blk.0.x.weight' first)"));
    tamis_imatrix_release(&a);
}

static void legacy_losses_are_said(void **state) {
    (void)state;
    tamis_imatrix m;
    tamis_error err;
    assert_int_equal(tamis_imatrix_load(fixture("zero-counts.gguf"), &m, &err), TAMIS_OK);
    said[0] = 0;
    assert_int_equal(tamis_imatrix_save_as(&m, temp("z.dat"), TAMIS_IMATRIX_DAT, &listening, &err),
                     TAMIS_OK);
    assert_non_null(strstr(said, "1 of 2 entries have no data and are left out, 'blk.0.attn_k"));
    tamis_imatrix back;
    assert_int_equal(tamis_imatrix_load(temp("z.dat"), &back, &err), TAMIS_OK);
    assert_int_equal(back.n_entries, 1);
    float w[384];
    tamis_imatrix_weights(&back.entries[0], w);
    assert_true(w[383] > 0.5f && w[128] == 1.0f); /* the middle expert saw nothing */
    tamis_imatrix_release(&back);

    for (uint64_t i = 0; i < m.n_entries; i++) {
        memset(m.entries[i].counts, 0, m.entries[i].n_counts * sizeof *m.entries[i].counts);
        memset(m.entries[i].sums, 0, m.entries[i].n_values * sizeof *m.entries[i].sums);
    }
    assert_int_equal(tamis_imatrix_save_as(&m, temp("z.dat"), TAMIS_IMATRIX_DAT, &listening, &err),
                     TAMIS_BAD_INPUT);
    tamis_imatrix_release(&m);
}

/* What the reader would refuse is not made, or not written. */
static void nothing_unreadable_is_written(void **state) {
    (void)state;
    tamis_imatrix m;
    tamis_error err;
    char name[5001];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    make(&m, "blk.0.x.weight", 2, 1, 1, 1, 0);
    assert_int_equal(tamis_imatrix_add_dataset(&m, name, &err), TAMIS_OK);
    assert_int_equal(tamis_imatrix_save_as(&m, temp("n.dat"), TAMIS_IMATRIX_DAT, NULL, &err),
                     TAMIS_BAD_USAGE);
    assert_non_null(strstr(err.message, "dataset name length 5000"));
    tamis_imatrix_release(&m);

    make(&m, "blk.0.x.weight", 2, 1, 3e38f, 1, 0);
    assert_int_equal(tamis_imatrix_scale_legacy(&m, 4, &err), TAMIS_BAD_INPUT);
    assert_non_null(strstr(err.message, "beyond f32"));
    tamis_imatrix_release(&m);

    make(&m, "blk.0.x.weight", 4, 2, 3e38f, 1, 0);
    m.entries[0].counts[0] = 16; /* 4 calls: 3e38 / 1 * 4 */
    assert_int_equal(tamis_imatrix_save_as(&m, temp("n.dat"), TAMIS_IMATRIX_DAT, NULL, &err),
                     TAMIS_BAD_INPUT);
    assert_non_null(strstr(err.message, "write GGUF"));
    tamis_imatrix_release(&m);

    make(&m, "blk.0a.x.weight", 2, 1, 1, 1, 0);
    assert_int_equal(tamis_imatrix_save(&m, temp("n.gguf"), &err), TAMIS_BAD_INPUT);
    assert_non_null(strstr(err.message, "layer number"));
    tamis_imatrix_release(&m);
}

static void memory_is_read_like_a_file(void **state) {
    (void)state;
    static const char *const files[] = {"llama.c128.gguf", "llama.c128.dat"};
    for (int k = 0; k < 2; k++) {
        size_t n_bytes;
        char *data = slurp(fixture(files[k]), &n_bytes);
        tamis_imatrix m;
        tamis_error err;
        assert_int_equal(tamis_imatrix_load_memory(data, n_bytes, &m, &err), TAMIS_OK);
        assert_int_equal(m.n_entries, 28);
        tamis_imatrix_release(&m);
        assert_int_equal(tamis_imatrix_load_memory(data, n_bytes / 2, &m, &err), TAMIS_BAD_INPUT);
        free(data);
    }
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_are_those_of_other_tools),
        cmocka_unit_test(legacy_files_are_those_of_other_tools),
        cmocka_unit_test(one_count_meets_several),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(entries_of_one_side_stay_and_are_said),
        cmocka_unit_test(chunk_sizes),
        cmocka_unit_test(files_come_before_a_run),
        cmocka_unit_test(counts_beyond_f32_are_said),
        cmocka_unit_test(legacy_losses_are_said),
        cmocka_unit_test(nothing_unreadable_is_written),
        cmocka_unit_test(memory_is_read_like_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
