/* logit_sums.h - online log-sum-exp over a vocabulary that arrives in tiles, and the sums that KL
 * divergence needs of two such rows. f64, fixed order of eight lanes: the same bits from any
 * compiler and CPU. Rows: reference/files.md section C.2. */
#ifndef TAMIS_MODEL_LOGIT_SUMS_H
#define TAMIS_MODEL_LOGIT_SUMS_H

#include <stdint.h>

/* One distribution: softmax over the logits seen so far. */
typedef struct tamis_logit_sum {
    double sum;       /* sum of exp(logit - max) */
    float max;        /* largest logit */
    float target;     /* logit of the target token, once its tile has passed */
    int32_t i_max;    /* index of max, the lowest among equals; -1 before the first tile */
    int32_t i_target; /* set by tamis_logit_sum_init() */
} tamis_logit_sum;

void tamis_logit_sum_init(tamis_logit_sum *s, int32_t i_target);
/* Take in logits [n_cols] of tokens first .. first + n_cols - 1. */
void tamis_logit_sum_add(tamis_logit_sum *s, const float *logits, int64_t first, int64_t n_cols);
/* -log p(target) in nats; not finite when a logit was not. */
double tamis_logit_sum_nll(const tamis_logit_sum *s);

/* Two distributions over the same tokens: P (base) and Q. */
typedef struct tamis_logit_pair {
    tamis_logit_sum p, q;
    double cross; /* sum of exp(LP - max P) * (LP - LQ) */
} tamis_logit_pair;

void tamis_logit_pair_init(tamis_logit_pair *s, int32_t i_target);
void tamis_logit_pair_add(tamis_logit_pair *s, const float *p, const float *q, int64_t first,
                          int64_t n_cols);
/* KL(P || Q) in nats: cross / sum P - (lse P - lse Q). Exactly 0 when the logits were equal;
 * rounding can leave up to about 1e-14 below 0. */
double tamis_logit_pair_kld(const tamis_logit_pair *s);

/* The same where P comes as log-probabilities of limited range, as base files of llama-perplexity
 * hold them: those of at most -16 are left out, P is not made to sum to 1 again, p.sum is what is
 * left of it and -p.target the negative log-likelihood (reference/files.md section C.2). A pair is
 * fed by one of the two functions only. */
void tamis_logit_pair_add_stored(tamis_logit_pair *s, const float *p, const float *q, int64_t first,
                                 int64_t n_cols);
double tamis_logit_pair_kld_stored(const tamis_logit_pair *s);

/* exp(x) for x <= 0 as used above: relative error below 4e-16; x < -708 counts as -708. NaN stays.
 */
double tamis_exp_nonpositive(double x);

#endif
