/* encode_linear_avx2.c - the linear encoders compiled for AVX2: 8 sub-blocks at a time. */
#define TAMIS_LANES 8
#include "formats/encode_linear_internal.h"

const tamis_encoders tamis_linear_avx2 = {
    .encode_rows =
        {
#include "formats/encode_linear_by_id_internal.h"
        },
};
