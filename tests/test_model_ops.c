/* test_model_ops.c - the operators against plain f64 code written from the formulas. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/gemm_internal.h"
#include "model/ops/attention.h"
#include "model/ops/exp.h"
#include "model/ops/norm.h"
#include "model/ops/glu.h"
#include "model/ops/residual.h"
#include "model/ops/rope.h"
#include "model/ops/router.h"

/* Repeatable values within -1 .. 1. */
static float noise(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 33) / 1073741824.0 - 1.0);
}

static float *noise_array(int64_t n, uint64_t seed) {
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = noise(&seed);
    return x;
}

static void assert_near(double found, double expected, double tolerance, const char *what,
                        int64_t at) {
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s %lld: %.9g, expected %.9g", what, (long long)at, found, expected);
}

static void exp_is_close(void **state) {
    (void)state;
    for (int64_t i = -87000; i <= 87000; i += 7) {
        float x = (float)i / 1000.0f;
        double expected = exp((double)x);
        assert_near((double)tamis_exp(x) / expected, 1.0, 2.4e-7, "exp of thousandths", i);
    }
    assert_true(tamis_exp(0.0f) == 1.0f);
    assert_true(isnan(tamis_exp(NAN)));
    assert_true(isnan(tamis_exp(-INFINITY)) && isnan(tamis_exp(INFINITY)));
    assert_true(tamis_exp(-1e30f) < 2e-38f && tamis_exp(1e30f) > 6e37f);
    assert_near((double)tamis_silu(-2.0f), -2.0 / (1.0 + exp(2.0)), 1e-7, "silu", -2);
}

static void tanh_is_close(void **state) {
    (void)state;
    for (int i = -40000; i <= 40000; i++) {
        float x = (float)i * 3e-4f;
        assert_near((double)tamis_tanh(x), tanh((double)x), 4e-7 * (fabs(tanh((double)x)) + 1e-30),
                    "tanh of 3e-4 *", i);
    }
    assert_true(tamis_tanh(0.0f) == 0.0f && tamis_tanh(1e30f) == 1.0f && tamis_tanh(-50.0f) == -1.0f);
    assert_true(isnan(tamis_tanh(NAN)) && isnan(tamis_tanh(INFINITY)));
}

static void norm_of_rows(void **state) {
    (void)state;
    enum { ROWS = 5, N = 37 };
    float *x = noise_array(ROWS * N, 1), *w = noise_array(N, 2), y[3 * N];
    const int32_t rows[] = {4, 0, 2};
    tamis_rms_norm_rows(NULL, x, rows, w, 3, N, 1e-3f, y);
    for (int64_t r = 0; r < 3; r++) {
        double sum = 0.0;
        for (int64_t i = 0; i < N; i++) sum += pow((double)x[rows[r] * N + i], 2.0);
        for (int64_t i = 0; i < N; i++)
            assert_near((double)y[r * N + i],
                        (double)x[rows[r] * N + i] / sqrt(sum / N + (double)1e-3f) * (double)w[i],
                        1e-6, "norm", r * N + i);
    }
    free(x);
    free(w);
}

/* Whether the position of pair i is the fourth one, by the words of the reference. */
static bool is_of_fourth(const tamis_rope_params *p, int64_t i) {
    const int64_t *s = p->sections;
    int64_t j = p->sectioning ? i % (s[0] + s[1] + s[2] + s[3]) : 0;
    if (p->sectioning == TAMIS_SECTIONS_IN_ROW) return j >= s[0] + s[1] + s[2];
    if (p->sectioning != TAMIS_SECTIONS_IN_TURN) return false;
    if (j % 3 == 1 && j < 3 * s[1]) return false;
    if (j % 3 == 2 && j < 3 * s[2]) return false;
    return !(j % 3 == 0 && j < 3 * s[0]);
}

