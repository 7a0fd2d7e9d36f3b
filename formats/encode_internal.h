/* encode_internal.h - the encoders behind tamis_encode_rows(): families of types, each compiled
 * from one body per CPU level. Every level gives the same bytes, because a lane of a vector
 * only ever meets lanes of other blocks in sums whose order is fixed
 * (encode_tile_internal.h). The encoders of a type are found by its id. */
#ifndef TAMIS_FORMATS_ENCODE_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "formats/formats.h"
#include "formats/kernels_internal.h"

/* x [n_elems], importance [n_elems] >= 0 or NULL; n_elems a multiple of the type's block. Never
 * fails: tamis_encode_rows() has looked at the values. */
typedef void tamis_encode_fn(const float *x, const float *importance, uint8_t *blocks,
                             int64_t n_elems, tamis_effort effort);

/* Rows behind each other that share their importance. */
typedef struct tamis_rows {
    const float *x;          /* [n_rows][n_elems] */
    const float *importance; /* [n_elems], or NULL */
    uint8_t *blocks;         /* [n_rows][row_bytes] */
    int64_t n_rows, n_elems;
    ptrdiff_t row_bytes;
} tamis_rows;

/* The same for several rows, by families that prepare the importance once for all of them. */
typedef void tamis_encode_rows_fn(const tamis_rows *rows, tamis_effort effort);

/* One family at one CPU level: either function of a type; both NULL where the family does not have
 * it. */
typedef struct tamis_encoders {
    tamis_encode_fn *encode[TAMIS_N_TYPE_IDS];
    tamis_encode_rows_fn *encode_rows[TAMIS_N_TYPE_IDS];
} tamis_encoders;

/* Linear scales and codes, or the iq4 table: encode_linear_internal.h. */
extern const tamis_encoders tamis_linear_plain, tamis_linear_avx2, tamis_linear_avx512;
/* Entries of fixed grids: encode_grid_internal.h. */
extern const tamis_encoders tamis_grid_plain, tamis_grid_avx2, tamis_grid_avx512;
/* Bytes the format itself fixes (floats, q8_0): encode_fixed_internal.h. */
extern const tamis_encoders tamis_fixed_plain, tamis_fixed_avx2, tamis_fixed_avx512;
/* One to two bits with one scale, and the 4-bit floats: encode_small_internal.h. */
extern const tamis_encoders tamis_small_plain, tamis_small_avx2, tamis_small_avx512;

#endif
