/* Importance-matrix files: every sound fixture reads, a GGUF one is written back byte for byte,
 * both layouts of one run give the same weights, and each malformed one is refused in one line. */
#include "support.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdbool.h>
#include <string.h>

#include "imatrix/imatrix_file.h"

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), n_end = strlen(end);
    return n >= n_end && strcmp(s + n - n_end, end) == 0;
}

/* The fixtures folder also holds models; a matrix has a dot part or a known name. */
static bool is_matrix(const char *name) {
    if (ends_with(name, ".dat")) return true;
    if (!ends_with(name, ".gguf")) return false;
    return strstr(name, ".c128") || strstr(name, ".c64") || strstr(name, ".c512") ||
           strstr(name, ".merged") || strstr(name, "smallest") || strstr(name, "zero-counts");
}

static void load(const char *path, tamis_imatrix *m) {
    tamis_error err;
    tamis_status st = tamis_imatrix_load(path, m, &err);
    if (st) fail_msg("%s: %s", path, err.message);
}

static void reads_every_sound_file(void **state) {
    (void)state;
    DIR *dir = opendir(shared_path("fixtures/imatrix"));
    assert_non_null(dir);
    int n_read = 0, n_equal = 0;
    char copy[4096];
    snprintf(copy, sizeof copy, "%s/copy.gguf", temp_dir());
    for (struct dirent *d; (d = readdir(dir));) {
        if (!is_matrix(d->d_name)) continue;
        const char *path = shared_path("fixtures/imatrix/%s", d->d_name);
        tamis_imatrix m;
        load(path, &m);
        assert_true(m.n_entries > 0);
        n_read++;
        if (ends_with(d->d_name, ".gguf")) {
            tamis_error err;
            if (tamis_imatrix_save(&m, copy, &err)) fail_msg("%s: %s", path, err.message);
            size_t n_old, n_new;
            char *old = slurp(path, &n_old), *new = slurp(copy, &n_new);
            assert_int_equal(n_old, n_new);
            if (memcmp(old, new, n_old)) fail_msg("%s is not written back as it was", path);
            free(old);
            free(new);
            n_equal++;
        }
        tamis_imatrix_release(&m);
    }
    closedir(dir);
    assert_true(n_read >= 30 && n_equal >= 20);
}

/* A run written in both layouts: the same weights but for rounding, where the legacy one says
 * nothing of counts. */
static void both_layouts_give_the_same_weights(void **state) {
    (void)state;
    static const char *const models[] = {"llama", "mixtral", "qwen3moe", "idle-expert"};
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        tamis_imatrix a, b;
        load(shared_path("fixtures/imatrix/%s.c128.gguf", models[k]), &a);
        load(shared_path("fixtures/imatrix/%s.c128.dat", models[k]), &b);
        assert_int_equal(a.n_entries, b.n_entries);
        assert_int_equal(a.chunk_count, b.chunk_count);
        assert_string_equal(a.datasets[0], b.datasets[0]);
        assert_int_equal(b.chunk_size, 0);
        for (uint64_t i = 0; i < a.n_entries; i++) {
            const tamis_imatrix_entry *ea = &a.entries[i];
            const tamis_imatrix_entry *eb = tamis_imatrix_find(&b, ea->name);
            assert_non_null(eb);
            assert_int_equal(ea->n_values, eb->n_values);
            float *wa = calloc(ea->n_values, sizeof *wa), *wb = calloc(ea->n_values, sizeof *wb);
            tamis_imatrix_weights(ea, wa);
            tamis_imatrix_weights(eb, wb);
            for (uint64_t j = 0; j < ea->n_values; j++)
                if (fabsf(wa[j] - wb[j]) > 1e-6f * wa[j])
                    fail_msg("%s[%llu]: %g and %g", ea->name, (unsigned long long)j,
                             (double)wa[j], (double)wb[j]);
            free(wa);
            free(wb);
        }
        tamis_imatrix_release(&a);
        tamis_imatrix_release(&b);
    }
}

static void no_data_means_weight_one(void **state) {
    (void)state;
    tamis_imatrix m;
    load(shared_path("fixtures/imatrix/zero-counts.gguf"), &m);
    bool some_zero = false;
    for (uint64_t i = 0; i < m.n_entries; i++) {
        const tamis_imatrix_entry *e = &m.entries[i];
        uint64_t n_columns = e->n_values / e->n_counts;
        float *w = calloc(e->n_values, sizeof *w);
        tamis_imatrix_weights(e, w);
        for (uint64_t j = 0; j < e->n_values; j++) {
            float count = (float)e->counts[j / n_columns];
            some_zero |= count == 0;
            assert_true(w[j] == (count > 0 ? e->sums[j] / count : 1.0f));
        }
        free(w);
    }
    assert_true(some_zero);
    tamis_imatrix_release(&m);

    load(shared_path("fixtures/imatrix/smallest-ncall-0.dat"), &m);
    float w[128];
    assert_int_equal(m.entries[0].n_values, 128);
    tamis_imatrix_weights(&m.entries[0], w);
    assert_true(w[0] == 1.0f && w[1] == 1.0078125f);
    tamis_imatrix_release(&m);
}

