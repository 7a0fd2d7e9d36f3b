/* router.h - which experts a token goes to, and with what weight. */
#ifndef TAMIS_MODEL_OPS_ROUTER_H
#define TAMIS_MODEL_OPS_ROUTER_H

#include <stdint.h>

#include "model/arch/hparams.h"

/* The experts of one token by its logits [n] (finite; overwritten): n_used of them to chosen in
 * descending order of their scores, with weights [n_used]. A score is the probability (the
 * softmax or sigmoid of the logits, or with TAMIS_GATING_CHOSEN the logit itself) plus `bias` [n],
 * which may be NULL; among equals (as of logits within 1e-6) the lower index comes first. With
 * groups, only the n_groups_used whose two best scores add up to most are chosen from. A weight is
 * the probability without bias (TAMIS_GATING_CHOSEN: softmax over the chosen), normalized and
 * scaled as *experts says. */
void tamis_route(const tamis_expert_hparams *experts, float *logits, const float *bias,
                 int32_t *chosen, float *weights);

#endif
