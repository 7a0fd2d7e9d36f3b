/* imatrix.h - making an importance matrix from a model and texts, in one call.
 * The texts go through the model once, layer by layer (model/pass.h); sums of squares are
 * collected on the way and the perplexity is computed from the final hidden states. */
#ifndef TAMIS_IMATRIX_IMATRIX_H
#define TAMIS_IMATRIX_IMATRIX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "imatrix/imatrix_file.h"
#include "imatrix/texts.h"
#include "model/chunks.h"
#include "model/pass.h"
#include "model/perplexity.h"

typedef struct tamis_imatrix_options {
    const char *model_path;
    const tamis_imatrix_text *texts; /* [n_texts >= 1]; their names become the datasets */
    size_t n_texts;
    tamis_chunks_options chunks; /* for each text on its own; chunks.path is not used */
    bool with_output;            /* also the output head */
    bool all_experts;            /* every token through every expert, for the sums alone */
    bool without_mtp;            /* not the multi-token prediction blocks */
    bool with_perplexity;
    tamis_pass_options pass; /* its checkpoint, if any, is named further here */
} tamis_imatrix_options;

/* What a run did with one text. */
typedef struct tamis_imatrix_text_result {
    tamis_imatrix_text text; /* path borrowed from the options */
    int64_t n_tokens, n_chunks;
    tamis_perplexity perplexity; /* n is 0 without one */
} tamis_imatrix_text_result;

/* Of all texts together; perplexities are over all scored positions, weights do not count. */
typedef struct tamis_imatrix_result {
    int64_t n_chunks, n_ctx, n_tokens;
    int64_t n_mtp;             /* multi-token prediction blocks that were run */
    tamis_perplexity *running; /* [n_chunks] over the chunks up to and including each one, NULL
                                  without perplexity; the last is the final estimate */
    tamis_imatrix_text_result *texts; /* [n_texts] */
    size_t n_texts;
} tamis_imatrix_result;

void tamis_imatrix_result_release(tamis_imatrix_result *result);

/* Collect into *matrix (initialised, empty). Scored positions for the perplexity: the second half
 * of every chunk (reference/files.md B.2). Errors: those of opening the model, reading the
 * texts and the pass. */
tamis_status tamis_imatrix_make(const tamis_imatrix_options *options, tamis_imatrix *matrix,
                                tamis_imatrix_result *result, tamis_error *err) TAMIS_MUST_USE;

#endif
