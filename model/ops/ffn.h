/* ffn.h - the feed-forward part of a transformer layer, over all tokens of a run. */
#ifndef TAMIS_MODEL_OPS_FFN_H
#define TAMIS_MODEL_OPS_FFN_H

#include "model/ops/mlp.h"
#include "model/run_internal.h"

/* How a family's dense part differs from the plain one; zeros are the plain one. */
typedef struct tamis_ffn_style {
    const char *norm;      /* stem of the norm before it; NULL: ffn_norm */
    const char *post_norm; /* of the norm of its output; NULL: none */
    tamis_activation activation;
} tamis_ffn_style;

/* x <- x + post_norm(W_down · act(W_gate h, W_up h)), h = RMSNorm(x, norm), tile by tile.
 * Observed: ffn_gate, ffn_up with h; ffn_down with the activation. */
tamis_status tamis_dense_ffn(tamis_run *run, int64_t layer, const tamis_ffn_style *style,
                             int i_part, int n_parts, tamis_error *err) TAMIS_MUST_USE;

/* How a family's experts differ from plain ones; zeros are plain ones. What is chosen and how it is
 * weighted: hp.experts. */
typedef struct tamis_expert_style {
    const char *norm;        /* stem of the norm of the experts' input; NULL: ffn_norm */
    const char *routed_norm; /* of the norm of the experts' weighted sum; NULL: none */
    const char *post_norm;   /* of the norm of the whole output; NULL: none */
    tamis_activation activation;
    /* The router sees RMSNorm(x, 1) / sqrt(n_embd) * ffn_gate_inp.scale [n_embd], a tensor that the
     * family's rules ask for, not h. */
    bool has_router_input;
    const tamis_mlp_stems
        *beside; /* what all tokens go through beside the experts; NULL: nothing */
} tamis_expert_style;

/* The shared expert, ffn_*_shexp, with its gate where the file has one; its norm is ffn_norm or
 * post_attention_norm. */
extern const tamis_mlp_stems tamis_shared_expert, tamis_shared_expert_post_attention;

/* x <- x + post_norm(routed_norm(sum over the experts e chosen for a token of weight_e *
 * down_e(act(gate_e h, up_e h))) + beside(x)), h = RMSNorm(x, norm). exp_probs_b moves the choice,
 * ffn_gate_up_exps may stand for gate and up; scales and biases are those of each expert.
 * All tokens are routed first; then each expert's weights are decoded once and its tokens
 * gathered; outputs add up in order of expert.
 * Observed: ffn_gate_inp with its input for all tokens; per expert, its tokens ascending:
 * ffn_gate_exps and ffn_up_exps (or ffn_gate_up_exps) with h, ffn_down_exps with the activation,
 * unweighted; then what is beside, as tamis_mlp_run() says. With options.all_experts every expert
 * is observed with all tokens, which changes no bit of x. */
tamis_status tamis_expert_ffn(tamis_run *run, int64_t layer, const tamis_expert_style *style,
                              int i_part, int n_parts, tamis_error *err) TAMIS_MUST_USE;

#endif
