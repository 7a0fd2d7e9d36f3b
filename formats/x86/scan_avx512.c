/* scan_avx512.c - the bodies of scan_internal.h compiled for AVX-512; the same bits. */
#include "formats/scan_internal.h"

const tamis_scans tamis_scans_avx512 = {find_above, add_row_error};
