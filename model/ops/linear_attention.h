/* linear_attention.h - the gated delta net as the mixing part of a layer, over all tokens of a run.
 * Formulas: reference/architectures.md section 7. */
#ifndef TAMIS_MODEL_OPS_LINEAR_ATTENTION_H
#define TAMIS_MODEL_OPS_LINEAR_ATTENTION_H

#include <stdbool.h>

#include "model/run_internal.h"

/* How a family's delta net differs; zeros are those of qwen35. */
typedef struct tamis_linear_style {
    bool is_grouped; /* value heads that share a key head follow each other */
} tamis_linear_style;

/* x <- x + W_out · (delta net of W_qkv h, gated by W_gate h), tile by tile, with
 * h = RMSNorm(x, attn_norm) and the sizes of hp.ssm. Scales are used where the file has them.
 * ssm_ba (per key head: its value heads' betas, then their alphas) may stand for ssm_beta and
 * ssm_alpha, ssm_in (per key head: q, k, v, z) for attn_qkv and attn_gate.
 * Observed: attn_qkv, attn_gate, ssm_beta, ssm_alpha (or ssm_in, ssm_ba) with h; ssm_out with the
 * gated heads. A decay (ssm_a) above 0 is TAMIS_BAD_INPUT. i_part of n_parts: for the progress
 * bar. */
tamis_status tamis_linear_attention(tamis_run *run, int64_t layer, const tamis_linear_style *style,
                                    int i_part, int n_parts, tamis_error *err) TAMIS_MUST_USE;

#endif
