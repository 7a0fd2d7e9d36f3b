/* texts.h - the texts of a run: each is cut into chunks of its own, the chunks lie behind each
 * other, and each text has a weight with which its tokens count. */
#ifndef TAMIS_IMATRIX_TEXTS_H
#define TAMIS_IMATRIX_TEXTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/checkpoint.h"
#include "model/chunks.h"

typedef struct tamis_imatrix_text {
    const char *path; /* as given: it becomes the dataset's name; borrowed */
    double weight;    /* > 0 */
} tamis_imatrix_text;

/* Weights as given on the command line, "FILE=W" with FILE one of the paths, for the texts at
 * `paths`: *out [n_paths], free() it; 1 where none is given. TAMIS_BAD_USAGE: a path or a weight
 * given twice, a FILE that is no text of the run, a W that is no number from 1e-6 to 1e6. */
tamis_status tamis_imatrix_texts_weigh(const char *const *paths, size_t n_paths,
                                       const char *const *weights, size_t n_weights,
                                       tamis_imatrix_text **out, tamis_error *err) TAMIS_MUST_USE;

/* One text among the tokens of the run. */
typedef struct tamis_text_part {
    const char *path; /* borrowed */
    double weight;
    int64_t n_text_tokens; /* in the whole text */
    int64_t first_chunk, n_chunks;
} tamis_text_part;

typedef struct tamis_text_parts {
    int32_t *tokens; /* [n_chunks * n_ctx] as the model is to see them */
    int64_t n_ctx, n_chunks, n_text_tokens;
    tamis_text_part *parts; /* [n_parts] in the order given */
    size_t n_parts;
} tamis_text_parts;

/* Read and cut all texts (options->path is not looked at; first_chunk and max_chunks hold for each
 * text on its own). Errors: those of tamis_chunks_from_text(). Release with
 * tamis_text_parts_release(). */
tamis_status tamis_text_parts_read(const tamis_tokenizer *tokenizer,
                                   const tamis_chunks_options *options,
                                   const tamis_imatrix_text *texts, size_t n_texts,
                                   tamis_text_parts *out, tamis_error *err) TAMIS_MUST_USE;
void tamis_text_parts_release(tamis_text_parts *parts);

/* Which tokens count how much, for a checkpoint. */
tamis_status tamis_text_parts_name(const tamis_text_parts *parts, tamis_checkpoint *cp,
                                   tamis_error *err) TAMIS_MUST_USE;

#endif
