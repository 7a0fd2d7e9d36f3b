/* run.c - carrying a plan out: read, encode and write as one pipeline of row slices.
 * A reader thread fills pieces of a few MiB and hashes the parent's files on the way, the pool
 * encodes the pieces' rows, a writer thread appends them. Memory is a few pieces, however large
 * the tensors; every row depends on nothing but itself, so bytes do not depend on threads.
 * Bound by the encoders, or by the disk for 8 bits and more. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "base/threads.h"
#include "quantize/quantize_internal.h"

#define N_PIECES 6
#define PIECE_ELEMS_MAX (UINT64_C(1) << 20)
#define PIECE_ELEMS_MIN (UINT64_C(1) << 14)
#define NO_ROW UINT64_MAX

/* What a worker says of an item of rows. */
typedef struct item_result {
    uint64_t bad_row; /* the first, or NO_ROW */
    row_sums sums;
} item_result;

/* A slice of a tensor's rows on its way; whole items but for the last. */
typedef struct piece {
    const tamis_quantize_step *step;
    uint64_t row, n_rows;         /* in the tensor */
    uint64_t in_bytes, out_bytes; /* used of the buffers */
    uint8_t *in, *out;
} piece;

typedef struct run {
    tamis_quantize_plan *plan;
    tamis_pool *pool;
    tamis_progress *progress;
    tamis_budget *budget;
    uint64_t piece_elems, taken_bytes;
    piece pieces[N_PIECES];
    tamis_queue *empty, *filled, *encoded;
    atomic_bool is_stopped;
    /* encoding */
    float *scratch; /* [pool size][2][item_elems_max]: rows, and what became of them */
    uint64_t item_elems_max;
    float *weights;     /* of the current step, or NULL */
    float *scanned_row; /* of the reader, for the scales it measures */
    const tamis_quantize_step *current;
    const piece *work;
    item_result *results; /* [items of a piece] */
    row_sums *sums;       /* [steps], for the self-check */
    /* the side threads */
    tamis_error reader_error, writer_error;
    parent_hash *hash; /* of the reader */
    char *parent_hex;
} run;

static void stop(run *r) {
    atomic_store(&r->is_stopped, true);
    tamis_queue_close(r->empty);
    tamis_queue_close(r->filled);
    tamis_queue_close(r->encoded);
}

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static bool is_copied(const tamis_quantize_step *s) {
    return s->type == s->tensor->type;
}

static uint64_t rows_per_piece(const run *r, const tamis_gguf_tensor *t) {
    uint64_t n_item = rows_per_item(t), n = r->piece_elems / t->ne[0] / n_item * n_item;
    return min_u64(n > 0 ? n : n_item, tamis_tensor_n_rows(t));
}

/* --- reading --- */

/* A scale beside a weight is known before either is handed on: the reader looks at the weight on
 * its own, while what lies before is encoded. */
static tamis_status measure_scale(run *r, const tamis_quantize_step *s, uint8_t *bytes,
                                  tamis_error *err) {
    if (!s->scale) return TAMIS_OK;
    uint64_t n_rows_max = rows_per_piece(r, s->scale->weight);
    return scale_measure(r->plan->source, s->scale, bytes, n_rows_max, r->scanned_row,
                         &r->is_stopped, err);
}

static tamis_status read_piece(run *r, piece *p, uint64_t offset, tamis_error *err) {
    const tamis_gguf_tensor *t = p->step->tensor;
    tamis_status st = tamis_gguf_read_tensor(r->plan->source, t, offset, p->in_bytes, p->in, err);
    if (st) return st;
    return parent_hash_add(r->hash, t, offset, p->in, p->in_bytes, err);
}

static tamis_status read_step(run *r, const tamis_quantize_step *s, tamis_error *err) {
    uint64_t n_rows = tamis_tensor_n_rows(s->tensor), step = rows_per_piece(r, s->tensor);
    uint64_t row_bytes = tamis_tensor_row_bytes(s->tensor);
    for (uint64_t row = 0; row < n_rows; row += step) {
        void *item;
        if (!tamis_queue_pop(r->empty, &item)) return TAMIS_OK; /* stopped elsewhere */
        piece *p = item;
        p->step = s;
        p->row = row;
        p->n_rows = min_u64(step, n_rows - row);
        p->in_bytes = p->n_rows * row_bytes;
        tamis_status st = measure_scale(r, s, p->in, err);
        if (st) return st;
        if (s->is_made)
            memcpy(p->in, s->scale->made, p->in_bytes);
        else
            st = read_piece(r, p, row * row_bytes, err);
        if (st) return st;
        if (!tamis_queue_push(r->filled, p)) return TAMIS_OK;
    }
    return TAMIS_OK;
}

