/* encode_linear_avx512.c - the linear encoders compiled for AVX-512 F, BW, VL and DQ: 16 sub-blocks
 * at a time. */
#define TAMIS_LANES 16
#include "formats/encode_linear_internal.h"

const tamis_encoders tamis_linear_avx512 = {
    .encode_rows =
        {
#include "formats/encode_linear_by_id_internal.h"
        },
};
