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

float tamis_rms_scale(const float *x, int64_t n, float eps) {
    return (float)(1.0 / sqrt(sum_of_squares(x, n) / (double)n + (double)eps));
}

static void scale_row(const float *x, float scale, const float *w, int64_t n, float *y) {
    if (w)
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * scale * w[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * scale;
}

void tamis_rms_norm(const float *x, const float *w, int64_t n, float eps, float *y) {
    scale_row(x, tamis_rms_scale(x, n, eps), w, n, y);
}

void tamis_l2_norm(const float *x, int64_t n, float eps, float scale, float *y) {
    double size = sqrt(sum_of_squares(x, n));
    float factor = (float)((double)scale / (size > (double)eps ? size : (double)eps));
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

typedef struct job {
    const float *x;      /* [..][n] */
    const float *scales; /* of the rows of x, where they are known, or NULL */
    const int32_t *rows;
    const float *w; /* [n] or NULL */
    float *y;       /* [n_rows][n], or [n_rows] scales */
    int64_t n_rows, n;
    float eps;
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

static void norm_row(const job *j, int64_t r) {
    int64_t from = j->rows ? j->rows[r] : r;
    const float *x = j->x + from * j->n;
    float scale = j->scales ? j->scales[from] : tamis_rms_scale(x, j->n, j->eps);
    scale_row(x, scale, j->w, j->n, j->y + r * j->n);
}

static void measure_row(const job *j, int64_t r) {
    j->y[r] = tamis_rms_scale(j->x + r * j->n, j->n, j->eps);
}

void tamis_rms_norm_rows(tamis_pool *pool, const float *x, const int32_t *rows, const float *w,
                         int64_t n_rows, int64_t n, float eps, float *y) {
    job j = {.x = x,
             .rows = rows,
             .w = w,
             .y = y,
             .n_rows = n_rows,
             .n = n,
             .eps = eps,
             .row = norm_row};
    run(pool, &j);
}

void tamis_rms_scales(tamis_pool *pool, const float *x, int64_t n_rows, int64_t n, float eps,
                      float *scales) {
    job j = {.x = x, .y = scales, .n_rows = n_rows, .n = n, .eps = eps, .row = measure_row};
    run(pool, &j);
}

void tamis_rms_norm_scaled_rows(tamis_pool *pool, const float *x, const float *scales,
                                const int32_t *rows, const float *w, int64_t n_rows, int64_t n,
                                float *y) {
    job j = {.x = x,
             .scales = scales,
             .rows = rows,
             .w = w,
             .y = y,
             .n_rows = n_rows,
             .n = n,
             .row = norm_row};
    run(pool, &j);
}
