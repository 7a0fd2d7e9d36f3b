/* self_check.c - the result, read back from its file before it appears.
 * While a tensor is encoded its error against the source and a hash of its bytes are noted; here
 * the written file is opened as any reader would, and every tensor is read, hashed and decoded: it
 * must have the noted bytes, be finite, and not be zero where its source is not. So the errors hold
 * for what lies in the file, and the source is read only once. Bound by memory. */
#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/checked.h"
#include "quantize/quantize_internal.h"

#define ITEM_ELEMS (UINT64_C(1) << 14) /* the least work worth handing to a thread */
#define BATCH_ITEMS 1024               /* between two looks at the interrupt */

enum { N_VECTORS = 4, CHUNK = 256 };

typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x4_in_memory __attribute__((vector_size(16), aligned(4), may_alias));

static inline f32x4 load(const float *p) {
    return *(const f32x4_in_memory *)p;
}

uint64_t rows_per_item(const tamis_gguf_tensor *t) {
    return ITEM_ELEMS / t->ne[0] > 0 ? ITEM_ELEMS / t->ne[0] : 1;
}

uint64_t row_hash(const void *bytes, size_t n_bytes, uint64_t i_item) {
    return XXH3_64bits_withSeed(bytes, n_bytes, i_item);
}

/* In f64, for what f32 cannot square. */
static void add_exactly(row_sums *sums, const float *x, const float *decoded, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double a = (double)x[i], d = a - (double)decoded[i];
        sums->error += d * d;
        sums->norm += a * a;
    }
}

/* Chunks in lanes of f32, in a fixed order, and their sums in f64. */
void row_sums_add(row_sums *sums, const float *x, const float *decoded, int64_t n) {
    for (; n >= CHUNK; n -= CHUNK, x += CHUNK, decoded += CHUNK) {
        f32x4 error[N_VECTORS] = {{0}}, norm[N_VECTORS] = {{0}};
        for (int i = 0; i < CHUNK; i += 4 * N_VECTORS)
            for (int k = 0; k < N_VECTORS; k++) {
                f32x4 a = load(x + i + 4 * k), d = a - load(decoded + i + 4 * k);
                error[k] += d * d;
                norm[k] += a * a;
            }
        double chunk_error = 0, chunk_norm = 0;
        for (int k = 0; k < 4 * N_VECTORS; k++) {
            chunk_error += (double)error[k / 4][k % 4];
            chunk_norm += (double)norm[k / 4][k % 4];
        }
        if (chunk_norm > 1e-20 && chunk_norm < 1e30 && chunk_error < 1e30) {
            sums->error += chunk_error;
            sums->norm += chunk_norm;
        } else {
            add_exactly(sums, x, decoded, CHUNK);
        }
    }
    add_exactly(sums, x, decoded, n);
}

/* Not finite when a value is not (or squares to infinity), 0 when all are 0 (or nearly). */
static float sum_squares(const float *x, int64_t n) {
    f32x4 lanes[N_VECTORS] = {{0}};
    float sum = 0;
    int64_t i = 0;
    for (; i + 4 * N_VECTORS <= n; i += 4 * N_VECTORS)
        for (int k = 0; k < N_VECTORS; k++) {
            f32x4 a = load(x + i + 4 * k);
            lanes[k] += a * a;
        }
    for (; i < n; i++)
        sum += x[i] * x[i];
    for (int k = 0; k < 4 * N_VECTORS; k++)
        sum += lanes[k / 4][k % 4];
    return sum;
}

/* --- reading back --- */

typedef struct item_state {
    uint64_t hash;
    bool is_read, is_finite, is_zero;
} item_state;

typedef struct checker {
    const tamis_gguf *written;
    const tamis_gguf_tensor *tensor; /* as the file has it */
    bool is_copied;
    uint64_t n_rows, rows_per_item, first_item;
    uint8_t *bytes; /* [workers][bytes_max] */
    float *rows;    /* [workers][row_elems_max] */
    uint64_t bytes_max, row_elems_max;
    item_state *items; /* [BATCH_ITEMS] */
} checker;

static bool is_all_zero(const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0) return false;
    return true;
}

