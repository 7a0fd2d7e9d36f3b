/* test_imatrix_collect.c - whole runs against the matrices that llama-imatrix wrote for the same
 * model and text: names, order, counts and metadata equal, sums and perplexities within 1e-4. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "formats/formats.h"
#include "imatrix/imatrix.h"

struct run {
    const char *model, *expected, *text;
    bool with_output, parse_special;
    int64_t n_ctx, first_chunk, max_chunks; /* 0: 128, none skipped, all */
};

static const struct run runs[] = {
    { "arch/qwen3", "qwen3.c128", "calib-a.txt", false, false, 0, 0, 0 },
    { "arch/qwen3moe", "qwen3moe.c128", "calib-a.txt", false, false, 0, 0, 0 },
    { "arch/qwen3moe", "qwen3moe.c128-out", "calib-a.txt", true, false, 0, 0, 0 },
    { "arch/qwen3moe", "qwen3moe.c128-special", "calib-a.txt", false, true, 0, 0, 0 },
    { "arch/mixtral", "mixtral.c128", "calib-a.txt", false, false, 0, 0, 0 },
    { "arch/mixtral", "mixtral.c128-out", "calib-a.txt", true, false, 0, 0, 0 },
    { "imatrix/idle-expert", "idle-expert.c128", "calib-a.txt", false, false, 0, 0, 0 },
    { "imatrix/idle-expert", "idle-expert.c128-b", "calib-b.txt", false, false, 0, 0, 0 },
    { "arch/llama", "llama.c128", "calib-a.txt", false, false, 0, 0, 0 },
    { "arch/llama", "llama.c128-out", "calib-a.txt", true, false, 0, 0, 0 },
    { "arch/llama", "llama.c128-b", "calib-b.txt", false, false, 0, 0, 0 },
    { "arch/llama", "llama.c64", "calib-a.txt", false, false, 64, 0, 0 },
    { "arch/llama", "llama.c512", "calib-a.txt", false, false, 512, 0, 0 },
    { "arch/llama", "llama.c128-chunks5", "calib-a.txt", false, false, 0, 0, 5 },
    { "arch/llama", "llama.c128-chunk3", "calib-a.txt", false, false, 0, 3, 0 },
};

static void make(const struct run *run, int n_threads, tamis_imatrix *matrix,
                 tamis_imatrix_result *result) {
    tamis_error err = { 0 };
    tamis_pool *pool;
    assert_int_equal(tamis_pool_new(n_threads, &pool, &err), TAMIS_OK);
    tamis_imatrix_init(matrix);
    const tamis_imatrix_text text = { .path = shared_path("fixtures/imatrix/%s", run->text),
                                      .weight = 1 };
    tamis_imatrix_options options = {
        .model_path = shared_path("fixtures/%s.gguf", run->model),
        .texts = &text,
        .n_texts = 1,
        .chunks = { .n_ctx = run->n_ctx ? run->n_ctx : 128,
                    .first_chunk = run->first_chunk,
                    .max_chunks = run->max_chunks,
                    .parse_special = run->parse_special },
        .with_output = run->with_output,
        .with_perplexity = true,
        .pass = { .pool = pool },
    };
    if (tamis_imatrix_make(&options, matrix, result, &err)) fail_msg("%s", err.message);
    tamis_pool_free(pool);
}

static void compare_entry(const tamis_imatrix *matrix, const tamis_imatrix_entry *want) {
    const tamis_imatrix_entry *got = tamis_imatrix_find(matrix, want->name);
    if (!got) fail_msg("'%s' was not collected", want->name);
    assert_int_equal(got->n_values, want->n_values);
    assert_int_equal(got->n_counts, want->n_counts);
    for (uint64_t e = 0; e < want->n_counts; e++) {
        if (got->counts[e] != want->counts[e]) {
            fail_msg("%s expert %d: count %g, expected %g", want->name, (int)e,
                     (double)got->counts[e], (double)want->counts[e]);
        }
    }
    for (uint64_t i = 0; i < want->n_values; i++) {
        double tolerance = 1e-4 * fabs((double)want->sums[i]);
        if (fabs((double)got->sums[i] - (double)want->sums[i]) > tolerance) {
            fail_msg("%s column %d: sum %.8g, expected %.8g", want->name, (int)i,
                     (double)got->sums[i], (double)want->sums[i]);
        }
    }
}