static tamis_status reader_main(void *ctx) {
    run *r = ctx;
    tamis_status st = TAMIS_OK;
    for (int64_t i = 0; st == TAMIS_OK && i < r->plan->n_steps && !atomic_load(&r->is_stopped); i++)
        st = read_step(r, &r->plan->steps[i], &r->reader_error);
    tamis_queue_close(r->filled);
    if (st == TAMIS_OK) st = parent_hash_finish(r->hash, r->parent_hex, &r->reader_error);
    if (st) stop(r);
    return st;
}

/* --- writing --- */

static tamis_status writer_main(void *ctx) {
    run *r = ctx;
    void *item;
    while (tamis_queue_pop(r->encoded, &item)) {
        piece *p = item;
        tamis_status st = tamis_gguf_write_data(
            r->plan->writer, is_copied(p->step) ? p->in : p->out, p->out_bytes, &r->writer_error);
        if (st) {
            stop(r);
            return st;
        }
        if (!tamis_queue_push(r->empty, p)) break;
    }
    return TAMIS_OK;
}

/* --- encoding --- */

/* Add sums of rows that were a factor smaller. */
static void add_error(tamis_row_error *to, const tamis_row_error *from, double factor) {
    to->error += from->error * factor * factor;
    to->norm += from->norm * factor * factor;
    to->decoded += from->decoded * factor * factor;
}

/* Rows of a piece. */
typedef struct row_range {
    uint64_t first, n;
} row_range;

/* Rows of one matrix, which share importance and scale. */
static tamis_status encode_rows(const run *r, const piece *p, row_range rows, float *x,
                                row_sums *sums, uint64_t *bad_row, tamis_error *err) {
    const tamis_gguf_tensor *t = p->step->tensor;
    uint64_t in_row = p->in_bytes / p->n_rows, out_row = p->out_bytes / p->n_rows;
    int64_t n = (int64_t)(rows.n * t->ne[0]), i_bad = 0;
    const float *importance = NULL;
    const tamis_tensor_scale *scale = p->step->scale;
    uint64_t i_matrix = (p->row + rows.first) / t->ne[1];
    double factor = scale && scale->made ? (double)scale->made[i_matrix] : 1;
    if (r->weights) {
        uint64_t n_matrices = importance_n_matrices(p->step->importance, t);
        importance = r->weights + i_matrix % n_matrices * t->ne[0];
    }
    tamis_decode(t->type, p->in + rows.first * in_row, x, n);
    if (scale) scale_take_in(scale, i_matrix, x, n);
    uint8_t *blocks = p->out + rows.first * out_row;
    tamis_status st = tamis_encode_rows(p->step->type, x, importance, r->plan->effort, blocks,
                                        (int64_t)t->ne[0], (int64_t)rows.n, &i_bad, err);
    *bad_row = rows.first + (uint64_t)i_bad;
    if (st || !r->plan->self_check) return st;
    float *decoded = x + r->item_elems_max;
    tamis_decode(p->step->type, blocks, decoded, n);
    tamis_row_error scaled = {0};
    tamis_add_row_error(x, decoded, n, &scaled);
    add_error(&sums->sums, &scaled, factor);
    return TAMIS_OK;
}

/* The rows of an item, matrix by matrix. */
static tamis_status encode_matrices(const run *r, const piece *p, row_range rows, float *x,
                                    row_sums *sums, uint64_t *bad_row, tamis_error *err) {
    uint64_t n_matrix_rows = p->step->tensor->ne[1], end = rows.first + rows.n;
    tamis_status st = TAMIS_OK;
    for (uint64_t at = rows.first; at < end && !st;) {
        uint64_t left = n_matrix_rows - (p->row + at) % n_matrix_rows;
        row_range part = {at, min_u64(left, end - at)};
        st = encode_rows(r, p, part, x, sums, bad_row, err);
        at += part.n;
    }
    return st;
}

