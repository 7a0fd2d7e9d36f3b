/* decode_neon.c - the decode bodies with Advanced SIMD by hand where compilers leave something:
 * table look-ups, small integers to floats, f16. Every aarch64 CPU runs these. */
#define TAMIS_NEON
#include "formats/kernels_internal.h"
#include "formats/decode_internal.h"
#include "formats/finite_internal.h"

const tamis_kernels tamis_kernels_neon = {
    .name = "neon",
    .level = TAMIS_LEVEL_PLAIN,
    .decode =
        {
#include "formats/decode_by_id_internal.h"
        },
    .find_nonfinite = find_nonfinite,
};
