/* logit_sums_avx512.c - the loops of logit_kernels.h compiled for AVX-512; the same bits. */
#include "model/logit_kernels.h"

const tamis_logit_kernels tamis_logit_kernels_avx512 = {
    .cpu = "avx512",
    .largest = logit_largest,
    .sum = logit_sum,
    .pair = logit_pair,
    .cut_pair = logit_cut_pair,
};
