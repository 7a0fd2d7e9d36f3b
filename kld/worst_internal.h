/* worst_internal.h - how the worst positions are found: first their rows, then what each side says
 * about them, then the texts. */
#ifndef TAMIS_KLD_WORST_INTERNAL_H
#define TAMIS_KLD_WORST_INTERNAL_H

#include <stdbool.h>

#include "base/error.h"
#include "kld/evaluate.h"
#include "kld/logits.h"
#include "kld/stats.h"
#include "kld/worst.h"
#include "model/tokenizer.h"

/* Find the n_wanted rows (at most all) with the largest divergence. Release with
 * tamis_kld_worst_release(). */
tamis_status tamis_kld_worst_find(const tamis_kld_rows *rows, const tamis_kld_plan *plan,
                                  int64_t n_wanted, tamis_kld_worst *out,
                                  tamis_error *err) TAMIS_MUST_USE;
/* Their rows, [n]; free() it. */
int64_t *tamis_kld_worst_rows(const tamis_kld_worst *worst, tamis_error *err);
/* Fill in what one side says there: `side` holds just these rows in this order, nll [.] the
 * negative log-likelihoods of all rows. is_parent: into p, else into q. */
tamis_status tamis_kld_worst_ask(tamis_kld_worst *worst, tamis_kld_logits *side, const double *nll,
                                 bool is_parent, const tamis_kld_machine *machine,
                                 tamis_error *err) TAMIS_MUST_USE;
/* Fill in texts; without a tokenizer they stay empty. */
tamis_status tamis_kld_worst_tell(tamis_kld_worst *worst, const tamis_kld_plan *plan,
                                  const tamis_tokenizer *tokenizer,
                                  tamis_error *err) TAMIS_MUST_USE;

#endif
