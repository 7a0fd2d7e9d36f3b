/* llama_base_write.c - writing; see llama_base.h. A block of rows of logits is made tile by tile of
 * the vocabulary, then each row is turned into 16-bit values in place and written.
 * Encoding: reference/files.md section B.3, in f32 as there. Bound: the matrix product, the disk.
 */
#include "kld/llama_base.h"

#include <math.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/threads.h"
#include "kld/logits.h"
#include "model/logit_sums.h"
#include "model/perplexity.h"
#include "model/store.h"

enum { ROW_HEAD_BYTES = 8 };
static const float RANGE = 16.0f;

typedef struct writer {
    tamis_kld_logits *logits;
    const tamis_kld_machine *machine;
    const int32_t *targets; /* [n_rows] */
    int64_t n_vocab;
    uint64_t row_bytes; /* in the file */
    tamis_store block;  /* f32 [block rows][n_vocab], each with room for a row's bytes */
    uint64_t stride;    /* bytes of a row of the block */
    double nll[TAMIS_LOGIT_BLOCK_ROWS];
    tamis_output *out;
} writer;

static float *row_of(const writer *w, int64_t i) {
    return (float *)((char *)w->block.data + (uint64_t)i * w->stride);
}

/* Logits of rows first .. first + n_rows - 1 into the block. */
static tamis_status make_block(const writer *w, int64_t first, int64_t n_rows, tamis_error *err) {
    tamis_status st = tamis_kld_logits_load(w->logits, first, n_rows, err);
    for (int64_t col = 0; col < w->n_vocab && !st; col += TAMIS_LOGIT_TILE_COLS) {
        const int64_t left = w->n_vocab - col;
        const int64_t n_cols = left < TAMIS_LOGIT_TILE_COLS ? left : TAMIS_LOGIT_TILE_COLS;
        st = tamis_interrupted() ? tamis_fail_interrupted(err)
                                 : tamis_kld_logits_begin_tile(w->logits, col, n_cols, err);
        if (st) return st;
        const float *tile = tamis_kld_logits_get(w->logits, first, n_rows);
        for (int64_t r = 0; r < n_rows; ++r)
            memcpy(row_of(w, r) + col, tile + r * n_cols, (size_t)n_cols * sizeof *tile);
    }
    return st;
}

typedef struct encode_job {
    writer *w;
    int64_t first;
} encode_job;

/* Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits. */
static uint16_t nearest(float x) {
    const float shifted = x + 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (uint16_t)(bits & 0xFFFF);
}

static void encode_row(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const encode_job *j = ctx;
    writer *w = j->w;
    float *x = row_of(w, i_item);
    tamis_logit_sum sum;
    tamis_logit_sum_init(&sum, w->targets[j->first + i_item]);
    tamis_logit_sum_add(&sum, x, 0, w->n_vocab);
    w->nll[i_item] = tamis_logit_sum_nll(&sum);
    if (!isfinite(w->nll[i_item])) return;
    float lowest = sum.max;
    for (int64_t i = 0; i < w->n_vocab; ++i)
        lowest = x[i] < lowest ? x[i] : lowest;
    if (lowest < sum.max - RANGE) lowest = sum.max - RANGE;
    const float scale = (sum.max - lowest) / 65535.0f;
    const float floor = lowest - sum.max - (float)log(sum.sum);
    const float inverse = scale > 0 ? 1.0f / scale : 0;
    /* The 16-bit values go where the first half of the logits was: they never overtake them. */
    uint8_t *q = (uint8_t *)x;
    for (int64_t i = 0; i < w->n_vocab; ++i) {
        const uint16_t value = x[i] > lowest ? nearest((x[i] - lowest) * inverse) : 0;
        memcpy(q + 2 * i, &value, sizeof value);
    }
    const size_t n_bytes = 2 * (size_t)w->n_vocab;
    memmove(q + ROW_HEAD_BYTES, q, n_bytes);
    memset(q + ROW_HEAD_BYTES + n_bytes, 0, (size_t)w->row_bytes - ROW_HEAD_BYTES - n_bytes);
    memcpy(q, &scale, sizeof scale);
    memcpy(q + sizeof scale, &floor, sizeof floor);
}