/* A copied row: only looked at. */
static tamis_status check_row(const piece *p, uint64_t i_row, tamis_error *err) {
    const tamis_type *type = p->step->type;
    uint64_t row_bytes = p->in_bytes / p->n_rows;
    int64_t n_blocks = (int64_t)(row_bytes / type->block_bytes);
    int64_t i_bad = tamis_find_bad_block(type, p->in + i_row * row_bytes, n_blocks);
    if (i_bad == n_blocks) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT, "%s %lld is not finite",
                      type->block_elems > 1 ? "a scale of block" : "element", (long long)i_bad);
}

static tamis_status do_rows(const run *r, row_range rows, int i_worker, row_sums *sums,
                            uint64_t *bad_row, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    if (!is_copied(r->work->step)) {
        float *x = r->scratch + (uint64_t)i_worker * 2 * r->item_elems_max;
        return encode_matrices(r, r->work, rows, x, sums, bad_row, err);
    }
    for (uint64_t i = rows.first; i < rows.first + rows.n && !st; i++) {
        *bad_row = i;
        st = check_row(r->work, i, err);
    }
    return st;
}

static void encode_item(void *ctx, int64_t i_item, int i_worker) {
    run *r = ctx;
    const piece *p = r->work;
    uint64_t n_item = rows_per_item(p->step->tensor), first = (uint64_t)i_item * n_item;
    uint64_t end = min_u64(first + n_item, p->n_rows), row_bytes = p->out_bytes / p->n_rows;
    item_result *result = &r->results[i_item];
    row_range rows = {first, end - first};
    uint64_t bad_row;
    *result = (item_result){.bad_row = NO_ROW};
    if (do_rows(r, rows, i_worker, &result->sums, &bad_row, NULL) != TAMIS_OK) {
        result->bad_row = bad_row;
        return;
    }
    if (!r->plan->self_check) return;
    const uint8_t *bytes = is_copied(p->step) ? p->in : p->out;
    result->sums.hash = row_hash(bytes + first * row_bytes, (size_t)((end - first) * row_bytes),
                                 p->row / n_item + (uint64_t)i_item);
}

/* Add up what the workers say, in order of rows; the first bad row is done once more, for its
 * message. */
static tamis_status collect(run *r, const piece *p, uint64_t n_items, tamis_error *err) {
    row_sums unused = {0}, *sums = &r->sums[p->step - r->plan->steps];
    for (uint64_t i = 0; i < n_items; i++) {
        const item_result *result = &r->results[i];
        add_error(&sums->sums, &result->sums.sums, 1);
        sums->hash += result->sums.hash;
        if (result->bad_row == NO_ROW) continue;
        uint64_t bad_row;
        tamis_status st = do_rows(r, (row_range){result->bad_row, 1}, 0, &unused, &bad_row, err);
        return st ? tamis_fail_prefix(err, "%s: tensor '%s', row %llu",
                                      tamis_gguf_path(r->plan->source), p->step->tensor->name,
                                      (unsigned long long)(p->row + result->bad_row))
                  : TAMIS_OK;
    }
    return TAMIS_OK;
}

/* The weights of a step that starts. */
static tamis_status enter_step(run *r, const tamis_quantize_step *s, tamis_error *err) {
    r->current = s;
    free(r->weights);
    r->weights = NULL;
    if (!s->importance) return TAMIS_OK;
    r->weights = tamis_alloc_array(s->importance->n_values, sizeof *r->weights, err);
    if (!r->weights) return TAMIS_NO_RESOURCE;
    if (s->borrows) {
        tamis_status st = borrow_weights(s, r->weights, err);
        if (st) return st;
    } else {
        tamis_imatrix_weights(s->importance, r->weights);
    }
    int64_t n = (int64_t)s->importance->n_values, i_bad = tamis_find_nonfinite(r->weights, n);
    if (i_bad == n) return TAMIS_OK;
    return tamis_fail(
        err, TAMIS_BAD_INPUT,
        "importance of tensor '%s' is not finite at value %lld; make the matrix again",
        s->tensor->name, (long long)i_bad);
}

