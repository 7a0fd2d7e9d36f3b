/* delta_net.c - see delta_net.h. In chunks of tokens: what a chunk reads of the state it came with,
 * what its tokens read of each other (triangular matrices of products of keys, weighted by the
 * decay between two tokens), and one update of the state, all as matrix products. All decays are
 * e^x with x <= 0, so nothing overflows; their logarithms add up in f64, the state is f32.
 * Value heads that share a key head lie side by side, so that the products with its keys and
 * queries are made once for all of them.
 * Formulas: reference/architectures.md section 7. Bound: compute, small matrix products. */
#include "model/ops/delta_net.h"

#include <math.h>
#include <string.h>

#include "model/ops/exp.h"
#include "model/ops/norm.h"

/* BLOCK: rows that are solved one by one between two products. */
enum { CHUNK = 64, BLOCK = 16 };

/* Less than this share is nothing: it cannot be seen in f32 sums, and tiny factors make numbers
 * that processors are slow with. 2^-86 = e^-59.6, as a logarithm and as the bits of a float. */
static const double log_decay_min = -59.6;
static const int32_t decay_min_bits = 0x14800000;

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* What a worker holds for one sequence and key head; R value heads read that key head. */
typedef struct work {
    const tamis_delta_net *d;
    const tamis_gemm_engine *engine;
    int64_t seq, key_head, n_shared; /* n_shared: R */
    float *state;                    /* [S][R * S] */
    float *kq;                       /* [2 * n][S] keys of the chunk, then queries */
    float *v;                        /* [n][R * S] values, then corrections */
    float *read;                     /* [2 * n][R * S] what keys and queries read of the state */
    float *products;                 /* [2 * n][CHUNK] of keys and of queries with keys */
    float *between;                  /* [n][CHUNK] influence of a token on a later correction */
    float *seen;                     /* [n][CHUNK] influence of a correction on an output */
} work;

/* Of one value head in one chunk. */
typedef struct head_decay {
    double sum[CHUNK]; /* logarithms, added up from the chunk's first token */
    float beta[CHUNK];
    float from_start[CHUNK]; /* e^sum */
} head_decay;

int64_t tamis_delta_net_channels(const tamis_delta_net *d) {
    return (2 * d->n_key_heads + d->n_value_heads) * d->head_size;
}

int64_t tamis_delta_net_state(const tamis_delta_net *d) {
    return d->n_seqs * d->n_value_heads * d->head_size * d->head_size;
}

int64_t tamis_delta_net_tail(const tamis_delta_net *d) {
    return d->n_seqs * (d->conv_kernel - 1) * tamis_delta_net_channels(d);
}

static int64_t shared_heads(const tamis_delta_net *d) {
    return d->n_value_heads / d->n_key_heads;
}

int64_t tamis_delta_net_scratch(const tamis_delta_net *d, int n_workers) {
    int64_t wide = shared_heads(d) * d->head_size;
    return (int64_t)n_workers *
           (d->head_size * wide + 2 * CHUNK * d->head_size + 3 * CHUNK * wide + 4 * CHUNK * CHUNK);
}

static void take_scratch(work *w, float *scratch) {
    int64_t size = w->d->head_size, wide = w->n_shared * size;
    w->state = scratch;
    w->kq = w->state + size * wide;
    w->v = w->kq + 2 * CHUNK * size;
    w->read = w->v + CHUNK * wide;
    w->products = w->read + 2 * CHUNK * wide;
    w->between = w->products + 2 * CHUNK * CHUNK;
    w->seen = w->between + CHUNK * CHUNK;
}

/* The value head that is the j-th to read a key head. */
static int64_t value_head(const work *w, int64_t j) {
    return w->d->is_grouped ? w->key_head * w->n_shared + j : j * w->d->n_key_heads + w->key_head;
}

/* Row t of qkv of the sequence, before its first token that of the piece before; NULL for zeros. */
static const float *input_row(const work *w, int64_t t) {
    const tamis_delta_net *d = w->d;
    int64_t n_channels = tamis_delta_net_channels(d), n_tail = d->conv_kernel - 1;
    if (t >= 0) return d->qkv + (w->seq * d->n_tokens + t) * n_channels;
    return d->is_start ? NULL : d->tail + (w->seq * n_tail + n_tail + t) * n_channels;
}

/* y [n][stride] = silu(convolution) of the S channels from `channel` on, tokens first ... */
static void convolve(const work *w, int64_t channel, int64_t first, int64_t n, float *y,
                     int64_t stride) {
    const tamis_delta_net *d = w->d;
    int64_t n_channels = tamis_delta_net_channels(d), size = d->head_size;
    for (int64_t t = 0; t < n; t++) {
        float *restrict to = y + t * stride;
        for (int64_t c = 0; c < size; c++)
            to[c] = 0.0f;
        for (int64_t j = 0; j < d->conv_kernel; j++) {
            const float *row = input_row(w, first + t - d->conv_kernel + 1 + j);
            if (!row) continue;
            const float *restrict from = row + channel;
            const float *restrict tap = d->conv + j * n_channels + channel;
            for (int64_t c = 0; c < size; c++)
                to[c] += tap[c] * from[c];
        }
        for (int64_t c = 0; c < size; c++)
            to[c] = tamis_silu(to[c]);
    }
}

