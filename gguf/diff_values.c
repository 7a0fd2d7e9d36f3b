/* diff_values.c - the data of two tensors held against each other.
 * Pieces of 64 Ki elements (whole blocks of every type) are read, decoded and summed in tiles
 * that stay in the nearest cache; sums run in eight lanes of double, pieces are combined in file
 * order. Bound by decoding. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/diff_internal.h"

enum {
    PIECE_ELEMS = 64 << 10,
    PIECE_BYTES = 8 * PIECE_ELEMS, /* of the widest type */
    TILE_ELEMS = 2048,
    N_LANES = 8,
    N_ROUND = 64, /* pieces between two looks at Ctrl-C */
};

typedef struct piece {
    tamis_diff_tensor *pair;
    uint64_t at, n; /* units: elements, or bytes of unknown types */
    tamis_diff_sums sums;
    tamis_error err;
} piece;

typedef struct worker {
    uint8_t *a, *b; /* [PIECE_BYTES] */
    float x[TILE_ELEMS], y[TILE_ELEMS];
} worker;

typedef struct comparer {
    tamis_gguf_diff *diff;
    worker *workers;
    piece pieces[N_ROUND];
    int64_t n_pieces;
} comparer;

/* Pairs that cannot be subtracted become 0 - 0 in the sums. */
static void take_nonfinite(float *x, float *y, int64_t n, tamis_diff_sums *s) {
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(x[i]) && isfinite(y[i])) continue;
        s->n_nonfinite++;
        s->n_differ += memcmp(&x[i], &y[i], sizeof *x) != 0;
        x[i] = y[i] = 0;
    }
}

/* One tile: x from A, y from B, both finite; `at` is the element number of x[0]. */
static void sum_tile(const float *x, const float *y, int64_t n, uint64_t at, tamis_diff_sums *s) {
    double abs[N_LANES] = {0}, sq[N_LANES] = {0}, aa[N_LANES] = {0}, bb[N_LANES] = {0};
    double ab[N_LANES] = {0}, max[N_LANES] = {0};
    int64_t n_differ[N_LANES] = {0};
    for (int64_t i = 0; i < n; i++) {
        const int l = (int)(i % N_LANES);
        const double a = (double)x[i], b = (double)y[i], d = fabs(a - b);
        abs[l] += d;
        sq[l] += d * d;
        aa[l] += a * a;
        bb[l] += b * b;
        ab[l] += a * b;
        max[l] = d > max[l] ? d : max[l];
        n_differ[l] += d != 0;
    }
    double tile_max = 0;
    for (int l = 0; l < N_LANES; l++) {
        s->abs += abs[l];
        s->sq += sq[l];
        s->aa += aa[l];
        s->bb += bb[l];
        s->ab += ab[l];
        s->n_differ += (uint64_t)n_differ[l];
        tile_max = max[l] > tile_max ? max[l] : tile_max;
    }
    if (tile_max <= s->max_abs) return;
    s->max_abs = tile_max;
    for (int64_t i = 0; i < n; i++)
        if (fabs((double)x[i] - (double)y[i]) == tile_max) {
            s->i_max = at + (uint64_t)i;
            return;
        }
}

/* The same bytes: only the square of the values is wanted. */
static void sum_equal_tile(const float *x, int64_t n, tamis_diff_sums *s) {
    double aa[N_LANES] = {0}, sum = 0;
    for (int64_t i = 0; i < n; i++)
        aa[i % N_LANES] += (double)x[i] * (double)x[i];
    for (int l = 0; l < N_LANES; l++)
        sum += aa[l];
    s->aa += sum;
    s->bb += sum;
    s->ab += sum;
}

static uint64_t bytes_of(const tamis_gguf_tensor *t, uint64_t n_elems) {
    const bool has_blocks = t->type && t->type->block_elems;
    return has_blocks ? n_elems / t->type->block_elems * t->type->block_bytes : n_elems;
}

static void compare_values(worker *w, piece *p, bool is_same) {
    const tamis_gguf_tensor *ta = p->pair->a, *tb = p->pair->b;
    for (uint64_t i = 0; i < p->n; i += TILE_ELEMS) {
        const int64_t n = p->n - i < TILE_ELEMS ? (int64_t)(p->n - i) : TILE_ELEMS;
        tamis_decode(ta->type, w->a + bytes_of(ta, i), w->x, n);
        if (!is_same) tamis_decode(tb->type, w->b + bytes_of(tb, i), w->y, n);
        const float *y = is_same ? w->x : w->y;
        if (tamis_find_nonfinite(w->x, n) < n || tamis_find_nonfinite(y, n) < n)
            take_nonfinite(w->x, is_same ? w->x : w->y, n, &p->sums);
        if (is_same)
            sum_equal_tile(w->x, n, &p->sums);
        else
            sum_tile(w->x, w->y, n, p->at + i, &p->sums);
    }
}

static void compare_bytes(const worker *w, piece *p) {
    const tamis_type *type = p->pair->a->type;
    const size_t width = type && type->block_elems ? type->block_bytes : 1;
    for (uint64_t i = 0; i < p->n; i++)
        p->sums.n_differ += memcmp(w->a + i * width, w->b + i * width, width) != 0;
}

static tamis_status read_piece(const tamis_gguf *g, const tamis_gguf_tensor *t, const piece *p,
                               uint8_t *dst, tamis_error *err) {
    if (!t->type || !t->type->block_elems) return tamis_gguf_read_raw(g, t, p->at, p->n, dst, err);
    return tamis_gguf_read_tensor(g, t, bytes_of(t, p->at), bytes_of(t, p->n), dst, err);
}

