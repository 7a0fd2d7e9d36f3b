/* encode_fixed.c - the fixed encoders compiled without CPU-specific flags. */
#define TAMIS_LANES 4
#include "formats/encode_fixed_internal.h"

const tamis_encoders tamis_fixed_plain = {
    .encode =
        {
#include "formats/encode_fixed_by_id_internal.h"
        },
};