/* Rotation by the formula, one pair at a time. */
static void naive_rope(const tamis_rope_params *p, tamis_rope_kind kind, const float *factors,
                       int64_t position, const float *x, double *y, int64_t n) {
    double pi = acos(-1.0), base = p->freq_base;
    double d32 = (double)p->n_rot * log((double)p->original_context / (p->beta_fast * 2.0 * pi)) /
                 (2.0 * log(base));
    double d1 = (double)p->n_rot * log((double)p->original_context / (p->beta_slow * 2.0 * pi)) /
                (2.0 * log(base));
    double low = fmax(0.0, floor(d32)), high = fmin((double)p->n_rot - 1.0, ceil(d1));
    for (int64_t i = 0; i < n; i++) y[i] = (double)x[i];
    for (int64_t i = 0; i < p->n_rot / 2; i++) {
        double theta = (double)position * pow(base, -2.0 * (double)i / (double)p->n_rot);
        double mscale = p->attn_factor, angle;
        if (factors) theta /= (double)factors[i];
        angle = theta * p->freq_scale;
        if (p->scaling == TAMIS_ROPE_YARN) {
            double t = ((double)i - low) / fmax(0.001, high - low);
            double r = 1.0 - fmin(fmax(t, 0.0), 1.0);
            angle = p->freq_scale * theta * (1.0 - r) + theta * r;
            mscale *= 1.0 + 0.1 * log(1.0 / p->freq_scale);
            mscale /= 1.0 + p->log_multiplier * 0.1 * log(1.0 / p->freq_scale);
        }
        if (is_of_fourth(p, i)) angle = 0.0;
        int64_t a = kind == TAMIS_ROPE_NORM ? 2 * i : i;
        int64_t b = kind == TAMIS_ROPE_NORM ? 2 * i + 1 : i + p->n_rot / 2;
        double c = cos(angle) * mscale, s = sin(angle) * mscale;
        y[a] = (double)x[a] * c - (double)x[b] * s;
        y[b] = (double)x[a] * s + (double)x[b] * c;
    }
}

static void check_rope(const tamis_rope_params *p, tamis_rope_kind kind, const float *factors) {
    enum { HEADS = 3, SIZE = 24, POSITIONS = 200 };
    tamis_error err;
    tamis_rope_table table;
    assert_int_equal(tamis_rope_table_init(&table, kind, p, factors, POSITIONS, &err), TAMIS_OK);
    for (int64_t pos = 0; pos < POSITIONS; pos += 33) {
        float *x = noise_array(HEADS * SIZE, (uint64_t)pos), y[HEADS * SIZE];
        memcpy(y, x, sizeof y);
        tamis_rope_apply(&table, pos, y, HEADS, SIZE);
        for (int64_t h = 0; h < HEADS; h++) {
            double expected[SIZE];
            naive_rope(p, kind, factors, pos, x + h * SIZE, expected, SIZE);
            for (int64_t i = 0; i < SIZE; i++)
                assert_near((double)y[h * SIZE + i], expected[i], 1e-6, "rotated", i);
        }
        free(x);
    }
    tamis_rope_table_release(&table);
}

static void rope_kinds_and_scalings(void **state) {
    (void)state;
    float factors[12];
    for (int i = 0; i < 12; i++) factors[i] = 1.0f + (float)i / 4.0f;
    tamis_rope_params plain = {.n_rot = 24, .freq_base = 10000.0, .freq_scale = 1.0,
                               .original_context = 64, .attn_factor = 1.0};
    tamis_rope_params partial = plain, linear = plain, yarn = plain, betas, row = plain, turn;
    partial.n_rot = 10;
    linear.freq_scale = 0.25;
    linear.attn_factor = 1.5;
    yarn.freq_scale = 0.125;
    yarn.scaling = TAMIS_ROPE_YARN;
    yarn.beta_fast = 32.0;
    yarn.beta_slow = 1.0;
    betas = yarn;
    betas.beta_fast = 4.0;
    betas.beta_slow = 0.5;
    betas.log_multiplier = 0.7;
    row.sectioning = TAMIS_SECTIONS_IN_ROW;
    memcpy(row.sections, (int64_t[]){4, 2, 1, 2}, sizeof row.sections);
    turn = row;
    turn.sectioning = TAMIS_SECTIONS_IN_TURN;
    const tamis_rope_params *all[] = {&plain, &partial, &linear, &yarn, &betas, &row, &turn};
    for (int i = 0; i < 7; i++)
        for (int f = 0; f < 2; f++) {
            check_rope(all[i], TAMIS_ROPE_NORM, f ? factors : NULL);
            check_rope(all[i], TAMIS_ROPE_NEOX, f ? factors : NULL);
        }
}

