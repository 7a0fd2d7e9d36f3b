/* parent.h - the parent's side of a run: a model that is run, or a base file in either layout that
 * stands in for it; with the tokens and scored positions that go with it. */
#ifndef TAMIS_KLD_PARENT_H
#define TAMIS_KLD_PARENT_H

#include "base/error.h"
#include "kld/job.h"
#include "kld/llama_base.h"
#include "kld/logits.h"
#include "kld/source.h"

typedef enum tamis_kld_parent_kind {
    TAMIS_KLD_PARENT_MODEL,      /* run it */
    TAMIS_KLD_PARENT_BASE,       /* hidden states and head in a base file of this tool */
    TAMIS_KLD_PARENT_LLAMA_BASE, /* 16-bit log-probabilities in one of llama-perplexity */
} tamis_kld_parent_kind;

typedef struct tamis_kld_parent {
    tamis_kld_parent_kind kind;
    tamis_kld_source source; /* model NULL when only a base file is there */
    tamis_kld_base base;
    tamis_llama_base *llama;
    tamis_chunks chunks;
    int32_t *llama_tokens; /* ids of a llama base as a model is to see them */
    tamis_kld_plan plan;
    int32_t *targets;       /* [plan.n_rows] */
    tamis_store own_hidden; /* of a model that was run */
    tamis_head *own_head;
    tamis_store own_mtp_hidden[TAMIS_KLD_MTP_MAX];
    tamis_head *own_mtp_heads[TAMIS_KLD_MTP_MAX];
    /* what the comparison uses, one of the two */
    tamis_head *head;
    const float *hidden; /* [plan.n_rows][n_embd] */
    int64_t n_mtp;       /* 0 unless it is asked for */
    tamis_kld_side mtp[TAMIS_KLD_MTP_MAX];
    bool mtp_has_head[TAMIS_KLD_MTP_MAX]; /* one of its own, not the model's */
} tamis_kld_parent;

/* Open what the options name and check it; result gets the parent's identity, the text, n_ctx,
 * n_chunks, n_rows and score. Nothing is computed. Release with tamis_kld_parent_release(). */
tamis_status tamis_kld_parent_open(const tamis_kld_options *options,
                                   const tamis_kld_machine *machine, tamis_kld_parent *out,
                                   tamis_kld_result *result, tamis_error *err) TAMIS_MUST_USE;
void tamis_kld_parent_release(tamis_kld_parent *parent);

/* Once the first quantized model (NULL: there is none) is open: the tokens of a llama base get
 * their BOS, and a text given beside a base is compared with it (TAMIS_BAD_INPUT when it differs).
 */
tamis_status tamis_kld_parent_complete(tamis_kld_parent *parent, const tamis_kld_options *options,
                                       const tamis_kld_source *first_quant,
                                       tamis_kld_result *result, tamis_error *err) TAMIS_MUST_USE;

/* What the base files to be written need: disk space (at most; TAMIS_NO_RESOURCE when there is
 * less), positions and heads of chunks that their layout can say. */
tamis_status tamis_kld_parent_check_outputs(const tamis_kld_parent *parent,
                                            const tamis_kld_options *options,
                                            const tamis_kld_result *result,
                                            tamis_error *err) TAMIS_MUST_USE;

/* Compute the parent's hidden states if it is a model, and write the base files asked for.
 * *nll: negative log-likelihoods [n_rows] where they came out on the way, else NULL; free() it. */
tamis_status tamis_kld_parent_run(tamis_kld_parent *parent, const tamis_kld_options *options,
                                  const tamis_kld_machine *machine, const tamis_kld_result *result,
                                  double **nll, tamis_error *err) TAMIS_MUST_USE;
/* Negative log-likelihoods of all scored rows, [n_rows]; top [n_rows], the most probable tokens,
 * may be NULL, and must be where the parent is a base of llama-perplexity. */
tamis_status tamis_kld_parent_nll(tamis_kld_parent *parent, const tamis_kld_machine *machine,
                                  double *nll, int32_t *top, tamis_error *err) TAMIS_MUST_USE;

/* Its values as a side of a comparison; row_list as in logits.h. */
tamis_status tamis_kld_parent_logits(const tamis_kld_parent *parent, const int64_t *row_list,
                                     int64_t n_rows, const tamis_kld_machine *machine,
                                     const char *name, tamis_kld_logits **out,
                                     tamis_error *err) TAMIS_MUST_USE;

#endif
