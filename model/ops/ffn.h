/* ffn.h - the feed-forward part of a transformer layer, over all tokens of a run. */
#ifndef TAMIS_MODEL_OPS_FFN_H
#define TAMIS_MODEL_OPS_FFN_H

#include "model/ops/router.h"
#include "model/run_internal.h"

/* x <- x + W_down · (silu(W_gate h) * W_up h), h = RMSNorm(x, norm_stem), tile by tile.
 * Observed: ffn_gate, ffn_up with h; ffn_down with the product. */
tamis_status tamis_dense_ffn(tamis_run *run, int64_t layer, const char *norm_stem, int i_part,
                             int n_parts, tamis_error *err) TAMIS_MUST_USE;

/* x <- x + sum over the experts e chosen for a token of weight_e * down_e(silu(gate_e h) * up_e h).
 * All tokens are routed first; then each expert's weights are decoded once and its tokens
 * gathered; outputs add up in order of expert. ffn_gate_up_exps may stand for gate and up.
 * Observed: ffn_gate_inp with h of all tokens; per expert, its tokens ascending: ffn_gate_exps and
 * ffn_up_exps (or ffn_gate_up_exps) with h, ffn_down_exps with the product. */
tamis_status tamis_expert_ffn(tamis_run *run, int64_t layer, const char *norm_stem,
                              const tamis_router *router, int i_part, int n_parts,
                              tamis_error *err) TAMIS_MUST_USE;

#endif
