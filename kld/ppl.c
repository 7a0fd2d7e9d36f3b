/* ppl.c - see ppl.h. Each model: one pass, then one product with its head. */
#include "kld/ppl.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "kld/source.h"
#include "model/head.h"

enum { DEFAULT_CTX = 512 };

typedef struct item {
    tamis_kld_source source;
    tamis_chunks chunks;
    tamis_kld_plan plan;
} item;

static tamis_status check_options(const tamis_kld_options *o, tamis_error *err) {
    if (!o->parent_path && o->n_quants == 0)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--ppl needs a model: give -m FILE");
    if (!o->text_path == !o->tokens_path)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--ppl needs one of -f and --tokens");
    if (o->base_path || o->save_logits_path)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--ppl is a run of its own, without --base and --save-all-logits");
    if (o->per_chunk || o->n_worst)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--ppl prints every chunk; --per-chunk and --worst belong to a "
                          "comparison (-q without --ppl)");
    return TAMIS_OK;
}

/* The last `stride` tokens of each window are scored. */
static tamis_status plan_windows(tamis_kld_plan *plan, int64_t stride, tamis_error *err) {
    if (stride >= plan->n_ctx)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--ppl-stride %lld leaves no context in windows of %lld tokens; it must "
                          "be smaller than --ctx",
                          (long long)stride, (long long)plan->n_ctx);
    plan->n_per_chunk = stride;
    plan->first = plan->n_ctx - 1 - stride;
    plan->n_rows = plan->n_chunks * stride;
    return TAMIS_OK;
}

static tamis_status prepare(const tamis_kld_options *o, int64_t stride, const char *path,
                            const tamis_log *log, item *it, tamis_kld_ppl_model *m,
                            tamis_error *err) {
    const bool is_text = o->text_path != NULL;
    const int64_t n_ctx = o->n_ctx ? o->n_ctx : is_text ? DEFAULT_CTX : 0;
    tamis_kld_score score = TAMIS_KLD_SCORE_LLAMA;
    tamis_status st = o->score ? tamis_kld_score_parse(o->score, &score, err) : TAMIS_OK;
    if (!st && o->score && stride)
        st = tamis_fail(err, TAMIS_BAD_USAGE,
                        "--ppl-stride scores the end of each window; leave --score out");
    if (!st) st = tamis_kld_source_open(path, is_text, log, &it->source, err);
    if (!st && o->json_path) st = tamis_kld_check_parts(&it->source, o->json_path, err);
    if (st) return st;
    m->model = it->source.identity;
    st = tamis_kld_read_text(o, n_ctx, o->max_chunks, stride, &it->source, &it->chunks, &m->text,
                             err);
    if (st) return st;
    tamis_kld_source_drop_tokenizer(&it->source);
    const tamis_chunks *c = &it->chunks;
    st = tamis_kld_plan_init(&it->plan, c->tokens, c->n_ctx, c->n_chunks, score, err);
    if (!st && stride) st = plan_windows(&it->plan, stride, err);
    if (st) return st;
    m->n_ctx = c->n_ctx;
    m->n_chunks = c->n_chunks;
    m->n_rows = it->plan.n_rows;
    const int64_t n_trained = tamis_model_context_length(it->source.model);
    if (n_trained > 0 && n_trained < m->n_ctx)
        tamis_warn(log, "%s was trained with a context of %lld, --ctx is %lld", m->model.name,
                   (long long)n_trained, (long long)m->n_ctx);
    return TAMIS_OK;
}

/* Running values from sums in order, so that the last is tamis_perplexity_of() of all. */
static void run_up(const double *nll, int64_t n_per_chunk, tamis_kld_ppl_model *m) {
    double sum = 0, sum2 = 0;
    for (int64_t c = 0; c < m->n_chunks; ++c) {
        for (int64_t i = c * n_per_chunk; i < (c + 1) * n_per_chunk; ++i) {
            sum += nll[i];
            sum2 += nll[i] * nll[i];
        }
        m->running[c] = tamis_perplexity_of_sums(sum, sum2, (c + 1) * n_per_chunk);
    }
}

static tamis_status run_one(item *it, const tamis_kld_machine *machine, tamis_kld_ppl_model *m,
                            tamis_error *err) {
    const int64_t n = it->plan.n_rows;
    tamis_store hidden = {0};
    tamis_head *head = NULL;
    double *nll = NULL;
    int32_t *targets = tamis_kld_plan_targets(&it->plan, err);
    tamis_status st = TAMIS_NO_RESOURCE;
    if (!targets) goto out;
    m->running = tamis_alloc_array((uint64_t)m->n_chunks, sizeof *m->running, err);
    if (!m->running) goto out;
    nll = tamis_alloc_array((uint64_t)n, sizeof *nll, err);
    if (!nll) goto out;
    st = tamis_head_open(it->source.model, &head, err);
    if (st) goto out;
    st = tamis_kld_evaluate(it->source.model, &it->plan, machine, &hidden, err);
    if (st) goto out;
    tamis_progress_begin(machine->progress, "perplexity", (uint64_t)(n * tamis_head_n_vocab(head)),
                         "logits");
    st = tamis_nll(head, machine->gemm, machine->pool, hidden.data, n, targets, nll, NULL,
                   machine->progress, err);
    tamis_progress_end(machine->progress);
    if (st) goto out;
    run_up(nll, it->plan.n_per_chunk, m);
    tamis_info(machine->log, "%s: PPL = %.4f", m->model.name, m->running[m->n_chunks - 1].ppl);
out:
    free(nll);
    free(targets);
    tamis_head_close(head);
    tamis_store_release(&hidden);
    return st;
}

static void release_item(item *it) {
    tamis_chunks_release(&it->chunks);
    tamis_kld_source_close(&it->source);
}

tamis_status tamis_kld_ppl_run(const tamis_kld_options *o, int64_t stride,
                               const tamis_kld_machine *machine, tamis_kld_ppl *out,
                               tamis_error *err) {
    *out = (tamis_kld_ppl){.stride = stride};
    tamis_status st = check_options(o, err);
    if (st) return st;
    const size_t n_first = o->parent_path ? 1 : 0, n = n_first + o->n_quants;
    item *items = tamis_alloc_array(n, sizeof *items, err);
    if (!items) return TAMIS_NO_RESOURCE;
    out->models = tamis_alloc_array(n, sizeof *out->models, err);
    st = out->models ? TAMIS_OK : TAMIS_NO_RESOURCE;
    if (!st) out->n_models = n;
    for (size_t i = 0; i < n && !st; ++i) {
        const char *path = i < n_first ? o->parent_path : o->quant_paths[i - n_first];
        st = prepare(o, stride, path, machine->log, &items[i], &out->models[i], err);
    }
    for (size_t i = 0; i < n && !st; ++i) {
        st = run_one(&items[i], machine, &out->models[i], err);
        release_item(&items[i]);
    }
    for (size_t i = 0; i < n; ++i)
        release_item(&items[i]);
    free(items);
    if (st) tamis_kld_ppl_release(out);
    return st;
}

void tamis_kld_ppl_release(tamis_kld_ppl *ppl) {
    if (!ppl) return;
    for (size_t i = 0; i < ppl->n_models; ++i)
        free(ppl->models[i].running);
    free(ppl->models);
    *ppl = (tamis_kld_ppl){0};
}
