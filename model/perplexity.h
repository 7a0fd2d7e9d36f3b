/* perplexity.h - negative log-likelihoods of tokens from final hidden states, and the perplexity
 * made of them. Logits are made a tile of the vocabulary at a time and summed in f64, so memory
 * does not grow with rows x vocabulary. Formulas: reference/files.md section C.1. */
#ifndef TAMIS_MODEL_PERPLEXITY_H
#define TAMIS_MODEL_PERPLEXITY_H

#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/threads.h"
#include "model/gemm.h"
#include "model/head.h"

/* Logits are made in blocks of this shape everywhere, so that a row's bits depend neither on
 * threads nor on memory. */
enum { TAMIS_LOGIT_TILE_COLS = 2048, TAMIS_LOGIT_BLOCK_ROWS = 256 };

/* nll[i] = -log softmax(logits of h[i])[targets[i]], for n_rows rows of h [n_rows][n_embd], targets
 * in [0, n_vocab). argmax [n_rows] (lowest index among equals) may be NULL. The head is decoded
 * once per call: call it with all rows at once where memory allows. The progress (may be NULL) is
 * advanced by n_rows x n_vocab in all. Memory: one tile of the head in f32 + one block of logits +
 * 40 bytes a row. Same bits for any pool. TAMIS_BAD_INPUT: a head row or a logit is not finite. */
tamis_status tamis_nll(tamis_head *head, tamis_gemm *gemm, tamis_pool *pool, const float *h,
                       int64_t n_rows, const int32_t *targets, double *nll, int32_t *argmax,
                       tamis_progress *progress, tamis_error *err) TAMIS_MUST_USE;

typedef struct tamis_perplexity {
    int64_t n;               /* scored tokens */
    double mean, mean_error; /* of the nll, in nats, and its standard error */
    double ppl, ppl_error;   /* exp(mean), ppl * mean_error */
} tamis_perplexity;

/* Perplexity of n >= 1 values from their sum and sum of squares, with the uncertainty the peer
 * prints (0 for n <= 1). */
tamis_perplexity tamis_perplexity_of_sums(double sum, double sum2, int64_t n);
/* Perplexity of n >= 1 values, summed in order. */
tamis_perplexity tamis_perplexity_of(const double *nll, int64_t n);

#endif
