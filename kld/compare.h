/* compare.h - the divergence of one model from another at every scored position, exactly:
 * from final hidden states and output heads, a tile of the vocabulary at a time. */
#ifndef TAMIS_KLD_COMPARE_H
#define TAMIS_KLD_COMPARE_H

#include <stdint.h>

#include "base/error.h"
#include "kld/evaluate.h"
#include "kld/stats.h"
#include "model/head.h"

/* One side of a comparison; n_embd may differ between the sides, n_vocab must not. */
typedef struct tamis_kld_side {
    tamis_head *head;
    const float *hidden; /* [n_rows][n_embd of the head] */
    const char *name;    /* for messages */
} tamis_kld_side;

/* Fill out->kld, nll_p, nll_q, same_top (initialised for n_rows rows) for `p` against `q`, both
 * scored against targets [n_rows]. Memory: a tile of each head in f32, a block of logits of each,
 * 64 bytes a row. The same bits for any number of threads; equal sides give exactly 0.
 * TAMIS_BAD_INPUT: vocabularies of different size, or a logit that is not finite (the model and
 * row are named). */
tamis_status tamis_kld_compare(const tamis_kld_side *p, const tamis_kld_side *q,
                               const int32_t *targets, int64_t n_rows,
                               const tamis_kld_machine *machine, tamis_kld_rows *out,
                               tamis_error *err) TAMIS_MUST_USE;

#endif
