/* test_model_delta_net.c - the chunked delta net against the recurrence it stands for, token by
 * token in f64 and from the formulas. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/gemm_internal.h"
#include "model/ops/delta_net.h"

/* Repeatable values within -1 .. 1. */
static float noise(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 33) / 1073741824.0 - 1.0);
}

static float *noise_array(int64_t n, double size, uint64_t seed) {
    float *x = calloc((size_t)n + 1, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(size * (double)noise(&seed));
    return x;
}

/* A made-up layer's operator: its sizes, what it multiplies with, its input and what it gives. */
typedef struct problem {
    tamis_delta_net d; /* conv, decay, ... borrowed from here */
    float *arrays[9];
    float *out;
    tamis_gemm *gemm;
} problem;

/* decay_from .. decay_to: range of the logarithm of a token's decay, by value head. */
static problem make_problem(tamis_delta_net sizes, double decay_from, double decay_to,
                            uint64_t seed) {
    problem p = {.d = sizes};
    tamis_delta_net *d = &p.d;
    int64_t n_channels = tamis_delta_net_channels(d), rows = d->n_seqs * d->n_tokens;
    int64_t n_wide = d->n_value_heads * d->head_size;
    d->norm_eps = 1e-6f;
    d->is_start = true;
    d->conv = p.arrays[0] = noise_array(d->conv_kernel * n_channels, 1.0, seed + 1);
    d->decay = p.arrays[1] = noise_array(d->n_value_heads, 0.0, 0);
    d->dt_bias = p.arrays[2] = noise_array(d->n_value_heads, 0.5, seed + 2);
    d->norm = p.arrays[3] = noise_array(d->head_size, 2.0, seed + 3);
    d->qkv = p.arrays[4] = noise_array(rows * n_channels, 2.0, seed + 4);
    d->z = p.arrays[5] = noise_array(rows * n_wide, 2.0, seed + 5);
    d->beta = p.arrays[6] = noise_array(rows * d->n_value_heads, 4.0, seed + 6);
    d->alpha = p.arrays[7] = noise_array(rows * d->n_value_heads, 2.0, seed + 7);
    d->out = p.out = noise_array(rows * n_wide, 0.0, 0);
    for (int64_t n = 0; n < d->n_value_heads; n++)
        p.arrays[1][n] = (float)(decay_from + (decay_to - decay_from) * (double)n /
                                                  (double)d->n_value_heads);
    tamis_error err;
    assert_int_equal(tamis_gemm_new(NULL, &p.gemm, &err), TAMIS_OK);
    return p;
}

static void release(problem *p) {
    for (size_t i = 0; i < sizeof p->arrays / sizeof *p->arrays; i++) free(p->arrays[i]);
    free(p->out);
    tamis_gemm_free(p->gemm);
}

static void run(const tamis_delta_net *d, const tamis_gemm *gemm, int n_threads) {
    tamis_error err;
    tamis_pool *pool = NULL;
    assert_int_equal(tamis_pool_new(n_threads, &pool, &err), TAMIS_OK);
    float *scratch = noise_array(tamis_delta_net_scratch(d, n_threads), 1e9, 99);
    tamis_delta_net_run(d, gemm, pool, scratch);
    free(scratch);
    tamis_pool_free(pool);
}

static double silu(double x) {
    return x / (1.0 + exp(-x));
}

/* Channel c of token t after convolution and silu; zeros before the sequence's first token. */
static double input_at(const tamis_delta_net *d, int64_t seq, int64_t t, int64_t c) {
    int64_t n_channels = tamis_delta_net_channels(d);
    double sum = 0.0;
    for (int64_t j = 0; j < d->conv_kernel; j++) {
        int64_t from = t - d->conv_kernel + 1 + j;
        if (from < 0) continue;
        sum += (double)d->conv[j * n_channels + c] *
               (double)d->qkv[(seq * d->n_tokens + from) * n_channels + c];
    }
    return silu(sum);
}

static void unit(double *x, int64_t n, double eps) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    for (int64_t i = 0; i < n; i++) x[i] /= fmax(sqrt(sum), eps);
}

enum { SIZE_MAX_HERE = 128 };

