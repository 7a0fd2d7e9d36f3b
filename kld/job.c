/* job.c - see job.h. The order of a run: open and compare everything, the parent's pass (or its
 * base file), then per quantized model one pass and one comparison. */
#include "kld/job.h"

#include <stdlib.h>

#include "base/checked.h"
#include "kld/compare.h"
#include "kld/parent.h"
#include "kld/worst_internal.h"

typedef struct job {
    const tamis_kld_options *options;
    const tamis_kld_machine *machine;
    tamis_kld_result *result;
    tamis_kld_parent parent;
    tamis_kld_source *quants;   /* [n_quants] */
    tamis_tokenizer *tokenizer; /* for texts in the results; NULL when there is none */
} job;

static tamis_status check_mtp(const job *j, const tamis_kld_source *quant, tamis_error *err) {
    const int64_t n = tamis_model_n_mtp(quant->model);
    if (!j->parent.n_mtp || n == j->parent.n_mtp) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s has %lld multi-token prediction blocks, its parent %s has %lld; leave "
                      "--mtp out, or quantize again with all blocks",
                      quant->identity.name, (long long)n, j->result->parent.name,
                      (long long)j->parent.n_mtp);
}

static tamis_status open_quants(job *j, tamis_error *err) {
    const tamis_kld_options *o = j->options;
    const bool is_llama = j->parent.kind == TAMIS_KLD_PARENT_LLAMA_BASE;
    j->quants = tamis_alloc_array(o->n_quants, sizeof *j->quants, err);
    if (!j->quants) return TAMIS_NO_RESOURCE;
    for (size_t i = 0; i < o->n_quants; ++i) {
        tamis_kld_source *quant = &j->quants[i];
        tamis_status st = tamis_kld_source_open(o->quant_paths[i], o->text_path || is_llama,
                                                j->machine->log, quant, err);
        if (st) return st;
        st = tamis_kld_check_quant(&j->result->parent, &quant->identity, j->machine->log, err);
        /* a base of llama-perplexity says little about its model: compare them with each other */
        if (!st && i > 0 && !j->parent.source.model && is_llama)
            st = tamis_kld_check_quant(&j->quants[0].identity, &quant->identity, j->machine->log,
                                       err);
        if (!st) st = check_mtp(j, quant, err);
        if (st) return st;
        j->result->quants[i].model = quant->identity;
        /* the first one's may still be needed for the text */
        if (i > 0) tamis_kld_source_drop_tokenizer(quant);
    }
    return TAMIS_OK;
}

/* No output may be one of the files read, parts of split models included. */
static tamis_status check_outputs(const job *j, tamis_error *err) {
    const tamis_kld_options *o = j->options;
    const char *const outputs[] = {
        j->parent.kind == TAMIS_KLD_PARENT_MODEL ? o->base_path : NULL,
        o->save_logits_path,
        o->json_path,
    };
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; ++i) {
        if (!outputs[i]) continue;
        tamis_status st = tamis_kld_check_output(o, outputs[i], err);
        if (!st && j->parent.source.model)
            st = tamis_kld_check_parts(&j->parent.source, outputs[i], err);
        for (size_t k = 0; k < o->n_quants && !st; ++k) {
            st = tamis_kld_check_parts(&j->quants[k], outputs[i], err);
        }
        if (st) return st;
    }
    return TAMIS_OK;
}

/* Open and check everything; nothing is computed here. */
static tamis_status prepare(job *j, tamis_error *err) {
    const tamis_kld_options *o = j->options;
    tamis_kld_result *r = j->result;
    tamis_status st = tamis_kld_parent_open(o, j->machine, &j->parent, r, err);
    if (!st) st = open_quants(j, err);
    if (!st) st = check_outputs(j, err);
    if (!st)
        st = tamis_kld_parent_complete(&j->parent, o, o->n_quants ? &j->quants[0] : NULL, r, err);
    if (!st) st = tamis_kld_parent_check_outputs(&j->parent, o, r, err);
    if (st) return st;
    /* all vocabularies are alike: one of them is kept when the models are closed */
    tamis_kld_source *teller = o->n_quants ? &j->quants[0] : &j->parent.source;
    j->tokenizer = teller->tokenizer;
    teller->tokenizer = NULL;
    const tamis_model *model = j->parent.source.model;
    const int64_t n_trained = model ? tamis_model_context_length(model) : r->n_ctx;
    if (n_trained > 0 && n_trained < r->n_ctx)
        tamis_warn(j->machine->log, "%s was trained with a context of %lld, --ctx is %lld",
                   r->parent.name, (long long)n_trained, (long long)r->n_ctx);
    return TAMIS_OK;
}

