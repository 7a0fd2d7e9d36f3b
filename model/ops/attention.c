/* attention.c - see attention.h. For a block of queries the keys are walked in blocks; a running
 * maximum and denominator per query keep the softmax exact (online softmax), the sum of
 * weighted values is rescaled when the maximum grows. Denominators are f64.
 * Formulas: reference/architectures.md section 1. Bound: compute. */
#include "model/ops/attention.h"

#include "model/ops/exp.h"

enum { BLOCK_Q = 64, BLOCK_K = 256, LANES = 8 };

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t q_step(const tamis_attention *a) {
    return a->q_step ? a->q_step : a->head_k;
}

/* What a worker holds for one block of queries. */
typedef struct block {
    float *scores; /* [BLOCK_Q][BLOCK_K] */
    float *sums;   /* [BLOCK_Q][head_v] */
    float maximum[BLOCK_Q];
    double denominator[BLOCK_Q];
} block;

int64_t tamis_attention_scratch(const tamis_attention *a, int n_workers) {
    return (int64_t)n_workers * BLOCK_Q * (BLOCK_K + a->head_v);
}

/* Scores of one query to their weights e^(s - m), m the larger of `maximum` and the scores of
 * first .. end - 1; the others become 0. Returns m; *sum is the sum of the weights. */
static float soften(float *s, int64_t n, int64_t first, int64_t end, float maximum, double *sum) {
    float tops[LANES], m = maximum;
    for (int j = 0; j < LANES; j++)
        tops[j] = maximum;
    int64_t i = first;
    for (; i + LANES <= end; i += LANES) /* lanes hide the latency of each comparison */
        for (int j = 0; j < LANES; j++)
            tops[j] = s[i + j] > tops[j] ? s[i + j] : tops[j];
    for (; i < end; i++)
        m = s[i] > m ? s[i] : m;
    for (int j = 0; j < LANES; j++)
        m = tops[j] > m ? tops[j] : m;
    for (i = first; i < end; i++)
        s[i] = tamis_exp(s[i] - m);
    for (i = 0; i < first; i++)
        s[i] = 0.0f;
    for (i = end; i < n; i++)
        s[i] = 0.0f;
    double lanes[LANES] = {0};
    for (i = 0; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += (double)s[i + j];
    for (int j = 0; i < n; i++, j++)
        lanes[j] += (double)s[i];
    *sum = 0.0;
    for (int j = 0; j < LANES; j++)
        *sum += lanes[j];
    return m;
}

/* One block of keys for all queries of a block: scores, weights, weighted values. */
static void add_keys(const tamis_attention *a, const tamis_gemm_engine *engine, block *b,
                     const float *q, int64_t n_q, int64_t pos, const float *k, const float *v,
                     int64_t first_key, int64_t n_k) {
    engine->abt(n_q, n_k, a->head_k, a->scale, q, a->n_head * q_step(a), k,
                a->n_head_kv * a->head_k, b->scores, BLOCK_K, 0);
    for (int64_t i = 0; i < n_q; i++) {
        int64_t end = max_i64(0, min_i64(n_k, pos + i - first_key + 1));
        int64_t first = a->window ? pos + i - a->window + 1 - first_key : 0;
        first = min_i64(max_i64(0, first), end);
        double sum;
        float before = b->maximum[i];
        float m = soften(b->scores + i * BLOCK_K, n_k, first, end, before, &sum);
        if (m > before && b->denominator[i] > 0.0) {
            float shrink = tamis_exp(before - m);
            b->denominator[i] *= (double)shrink;
            for (int64_t d = 0; d < a->head_v; d++)
                b->sums[i * a->head_v + d] *= shrink;
        }
        b->maximum[i] = m;
        b->denominator[i] += sum;
    }
    engine->ab(n_q, a->head_v, n_k, b->scores, BLOCK_K, v, a->n_head_kv * a->head_v, b->sums,
               a->head_v);
}

/* Query block i_block of one head of one sequence. */
static void attend(const tamis_attention *a, const tamis_gemm_engine *engine, int64_t i_seq,
                   int64_t head, int64_t i_block, float *scratch) {
    int64_t first = i_block * BLOCK_Q, n_q = min_i64(BLOCK_Q, a->n_queries - first);
    int64_t head_kv = head / (a->n_head / a->n_head_kv);
    int64_t row = i_seq * a->n_queries + first, key_row = i_seq * a->n_keys_stride;
    int64_t pos = a->first_pos + first, n_keys = pos + n_q;
    const float *q = a->q + (row * a->n_head + head) * q_step(a);
    const float *k = a->k + (key_row * a->n_head_kv + head_kv) * a->head_k;
    const float *v = a->v + (key_row * a->n_head_kv + head_kv) * a->head_v;
    block b = {.scores = scratch, .sums = scratch + BLOCK_Q * BLOCK_K};
    for (int64_t i = 0; i < n_q; i++) { /* a sink is a key of value 0 before all others */
        b.maximum[i] = a->sinks ? a->sinks[head] : -3.0e38f;
        b.denominator[i] = a->sinks ? 1.0 : 0.0;
    }
    for (int64_t i = 0; i < n_q * a->head_v; i++)
        b.sums[i] = 0.0f;
    int64_t first_seen = a->window ? max_i64(0, pos - a->window + 1) : 0;
    for (int64_t key = first_seen / BLOCK_K * BLOCK_K; key < n_keys; key += BLOCK_K)
        add_keys(a, engine, &b, q, n_q, pos, k + key * a->n_head_kv * a->head_k,
                 v + key * a->n_head_kv * a->head_v, key, min_i64(BLOCK_K, n_keys - key));
    for (int64_t i = 0; i < n_q; i++) {
        float *out = a->out + ((row + i) * a->n_head + head) * a->head_v;
        float inverse = (float)(1.0 / b.denominator[i]);
        for (int64_t d = 0; d < a->head_v; d++)
            out[d] = b.sums[i * a->head_v + d] * inverse;
    }
}

typedef struct job {
    const tamis_attention *a;
    const tamis_gemm_engine *engine;
    float *scratch;
    int64_t n_blocks;
} job;

static void run_block(void *ctx, int64_t i_item, int i_worker) {
    const job *j = ctx;
    if (tamis_interrupted()) return; /* the caller polls too and drops the result */
    int64_t i_block = i_item % j->n_blocks, i_head = i_item / j->n_blocks;
    attend(j->a, j->engine, i_head / j->a->n_head, i_head % j->a->n_head, i_block,
           j->scratch + tamis_attention_scratch(j->a, i_worker));
}

void tamis_attention_run(const tamis_attention *a, const tamis_gemm *gemm, tamis_pool *pool,
                         float *scratch) {
    job j = {.a = a,
             .engine = tamis_gemm_get_engine(gemm),
             .scratch = scratch,
             .n_blocks = (a->n_queries + BLOCK_Q - 1) / BLOCK_Q};
    tamis_pool_run(pool, a->n_seqs * a->n_head * j.n_blocks, run_block, &j);
}
