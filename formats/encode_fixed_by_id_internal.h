/* encode_fixed_by_id_internal.h - the fixed encoders by type id; included inside the initializer of
 * a tamis_encoders after encode_fixed_internal.h. */
[TAMIS_TYPE_F32] = encode_f32, [TAMIS_TYPE_F16] = encode_f16, [TAMIS_TYPE_BF16] = encode_bf16,
                               [TAMIS_TYPE_Q8_0] = encode_q8_0,