/* One value head of one sequence: out [n_tokens][S], state [S][S] (row: element of the key). */
static void recur(const tamis_delta_net *d, int64_t seq, int64_t head, double *out,
                  double *state) {
    int64_t size = d->head_size, shared = d->n_value_heads / d->n_key_heads;
    int64_t key_head = d->is_grouped ? head / shared : head % d->n_key_heads;
    double q[SIZE_MAX_HERE], k[SIZE_MAX_HERE], v[SIZE_MAX_HERE];
    memset(state, 0, (size_t)(size * size) * sizeof *state);
    for (int64_t t = 0; t < d->n_tokens; t++) {
        int64_t at = (seq * d->n_tokens + t) * d->n_value_heads + head;
        for (int64_t i = 0; i < size; i++) {
            q[i] = input_at(d, seq, t, key_head * size + i);
            k[i] = input_at(d, seq, t, (d->n_key_heads + key_head) * size + i);
            v[i] = input_at(d, seq, t, (2 * d->n_key_heads + head) * size + i);
        }
        unit(q, size, (double)d->norm_eps);
        unit(k, size, (double)d->norm_eps);
        double beta = 1.0 / (1.0 + exp(-(double)d->beta[at]));
        double decay = exp((double)d->decay[head] *
                           log1p(exp((double)d->alpha[at] + (double)d->dt_bias[head])));
        double squares = 0.0, *o = out + t * size;
        for (int64_t c = 0; c < size; c++) {
            double read = 0.0;
            o[c] = 0.0;
            for (int64_t i = 0; i < size; i++) read += (state[i * size + c] *= decay) * k[i];
            for (int64_t i = 0; i < size; i++) {
                state[i * size + c] += k[i] * beta * (v[c] - read);
                o[c] += state[i * size + c] * q[i] / sqrt((double)size);
            }
            squares += o[c] * o[c];
        }
        for (int64_t c = 0; c < size; c++)
            o[c] *= (double)d->norm[c] * silu((double)d->z[at * size + c]) /
                    sqrt(squares / (double)size + (double)d->norm_eps);
    }
}

/* Relative error of x [..][stride] against y [n_rows][n], in the root of the squares. */
static double error_of(const float *x, int64_t stride, const double *y, int64_t n_rows,
                       int64_t n) {
    double off = 0.0, all = 0.0;
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t i = 0; i < n; i++) {
            off += pow((double)x[r * stride + i] - y[r * n + i], 2.0);
            all += pow(y[r * n + i], 2.0);
        }
    return sqrt(off / all);
}

static double compare(const tamis_delta_net *d, double tolerance) {
    int64_t size = d->head_size, n_wide = d->n_value_heads * size;
    double *out = calloc((size_t)(d->n_tokens * size), sizeof *out), worst = 0.0;
    double *state = calloc((size_t)(size * size), sizeof *state);
    for (int64_t seq = 0; seq < d->n_seqs; seq++)
        for (int64_t head = 0; head < d->n_value_heads; head++) {
            recur(d, seq, head, out, state);
            double e = error_of(d->out + seq * d->n_tokens * n_wide + head * size, n_wide, out,
                                d->n_tokens, size);
            if (!(e <= tolerance))
                fail_msg("sequence %lld, head %lld: error %.3g", (long long)seq, (long long)head,
                         e);
            worst = e > worst ? e : worst;
        }
    free(out);
    free(state);
    return worst;
}

/* Decays from none to very strong; lengths around the chunk's, shorter than the convolution. */
static void chunks_are_the_recurrence(void **state) {
    (void)state;
    const int64_t lengths[] = {1, 2, 3, 5, 63, 64, 65, 200};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int grouped = 0; grouped < 2; grouped++) {
            tamis_delta_net sizes = {.n_key_heads = 2,
                                     .n_value_heads = 6,
                                     .head_size = 32,
                                     .conv_kernel = 4,
                                     .is_grouped = grouped,
                                     .n_seqs = 3,
                                     .n_tokens = lengths[i]};
            problem p = make_problem(sizes, 0.0, -30.0, i);
            run(&p.d, p.gemm, 2);
            double worst = compare(&p.d, 1e-5);
            if (getenv("TAMIS_SHOW"))
                print_message("%lld tokens: %.2e\n", (long long)lengths[i], worst);
            release(&p);
        }
}

/* Other sizes: as many key heads as value heads, another convolution, odd heads. */
static void sizes_do_not_matter(void **state) {
    (void)state;
    const tamis_delta_net all[] = {
        {.n_key_heads = 3, .n_value_heads = 3, .head_size = 20, .conv_kernel = 4},
        {.n_key_heads = 1, .n_value_heads = 2, .head_size = 128, .conv_kernel = 2},
        {.n_key_heads = 2, .n_value_heads = 2, .head_size = 7, .conv_kernel = 1},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        tamis_delta_net sizes = all[i];
        sizes.n_seqs = 2;
        sizes.n_tokens = 150;
        problem p = make_problem(sizes, -0.001, -2.0, 100 + i);
        run(&p.d, p.gemm, 1);
        compare(&p.d, 1e-5);
        release(&p);
    }
}

/* A decay that leaves nothing, again and again between weak ones: nothing overflows, and what
 * comes after one is exact. */
static void nothing_is_left(void **state) {
    (void)state;
    tamis_delta_net sizes = {.n_key_heads = 1, .n_value_heads = 2, .head_size = 16,
                             .conv_kernel = 4, .n_seqs = 1,        .n_tokens = 130};
    problem p = make_problem(sizes, -0.01, -0.02, 7);
    for (int64_t t = 0; t < sizes.n_tokens; t += 9) p.arrays[7][t * 2] = 1e18f;
    run(&p.d, p.gemm, 1);
    compare(&p.d, 1e-5);
    release(&p);
}

