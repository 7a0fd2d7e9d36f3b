/* decode_avx2.c - the decode bodies compiled for AVX2 and F16C.
 * Only dispatch.c reaches these, after asking the CPU. */
#include "formats/kernels_internal.h"
#include "formats/decode_around_internal.h"
#include "formats/decode_internal.h"
#include "formats/finite_internal.h"

const tamis_kernels tamis_kernels_avx2 = {
    .name = "avx2",
    .level = TAMIS_LEVEL_AVX2,
    .decode =
        {
#include "formats/decode_by_id_internal.h"
        },
    .decode_around = decode_around,
    .find_nonfinite = find_nonfinite,
};
