/* mtp.h - the blocks behind the trunk that predict further tokens (multi-token prediction).
 * Block k gets, at position t, the trunk's final state (block 0) or the normed state of block k -
 * 1, and the embedding of token t + 1 + k; its normed state is what its head multiplies to predict
 * token t + 2 + k. The last 1 + k positions of a sequence have no such token and are left out.
 * Wiring: reference/architectures.md section 8, "MTP head". */
#ifndef TAMIS_MODEL_MTP_H
#define TAMIS_MODEL_MTP_H

#include "model/run_internal.h"

/* Whether these blocks are run: the model has some and an observer asks for them. */
bool tamis_mtp_is_wanted(const tamis_run *run);

/* Before any work: a context that leaves a block without positions is TAMIS_BAD_USAGE, a block
 * that lacks what joins it to the trunk TAMIS_BAD_INPUT. */
tamis_status tamis_mtp_check(tamis_run *run, tamis_error *err) TAMIS_MUST_USE;

/* Run them, once the trunk is done: run->h holds the final normed state of all tokens and is
 * overwritten; afterwards the run is good for nothing else. tokens [n_tokens] of the run. */
tamis_status tamis_mtp_run(tamis_run *run, const int32_t *tokens, tamis_error *err) TAMIS_MUST_USE;

#endif
