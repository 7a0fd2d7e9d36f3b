/* residual.c - see residual.h. Bound: memory. */
#include "model/ops/residual.h"

enum { ROWS_PER_ITEM = 8 };

typedef struct job {
    const float *a;
    const int32_t *rows;
    const float *weights;
    float *out;
    int64_t n_rows, n;
    void (*row)(const struct job *j, int64_t r);
} job;

static void run_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const job *j = ctx;
    int64_t end = (i_item + 1) * ROWS_PER_ITEM;
    if (end > j->n_rows) end = j->n_rows;
    for (int64_t r = i_item * ROWS_PER_ITEM; r < end; r++)
        j->row(j, r);
}

static void run(tamis_pool *pool, job *j) {
    tamis_pool_run(pool, (j->n_rows + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, run_rows, j);
}

static void add_row(const job *j, int64_t r) {
    const float *restrict y = j->a + r * j->n;
    float *restrict x = j->out + r * j->n;
    for (int64_t i = 0; i < j->n; i++)
        x[i] += y[i];
}

void tamis_add_rows(tamis_pool *pool, const float *y, int64_t n_rows, int64_t n, float *x) {
    job j = {.a = y, .out = x, .n_rows = n_rows, .n = n, .row = add_row};
    run(pool, &j);
}

static void scale_row(const job *j, int64_t r) {
    float *x = j->out + r * j->n, factor = *j->weights;
    for (int64_t i = 0; i < j->n; i++)
        x[i] *= factor;
}

void tamis_scale_rows(tamis_pool *pool, float factor, int64_t n_rows, int64_t n, float *x) {
    job j = {.weights = &factor, .out = x, .n_rows = n_rows, .n = n, .row = scale_row};
    run(pool, &j);
}

static void scatter_row(const job *j, int64_t r) {
    const float *restrict y = j->a + r * j->n;
    float *restrict x = j->out + j->rows[r] * j->n;
    float weight = j->weights[r];
    for (int64_t i = 0; i < j->n; i++)
        x[i] += weight * y[i];
}

void tamis_scatter_rows(tamis_pool *pool, const float *y, const int32_t *rows, const float *weights,
                        int64_t n_rows, int64_t n, float *x) {
    job j = {.a = y,
             .rows = rows,
             .weights = weights,
             .out = x,
             .n_rows = n_rows,
             .n = n,
             .row = scatter_row};
    run(pool, &j);
}
