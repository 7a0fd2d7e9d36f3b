/* latent_attention.h - attention over keys and values that are stored compressed (multi-head latent
 * attention), over all tokens of a run. Formulas: reference/architectures.md section 14. */
#ifndef TAMIS_MODEL_OPS_LATENT_ATTENTION_H
#define TAMIS_MODEL_OPS_LATENT_ATTENTION_H

#include "model/run_internal.h"

/* x <- x + W_o · attention(q, k, v), tile by tile, h = RMSNorm(x, attn_norm); sizes are those of
 * hp.latent, heads and rope those of hp.layers[layer]. Queries come from attn_q_b ·
 * RMSNorm(attn_q_a h), or attn_q h. With attn_k_b and attn_v_b, one key head for all: the queries
 * are multiplied by attn_k_b, the attended latents by attn_v_b; with attn_kv_b each head's keys and
 * values are decompressed. scale: of q·k.
 * Observed: attn_q_a (or attn_q) and attn_kv_a_mqa with h; attn_q_b with the normed product;
 * attn_k_b with the unrotated part of all heads' queries, attn_v_b with all heads' attended latents
 * (each one row per token, head after head), or attn_kv_b with the normed latent; attn_output with
 * the concatenated heads. */
tamis_status tamis_latent_attention(tamis_run *run, int64_t layer, double scale, int i_part,
                                    int n_parts, tamis_error *err) TAMIS_MUST_USE;

#endif