/* The parent's blocks alone. `top`: the most probable tokens at its scored positions. */
static tamis_status parent_drafts(job *j, const int32_t *top, tamis_error *err) {
    tamis_kld_mtp_job of = {.machine = j->machine,
                            .plan = &j->parent.plan,
                            .name_p = j->result->parent.name,
                            .top_p = top};
    tamis_status st = TAMIS_OK;
    for (; of.i_block < j->parent.n_mtp && !st; ++of.i_block) {
        const int64_t k = of.i_block;
        st = tamis_kld_mtp_alone(&of, &j->parent.mtp[k], &j->result->parent_drafts[k], err);
    }
    return st;
}

/* Without a model to compare, the parent's perplexity (and what its drafts are worth) is the
 * result. */
static tamis_status parent_perplexity(job *j, double *known_nll, tamis_error *err) {
    const int64_t n = j->result->n_rows;
    double *nll = NULL;
    int32_t *top = NULL;
    tamis_status st = TAMIS_OK;
    if (known_nll && !j->parent.n_mtp) {
        j->result->parent_perplexity = tamis_perplexity_of(known_nll, n);
        return TAMIS_OK;
    }
    st = TAMIS_NO_RESOURCE;
    nll = tamis_alloc_array((uint64_t)n, sizeof *nll, err);
    if (!nll) goto out;
    if (j->parent.n_mtp) {
        top = tamis_alloc_array((uint64_t)n, sizeof *top, err);
        if (!top) goto out;
    }
    st = tamis_kld_parent_nll(&j->parent, j->machine, nll, top, err);
    if (st) goto out;
    j->result->parent_perplexity = tamis_perplexity_of(nll, n);
    st = parent_drafts(j, top, err);
out:
    free(nll);
    free(top);
    return st;
}

/* The blocks of one model, with the states of its pass in hidden [n_mtp]. */
static tamis_status compare_mtp(job *j, tamis_model *model, const tamis_store *hidden,
                                const tamis_kld_rows *rows, tamis_kld_quant *result,
                                tamis_error *err) {
    const int64_t n = j->parent.n_mtp;
    const tamis_kld_machine *machine = j->machine;
    tamis_kld_mtp_job of = {.machine = machine,
                            .plan = &j->parent.plan,
                            .name_p = j->result->parent.name,
                            .name_q = result->model.name,
                            .top_p = rows->top_p,
                            .top_q = rows->top_q};
    result->mtp = tamis_alloc_array((uint64_t)n, sizeof *result->mtp, err);
    if (!result->mtp) return TAMIS_NO_RESOURCE;
    tamis_status st = TAMIS_OK;
    for (; of.i_block < n && !st; ++of.i_block) {
        const int64_t k = of.i_block;
        tamis_kld_side q = {.hidden = hidden[k].data};
        tamis_kld_mtp *out = &result->mtp[k];
        st = tamis_head_open_mtp(model, k, &q.head, NULL, err);
        if (!st) st = tamis_kld_mtp_compare(&of, &j->parent.mtp[k], &q, out, err);
        tamis_head_close(q.head);
        if (st) return st;
        j->result->parent_drafts[k] = out->parent;
        tamis_info(machine->log,
                   "%s: MTP block %lld: mean KLD %.6f, drafts accepted %.2f %% (parent %.2f %%)",
                   of.name_q, (long long)k + 1, out->stats.of[TAMIS_KLD_MEAN].value,
                   out->quant.acceptance.value, out->parent.acceptance.value);
    }
    return st;
}

/* Ask both sides about the positions where they differ most. */
static tamis_status describe_worst(const job *j, tamis_head *head, const float *hidden,
                                   const tamis_kld_rows *rows, tamis_kld_quant *result,
                                   tamis_error *err) {
    const tamis_kld_plan *plan = &j->parent.plan;
    tamis_kld_worst *worst = &result->worst;
    tamis_kld_logits *p = NULL, *q = NULL;
    int64_t *list = NULL;
    tamis_status st = tamis_kld_worst_find(rows, plan, j->options->n_worst, worst, err);
    if (st) goto out;
    list = tamis_kld_worst_rows(worst, err);
    st = list ? TAMIS_OK : TAMIS_NO_RESOURCE;
    if (st) goto out;
    st = tamis_kld_parent_logits(&j->parent, list, worst->n, j->machine, j->result->parent.name, &p,
                                 err);
    if (st) goto out;
    st = tamis_kld_worst_ask(worst, p, rows->nll_p, true, j->machine, err);
    if (st) goto out;
    st = tamis_kld_logits_of_head(head, hidden, list, worst->n, j->machine, result->model.name, &q,
                                  err);
    if (st) goto out;
    st = tamis_kld_worst_ask(worst, q, rows->nll_q, false, j->machine, err);
    if (st) goto out;
    st = tamis_kld_worst_tell(worst, plan, j->tokenizer, err);
out:
    tamis_kld_logits_free(p);
    tamis_kld_logits_free(q);
    free(list);
    return st;
}

