/* weights.c - see weights.h. Rows are cut into items of about 64 Ki elements that the workers
 * read and decode into place. Bound: reading and decoding (memory). */
#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum {
    ITEM_ELEMS = 65536,
    CHECK_ELEMS = 4096,
    NAME_CAP = 192,
    SOURCES_MAX = 3 * TAMIS_WEIGHTS_MAX
};

static int64_t cols_of(const tamis_row_source *s) {
    return s->n_cols ? s->n_cols : (int64_t)s->tensor->ne[0];
}

/* Stored bytes of n elements of a row, whole blocks. */
static uint64_t bytes_of(const tamis_gguf_tensor *t, int64_t n) {
    return (uint64_t)n / t->type->block_elems * t->type->block_bytes;
}

static int64_t rows_per_item(const tamis_row_source *s) {
    int64_t rows = ITEM_ELEMS / cols_of(s);
    return rows < 1 ? 1 : rows;
}

static int64_t items_of(const tamis_row_source *s) {
    int64_t rows = rows_per_item(s);
    return (s->n_rows + rows - 1) / rows;
}

static uint64_t item_bytes(const tamis_row_source *s) {
    return (uint64_t)rows_per_item(s) * bytes_of(s->tensor, cols_of(s));
}

uint64_t tamis_staging_bytes(const tamis_row_source *sources, int n_sources, int n_workers) {
    uint64_t most = 0;
    for (int i = 0; i < n_sources; i++)
        if (item_bytes(&sources[i]) > most) most = item_bytes(&sources[i]);
    return (most + 63) / 64 * 64 * (uint64_t)n_workers;
}

/* The first failure in item order, whichever worker met it. */
typedef struct failure {
    int64_t item; /* INT64_MAX = none */
    tamis_error error;
} failure;

typedef struct decode_job {
    const tamis_row_source *sources;
    int n_sources;
    uint8_t *staging;
    uint64_t staging_bytes; /* of one worker */
    failure *failures;      /* [n_workers] */
} decode_job;

/* Decode n rows, a few at a time, so that they are looked at while the nearest cache has them.
 * Index of the first element that is not finite, or n * n_cols. */
static int64_t decode_checked(const tamis_type *type, const uint8_t *bytes, uint64_t row_bytes,
                              int64_t n, int64_t n_cols, float *dst) {
    int64_t step = CHECK_ELEMS / n_cols < 1 ? 1 : CHECK_ELEMS / n_cols;
    for (int64_t i = 0; i < n; i += step) {
        int64_t n_elems = (n - i < step ? n - i : step) * n_cols;
        tamis_decode(type, bytes + (uint64_t)i * row_bytes, dst + i * n_cols, n_elems);
        int64_t bad = tamis_find_nonfinite(dst + i * n_cols, n_elems);
        if (bad < n_elems) return i * n_cols + bad;
    }
    return n * n_cols;
}

static tamis_status decode_range(const tamis_row_source *s, int64_t first, int64_t n,
                                 uint8_t *staging, tamis_error *err) {
    const tamis_gguf_tensor *t = s->tensor;
    uint64_t row_bytes = tamis_tensor_row_bytes(t), at = bytes_of(t, s->first_col);
    int64_t n_cols = cols_of(s);
    uint64_t n_bytes = bytes_of(t, n_cols);
    float *dst = s->dst + first * n_cols;
    tamis_status st = TAMIS_OK;
    if (s->rows || n_bytes < row_bytes) {
        for (int64_t i = 0; i < n && !st; i++) {
            int64_t row = s->rows ? s->rows[first + i] : s->first_row + first + i;
            st = tamis_gguf_read_tensor(s->gguf, t, (uint64_t)row * row_bytes + at, n_bytes,
                                        staging + (uint64_t)i * n_bytes, err);
        }
    } else {
        st = tamis_gguf_read_tensor(s->gguf, t, (uint64_t)(s->first_row + first) * row_bytes,
                                    (uint64_t)n * row_bytes, staging, err);
    }
    if (st) return st;
    int64_t bad = decode_checked(t->type, staging, n_bytes, n, n_cols, dst);
    if (bad == n * n_cols) return TAMIS_OK;
    int64_t i_row = first + bad / n_cols;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: tensor '%s': row %lld, element %lld is %g; "
                      "the file is damaged or was converted wrongly",
                      tamis_gguf_file_path(s->gguf, t->i_file), t->name,
                      (long long)(s->rows ? s->rows[i_row] : s->first_row + i_row),
                      (long long)(s->first_col + bad % n_cols), (double)dst[bad]);
}

