/* grid_map.h - the entry of a grid that is nearest to every combination of values, when all
 * elements weigh the same: a quick guess where a search over the entries is not worth its time. */
#ifndef TAMIS_FORMATS_GRID_MAP_H
#define TAMIS_FORMATS_GRID_MAP_H

#include <stdint.h>

/* The map of one of the grids of codebooks.h: the code (as in the grid) of the nearest entry by
 * the sum of code[e] * n^e, n = 3 values per element or 8. One more number follows the last, so
 * that 32 bits can be read at each. All maps are made at the first call. Thread-safe. */
const uint16_t *tamis_grid_map(const uint16_t *grid);

#endif
