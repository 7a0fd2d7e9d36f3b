/* glu_avx2.c - the loops of glu_kernels.h compiled for AVX2; the same bits. */
#include "model/ops/glu_kernels.h"

const tamis_glu_kernels tamis_glu_kernels_avx2 = {"avx2", TAMIS_GLU_ROWS};
