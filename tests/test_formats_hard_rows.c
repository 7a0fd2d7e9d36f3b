/* test_formats_hard_rows.c - rows that encoders trip over: whatever the row, the importance, the
 * type and the effort, the result is finite, its scales are sound, and no block is worse than by
 * plain rounding to nearest or than nothing at all; and magnitudes at the limit of a format. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support_rounding.h"
#include "support_rows.h"

enum { N = 512, MAX_BYTES = 4 * N };

static const tamis_effort efforts[] = {TAMIS_EFFORT_FAST, TAMIS_EFFORT_NORMAL, TAMIS_EFFORT_BEST};

/* Encodes, and decodes into y what must be finite and sound. */
static void encode_soundly(const tamis_type *type, const float *x, const float *w,
                           tamis_effort effort, const char *what, float *y) {
    uint8_t blocks[MAX_BYTES];
    tamis_error err;
    memset(blocks, 0xA5, sizeof blocks);
    if (tamis_encode_row(type, x, w, effort, blocks, N, &err) != TAMIS_OK)
        fail_msg("%s, %s: %s", type->name, what, err.message);
    int64_t n_blocks = N / type->block_elems;
    int64_t i_bad = tamis_find_bad_block(type, blocks, n_blocks);
    if (i_bad < n_blocks) fail_msg("%s, %s: block %d is unsound", type->name, what, (int)i_bad);
    tamis_decode(type, blocks, y, N);
    int64_t i = tamis_find_nonfinite(y, N);
    if (i < N) fail_msg("%s, %s: element %d decodes to %g", type->name, what, (int)i, (double)y[i]);
}

static int n_failed; /* in the test that runs: each is printed, one alone says little */

static void no_worse(const tamis_type *type, const float *x, const float *w, const float *y,
                     const float *other, const char *what, const char *than) {
    int n = type->class == TAMIS_CLASS_QUANTIZED ? (int)type->block_elems : N;
    for (int at = 0; at < N; at += n) {
        double ours = squared_error(x + at, y + at, w ? w + at : NULL, n);
        double theirs = squared_error(x + at, other + at, w ? w + at : NULL, n);
        if (ours <= theirs * (1 + 1e-5)) continue;
        print_message("%s, %s, elements from %d: error %g, by %s %g\n", type->name, what, at, ours,
                      than, theirs);
        n_failed++;
    }
}

static const row_kind *row;

static void try_row(const tamis_type *type) {
    static const float nothing[N];
    float x[N], y[N], rounded[N], room[N];
    row->fill(x, N);
    bool has_rule = round_to_nearest(type, x, rounded, N);
    for (const row_kind *importance = importance_rows; importance->name; importance++) {
        const float *w = fill_importance(importance, room, N);
        bool is_empty = w && squared_error(room, nothing, NULL, N) == 0;
        for (size_t i = 0; i < sizeof efforts / sizeof *efforts; i++) {
            char what[128];
            snprintf(what, sizeof what, "%s, importance %s, effort %s", row->name, importance->name,
                     tamis_effort_name(efforts[i]));
            encode_soundly(type, x, w, efforts[i], what, y);
            /* Where no column weighs anything all weigh the same. */
            const float *judge = is_empty ? NULL : w;
            no_worse(type, x, judge, y, nothing, what, "zeros");
            if (has_rule) no_worse(type, x, judge, y, rounded, what, "rounding to nearest");
        }
    }
}

static void test_row(void **state) {
    row = *state;
    rows_seed(11);
    n_failed = 0;
    for_each_encoder(N, try_row);
    assert_int_equal(n_failed, 0);
}

static bool is_grid(const tamis_type *type) {
    return strncmp(type->name, "iq", 2) == 0 && strncmp(type->name, "iq4", 3) != 0;
}

/* The largest magnitude a type takes, in both signs, alone and everywhere. */
static void encode_the_largest(const tamis_type *type) {
    float x[N], y[N];
    float top = type->largest > 0.0f ? type->largest : FLT_MAX;
    for (int i = 0; i < 2 * 3 * 2; i++) {
        float signed_value = i & 1 ? -top : top;
        if (i & 2) {
            for (int e = 0; e < N; e++)
                x[e] = e % 3 ? signed_value : -signed_value;
        } else {
            row->fill(x, N);
            x[77] = signed_value;
        }
        encode_soundly(type, x, NULL, efforts[i / 4], "the largest value", y);
        /* q1_0 has one magnitude for a block: one value alone cannot have its own. Grids have no
         * zero beside it, and some only even numbers of signs. */
        if ((type->id == TAMIS_TYPE_Q1_0 && !(i & 2)) || is_grid(type)) continue;
        /* A format is not asked for more than half of the way: mxfp4 ends at 3/4 of FLT_MAX. */
        if (!(y[77] / signed_value > 0.5f))
            fail_msg("%s: %g becomes %g", type->name, (double)signed_value, (double)y[77]);
    }
}

static void test_largest_is_held(void **state) {
    row = *state;
    rows_seed(12);
    for_each_encoder(N, encode_the_largest);
}

/* The next larger number is refused, by element, value and type. */
static void refuse_above_the_largest(const tamis_type *type) {
    float x[N];
    uint8_t blocks[MAX_BYTES];
    if (!(type->largest > 0.0f)) return;
    for (int i = 0; i < 6; i++) {
        float above = nextafterf(type->largest, INFINITY);
        tamis_error err;
        row->fill(x, N);
        x[499] = i & 1 ? -above : above;
        tamis_status st = tamis_encode_row(type, x, NULL, efforts[i / 2], blocks, N, &err);
        assert_int_equal(st, TAMIS_BAD_INPUT);
        if (!strstr(err.message, "element 499 ") || !strstr(err.message, type->name))
            fail_msg("%s: \"%s\"", type->name, err.message);
    }
}

static void test_larger_is_refused(void **state) {
    row = *state;
    rows_seed(13);
    for_each_encoder(N, refuse_above_the_largest);
}

/* Types whose scale is an f16 have a limit: without one an infinite scale could be written. */
static void has_a_limit(const tamis_type *type) {
    for (int i = 0; i < 3; i++)
        if (type->fields[i].check == TAMIS_FIELD_F16 ||
            type->fields[i].check == TAMIS_FIELD_F16_OF_4_U16)
            if (!(type->largest > 0.0f)) fail_msg("%s has no limit", type->name);
}

static void test_limits(void **state) {
    (void)state;
    for_each_encoder(N, has_a_limit);
}

#define ROW(table, i)                                                                              \
    { #table " " #i, test_row, NULL, NULL, (void *)(uintptr_t)&table[i] }
#define ON_BELL(test)                                                                              \
    { #test, test, NULL, NULL, (void *)(uintptr_t)&ordinary_rows[0] }

int main(void) {
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        ROW(ordinary_rows, 0),
        ROW(ordinary_rows, 1),
        ROW(ordinary_rows, 2),
        ROW(ordinary_rows, 3),
        ROW(ordinary_rows, 4),
        ROW(hard_rows, 0),
        ROW(hard_rows, 1),
        ROW(hard_rows, 2),
        ROW(hard_rows, 3),
        ROW(hard_rows, 4),
        ROW(hard_rows, 5),
        ROW(hard_rows, 6),
        ROW(hard_rows, 7),
        ROW(hard_rows, 8),
        ROW(hard_rows, 9),
        ROW(hard_rows, 10),
        ROW(hard_rows, 11),
        ON_BELL(test_largest_is_held),
        ON_BELL(test_larger_is_refused),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