/* One output vector of attention, in f64. */
static void naive_attention(const tamis_attention *a, int64_t seq, int64_t query, int64_t head,
                            double *out) {
    int64_t head_kv = head / (a->n_head / a->n_head_kv), n = a->first_pos + query + 1;
    int64_t step = a->q_step ? a->q_step : a->head_k;
    const float *q = a->q + ((seq * a->n_queries + query) * a->n_head + head) * step;
    double total = a->sinks ? exp((double)a->sinks[head]) : 0.0;
    for (int64_t d = 0; d < a->head_v; d++) out[d] = 0.0;
    for (int64_t j = a->window && n > a->window ? n - a->window : 0; j < n; j++) {
        int64_t row = (seq * a->n_keys_stride + j) * a->n_head_kv + head_kv;
        double s = 0.0;
        for (int64_t d = 0; d < a->head_k; d++)
            s += (double)q[d] * (double)a->k[row * a->head_k + d];
        double p = exp((double)a->scale * s);
        total += p;
        for (int64_t d = 0; d < a->head_v; d++) out[d] += p * (double)a->v[row * a->head_v + d];
    }
    for (int64_t d = 0; d < a->head_v; d++) out[d] /= total;
}

static void check_attention(tamis_pool *pool, int64_t n_seqs, int64_t n_queries,
                            int64_t first_pos, int64_t window, bool is_special) {
    enum { HEADS = 6, HEADS_KV = 2, HEAD_K = 16, HEAD_V = 12, STEP = 19 };
    const float sinks[HEADS] = {0.5f, -40.0f, 3.0f, 60.0f, 0.0f, 1.0f};
    tamis_error err;
    tamis_gemm *gemm = NULL;
    assert_int_equal(tamis_gemm_new("openblas", &gemm, &err), TAMIS_OK);
    int64_t n_keys = first_pos + n_queries + 3;
    float *q = noise_array(n_seqs * n_queries * HEADS * STEP, 3);
    float *k = noise_array(n_seqs * n_keys * HEADS_KV * HEAD_K, 4);
    float *v = noise_array(n_seqs * n_keys * HEADS_KV * HEAD_V, 5);
    float *out = noise_array(n_seqs * n_queries * HEADS * HEAD_V, 6);
    tamis_attention a = {.n_head = HEADS, .n_head_kv = HEADS_KV, .head_k = HEAD_K,
                         .head_v = HEAD_V, .scale = 3.0f, .n_seqs = n_seqs,
                         .n_queries = n_queries, .first_pos = first_pos,
                         .n_keys_stride = n_keys, .q = q, .k = k, .v = v, .out = out,
                         .window = window, .q_step = is_special ? STEP : 0,
                         .sinks = is_special ? sinks : NULL};
    float *scratch = noise_array(tamis_attention_scratch(&a, tamis_pool_size(pool)), 7);
    tamis_attention_run(&a, gemm, pool, scratch);
    for (int64_t s = 0; s < n_seqs; s++)
        for (int64_t i = 0; i < n_queries; i += 13)
            for (int64_t h = 0; h < HEADS; h++) {
                double expected[HEAD_V];
                naive_attention(&a, s, i, h, expected);
                for (int64_t d = 0; d < HEAD_V; d++)
                    assert_near((double)out[((s * n_queries + i) * HEADS + h) * HEAD_V + d],
                                expected[d], 2e-6, "attended at query", i);
            }
    free(q);
    free(k);
    free(v);
    free(out);
    free(scratch);
    tamis_gemm_free(gemm);
}

/* 8,192 tokens in pieces, as a pass makes them, keys and values of a common part and noise: some
 * query rows against f64, in the root of the squares. */
