/* glu_avx512.c - the loops of glu_kernels.h compiled for AVX-512; the same bits. */
#include "model/ops/glu_kernels.h"

const tamis_glu_kernels tamis_glu_kernels_avx512 = {"avx512", TAMIS_GLU_ROWS};
