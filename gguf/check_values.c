/* check_values.c - unsound values and scales in the data of every tensor.
 * Data is read in pieces of whole blocks, at most 1 MiB each, by all workers; what is found in
 * them is combined in file order. Bound by reading, with deep by decoding. What counts as
 * unsound: reference/tensor-types.md section 6. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/check.h"
#include "gguf/gguf_internal.h"
#include "gguf/pieces.h"

enum { PIECE_BYTES = 1 << 20, TILE_ELEMS = 2048, N_ROUND = 64 };

/* What was found in a piece, or in a tensor so far. */
typedef struct counts {
    uint64_t n_bad, first_bad;         /* blocks that are unsound as they are stored */
    uint64_t n_decoded, first_decoded; /* the others that decode to something not finite */
    bool has_nonzero;
} counts;

typedef struct checker {
    const tamis_gguf *g;
    bool deep;
    uint8_t **buffers; /* [workers][PIECE_BYTES] */
    gguf_piece pieces[N_ROUND];
    counts counts[N_ROUND];
    tamis_error errors[N_ROUND];
} checker;

/* Blocks [at, at + n) of `blocks` are sound as they are stored: decode them. */
static void decode_blocks(const tamis_type *type, const uint8_t *blocks, int64_t at, int64_t n,
                          uint64_t i_first, counts *c) {
    const int64_t per_tile = TILE_ELEMS / type->block_elems;
    float x[TILE_ELEMS];
    for (int64_t i = at; i < at + n; i += per_tile) {
        const int64_t n_blocks = at + n - i < per_tile ? at + n - i : per_tile;
        const int64_t n_elems = n_blocks * type->block_elems;
        tamis_decode(type, blocks + (size_t)i * type->block_bytes, x, n_elems);
        for (int64_t k = 0; !c->has_nonzero && k < n_elems; k++)
            c->has_nonzero = x[k] != 0;
        if (tamis_find_nonfinite(x, n_elems) == n_elems) continue;
        for (int64_t b = 0; b < n_blocks; b++) {
            const float *values = x + b * type->block_elems;
            if (tamis_find_nonfinite(values, type->block_elems) == type->block_elems) continue;
            if (!c->n_decoded++) c->first_decoded = i_first + (uint64_t)(i + b);
        }
    }
}

static void check_blocks(const tamis_type *type, const uint8_t *blocks, int64_t n_blocks,
                         uint64_t i_first, bool deep, counts *c) {
    for (int64_t at = 0; at < n_blocks; at++) {
        const int64_t n =
            tamis_find_bad_block(type, blocks + (size_t)at * type->block_bytes, n_blocks - at);
        if (deep && type->decode) decode_blocks(type, blocks, at, n, i_first, c);
        at += n;
        if (at >= n_blocks) return;
        c->has_nonzero = true;
        if (!c->n_bad++) c->first_bad = i_first + (uint64_t)at;
    }
}

static void check_piece(void *ctx, int64_t i_item, int i_worker) {
    checker *c = ctx;
    const gguf_piece *p = &c->pieces[i_item];
    const tamis_type *type = p->tensor->type;
    uint8_t *buffer = c->buffers[i_worker];
    c->counts[i_item] = (counts){0};
    c->errors[i_item].code = TAMIS_OK;
    if (tamis_gguf_read_tensor(c->g, p->tensor, p->offset, p->n_bytes, buffer, &c->errors[i_item]))
        return;
    check_blocks(type, buffer, (int64_t)(p->n_bytes / type->block_bytes),
                 p->offset / type->block_bytes, c->deep, &c->counts[i_item]);
    const tamis_input *input = c->g->files[p->tensor->i_file].input;
    if (input) tamis_input_dont_need(input, p->tensor->file_offset + p->offset, p->n_bytes);
}

static void add_counts(counts *to, const counts *more) {
    if (!to->n_bad) to->first_bad = more->first_bad;
    if (!to->n_decoded) to->first_decoded = more->first_decoded;
    to->n_bad += more->n_bad;
    to->n_decoded += more->n_decoded;
    to->has_nonzero |= more->has_nonzero;
}

/* --- what is behind a tensor's data --- */

static tamis_status count_padding(const tamis_gguf *g, int64_t i_tensor, uint64_t *n_nonzero,
                                  tamis_error *err) {
    uint8_t bytes[4096];
    const tamis_gguf_tensor *t = &g->tensors[i_tensor];
    const gguf_file *f = &g->files[t->i_file];
    uint64_t at = t->file_offset + t->n_bytes, end;
    *n_nonzero = 0;
    if (!t->is_size_known || !tamis_align_up_u64(at, f->alignment, &end)) return TAMIS_OK;
    end = end < f->size ? end : f->size;
    while (at < end) {
        const size_t n = end - at < sizeof bytes ? (size_t)(end - at) : sizeof bytes;
        if (f->input) {
            tamis_status st = tamis_input_read(f->input, at, n, bytes, err);
            if (st) return st;
        } else {
            memcpy(bytes, f->memory + at, n);
        }
        for (size_t i = 0; i < n; i++)
            *n_nonzero += bytes[i] != 0;
        at += n;
    }
    return TAMIS_OK;
}