static void compare_piece(void *ctx, int64_t i_item, int i_worker) {
    comparer *c = ctx;
    worker *w = &c->workers[i_worker];
    piece *p = &c->pieces[i_item];
    const tamis_gguf_tensor *ta = p->pair->a, *tb = p->pair->b;
    if (read_piece(c->diff->a, ta, p, w->a, &p->err)) return;
    if (read_piece(c->diff->b, tb, p, w->b, &p->err)) return;
    const bool is_same =
        ta->type_id == tb->type_id && !memcmp(w->a, w->b, (size_t)bytes_of(ta, p->n));
    p->sums.n_elems = p->n;
    p->sums.has_other_bytes = ta->type_id == tb->type_id && !is_same;
    if (p->pair->how == TAMIS_DIFF_VALUES)
        compare_values(w, p, is_same);
    else if (!is_same)
        compare_bytes(w, p);
}

static void add_sums(tamis_diff_sums *to, const tamis_diff_sums *s) {
    to->n_elems += s->n_elems;
    to->n_differ += s->n_differ;
    to->n_nonfinite += s->n_nonfinite;
    to->has_other_bytes |= s->has_other_bytes;
    to->abs += s->abs;
    to->sq += s->sq;
    to->aa += s->aa;
    to->bb += s->bb;
    to->ab += s->ab;
    if (s->max_abs <= to->max_abs) return;
    to->max_abs = s->max_abs;
    to->i_max = s->i_max;
}

/* Run the pieces collected and add them up in their order. */
static tamis_status run_round(comparer *c, const tamis_diff_options *options, tamis_error *err) {
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    tamis_pool_run(options->pool, c->n_pieces, compare_piece, c);
    for (int64_t i = 0; i < c->n_pieces; i++) {
        const piece *p = &c->pieces[i];
        if (p->err.code) {
            if (err) *err = p->err;
            return p->err.code;
        }
        add_sums(&p->pair->sums, &p->sums);
        tamis_progress_advance(options->progress, bytes_of(p->pair->a, p->n));
    }
    c->n_pieces = 0;
    return TAMIS_OK;
}

static tamis_diff_how how_to_compare(const tamis_gguf_diff *diff, const tamis_diff_tensor *t) {
    const tamis_gguf_tensor *a = t->a, *b = t->b;
    if (!a || !b || t->has_other_shape || !a->is_size_known || !b->is_size_known)
        return TAMIS_DIFF_NOT_COMPARED;
    if (a->type && b->type && a->type->decode && b->type->decode) return TAMIS_DIFF_VALUES;
    if (t->has_other_type) return TAMIS_DIFF_NOT_COMPARED;
    if (a->type && a->type->block_elems) return TAMIS_DIFF_BYTES;
    /* Bytes of unknown meaning: only in one byte order, and in one amount. */
    const bool is_comparable =
        tamis_gguf_is_big_endian(diff->a) == tamis_gguf_is_big_endian(diff->b) &&
        a->n_bytes == b->n_bytes;
    return is_comparable ? TAMIS_DIFF_BYTES : TAMIS_DIFF_NOT_COMPARED;
}

static tamis_status compare_all(comparer *c, const tamis_diff_options *options, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; !st && i < c->diff->n_tensors; i++) {
        tamis_diff_tensor *t = &c->diff->tensors[i];
        t->how = how_to_compare(c->diff, t);
        if (t->how == TAMIS_DIFF_NOT_COMPARED) continue;
        const bool has_blocks = t->a->type && t->a->type->block_elems;
        const uint64_t n = has_blocks ? tamis_tensor_n_elems(t->a) : t->a->n_bytes;
        for (uint64_t at = 0; !st && at < n; at += PIECE_ELEMS) {
            c->pieces[c->n_pieces++] =
                (piece){.pair = t, .at = at, .n = n - at < PIECE_ELEMS ? n - at : PIECE_ELEMS};
            if (c->n_pieces == N_ROUND) st = run_round(c, options, err);
        }
    }
    return st ? st : run_round(c, options, err);
}

tamis_status gguf_diff_values(tamis_gguf_diff *diff, const tamis_diff_options *options,
                              tamis_error *err) {
    const int n_workers = tamis_pool_size(options->pool);
    uint64_t n_bytes = 0;
    tamis_status st = TAMIS_NO_RESOURCE;
    comparer *c = tamis_alloc_array(1, sizeof *c, err);
    if (!c) return st;
    c->diff = diff;
    c->workers = tamis_alloc_array((uint64_t)n_workers, sizeof *c->workers, err);
    if (!c->workers) goto out;
    for (int i = 0; i < n_workers; i++) {
        c->workers[i].a = tamis_alloc_array(PIECE_BYTES, 1, err);
        c->workers[i].b = tamis_alloc_array(PIECE_BYTES, 1, err);
        if (!c->workers[i].a || !c->workers[i].b) goto out;
    }
    for (uint64_t i = 0; i < diff->n_tensors; i++)
        if (how_to_compare(diff, &diff->tensors[i]) != TAMIS_DIFF_NOT_COMPARED)
            n_bytes += diff->tensors[i].a->n_bytes;
    tamis_progress_begin(options->progress, "comparing", n_bytes, "B");
    st = compare_all(c, options, err);
    tamis_progress_end(options->progress);
    for (uint64_t i = 0; !st && i < diff->n_tensors; i++)
        if (diff->tensors[i].how == TAMIS_DIFF_VALUES)
            add_sums(&diff->total, &diff->tensors[i].sums);
out:
    for (int i = 0; c->workers && i < n_workers; i++) {
        free(c->workers[i].a);
        free(c->workers[i].b);
    }
    free(c->workers);
    free(c);
    return st;
}
