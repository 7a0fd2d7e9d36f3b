/* decode_by_id_internal.h - initializer of tamis_kernels.decode from the bodies of
 * decode_internal.h, for the files that instantiate them. Ids as in types.c. */
/* clang-format off */
    [0] = f32_decode,      [1] = f16_decode,      [2] = q4_0_decode,     [3] = q4_1_decode,
    [6] = q5_0_decode,     [7] = q5_1_decode,     [8] = q8_0_decode,     [9] = q8_1_decode,
    [10] = q2_K_decode,    [11] = q3_K_decode,    [12] = q4_K_decode,    [13] = q5_K_decode,
    [14] = q6_K_decode,    [15] = q8_K_decode,    [16] = iq2_xxs_decode, [17] = iq2_xs_decode,
    [18] = iq3_xxs_decode, [19] = iq1_s_decode,   [20] = iq4_nl_decode,  [21] = iq3_s_decode,
    [22] = iq2_s_decode,   [23] = iq4_xs_decode,  [28] = f64_decode,     [29] = iq1_m_decode,
    [30] = bf16_decode,    [34] = tq1_0_decode,   [35] = tq2_0_decode,   [39] = mxfp4_decode,
    [40] = nvfp4_decode,   [41] = q1_0_decode,    [42] = q2_0_decode,    [64] = iq1_xs_decode,
    [65] = iq1_xxs_decode, [66] = iq1_xxxs_decode,
                  /* clang-format on */
