/* codebooks.h - numbers fixed by the block formats: element values and grids.
 * A grid entry is 16 bits: the codes of its elements, element 0 lowest, 2 bits each for
 * the grids of eight elements and 3 bits for those of four: 13 KB for all of them, where
 * values follow from codes by arithmetic. The tables are in codebooks.c. Meaning:
 * reference/tensor-types.md section 4. */
#ifndef TAMIS_FORMATS_CODEBOOKS_H
#define TAMIS_FORMATS_CODEBOOKS_H

#include <stdint.h>

extern const int8_t tamis_iq4_nl_values[16]; /* iq4_nl, iq4_xs */
extern const int8_t tamis_fp4_values[16];    /* mxfp4, nvfp4: twice the E2M1 value */

/* Eight magnitudes per entry: 8, 25, 43 for codes 0, 1, 2. */
extern const uint16_t tamis_iq2_xxs_grid[256];
extern const uint16_t tamis_iq2_xs_grid[512];
extern const uint16_t tamis_iq2_s_grid[1024];
/* Four magnitudes per entry: 4, 12, .. 52, 62 and 1, 3, .. 15 for codes 0 .. 7. */
extern const uint16_t tamis_iq3_xxs_grid[256];
extern const uint16_t tamis_iq3_s_grid[512];
/* Eight values per entry: -1, 0, 1 for codes 0, 1, 2. */
extern const uint16_t tamis_iq1_s_grid[2048]; /* iq1_s, iq1_m */
extern const uint16_t tamis_iq1_xs_grid[1024];
extern const uint16_t tamis_iq1_xxs_grid[512];
extern const uint16_t tamis_iq1_xxxs_grid[256];

#endif
