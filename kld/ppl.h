/* ppl.h - perplexities alone, of several models over one text, chunk by chunk as llama-perplexity
 * gives them, or in overlapping windows (--ppl-stride). Formulas: reference/files.md section C.1.
 */
#ifndef TAMIS_KLD_PPL_H
#define TAMIS_KLD_PPL_H

#include <stdio.h>

#include "base/error.h"
#include "kld/job.h"

typedef struct tamis_kld_ppl_model {
    tamis_kld_identity model;
    tamis_kld_text text; /* tokens by this model's vocabulary */
    int64_t n_ctx, n_chunks, n_rows;
    tamis_perplexity *running; /* [n_chunks]: of all scored tokens up to the end of the chunk */
} tamis_kld_ppl_model;

typedef struct tamis_kld_ppl {
    tamis_kld_ppl_model *models; /* -m, then each -q */
    size_t n_models;
    int64_t stride; /* tokens between the starts of windows; 0: chunks follow each other */
} tamis_kld_ppl;

/* Run it: parent_path and quant_paths, each tokenizing the text itself. With stride > 0 windows of
 * n_ctx tokens begin every `stride` tokens and the last `stride` of each are scored, each with at
 * least n_ctx - stride tokens before it. Where the vocabulary adds BOS it is the first token of
 * every window. All files are opened and checked before anything is computed. Release with
 * tamis_kld_ppl_release(). TAMIS_BAD_USAGE: options that do not go together. */
tamis_status tamis_kld_ppl_run(const tamis_kld_options *options, int64_t stride,
                               const tamis_kld_machine *machine, tamis_kld_ppl *out,
                               tamis_error *err) TAMIS_MUST_USE;
void tamis_kld_ppl_release(tamis_kld_ppl *ppl);

/* Style 0: running perplexities in one line, then the estimate. Style 1: a line per chunk with the
 * token it begins at, perplexity, mean and its error. only_table: nothing but the last lines. */
void tamis_kld_ppl_report_text(const tamis_kld_ppl *ppl, int64_t style, bool only_table,
                               FILE *stream);
tamis_status tamis_kld_ppl_report_json(const tamis_kld_ppl *ppl, const char *path,
                                       tamis_error *err) TAMIS_MUST_USE;

#endif
