/* grid_lists.h - what the search for grid entries looks up: the entries in lists by their halves,
 * and the entry that is nearest to every combination of values when all elements weigh the same. */
#ifndef TAMIS_FORMATS_GRID_LISTS_H
#define TAMIS_FORMATS_GRID_LISTS_H

#include <stdint.h>

enum { TAMIS_GRID_RUNS = 81, TAMIS_GRID_ENTRIES = 2048, TAMIS_GRID_CELLS = 6561 };

/* A grid by runs of entries that share the upper half, short runs first: a run has as many
 * entries as the one before, or more, so that loops over runs are easy to foresee. Lengths are
 * even: where they are not the last entry counts twice. */
typedef struct tamis_grid_lists {
    int n; /* runs */
    uint8_t upper[TAMIS_GRID_RUNS], length[TAMIS_GRID_RUNS];
    /* Lower halves, run after run, as sum of code[e] * n_values^e. */
    uint8_t lower[TAMIS_GRID_ENTRIES + TAMIS_GRID_RUNS];
    /* The code (as in the grid) of the nearest entry, by sum of code[e] * n_values^e over the whole
     * entry. One more number follows the last, so that 32 bits can be read at each. */
    uint16_t map[TAMIS_GRID_CELLS + 1];
} tamis_grid_lists;

/* The lists of one of the grids of codebooks.h. All are made at the first call. Thread-safe. */
const tamis_grid_lists *tamis_grid_lists_of(const uint16_t *grid);

#endif