static void long_attention_is_stable(void **state) {
    (void)state;
    enum { N = 8192, PIECE = 1024, HEADS = 2, SIZE = 32 };
    tamis_error err;
    tamis_pool *pool = NULL;
    tamis_gemm *gemm = NULL;
    assert_int_equal(tamis_pool_new(2, &pool, &err), TAMIS_OK);
    assert_int_equal(tamis_gemm_new(NULL, &gemm, &err), TAMIS_OK);
    float *q = noise_array(N * HEADS * SIZE, 11), *k = noise_array(N * SIZE, 12);
    float *v = noise_array(N * SIZE, 13), *out = noise_array(N * HEADS * SIZE, 14);
    for (int64_t i = 0; i < N * SIZE; i++) v[i] += 0.1f;
    tamis_attention a = {.n_head = HEADS, .n_head_kv = 1,     .head_k = SIZE, .head_v = SIZE,
                         .scale = 1.0f,   .n_seqs = 1,        .n_queries = PIECE,
                         .k = k,          .n_keys_stride = N, .v = v};
    float *scratch = noise_array(tamis_attention_scratch(&a, 2), 15);
    for (a.first_pos = 0; a.first_pos < N; a.first_pos += PIECE) {
        a.q = q + a.first_pos * HEADS * SIZE;
        a.out = out + a.first_pos * HEADS * SIZE;
        tamis_attention_run(&a, gemm, pool, scratch);
        for (int64_t row = 5; row < PIECE; row += 509)
            for (int64_t h = 0; h < HEADS; h++) {
                double expected[SIZE], off = 0.0, all = 0.0;
                naive_attention(&a, 0, row, h, expected);
                for (int64_t d = 0; d < SIZE; d++) {
                    off += pow((double)a.out[(row * HEADS + h) * SIZE + d] - expected[d], 2.0);
                    all += pow(expected[d], 2.0);
                }
                assert_near(sqrt(off / all), 0.0, 2e-6, "error at token", a.first_pos + row);
            }
    }
    free(q);
    free(k);
    free(v);
    free(out);
    free(scratch);
    tamis_gemm_free(gemm);
    tamis_pool_free(pool);
}

static void attention_is_exact(void **state) {
    (void)state;
    tamis_error err;
    tamis_pool *pool = NULL;
    assert_int_equal(tamis_pool_new(2, &pool, &err), TAMIS_OK);
    check_attention(NULL, 3, 1, 0, 0, false);
    check_attention(pool, 2, 300, 0, 0, false);
    check_attention(pool, 1, 100, 457, 0, true);
    check_attention(NULL, 3, 1, 0, 1, true);
    check_attention(pool, 1, 700, 0, 1, false);
    check_attention(pool, 2, 400, 0, 24, true);
    check_attention(pool, 1, 200, 457, 256, false);
    check_attention(pool, 1, 200, 457, 1000, true);
    tamis_pool_free(pool);
}

static void check_gemm(tamis_gemm *gemm, tamis_pool *const *pools, int64_t m, int64_t n,
                       int64_t k) {
    int64_t x_stride = k + 3, y_stride = n + 5;
    float *x = noise_array(m * x_stride, 8), *w = noise_array(n * k, 9);
    float *before = noise_array(m * y_stride, 10), *y[3];
    for (int i = 0; i < 3; i++) {
        y[i] = malloc((size_t)(m * y_stride) * sizeof(float));
        memcpy(y[i], before, (size_t)(m * y_stride) * sizeof(float));
        tamis_gemm_xwt(gemm, pools[i], m, n, k, x, x_stride, w, y[i], y_stride, 1);
        assert_memory_equal(y[0], y[i], (size_t)(m * y_stride) * sizeof(float));
    }
    for (int64_t i = 0; i < m * y_stride; i += 97) {
        int64_t r = i / y_stride, o = i % y_stride;
        double sum = (double)before[i];
        for (int64_t j = 0; j < k && o < n; j++)
            sum += (double)x[r * x_stride + j] * (double)w[o * k + j];
        assert_near((double)y[0][i], sum, 1e-5 * sqrt((double)k), "product", i);
    }
    for (int i = 0; i < 3; i++) free(y[i]);
    free(x);
    free(w);
    free(before);
}

