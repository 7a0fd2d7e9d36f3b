/* Sums over logits that arrive in tiles: against plain f64 sums over the whole row, for any tiling.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "model/logit_sums.h"

enum { N = 3001 };

static uint32_t state = 12345;
static float next_float(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) * (1.0f / 16777216.0f);
}

static double plain_lse(const float *x) {
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < N; ++i)
        max = fmax(max, (double)x[i]);
    for (int i = 0; i < N; ++i)
        sum += exp((double)x[i] - max);
    return max + log(sum);
}

static void feed(tamis_logit_pair *s, const float *p, const float *q, int tile) {
    tamis_logit_pair_init(s, 17);
    for (int first = 0; first < N; first += tile) {
        int n = N - first < tile ? N - first : tile;
        tamis_logit_pair_add(s, p + first, q + first, first, n);
    }
}

static void exp_is_exact_to_an_ulp_or_two(void **unused) {
    (void)unused;
    assert_true(tamis_exp_nonpositive(0.0) == 1.0);
    assert_true(!(tamis_exp_nonpositive(NAN) <= 1));
    assert_true(tamis_exp_nonpositive(-INFINITY) < 1e-300);
    for (double x = 0; x > -700; x -= 0.0317) {
        assert_true(fabs(tamis_exp_nonpositive(x) / exp(x) - 1) < 4e-16);
    }
}

static void pairs_agree_with_plain_sums(void **unused) {
    (void)unused;
    static float p[N], q[N];
    for (int i = 0; i < N; ++i) {
        p[i] = 40.0f * next_float() - 30.0f;
        q[i] = p[i] + 3.0f * next_float() + 5.0f;
    }
    p[2000] = p[2500] = 50.0f; /* two equal largest logits */
    const double lse_p = plain_lse(p), lse_q = plain_lse(q);
    double kld = 0;
    for (int i = 0; i < N; ++i) {
        double lp = (double)p[i] - lse_p, lq = (double)q[i] - lse_q;
        kld += exp(lp) * (lp - lq);
    }
    const int tiles[] = {N, 2048, 256, 7, 1};
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; ++i) {
        tamis_logit_pair s;
        feed(&s, p, q, tiles[i]);
        assert_int_equal(s.p.i_max, 2000);
        assert_true(fabs(tamis_logit_pair_kld(&s) - kld) < 1e-12);
        assert_true(fabs(tamis_logit_sum_nll(&s.p) - (lse_p - (double)p[17])) < 1e-12);
        assert_true(fabs(tamis_logit_sum_nll(&s.q) - (lse_q - (double)q[17])) < 1e-12);
        tamis_logit_sum single;
        tamis_logit_sum_init(&single, 17);
        for (int first = 0; first < N; first += tiles[i]) {
            int n = N - first < tiles[i] ? N - first : tiles[i];
            tamis_logit_sum_add(&single, q + first, first, n);
        }
        assert_true(tamis_logit_sum_nll(&single) == tamis_logit_sum_nll(&s.q));
    }
}

static void equal_rows_give_exactly_zero(void **unused) {
    (void)unused;
    static float p[N];
    for (int i = 0; i < N; ++i)
        p[i] = 1000.0f * next_float() - 900.0f; /* far below -708 too */
    for (int tile = 1; tile < N; tile = tile * 3 + 1) {
        tamis_logit_pair s;
        feed(&s, p, p, tile);
        assert_true(tamis_logit_pair_kld(&s) == 0.0);
    }
}

static void a_common_offset_changes_nothing(void **unused) {
    (void)unused;
    static float p[N], q[N];
    for (int i = 0; i < N; ++i) {
        p[i] = (float)(int)(next_float() * 64) * 0.25f;
        q[i] = p[i] - 32.0f;
    }
    tamis_logit_pair s;
    feed(&s, p, q, 512);
    assert_true(fabs(tamis_logit_pair_kld(&s)) < 1e-13);
}

static void a_logit_that_is_not_finite_shows(void **unused) {
    (void)unused;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int k = 0; k < 3; ++k) {
        static float p[N], q[N];
        for (int i = 0; i < N; ++i)
            p[i] = q[i] = next_float();
        q[1234] = bad[k];
        tamis_logit_pair s;
        feed(&s, p, q, 1000);
        assert_true(!(fabs(tamis_logit_pair_kld(&s)) <= 1e300));
    }
}

static void every_cpu_level_gives_the_same_bits(void **unused) {
    (void)unused;
    static float p[N], q[N];
    for (int i = 0; i < N; ++i) {
        p[i] = 60.0f * next_float() - 30.0f;
        q[i] = p[i] + 2.0f * next_float();
    }
    static const char *const levels[] = {"plain", "avx2", "avx512"};
    tamis_logit_pair plain = {0};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; ++i) {
        setenv("TAMIS_CPU", levels[i], 1);
        tamis_formats_init();
        tamis_logit_pair s;
        feed(&s, p, q, 700);
        if (i == 0) plain = s;
        assert_true(memcmp(&s.cross, &plain.cross, sizeof s.cross) == 0);
        assert_true(memcmp(&s.p.sum, &plain.p.sum, sizeof s.p.sum) == 0);
        assert_true(memcmp(&s.q.sum, &plain.q.sum, sizeof s.q.sum) == 0);
        assert_int_equal(s.p.i_max, plain.p.i_max);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_exact_to_an_ulp_or_two),
        cmocka_unit_test(pairs_agree_with_plain_sums),
        cmocka_unit_test(equal_rows_give_exactly_zero),
        cmocka_unit_test(a_common_offset_changes_nothing),
        cmocka_unit_test(a_logit_that_is_not_finite_shows),
        cmocka_unit_test(every_cpu_level_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
