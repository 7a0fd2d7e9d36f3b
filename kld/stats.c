/* stats.c - see stats.h. Formulas: reference/files.md sections C.1 to C.4.
 * Sums in f64 in the order of positions; bound: sorting the rows for the percentiles. */
#include "kld/stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"

/* clang-format off */
const tamis_kld_stat_info tamis_kld_stat_table[TAMIS_KLD_N_STATS] = {
    { NULL,  "ppl",            "Mean PPL(Q)                   ", TAMIS_KLD_PPL, false, -1 },
    { NULL,  "ppl_base",       "Mean PPL(base)                ", TAMIS_KLD_PPL, false, -1 },
    { NULL,  "correlation",    "Cor(ln(PPL(Q)), ln(PPL(base)))", TAMIS_KLD_PPL, true,  -1 },
    { NULL,  "ln_ppl_ratio",   "Mean ln(PPL(Q)/PPL(base))     ", TAMIS_KLD_PPL, false, -1 },
    { NULL,  "ppl_ratio",      "Mean PPL(Q)/PPL(base)         ", TAMIS_KLD_PPL, false, -1 },
    { NULL,  "ppl_difference", "Mean PPL(Q)-PPL(base)         ", TAMIS_KLD_PPL, false, -1 },
    { "kld", "mean",           "Mean    KLD",                    TAMIS_KLD_KLD, false, -1 },
    { "kld", "max",            "Maximum KLD",                    TAMIS_KLD_KLD, false, 1 },
    { "kld", "p99_99",         "99.99%  KLD",                    TAMIS_KLD_KLD, false, 0.9999 },
    { "kld", "p99_9",          "99.9%   KLD",                    TAMIS_KLD_KLD, false, 0.999 },
    { "kld", "p99",            "99.0%   KLD",                    TAMIS_KLD_KLD, false, 0.99 },
    { "kld", "p95",            "95.0%   KLD",                    TAMIS_KLD_KLD, false, 0.95 },
    { "kld", "p90",            "90.0%   KLD",                    TAMIS_KLD_KLD, false, 0.90 },
    { "kld", "median",         "Median  KLD",                    TAMIS_KLD_KLD, false, 0.5 },
    { "kld", "p10",            "10.0%   KLD",                    TAMIS_KLD_KLD, false, 0.10 },
    { "kld", "p5",             " 5.0%   KLD",                    TAMIS_KLD_KLD, false, 0.05 },
    { "kld", "p1",             " 1.0%   KLD",                    TAMIS_KLD_KLD, false, 0.01 },
    { "kld", "p0_1",           " 0.1%   KLD",                    TAMIS_KLD_KLD, false, 0.001 },
    { "kld", "min",            "Minimum KLD",                    TAMIS_KLD_KLD, false, 0 },
    { "dp",  "mean",           "Mean    Δp",                     TAMIS_KLD_DP,  true,  -1 },
    { "dp",  "max",            "Maximum Δp",                     TAMIS_KLD_DP,  true,  1 },
    { "dp",  "p99_99",         "99.99%  Δp",                     TAMIS_KLD_DP,  true,  0.9999 },
    { "dp",  "p99_9",          "99.9%   Δp",                     TAMIS_KLD_DP,  true,  0.999 },
    { "dp",  "p99",            "99.0%   Δp",                     TAMIS_KLD_DP,  true,  0.99 },
    { "dp",  "p95",            "95.0%   Δp",                     TAMIS_KLD_DP,  true,  0.95 },
    { "dp",  "p90",            "90.0%   Δp",                     TAMIS_KLD_DP,  true,  0.90 },
    { "dp",  "p75",            "75.0%   Δp",                     TAMIS_KLD_DP,  true,  0.75 },
    { "dp",  "median",         "Median  Δp",                     TAMIS_KLD_DP,  true,  0.5 },
    { "dp",  "p25",            "25.0%   Δp",                     TAMIS_KLD_DP,  true,  0.25 },
    { "dp",  "p10",            "10.0%   Δp",                     TAMIS_KLD_DP,  true,  0.10 },
    { "dp",  "p5",             " 5.0%   Δp",                     TAMIS_KLD_DP,  true,  0.05 },
    { "dp",  "p1",             " 1.0%   Δp",                     TAMIS_KLD_DP,  true,  0.01 },
    { "dp",  "p0_1",           " 0.1%   Δp",                     TAMIS_KLD_DP,  true,  0.001 },
    { "dp",  "min",            "Minimum Δp",                     TAMIS_KLD_DP,  true,  0 },
    { "dp",  "rms",            "RMS Δp    ",                     TAMIS_KLD_DP,  true,  -1 },
    { NULL,  "same_top",       "Same top p",                     TAMIS_KLD_DP,  true,  -1 },
};
/* clang-format on */

