/* hybrid.h - what the families that mix delta net and attention layers share: their keys, tensors
 * and layer. Facts: reference/architectures.md sections 7 to 10. */
#ifndef TAMIS_MODEL_ARCH_HYBRID_H
#define TAMIS_MODEL_ARCH_HYBRID_H

#include "model/arch/arch.h"
#include "model/ops/linear_attention.h"

/* Norm, gated q, k, v with norms of heads, output: layers of full attention. */
extern const tamis_rule_set tamis_rules_gated_attention;
/* All of a delta net layer but where beta and alpha come from. */
extern const tamis_rule_set tamis_rules_delta_net;

/* Sizes of the delta net into hp->ssm, and which layers are of that kind (recurrent_layers, else
 * all but each full_attention_interval-th; a prediction block is full attention). */
tamis_status tamis_hybrid_check(const tamis_keys *keys, tamis_hparams *hp,
                                tamis_error *err) TAMIS_MUST_USE;

/* The mixing part of a layer: full attention or the delta net. */
tamis_status tamis_hybrid_mixer(tamis_run *run, int64_t layer, const tamis_linear_style *style,
                                int i_part, int n_parts, tamis_error *err) TAMIS_MUST_USE;

#endif
