/* support_rounding.h - plain rounding to nearest for every quantized type, written for clearness:
 * what no encoder may be worse than. */
#ifndef TAMIS_TESTS_SUPPORT_ROUNDING_H
#define TAMIS_TESTS_SUPPORT_ROUNDING_H

#include <stdbool.h>

#include "formats/formats.h"

/* y [n]: what a decoder gives after the simplest encoder of the type: scales from the largest
 * magnitude (the smallest and the largest element for types with a minimum), codes by
 * rounding to nearest. n is a multiple of the block. False for types without a rule: the
 * floats, whose bytes the format fixes. */
bool round_to_nearest(const tamis_type *type, const float *x, float *y, int n);

#endif