static void products_do_not_depend_on_threads(void **state) {
    (void)state;
    tamis_error err;
    tamis_gemm *gemm = NULL;
    tamis_pool *pools[3] = {NULL, NULL, NULL};
    assert_int_equal(tamis_gemm_new(NULL, &gemm, &err), TAMIS_OK);
    assert_string_equal(tamis_gemm_name(gemm), "openblas");
    assert_int_equal(tamis_pool_new(2, &pools[1], &err), TAMIS_OK);
    assert_int_equal(tamis_pool_new(5, &pools[2], &err), TAMIS_OK);
    const int64_t sizes[][3] = {{1, 1, 1},      {3, 700, 40},    {513, 9, 33},
                                {130, 1100, 65}, {1030, 520, 31}, {2, 3, 4000}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_gemm(gemm, pools, sizes[i][0], sizes[i][1], sizes[i][2]);
    tamis_pool_free(pools[1]);
    tamis_pool_free(pools[2]);
    tamis_gemm_free(gemm);
}

static void unknown_engine_is_refused(void **state) {
    (void)state;
    tamis_error err;
    tamis_gemm *gemm = NULL;
    assert_int_equal(tamis_gemm_new("abacus", &gemm, &err), TAMIS_BAD_USAGE);
    assert_null(gemm);
    assert_string_equal(err.message, "unknown engine 'abacus'; there is: openblas");
}

static void router_takes_the_largest(void **state) {
    (void)state;
    tamis_expert_hparams router = {.n = 6, .n_used = 3};
    const float given[] = {0.5f, 2.0f, -1.0f, 2.0f, 0.5f, 1.0f};
    float logits[6], weights[3];
    int32_t chosen[3];
    double total = 0.0;
    for (int i = 0; i < 6; i++) total += exp((double)given[i]);
    memcpy(logits, given, sizeof logits);
    tamis_route(&router, logits, NULL, chosen, weights);
    assert_true(chosen[0] == 1 && chosen[1] == 3 && chosen[2] == 5);
    assert_near((double)weights[0], exp(2.0) / total, 1e-7, "weight", 0);
    assert_near((double)weights[2], exp(1.0) / total, 1e-7, "weight", 2);
    router.normalize = true;
    memcpy(logits, given, sizeof logits);
    tamis_route(&router, logits, NULL, chosen, weights);
    assert_near((double)weights[0], exp(2.0) / (2.0 * exp(2.0) + exp(1.0)), 1e-7, "weight", 0);
}

/* Three groups of two, the best two kept: the largest single score, 4, is in the worst group. */
static void router_keeps_the_best_groups(void **state) {
    (void)state;
    tamis_expert_hparams router = {.n = 6, .n_used = 2, .n_groups = 3, .n_groups_used = 2,
                           .normalize = true};
    float logits[] = {4.0f, -9.0f, 3.6f, 3.5f, 3.4f, 3.7f}, weights[2];
    int32_t chosen[2];
    tamis_route(&router, logits, NULL, chosen, weights);
    assert_true(chosen[0] == 5 && chosen[1] == 2);
    assert_near((double)(weights[0] + weights[1]), 1.0, 1e-6, "sum", 0);
}

static void rows_are_scattered(void **state) {
    (void)state;
    float x[4 * 3] = {0}, y[] = {1, 2, 3, 4, 5, 6}, gate[] = {1, 9, -1, 9}, out[2];
    const int32_t rows[] = {3, 1};
    const float weights[] = {0.5f, 2.0f};
    tamis_scatter_rows(NULL, y, rows, weights, 2, 3, x);
    const float expected[] = {0, 0, 0, 8, 10, 12, 0, 0, 0, 0.5f, 1, 1.5f};
    assert_memory_equal(x, expected, sizeof x);
    tamis_add_rows(NULL, expected, 4, 3, x);
    assert_true(x[11] == 3.0f && x[0] == 0.0f);
    tamis_glu_rows(NULL, TAMIS_SWIGLU, gate, 2, y, 3, 2, 1, out);
    assert_near((double)out[0], 1.0 / (1.0 + exp(-1.0)), 1e-7, "swiglu", 0);
    assert_near((double)out[1], -4.0 / (1.0 + exp(1.0)), 1e-6, "swiglu", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_close),
        cmocka_unit_test(tanh_is_close),
        cmocka_unit_test(norm_of_rows),
        cmocka_unit_test(rope_kinds_and_scalings),
        cmocka_unit_test(attention_is_exact),
        cmocka_unit_test(long_attention_is_stable),
        cmocka_unit_test(products_do_not_depend_on_threads),
        cmocka_unit_test(unknown_engine_is_refused),
        cmocka_unit_test(router_takes_the_largest),
        cmocka_unit_test(router_keeps_the_best_groups),
        cmocka_unit_test(rows_are_scattered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
