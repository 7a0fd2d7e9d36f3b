/* encode_fixed_avx512.c - the fixed encoders compiled for AVX-512. */
#define TAMIS_LANES 16
#include "formats/encode_fixed_internal.h"

const tamis_encoders tamis_fixed_avx512 = {
    .encode =
        {
#include "formats/encode_fixed_by_id_internal.h"
        },
};
