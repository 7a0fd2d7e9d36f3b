/* Raw ids cut into chunks, and the perplexity of given likelihoods. Texts: tests/e2e/kld_*.sh. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/chunks.h"
#include "model/perplexity.h"

static tamis_error err;

static const char *write_ids(const void *ids, size_t n_bytes) {
    static char path[8192];
    snprintf(path, sizeof path, "%s/ids", temp_dir());
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(ids, 1, n_bytes, f), n_bytes);
    fclose(f);
    return path;
}

static const int32_t IDS[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

static tamis_chunks cut(int64_t n_ctx, int64_t first_chunk, int64_t max_chunks) {
    const tamis_chunks_options options = {.path = write_ids(IDS, sizeof IDS),
                                          .n_ctx = n_ctx,
                                          .first_chunk = first_chunk,
                                          .max_chunks = max_chunks};
    tamis_chunks chunks;
    if (tamis_chunks_from_ids(11, &options, &chunks, &err)) fail_msg("%s", err.message);
    return chunks;
}

static void ids_are_cut_into_whole_chunks(void **unused) {
    (void)unused;
    static const struct {
        int64_t n_ctx, first_chunk, max_chunks, n_chunks;
        int32_t first_id;
    } cases[] = {
        {0, 0, 0, 1, 0}, {11, 0, 0, 1, 0}, {4, 0, 0, 2, 0},   {5, 1, 0, 1, 5},
        {3, 0, 2, 2, 0}, {3, 1, 1, 1, 3},  {1, 10, 0, 1, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        tamis_chunks c = cut(cases[i].n_ctx, cases[i].first_chunk, cases[i].max_chunks);
        assert_int_equal(c.n_chunks, cases[i].n_chunks);
        assert_int_equal(c.n_text_tokens, 11);
        for (int64_t k = 0; k < c.n_chunks * c.n_ctx; ++k) {
            assert_int_equal(c.ids[k], cases[i].first_id + k);
            assert_int_equal(c.tokens[k], c.ids[k]);
        }
        assert_int_equal(strlen(c.hash), 32);
        tamis_chunks_release(&c);
    }
}

static void chunks_may_overlap(void **unused) {
    (void)unused;
    const tamis_chunks_options options = {
        .path = write_ids(IDS, sizeof IDS), .n_ctx = 4, .first_chunk = 1, .stride = 3};
    tamis_chunks c;
    if (tamis_chunks_from_ids(11, &options, &c, &err)) fail_msg("%s", err.message);
    const int32_t expected[] = {3, 4, 5, 6, 6, 7, 8, 9};
    assert_int_equal(c.n_chunks, 2);
    assert_memory_equal(c.ids, expected, sizeof expected);
    assert_memory_equal(c.tokens, expected, sizeof expected);
    tamis_chunks_release(&c);
}

static void the_hash_is_of_all_ids(void **unused) {
    (void)unused;
    tamis_chunks a = cut(4, 0, 0), b = cut(3, 1, 1);
    assert_string_equal(a.hash, b.hash);
    tamis_chunks_release(&a);
    tamis_chunks_release(&b);
}

static void expect_refused(const void *ids, size_t n_bytes, int64_t n_ctx, int64_t first_chunk,
                           const char *part) {
    const tamis_chunks_options options = {
        .path = write_ids(ids, n_bytes), .n_ctx = n_ctx, .first_chunk = first_chunk};
    tamis_chunks chunks;
    assert_int_equal(tamis_chunks_from_ids(11, &options, &chunks, &err), TAMIS_BAD_INPUT);
    if (!strstr(err.message, part)) fail_msg("no '%s' in: %s", part, err.message);
}

static void ids_that_cannot_be_used_are_refused(void **unused) {
    (void)unused;
    const int32_t high[] = {1, 11}, negative[] = {-1};
    expect_refused(IDS, 0, 0, 0, "empty");
    expect_refused(IDS, 7, 0, 0, "byte 4");
    expect_refused(high, sizeof high, 0, 0, "id 11 at position 1");
    expect_refused(negative, sizeof negative, 0, 0, "id -1 at position 0");
    expect_refused(IDS, sizeof IDS, 12, 0, "11 tokens found, one chunk needs 12");
    expect_refused(IDS, sizeof IDS, 5, 2, "skipping 2");
}

static void perplexity_has_the_peers_uncertainty(void **unused) {
    (void)unused;
    const double nll[] = {1, 2, 3, 6};
    const tamis_perplexity p = tamis_perplexity_of(nll, 4);
    assert_true(fabs(p.mean - 3) < 1e-12);
    assert_true(fabs(p.mean_error - sqrt((12.5 - 9) / 3)) < 1e-12);
    assert_true(fabs(p.ppl - exp(3)) < 1e-12);
    assert_true(fabs(p.ppl_error - p.ppl * p.mean_error) < 1e-12);
    assert_true(tamis_perplexity_of(nll, 1).ppl_error == 0);
}

/* Likelihoods from hidden states against softmax over all logits at once, also over a vocabulary of
 * several tiles and more rows than one block. */