/* --- findings --- */

typedef struct report {
    const tamis_gguf *g;
    bool deep;
    tamis_finding_fn *found;
    void *ctx;
    int64_t n_bad_tensors;
} report;

static void give(const report *r, const tamis_gguf_tensor *t, tamis_finding_kind kind,
                 uint64_t n_bad, uint64_t first) {
    const uint64_t blocks_per_row =
        t->type && t->type->block_elems ? t->ne[0] / t->type->block_elems : 1;
    r->found(r->ctx, &(tamis_gguf_finding){.tensor = t->name,
                                           .kind = kind,
                                           .row = first / blocks_per_row,
                                           .block = first % blocks_per_row,
                                           .n_bad = n_bad});
}

/* A tensor's last piece is done. */
static tamis_status end_tensor(report *r, int64_t i_tensor, const counts *c, tamis_error *err) {
    const tamis_gguf_tensor *t = &r->g->tensors[i_tensor];
    const bool is_float = t->type->class == TAMIS_CLASS_FLOAT;
    uint64_t n_padding = 0;
    r->n_bad_tensors += c->n_bad || c->n_decoded;
    if (c->n_bad)
        give(r, t, is_float ? TAMIS_FINDING_VALUE : TAMIS_FINDING_SCALE, c->n_bad, c->first_bad);
    if (c->n_decoded) give(r, t, TAMIS_FINDING_DECODED, c->n_decoded, c->first_decoded);
    if (!r->deep) return TAMIS_OK;
    if (t->type->decode && !c->has_nonzero)
        give(r, t, TAMIS_FINDING_ZEROS, tamis_tensor_n_elems(t), 0);
    tamis_status st = count_padding(r->g, i_tensor, &n_padding, err);
    if (!st && n_padding) give(r, t, TAMIS_FINDING_PADDING, n_padding, 0);
    return st;
}

static tamis_status check_all(checker *c, const tamis_check_options *options, report *r,
                              tamis_error *err) {
    gguf_walk walk = {.g = c->g, .piece_bytes = PIECE_BYTES, .whole_blocks = true};
    counts sum = {0};
    size_t n;
    while ((n = gguf_walk_next(&walk, UINT64_MAX, c->pieces, N_ROUND))) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        tamis_pool_run(options->pool, (int64_t)n, check_piece, c);
        for (size_t i = 0; i < n; i++) {
            const gguf_piece *p = &c->pieces[i];
            if (c->errors[i].code) {
                if (err) *err = c->errors[i];
                return c->errors[i].code;
            }
            tamis_progress_advance(options->progress, p->n_bytes);
            add_counts(&sum, &c->counts[i]);
            if (!p->is_last) continue;
            tamis_status st = end_tensor(r, p->i_tensor, &sum, err);
            if (st) return st;
            sum = (counts){0};
        }
    }
    return TAMIS_OK;
}

tamis_status tamis_gguf_check_values(const tamis_gguf *g, const tamis_check_options *options,
                                     tamis_finding_fn *found, void *ctx, int64_t *n_bad_tensors,
                                     tamis_error *err) {
    static const tamis_check_options defaults;
    if (!options) options = &defaults;
    const int n_workers = tamis_pool_size(options->pool);
    uint64_t n_bytes = 0;
    report r = {.g = g, .deep = options->deep, .found = found, .ctx = ctx};
    tamis_status st = TAMIS_NO_RESOURCE;
    checker *c = tamis_alloc_array(1, sizeof *c, err);
    if (!c) return st;
    c->g = g;
    c->deep = options->deep;
    c->buffers = tamis_alloc_array((uint64_t)n_workers, sizeof *c->buffers, err);
    if (!c->buffers) goto out;
    for (int i = 0; i < n_workers; i++) {
        c->buffers[i] = tamis_alloc_array(PIECE_BYTES, 1, err);
        if (!c->buffers[i]) goto out;
    }
    for (uint64_t i = 0; i < g->n_tensors; i++)
        n_bytes += g->tensors[i].n_bytes;
    tamis_progress_begin(options->progress, "checking", n_bytes, "B");
    st = check_all(c, options, &r, err);
    tamis_progress_end(options->progress);
    *n_bad_tensors = r.n_bad_tensors;
out:
    for (int i = 0; c->buffers && i < n_workers; i++)
        free(c->buffers[i]);
    free(c->buffers);
    free(c);
    return st;
}
