/* delta_net.h - the gated delta net: linear attention with a state per value head that decays and
 * is corrected by each token. Works on the rows of a tile between the input products and ssm_out.
 * Formulas: reference/architectures.md section 7. */
#ifndef TAMIS_MODEL_OPS_DELTA_NET_H
#define TAMIS_MODEL_OPS_DELTA_NET_H

#include <stdbool.h>

#include "base/threads.h"
#include "model/gemm_internal.h"

/* S = head_size, C = (2 * n_key_heads + n_value_heads) * S channels, in the order q | k | v. */
typedef struct tamis_delta_net {
    int64_t n_key_heads, n_value_heads; /* the second a multiple of the first */
    int64_t head_size;                  /* S, of keys and of values */
    int64_t conv_kernel;                /* taps of the convolution, Kc */
    /* Value head n reads key head n / (n_value_heads / n_key_heads); else n mod n_key_heads. */
    bool is_grouped;
    float norm_eps;
    const float *conv;    /* [Kc][C]; the last tap is that of the token itself */
    const float *decay;   /* [n_value_heads], <= 0 (ssm_a) */
    const float *dt_bias; /* [n_value_heads] */
    const float *norm;    /* [S] */

    int64_t n_seqs;     /* sequences side by side */
    int64_t n_tokens;   /* of each */
    const float *qkv;   /* [n_seqs][n_tokens][C], before the convolution */
    const float *z;     /* [n_seqs][n_tokens][n_value_heads * S] */
    const float *beta;  /* [n_seqs][n_tokens][n_value_heads], before the logistic function */
    const float *alpha; /* [n_seqs][n_tokens][n_value_heads], before dt_bias and softplus */
    float *out;         /* [n_seqs][n_tokens][n_value_heads * S] */

    /* What is carried from one piece of a sequence to the next, read unless is_start and always
     * written; both NULL where the sequences are whole. */
    bool is_start;
    float *state; /* [n_seqs][n_key_heads][S of k][heads that read it][S of v] */
    float *tail;  /* [n_seqs][Kc - 1][C], the last rows of qkv */
} tamis_delta_net;

int64_t tamis_delta_net_channels(const tamis_delta_net *d); /* C */

/* Floats of scratch for a pool of n_workers; of the state and the tail of n_seqs sequences. */
int64_t tamis_delta_net_scratch(const tamis_delta_net *d, int n_workers);
int64_t tamis_delta_net_state(const tamis_delta_net *d);
int64_t tamis_delta_net_tail(const tamis_delta_net *d);

/* out = RMSNorm(delta net(silu(convolution(qkv)))) * silu(z), in parallel over sequences and key
 * heads. Interrupted: out is not complete; the caller polls. */
void tamis_delta_net_run(const tamis_delta_net *d, const tamis_gemm *gemm, tamis_pool *pool,
                         float *scratch);

#endif