/* Keys, queries (with the scale of the outputs) and values of a chunk. */
static void make_inputs(const work *w, int64_t first, int64_t n) {
    const tamis_delta_net *d = w->d;
    int64_t size = d->head_size, q = w->key_head * size, k = d->n_key_heads * size + q;
    float *queries = w->kq + n * size, scale = (float)(1.0 / sqrt((double)size));
    convolve(w, k, first, n, w->kq, size);
    convolve(w, q, first, n, queries, size);
    for (int64_t t = 0; t < n; t++) {
        tamis_l2_norm(w->kq + t * size, size, d->norm_eps, 1.0f, w->kq + t * size);
        tamis_l2_norm(queries + t * size, size, d->norm_eps, scale, queries + t * size);
    }
    for (int64_t j = 0; j < w->n_shared; j++)
        convolve(w, (2 * d->n_key_heads + value_head(w, j)) * size, first, n, w->v + j * size,
                 w->n_shared * size);
}

static float decay_of(double log_decay) {
    return log_decay < log_decay_min ? 0.0f : (float)exp(log_decay);
}

static void make_decays(const work *w, int64_t head, int64_t first, int64_t n, head_decay *h) {
    const tamis_delta_net *d = w->d;
    double sum = 0.0;
    for (int64_t t = 0; t < n; t++) {
        int64_t at = (w->seq * d->n_tokens + first + t) * d->n_value_heads + head;
        double x = (double)d->alpha[at] + (double)d->dt_bias[head];
        double log_decay = (double)d->decay[head] * (x > 20.0 ? x : log1p(exp(x)));
        /* held where nothing is left: later sums keep their low digits */
        sum += log_decay < 16.0 * log_decay_min ? 16.0 * log_decay_min : log_decay;
        h->sum[t] = sum;
        h->from_start[t] = decay_of(sum);
        h->beta[t] = (float)(1.0 / (1.0 + exp(-(double)d->beta[at])));
    }
}

/* decays [n] = e^(sum - sums[i]), 0 below the smallest. Compared as bits: see tamis_exp(). */
static void decays_to(double sum, const double *sums, int64_t n, float *decays) {
    for (int64_t i = 0; i < n; i++)
        decays[i] = (float)(sum - sums[i]);
    for (int64_t i = 0; i < n; i++) {
        float e = tamis_exp(decays[i]);
        int32_t bits;
        memcpy(&bits, &e, sizeof bits);
        bits = bits < decay_min_bits ? 0 : bits;
        memcpy(&decays[i], &bits, sizeof bits);
    }
}

/* The two triangular matrices of a value head. */
static void make_triangles(const work *w, int64_t n, const head_decay *h) {
    const float *of_queries = w->products + n * CHUNK;
    for (int64_t t = 0; t < n; t++) {
        const float *restrict kk = w->products + t * CHUNK, *restrict qk = of_queries + t * CHUNK;
        float *restrict between = w->between + t * CHUNK, *restrict seen = w->seen + t * CHUNK;
        float decays[CHUNK], beta = h->beta[t];
        decays_to(h->sum[t], h->sum, t + 1, decays);
        for (int64_t s = 0; s <= t; s++) {
            between[s] = -beta * kk[s] * decays[s];
            seen[s] = qk[s] * decays[s];
        }
        for (int64_t s = t + 1; s < n; s++)
            seen[s] = 0.0f;
    }
}

/* v <- v + between * v, row t from the finished rows before it; v [n][size] at a stride. */
static void solve(const work *w, int64_t n, float *v, int64_t stride) {
    int64_t size = w->d->head_size;
    for (int64_t first = 0; first < n; first += BLOCK) {
        int64_t end = min_i64(first + BLOCK, n);
        if (first > 0)
            w->engine->ab(end - first, size, first, w->between + first * CHUNK, CHUNK, v, stride,
                          v + first * stride, stride);
        for (int64_t t = first + 1; t < end; t++) {
            float *restrict to = v + t * stride;
            for (int64_t s = first; s < t; s++) {
                const float *restrict from = v + s * stride;
                float factor = w->between[t * CHUNK + s];
                for (int64_t c = 0; c < size; c++)
                    to[c] += factor * from[c];
            }
        }
    }
}

/* The gated norm of the outputs of a chunk, o [n][size] at a stride. */
static void finish_outputs(const work *w, int64_t head, int64_t first, int64_t n, float *o,
                           int64_t stride) {
    const tamis_delta_net *d = w->d;
    int64_t size = d->head_size;
    for (int64_t t = 0; t < n; t++) {
        int64_t at = (w->seq * d->n_tokens + first + t) * d->n_value_heads + head;
        const float *restrict z = d->z + at * size;
        float *restrict y = d->out + at * size;
        tamis_rms_norm(o + t * stride, d->norm, size, d->norm_eps, y);
        for (int64_t c = 0; c < size; c++)
            y[c] *= tamis_silu(z[c]);
    }
}

