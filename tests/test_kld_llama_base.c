/* Base files in the layout of llama-perplexity: encoding and decoding against plain formulas, every
 * damage that can be told is told, comparisons by the peer's rules. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "kld/compare.h"
#include "kld/llama_base.h"
#include "model/logit_sums.h"

enum { N_VOCAB = 2301, N_EMBD = 16, N_CTX = 100, N_CHUNKS = 7, N_ROWS = N_CHUNKS * 49 };

static int32_t ids[N_CTX * N_CHUNKS];
static float hidden[N_ROWS * N_EMBD], weights[N_VOCAB * N_EMBD];
static tamis_head *head;
static tamis_kld_plan plan;
static int32_t *targets;
static tamis_kld_machine machine;
static tamis_error err;
static char path[8192];

static float noise(uint32_t i) {
    i = i * 747796405u + 2891336453u;
    i = ((i >> ((i >> 28) + 4)) ^ i) * 277803737u;
    return (float)((i >> 22) ^ i) * (2.0f / 4294967296.0f) - 1.0f;
}

static void ok(tamis_status st) {
    if (st) fail_msg("%s", err.message);
}

static int set_up(void **unused) {
    (void)unused;
    tamis_formats_init();
    for (int i = 0; i < N_CTX * N_CHUNKS; ++i)
        ids[i] = (i * 997) % N_VOCAB;
    for (uint32_t i = 0; i < N_ROWS * N_EMBD; ++i)
        hidden[i] = noise(i) * (i % 3 ? 1.0f : 3.0f);
    for (uint32_t i = 0; i < N_VOCAB * N_EMBD; ++i)
        weights[i] = noise(i + 1000000) * 2.0f;
    memset(hidden + 5 * N_EMBD, 0, N_EMBD * sizeof *hidden); /* a row of equal logits */
    ok(tamis_pool_new(2, &machine.pool, &err));
    ok(tamis_gemm_new(NULL, &machine.gemm, &err));
    ok(tamis_kld_plan_init(&plan, ids, N_CTX, N_CHUNKS, TAMIS_KLD_SCORE_LLAMA, &err));
    assert_int_equal(plan.n_rows, N_ROWS);
    targets = tamis_kld_plan_targets(&plan, &err);
    assert_non_null(targets);
    ok(tamis_head_from_bytes(TAMIS_TYPE_F32, N_EMBD, N_VOCAB, (const uint8_t *)weights, NULL, 1.0f,
                             0.0f, &head, &err));
    snprintf(path, sizeof path, "%s/llama.base", temp_dir());
    ok(tamis_llama_base_write(path, &plan, ids, targets, hidden, head, &machine, NULL, &err));
    return 0;
}

static int tear_down(void **unused) {
    (void)unused;
    free(targets);
    tamis_head_close(head);
    tamis_gemm_free(machine.gemm);
    tamis_pool_free(machine.pool);
    return 0;
}

static float *logits_of(int i_row) {
    float *x = malloc(N_VOCAB * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < N_VOCAB; ++i) {
        double sum = 0;
        for (int k = 0; k < N_EMBD; ++k)
            sum += (double)hidden[i_row * N_EMBD + k] * (double)weights[i * N_EMBD + k];
        x[i] = (float)sum;
    }
    return x;
}

static void rows_hold_the_logits_within_their_resolution(void **unused) {
    (void)unused;
    tamis_llama_base *base;
    ok(tamis_llama_base_open(path, &base, &err));
    assert_int_equal(tamis_llama_base_n_vocab(base), N_VOCAB);
    assert_int_equal(tamis_llama_base_n_rows(base), N_ROWS);
    assert_memory_equal(tamis_llama_base_ids(base), ids, sizeof ids);
    assert_true(fabs(tamis_llama_base_range(base) - 16) < 1e-4);
    const uint64_t n_bytes = tamis_llama_base_row_bytes(base);
    assert_int_equal(n_bytes, 2 * (N_VOCAB + 1 + 4));
    uint8_t *row = malloc(n_bytes);
    float *p = malloc(N_VOCAB * sizeof *p);
    assert_true(row && p);
    for (int r = 0; r < N_ROWS; r += 17) {
        float *x = logits_of(r);
        float max = x[0];
        double sum = 0;
        for (int i = 0; i < N_VOCAB; ++i)
            max = fmaxf(max, x[i]);
        for (int i = 0; i < N_VOCAB; ++i)
            sum += exp((double)x[i] - (double)max);
        ok(tamis_llama_base_read(base, r, 1, row, &err));
        tamis_llama_base_decode(base, r, row, 0, N_VOCAB, p);
        for (int i = 0; i < N_VOCAB; ++i) {
            const double exact = fmax((double)x[i] - (double)max, -16.0) - log(sum);
            assert_true(fabs((double)p[i] - exact) < 16.0 / 65535 * 0.51 + 2e-5);
        }
        double nll;
        ok(tamis_llama_base_nll(base, r, targets[r], &nll, &err));
        assert_true(nll == -(double)p[targets[r]]);
        assert_int_equal(row[n_bytes - 1] + row[n_bytes - 2], 0);
        free(x);
    }
    free(p);
    free(row);
    tamis_llama_base_close(base);
}

