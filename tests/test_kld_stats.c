/* The statistics of a comparison: against values worked out by hand and by other routes, and the
 * exactness that a model against itself must have. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kld/stats.h"

#define assert_near(value, expected, tolerance)                                                    \
    assert_true(fabs((value) - (expected)) <= (tolerance))

static tamis_kld_rows new_rows(int64_t n) {
    tamis_kld_rows rows;
    tamis_error err;
    assert_int_equal(tamis_kld_rows_init(&rows, n, &err), TAMIS_OK);
    return rows;
}

static tamis_kld_stats stats_of(const tamis_kld_rows *rows) {
    tamis_kld_stats stats;
    tamis_error err;
    assert_int_equal(tamis_kld_stats_of(rows, &stats, &err), TAMIS_OK);
    return stats;
}

/* A small generator with some spread and correlation between P and Q. */
static tamis_kld_rows sample(int64_t n) {
    tamis_kld_rows rows = new_rows(n);
    uint32_t state = 7;
    for (int64_t i = 0; i < n; ++i) {
        state = state * 1664525u + 1013904223u;
        double u = (double)(state >> 8) / 16777216.0;
        state = state * 1664525u + 1013904223u;
        double v = (double)(state >> 8) / 16777216.0;
        rows.nll_p[i] = 0.1 + 6 * u;
        rows.nll_q[i] = rows.nll_p[i] + 0.2 * (v - 0.4);
        rows.kld[i] = 0.1 * v * v;
        rows.same_top[i] = v < 0.9;
    }
    return rows;
}

static void means_and_errors_agree_with_two_pass_formulas(void **unused) {
    (void)unused;
    enum { n = 1000 };
    tamis_kld_rows rows = sample(n);
    const tamis_kld_stats s = stats_of(&rows);
    double mean_p = 0, mean_q = 0, mean_kld = 0, mean_dp = 0, mean_square = 0, share = 0;
    for (int64_t i = 0; i < n; ++i) {
        const double dp = exp(-rows.nll_q[i]) - exp(-rows.nll_p[i]);
        mean_p += rows.nll_p[i] / n;
        mean_q += rows.nll_q[i] / n;
        mean_kld += rows.kld[i] / n;
        mean_dp += dp / n;
        mean_square += dp * dp / n;
        share += (double)rows.same_top[i] / n;
    }
    double var_p = 0, var_q = 0, cov = 0, var_kld = 0, var_ratio = 0, var_difference = 0;
    const double a = exp(mean_q), b = exp(mean_p);
    for (int64_t i = 0; i < n; ++i) {
        const double p = rows.nll_p[i] - mean_p, q = rows.nll_q[i] - mean_q;
        var_p += p * p / n / (n - 1);
        var_q += q * q / n / (n - 1);
        cov += p * q / n / (n - 1);
        var_kld += pow(rows.kld[i] - mean_kld, 2) / n / (n - 1);
        var_ratio += (q - p) * (q - p) / n / (n - 1);
        var_difference += pow(a * q - b * p, 2) / n / (n - 1);
    }
    const tamis_kld_stat *of = s.of;
    assert_near(of[TAMIS_KLD_PPL_P].value, b, 1e-9);
    assert_near(of[TAMIS_KLD_PPL_Q].value, a, 1e-9);
    assert_near(of[TAMIS_KLD_PPL_Q].error, a * sqrt(var_q), 1e-9);
    assert_near(of[TAMIS_KLD_COR].value, 100 * cov / sqrt(var_p * var_q), 1e-7);
    assert_near(of[TAMIS_KLD_LN_RATIO].value, mean_q - mean_p, 1e-12);
    assert_near(of[TAMIS_KLD_LN_RATIO].error, sqrt(var_ratio), 1e-9);
    assert_near(of[TAMIS_KLD_RATIO].error, exp(mean_q - mean_p) * sqrt(var_ratio), 1e-9);
    assert_near(of[TAMIS_KLD_DIFFERENCE].value, a - b, 1e-9);
    assert_near(of[TAMIS_KLD_DIFFERENCE].error, sqrt(var_difference), 1e-7);
    assert_near(of[TAMIS_KLD_MEAN].value, mean_kld, 1e-12);
    assert_near(of[TAMIS_KLD_MEAN].error, sqrt(var_kld), 1e-10);
    assert_near(of[TAMIS_KLD_DP_MEAN].value, 100 * mean_dp, 1e-10);
    assert_near(of[TAMIS_KLD_DP_RMS].value, 100 * sqrt(mean_square), 1e-10);
    assert_near(of[TAMIS_KLD_SAME_TOP].value, 100 * share, 1e-10);
    assert_near(of[TAMIS_KLD_SAME_TOP].error, 100 * sqrt(share * (1 - share) / (n - 1)), 1e-10);
    tamis_kld_rows_release(&rows);
}

