/* encode_segment.c - encode a segment of a row against a quadratic form with any type's encoder.
 * e'He, e = x - y, is bounded from above by a form with a diagonal D that touches it at the present
 * y: minimising that bound is an ordinary weighted encode of y + He / D with weights D. For D_j =
 * sum_i |H_ij| the bound holds for every y and the form cannot rise; smaller diagonals step further
 * and are kept when the form fell. Compute bound: n^2 per step beside the encoder. */
#include "formats/formats.h"

#include <string.h>

enum { MAX = TAMIS_SEGMENT_MAX, MAX_BLOCK_BYTES = 4 * MAX };

/* The encoded segment, what it decodes to, and where the form stands. */
typedef struct segment {
    uint8_t blocks[MAX_BLOCK_BYTES];
    float y[MAX];
    float slope[MAX]; /* H (x - y) */
    double form;      /* (x - y)' H (x - y) */
} segment;

/* Columns one after the other: every slope is a sum in the order of the columns, at any width of
 * vectors. */
static void measure(const float *x, const float *h, int n, segment *s) {
    float off[MAX];
    s->form = 0;
    memset(s->slope, 0, sizeof s->slope);
    for (int j = 0; j < n; j++) {
        off[j] = x[j] - s->y[j];
        for (int i = 0; i < n; i++)
            s->slope[i] += h[j * n + i] * off[j];
    }
    for (int i = 0; i < n; i++)
        s->form += (double)off[i] * (double)s->slope[i];
}

static tamis_status encode_once(const tamis_type *type, const float *x, const float *h,
                                const float *target, const float *weights, tamis_effort effort,
                                int n, segment *s, tamis_error *err) {
    tamis_status st = tamis_encode_row(type, target, weights, effort, s->blocks, n, err);
    if (st) return st;
    tamis_decode(type, s->blocks, s->y, n);
    measure(x, h, n, s);
    return TAMIS_OK;
}

/* One step from *best with the diagonal scaled by `factor`; true when the form fell. */
static bool step(const tamis_type *type, const float *x, const float *h, const float *bound,
                 float factor, tamis_effort effort, int n, segment *best) {
    float target[MAX], weights[MAX];
    segment next;
    for (int j = 0; j < n; j++) {
        weights[j] = factor * bound[j];
        target[j] = best->y[j] + (weights[j] > 0.0f ? best->slope[j] / weights[j] : 0.0f);
    }
    /* A target out of the type's range is no step. */
    if (encode_once(type, x, h, target, weights, effort, n, &next, NULL)) return false;
    if (!(next.form < best->form * (1 - 1e-6))) return false;
    *best = next;
    return true;
}

tamis_status tamis_encode_segment(const tamis_type *type, const float *x, const float *form,
                                  tamis_effort effort, uint8_t *blocks, int64_t n_elems,
                                  tamis_error *err) {
    static const float factors[] = {1.0f, 0.5f, 0.25f, 0.125f};
    const int n_rounds = effort == TAMIS_EFFORT_FAST ? 1 : effort == TAMIS_EFFORT_BEST ? 16 : 4;
    float diagonal[MAX], bound[MAX];
    segment best;
    int n = (int)n_elems;
    if (n_elems <= 0 || n_elems > MAX || n_elems % type->block_elems != 0)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "a segment of %lld values; %s takes multiples of %u up to %d",
                          (long long)n_elems, type->name, type->block_elems, MAX);
    for (int j = 0; j < n; j++) {
        diagonal[j] = form[j * n + j];
        bound[j] = 0;
        for (int i = 0; i < n; i++)
            bound[j] += form[j * n + i] < 0 ? -form[j * n + i] : form[j * n + i];
    }
    tamis_status st = encode_once(type, x, form, x, diagonal, effort, n, &best, err);
    if (st) return st;
    bool is_moving = true;
    for (int round = 0; round < n_rounds && is_moving; round++) {
        is_moving = false;
        for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
            is_moving |= step(type, x, form, bound, factors[i], effort, n, &best);
    }
    memcpy(blocks, best.blocks, (size_t)(n / (int)type->block_elems) * type->block_bytes);
    return TAMIS_OK;
}