/* The last number of "Final estimate: PPL = X +/- Y" in the peer's output. */
static double expected_ppl(const char *name) {
    char *text = slurp(shared_path("fixtures/imatrix/%s.ppl", name), NULL);
    const char *at = strstr(text, "PPL = ");
    assert_non_null(at);
    double ppl = strtod(at + 6, NULL);
    free(text);
    return ppl;
}

static void check_run(const struct run *run) {
    tamis_error err = { 0 };
    tamis_imatrix got, want;
    tamis_imatrix_result result;
    make(run, 2, &got, &result);
    tamis_imatrix_init(&want);
    if (tamis_imatrix_load(shared_path("fixtures/imatrix/%s.gguf", run->expected), &want, &err)) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(got.n_entries, want.n_entries);
    assert_int_equal(got.chunk_count, want.chunk_count);
    assert_int_equal(got.chunk_size, want.chunk_size);
    for (uint64_t i = 0; i < want.n_entries; i++) compare_entry(&got, &want.entries[i]);
    /* Outputs of the same run carry no perplexity file of their own. */
    if (!strstr(run->expected, "-out")) {
        double ppl = expected_ppl(run->expected);
        double found = result.running[result.n_chunks - 1].ppl;
        if (fabs(found - ppl) > 1e-4 * ppl) fail_msg("PPL %.6f, expected %.6f", found, ppl);
    }
    tamis_imatrix_result_release(&result);
    tamis_imatrix_release(&got);
    tamis_imatrix_release(&want);
}

static void matches_the_peer(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        print_message("%s\n", runs[i].expected);
        check_run(&runs[i]);
    }
}

/* What is saved is in the peer's order, and says the same when it is read again. */
static void saves_in_order(void **state) {
    (void)state;
    tamis_error err = { 0 };
    tamis_imatrix matrix, again, want;
    tamis_imatrix_result result;
    make(&runs[1], 2, &matrix, &result);
    char path[4200];
    snprintf(path, sizeof path, "%s/saved.gguf", temp_dir());
    assert_int_equal(tamis_imatrix_save(&matrix, path, &err), TAMIS_OK);
    tamis_imatrix_init(&again);
    tamis_imatrix_init(&want);
    assert_int_equal(tamis_imatrix_load(path, &again, &err), TAMIS_OK);
    assert_int_equal(
        tamis_imatrix_load(shared_path("fixtures/imatrix/qwen3moe.c128.gguf"), &want, &err),
        TAMIS_OK);
    assert_int_equal(again.n_entries, want.n_entries);
    for (uint64_t i = 0; i < want.n_entries; i++) {
        assert_string_equal(again.entries[i].name, want.entries[i].name);
    }
    tamis_imatrix_result_release(&result);
    tamis_imatrix_release(&matrix);
    tamis_imatrix_release(&again);
    tamis_imatrix_release(&want);
}

static void threads_change_nothing(void **state) {
    (void)state;
    tamis_imatrix one, two;
    tamis_imatrix_result result_one, result_two;
    make(&runs[4], 1, &one, &result_one);
    make(&runs[4], 2, &two, &result_two);
    assert_int_equal(one.n_entries, two.n_entries);
    for (uint64_t i = 0; i < one.n_entries; i++) {
        const tamis_imatrix_entry *a = &one.entries[i], *b = &two.entries[i];
        assert_memory_equal(a->sums, b->sums, a->n_values * sizeof *a->sums);
        assert_memory_equal(a->counts, b->counts, a->n_counts * sizeof *a->counts);
    }
    assert_memory_equal(result_one.running, result_two.running,
                        (size_t)result_one.n_chunks * sizeof *result_one.running);
    tamis_imatrix_result_release(&result_one);
    tamis_imatrix_result_release(&result_two);
    tamis_imatrix_release(&one);
    tamis_imatrix_release(&two);
}

