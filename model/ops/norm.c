/* norm.c - see norm.h. Bound: memory. */
#include "model/ops/norm.h"

#include <math.h>

enum { LANES = 8, ROWS_PER_ITEM = 16 };

/* Sum of squares in f64 over 8 interleaved lanes, added up in lane order. */
static double sum_of_squares(const float *x, int64_t n) {
    double lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; i < n; i++, j++)
        lanes[j] += (double)x[i] * (double)x[i];
    double sum = 0.0;
    for (int j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

void tamis_rms_norm(const float *x, const float *w, int64_t n, float eps, float *y) {
    float scale = (float)(1.0 / sqrt(sum_of_squares(x, n) / (double)n + (double)eps));
    if (w)
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * scale * w[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * scale;
}

void tamis_l2_norm(const float *x, int64_t n, float eps, float scale, float *y) {
    double size = sqrt(sum_of_squares(x, n));
    float factor = (float)((double)scale / (size > (double)eps ? size : (double)eps));
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

typedef struct job {
    const float *x; /* [..][n] */
    const int32_t *rows;
    const float *w; /* [n] or NULL */
    float *y;       /* [n_rows][n] */
    int64_t n_rows, n;
    float eps;
} job;

static void run_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const job *j = ctx;
    int64_t end = (i_item + 1) * ROWS_PER_ITEM;
    if (end > j->n_rows) end = j->n_rows;
    for (int64_t r = i_item * ROWS_PER_ITEM; r < end; r++)
        tamis_rms_norm(j->x + (j->rows ? j->rows[r] : r) * j->n, j->w, j->n, j->eps,
                       j->y + r * j->n);
}

void tamis_rms_norm_rows(tamis_pool *pool, const float *x, const int32_t *rows, const float *w,
                         int64_t n_rows, int64_t n, float eps, float *y) {
    job j = {.x = x, .rows = rows, .w = w, .y = y, .n_rows = n_rows, .n = n, .eps = eps};
    tamis_pool_run(pool, (n_rows + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, run_rows, &j);
}