static void decode_item(void *ctx, int64_t i_item, int i_worker) {
    decode_job *j = ctx;
    failure *f = &j->failures[i_worker];
    if (i_item > f->item || tamis_interrupted()) return;
    const tamis_row_source *s = j->sources;
    int64_t i = i_item;
    for (; i >= items_of(s); s++)
        i -= items_of(s);
    int64_t rows = rows_per_item(s), first = i * rows;
    int64_t n = s->n_rows - first < rows ? s->n_rows - first : rows;
    tamis_error error;
    if (decode_range(s, first, n, j->staging + (uint64_t)i_worker * j->staging_bytes, &error)) {
        f->item = i_item;
        f->error = error;
    }
}

tamis_status tamis_decode_rows(tamis_pool *pool, const tamis_row_source *sources, int n_sources,
                               uint8_t *staging, tamis_error *err) {
    int n_workers = tamis_pool_size(pool);
    decode_job j = {.sources = sources,
                    .n_sources = n_sources,
                    .staging = staging,
                    .staging_bytes = tamis_staging_bytes(sources, n_sources, 1)};
    j.failures = tamis_alloc_array((uint64_t)n_workers, sizeof *j.failures, err);
    if (!j.failures) return TAMIS_NO_RESOURCE;
    int64_t n_items = 0;
    for (int i = 0; i < n_sources; i++)
        n_items += items_of(&sources[i]);
    for (int i = 0; i < n_workers; i++)
        j.failures[i].item = INT64_MAX;
    tamis_pool_run(pool, n_items, decode_item, &j);

    tamis_status st = TAMIS_OK;
    const failure *first = &j.failures[0];
    for (int i = 1; i < n_workers; i++)
        if (j.failures[i].item < first->item) first = &j.failures[i];
    if (tamis_interrupted())
        st = tamis_fail_interrupted(err);
    else if (first->item != INT64_MAX)
        st = tamis_fail(err, first->error.code, "%s", first->error.message);
    free(j.failures);
    return st;
}

/* "blk.<layer>.<stem><suffix>" of the model's file, or NULL. */
static const tamis_gguf_tensor *find_tensor(const tamis_run *run, int64_t layer, const char *stem,
                                            const char *suffix) {
    char name[NAME_CAP];
    if (layer >= 0)
        snprintf(name, sizeof name, "blk.%lld.%s%s", (long long)layer, stem, suffix);
    else
        snprintf(name, sizeof name, "%s%s", stem, suffix);
    return tamis_gguf_find_tensor(run->model->gguf, name);
}

static tamis_weight weight_of(const tamis_gguf_tensor *t) {
    tamis_weight w = {.tensor = t, .n_experts = 1, .scale = 1.0f};
    if (!t) return w;
    w.n_in = (int64_t)t->ne[0];
    w.n_out = (int64_t)t->ne[1];
    w.n_experts = (int64_t)t->ne[2];
    return w;
}

tamis_weight tamis_weight_find(const tamis_run *run, int64_t layer, const char *stem) {
    tamis_weight w = weight_of(find_tensor(run, layer, stem, ".weight"));
    if (!w.tensor) return w;
    w.bias_tensor = find_tensor(run, layer, stem, ".bias");
    w.scale_tensor = find_tensor(run, layer, stem, ".scale");
    return w;
}

tamis_weight tamis_weight_find_bare(const tamis_run *run, int64_t layer, const char *name) {
    return weight_of(find_tensor(run, layer, name, ""));
}

