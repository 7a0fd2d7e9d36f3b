/* encode_small_avx2.c - the small encoders compiled for AVX2: 8 sub-blocks at a time. */
#define TAMIS_LANES 8
#include "formats/encode_small_internal.h"

const tamis_encoders tamis_small_avx2 = {
    .encode =
        {
#include "formats/encode_small_by_id_internal.h"
        },
};
