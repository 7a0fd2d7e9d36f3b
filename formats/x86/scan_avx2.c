/* scan_avx2.c - the bodies of scan_internal.h compiled for AVX2; the same bits. */
#include "formats/scan_internal.h"

const tamis_scans tamis_scans_avx2 = {find_above, add_row_error};