/* The sources of one weight, each with its place after *n_floats; returns how many. */
static int add_sources(const tamis_gguf *g, const tamis_weight *w, int64_t expert,
                       tamis_row_source *sources, uint64_t *offsets, uint64_t *n_floats) {
    int n = 0;
    sources[n] = (tamis_row_source){.gguf = g,
                                    .tensor = w->tensor,
                                    .n_rows = w->n_out,
                                    .first_row = w->first_row + expert * w->n_out};
    offsets[n++] = *n_floats;
    *n_floats += (uint64_t)w->n_out * (uint64_t)w->n_in;
    if (w->bias_tensor) {
        sources[n] = (tamis_row_source){
            .gguf = g, .tensor = w->bias_tensor, .n_rows = 1, .first_row = expert};
        offsets[n++] = *n_floats;
        *n_floats += (uint64_t)w->n_out;
    }
    if (w->scale_tensor) {
        sources[n] = (tamis_row_source){.gguf = g, .tensor = w->scale_tensor, .n_rows = 1};
        offsets[n++] = *n_floats;
        *n_floats += (uint64_t)w->n_experts;
    }
    return n;
}

/* Where the decoded parts of one weight lie. */
static void place(tamis_weight *w, int64_t expert, const float *at) {
    w->w = at;
    at += w->n_out * w->n_in;
    w->bias = w->bias_tensor ? at : NULL;
    if (w->bias_tensor) at += w->n_out;
    w->scale = w->scale_tensor ? at[expert] : 1.0f;
}

tamis_status tamis_weights_load(tamis_run *run, tamis_weight *const *weights, int n, int64_t expert,
                                tamis_error *err) {
    if (n > TAMIS_WEIGHTS_MAX)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%d weights in one load, at most %d are possible",
                          n, TAMIS_WEIGHTS_MAX);
    tamis_row_source sources[SOURCES_MAX];
    uint64_t offsets[SOURCES_MAX], starts[TAMIS_WEIGHTS_MAX], n_floats = 0;
    int n_sources = 0;
    for (int i = 0; i < n; i++) {
        starts[i] = n_floats;
        if (weights[i]->tensor)
            n_sources += add_sources(run->model->gguf, weights[i], expert, sources + n_sources,
                                     offsets + n_sources, &n_floats);
    }
    float *data = tamis_run_buffer(run, TAMIS_BUFFER_WEIGHTS, (int64_t)n_floats, sizeof *data, err);
    if (!data) return TAMIS_NO_RESOURCE;
    for (int i = 0; i < n_sources; i++)
        sources[i].dst = data + offsets[i];
    uint64_t staging_bytes = tamis_staging_bytes(sources, n_sources, tamis_pool_size(run->pool));
    uint8_t *staging = tamis_run_buffer(run, TAMIS_BUFFER_STAGING, (int64_t)staging_bytes, 1, err);
    if (!staging) return TAMIS_NO_RESOURCE;
    tamis_status st = tamis_decode_rows(run->pool, sources, n_sources, staging, err);
    if (st) return st;
    for (int i = 0; i < n; i++)
        if (weights[i]->tensor) place(weights[i], expert, data + starts[i]);
    return TAMIS_OK;
}

tamis_status tamis_weight_embed(tamis_run *run, const tamis_weight *embedding,
                                const int32_t *tokens, int64_t n_tokens, float *dst,
                                tamis_error *err) {
    const tamis_gguf *g = run->model->gguf;
    float factor = 1.0f;
    tamis_row_source sources[] = {
        {.gguf = g, .tensor = embedding->tensor, .rows = tokens, .n_rows = n_tokens, .dst = dst},
        {.gguf = g, .tensor = embedding->scale_tensor, .n_rows = 1, .dst = &factor},
    };
    int n_sources = embedding->scale_tensor ? 2 : 1;
    uint64_t n_bytes = tamis_staging_bytes(sources, n_sources, tamis_pool_size(run->pool));
    uint8_t *staging = tamis_run_buffer(run, TAMIS_BUFFER_STAGING, (int64_t)n_bytes, 1, err);
    if (!staging) return TAMIS_NO_RESOURCE;
    tamis_status st = tamis_decode_rows(run->pool, sources, n_sources, staging, err);
    factor *= run->model->hp.embd_scale;
    for (int64_t i = 0; factor != 1.0f && !st && i < n_tokens * embedding->n_in; i++)
        dst[i] *= factor;
    return st;
}

