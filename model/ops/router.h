/* router.h - which experts a token goes to, and with what weight. */
#ifndef TAMIS_MODEL_OPS_ROUTER_H
#define TAMIS_MODEL_OPS_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tamis_router {
    int64_t n_expert, n_used;
    int64_t n_groups, n_groups_used; /* limited to the best groups when n_groups > 1 */
    bool normalize;                  /* the chosen weights are divided by their sum */
} tamis_router;

/* Softmax over logits [n_expert] (overwritten with the probabilities); the n_used largest, the
 * lower index first among equals (within 1e-6 relative), to chosen [n_used] in descending order
 * with weights [n_used]. Logits are finite. */
void tamis_route(const tamis_router *router, float *logits, int32_t *chosen, float *weights);

#endif
