/* test_formats_properties.c - what holds for every encoder there is: blocks are encoded each by
 * itself, only the proportions of importance count, powers of two pass through, what was
 * stored once is stored again, and no effort does worse than a lower one. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support_rows.h"

enum { N = 2048, MAX_BYTES = 4 * N + 16 };

static tamis_effort effort; /* of the test that runs */

static void encode(const tamis_type *type, const float *x, const float *w, int n, uint8_t *blocks) {
    tamis_error err;
    if (tamis_encode_row(type, x, w, effort, blocks, n, &err) != TAMIS_OK)
        fail_msg("%s: %s", type->name, err.message);
}

static size_t bytes_of(const tamis_type *type, int n_elems) {
    return (size_t)n_elems / type->block_elems * type->block_bytes;
}

static void same_bytes(const tamis_type *type, const uint8_t *a, const uint8_t *b, int n_elems,
                       const char *what) {
    for (size_t i = 0; i < bytes_of(type, n_elems); i++)
        if (a[i] != b[i])
            fail_msg("%s, effort %s, %s: byte %zu of block %zu differs", type->name,
                     tamis_effort_name(effort), what, i % type->block_bytes, i / type->block_bytes);
}

/* A row of pieces of 128 elements from all kinds of rows, so that neighbours have nothing in
 * common. */
static void fill_patchwork(float *x, const row_kind *const tables[], int n_tables) {
    float room[N];
    for (int at = 0; at < N;) {
        for (int t = 0; t < n_tables && at < N; t++) {
            for (const row_kind *kind = tables[t]; kind->name && at < N; kind++) {
                if (!kind->fill) continue;
                kind->fill(room, N);
                memcpy(x + at, room, 128 * sizeof *x);
                at += 128;
            }
        }
    }
}

static void fill_mixed(float *x, float *w) {
    static const row_kind *const rows[] = {ordinary_rows, hard_rows}, *const importance[] = {
                                                                          importance_rows};
    fill_patchwork(x, rows, 2);
    fill_patchwork(w, importance, 1);
}

/* Every byte is written, and from the arguments alone. */
static void repeats(const tamis_type *type) {
    float x[N], w[N];
    uint8_t once[MAX_BYTES], again[MAX_BYTES];
    fill_mixed(x, w);
    memset(once, 0xA5, sizeof once);
    memset(again, 0x5A, sizeof again);
    encode(type, x, w, N, once);
    encode(type, x, w, N, again);
    same_bytes(type, once, again, N, "encoded twice");
    assert_int_equal(once[bytes_of(type, N)], 0xA5);
}