/* bad/README.tsv: file, how it is read, what is wrong, what must be said, what others do. */
static void refuses_every_bad_file(void **state) {
    (void)state;
    char *table = slurp(shared_path("fixtures/imatrix/bad/README.tsv"), NULL);
    char *line_end, *field_end;
    int n = 0;
    for (char *line = strtok_r(table, "\n", &line_end); line;
         line = strtok_r(NULL, "\n", &line_end)) {
        const char *name = strtok_r(line, "\t", &field_end);
        const char *kind = strtok_r(NULL, "\t", &field_end);
        const char *wrong = strtok_r(NULL, "\t", &field_end);
        const char *say = strtok_r(NULL, "\t", &field_end);
        if (!strstr(kind, "imatrix")) continue;
        tamis_imatrix m;
        tamis_error err = {0};
        const char *path = shared_path("fixtures/imatrix/bad/%s", name);
        tamis_status st = tamis_imatrix_load(path, &m, &err);
        n++;
        if (strstr(say, "sound")) { /* its size is wrong for one model only */
            assert_int_equal(st, TAMIS_OK);
            tamis_imatrix_release(&m);
            continue;
        }
        if (st != TAMIS_BAD_INPUT) fail_msg("%s (%s): status %d", name, wrong, st);
        assert_non_null(strstr(err.message, name));
        assert_null(strchr(err.message, '\n'));
    }
    free(table);
    assert_true(n > 40);
}

/* What a message must name, for some. */
static void messages_say_where(void **state) {
    (void)state;
    static const struct {
        const char *file, *text[2];
    } rows[] = {
        {"dat-empty.dat", {"empty", ""}},
        {"dat-entries-one-more.dat", {"truncated in entry 2", ""}},
        {"dat-cut-in-second-entry.dat", {"truncated in entry 1", "offset"}},
        {"dat-cut-in-trailer.dat", {"truncated in the trailer", ""}},
        {"dat-nan.dat", {"blk.0.attn_q.weight", "column 60"}},
        {"dat-negative.dat", {"negative", "column"}},
        {"dat-duplicate.dat", {"duplicate entry 'blk.0.attn_k.weight'", ""}},
        {"dat-text.dat", {"not an importance matrix", ""}},
        {"gguf-without-chunk_size.gguf", {"imatrix.chunk_size", "missing"}},
        {"gguf-chunk-count-str.gguf", {"imatrix.chunk_count", ""}},
        {"gguf-type-model.gguf", {"not an importance matrix", "model"}},
        {"gguf-nan-sum.gguf", {"column 7", "not finite"}},
        {"gguf-sum-without-counts.gguf", {"blk.0.attn_k.weight.counts", "missing"}},
        {"gguf-counts-without-sum.gguf", {"blk.0.attn_k.weight.in_sum2", "missing"}},
        {"gguf-f16.gguf", {"must be f32", ""}},
        {"gguf-zero-count-with-sum.gguf", {"count 0 with non-zero sums", ""}},
        {"gguf-counts-not-dividing.gguf", {"384 values", "5 counts"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tamis_imatrix m;
        tamis_error err;
        assert_int_equal(
            tamis_imatrix_load(shared_path("fixtures/imatrix/bad/%s", rows[i].file), &m, &err),
            TAMIS_BAD_INPUT);
        for (int k = 0; k < 2; k++)
            if (!strstr(err.message, rows[i].text[k]))
                fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].file, err.message,
                         rows[i].text[k]);
    }
}

static void builds_and_refuses_in_memory(void **state) {
    (void)state;
    tamis_imatrix m;
    tamis_imatrix_entry *e;
    tamis_error err;
    char path[4096];
    snprintf(path, sizeof path, "%s/made.gguf", temp_dir());
    tamis_imatrix_init(&m);
    assert_int_equal(tamis_imatrix_save(&m, path, &err), TAMIS_BAD_USAGE); /* no entries */
    assert_int_equal(tamis_imatrix_add(&m, "x", 5, 2, &e, &err), TAMIS_BAD_USAGE);
    assert_int_equal(tamis_imatrix_add(&m, "blk.0.b.weight", 6, 2, &e, &err), TAMIS_OK);
    e->counts[0] = 4;
    e->sums[2] = 8;
    assert_int_equal(tamis_imatrix_add(&m, "blk.0.a.weight", 3, 1, &e, &err), TAMIS_OK);
    assert_int_equal(tamis_imatrix_save(&m, path, &err), TAMIS_BAD_USAGE); /* no chunk size */
    m.chunk_size = 512;
    assert_int_equal(tamis_imatrix_save(&m, path, &err), TAMIS_OK);

    tamis_imatrix back;
    load(path, &back);
    assert_int_equal(back.n_entries, 2);
    assert_int_equal(back.n_datasets, 0);
    assert_string_equal(back.entries[0].name, "blk.0.a.weight");
    assert_null(tamis_imatrix_find(&back, "blk.0.c.weight"));
    float w[6];
    tamis_imatrix_weights(tamis_imatrix_find(&back, "blk.0.b.weight"), w);
    assert_true(w[0] == 0 && w[2] == 2 && w[3] == 1 && w[5] == 1);
    tamis_imatrix_release(&back);

    m.entries[0].sums[0] = NAN;
    assert_int_equal(tamis_imatrix_save(&m, path, &err), TAMIS_BAD_INPUT);
    m.entries[0].sums[0] = 0;
    assert_int_equal(tamis_imatrix_add(&m, "blk.0.a.weight", 3, 1, &e, &err), TAMIS_OK);
    assert_int_equal(tamis_imatrix_save(&m, path, &err), TAMIS_BAD_USAGE); /* twice */
    assert_non_null(strstr(err.message, "duplicate"));
    load(path, &back); /* the first file is still whole */
    tamis_imatrix_release(&back);
    tamis_imatrix_release(&m);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_sound_file),
        cmocka_unit_test(both_layouts_give_the_same_weights),
        cmocka_unit_test(no_data_means_weight_one),
        cmocka_unit_test(refuses_every_bad_file),
        cmocka_unit_test(messages_say_where),
        cmocka_unit_test(builds_and_refuses_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
