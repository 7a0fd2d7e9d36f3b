/* encode_small_by_id_internal.h - the small encoders by type id; included inside the initializer of
 * a tamis_encoders after encode_small_internal.h. */
[TAMIS_TYPE_TQ1_0] = encode_tq1_0,
    [TAMIS_TYPE_TQ2_0] = encode_tq2_0, [TAMIS_TYPE_MXFP4] = encode_mxfp4,
    [TAMIS_TYPE_NVFP4] = encode_nvfp4, [TAMIS_TYPE_Q1_0] = encode_q1_0,
    [TAMIS_TYPE_Q2_0] = encode_q2_0,
