/* logit_sums_avx2.c - the loops of logit_kernels.h compiled for AVX2; the same bits. */
#include "model/logit_kernels.h"

const tamis_logit_kernels tamis_logit_kernels_avx2 = {
    .cpu = "avx2",
    .largest = logit_largest,
    .sum = logit_sum,
    .pair = logit_pair,
    .cut_pair = logit_cut_pair,
};