/* Sums over whole decoded rows, term by term as reference/files.md section C.2 says. */
static void a_comparison_follows_the_rules(void **unused) {
    (void)unused;
    static float other[N_ROWS * N_EMBD];
    for (uint32_t i = 0; i < N_ROWS * N_EMBD; ++i)
        other[i] = hidden[i] + 0.1f * noise(i + 7000000);
    tamis_llama_base *base;
    tamis_kld_logits *p, *q;
    tamis_kld_rows rows;
    ok(tamis_llama_base_open(path, &base, &err));
    ok(tamis_kld_logits_of_base(base, NULL, N_ROWS, &machine, "p", &p, &err));
    ok(tamis_kld_logits_of_head(head, other, NULL, N_ROWS, &machine, "q", &q, &err));
    ok(tamis_kld_rows_init(&rows, N_ROWS, &err));
    ok(tamis_kld_compare(p, q, targets, N_ROWS, &machine, &rows, &err));
    uint8_t *row = malloc(tamis_llama_base_row_bytes(base));
    float *lp = malloc(N_VOCAB * sizeof *lp);
    assert_true(row && lp);
    for (int r = 0; r < N_ROWS; r += 13) {
        double max = -INFINITY, sum = 0, kld = 0, *lq = calloc(N_VOCAB, sizeof *lq);
        assert_non_null(lq);
        int top_p = 0, top_q = 0;
        for (int i = 0; i < N_VOCAB; ++i) {
            for (int k = 0; k < N_EMBD; ++k)
                lq[i] += (double)other[r * N_EMBD + k] * (double)weights[i * N_EMBD + k];
            if (lq[i] > lq[top_q]) top_q = i;
            max = fmax(max, lq[i]);
        }
        for (int i = 0; i < N_VOCAB; ++i)
            sum += exp(lq[i] - max);
        ok(tamis_llama_base_read(base, r, 1, row, &err));
        tamis_llama_base_decode(base, r, row, 0, N_VOCAB, lp);
        for (int i = 0; i < N_VOCAB; ++i) {
            if (lp[i] > lp[top_p]) top_p = i;
            if (lp[i] > -16) kld += exp((double)lp[i]) * ((double)lp[i] - (lq[i] - max - log(sum)));
        }
        assert_true(fabs(rows.kld[r] - kld) < 2e-6);
        assert_true(rows.nll_p[r] == -(double)lp[targets[r]]);
        assert_true(fabs(rows.nll_q[r] - (max + log(sum) - lq[targets[r]])) < 1e-5);
        assert_int_equal(rows.same_top[r], top_p == top_q);
        free(lq);
    }
    /* rows picked from a list are the same rows */
    const int64_t list[] = {300, 2, 2, 55};
    tamis_kld_logits *some_p, *some_q;
    tamis_kld_rows some;
    int32_t some_targets[4];
    for (int i = 0; i < 4; ++i)
        some_targets[i] = targets[list[i]];
    ok(tamis_kld_logits_of_base(base, list, 4, &machine, "p", &some_p, &err));
    ok(tamis_kld_logits_of_head(head, other, list, 4, &machine, "q", &some_q, &err));
    ok(tamis_kld_rows_init(&some, 4, &err));
    ok(tamis_kld_compare(some_p, some_q, some_targets, 4, &machine, &some, &err));
    for (int i = 0; i < 4; ++i) {
        assert_true(fabs(some.kld[i] - rows.kld[list[i]]) < 2e-6);
        assert_true(some.nll_p[i] == rows.nll_p[list[i]]);
    }
    tamis_kld_rows_release(&some);
    tamis_kld_logits_free(some_p);
    tamis_kld_logits_free(some_q);
    tamis_kld_rows_release(&rows);
    tamis_kld_logits_free(p);
    tamis_kld_logits_free(q);
    free(lp);
    free(row);
    tamis_llama_base_close(base);
}

