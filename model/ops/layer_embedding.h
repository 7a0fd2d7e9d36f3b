/* layer_embedding.h - what gemma4 adds to a layer: an embedding per token and layer, and a scale
 * of the whole hidden state. */
#ifndef TAMIS_MODEL_OPS_LAYER_EMBEDDING_H
#define TAMIS_MODEL_OPS_LAYER_EMBEDDING_H

#include "model/run_internal.h"

/* x <- x + RMSNorm(proj · (gelu(inp_gate · x) * E), post_norm), tile by tile, with
 * E = (RMSNorm(per_layer_model_proj · e / sqrt(n_embd), per_layer_proj_norm) +
 * per_layer_token_embd * sqrt(P)) / sqrt(2), e the scaled embedding of the token; of the
 * per_layer tensors the P = hp.ple_width rows and columns of this layer. E is made again for each
 * layer rather than kept for all: it is wider than the hidden state.
 * Observed: inp_gate with x; proj with its input. */
tamis_status tamis_layer_embedding(tamis_run *run, int64_t layer, int i_part, int n_parts,
                                   tamis_error *err) TAMIS_MUST_USE;

/* x <- x * <stem>.weight [1]; nothing when the file has no such tensor. */
tamis_status tamis_scale_layer(tamis_run *run, int64_t layer, const char *stem,
                               tamis_error *err) TAMIS_MUST_USE;

#endif
