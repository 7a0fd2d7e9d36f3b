/* finite_internal.h - the scan for values that are not finite, one body for every CPU level.
 * Bound: memory. */
#ifndef TAMIS_FORMATS_FINITE_INTERNAL_H
#define TAMIS_FORMATS_FINITE_INTERNAL_H

#include <stdint.h>

#include "formats/float16.h"

/* Index of the first value of x [n] that is infinite or NaN, n when there is none. */
static inline int64_t find_nonfinite(const float *x, int64_t n) {
    enum { STEP = 256 };
    int64_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        uint32_t carries = 0; /* bit 31 is set by an exponent of all ones; no branch: vector code */
        for (int k = 0; k < STEP; k++)
            carries |= (tamis_f32_bits(x[i + k]) & 0x7F800000u) + 0x00800000u;
        if (carries >> 31) break;
    }
    for (; i < n; i++) {
        if ((tamis_f32_bits(x[i]) & 0x7F800000u) == 0x7F800000u) return i;
    }
    return n;
}

#endif