static void check_item(void *ctx, int64_t i_item, int i_worker) {
    checker *c = ctx;
    const tamis_gguf_tensor *t = c->tensor;
    item_state *state = &c->items[i_item];
    uint64_t item = c->first_item + (uint64_t)i_item, row = item * c->rows_per_item;
    uint64_t n_rows = c->n_rows - row < c->rows_per_item ? c->n_rows - row : c->rows_per_item;
    uint64_t row_bytes = tamis_tensor_row_bytes(t);
    uint8_t *bytes = c->bytes + (uint64_t)i_worker * c->bytes_max;
    float *x = c->rows + (uint64_t)i_worker * c->row_elems_max;
    *state = (item_state){.is_finite = true, .is_zero = true};
    state->is_read = tamis_gguf_read_tensor(c->written, t, row * row_bytes, n_rows * row_bytes,
                                            bytes, NULL) == TAMIS_OK;
    if (!state->is_read) return;
    state->hash = row_hash(bytes, (size_t)(n_rows * row_bytes), item);
    if (c->is_copied) return; /* looked at when it was read, and never decoded */
    int64_t n = (int64_t)t->ne[0];
    for (uint64_t i = 0; i < n_rows; i++) {
        tamis_decode(t->type, bytes + i * row_bytes, x, n);
        float sum = sum_squares(x, n);
        if (!isfinite(sum)) state->is_finite &= tamis_find_nonfinite(x, n) == n;
        if (state->is_zero) state->is_zero = sum == 0 && is_all_zero(x, n);
    }
}

static tamis_status fail_tensor(const checker *c, const char *what, tamis_error *err) {
    return tamis_fail(err, TAMIS_CHECK_FAILED,
                      "self-check: tensor '%s' as written (%s) %s; "
                      "nothing was kept",
                      c->tensor->name, c->tensor->type->name, what);
}

static tamis_status check_tensor(checker *c, const row_sums *expected, tamis_pool *pool,
                                 tamis_progress *progress, tamis_error *err) {
    uint64_t n_items = (c->n_rows + c->rows_per_item - 1) / c->rows_per_item, hash = 0;
    bool is_zero = true, is_finite = true;
    for (c->first_item = 0; c->first_item < n_items; c->first_item += BATCH_ITEMS) {
        uint64_t n = n_items - c->first_item;
        if (n > BATCH_ITEMS) n = BATCH_ITEMS;
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        tamis_pool_run(pool, (int64_t)n, check_item, c);
        for (uint64_t i = 0; i < n; i++) {
            if (!c->items[i].is_read) return fail_tensor(c, "cannot be read back", err);
            hash += c->items[i].hash;
            is_zero &= c->items[i].is_zero;
            is_finite &= c->items[i].is_finite;
        }
    }
    tamis_progress_advance(progress, c->tensor->n_bytes);
    if (hash != expected->hash)
        return fail_tensor(c, "is not what was encoded: the disk or the memory is at fault", err);
    if (c->is_copied) return TAMIS_OK;
    if (!is_finite) return fail_tensor(c, "holds values that are not finite", err);
    if (is_zero && expected->norm > 0)
        return fail_tensor(c, "is all zero and its source is not; choose another type for it", err);
    return TAMIS_OK;
}

/* The tensor of a step in the written file, of the planned type and shape. */
static tamis_status find_written(const tamis_gguf *written, const tamis_quantize_step *s,
                                 const tamis_gguf_tensor **out, tamis_error *err) {
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(written, s->name);
    *out = t;
    bool is_same = !t || (t->type == s->type && t->n_bytes == s->n_bytes);
    for (int d = 0; t && d < 4; d++)
        is_same = is_same && t->ne[d] == s->tensor->ne[d];
    if (is_same) return TAMIS_OK;
    return tamis_fail(err, TAMIS_CHECK_FAILED,
                      "self-check: tensor '%s' was not written as planned; nothing was kept",
                      s->name);
}

static tamis_status check_file(checker *c, tamis_quantize_plan *plan, const row_sums *expected,
                               int64_t *n_checked, tamis_pool *pool, tamis_progress *progress,
                               tamis_error *err) {
    for (int64_t i = 0; i < plan->n_steps; i++) {
        tamis_quantize_step *s = &plan->steps[i];
        tamis_status st = find_written(c->written, s, &c->tensor, err);
        if (st) return st;
        if (!c->tensor) continue; /* in another file of the set */
        c->is_copied = s->type == s->tensor->type;
        c->n_rows = tamis_tensor_n_rows(s->tensor);
        c->rows_per_item = rows_per_item(s->tensor);
        if ((st = check_tensor(c, &expected[i], pool, progress, err))) return st;
        s->relative_error = 0;
        if (expected[i].error > 0) s->relative_error = sqrt(expected[i].error / expected[i].norm);
        (*n_checked)++;
    }
    return TAMIS_OK;
}

