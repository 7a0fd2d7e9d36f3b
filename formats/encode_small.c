/* encode_small.c - the small encoders compiled without CPU-specific flags: four sub-blocks at a
 * time, which SSE2 and NEON have. */
#define TAMIS_LANES 4
#include "formats/encode_small_internal.h"

const tamis_encoders tamis_small_plain = {
    .encode =
        {
#include "formats/encode_small_by_id_internal.h"
        },
};
