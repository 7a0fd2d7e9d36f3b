/* attention.h - causal grouped-query attention over a tile of queries, blocked over queries and
 * keys so that no matrix of the context's square is ever held. */
#ifndef TAMIS_MODEL_OPS_ATTENTION_H
#define TAMIS_MODEL_OPS_ATTENTION_H

#include "base/threads.h"
#include "model/gemm_internal.h"

typedef struct tamis_attention {
    int64_t n_head, n_head_kv, head_k, head_v;
    float scale;       /* of q·k */
    int64_t window;    /* keys a query sees, its own the last; 0 = all up to its own */
    int64_t q_step;    /* from one query head to the next; 0 = head_k */
    int64_t n_seqs;    /* sequences side by side */
    int64_t n_queries; /* of each sequence, at positions first_pos ... */
    int64_t first_pos;
    int64_t n_keys_stride; /* rows of k and v from one sequence to the next */
    const float *q;        /* [n_seqs][n_queries][n_head * q_step] */
    const float *k;        /* [n_seqs][n_keys_stride][n_head_kv * head_k], positions 0 ... */
    const float *v;        /* [n_seqs][n_keys_stride][n_head_kv * head_v] */
    const float *sinks;    /* [n_head] or NULL: a logit per head that joins the softmax only */
    float *out;            /* [n_seqs][n_queries][n_head * head_v] */
} tamis_attention;

/* Floats of scratch for a pool of n_workers. */
int64_t tamis_attention_scratch(const tamis_attention *a, int n_workers);

/* out = softmax(scale * q·k, keys up to the query's position) · v, head by head; query heads
 * n_head / n_head_kv in a row share a key head. Keys that a window hides from a whole block of
 * queries are not touched. */
void tamis_attention_run(const tamis_attention *a, const tamis_gemm *gemm, tamis_pool *pool,
                         float *scratch);

#endif