static void shuffle(int *order, int n) {
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(rows_random() % (uint32_t)(i + 1)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* Blocks in another order give the same blocks in that order; a part gives that part. */
static void permutes(const tamis_type *type) {
    float x[N], w[N], moved_x[N], moved_w[N];
    uint8_t whole[MAX_BYTES], moved[MAX_BYTES], want[MAX_BYTES];
    int order[N], n = (int)type->block_elems, n_blocks = N / n;
    fill_mixed(x, w);
    shuffle(order, n_blocks);
    encode(type, x, w, N, whole);
    for (int i = 0; i < n_blocks; i++) {
        memcpy(moved_x + i * n, x + order[i] * n, (size_t)n * sizeof *x);
        memcpy(moved_w + i * n, w + order[i] * n, (size_t)n * sizeof *w);
        memcpy(want + (size_t)i * type->block_bytes, whole + (size_t)order[i] * type->block_bytes,
               type->block_bytes);
    }
    encode(type, moved_x, moved_w, N, moved);
    same_bytes(type, moved, want, N, "blocks in another order");
    for (int i = 0; i<n_blocks; i += n_blocks> 16 ? 7 : 1) {
        int n_part = (n_blocks - i > 3 ? 3 : 1) * n;
        encode(type, x + i * n, w + i * n, n_part, moved);
        same_bytes(type, moved, whole + (size_t)i * type->block_bytes, n_part, "a part by itself");
    }
}

/* Importance counts by its proportions: powers of two change nothing. */
static void scales_importance(const tamis_type *type) {
    static const int powers[] = {-60, -1, 3, 80};
    float x[N], w[N], scaled[N];
    uint8_t once[MAX_BYTES], again[MAX_BYTES];
    for (const row_kind *row = ordinary_rows; row->name; row++) {
        row->fill(x, N);
        for (int k = 1; k <= 2; k++) {
            importance_rows[k].fill(w, N);
            encode(type, x, w, N, once);
            for (int i = 0; i < 4; i++) {
                for (int e = 0; e < N; e++)
                    scaled[e] = ldexpf(w[e], powers[i]);
                encode(type, x, scaled, N, again);
                same_bytes(type, once, again, N, "importance times a power of two");
            }
        }
    }
}

/* The same importance everywhere is none, and so is none anywhere. */
static void even_importance(const tamis_type *type) {
    static const float values[] = {1.0f, 0x1p-70f, 0x1p90f, 0.0f};
    float x[N], w[N];
    uint8_t without[MAX_BYTES], with[MAX_BYTES];
    fill_mixed(x, w);
    encode(type, x, NULL, N, without);
    for (int i = 0; i < 4; i++) {
        for (int e = 0; e < N; e++)
            w[e] = values[i];
        encode(type, x, w, N, with);
        same_bytes(type, without, with, N, "importance all the same");
    }
}

/* Times a power of two, where all scales stay normal numbers: the decoded values exactly so. */
static void scales_values(const tamis_type *type) {
    static const int powers[] = {-3, 1, 6};
    float x[N], w[N], y[N], scaled[N];
    uint8_t blocks[MAX_BYTES];
    /* Scales of eight bits of their own, with little room: test_formats_encode_small.c. */
    if (type->id == TAMIS_TYPE_NVFP4) return;
    for (const row_kind *row = ordinary_rows; row->name; row++) {
        float top = 0.0f;
        row->fill(x, N);
        importance_rows[1].fill(w, N);
        for (int e = 0; e < N; e++) {
            /* Sizes within a factor of some hundred, so that the steps of all blocks are normal f16
             * numbers: iq4_xs divides the largest value by 4064. */
            x[e] = ldexpf(x[e], 8) + (x[e] < 0.0f ? -1.0f : 1.0f);
            top = fmaxf(top, fabsf(x[e]));
        }
        for (int e = 0; e < N; e++)
            x[e] *= 256.0f / top;
        encode(type, x, w, N, blocks);
        tamis_decode(type, blocks, y, N);
        for (int i = 0; i < 3; i++) {
            if (type->largest > 0.0f && ldexpf(512.0f, powers[i]) > type->largest) continue;
            for (int e = 0; e < N; e++)
                scaled[e] = ldexpf(x[e], powers[i]);
            encode(type, scaled, w, N, blocks);
            tamis_decode(type, blocks, scaled, N);
            for (int e = 0; e < N; e++)
                if (scaled[e] != ldexpf(y[e], powers[i]))
                    fail_msg("%s, effort %s, row %s times 2^%d: element %d is %g, expected %g",
                             type->name, tamis_effort_name(effort), row->name, powers[i], e,
                             (double)scaled[e], (double)ldexpf(y[e], powers[i]));
        }
    }
}

/* What was decoded is encoded again with a fraction of the first loss at most (nothing where the
 * first lost nothing): a search starts from the data and need not come back to the same scales,
 * but it must come near. */
static void round_trips(const tamis_type *type) {
    float x[N], y[N], z[N];
    uint8_t blocks[MAX_BYTES];
    for (const row_kind *row = ordinary_rows; row->name; row++) {
        row->fill(x, N);
        encode(type, x, NULL, N, blocks);
        tamis_decode(type, blocks, y, N);
        encode(type, y, NULL, N, blocks);
        tamis_decode(type, blocks, z, N);
        double first = squared_error(x, y, NULL, N), second = squared_error(y, z, NULL, N);
        if (!(second <= 0.25 * first))
            fail_msg("%s, effort %s, row %s: loses %g, and %g when encoded again", type->name,
                     tamis_effort_name(effort), row->name, first, second);
    }
}

static void (*property)(const tamis_type *type);

static void test_property(void **state) {
    property = (void (*)(const tamis_type *))(uintptr_t)*state;
    for (effort = TAMIS_EFFORT_FAST; effort <= TAMIS_EFFORT_BEST; effort++) {
        rows_seed(21);
        for_each_encoder(N, property);
    }
}

/* Weighted errors of the blocks at the effort in use. */
static void block_errors(const tamis_type *type, const float *x, const float *w, double *errors) {
    float y[N];
    uint8_t blocks[MAX_BYTES];
    int n = (int)type->block_elems;
    encode(type, x, w, N, blocks);
    tamis_decode(type, blocks, y, N);
    for (int at = 0; at < N; at += n)
        errors[at / n] = squared_error(x + at, y + at, w ? w + at : NULL, n);
}

static void rises_never(const tamis_type *type) {
    float x[N], room[N];
    double errors[3][N];
    const row_kind *const tables[] = {ordinary_rows, hard_rows};
    for (int t = 0; t < 2; t++) {
        for (const row_kind *row = tables[t]; row->name; row++) {
            row->fill(x, N);
            for (const row_kind *importance = importance_rows; importance->name; importance++) {
                const float *w = fill_importance(importance, room, N);
                for (int i = 0; i < 3; i++) {
                    effort = (tamis_effort)(TAMIS_EFFORT_FAST + i);
                    block_errors(type, x, w, errors[i]);
                    for (int b = 0; i > 0 && b < N / (int)type->block_elems; b++)
                        if (errors[i][b] > errors[i - 1][b])
                            fail_msg("%s, row %s, importance %s, block %d: %.9g at effort %s, "
                                     "%.9g with less",
                                     type->name, row->name, importance->name, b, errors[i][b],
                                     tamis_effort_name(effort), errors[i - 1][b]);
                }
            }
        }
    }
}

static void test_error_never_rises_with_effort(void **state) {
    (void)state;
    rows_seed(22);
    for_each_encoder(N, rises_never);
}

#define PROPERTY(fn)                                                                               \
    { #fn, test_property, NULL, NULL, (void *)(uintptr_t)fn }

int main(void) {
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        PROPERTY(repeats),
        PROPERTY(permutes),
        PROPERTY(scales_importance),
        PROPERTY(even_importance),
        PROPERTY(scales_values),
        PROPERTY(round_trips),
        cmocka_unit_test(test_error_never_rises_with_effort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
