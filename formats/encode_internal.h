/* encode_internal.h - the encoders behind the type table and tamis_encode_row().
 * The same source is compiled once per CPU level; every level gives the same bytes,
 * because a lane of a vector only ever meets lanes of other blocks in sums whose order
 * is fixed (encode_tile_internal.h). */
#ifndef TAMIS_FORMATS_ENCODE_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_INTERNAL_H

#include <stdint.h>

#include "formats/kernels_internal.h"

/* x [n_elems], importance [n_elems] >= 0 or NULL; n_elems a multiple of the type's block. */
typedef void tamis_encode_fn(const float *x, const float *importance, uint8_t *blocks,
                             int64_t n_elems);

/* The encoders of one CPU level, found by type id; NULL where the plain version is as good. */
typedef struct tamis_encoders {
    const char *cpu; /* as tamis_formats_cpu() names it */
    tamis_encode_fn *encode[TAMIS_N_TYPE_IDS];
} tamis_encoders;

extern const tamis_encoders tamis_encoders_avx2;
extern const tamis_encoders tamis_encoders_avx512;

/* The plain encoders, for the rows of the type table. */
tamis_encode_fn tamis_encode_f32, tamis_encode_f16, tamis_encode_bf16;
tamis_encode_fn tamis_encode_q4_0, tamis_encode_q4_1, tamis_encode_q5_0, tamis_encode_q5_1;
tamis_encode_fn tamis_encode_q8_0, tamis_encode_q2_K, tamis_encode_q3_K, tamis_encode_q4_K;
tamis_encode_fn tamis_encode_q5_K, tamis_encode_q6_K, tamis_encode_iq4_nl, tamis_encode_iq4_xs;

#endif