tamis_status tamis_kld_rows_init(tamis_kld_rows *rows, int64_t n, tamis_error *err) {
    *rows = (tamis_kld_rows){.n = n};
    const uint64_t n_rows = (uint64_t)n;
    rows->kld = tamis_alloc_array(n_rows, sizeof *rows->kld, err);
    if (!rows->kld) goto out;
    rows->nll_p = tamis_alloc_array(n_rows, sizeof *rows->nll_p, err);
    if (!rows->nll_p) goto out;
    rows->nll_q = tamis_alloc_array(n_rows, sizeof *rows->nll_q, err);
    if (!rows->nll_q) goto out;
    rows->same_top = tamis_alloc_array(n_rows, sizeof *rows->same_top, err);
    if (!rows->same_top) goto out;
    rows->top_p = tamis_alloc_array(n_rows, sizeof *rows->top_p, err);
    if (!rows->top_p) goto out;
    rows->top_q = tamis_alloc_array(n_rows, sizeof *rows->top_q, err);
    if (!rows->top_q) goto out;
    return TAMIS_OK;
out:
    tamis_kld_rows_release(rows);
    return TAMIS_NO_RESOURCE;
}

void tamis_kld_rows_release(tamis_kld_rows *rows) {
    if (!rows) return;
    free(rows->kld);
    free(rows->nll_p);
    free(rows->nll_q);
    free(rows->same_top);
    free(rows->top_p);
    free(rows->top_q);
    *rows = (tamis_kld_rows){0};
}

/* Mean of n values from their sum and sum of squares, and its standard error. */
static tamis_kld_stat mean_of(double sum, double sum2, int64_t n) {
    tamis_kld_stat m = {.value = sum / (double)n};
    double variance = sum2 / (double)n - m.value * m.value;
    if (variance > 0 && n > 10) m.error = sqrt(variance / (double)(n - 1));
    return m;
}

typedef struct sums {
    double p, p2, q, q2, pq; /* of nll */
    double kld, kld2;
    double dp, dp2, dp4;
    int64_t n_same;
} sums;

static double dp_of(const tamis_kld_rows *rows, int64_t i) {
    return exp(-rows->nll_q[i]) - exp(-rows->nll_p[i]);
}

static void add_rows(sums *s, const tamis_kld_rows *rows, int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; ++i) {
        const double p = rows->nll_p[i], q = rows->nll_q[i], kld = rows->kld[i];
        const double dp = dp_of(rows, i), dp2 = dp * dp;
        s->p += p;
        s->p2 += p * p;
        s->q += q;
        s->q2 += q * q;
        s->pq += p * q;
        s->kld += kld;
        s->kld2 += kld * kld;
        s->dp += dp;
        s->dp2 += dp2;
        s->dp4 += dp2 * dp2;
        s->n_same += rows->same_top[i];
    }
}

/* Variance of the mean of a quantity (with itself) or covariance of two means, by the same
 * operations, so that equal models give differences of exactly 0. */
static double mean_covariance(double sum_xy, double sum_x, double sum_y, int64_t n) {
    if (n <= 10) return 0;
    const double count = (double)n;
    return (sum_xy / count - (sum_x / count) * (sum_y / count)) / (double)(n - 1);
}

static tamis_kld_stat with_variance(double value, double variance) {
    return (tamis_kld_stat){value, variance > 0 ? sqrt(variance) : 0};
}

static void perplexity_block(const sums *s, int64_t n, tamis_kld_stat *of) {
    const double mean_p = s->p / (double)n, mean_q = s->q / (double)n;
    const double var_p = mean_covariance(s->p2, s->p, s->p, n);
    const double var_q = mean_covariance(s->q2, s->q, s->q, n);
    const double cov = mean_covariance(s->pq, s->q, s->p, n);
    const double a = exp(mean_q), b = exp(mean_p);
    of[TAMIS_KLD_PPL_Q] = with_variance(a, a * a * var_q);
    of[TAMIS_KLD_PPL_P] = with_variance(b, b * b * var_p);

    /* without any spread there is nothing to correlate: equal models count as fully correlated */
    const double r = var_p > 0 && var_q > 0 ? cov / sqrt(var_q * var_p) : 1;
    const double r_error = n > 10 ? (1 - r * r) / sqrt((double)(n - 1)) : 0;
    of[TAMIS_KLD_COR] = (tamis_kld_stat){100 * r, 100 * r_error};

    const double ratio = exp(mean_q - mean_p), var_ln = var_q + var_p - 2 * cov;
    of[TAMIS_KLD_LN_RATIO] = with_variance(mean_q - mean_p, var_ln);
    of[TAMIS_KLD_RATIO] = with_variance(ratio, ratio * ratio * var_ln);
    of[TAMIS_KLD_DIFFERENCE] =
        with_variance(a - b, a * a * var_q + b * b * var_p - 2 * a * b * cov);
}

