/* encode_linear.c - the linear encoders compiled without CPU-specific flags: four sub-blocks at a
 * time, which SSE2 and NEON have. */
#define TAMIS_LANES 4
#include "formats/encode_linear_internal.h"

const tamis_encoders tamis_linear_plain = {
    .encode_rows =
        {
#include "formats/encode_linear_by_id_internal.h"
        },
};
