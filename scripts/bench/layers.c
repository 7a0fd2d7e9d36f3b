/* layers.c - where the time of a pass goes, layer by layer: a delta net beside attention, and the
 * experts beside their matrix products alone. An observer takes the time, so what is measured is
 * the pass as it is: reading and decoding of weights included. All that is compared alternates
 * within a run.
 * Bound: compute; the products alone are it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/options.h"
#include "base/threads.h"
#include "formats/formats.h"
#include "model/gemm.h"
#include "model/pass.h"

enum { LAYERS_MAX = 64, PRODUCTS_MAX = 4096, RUNS_MAX = 100 };

enum { WALL, PROCESSORS, N_CLOCKS };

enum kind { ATTENTION, DELTA_NET, EXPERTS, PRODUCTS, N_KINDS };

/* Products that had one input. */
struct product {
    int64_t n_rows, n_in, n_out;
};

typedef struct bench {
    const char *model_path;
    int64_t n_tokens, n_ctx, n_runs;
    tamis_model *model;
    tamis_pool *pool;
    tamis_gemm *gemm;
    int32_t *tokens;
    double seconds[N_CLOCKS][N_KINDS][RUNS_MAX]; /* of one layer */
    /* the run in progress */
    double layer_start[N_CLOCKS], experts_start[N_CLOCKS];
    bool is_in_experts;
    double sums[N_CLOCKS][N_KINDS];
    int64_t n_seen[N_KINDS];
    enum kind mixer;
    bool is_first; /* products are those of the first layer */
    struct product products[PRODUCTS_MAX];
    int64_t n_products;
} bench;

