/* encode_small_avx512.c - the small encoders compiled for AVX-512 F, BW, VL and DQ: 16 sub-blocks
 * at a time. */
#define TAMIS_LANES 16
#include "formats/encode_small_internal.h"

const tamis_encoders tamis_small_avx512 = {
    .encode =
        {
#include "formats/encode_small_by_id_internal.h"
        },
};