/* Corrections and outputs of value head j in a chunk, its share of the state decayed to the end. */
static void run_value_head(const work *w, int64_t j, int64_t first, int64_t n) {
    int64_t size = w->d->head_size, wide = w->n_shared * size, head = value_head(w, j);
    float *v = w->v + j * size, *read = w->read + j * size, *o = read + n * wide;
    head_decay h;
    make_decays(w, head, first, n, &h);
    make_triangles(w, n, &h);
    for (int64_t t = 0; t < n; t++)
        for (int64_t c = 0; c < size; c++) {
            v[t * wide + c] = h.beta[t] * (v[t * wide + c] - h.from_start[t] * read[t * wide + c]);
            o[t * wide + c] *= h.from_start[t];
        }
    solve(w, n, v, wide);
    w->engine->ab(n, size, n, w->seen, CHUNK, v, wide, o, wide);
    finish_outputs(w, head, first, n, o, wide);
    for (int64_t t = 0; t < n; t++) {
        float left = decay_of(h.sum[n - 1] - h.sum[t]);
        for (int64_t c = 0; c < size; c++)
            v[t * wide + c] *= left;
    }
    for (int64_t i = 0; i < size; i++)
        for (int64_t c = 0; c < size; c++)
            w->state[i * wide + j * size + c] *= h.from_start[n - 1];
}

static void run_chunk(const work *w, int64_t first, int64_t n) {
    int64_t size = w->d->head_size, wide = w->n_shared * size;
    make_inputs(w, first, n);
    w->engine->abt(2 * n, n, size, 1.0f, w->kq, size, w->kq, size, w->products, CHUNK, 0);
    memset(w->read, 0, (size_t)(2 * n * wide) * sizeof *w->read);
    if (first > 0 || !w->d->is_start)
        w->engine->ab(2 * n, wide, size, w->kq, size, w->state, wide, w->read, wide);
    for (int64_t j = 0; j < w->n_shared; j++)
        run_value_head(w, j, first, n);
    w->engine->atb(size, wide, n, w->kq, size, w->v, wide, w->state, wide);
}

/* Keep S channels of the last rows for the next piece. Ascending: a piece may be shorter than the
 * tail, which moves up then. */
static void keep_tail(const work *w, int64_t channel) {
    const tamis_delta_net *d = w->d;
    int64_t n_channels = tamis_delta_net_channels(d), n_tail = d->conv_kernel - 1;
    for (int64_t i = 0; i < n_tail; i++) {
        const float *row = input_row(w, d->n_tokens - n_tail + i);
        float *to = d->tail + (w->seq * n_tail + i) * n_channels + channel;
        size_t n_bytes = (size_t)d->head_size * sizeof *to;
        if (row)
            memmove(to, row + channel, n_bytes);
        else
            memset(to, 0, n_bytes);
    }
}

static void keep_tails(const work *w) {
    int64_t size = w->d->head_size, n_keys = w->d->n_key_heads;
    keep_tail(w, w->key_head * size);
    keep_tail(w, (n_keys + w->key_head) * size);
    for (int64_t j = 0; j < w->n_shared; j++)
        keep_tail(w, (2 * n_keys + value_head(w, j)) * size);
}

typedef struct job {
    const tamis_delta_net *d;
    const tamis_gemm_engine *engine;
    float *scratch;
} job;

/* One sequence and key head, chunk after chunk. */
static void run_key_head(void *ctx, int64_t i_item, int i_worker) {
    const job *j = ctx;
    const tamis_delta_net *d = j->d;
    work w = {.d = d,
              .engine = j->engine,
              .seq = i_item / d->n_key_heads,
              .key_head = i_item % d->n_key_heads,
              .n_shared = shared_heads(d)};
    int64_t n_state = w.n_shared * d->head_size * d->head_size;
    take_scratch(&w, j->scratch + tamis_delta_net_scratch(d, i_worker));
    if (d->state) w.state = d->state + i_item * n_state;
    if (d->is_start) memset(w.state, 0, (size_t)n_state * sizeof *w.state);
    for (int64_t first = 0; first < d->n_tokens; first += CHUNK) {
        if (tamis_interrupted()) return;
        run_chunk(&w, first, min_i64(CHUNK, d->n_tokens - first));
    }
    if (d->tail) keep_tails(&w);
}

void tamis_delta_net_run(const tamis_delta_net *d, const tamis_gemm *gemm, tamis_pool *pool,
                         float *scratch) {
    job j = {.d = d, .engine = tamis_gemm_get_engine(gemm), .scratch = scratch};
    tamis_pool_run(pool, d->n_seqs * d->n_key_heads, run_key_head, &j);
}
