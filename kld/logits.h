/* logits.h - one side of a comparison: the values of scored positions over the vocabulary, a tile
 * of the vocabulary at a time. They are logits made from final hidden states and an output head, or
 * log-probabilities out of a base file of llama-perplexity; a comparison asks only which.
 * Call load, then for each tile begin_tile, then get for the rows loaded. */
#ifndef TAMIS_KLD_LOGITS_H
#define TAMIS_KLD_LOGITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "kld/evaluate.h"
#include "kld/llama_base.h"
#include "model/head.h"

typedef struct tamis_kld_logits tamis_kld_logits;

/* Rows [n_rows] of hidden states [.][n_embd]: row_list [n_rows] of them, or NULL for the first
 * n_rows. Everything borrowed until tamis_kld_logits_free(). `name` is for messages. */
tamis_status tamis_kld_logits_of_head(tamis_head *head, const float *hidden,
                                      const int64_t *row_list, int64_t n_rows,
                                      const tamis_kld_machine *machine, const char *name,
                                      tamis_kld_logits **out, tamis_error *err) TAMIS_MUST_USE;
/* The same of a base file. */
tamis_status tamis_kld_logits_of_base(const tamis_llama_base *base, const int64_t *row_list,
                                      int64_t n_rows, const tamis_kld_machine *machine,
                                      const char *name, tamis_kld_logits **out,
                                      tamis_error *err) TAMIS_MUST_USE;
void tamis_kld_logits_free(tamis_kld_logits *side);

const char *tamis_kld_logits_name(const tamis_kld_logits *side);
int64_t tamis_kld_logits_n_vocab(const tamis_kld_logits *side);
/* True: log-probabilities with a floor; false: logits. */
bool tamis_kld_logits_is_stored(const tamis_kld_logits *side);

/* Rows that can be loaded at a time: all of them for a head (whose tiles are made once), else a
 * multiple of TAMIS_LOGIT_BLOCK_ROWS by memory. */
int64_t tamis_kld_logits_max_rows(const tamis_kld_logits *side);
/* Go to rows first .. first + n_rows - 1; first is a multiple of TAMIS_LOGIT_BLOCK_ROWS. */
tamis_status tamis_kld_logits_load(tamis_kld_logits *side, int64_t first, int64_t n_rows,
                                   tamis_error *err) TAMIS_MUST_USE;
/* Go to tokens first .. first + n_cols - 1, n_cols <= TAMIS_LOGIT_TILE_COLS. */
tamis_status tamis_kld_logits_begin_tile(tamis_kld_logits *side, int64_t first, int64_t n_cols,
                                         tamis_error *err) TAMIS_MUST_USE;
/* Values of n_rows <= TAMIS_LOGIT_BLOCK_ROWS loaded rows from `row` on (counted from the first of
 * all, a multiple of TAMIS_LOGIT_BLOCK_ROWS): [n_rows][n_cols], valid until the next call. */
const float *tamis_kld_logits_get(tamis_kld_logits *side, int64_t row, int64_t n_rows);

#endif