/* The same key over and over with a full correction: the triangle is at its worst. */
static void equal_keys(void **state) {
    (void)state;
    tamis_delta_net sizes = {.n_key_heads = 1, .n_value_heads = 1, .head_size = 32,
                             .conv_kernel = 1, .n_seqs = 1,        .n_tokens = 256};
    problem p = make_problem(sizes, -1e-4, -1e-4, 9);
    for (int64_t t = 0; t < sizes.n_tokens; t++) {
        p.arrays[6][t] = 20.0f;
        for (int64_t i = 0; i < 32; i++) p.arrays[4][t * 96 + 32 + i] = p.arrays[4][32 + i];
    }
    run(&p.d, p.gemm, 1);
    compare(&p.d, 2e-5);
    release(&p);
}

/* A sequence in pieces, some shorter than the convolution, is the sequence in one. */
static void pieces_join(void **state) {
    (void)state;
    const int64_t pieces[] = {70, 1, 2, 64, 1, 1, 40, 21};
    tamis_delta_net sizes = {.n_key_heads = 2, .n_value_heads = 4, .head_size = 16,
                             .conv_kernel = 4, .n_seqs = 1,        .n_tokens = 200};
    problem p = make_problem(sizes, 0.0, -0.5, 21);
    tamis_delta_net d = p.d;
    d.state = noise_array(tamis_delta_net_state(&d), 1.0, 5);
    d.tail = noise_array(tamis_delta_net_tail(&d), 1.0, 6);
    int64_t first = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        d.is_start = i == 0;
        d.n_tokens = pieces[i];
        d.qkv = p.d.qkv + first * tamis_delta_net_channels(&d);
        d.z = p.d.z + first * 64;
        d.beta = p.d.beta + first * 4;
        d.alpha = p.d.alpha + first * 4;
        d.out = p.d.out + first * 64;
        run(&d, p.gemm, 2);
        first += pieces[i];
    }
    assert_int_equal(first, p.d.n_tokens);
    compare(&p.d, 1e-5);
    free(d.state);
    free(d.tail);
    release(&p);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    tamis_delta_net sizes = {.n_key_heads = 4, .n_value_heads = 8, .head_size = 32,
                             .conv_kernel = 4, .n_seqs = 2,        .n_tokens = 100};
    problem p = make_problem(sizes, 0.0, -1.0, 33);
    size_t n_bytes = 2 * 100 * 8 * 32 * sizeof(float);
    float *one = malloc(n_bytes);
    run(&p.d, p.gemm, 1);
    memcpy(one, p.out, n_bytes);
    for (int n_threads = 2; n_threads <= 3; n_threads++) {
        memset(p.out, 0, n_bytes);
        run(&p.d, p.gemm, n_threads);
        assert_memory_equal(p.out, one, n_bytes);
    }
    free(one);
    release(&p);
}

/* 8,192 tokens, from state that lasts through all of them to one that is soon forgotten. */
static void long_sequences_are_stable(void **state) {
    (void)state;
    tamis_delta_net sizes = {.n_key_heads = 2, .n_value_heads = 4, .head_size = 32,
                             .conv_kernel = 4, .n_seqs = 1,        .n_tokens = 8192};
    problem p = make_problem(sizes, 0.0, -0.04, 55);
    p.d.state = noise_array(tamis_delta_net_state(&p.d), 1.0, 5);
    p.d.tail = noise_array(tamis_delta_net_tail(&p.d), 1.0, 6);
    run(&p.d, p.gemm, 2);
    double *out = calloc((size_t)(sizes.n_tokens * sizes.head_size), sizeof *out);
    double expected[32 * 32];
    for (int64_t head = 0; head < sizes.n_value_heads; head++) {
        recur(&p.d, 0, head, out, expected);
        const float *found = p.d.state + (head % 2 * 32 * 2 + head / 2) * 32;
        double of_state = error_of(found, 2 * 32, expected, 32, 32);
        double of_out = error_of(p.d.out + head * 32, 4 * 32, out, sizes.n_tokens, 32);
        if (getenv("TAMIS_SHOW"))
            print_message("decay %g: state %.2e, outputs %.2e\n", (double)p.d.decay[head],
                          of_state, of_out);
        if (!(of_state <= 1e-5 && of_out <= 1e-5))
            fail_msg("head %lld: state off by %.3g, outputs by %.3g", (long long)head, of_state,
                     of_out);
    }
    free(out);
    free(p.d.state);
    free(p.d.tail);
    release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_the_recurrence),
        cmocka_unit_test(sizes_do_not_matter),
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(equal_keys),
        cmocka_unit_test(pieces_join),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(long_sequences_are_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
