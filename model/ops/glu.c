/* glu.c - see glu.h. The activations exist for several CPU levels with the same bits
 * (glu_kernels.h); the level is that of the formats' kernels. Bound: memory. */
#include "model/ops/glu.h"

#include <string.h>

#include "formats/formats.h"
#include "model/ops/glu_kernels.h"

enum { ROWS_PER_ITEM = 8 };

typedef struct job {
    const float *gate, *up;
    int64_t gate_stride, up_stride;
    float *y;
    int64_t n_rows, n;
    tamis_glu_fn *row;
} job;

static const tamis_glu_kernels kernels_plain = {"plain", TAMIS_GLU_ROWS};

static const tamis_glu_kernels *kernels(void) {
#if defined(__x86_64__)
    const tamis_glu_kernels *const levels[] = {&tamis_glu_kernels_avx2, &tamis_glu_kernels_avx512};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(levels[i]->cpu, tamis_formats_cpu()) == 0) return levels[i];
#endif
    return &kernels_plain;
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
    job j = {.gate = gate,
             .up = up,
             .gate_stride = gate_stride,
             .up_stride = up_stride,
             .y = y,
             .n_rows = n_rows,
             .n = n,
             .row = kernels()->rows[activation]};
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
        float factor = tamis_sigmoid(j->gates[r]);
        for (int64_t i = 0; i < j->n; i++)
            j->x[r * j->n + i] *= factor;
    }
}

void tamis_sigmoid_gate_rows(tamis_pool *pool, const float *gates, int64_t n_rows, int64_t n,
                             float *x) {
    gate_job j = {.gates = gates, .x = x, .n_rows = n_rows, .n = n};
    tamis_pool_run(pool, (n_rows + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, gate_rows, &j);
}
