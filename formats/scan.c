/* scan.c - looking over rows: the bodies without CPU-specific flags, and the choice of a level. */
#include "formats/scan_internal.h"

#include "formats/kernels_internal.h"

const tamis_scans tamis_scans_plain = {find_above, add_row_error};

static const tamis_scans *scans(void) {
#if defined(__x86_64__)
    static const tamis_scans *const levels[TAMIS_N_LEVELS] = {&tamis_scans_plain, &tamis_scans_avx2,
                                                              &tamis_scans_avx512};
    return levels[tamis_cpu_level()];
#else
    return &tamis_scans_plain;
#endif
}

int64_t tamis_find_above(const float *x, int64_t n, float largest) {
    return scans()->find_above(x, n, largest);
}

void tamis_add_row_error(const float *x, const float *y, int64_t n, tamis_row_error *sums) {
    scans()->add_row_error(x, y, n, sums);
}