static tamis_status write_block(writer *w, int64_t first, int64_t n_rows, tamis_error *err) {
    encode_job j = {.w = w, .first = first};
    tamis_pool_run(w->machine->pool, n_rows, encode_row, &j);
    for (int64_t i = 0; i < n_rows; ++i) {
        if (!isfinite(w->nll[i]))
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "%s: logits of scored position %lld are not finite",
                              tamis_kld_logits_name(w->logits), (long long)(first + i));
        tamis_status st = tamis_output_write(w->out, row_of(w, i), (size_t)w->row_bytes, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

static tamis_status write_rows(writer *w, int64_t n_rows, double *nll, tamis_error *err) {
    const tamis_kld_machine *machine = w->machine;
    tamis_progress_begin(machine->progress, "base file", (uint64_t)n_rows, "rows");
    tamis_status st = TAMIS_OK;
    for (int64_t row = 0; row < n_rows && !st; row += TAMIS_LOGIT_BLOCK_ROWS) {
        const int64_t left = n_rows - row;
        const int64_t n = left < TAMIS_LOGIT_BLOCK_ROWS ? left : TAMIS_LOGIT_BLOCK_ROWS;
        st = make_block(w, row, n, err);
        if (!st) st = write_block(w, row, n, err);
        for (int64_t i = 0; nll && i < n && !st; ++i)
            nll[row + i] = w->nll[i];
        tamis_progress_advance(machine->progress, (uint64_t)n);
    }
    tamis_progress_end(machine->progress);
    return st;
}

static tamis_status write_head(tamis_output *out, const tamis_kld_plan *plan, const int32_t *ids,
                               int64_t n_vocab, tamis_error *err) {
    const int32_t numbers[3] = {(int32_t)plan->n_ctx, (int32_t)n_vocab, (int32_t)plan->n_chunks};
    const uint64_t n_ids = (uint64_t)(plan->n_chunks * plan->n_ctx);
    tamis_status st = tamis_output_write(out, "_logits_", 8, err);
    if (!st) st = tamis_output_write(out, numbers, sizeof numbers, err);
    if (!st) st = tamis_output_write(out, ids, (size_t)n_ids * sizeof *ids, err);
    return st;
}

tamis_status tamis_llama_base_write(const char *path, const tamis_kld_plan *plan,
                                    const int32_t *ids, const int32_t *targets, const float *hidden,
                                    tamis_head *head, const tamis_kld_machine *machine, double *nll,
                                    tamis_error *err) {
    writer w = {.machine = machine, .targets = targets, .n_vocab = tamis_head_n_vocab(head)};
    const int64_t n_rows = plan->n_rows;
    uint64_t n_bytes = 0;
    if (!tamis_llama_base_file_bytes(plan->n_ctx, plan->n_chunks, w.n_vocab, &n_bytes))
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%s: %lld chunks of %lld tokens are more than this layout can hold", path,
                          (long long)plan->n_chunks, (long long)plan->n_ctx);
    w.row_bytes = 2 * (2 * (((uint64_t)w.n_vocab + 1) / 2) + 4);
    w.stride = 4 * (uint64_t)w.n_vocab;
    if (w.stride < w.row_bytes) w.stride = (w.row_bytes + 3) / 4 * 4;
    const int64_t n_block = n_rows < TAMIS_LOGIT_BLOCK_ROWS ? n_rows : TAMIS_LOGIT_BLOCK_ROWS;
    tamis_status st = tamis_kld_logits_of_head(head, hidden, NULL, n_rows, machine,
                                               tamis_head_origin(head), &w.logits, err);
    if (st) goto out;
    st = tamis_store_init(&w.block, (uint64_t)n_block, w.stride, "logits of a block of rows",
                          machine->budget, err);
    if (st) goto out;
    st = tamis_output_open(path, &w.out, err);
    if (st) goto out;
    st = tamis_output_reserve(w.out, n_bytes, err);
    if (st) goto out;
    st = write_head(w.out, plan, ids, w.n_vocab, err);
    if (st) goto out;
    st = write_rows(&w, n_rows, nll, err);
    if (st) goto out;
    st = tamis_output_commit(w.out, err);
    w.out = NULL;
out:
    tamis_output_discard(w.out);
    tamis_store_release(&w.block);
    tamis_kld_logits_free(w.logits);
    return st;
}
