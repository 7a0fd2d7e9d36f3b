/* kept_rows.h - the observer that keeps final hidden states: of every chunk the positions that will
 * be scored. They are all that perplexities and comparisons need of a model besides its output
 * head. Positions: reference/files.md section B.2. Used by imatrix and kld alike. */
#ifndef TAMIS_MODEL_KEPT_ROWS_H
#define TAMIS_MODEL_KEPT_ROWS_H

#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "model/pass.h"
#include "model/store.h"

/* Positions first .. first + n_per_chunk - 1 of each chunk; row r of chunk c has number
 * c * n_per_chunk + r. */
typedef struct tamis_row_choice {
    int64_t n_ctx, n_chunks;
    int64_t first, n_per_chunk;
} tamis_row_choice;

/* What llama-perplexity scores: the second half of each chunk, but for its last token, which has no
 * next one. n_per_chunk is 0 with fewer than three tokens in a chunk. */
tamis_row_choice tamis_row_choice_second_half(int64_t n_ctx, int64_t n_chunks);

int64_t tamis_row_choice_n_rows(const tamis_row_choice *choice);

/* The token after each chosen position, [n_rows], from tokens [n_chunks * n_ctx]; free() it. The
 * last position of a chunk may not be among the chosen. NULL when out of memory. */
int32_t *tamis_row_choice_targets(const tamis_row_choice *choice, const int32_t *tokens,
                                  tamis_error *err);

typedef struct tamis_kept_rows {
    tamis_row_choice choice;
    int64_t n_embd;
    int64_t i_block;   /* of multi-token prediction; -1: the model's own final states */
    tamis_store store; /* f32 [n_rows][n_embd] */
} tamis_kept_rows;

/* Room for the rows, zeroed, in memory or on disk. Release with tamis_kept_rows_release(), or take
 * the store over. */
tamis_status tamis_kept_rows_init(tamis_kept_rows *kept, const tamis_row_choice *choice,
                                  int64_t n_embd, tamis_budget *budget,
                                  tamis_error *err) TAMIS_MUST_USE;
void tamis_kept_rows_release(tamis_kept_rows *kept);

/* The observer to give to tamis_pass_run(); borrows *kept. */
tamis_observer tamis_kept_rows_observer(tamis_kept_rows *kept);
/* The same for the states of multi-token prediction block i_block: choice.n_ctx is the length of
 * its sequences, 1 + i_block less than the run's. */
tamis_observer tamis_kept_rows_mtp_observer(tamis_kept_rows *kept, int64_t i_block);

#endif