/* Both clocks: the wall's, and that of the processors, which other programs slow less. */
static void now(double t[N_CLOCKS]) {
    const clockid_t clocks[N_CLOCKS] = {CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID};
    for (int i = 0; i < N_CLOCKS; i++) {
        struct timespec at;
        clock_gettime(clocks[i], &at);
        t[i] = (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
    }
}

static int64_t rows_of(const tamis_model *m, const char *name) {
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(tamis_model_gguf(m), name);
    return t ? (int64_t)t->ne[1] : 0;
}

static tamis_status on_product(void *ctx, const tamis_product *p, tamis_error *err) {
    bench *b = ctx;
    bool is_ffn = strstr(p->names[0], ".ffn_") != NULL;
    if (strstr(p->names[0], ".ssm_")) b->mixer = DELTA_NET;
    if (is_ffn && !b->is_in_experts) now(b->experts_start);
    b->is_in_experts |= is_ffn;
    for (int i = 0; is_ffn && b->is_first && i < p->n_names; i++) {
        if (b->n_products == PRODUCTS_MAX)
            return tamis_fail(err, TAMIS_BAD_USAGE,
                              "more than %d products in a layer; use fewer "
                              "tokens or experts",
                              PRODUCTS_MAX);
        b->products[b->n_products++] =
            (struct product){p->n_tokens, p->d_in, rows_of(b->model, p->names[i])};
    }
    return TAMIS_OK;
}

static void count(bench *b, enum kind kind, const double from[N_CLOCKS],
                  const double to[N_CLOCKS]) {
    for (int i = 0; i < N_CLOCKS; i++)
        b->sums[i][kind] += to[i] - from[i];
    b->n_seen[kind]++;
}

/* Heard once per tile; the first tile's call ends the layer. */
static tamis_status on_layer(void *ctx, int64_t layer, int64_t first, int64_t n_tokens,
                             const float *h, tamis_error *err) {
    (void)layer, (void)n_tokens, (void)h, (void)err;
    bench *b = ctx;
    double end[N_CLOCKS];
    now(end);
    if (first == 0) {
        count(b, b->mixer, b->layer_start, b->experts_start);
        count(b, EXPERTS, b->experts_start, end);
        b->mixer = ATTENTION;
        b->is_in_experts = b->is_first = false;
    }
    now(b->layer_start);
    return TAMIS_OK;
}

/* The products of a layer's feed-forward part and nothing else. As in a model each has weights and
 * inputs of its own, which no earlier one left in a cache. */
static tamis_status run_products(bench *b, tamis_error *err) {
    enum { POOL_FLOATS = 1 << 26 }; /* 256 MiB of weights, a quarter of that of inputs */
    int64_t n_w = POOL_FLOATS, n_x = POOL_FLOATS / 4, n_y = 0, at_w = 0, at_x = 0;
    for (int64_t i = 0; i < b->n_products; i++) {
        const struct product *p = &b->products[i];
        if (p->n_rows * p->n_in > n_x) n_x = p->n_rows * p->n_in;
        if (p->n_out * p->n_in > n_w) n_w = p->n_out * p->n_in;
        if (p->n_rows * p->n_out > n_y) n_y = p->n_rows * p->n_out;
    }
    float *w = tamis_alloc_array((uint64_t)(n_w + n_x + n_y), sizeof *w, err);
    if (!w) return TAMIS_NO_RESOURCE;
    float *x = w + n_w, *y = x + n_x;
    for (int64_t i = 0; i < n_w + n_x + n_y; i++)
        w[i] = (float)(i % 17) * 0.1f - 0.8f;
    double start[N_CLOCKS], end[N_CLOCKS];
    now(start);
    for (int64_t i = 0; i < b->n_products && !tamis_interrupted(); i++) {
        const struct product *p = &b->products[i];
        if (at_w + p->n_out * p->n_in > n_w) at_w = 0;
        if (at_x + p->n_rows * p->n_in > n_x) at_x = 0;
        tamis_gemm_xwt(b->gemm, b->pool, p->n_rows, p->n_out, p->n_in, x + at_x, p->n_in, w + at_w,
                       y, p->n_out, 0);
        at_w += p->n_out * p->n_in;
        at_x += p->n_rows * p->n_in;
    }
    now(end);
    count(b, PRODUCTS, start, end);
    free(w);
    return tamis_interrupted() ? tamis_fail_interrupted(err) : TAMIS_OK;
}

static tamis_status run_once(bench *b, int64_t i_run, tamis_error *err) {
    const tamis_observer observer = {.ctx = b, .on_product = on_product, .on_layer = on_layer};
    const tamis_pass_options options = {.pool = b->pool};
    memset(b->sums, 0, sizeof b->sums);
    memset(b->n_seen, 0, sizeof b->n_seen);
    b->mixer = ATTENTION;
    b->is_in_experts = false;
    b->is_first = i_run == 0;
    now(b->layer_start);
    tamis_status st =
        tamis_pass_run(b->model, b->tokens, b->n_tokens, b->n_ctx, &options, &observer, 1, err);
    if (!st) st = run_products(b, err);
    for (int i = 0; i < N_CLOCKS * N_KINDS; i++) {
        int clock = i / N_KINDS, kind = i % N_KINDS;
        int64_t n = b->n_seen[kind];
        b->seconds[clock][kind][i_run] = n ? b->sums[clock][kind] / (double)n : 0.0;
    }
    return st;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(const double *values, int64_t n) {
    double sorted[RUNS_MAX];
    memcpy(sorted, values, (size_t)n * sizeof *values);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

/* Median of the quotients run by run: other programs slow both. */
static double ratio(const bench *b, int clock, enum kind above, enum kind below) {
    double quotients[RUNS_MAX];
    for (int64_t i = 0; i < b->n_runs; i++)
        quotients[i] = b->seconds[clock][above][i] / b->seconds[clock][below][i];
    return median(quotients, b->n_runs);
}

static void print_row(const bench *b, const char *what, enum kind kind, const char *beside,
                      enum kind other) {
    printf("%-18s", what);
    for (int i = 0; i < N_CLOCKS; i++)
        printf(" %9.1f %9.1f %6.2f", 1e3 * median(b->seconds[i][kind], b->n_runs),
               1e3 * median(b->seconds[i][other], b->n_runs), ratio(b, i, kind, other));
    printf("  %s\n", beside);
}

static tamis_status measure(bench *b, int n_threads, tamis_error *err) {
    tamis_status st = tamis_model_open(b->model_path, NULL, &b->model, err);
    if (!st) st = tamis_pool_new(n_threads, &b->pool, err);
    if (!st) st = tamis_gemm_new(NULL, &b->gemm, err);
    if (st) return st;
    b->tokens = tamis_alloc_array((uint64_t)b->n_tokens, sizeof *b->tokens, err);
    if (!b->tokens) return TAMIS_NO_RESOURCE;
    int64_t n_vocab = tamis_model_n_vocab(b->model);
    for (int64_t i = 0; i < b->n_tokens; i++)
        b->tokens[i] = (int32_t)((i * 7919 + i / 13) % n_vocab);
    for (int64_t i = 0; i < b->n_runs && !st; i++)
        st = run_once(b, i, err);
    if (st) return st;
    printf("%lld tokens in sequences of %lld, width %lld, %d threads; medians of %lld runs\n",
           (long long)b->n_tokens, (long long)b->n_ctx, (long long)tamis_model_n_embd(b->model),
           tamis_pool_size(b->pool), (long long)b->n_runs);
    printf("%-18s %26s %26s\n", "ms of a layer", "wall clock", "processors");
    printf("%-18s %9s %9s %6s %9s %9s %6s\n", "", "this", "other", "ratio", "this", "other",
           "ratio");
    if (b->n_seen[DELTA_NET] && b->n_seen[ATTENTION])
        print_row(b, "delta net", DELTA_NET, "to attention", ATTENTION);
    print_row(b, "feed-forward part", EXPERTS, "to its products alone", PRODUCTS);
    return TAMIS_OK;
}

int main(int argc, char **argv) {
    static bench b = {.n_tokens = 2048, .n_ctx = 2048, .n_runs = 7};
    tamis_common common = {0};
    const tamis_option options[] = {
        {0, "tokens", TAMIS_OPTION_INT, &b.n_tokens, "N", "tokens of a run (default 2048)", 1,
         1 << 20},
        {'c', "ctx", TAMIS_OPTION_INT, &b.n_ctx, "N", "tokens of a sequence (default 2048)", 1,
         1 << 20},
        {0, "runs", TAMIS_OPTION_INT, &b.n_runs, "N", "runs (default 7)", 1, RUNS_MAX},
        TAMIS_COMMON_OPTIONS(&common),
    };
    const tamis_command command = {
        .name = "layers",
        .summary = "time the layers of a model: delta nets, attention, experts",
        .usage = "[options] MODEL",
        .options = options,
        .n_options = sizeof options / sizeof *options,
    };
    tamis_texts positional = {0};
    tamis_error err = {0};
    tamis_formats_init();
    tamis_interrupt_install();
    tamis_status st = tamis_options_parse(&command, argc, argv, &positional, &err);
    bool is_handled = tamis_common_handled(&common, &command);
    if (!is_handled && !st && positional.n_items != 1)
        st = tamis_fail(&err, TAMIS_BAD_USAGE, "one model is needed");
    if (!is_handled && !st) {
        b.model_path = positional.items[0];
        st = measure(&b, (int)common.n_threads, &err);
    }
    free(b.tokens);
    tamis_gemm_free(b.gemm);
    tamis_pool_free(b.pool);
    tamis_model_close(b.model);
    tamis_texts_release(&positional);
    return st ? tamis_report("layers", &err) : 0;
}
