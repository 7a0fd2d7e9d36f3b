/* mtp.h - judging multi-token prediction: how far a block's distribution is from the parent's, and
 * how many of its greedy drafts the model itself would have accepted.
 * At scored position t the block has seen the true token t + 1 and predicts token t + 2; the draft,
 * its most probable token, is accepted when it is the most probable one of the model's own head at
 * position t + 1. Block k of a chain predicts one token further for each block before it. */
#ifndef TAMIS_KLD_MTP_H
#define TAMIS_KLD_MTP_H

#include "base/error.h"
#include "kld/evaluate.h"
#include "kld/stats.h"
#include "model/head.h"
#include "model/perplexity.h"

/* A model's states at the positions of a plan, and the head that multiplies them. */
typedef struct tamis_kld_side {
    tamis_head *head;
    const float *hidden; /* [n_rows][n_embd], borrowed */
} tamis_kld_side;

/* One model's block. */
typedef struct tamis_kld_drafts {
    tamis_kld_stat acceptance;   /* percent */
    tamis_perplexity perplexity; /* of the token it predicts */
} tamis_kld_drafts;

/* A model's block against its parent's. In stats "next token" is the one the block predicts. */
typedef struct tamis_kld_mtp {
    tamis_kld_stats stats;
    tamis_kld_drafts parent, quant;
    tamis_kld_stat
        difference; /* of the acceptances, quant - parent, position by position; percent */
} tamis_kld_mtp;

/* What a comparison of block i_block needs besides the two sides' rows for it: names for messages,
 * the most probable tokens [plan->n_rows] of both models' own heads at the scored positions. */
typedef struct tamis_kld_mtp_job {
    const tamis_kld_machine *machine;
    const tamis_kld_plan *plan; /* of the models' own heads */
    int64_t i_block;
    const char *name_p, *name_q;
    const int32_t *top_p, *top_q;
} tamis_kld_mtp_job;

/* Errors are those of tamis_kld_compare() and tamis_kld_plan_mtp(). */
tamis_status tamis_kld_mtp_compare(const tamis_kld_mtp_job *job, const tamis_kld_side *p,
                                   const tamis_kld_side *q, tamis_kld_mtp *out,
                                   tamis_error *err) TAMIS_MUST_USE;

/* One model alone: name_q and top_q of the job are not used. */
tamis_status tamis_kld_mtp_alone(const tamis_kld_mtp_job *job, const tamis_kld_side *p,
                                 tamis_kld_drafts *out, tamis_error *err) TAMIS_MUST_USE;

#endif
