/* encode_fixed_avx2.c - the fixed encoders compiled for AVX2. */
#define TAMIS_LANES 8
#include "formats/encode_fixed_internal.h"

const tamis_encoders tamis_fixed_avx2 = {
    .encode =
        {
#include "formats/encode_fixed_by_id_internal.h"
        },
};
