/* stats.h - what a comparison says: the statistics of per-position divergences, each with its
 * uncertainty. Definitions are those of llama-perplexity (reference/files.md part C), on exact
 * values instead of 16-bit ones; percentiles get an uncertainty too. */
#ifndef TAMIS_KLD_STATS_H
#define TAMIS_KLD_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* One row per scored position, in order. P is the parent, Q the quantized model. */
typedef struct tamis_kld_rows {
    int64_t n;
    double *kld;            /* [n] KL(P || Q), nats */
    double *nll_p, *nll_q;  /* [n] -log p(next token), nats */
    uint8_t *same_top;      /* [n] 1 when the most probable token is the same */
    int32_t *top_p, *top_q; /* [n] that token; filled where models are compared */
} tamis_kld_rows;

tamis_status tamis_kld_rows_init(tamis_kld_rows *rows, int64_t n, tamis_error *err) TAMIS_MUST_USE;
void tamis_kld_rows_release(tamis_kld_rows *rows);

typedef enum tamis_kld_block { TAMIS_KLD_PPL, TAMIS_KLD_KLD, TAMIS_KLD_DP } tamis_kld_block;

/* Index of each statistic; "dp" is p(next token) of Q minus that of P. */
enum {
    TAMIS_KLD_PPL_Q,
    TAMIS_KLD_PPL_P,
    TAMIS_KLD_COR,
    TAMIS_KLD_LN_RATIO,
    TAMIS_KLD_RATIO,
    TAMIS_KLD_DIFFERENCE,
    TAMIS_KLD_MEAN,
    TAMIS_KLD_MAX,
    TAMIS_KLD_9999,
    TAMIS_KLD_999,
    TAMIS_KLD_99,
    TAMIS_KLD_95,
    TAMIS_KLD_90,
    TAMIS_KLD_MEDIAN,
    TAMIS_KLD_10,
    TAMIS_KLD_5,
    TAMIS_KLD_1,
    TAMIS_KLD_01,
    TAMIS_KLD_MIN,
    TAMIS_KLD_DP_MEAN,
    TAMIS_KLD_DP_MAX,
    TAMIS_KLD_DP_9999,
    TAMIS_KLD_DP_999,
    TAMIS_KLD_DP_99,
    TAMIS_KLD_DP_95,
    TAMIS_KLD_DP_90,
    TAMIS_KLD_DP_75,
    TAMIS_KLD_DP_MEDIAN,
    TAMIS_KLD_DP_25,
    TAMIS_KLD_DP_10,
    TAMIS_KLD_DP_5,
    TAMIS_KLD_DP_1,
    TAMIS_KLD_DP_01,
    TAMIS_KLD_DP_MIN,
    TAMIS_KLD_DP_RMS,
    TAMIS_KLD_SAME_TOP,
    TAMIS_KLD_N_STATS,
};

/* How a statistic is called and printed. */
typedef struct tamis_kld_stat_info {
    const char *group; /* object of a model's JSON that it stands in, NULL = the model's own */
    const char *key;   /* in that object */
    const char *label; /* as llama-perplexity prints it, padded */
    tamis_kld_block block;
    bool is_percent; /* value and error are in percent; else plain, KLD in nats */
    double fraction; /* of a percentile, 0 = minimum, 1 = maximum; -1 = none */
} tamis_kld_stat_info;

/* [TAMIS_KLD_N_STATS], in the order of the enum, which is the order of printing. */
extern const tamis_kld_stat_info tamis_kld_stat_table[TAMIS_KLD_N_STATS];

typedef struct tamis_kld_stat {
    double value;
    double error; /* one standard error; 0 when there are too few positions to tell */
} tamis_kld_stat;

typedef struct tamis_kld_stats {
    int64_t n;
    tamis_kld_stat of[TAMIS_KLD_N_STATS];
} tamis_kld_stats;

/* Compute all statistics of n >= 1 rows. Errors: means as the peer computes them (positions taken
 * as independent); the correlation's is (1 - r^2) / sqrt(n - 1); a percentile's is half the
 * distance between the order statistics one binomial standard deviation of its rank (at least
 * one rank) to either side, for the extremes the distance to their neighbour.
 * TAMIS_NO_RESOURCE: no memory for sorting. */
tamis_status tamis_kld_stats_of(const tamis_kld_rows *rows, tamis_kld_stats *out,
                                tamis_error *err) TAMIS_MUST_USE;

/* What the peer prints while it runs: the statistics of all rows up to the end of a chunk. */
typedef struct tamis_kld_running {
    tamis_kld_stat ppl, ln_ratio, kld;
    tamis_kld_stat dp_rms, same_top; /* percent */
} tamis_kld_running;

/* One per chunk of n_per_chunk rows; free() it. The last one equals tamis_kld_stats_of(). */
tamis_status tamis_kld_running_of(const tamis_kld_rows *rows, int64_t n_per_chunk,
                                  tamis_kld_running **out, tamis_error *err) TAMIS_MUST_USE;

#endif
