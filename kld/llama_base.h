/* llama_base.h - the base file of llama-perplexity (--save-all-logits, --kl-divergence-base):
 * tokens and 16-bit log-probabilities of every scored position. Read row by row, written block by
 * block; never held whole. Layout: reference/files.md part B, docs/kld-base-file.md. */
#ifndef TAMIS_KLD_LLAMA_BASE_H
#define TAMIS_KLD_LLAMA_BASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "kld/evaluate.h"
#include "model/head.h"

typedef struct tamis_llama_base tamis_llama_base;

/* True when the file at `path` begins with the magic of this layout; false also when it cannot be
 * read. */
bool tamis_llama_base_is_one(const char *path);

/* Open a file and check all of it but the 16-bit values, which cannot be wrong: header, file size
 * against it (before anything is allocated), token ids, scale and floor of every row.
 * TAMIS_BAD_INPUT names file and row. Memory: 4 bytes a token and 8 a row. Close with
 * tamis_llama_base_close(). */
tamis_status tamis_llama_base_open(const char *path, tamis_llama_base **out,
                                   tamis_error *err) TAMIS_MUST_USE;
void tamis_llama_base_close(tamis_llama_base *base);

const char *tamis_llama_base_path(const tamis_llama_base *base);
int64_t tamis_llama_base_n_ctx(const tamis_llama_base *base);
int64_t tamis_llama_base_n_chunks(const tamis_llama_base *base);
int64_t tamis_llama_base_n_vocab(const tamis_llama_base *base);
int64_t tamis_llama_base_n_rows(const tamis_llama_base *base);
/* Ids as the text gave them, [n_chunks * n_ctx]: no BOS is put at the head of a chunk. Borrowed. */
const int32_t *tamis_llama_base_ids(const tamis_llama_base *base);
/* Largest distance of a row's lowest value from its highest: at most 16 as llama.cpp writes, 24 as
 * ik_llama.cpp does. */
double tamis_llama_base_range(const tamis_llama_base *base);

/* Bytes of a row: scale, floor, 16-bit values, padding. */
uint64_t tamis_llama_base_row_bytes(const tamis_llama_base *base);
/* The stored bytes of rows [first, first + n_rows). */
tamis_status tamis_llama_base_read(const tamis_llama_base *base, int64_t first, int64_t n_rows,
                                   uint8_t *out, tamis_error *err) TAMIS_MUST_USE;
/* Log-probabilities of tokens first .. first + n_cols - 1 from the bytes of row i_row. */
void tamis_llama_base_decode(const tamis_llama_base *base, int64_t i_row, const uint8_t *row,
                             int64_t first, int64_t n_cols, float *out);
/* -log p of a token of a row, from the file. */
tamis_status tamis_llama_base_nll(const tamis_llama_base *base, int64_t i_row, int32_t token,
                                  double *out, tamis_error *err) TAMIS_MUST_USE;

/* Size of the file for so much; false when the layout cannot hold it. */
bool tamis_llama_base_file_bytes(int64_t n_ctx, int64_t n_chunks, int64_t n_vocab, uint64_t *out);

/* Write a file atomically: ids [n_chunks * n_ctx] as the text gave them and the rows of the plan,
 * whose positions must be those of TAMIS_KLD_SCORE_LLAMA and whose next tokens are targets
 * [n_rows], from hidden states [n_rows][n_embd] and their head. nll [n_rows] (may be NULL) gets the
 * exact negative log-likelihoods. Disk space is reserved first: TAMIS_NO_RESOURCE when there is too
 * little. TAMIS_BAD_INPUT: a logit is not finite. Memory: a tile of the head, 256 rows of logits
 * (on disk above the budget). */
tamis_status tamis_llama_base_write(const char *path, const tamis_kld_plan *plan,
                                    const int32_t *ids, const int32_t *targets, const float *hidden,
                                    tamis_head *head, const tamis_kld_machine *machine, double *nll,
                                    tamis_error *err) TAMIS_MUST_USE;

#endif
