/* run.c - tiles, buffers, observers and checks of a pass; see run_internal.h. */
#include "model/run_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/checked.h"

/* Tokens of a tile where the sequences allow it: enough rows for products to run at full
 * speed, few enough that a wide layer's activations stay small beside its weights. */
enum { TILE_TOKENS = 1024, CHECK_ELEMS = 1 << 18 };

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Tokens per tile of one sequence: all of it, or equal pieces of at most TILE_TOKENS. */
static int64_t piece_tokens(const tamis_run *run) {
    int64_t n_pieces = (run->n_ctx + TILE_TOKENS - 1) / TILE_TOKENS;
    return (run->n_ctx + n_pieces - 1) / n_pieces;
}

static int64_t sequences_per_tile(const tamis_run *run) {
    int64_t n = TILE_TOKENS / run->n_ctx;
    return n < 1 ? 1 : min_i64(n, run->n_tokens / run->n_ctx);
}

bool tamis_run_next_tile(const tamis_run *run, tamis_tile *tile) {
    int64_t first = tile->first + tile->n_tokens;
    if (first >= run->n_tokens) return false;
    tile->first = first;
    tile->first_pos = first % run->n_ctx;
    tile->n_seqs = min_i64(sequences_per_tile(run), (run->n_tokens - first) / run->n_ctx);
    if (tile->n_seqs < 1) tile->n_seqs = 1;
    tile->n_seq_tokens = min_i64(piece_tokens(run), run->n_ctx - tile->first_pos);
    tile->n_tokens = tile->n_seqs * tile->n_seq_tokens;
    return true;
}

int64_t tamis_run_tile_tokens(const tamis_run *run) {
    return sequences_per_tile(run) * piece_tokens(run);
}

int64_t tamis_run_tile_keys(const tamis_run *run) {
    return sequences_per_tile(run) * run->n_ctx;
}

/* Floats that a token keeps of a layer's keys and values; 0 when no other layer needs them. */
static int64_t kept_per_token(const tamis_hparams *hp, int64_t layer) {
    const tamis_layer_hparams *l = &hp->layers[layer];
    for (int64_t i = layer + 1; i < hp->n_blocks; i++)
        if (hp->layers[i].kv_from == layer) return l->n_head_kv * (l->head_k + l->head_v);
    return 0;
}

uint64_t tamis_run_kept_floats(const tamis_run *run) {
    int64_t per_token = 0;
    for (int64_t i = 0; i < run->model->hp.n_blocks; i++)
        per_token += kept_per_token(&run->model->hp, i);
    return (uint64_t)run->n_tokens * (uint64_t)per_token;
}

bool tamis_run_kept_kv(const tamis_run *run, int64_t layer, float **k, float **v) {
    const tamis_hparams *hp = &run->model->hp;
    if (!run->kept_kv || kept_per_token(hp, layer) == 0) return false;
    float *at = run->kept_kv;
    for (int64_t i = 0; i < layer; i++)
        at += run->n_tokens * kept_per_token(hp, i);
    *k = at;
    *v = at + run->n_tokens * hp->layers[layer].n_head_kv * hp->layers[layer].head_k;
    return true;
}

void *tamis_run_buffer(tamis_run *run, tamis_buffer which, int64_t n_elems, size_t elem_bytes,
                       tamis_error *err) {
    uint64_t n_bytes;
    if (!tamis_mul_u64((uint64_t)n_elems, elem_bytes, &n_bytes)) {
        tamis_fail(err, TAMIS_NO_RESOURCE, "a buffer of %lld elements is too large",
                   (long long)n_elems);
        return NULL;
    }
    if (run->buffers[which].data && run->buffers[which].n_bytes >= n_bytes)
        return run->buffers[which].data;
    free(run->buffers[which].data);
    run->buffers[which].n_bytes = n_bytes;
    run->buffers[which].data = tamis_alloc_array(n_bytes, 1, err);
    return run->buffers[which].data;
}