static tamis_status check_files(checker *c, tamis_quantize_plan *plan, const row_sums *expected,
                                tamis_pool *pool, tamis_progress *progress, tamis_error *err) {
    int64_t n_checked = 0;
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; st == TAMIS_OK && i < tamis_gguf_writer_n_files(plan->writer); i++) {
        tamis_gguf *written = NULL;
        st = tamis_gguf_open_written(plan->writer, i, &written, err);
        if (st == TAMIS_BAD_INPUT) {
            if (err) err->code = TAMIS_CHECK_FAILED;
            st = TAMIS_CHECK_FAILED;
            tamis_fail_prefix(err, "self-check");
        }
        if (st) return st;
        if (!written) return TAMIS_OK; /* a pipe or a device cannot be read back */
        c->written = written;
        st = check_file(c, plan, expected, &n_checked, pool, progress, err);
        tamis_gguf_close(written);
    }
    if (st == TAMIS_OK && n_checked != plan->n_steps)
        st = tamis_fail(err, TAMIS_CHECK_FAILED,
                        "self-check: %lld of %lld tensors were written; nothing was kept",
                        (long long)n_checked, (long long)plan->n_steps);
    plan->is_checked = st == TAMIS_OK;
    return st;
}

tamis_status self_check(tamis_quantize_plan *plan, const row_sums *expected, tamis_pool *pool,
                        tamis_budget *budget, tamis_progress *progress, tamis_error *err) {
    checker c = {.bytes_max = 1, .row_elems_max = 1};
    uint64_t n_workers = (uint64_t)tamis_pool_size(pool), taken = 0;
    tamis_status st = TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        uint64_t n_rows = tamis_tensor_n_rows(s->tensor), n = rows_per_item(s->tensor);
        uint64_t n_bytes = s->n_bytes / n_rows * (n < n_rows ? n : n_rows);
        if (n_bytes > c.bytes_max) c.bytes_max = n_bytes;
        if (s->tensor->ne[0] > c.row_elems_max) c.row_elems_max = s->tensor->ne[0];
    }
    uint64_t total = 0;
    if (tamis_mul_u64(c.bytes_max + c.row_elems_max * sizeof(float), n_workers, &total) &&
        tamis_budget_take(budget, total))
        taken = total;
    else if ((st = tamis_fail(err, TAMIS_NO_RESOURCE,
                              "--mem leaves no room for the self-check; raise it or give "
                              "--no-self-check")))
        goto out;
    c.bytes = tamis_alloc_array(c.bytes_max * n_workers, 1, err);
    c.rows = c.bytes ? tamis_alloc_array(c.row_elems_max * n_workers, sizeof *c.rows, err) : NULL;
    c.items = c.rows ? tamis_alloc_array(BATCH_ITEMS, sizeof *c.items, err) : NULL;
    if (!c.items) goto out;
    tamis_progress_begin(progress, "self-check", plan->result_bytes, "B");
    st = check_files(&c, plan, expected, pool, progress, err);
    tamis_progress_end(progress);
out:
    free(c.bytes);
    free(c.rows);
    free(c.items);
    tamis_budget_give(budget, taken);
    return st;
}

/* --- the largest errors --- */

static bool is_worse(const tamis_quantize_step *a, const tamis_quantize_step *b) {
    return a->relative_error > b->relative_error;
}

int tamis_quantize_worst(const tamis_quantize_plan *plan, int n_max,
                         const tamis_quantize_step **out) {
    int n = 0;
    for (int64_t i = 0; plan->is_checked && i < plan->n_steps; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        if (s->type == s->tensor->type) continue;
        int at = n;
        while (at > 0 && is_worse(s, out[at - 1]))
            at--;
        if (at == n_max) continue;
        if (n < n_max) n++;
        for (int k = n - 1; k > at; k--)
            out[k] = out[k - 1];
        out[at] = s;
    }
    return n;
}