/* Texts of a run, with their weights, through the model with experts. */
static void make_of(const tamis_imatrix_text *texts, size_t n_texts, tamis_imatrix *matrix,
                    tamis_imatrix_result *result) {
    tamis_error err = { 0 };
    tamis_imatrix_init(matrix);
    tamis_imatrix_options options = {
        .model_path = shared_path("fixtures/arch/qwen3moe.gguf"),
        .texts = texts,
        .n_texts = n_texts,
        .chunks = { .n_ctx = 128 },
        .with_output = true,
        .with_perplexity = true,
    };
    if (tamis_imatrix_make(&options, matrix, result, &err)) fail_msg("%s", err.message);
}

static void assert_near(const char *name, double got, double want) {
    if (fabs(got - want) > 1e-5 * fabs(want)) fail_msg("%s: %.9g, expected %.9g", name, got, want);
}

/* Sums and counts of both texts are weighted sums of those of each; means are weighted means even
 * where a count had to be rounded. */
static void compare_weighted(const tamis_imatrix_entry *both, const tamis_imatrix_entry *a,
                             const tamis_imatrix_entry *b, double weight_a, double weight_b) {
    const uint64_t n_columns = both->n_values / both->n_counts;
    for (uint64_t e = 0; e < both->n_counts; e++) {
        const double count = weight_a * a->counts[e] + weight_b * b->counts[e];
        double whole = floor(count + 0.5);
        if (whole < 1 && count > 0) whole = 1;
        if (both->counts[e] != whole)
            fail_msg("%s expert %d: count %g, expected %g", both->name, (int)e, both->counts[e],
                     whole);
        for (uint64_t i = e * n_columns; count > 0 && i < (e + 1) * n_columns; i++)
            assert_near(both->name, both->sums[i] / both->counts[e],
                        (weight_a * a->sums[i] + weight_b * b->sums[i]) / count);
    }
}

static void texts_have_weights(void **state) {
    (void)state;
    enum { N_WEIGHTS = 3 };
    static const double weights[N_WEIGHTS][2] = { { 1, 1 }, { 2.5, 0.3 }, { 1e-3, 1e-3 } };
    const tamis_imatrix_text a = { shared_path("fixtures/imatrix/calib-a.txt"), 1 };
    const tamis_imatrix_text b = { shared_path("fixtures/imatrix/calib-b.txt"), 1 };
    tamis_imatrix of_a, of_b, both;
    tamis_imatrix_result result_a, result_b, result;
    make_of(&a, 1, &of_a, &result_a);
    make_of(&b, 1, &of_b, &result_b);
    for (int w = 0; w < N_WEIGHTS; w++) {
        const tamis_imatrix_text texts[] = { { a.path, weights[w][0] }, { b.path, weights[w][1] } };
        make_of(texts, 2, &both, &result);
        assert_int_equal(both.n_entries, of_a.n_entries);
        for (uint64_t i = 0; i < both.n_entries; i++)
            compare_weighted(&both.entries[i], tamis_imatrix_find(&of_a, both.entries[i].name),
                             tamis_imatrix_find(&of_b, both.entries[i].name), texts[0].weight,
                             texts[1].weight);
        assert_int_equal(both.n_datasets, 2);
        assert_string_equal(both.datasets[0], a.path);
        assert_string_equal(both.datasets[1], b.path);
        assert_int_equal(both.chunk_count, of_a.chunk_count + of_b.chunk_count);
        assert_int_equal(result.n_texts, 2);
        assert_int_equal(result.texts[1].n_chunks, result_b.n_chunks);
        assert_int_equal(result.texts[1].n_tokens, result_b.n_tokens);
        assert_near("PPL of a", result.texts[0].perplexity.ppl, result_a.texts[0].perplexity.ppl);
        assert_near("PPL of b", result.texts[1].perplexity.ppl, result_b.texts[0].perplexity.ppl);
        assert_true(result.running[result.n_chunks - 1].n ==
                    result_a.texts[0].perplexity.n + result_b.texts[0].perplexity.n);
        tamis_imatrix_result_release(&result);
        tamis_imatrix_release(&both);
    }
    tamis_imatrix_result_release(&result_a);
    tamis_imatrix_result_release(&result_b);
    tamis_imatrix_release(&of_a);
    tamis_imatrix_release(&of_b);
}

int main(void) {
    require_shared();
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_peer),
        cmocka_unit_test(saves_in_order),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(texts_have_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