int64_t tamis_run_token(const tamis_run *run, int64_t i) {
    return i / run->n_ctx * (run->n_ctx + run->n_left_out) + i % run->n_ctx;
}

/* A product's rows by their tokens' numbers among all tokens of the run. */
static tamis_status number_tokens(tamis_run *run, tamis_product *product, tamis_error *err) {
    int32_t *tokens =
        tamis_run_buffer(run, TAMIS_BUFFER_TOKENS, product->n_tokens, sizeof *tokens, err);
    if (!tokens) return TAMIS_NO_RESOURCE;
    for (int64_t r = 0; r < product->n_tokens; r++)
        tokens[r] = (int32_t)tamis_run_token(run, product->tokens ? product->tokens[r]
                                                                  : product->first_token + r);
    product->tokens = tokens;
    return TAMIS_OK;
}

tamis_status tamis_run_take_buffers(tamis_run *run, const tamis_buffer_wish *wishes, size_t n,
                                    tamis_error *err) {
    for (size_t i = 0; i < n; i++) {
        *wishes[i].at = tamis_run_buffer(run, wishes[i].which, wishes[i].n, sizeof(float), err);
        if (!*wishes[i].at) return TAMIS_NO_RESOURCE;
    }
    return TAMIS_OK;
}

tamis_status tamis_run_observe(tamis_run *run, const tamis_product *product, tamis_error *err) {
    tamis_product told = *product;
    tamis_status st = run->n_left_out ? number_tokens(run, &told, err) : TAMIS_OK;
    for (int i = 0; i < run->n_observers && !st; i++) {
        const tamis_observer *o = &run->observers[i];
        if (o->on_product && (!run->n_left_out || o->wants_mtp))
            st = o->on_product(o->ctx, &told, err);
    }
    return st;
}

void tamis_run_advance(tamis_run *run, int64_t layer, int i_part, int n_parts, int64_t done,
                       int64_t all) {
    double share = (double)layer + ((double)i_part + (double)done / (double)all) / n_parts;
    int64_t n_tokens = run->n_tokens / run->n_ctx * (run->n_ctx + run->n_left_out);
    uint64_t reached = (uint64_t)(share * (double)n_tokens);
    if (reached <= run->n_advanced) return;
    tamis_progress_advance(run->options.progress, reached - run->n_advanced);
    run->n_advanced = reached;
}

typedef struct check_job {
    const float *x;
    int64_t n;
    _Atomic int64_t first_bad; /* n = none */
} check_job;

static void check_item(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    check_job *j = ctx;
    int64_t start = i_item * CHECK_ELEMS, n = min_i64(CHECK_ELEMS, j->n - start);
    int64_t bad = tamis_find_nonfinite(j->x + start, n);
    if (bad == n) return;
    int64_t seen = j->first_bad;
    while (start + bad < seen && !atomic_compare_exchange_weak(&j->first_bad, &seen, start + bad))
        continue;
}

tamis_status tamis_run_check_finite(const tamis_run *run, const float *x, int64_t n_rows, int64_t n,
                                    int64_t layer, const char *stage, int64_t first_token,
                                    const int32_t *rows, tamis_error *err) {
    check_job j = {.x = x, .n = n_rows * n, .first_bad = n_rows * n};
    tamis_pool_run(run->pool, (j.n + CHECK_ELEMS - 1) / CHECK_ELEMS, check_item, &j);
    if (j.first_bad == j.n) return TAMIS_OK;
    int64_t row = j.first_bad / n;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: layer %lld: %s is %g at token %lld, element %lld; the model's numbers "
                      "overflow here",
                      tamis_model_path(run->model), (long long)layer, stage, (double)x[j.first_bad],
                      (long long)tamis_run_token(run, rows ? rows[row] : first_token + row),
                      (long long)(j.first_bad % n));
}
