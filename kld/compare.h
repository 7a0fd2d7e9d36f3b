/* compare.h - the divergence of one model from another at every scored position, a tile of the
 * vocabulary at a time. Exact from final hidden states and output heads; from a base file of
 * llama-perplexity by that tool's rules (reference/files.md section C.2). */
#ifndef TAMIS_KLD_COMPARE_H
#define TAMIS_KLD_COMPARE_H

#include <stdint.h>

#include "base/error.h"
#include "kld/evaluate.h"
#include "kld/logits.h"
#include "kld/stats.h"

/* Fill *out (initialised for n_rows rows) for `p` against `q`, sides of
 * n_rows rows, both scored against targets [n_rows]. q must be made of logits. Memory: what the
 * sides take and 64 bytes a row. The same bits for any number of threads; equal sides give exactly
 * 0. TAMIS_BAD_INPUT: vocabularies of different size, or a logit that is not finite (the model and
 * row are named). */
tamis_status tamis_kld_compare(tamis_kld_logits *p, tamis_kld_logits *q, const int32_t *targets,
                               int64_t n_rows, const tamis_kld_machine *machine,
                               tamis_kld_rows *out, tamis_error *err) TAMIS_MUST_USE;

#endif
