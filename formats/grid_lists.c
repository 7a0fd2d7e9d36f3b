/* grid_lists.c - lists of grid entries by their halves; nearest entries by a distance transform:
 * one element after the other, each combination of values takes over the entry of the best one that
 * differs from it in that element only. Exact, and some hundred thousand steps for a grid. 140 KB
 * for all. */
#include "formats/grid_lists.h"

#include <pthread.h>
#include <stddef.h>

#include "formats/codebooks.h"

enum { MAX_VALUES = 8 };

static const int iq1_values[MAX_VALUES] = {-1, 0, 1};
static const int iq2_values[MAX_VALUES] = {8, 25, 43};
static const int iq3_xxs_values[MAX_VALUES] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int iq3_s_values[MAX_VALUES] = {1, 3, 5, 7, 9, 11, 13, 15};

/* clang-format off */
static const struct {
    const uint16_t *grid;
    int n_entries, n_values, n_elems;
    const int *values;
} grids[] = {
    {tamis_iq2_xxs_grid, 256, 3, 8, iq2_values},
    {tamis_iq2_xs_grid, 512, 3, 8, iq2_values},
    {tamis_iq2_s_grid, 1024, 3, 8, iq2_values},
    {tamis_iq3_xxs_grid, 256, 8, 4, iq3_xxs_values},
    {tamis_iq3_s_grid, 512, 8, 4, iq3_s_values},
    {tamis_iq1_s_grid, 2048, 3, 8, iq1_values},
    {tamis_iq1_xs_grid, 1024, 3, 8, iq1_values},
    {tamis_iq1_xxs_grid, 512, 3, 8, iq1_values},
    {tamis_iq1_xxxs_grid, 256, 3, 8, iq1_values},
};
/* clang-format on */
enum { N_GRIDS = sizeof grids / sizeof grids[0] };

static tamis_grid_lists lists[N_GRIDS];
static pthread_once_t lists_once = PTHREAD_ONCE_INIT;

/* Place of a lower half: nine of sixteen codes of two elements are in use where a code has two
 * bits. */
static uint8_t place_of_half(int code, int half_bits) {
    int place = code;
    if (half_bits == 8) place -= (code >> 2 & 3) + (code >> 4) * 7 + (code >> 6) * 9;
    return (uint8_t)place;
}

static void add_run(const uint16_t *entries, int length, int half_bits, int *n_lower,
                    tamis_grid_lists *out) {
    out->length[out->n] = (uint8_t)(length + length % 2);
    out->upper[out->n++] = (uint8_t)(entries[0] >> half_bits);
    for (int i = 0; i < length + length % 2; i++) {
        int code = entries[i < length ? i : length - 1] & ((1 << half_bits) - 1);
        out->lower[(*n_lower)++] = place_of_half(code, half_bits);
    }
}

static void find_runs(const uint16_t *grid, int n_entries, int half_bits, tamis_grid_lists *out) {
    int starts[TAMIS_GRID_RUNS + 1], n_runs = 0, n_lower = 0;
    for (int i = 0; i < n_entries; i++) {
        if (i == 0 || grid[i] >> half_bits != grid[i - 1] >> half_bits) starts[n_runs++] = i;
    }
    starts[n_runs] = n_entries;
    out->n = 0;
    for (int length = 1; out->n < n_runs; length++) {
        for (int r = 0; r < n_runs; r++) {
            if (starts[r + 1] - starts[r] == length)
                add_run(grid + starts[r], length, half_bits, &n_lower, out);
        }
    }
}

/* Cells that differ in one element only, `stride` apart, take over entries from each other. */
static void spread_line(int *distance, uint16_t *code, int stride, int n_values,
                        const int *values) {
    int old_distance[MAX_VALUES];
    uint16_t old_code[MAX_VALUES];
    for (int v = 0; v < n_values; v++) {
        old_distance[v] = distance[v * stride];
        old_code[v] = code[v * stride];
    }
    for (int v = 0; v < n_values; v++) {
        for (int from = 0; from < n_values; from++) {
            int off = values[v] - values[from], way = old_distance[from] + off * off;
            if (way < distance[v * stride]) {
                distance[v * stride] = way;
                code[v * stride] = old_code[from];
            }
        }
    }
}

static void make_map(int i_grid, int *distance) {
    int n_values = grids[i_grid].n_values, n_bits = n_values == 3 ? 2 : 3, n_cells = 1;
    uint16_t *map = lists[i_grid].map;
    for (int e = 0; e < grids[i_grid].n_elems; e++) {
        n_cells *= n_values;
    }
    for (int i = 0; i < n_cells; i++) {
        distance[i] = 1 << 20;
    }
    for (int i = 0; i < grids[i_grid].n_entries; i++) {
        uint16_t code = grids[i_grid].grid[i];
        int cell = 0;
        for (int e = grids[i_grid].n_elems - 1; e >= 0; e--) {
            cell = cell * n_values + (code >> (n_bits * e) & ((1 << n_bits) - 1));
        }
        distance[cell] = 0;
        map[cell] = code;
    }
    for (int stride = 1; stride < n_cells; stride *= n_values) {
        for (int i = 0; i < n_cells; i++) {
            if (i / stride % n_values == 0) {
                spread_line(distance + i, map + i, stride, n_values, grids[i_grid].values);
            }
        }
    }
}

static void make_lists(void) {
    int distance[TAMIS_GRID_CELLS];
    for (int i = 0; i < N_GRIDS; i++) {
        find_runs(grids[i].grid, grids[i].n_entries, grids[i].n_values == 3 ? 8 : 6, &lists[i]);
        make_map(i, distance);
    }
}

const tamis_grid_lists *tamis_grid_lists_of(const uint16_t *grid) {
    pthread_once(&lists_once, make_lists);
    for (int i = 0; i < N_GRIDS; i++) {
        if (grids[i].grid == grid) return &lists[i];
    }
    return NULL;
}