tamis_status tamis_weights_observe(tamis_run *run, const tamis_weight *const *weights, int n,
                                   const tamis_product *input, tamis_error *err) {
    const char *names[TAMIS_WEIGHTS_MAX];
    tamis_product product = *input;
    product.names = names;
    product.n_names = 0;
    product.n_experts = 1;
    for (int i = 0; i < n; i++) {
        if (!weights[i]->tensor) continue;
        names[product.n_names++] = weights[i]->tensor->name;
        product.d_in = weights[i]->n_in;
        product.n_experts = weights[i]->n_experts;
    }
    return tamis_run_observe(run, &product, err);
}

tamis_product tamis_tile_product(int64_t layer, const tamis_tile *tile, const float *x) {
    return (tamis_product){.layer = layer,
                           .expert = -1,
                           .x = x,
                           .n_tokens = tile->n_tokens,
                           .first_token = tile->first};
}

typedef struct finish_job {
    const tamis_weight *weight;
    float *y;
    int64_t y_stride, n_rows;
} finish_job;

enum { FINISH_ROWS = 16 };

static void finish_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const finish_job *j = ctx;
    const tamis_weight *w = j->weight;
    int64_t end = (i_item + 1) * FINISH_ROWS;
    for (int64_t r = i_item * FINISH_ROWS; r < end && r < j->n_rows; r++) {
        float *y = j->y + r * j->y_stride;
        if (w->scale_tensor)
            for (int64_t i = 0; i < w->n_out; i++)
                y[i] *= w->scale;
        if (w->bias)
            for (int64_t i = 0; i < w->n_out; i++)
                y[i] += w->bias[i];
    }
}

tamis_status tamis_weight_apply(tamis_run *run, const tamis_weight *weight, const float *x,
                                int64_t n_rows, float *y, int64_t y_stride, tamis_error *err) {
    tamis_gemm_xwt(run->gemm, run->pool, n_rows, weight->n_out, weight->n_in, x, weight->n_in,
                   weight->w, y, y_stride, 0);
    if (weight->scale_tensor || weight->bias) {
        finish_job j = {.weight = weight, .y = y, .y_stride = y_stride, .n_rows = n_rows};
        tamis_pool_run(run->pool, (n_rows + FINISH_ROWS - 1) / FINISH_ROWS, finish_rows, &j);
    }
    return tamis_interrupted() ? tamis_fail_interrupted(err) : TAMIS_OK;
}

tamis_status tamis_weights_peak_floats(const tamis_model *m, uint64_t *out, tamis_error *err) {
    enum { FFN, REST, N_PARTS };
    uint64_t *parts = tamis_alloc_array((uint64_t)m->hp.n_blocks * N_PARTS, sizeof *parts, err);
    if (!parts) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(m->gguf); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(m->gguf, i);
        int64_t layer;
        const char *stem = tamis_layer_of_name(t->name, &layer);
        if (!stem || layer >= m->hp.n_blocks || strncmp(stem, "nextn.", 6) == 0) continue;
        int part = strncmp(stem, "ffn", 3) == 0 ? FFN : REST;
        uint64_t n_matrices = part == FFN ? 1 : t->ne[2]; /* experts come one at a time */
        parts[layer * N_PARTS + part] += t->ne[0] * t->ne[1] * n_matrices;
    }
    *out = 0;
    for (int64_t i = 0; i < m->hp.n_blocks * N_PARTS; i++)
        if (parts[i] > *out) *out = parts[i];
    free(parts);
    return TAMIS_OK;
}
