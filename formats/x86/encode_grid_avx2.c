/* encode_grid_avx2.c - the grid encoders compiled for AVX2: eight sub-blocks at a time. */
#define TAMIS_LANES 8
#include "formats/encode_grid_internal.h"

const tamis_encoders tamis_grid_avx2 = {
    .encode =
        {
#include "formats/encode_grid_by_id_internal.h"
        },
};
