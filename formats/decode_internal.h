/* decode_internal.h - all decode bodies, and how they are instantiated.
 * types.c compiles them for the base CPU: those are the plain versions in the table.
 * x86/decode_avx2.c, x86/decode_avx512.c and arm/decode_neon.c compile the same source for theirs.
 * The arithmetic is spelled out operation by operation and never contracted, so every
 * instance gives the same bits; tests/test_formats_kernels.c compares them. */
#ifndef TAMIS_FORMATS_DECODE_INTERNAL_H
#define TAMIS_FORMATS_DECODE_INTERNAL_H

#include "formats/decode_simple_internal.h"
#include "formats/decode_k_internal.h"
#include "formats/decode_iq_internal.h"
#include "formats/decode_small_internal.h"

#endif
