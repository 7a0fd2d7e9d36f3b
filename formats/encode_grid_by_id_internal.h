/* encode_grid_by_id_internal.h - the grid encoders by type id; included inside the initializer of
 * a tamis_encoders after encode_grid_internal.h. */
/* clang-format off */
[TAMIS_TYPE_IQ2_XXS] = encode_iq2_xxs,
[TAMIS_TYPE_IQ2_XS] = encode_iq2_xs,
[TAMIS_TYPE_IQ2_S] = encode_iq2_s,
[TAMIS_TYPE_IQ3_XXS] = encode_iq3_xxs,
[TAMIS_TYPE_IQ3_S] = encode_iq3_s,
[TAMIS_TYPE_IQ1_S] = encode_iq1_s,
[TAMIS_TYPE_IQ1_M] = encode_iq1_m,
[TAMIS_TYPE_IQ1_XS] = encode_iq1_xs,
[TAMIS_TYPE_IQ1_XXS] = encode_iq1_xxs,
[TAMIS_TYPE_IQ1_XXXS] = encode_iq1_xxxs,
    /* clang-format on */
