/* decode_avx512.c - the decode bodies compiled for AVX-512 F, BW, VL, DQ, F16C and BMI2.
 * Only dispatch.c reaches these, after asking the CPU. */
#include "formats/kernels_internal.h"
#include "formats/decode_around_internal.h"
#include "formats/decode_internal.h"
#include "formats/finite_internal.h"

const tamis_kernels tamis_kernels_avx512 = {
    .name = "avx512",
    .level = TAMIS_LEVEL_AVX512,
    .decode =
        {
#include "formats/decode_by_id_internal.h"
        },
    .decode_around = decode_around,
    .find_nonfinite = find_nonfinite,
};
