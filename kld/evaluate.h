/* evaluate.h - which positions are scored, and a model's final hidden states at them.
 * The hidden states are all a comparison needs of a model besides its output head. Positions:
 * reference/files.md section B.2. */
#ifndef TAMIS_KLD_EVALUATE_H
#define TAMIS_KLD_EVALUATE_H

#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/threads.h"
#include "model/gemm.h"
#include "model/model.h"
#include "model/pass.h"
#include "model/store.h"

/* What a run computes with; everything borrowed, budget, progress and log may be NULL. */
typedef struct tamis_kld_machine {
    tamis_pool *pool;
    tamis_gemm *gemm;
    tamis_budget *budget;
    tamis_progress *progress;
    const tamis_log *log;
} tamis_kld_machine;

/* The same for a pass; borrowed alike. */
tamis_pass_options tamis_kld_pass_options(const tamis_kld_machine *machine);

typedef enum tamis_kld_score {
    TAMIS_KLD_SCORE_LLAMA, /* the second half of each chunk, as llama-perplexity scores */
    TAMIS_KLD_SCORE_ALL,   /* every position that has a next token */
    TAMIS_KLD_N_SCORES,
} tamis_kld_score;

/* "llama", "all". */
const char *tamis_kld_score_name(tamis_kld_score score);
/* TAMIS_BAD_USAGE for any other name. */
tamis_status tamis_kld_score_parse(const char *name, tamis_kld_score *out,
                                   tamis_error *err) TAMIS_MUST_USE;

/* The tokens of a run and its scored positions: in each chunk first .. first + n_per_chunk - 1;
 * row r of chunk c has number c * n_per_chunk + r and is scored against the token n_ahead later. */
typedef struct tamis_kld_plan {
    const int32_t *tokens; /* [n_chunks * n_ctx], borrowed */
    int64_t n_ctx, n_chunks;
    int64_t first, n_per_chunk;
    int64_t n_rows;  /* n_chunks * n_per_chunk */
    int64_t n_ahead; /* 1: the next token */
} tamis_kld_plan;

/* TAMIS_BAD_USAGE when the context is too small to score anything. */
tamis_status tamis_kld_plan_init(tamis_kld_plan *plan, const int32_t *tokens, int64_t n_ctx,
                                 int64_t n_chunks, tamis_kld_score score,
                                 tamis_error *err) TAMIS_MUST_USE;
/* The positions at which multi-token prediction block i_block is scored: those of `plan` but for
 * the last 1 + i_block of each chunk, which predict what lies behind it. TAMIS_BAD_USAGE when none
 * is left. */
tamis_status tamis_kld_plan_mtp(const tamis_kld_plan *plan, int64_t i_block, tamis_kld_plan *out,
                                tamis_error *err) TAMIS_MUST_USE;
/* Token that row i is scored against. */
int32_t tamis_kld_plan_target(const tamis_kld_plan *plan, int64_t i_row);
/* All targets, [n_rows]; free() it. NULL when out of memory. */
int32_t *tamis_kld_plan_targets(const tamis_kld_plan *plan, tamis_error *err);

/* One pass of `model` over the plan's tokens; *out holds the final normed hidden states of its
 * scored rows, f32 [n_rows][n_embd]; release with tamis_store_release(). Errors are those of
 * tamis_pass_run(), with the model's path before them. */
tamis_status tamis_kld_evaluate(tamis_model *model, const tamis_kld_plan *plan,
                                const tamis_kld_machine *machine, tamis_store *out,
                                tamis_error *err) TAMIS_MUST_USE;
enum { TAMIS_KLD_MTP_MAX = 8 }; /* blocks that can be compared */
/* The same with the states of the first n_mtp multi-token prediction blocks in mtp [n_mtp], rows as
 * in tamis_kld_plan_mtp(). On an error nothing is left to release. */
tamis_status tamis_kld_evaluate_mtp(tamis_model *model, const tamis_kld_plan *plan,
                                    const tamis_kld_machine *machine, tamis_store *out,
                                    int64_t n_mtp, tamis_store *mtp,
                                    tamis_error *err) TAMIS_MUST_USE;

#endif
