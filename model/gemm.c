/* gemm.c - matrix products cut into tiles for the pool, and the table of engines.
 * The tile size is a function of the product's sizes alone (kernels give different bits
 * for different tile shapes), so a result is the same for any number of threads.
 * A tile is as large as it can be while there are enough tiles to share out: every
 * tile packs its operands again. Bound: compute. */
#include "model/gemm_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum {
    TILE_ROWS_MAX = 512,
    TILE_ROWS_MIN = 128,
    TILE_OUT_MAX = 512,
    TILE_OUT_MIN = 128,
    ENOUGH_TILES = 8,
};

struct tamis_gemm {
    const tamis_gemm_engine *engine;
};

static const tamis_gemm_engine *const engines[] = {&tamis_gemm_openblas};
enum { N_ENGINES = sizeof engines / sizeof engines[0] };

tamis_status tamis_gemm_new(const char *engine, tamis_gemm **out, tamis_error *err) {
    *out = NULL;
    const tamis_gemm_engine *found = engine ? NULL : engines[0];
    for (int i = 0; engine && i < N_ENGINES; i++)
        if (strcmp(engines[i]->name, engine) == 0) found = engines[i];
    if (!found) {
        char known[256] = "";
        size_t n = 0;
        for (int i = 0; i < N_ENGINES && n + 32 < sizeof known; i++) {
            size_t len = strlen(engines[i]->name);
            if (i) known[n++] = ' ';
            memcpy(known + n, engines[i]->name, len + 1);
            n += len;
        }
        char shown[64];
        return tamis_fail(err, TAMIS_BAD_USAGE, "unknown engine '%s'; there is: %s",
                          tamis_escape(engine, strlen(engine), shown, sizeof shown), known);
    }
    tamis_gemm *gemm = tamis_alloc_array(1, sizeof *gemm, err);
    if (!gemm) return TAMIS_NO_RESOURCE;
    gemm->engine = found;
    found->start();
    *out = gemm;
    return TAMIS_OK;
}

void tamis_gemm_free(tamis_gemm *gemm) {
    free(gemm);
}

const char *tamis_gemm_name(const tamis_gemm *gemm) {
    return gemm->engine->name;
}

const char *tamis_gemm_kernels(const tamis_gemm *gemm) {
    return gemm->engine->kernels();
}

const tamis_gemm_engine *tamis_gemm_get_engine(const tamis_gemm *gemm) {
    return gemm->engine;
}

typedef struct job {
    const tamis_gemm_engine *engine;
    int64_t n_rows, n_out, n_in;
    int64_t tile_rows, tile_out, n_out_tiles;
    const float *x; /* [n_rows][x_stride] */
    int64_t x_stride;
    const float *w; /* [n_out][n_in] */
    float *y;       /* [n_rows][y_stride] */
    int64_t y_stride;
    int accumulate;
} job;

static int64_t n_pieces(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The largest tile that leaves ENOUGH_TILES of them, halving the longer side first. */
static void choose_tile(job *j) {
    int64_t rows = TILE_ROWS_MAX, out = TILE_OUT_MAX;
    while (n_pieces(j->n_rows, rows) * n_pieces(j->n_out, out) < ENOUGH_TILES) {
        int64_t used_rows = min_i64(rows, j->n_rows), used_out = min_i64(out, j->n_out);
        if (used_out >= used_rows && out > TILE_OUT_MIN)
            out /= 2;
        else if (rows > TILE_ROWS_MIN)
            rows /= 2;
        else if (out > TILE_OUT_MIN)
            out /= 2;
        else
            break;
    }
    j->tile_rows = rows;
    j->tile_out = out;
    j->n_out_tiles = n_pieces(j->n_out, out);
}

static void run_tile(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const job *j = ctx;
    if (tamis_interrupted()) return; /* the caller polls too and drops the result */
    int64_t row = i_item / j->n_out_tiles * j->tile_rows;
    int64_t out = i_item % j->n_out_tiles * j->tile_out;
    j->engine->abt(min_i64(j->tile_rows, j->n_rows - row), min_i64(j->tile_out, j->n_out - out),
                   j->n_in, 1.0f, j->x + row * j->x_stride, j->x_stride, j->w + out * j->n_in,
                   j->n_in, j->y + row * j->y_stride + out, j->y_stride, j->accumulate);
}

void tamis_gemm_xwt(tamis_gemm *gemm, tamis_pool *pool, int64_t n_rows, int64_t n_out, int64_t n_in,
                    const float *x, int64_t x_stride, const float *w, float *y, int64_t y_stride,
                    int accumulate) {
    if (n_rows <= 0 || n_out <= 0) return;
    job j = {.engine = gemm->engine,
             .n_rows = n_rows,
             .n_out = n_out,
             .n_in = n_in,
             .x = x,
             .x_stride = x_stride,
             .w = w,
             .y = y,
             .y_stride = y_stride,
             .accumulate = accumulate};
    choose_tile(&j);
    tamis_pool_run(pool, n_pieces(n_rows, j.tile_rows) * j.n_out_tiles, run_tile, &j);
}
