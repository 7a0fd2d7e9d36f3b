/* test_formats_grid.c - the grid encoders against looking at every entry: for the step that is
 * stored, no entry and no allowed signs are better than those chosen. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "formats/codebooks.h"
#include "formats/formats.h"
#include "support_rows.h"

enum { N = 512, GROUP = 8 };

typedef struct grid_case {
    const char *name;
    const uint16_t *grid;
    int n_entries, n_elems; /* per entry */
    bool is_even;
    double values[8];
    double (*step)(const uint8_t *block, int i_group);
} grid_case;

static double f16_at(const uint8_t *at) {
    float d;
    tamis_type_by_id(TAMIS_TYPE_F16)->decode(at, &d, 1);
    return (double)d;
}

static int nibble_of(int byte, int half) {
    return byte >> (4 * half) & 15;
}

static double step_iq2_xxs(const uint8_t *b, int g) {
    return f16_at(b) * (0.5 + nibble_of(b[9 + g / 4 * 8], 1)) / 4;
}

static double step_iq2_xs(const uint8_t *b, int g) {
    return f16_at(b) * (0.5 + nibble_of(b[66 + g / 4], g % 4 / 2)) / 4;
}

static double step_iq2_s(const uint8_t *b, int g) {
    return f16_at(b) * (0.5 + nibble_of(b[74 + g / 4], g % 4 / 2)) / 4;
}

static double step_iq3_xxs(const uint8_t *b, int g) {
    return f16_at(b) * (0.5 + nibble_of(b[69 + g / 4 * 4], 1)) / 2;
}

static double step_iq3_s(const uint8_t *b, int g) {
    return f16_at(b) * (1 + 2 * nibble_of(b[106 + g / 8], g / 4 % 2));
}

static const grid_case cases[] = {
    {"iq2_xxs", tamis_iq2_xxs_grid, 256, 8, true, {8, 25, 43}, step_iq2_xxs},
    {"iq2_xs", tamis_iq2_xs_grid, 512, 8, true, {8, 25, 43}, step_iq2_xs},
    {"iq2_s", tamis_iq2_s_grid, 1024, 8, false, {8, 25, 43}, step_iq2_s},
    {"iq3_xxs", tamis_iq3_xxs_grid, 256, 4, true, {4, 12, 20, 28, 36, 44, 52, 62}, step_iq3_xxs},
    {"iq3_s", tamis_iq3_s_grid, 512, 4, false, {1, 3, 5, 7, 9, 11, 13, 15}, step_iq3_s},
};

/* Least error of one entry for magnitudes x: with the signs as they are, and with one turned. */
static void best_entry(const grid_case *c, const float *x, const float *w, double step,
                       double least[2]) {
    int n_bits = c->n_elems == 8 ? 2 : 3;
    least[0] = least[1] = INFINITY;
    for (int i = 0; i < c->n_entries; i++) {
        double error = 0, turn = INFINITY;
        for (int e = 0; e < c->n_elems; e++) {
            double v = step * c->values[c->grid[i] >> (n_bits * e) & ((1 << n_bits) - 1)];
            double m = fabs((double)x[e]), weight = w ? (double)w[e] : 1;
            error += weight * (m - v) * (m - v);
            turn = fmin(turn, 4 * weight * m * v);
        }
        least[0] = fmin(least[0], error);
        least[1] = fmin(least[1], error + turn);
    }
}

static double best_group(const grid_case *c, const float *x, const float *w, double step) {
    int n_minus = 0;
    for (int e = 0; e < GROUP; e++)
        n_minus += x[e] < 0;
    int turns = c->is_even ? n_minus % 2 : 0;
    double a[2], b[2];
    best_entry(c, x, w, step, a);
    if (c->n_elems == GROUP) return a[turns];
    best_entry(c, x + 4, w ? w + 4 : NULL, step, b);
    return turns ? fmin(a[1] + b[0], a[0] + b[1]) : a[0] + b[0];
}

static void test_no_entry_is_better(void **state) {
    const grid_case *c = *state;
    const tamis_type *type = tamis_type_by_name(c->name);
    float x[N], y[N], room[N];
    uint8_t blocks[4 * N];
    rows_seed(31);
    for (const row_kind *row = ordinary_rows; row->name; row++) {
        row->fill(x, N);
        for (int k = 0; k < 2; k++) {
            const float *w = k ? fill_importance(&importance_rows[1], room, N) : NULL;
            assert_int_equal(tamis_encode_row(type, x, w, TAMIS_EFFORT_NORMAL, blocks, N, NULL),
                             TAMIS_OK);
            tamis_decode(type, blocks, y, N);
            for (int at = 0; at < N; at += GROUP) {
                const uint8_t *block = blocks + (size_t)(at / 256) * type->block_bytes;
                const float *group_w = w ? w + at : NULL;
                double step = c->step(block, at % 256 / GROUP);
                double ours = squared_error(x + at, y + at, group_w, GROUP);
                double least = best_group(c, x + at, group_w, step);
                if (!(fabs(ours - least) <= 1e-4 * least + 1e-30))
                    fail_msg("%s, row %s, element %d: error %g, least %g", c->name, row->name, at,
                             ours, least);
            }
        }
    }
}

#define CASE(i)                                                                                    \
    { "case " #i, test_no_entry_is_better, NULL, NULL, (void *)(uintptr_t)&cases[i] }

int main(void) {
    tamis_formats_init();
    const struct CMUnitTest tests[] = {CASE(0), CASE(1), CASE(2), CASE(3), CASE(4)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