static tamis_status encode_piece(run *r, piece *p, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    if (p->step != r->current) st = enter_step(r, p->step, err);
    if (st) return st;
    uint64_t ne0 = p->step->tensor->ne[0], row_bytes = 0;
    if (!tamis_type_row_bytes(p->step->type, ne0, &row_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT, "tensor '%s' has no size", p->step->tensor->name);
    p->out_bytes = p->n_rows * row_bytes;
    r->work = p;
    uint64_t n_item = rows_per_item(p->step->tensor), n_items = (p->n_rows + n_item - 1) / n_item;
    tamis_pool_run(r->pool, (int64_t)n_items, encode_item, r);
    return collect(r, p, n_items, err);
}

static tamis_status encode_all(run *r, tamis_error *err) {
    void *item;
    while (tamis_queue_pop(r->filled, &item)) {
        piece *p = item;
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        tamis_status st = encode_piece(r, p, err);
        if (st) return st;
        if (!p->step->is_made) tamis_progress_advance(r->progress, p->in_bytes);
        if (!tamis_queue_push(r->encoded, p)) break;
    }
    return TAMIS_OK;
}

/* --- memory --- */

/* Largest buffers any piece needs when pieces hold piece_elems. */
static bool piece_bytes(const run *r, uint64_t *in, uint64_t *out) {
    *in = *out = 1;
    for (int64_t i = 0; i < r->plan->n_steps; i++) {
        const tamis_quantize_step *s = &r->plan->steps[i];
        uint64_t row_bytes, n, n_rows = rows_per_piece(r, s->tensor);
        if (!tamis_mul_u64(tamis_tensor_row_bytes(s->tensor), n_rows, &n)) return false;
        if (n > *in) *in = n;
        if (is_copied(s)) continue;
        if (!tamis_type_row_bytes(s->type, s->tensor->ne[0], &row_bytes) ||
            !tamis_mul_u64(row_bytes, n_rows, &n))
            return false;
        if (n > *out) *out = n;
    }
    return true;
}

/* Most items of any piece. */
static uint64_t items_max(const run *r) {
    uint64_t n_max = 1;
    for (int64_t i = 0; i < r->plan->n_steps; i++) {
        const tamis_gguf_tensor *t = r->plan->steps[i].tensor;
        uint64_t n = rows_per_piece(r, t) / rows_per_item(t) + 1;
        if (n > n_max) n_max = n;
    }
    return n_max;
}

/* Choose the piece size that the budget allows, and allocate. */
static tamis_status allocate(run *r, tamis_error *err) {
    uint64_t in = 0, out = 0, n_scratch = 0, n_weights = 0, total = 0;
    for (int64_t i = 0; i < r->plan->n_steps; i++) {
        const tamis_quantize_step *s = &r->plan->steps[i];
        uint64_t n_item = s->tensor->ne[0] * rows_per_item(s->tensor);
        if (n_item > r->item_elems_max) r->item_elems_max = n_item;
        if (s->importance && s->importance->n_values > n_weights)
            n_weights = s->importance->n_values;
    }
    uint64_t n_scratch_rows = 2 * (uint64_t)tamis_pool_size(r->pool) + 1;
    bool fits = tamis_mul_u64(r->item_elems_max, n_scratch_rows, &n_scratch);
    for (r->piece_elems = PIECE_ELEMS_MAX; fits; r->piece_elems /= 2) {
        fits = piece_bytes(r, &in, &out) && in < UINT64_MAX / 32 && out < UINT64_MAX / 32 &&
               n_scratch < UINT64_MAX / 32 && n_weights < UINT64_MAX / 32;
        if (!fits) break;
        total = N_PIECES * (in + out) + 4 * (n_scratch + n_weights);
        if (tamis_budget_take(r->budget, total)) break;
        fits = r->piece_elems > PIECE_ELEMS_MIN; /* an item */
    }
    if (!fits) {
        char need[32], left[32];
        return tamis_fail(err, TAMIS_NO_RESOURCE, "needs at least %s of memory, --mem leaves %s",
                          tamis_format_size(total, need, sizeof need),
                          tamis_format_size(tamis_budget_left(r->budget), left, sizeof left));
    }
    r->taken_bytes = total;
    r->scratch = tamis_alloc_array(n_scratch, sizeof *r->scratch, err);
    r->scanned_row = r->scratch ? r->scratch + n_scratch - r->item_elems_max : NULL;
    r->results = r->scratch ? tamis_alloc_array(items_max(r), sizeof *r->results, err) : NULL;
    r->sums =
        r->results ? tamis_alloc_array((uint64_t)r->plan->n_steps, sizeof *r->sums, err) : NULL;
    if (!r->sums) return TAMIS_NO_RESOURCE;
    for (int i = 0; i < N_PIECES; i++) {
        r->pieces[i].in = tamis_alloc_array(in, 1, err);
        r->pieces[i].out = r->pieces[i].in ? tamis_alloc_array(out, 1, err) : NULL;
        if (!r->pieces[i].out) return TAMIS_NO_RESOURCE;
        if (!tamis_queue_push(r->empty, &r->pieces[i])) return TAMIS_NO_RESOURCE;
    }
    return TAMIS_OK;
}

/* What only the pipeline needs; also gives the budget back. */
static void release_pieces(run *r) {
    for (int i = 0; i < N_PIECES; i++) {
        free(r->pieces[i].in);
        free(r->pieces[i].out);
        r->pieces[i].in = r->pieces[i].out = NULL;
    }
    free(r->scratch);
    r->scratch = NULL;
    tamis_budget_give(r->budget, r->taken_bytes);
    r->taken_bytes = 0;
}

static void release(run *r) {
    release_pieces(r);
    tamis_queue_free(r->empty);
    tamis_queue_free(r->filled);
    tamis_queue_free(r->encoded);
    tamis_pool_free(r->pool);
    free(r->results);
    free(r->sums);
    free(r->weights);
    parent_hash_free(r->hash);
    free(r->parent_hex);
}

/* --- the whole --- */

/* Start the side threads, encode, join; the first cause of a failure is the one reported. */
static tamis_status run_pipeline(run *r, tamis_error *err) {
    tamis_thread *reader = NULL, *writer = NULL;
    tamis_status st = tamis_thread_start(reader_main, r, &reader, err);
    if (st == TAMIS_OK) st = tamis_thread_start(writer_main, r, &writer, err);
    if (st == TAMIS_OK) st = encode_all(r, err);
    if (st) stop(r);
    tamis_queue_close(r->encoded);
    tamis_status st_writer = writer ? tamis_thread_join(writer) : TAMIS_OK;
    if (st_writer) stop(r);
    tamis_status st_reader = reader ? tamis_thread_join(reader) : TAMIS_OK;
    const tamis_error *cause = st_reader ? &r->reader_error : st_writer ? &r->writer_error : NULL;
    if (st == TAMIS_OK && cause) {
        st = cause->code;
        if (err) *err = *cause;
    }
    return st;
}

tamis_status tamis_quantize_run(tamis_quantize_plan *plan, const char *path, int n_threads,
                                tamis_budget *budget, tamis_progress *progress, tamis_error *err) {
    run r = {.plan = plan, .progress = progress, .budget = budget};
    size_t n_hex = parent_hash_length(plan->source, plan->sha256);
    tamis_status st = outputs_check(plan, path, err);
    if (st) return st;
    if ((st = tamis_pool_new(n_threads, &r.pool, err))) goto out;
    if ((st = tamis_queue_new(N_PIECES, &r.empty, err))) goto out;
    if ((st = tamis_queue_new(N_PIECES, &r.filled, err))) goto out;
    if ((st = tamis_queue_new(N_PIECES, &r.encoded, err))) goto out;
    if ((st = allocate(&r, err))) goto out;
    st = TAMIS_NO_RESOURCE;
    r.parent_hex = tamis_alloc_array(n_hex + 1, 1, err);
    if (!r.parent_hex) goto out;
    if ((st = parent_hash_new(plan->source, plan->sha256, &r.is_stopped, &r.hash, err))) goto out;
    if ((st = tamis_gguf_begin(plan->writer, path, err))) goto out;
    tamis_progress_begin(progress, "quantize", plan->source_bytes, "B");
    st = run_pipeline(&r, err);
    tamis_progress_end(progress);
    if (st) goto out;
    if ((st = tamis_gguf_rewrite_string(plan->writer, key_of_parent_hash(plan), r.parent_hex, n_hex,
                                        err)))
        goto out;
    release_pieces(&r);
    if (plan->self_check && (st = self_check(plan, r.sums, r.pool, budget, progress, err)))
        goto out;
    st = tamis_gguf_commit(plan->writer, err);
out:
    release(&r);
    return st;
}
