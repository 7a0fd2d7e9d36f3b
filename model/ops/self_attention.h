/* self_attention.h - the attention part of a transformer layer, over all tokens of a run. */
#ifndef TAMIS_MODEL_OPS_SELF_ATTENTION_H
#define TAMIS_MODEL_OPS_SELF_ATTENTION_H

#include "model/run_internal.h"

/* How a family's attention differs from the plain one; zeros are the plain one. */
typedef struct tamis_attention_style {
    const char *post_norm; /* stem of a norm of its output, before that is added; NULL: none */
    double scale;          /* of q·k; 0: 1 / sqrt(head_k) */
    bool is_gated;     /* attn_q gives each head's query and then as many gate values: the attended
                        * values are multiplied by the gate's logistic function; head_k = head_v */
    bool norms_values; /* plain RMSNorm of each value head */
} tamis_attention_style;

/* x <- x + post_norm(W_o · attention(rope(norm_q(W_q h)), rope(norm_k(W_k h)), W_v h)), tile by
 * tile, with h = RMSNorm(x, attn_norm). Heads, rope, window and the layer whose keys and values
 * are attended to are those of hp.layers[layer]. attn_q_norm and attn_k_norm (per head, before the
 * rotation), attn_sinks, biases, scales and a fused attn_qkv are used where the file has them;
 * without attn_v (where the rules allow that) the values are the product of attn_k.
 * Observed: attn_q, attn_k, attn_v (or attn_qkv) with h, only attn_q for a layer with another's
 * keys; attn_output with the concatenated heads. i_part of n_parts: for the progress bar. */
tamis_status tamis_self_attention(tamis_run *run, int64_t layer, const tamis_attention_style *style,
                                  int i_part, int n_parts, tamis_error *err) TAMIS_MUST_USE;

#endif
