/* encode_grid.c - the grid encoders compiled without CPU-specific flags: four sub-blocks at a
 * time, which SSE2 and NEON have. */
#define TAMIS_LANES 4
#include "formats/encode_grid_internal.h"

const tamis_encoders tamis_grid_plain = {
    .encode =
        {
#include "formats/encode_grid_by_id_internal.h"
        },
};
