/* glu.c - see glu.h. Bound: memory. */
#include "model/ops/glu.h"

#include "model/ops/exp.h"

enum { ROWS_PER_ITEM = 8 };

typedef struct job {
    const float *gate, *up;
    int64_t gate_stride, up_stride;
    float *y;
    int64_t n_rows, n;
    void (*row)(const float *gate, const float *restrict up, int64_t n, float *y);
} job;

static void swiglu_row(const float *gate, const float *restrict up, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i++)
        y[i] = tamis_silu(gate[i]) * up[i];
}

/* x (1 + tanh(t)) / 2 is x / (1 + e^-2t), t = sqrt(2 / pi) (x + 0.044715 x^3). */
static void geglu_row(const float *gate, const float *restrict up, int64_t n, float *y) {
    const float two_root = 1.5957691216f, cubic = 0.044715f;
    for (int64_t i = 0; i < n; i++) {
        float x = gate[i], t = two_root * x * (1.0f + cubic * x * x);
        y[i] = x / (1.0f + tamis_exp(-t)) * up[i];
    }
}

static void swiglu_oai_row(const float *gate, const float *restrict up, int64_t n, float *y) {
    const float alpha = 1.702f, limit = 7.0f;
    for (int64_t i = 0; i < n; i++) {
        float g = gate[i] < limit ? gate[i] : limit;
        float u = up[i] < -limit ? -limit : up[i] < limit ? up[i] : limit;
        y[i] = g / (1.0f + tamis_exp(-alpha * g)) * (u + 1.0f);
    }
}

static void run_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const job *j = ctx;
    int64_t end = (i_item + 1) * ROWS_PER_ITEM;
    for (int64_t r = i_item * ROWS_PER_ITEM; r < end && r < j->n_rows; r++)
        j->row(j->gate + r * j->gate_stride, j->up + r * j->up_stride, j->n, j->y + r * j->n);
}

void tamis_glu_rows(tamis_pool *pool, tamis_activation activation, const float *gate,
                    int64_t gate_stride, const float *up, int64_t up_stride, int64_t n_rows,
                    int64_t n, float *y) {
    static void (*const rows[])(const float *, const float *restrict, int64_t, float *) = {
        [TAMIS_SWIGLU] = swiglu_row,
        [TAMIS_GEGLU] = geglu_row,
        [TAMIS_SWIGLU_OAI] = swiglu_oai_row,
    };
    job j = {.gate = gate,
             .up = up,
             .gate_stride = gate_stride,
             .up_stride = up_stride,
             .y = y,
             .n_rows = n_rows,
             .n = n,
             .row = rows[activation]};
    tamis_pool_run(pool, (n_rows + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, run_rows, &j);
}

typedef struct gate_job {
    const float *gates;
    float *x;
    int64_t n_rows, n;
} gate_job;

static void gate_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const gate_job *j = ctx;
    int64_t end = (i_item + 1) * ROWS_PER_ITEM;
    for (int64_t r = i_item * ROWS_PER_ITEM; r < end && r < j->n_rows; r++) {
        float factor = 1.0f / (1.0f + tamis_exp(-j->gates[r]));
        for (int64_t i = 0; i < j->n; i++)
            j->x[r * j->n + i] *= factor;
    }
}

void tamis_sigmoid_gate_rows(tamis_pool *pool, const float *gates, int64_t n_rows, int64_t n,
                             float *x) {
    gate_job j = {.gates = gates, .x = x, .n_rows = n_rows, .n = n};
    tamis_pool_run(pool, (n_rows + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, gate_rows, &j);
}