static void nll_agrees_with_plain_softmax(void **unused) {
    (void)unused;
    enum { N_VOCAB = 5000, N_EMBD = 8, N_ROWS = 300 };
    static float w[N_VOCAB * N_EMBD], h[N_ROWS * N_EMBD];
    static int32_t targets[N_ROWS], argmax[N_ROWS];
    static double nll[N_ROWS];
    for (int i = 0; i < N_VOCAB * N_EMBD; ++i)
        w[i] = sinf(1.7f * (float)i);
    for (int i = 0; i < N_ROWS * N_EMBD; ++i)
        h[i] = 3 * cosf(0.3f * (float)i);
    for (int i = 0; i < N_ROWS; ++i)
        targets[i] = (i * 613) % N_VOCAB;
    tamis_head *head;
    tamis_gemm *gemm;
    tamis_pool *pool;
    assert_int_equal(
        tamis_head_from_bytes(0, N_EMBD, N_VOCAB, (const uint8_t *)w, NULL, 1, 0, &head, &err),
        TAMIS_OK);
    assert_int_equal(tamis_gemm_new(NULL, &gemm, &err), TAMIS_OK);
    assert_int_equal(tamis_pool_new(2, &pool, &err), TAMIS_OK);
    if (tamis_nll(head, gemm, pool, h, N_ROWS, targets, nll, argmax, NULL, &err))
        fail_msg("%s", err.message);
    for (int r = 0; r < N_ROWS; r += 7) {
        double sum = 0, top = -INFINITY, target = 0;
        int i_top = -1;
        for (int v = 0; v < N_VOCAB; ++v) {
            double logit = 0;
            for (int k = 0; k < N_EMBD; ++k)
                logit += (double)w[v * N_EMBD + k] * (double)h[r * N_EMBD + k];
            sum += exp(logit);
            if (v == targets[r]) target = logit;
            if (logit > top) {
                top = logit;
                i_top = v;
            }
        }
        assert_true(fabs(nll[r] - (log(sum) - target)) < 1e-5);
        assert_int_equal(argmax[r], i_top);
    }
    static double alone[N_ROWS];
    assert_int_equal(tamis_nll(head, gemm, NULL, h, N_ROWS, targets, alone, NULL, NULL, &err),
                     TAMIS_OK);
    assert_memory_equal(nll, alone, sizeof nll);
    tamis_pool_free(pool);
    tamis_gemm_free(gemm);
    tamis_head_close(head);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_cut_into_whole_chunks),
        cmocka_unit_test(chunks_may_overlap),
        cmocka_unit_test(the_hash_is_of_all_ids),
        cmocka_unit_test(ids_that_cannot_be_used_are_refused),
        cmocka_unit_test(perplexity_has_the_peers_uncertainty),
        cmocka_unit_test(nll_agrees_with_plain_softmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
