/* encode_grid_avx512.c - the grid encoders compiled for AVX-512 F, BW, VL and DQ: 16 sub-blocks at
 * a time. */
#define TAMIS_LANES 16
#include "formats/encode_grid_internal.h"

const tamis_encoders tamis_grid_avx512 = {
    .encode =
        {
#include "formats/encode_grid_by_id_internal.h"
        },
};
