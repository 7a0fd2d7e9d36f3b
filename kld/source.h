/* source.h - the models and the text of a run, opened and checked against each other. */
#ifndef TAMIS_KLD_SOURCE_H
#define TAMIS_KLD_SOURCE_H

#include "base/error.h"
#include "kld/job.h"
#include "model/chunks.h"
#include "model/model.h"
#include "model/tokenizer.h"

/* A model with its tokenizer (NULL when the run uses raw ids and the file has none that is known).
 */
typedef struct tamis_kld_source {
    tamis_model *model;
    tamis_tokenizer *tokenizer;
    tamis_kld_identity identity;
} tamis_kld_source;

/* needs_tokenizer: a file without a usable tokenizer is refused. */
tamis_status tamis_kld_source_open(const char *path, bool needs_tokenizer, const tamis_log *log,
                                   tamis_kld_source *out, tamis_error *err) TAMIS_MUST_USE;
void tamis_kld_source_close(tamis_kld_source *source);
void tamis_kld_source_drop_tokenizer(tamis_kld_source *source);

/* TAMIS_BAD_INPUT naming both when their architectures or vocabularies differ; of a parent without
 * an architecture (a base of llama-perplexity) only the number of tokens is known. */
tamis_status tamis_kld_check_quant(const tamis_kld_identity *parent,
                                   const tamis_kld_identity *quant, const tamis_log *log,
                                   tamis_error *err) TAMIS_MUST_USE;

/* TAMIS_BAD_USAGE when `path`, an output, is one of the files the model is made of. */
tamis_status tamis_kld_check_parts(const tamis_kld_source *source, const char *path,
                                   tamis_error *err) TAMIS_MUST_USE;

/* The chunks of the text or ids that the options name, for a context of n_ctx (0: one chunk of all
 * ids), beginning every `stride` tokens (0: n_ctx). *text describes them. */
tamis_status tamis_kld_read_text(const tamis_kld_options *options, int64_t n_ctx,
                                 int64_t max_chunks, int64_t stride, const tamis_kld_source *source,
                                 tamis_chunks *out, tamis_kld_text *text,
                                 tamis_error *err) TAMIS_MUST_USE;

#endif