static void stored_sums_do_not_depend_on_tiles(void **unused) {
    (void)unused;
    static float p[N_VOCAB], q[N_VOCAB];
    for (uint32_t i = 0; i < N_VOCAB; ++i) {
        p[i] = -12.0f + 6.0f * noise(i);
        q[i] = 8.0f * noise(i + 31);
    }
    tamis_logit_pair whole;
    tamis_logit_pair_init(&whole, 7);
    tamis_logit_pair_add_stored(&whole, p, q, 0, N_VOCAB);
    double kept = 0;
    for (int i = 0; i < N_VOCAB; ++i)
        kept += p[i] > -16 ? exp((double)p[i]) : 0;
    assert_true(fabs(whole.p.sum - kept) < 1e-12);
    assert_true(whole.p.target == p[7]);
    for (int tile = 1; tile < 600; tile += 97) {
        tamis_logit_pair s;
        tamis_logit_pair_init(&s, 7);
        for (int first = 0; first < N_VOCAB; first += tile) {
            const int n = N_VOCAB - first < tile ? N_VOCAB - first : tile;
            tamis_logit_pair_add_stored(&s, p + first, q + first, first, n);
        }
        assert_true(fabs(tamis_logit_pair_kld_stored(&s) - tamis_logit_pair_kld_stored(&whole)) <
                    1e-13);
        assert_int_equal(s.p.i_max, whole.p.i_max);
        assert_int_equal(s.q.i_max, whole.q.i_max);
    }
}

/* Read a file of these bytes; it must be refused with one line that holds `says`. */
static void expect_refused(const char *bytes, size_t n_bytes, const char *says) {
    char bad[8192];
    snprintf(bad, sizeof bad, "%s/bad.base", temp_dir());
    FILE *f = fopen(bad, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    fclose(f);
    tamis_llama_base *base;
    memset(&err, 0, sizeof err);
    assert_int_equal(tamis_llama_base_open(bad, &base, &err), TAMIS_BAD_INPUT);
    assert_null(base);
    if (!strstr(err.message, says)) fail_msg("\"%s\" does not say %s", err.message, says);
    assert_null(strchr(err.message, '\n'));
}

static void with_i32(size_t at, int32_t value, const char *says) {
    size_t n;
    char *bytes = slurp(path, &n);
    memcpy(bytes + at, &value, sizeof value);
    expect_refused(bytes, n, says);
    free(bytes);
}

static void with_f32(size_t at, float value, const char *says) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    with_i32(at, bits, says);
}

static void damage_is_told(void **unused) {
    (void)unused;
    with_i32(0, 0, "not a base file");
    with_i32(8, 0, "n_ctx out of range");
    with_i32(8, 2, "n_ctx out of range");
    with_i32(8, -1, "n_ctx out of range: 4294967295");
    with_i32(8, N_CTX + 1, "file size does not fit the header");
    with_i32(12, 0, "n_vocab out of range");
    with_i32(12, INT32_MAX, "file size does not fit the header");
    with_i32(16, -2, "n_chunk out of range");
    with_i32(16, INT32_MAX, "file size does not fit the header");
    with_i32(20 + 4 * 33, N_VOCAB, "token 33 out of range: 2301");
    with_i32(20 + 4 * 33, -1, "token 33 out of range: -1");
    const size_t row = 20 + 4 * N_CTX * N_CHUNKS + 50 * 2 * (N_VOCAB + 5);
    with_f32(row, NAN, "non-finite row header: chunk 1, row 1");
    with_f32(row, -1e-9f, "scale out of range: chunk 1, row 1");
    with_f32(row, 1.0f, "row header out of range: chunk 1, row 1");
    with_f32(row + 4, -INFINITY, "non-finite row header: chunk 1, row 1");
    with_f32(row + 4, 0.1f, "row header out of range: chunk 1, row 1");
    size_t n;
    char *bytes = slurp(path, &n);
    for (size_t i = 0; i < n; i += i < 32 ? 1 : 100003)
        expect_refused(bytes, i, i < 20 ? "truncated header" : "file size does not fit");
    expect_refused(bytes, n - 1, "file size does not fit");
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold_the_logits_within_their_resolution),
        cmocka_unit_test(a_comparison_follows_the_rules),
        cmocka_unit_test(stored_sums_do_not_depend_on_tiles),
        cmocka_unit_test(damage_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