static tamis_kld_stat percent(tamis_kld_stat s) {
    return (tamis_kld_stat){100 * s.value, 100 * s.error};
}

static void probability_block(const sums *s, int64_t n, tamis_kld_stat *of) {
    of[TAMIS_KLD_DP_MEAN] = percent(mean_of(s->dp, s->dp2, n));
    const tamis_kld_stat square = mean_of(s->dp2, s->dp4, n);
    const double rms = sqrt(square.value);
    const double rms_error = rms > 0 ? 0.5 / rms * square.error : 0;
    of[TAMIS_KLD_DP_RMS] = percent((tamis_kld_stat){rms, rms_error});
    const double share = (double)s->n_same / (double)n;
    const double share_error = n > 1 ? sqrt(share * (1 - share) / (double)(n - 1)) : 0;
    of[TAMIS_KLD_SAME_TOP] = percent((tamis_kld_stat){share, share_error});
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Value at a fractional rank of the ascending list x[n]; ranks outside it count as its ends. */
static double at_rank(const double *x, int64_t n, double rank) {
    if (rank <= 0) return x[0];
    if (rank >= (double)(n - 1)) return x[n - 1];
    const int64_t i = (int64_t)rank;
    const double w = rank - (double)i;
    return (1 - w) * x[i] + w * x[i + 1];
}

static tamis_kld_stat percentile(const double *x, int64_t n, double fraction) {
    const double rank = fraction * (double)(n - 1);
    const double spread = fmax(sqrt((double)n * fraction * (1 - fraction)), 1);
    tamis_kld_stat s = {.value = at_rank(x, n, rank)};
    const double below = s.value - at_rank(x, n, rank - spread);
    const double above = at_rank(x, n, rank + spread) - s.value;
    const bool is_inside = rank - spread >= 0 && rank + spread <= (double)(n - 1);
    s.error = is_inside ? 0.5 * (below + above) : fmax(below, above);
    return s;
}

/* Fill in the percentiles of one block from `values`, which is sorted here. */
static void percentile_block(double *values, int64_t n, tamis_kld_block block, double scale,
                             tamis_kld_stat *of) {
    qsort(values, (size_t)n, sizeof *values, ascending);
    for (int i = 0; i < TAMIS_KLD_N_STATS; ++i) {
        const tamis_kld_stat_info *info = &tamis_kld_stat_table[i];
        if (info->block != block || info->fraction < 0) continue;
        const tamis_kld_stat s = percentile(values, n, info->fraction);
        of[i] = (tamis_kld_stat){scale * s.value, scale * s.error};
    }
}

tamis_status tamis_kld_stats_of(const tamis_kld_rows *rows, tamis_kld_stats *out,
                                tamis_error *err) {
    const int64_t n = rows->n;
    *out = (tamis_kld_stats){.n = n};
    double *sorted = tamis_alloc_array((uint64_t)n, sizeof *sorted, err);
    if (!sorted) return TAMIS_NO_RESOURCE;

    sums s = {0};
    add_rows(&s, rows, 0, n);
    perplexity_block(&s, n, out->of);
    out->of[TAMIS_KLD_MEAN] = mean_of(s.kld, s.kld2, n);
    for (int64_t i = 0; i < n; ++i)
        sorted[i] = rows->kld[i];
    percentile_block(sorted, n, TAMIS_KLD_KLD, 1, out->of);
    for (int64_t i = 0; i < n; ++i)
        sorted[i] = dp_of(rows, i);
    percentile_block(sorted, n, TAMIS_KLD_DP, 100, out->of);
    probability_block(&s, n, out->of);
    free(sorted);
    return TAMIS_OK;
}

tamis_status tamis_kld_running_of(const tamis_kld_rows *rows, int64_t n_per_chunk,
                                  tamis_kld_running **out, tamis_error *err) {
    const int64_t n_chunks = rows->n / n_per_chunk;
    *out = tamis_alloc_array((uint64_t)n_chunks, sizeof **out, err);
    if (!*out) return TAMIS_NO_RESOURCE;
    sums s = {0};
    for (int64_t i = 0; i < n_chunks; ++i) {
        const int64_t n = (i + 1) * n_per_chunk;
        tamis_kld_stat of[TAMIS_KLD_N_STATS];
        add_rows(&s, rows, n - n_per_chunk, n_per_chunk);
        perplexity_block(&s, n, of);
        probability_block(&s, n, of);
        (*out)[i] = (tamis_kld_running){
            .ppl = of[TAMIS_KLD_PPL_Q],
            .ln_ratio = of[TAMIS_KLD_LN_RATIO],
            .kld = mean_of(s.kld, s.kld2, n),
            .dp_rms = of[TAMIS_KLD_DP_RMS],
            .same_top = of[TAMIS_KLD_SAME_TOP],
        };
    }
    return TAMIS_OK;
}