static tamis_status run_quant(job *j, tamis_kld_logits *p, size_t i_quant, tamis_error *err) {
    const tamis_kld_machine *machine = j->machine;
    const tamis_kld_plan *plan = &j->parent.plan;
    tamis_kld_quant *result = &j->result->quants[i_quant];
    tamis_kld_source *source = &j->quants[i_quant];
    const char *name = result->model.name;
    tamis_store hidden = {0}, mtp_hidden[TAMIS_KLD_MTP_MAX] = {0};
    tamis_kld_rows rows = {0};
    tamis_head *head = NULL;
    tamis_kld_logits *q = NULL;
    tamis_status st = tamis_kld_evaluate_mtp(source->model, plan, machine, &hidden, j->parent.n_mtp,
                                             mtp_hidden, err);
    if (st) goto out;
    st = tamis_head_open(source->model, &head, err);
    if (st) goto out;
    st = tamis_kld_logits_of_head(head, hidden.data, NULL, plan->n_rows, machine, name, &q, err);
    if (st) goto out;
    st = tamis_kld_rows_init(&rows, plan->n_rows, err);
    if (st) goto out;
    st = tamis_kld_compare(p, q, j->parent.targets, plan->n_rows, machine, &rows, err);
    if (st) goto out;
    st = tamis_kld_stats_of(&rows, &result->stats, err);
    if (st) goto out;
    j->result->parent_perplexity = tamis_perplexity_of(rows.nll_p, rows.n);
    if (j->options->per_chunk)
        st = tamis_kld_running_of(&rows, plan->n_per_chunk, &result->running, err);
    if (st) goto out;
    if (j->options->n_worst) st = describe_worst(j, head, hidden.data, &rows, result, err);
    if (st) goto out;
    tamis_info(machine->log, "%s: mean KLD %.6f, same top token %.3f %%", name,
               result->stats.of[TAMIS_KLD_MEAN].value, result->stats.of[TAMIS_KLD_SAME_TOP].value);
    if (j->parent.n_mtp) st = compare_mtp(j, source->model, mtp_hidden, &rows, result, err);
out:
    tamis_kld_logits_free(q);
    tamis_kld_rows_release(&rows);
    tamis_head_close(head);
    tamis_store_release(&hidden);
    for (int64_t k = 0; k < TAMIS_KLD_MTP_MAX; ++k)
        tamis_store_release(&mtp_hidden[k]);
    tamis_kld_source_close(source);
    return st;
}

static tamis_status run_quants(job *j, tamis_error *err) {
    tamis_kld_logits *p = NULL;
    tamis_status st = tamis_kld_parent_logits(&j->parent, NULL, j->result->n_rows, j->machine,
                                              j->result->parent.name, &p, err);
    for (size_t i = 0; i < j->options->n_quants && !st; ++i)
        st = run_quant(j, p, i, err);
    tamis_kld_logits_free(p);
    return st;
}

static void job_release(job *j) {
    if (j->quants) {
        for (size_t i = 0; i < j->options->n_quants; ++i)
            tamis_kld_source_close(&j->quants[i]);
    }
    free(j->quants);
    tamis_tokenizer_free(j->tokenizer);
    tamis_kld_parent_release(&j->parent);
}

tamis_status tamis_kld_run(const tamis_kld_options *options, const tamis_kld_machine *machine,
                           tamis_kld_result *out, tamis_error *err) {
    *out = (tamis_kld_result){.n_quants = options->n_quants};
    job j = {.options = options, .machine = machine, .result = out};
    double *nll = NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    out->quants = tamis_alloc_array(options->n_quants, sizeof *out->quants, err);
    if (!out->quants) goto out;
    st = prepare(&j, err);
    if (st) goto out;
    tamis_info(machine->log, "%lld chunks of %lld tokens, %lld scored positions",
               (long long)out->n_chunks, (long long)out->n_ctx, (long long)out->n_rows);
    st = tamis_kld_parent_run(&j.parent, options, machine, out, &nll, err);
    if (st) goto out;
    st = options->n_quants == 0 ? parent_perplexity(&j, nll, err) : run_quants(&j, err);
out:
    free(nll);
    job_release(&j);
    if (st) tamis_kld_result_release(out);
    return st;
}

void tamis_kld_result_release(tamis_kld_result *result) {
    if (!result) return;
    for (size_t i = 0; result->quants && i < result->n_quants; ++i) {
        free(result->quants[i].running);
        free(result->quants[i].mtp);
        tamis_kld_worst_release(&result->quants[i].worst);
    }
    free(result->quants);
    *result = (tamis_kld_result){0};
}
