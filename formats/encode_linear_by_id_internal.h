/* encode_linear_by_id_internal.h - the linear encoders by type id; included inside the initializer
 * of a tamis_encoders after encode_linear_internal.h. */
[TAMIS_TYPE_Q4_0] = encode_q4_0, [TAMIS_TYPE_Q4_1] = encode_q4_1, [TAMIS_TYPE_Q5_0] = encode_q5_0,
                                 [TAMIS_TYPE_Q5_1] = encode_q5_1, [TAMIS_TYPE_Q2_K] = encode_q2_K,
                                 [TAMIS_TYPE_Q3_K] = encode_q3_K, [TAMIS_TYPE_Q4_K] = encode_q4_K,
                                 [TAMIS_TYPE_Q5_K] = encode_q5_K, [TAMIS_TYPE_Q6_K] = encode_q6_K,
                                 [TAMIS_TYPE_IQ4_NL] = encode_iq4_nl,
                                 [TAMIS_TYPE_IQ4_XS] = encode_iq4_xs,
