/* self_check.c - the result, read back from its file before it appears.
 * While a tensor is encoded its bytes are hashed and decoded again, and their error against the
 * source is noted; here the written file is opened as any reader would, and every tensor is read
 * and hashed: it must have the noted bytes, be finite, and not be zero where its source is not. So
 * the errors hold for what lies in the file, and nothing is decoded twice. Bound by memory. */
#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/checked.h"
#include "quantize/quantize_internal.h"

#define ITEM_ELEMS (UINT64_C(1) << 14) /* the least work worth handing to a thread */
#define BATCH_ITEMS 1024               /* between two looks at the interrupt */

uint64_t rows_per_item(const tamis_gguf_tensor *t) {
    return ITEM_ELEMS / t->ne[0] > 0 ? ITEM_ELEMS / t->ne[0] : 1;
}

uint64_t row_hash(const void *bytes, size_t n_bytes, uint64_t i_item) {
    return XXH3_64bits_withSeed(bytes, n_bytes, i_item);
}

/* --- reading back --- */

typedef struct item_state {
    uint64_t hash;
    bool is_read;
} item_state;

typedef struct checker {
    const tamis_gguf *written;
    const tamis_gguf_tensor *tensor; /* as the file has it */
    uint64_t n_rows, rows_per_item, first_item;
    uint8_t *bytes; /* [workers][bytes_max] */
    uint64_t bytes_max;
    item_state *items; /* [BATCH_ITEMS] */
} checker;

static void check_item(void *ctx, int64_t i_item, int i_worker) {
    checker *c = ctx;
    const tamis_gguf_tensor *t = c->tensor;
    item_state *state = &c->items[i_item];
    uint64_t item = c->first_item + (uint64_t)i_item, row = item * c->rows_per_item;
    uint64_t n_rows = c->n_rows - row < c->rows_per_item ? c->n_rows - row : c->rows_per_item;
    uint64_t row_bytes = tamis_tensor_row_bytes(t);
    uint8_t *bytes = c->bytes + (uint64_t)i_worker * c->bytes_max;
    state->is_read = tamis_gguf_read_tensor(c->written, t, row * row_bytes, n_rows * row_bytes,
                                            bytes, NULL) == TAMIS_OK;
    if (state->is_read) state->hash = row_hash(bytes, (size_t)(n_rows * row_bytes), item);
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
    for (c->first_item = 0; c->first_item < n_items; c->first_item += BATCH_ITEMS) {
        uint64_t n = n_items - c->first_item;
        if (n > BATCH_ITEMS) n = BATCH_ITEMS;
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        tamis_pool_run(pool, (int64_t)n, check_item, c);
        for (uint64_t i = 0; i < n; i++) {
            if (!c->items[i].is_read) return fail_tensor(c, "cannot be read back", err);
            hash += c->items[i].hash;
        }
    }
    tamis_progress_advance(progress, c->tensor->n_bytes);
    if (hash != expected->hash)
        return fail_tensor(c, "is not what was encoded: the disk or the memory is at fault", err);
    if (!isfinite(expected->sums.decoded))
        return fail_tensor(c, "holds values that are not finite", err);
    if (expected->sums.decoded == 0 && expected->sums.norm > 0)
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
        c->n_rows = tamis_tensor_n_rows(s->tensor);
        c->rows_per_item = rows_per_item(s->tensor);
        if ((st = check_tensor(c, &expected[i], pool, progress, err))) return st;
        s->relative_error = 0;
        const tamis_row_error *sums = &expected[i].sums;
        if (sums->error > 0) s->relative_error = sqrt(sums->error / sums->norm);
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
    checker c = {.bytes_max = 1};
    uint64_t n_workers = (uint64_t)tamis_pool_size(pool), taken = 0;
    tamis_status st = TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        uint64_t n_rows = tamis_tensor_n_rows(s->tensor), n = rows_per_item(s->tensor);
        uint64_t n_bytes = s->n_bytes / n_rows * (n < n_rows ? n : n_rows);
        if (n_bytes > c.bytes_max) c.bytes_max = n_bytes;
    }
    uint64_t total = 0;
    if (tamis_mul_u64(c.bytes_max, n_workers, &total) && tamis_budget_take(budget, total))
        taken = total;
    else if ((st = tamis_fail(err, TAMIS_NO_RESOURCE,
                              "--mem leaves no room for the self-check; raise it or give "
                              "--no-self-check")))
        goto out;
    c.bytes = tamis_alloc_array(c.bytes_max * n_workers, 1, err);
    c.items = c.bytes ? tamis_alloc_array(BATCH_ITEMS, sizeof *c.items, err) : NULL;
    if (!c.items) goto out;
    tamis_progress_begin(progress, "self-check", plan->result_bytes, "B");
    st = check_files(&c, plan, expected, pool, progress, err);
    tamis_progress_end(progress);
out:
    free(c.bytes);
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
