/* imatrix.h - making an importance matrix from a model and a text, in one call.
 * The text goes through the model once, layer by layer (model/pass.h); sums of squares are
 * collected on the way and the perplexity is computed from the final hidden states. */
#ifndef TAMIS_IMATRIX_IMATRIX_H
#define TAMIS_IMATRIX_IMATRIX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "imatrix/imatrix_file.h"
#include "model/chunks.h"
#include "model/pass.h"
#include "model/perplexity.h"

typedef struct tamis_imatrix_options {
    const char *model_path;
    tamis_chunks_options
        chunks;       /* chunks.path is the text; its name as given becomes the dataset */
    bool with_output; /* also the output head */
    bool with_perplexity;
    tamis_pass_options pass; /* its checkpoint, if any, is named further here */
} tamis_imatrix_options;

/* Perplexity over the chunks up to and including each one. */
typedef struct tamis_imatrix_result {
    int64_t n_chunks, n_ctx, n_tokens;
    tamis_perplexity *running; /* [n_chunks] after each chunk, NULL without perplexity; the last
                                  is the final estimate */
} tamis_imatrix_result;

void tamis_imatrix_result_release(tamis_imatrix_result *result);

/* Collect into *matrix (initialised, empty). Scored positions for the perplexity: the second half
 * of every chunk (reference/files.md B.2). Errors: those of opening the model, reading the text and
 * the pass. */
tamis_status tamis_imatrix_make(const tamis_imatrix_options *options, tamis_imatrix *matrix,
                                tamis_imatrix_result *result, tamis_error *err) TAMIS_MUST_USE;

#endif