static void percentiles_are_interpolated(void **unused) {
    (void)unused;
    tamis_kld_rows rows = new_rows(101);
    for (int64_t i = 0; i < rows.n; ++i) {
        rows.kld[(i * 37) % 101] = (double)i; /* 0..100 in another order */
        rows.nll_p[i] = 1;
        rows.nll_q[i] = 1;
    }
    const tamis_kld_stats s = stats_of(&rows);
    const tamis_kld_stat *of = s.of;
    assert_near(of[TAMIS_KLD_MAX].value, 100, 0);
    assert_near(of[TAMIS_KLD_9999].value, 99.99, 1e-9);
    assert_near(of[TAMIS_KLD_95].value, 95, 1e-9);
    assert_near(of[TAMIS_KLD_MEDIAN].value, 50, 1e-9);
    assert_near(of[TAMIS_KLD_01].value, 0.1, 1e-9);
    assert_near(of[TAMIS_KLD_MIN].value, 0, 0);
    /* on a uniform grid the error is the standard deviation of the rank */
    assert_near(of[TAMIS_KLD_MEDIAN].error, sqrt(101 * 0.25), 1e-9);
    assert_near(of[TAMIS_KLD_90].error, sqrt(101 * 0.09), 1e-9);
    assert_near(of[TAMIS_KLD_MAX].error, 1, 1e-9);
    assert_near(of[TAMIS_KLD_MIN].error, 1, 1e-9);
    tamis_kld_rows_release(&rows);
}

static void equal_models_give_exact_values(void **unused) {
    (void)unused;
    tamis_kld_rows rows = sample(1513);
    for (int64_t i = 0; i < rows.n; ++i) {
        rows.nll_q[i] = rows.nll_p[i];
        rows.kld[i] = 0;
        rows.same_top[i] = 1;
    }
    const tamis_kld_stats s = stats_of(&rows);
    for (int i = 0; i < TAMIS_KLD_N_STATS; ++i) {
        if (i == TAMIS_KLD_PPL_P || i == TAMIS_KLD_PPL_Q) continue;
        const bool is_share = i == TAMIS_KLD_SAME_TOP || i == TAMIS_KLD_COR;
        const double expected = is_share ? 100 : i == TAMIS_KLD_RATIO ? 1 : 0;
        if (s.of[i].value != expected || s.of[i].error != 0)
            fail_msg("%s: %.17g +- %.17g", tamis_kld_stat_table[i].key, s.of[i].value,
                     s.of[i].error);
    }
    assert_true(s.of[TAMIS_KLD_PPL_P].value == s.of[TAMIS_KLD_PPL_Q].value);
    tamis_kld_rows_release(&rows);
}

static void running_statistics_are_those_of_the_first_rows(void **unused) {
    (void)unused;
    tamis_kld_rows rows = sample(70);
    tamis_kld_running *running;
    tamis_error err;
    assert_int_equal(tamis_kld_running_of(&rows, 14, &running, &err), TAMIS_OK);
    for (int64_t i = 0; i < 5; ++i) {
        tamis_kld_rows some = rows;
        some.n = 14 * (i + 1);
        const tamis_kld_stats s = stats_of(&some);
        const int which[] = {TAMIS_KLD_PPL_Q, TAMIS_KLD_LN_RATIO, TAMIS_KLD_MEAN,
                             TAMIS_KLD_DP_RMS, TAMIS_KLD_SAME_TOP};
        const tamis_kld_stat *of = &running[i].ppl;
        for (size_t k = 0; k < sizeof which / sizeof *which; ++k) {
            assert_true(of[k].value == s.of[which[k]].value);
            assert_true(of[k].error == s.of[which[k]].error);
        }
    }
    free(running);
    tamis_kld_rows_release(&rows);
}

static void few_positions_give_no_nonsense(void **unused) {
    (void)unused;
    for (int64_t n = 1; n < 12; ++n) {
        tamis_kld_rows rows = sample(n);
        const tamis_kld_stats s = stats_of(&rows);
        for (int i = 0; i < TAMIS_KLD_N_STATS; ++i) {
            assert_true(fabs(s.of[i].value) < 1e9);
            assert_true(s.of[i].error >= 0 && s.of[i].error < 1e9);
        }
        tamis_kld_rows_release(&rows);
    }
}

static void every_statistic_has_a_key_and_a_label(void **unused) {
    (void)unused;
    for (int i = 0; i < TAMIS_KLD_N_STATS; ++i) {
        assert_non_null(tamis_kld_stat_table[i].key);
        assert_non_null(tamis_kld_stat_table[i].label);
        for (int j = 0; j < i; ++j) {
            if (tamis_kld_stat_table[i].group == tamis_kld_stat_table[j].group)
                assert_string_not_equal(tamis_kld_stat_table[i].key, tamis_kld_stat_table[j].key);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_and_errors_agree_with_two_pass_formulas),
        cmocka_unit_test(percentiles_are_interpolated),
        cmocka_unit_test(equal_models_give_exact_values),
        cmocka_unit_test(running_statistics_are_those_of_the_first_rows),
        cmocka_unit_test(few_positions_give_no_nonsense),
        cmocka_unit_test(every_statistic_has_a_key_and_a_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
