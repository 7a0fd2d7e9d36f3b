/* job.c - see job.h. The order of a run: open and compare everything, the parent's pass (or its
 * base file), then per quantized model one pass and one comparison. */
#include "kld/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "kld/compare.h"
#include "kld/source.h"
#include "model/head.h"

enum { DEFAULT_CTX = 512 };

typedef struct job {
    const tamis_kld_options *options;
    const tamis_kld_machine *machine;
    tamis_kld_result *result;
    tamis_kld_source parent;  /* model NULL when only a base file is there */
    tamis_kld_source *quants; /* [n_quants] */
    bool has_base;
    tamis_kld_base base;
    tamis_chunks chunks;
    tamis_kld_plan plan;
    int32_t *targets;
    tamis_store hidden; /* of the parent, when it was run */
    tamis_head *head;
} job;

static tamis_status check_options(const tamis_kld_options *o, bool has_base, tamis_error *err) {
    if (o->text_path && o->tokens_path)
        return tamis_fail(err, TAMIS_BAD_USAGE, "-f and --tokens both name the text; give one");
    if (!o->parent_path && !has_base) {
        if (o->base_path)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "%s: no such base file; give -m and -f to write it", o->base_path);
        return tamis_fail(err, TAMIS_BAD_USAGE, "no parent: give -m FILE, or --base FILE");
    }
    if (!o->text_path && !o->tokens_path && !has_base)
        return tamis_fail(err, TAMIS_BAD_USAGE, "no text: give -f FILE, or --tokens FILE");
    if ((o->text_path || o->tokens_path) && !o->parent_path && o->n_quants == 0)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "a text beside a base file needs a model to compare (-q or -m)");
    return TAMIS_OK;
}

/* Does the base file exist? Another answer than yes or no is an error. */
static tamis_status find_base(const tamis_kld_options *o, bool *has_base, tamis_error *err) {
    struct stat st;
    *has_base = false;
    if (!o->base_path) return TAMIS_OK;
    if (stat(o->base_path, &st) == 0) {
        *has_base = true;
        return TAMIS_OK;
    }
    if (errno == ENOENT) return TAMIS_OK;
    return tamis_fail_errno(err, TAMIS_BAD_INPUT, "%s: cannot look at the base file", o->base_path);
}

static tamis_status open_quants(job *j, tamis_error *err) {
    const tamis_kld_options *o = j->options;
    j->quants = tamis_alloc_array(o->n_quants, sizeof *j->quants, err);
    if (!j->quants) return TAMIS_NO_RESOURCE;
    for (size_t i = 0; i < o->n_quants; ++i) {
        tamis_kld_source *quant = &j->quants[i];
        tamis_status st = tamis_kld_source_open(o->quant_paths[i], o->text_path != NULL,
                                                j->machine->log, quant, err);
        if (st) return st;
        st = tamis_kld_check_quant(&j->result->parent, &quant->identity, j->machine->log, err);
        if (st) return st;
        j->result->quants[i].model = quant->identity;
        /* the first one's may still be needed for the text */
        if (i > 0) tamis_kld_source_drop_tokenizer(quant);
    }
    return TAMIS_OK;
}

static tamis_status prepare_from_parent(job *j, tamis_error *err) {
    const tamis_kld_options *o = j->options;
    tamis_kld_result *r = j->result;
    const int64_t n_ctx = o->n_ctx ? o->n_ctx : o->tokens_path ? 0 : DEFAULT_CTX;
    tamis_status st = TAMIS_OK;
    if (o->score) st = tamis_kld_score_parse(o->score, &r->score, err);
    if (!st && o->base_path) st = tamis_kld_check_output(o, o->base_path, err);
    if (st) return st;
    r->parent = j->parent.identity;
    st = tamis_kld_read_text(o, n_ctx, o->max_chunks, &j->parent, &j->chunks, &r->text, err);
    if (st) return st;
    return tamis_kld_plan_init(&j->plan, j->chunks.tokens, j->chunks.n_ctx, j->chunks.n_chunks,
                               r->score, err);
}

static tamis_status differs(tamis_error *err, const char *path, const char *what, long long base,
                            long long asked) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: the base has %s %lld, not %lld; leave the option out or write another "
                      "base",
                      path, what, base, asked);
}

/* What was asked for on the command line must be what the base was made with. */
static tamis_status check_against_base(const job *j, tamis_error *err) {
    const tamis_kld_options *o = j->options;
    const tamis_kld_base_info *info = &j->base.info;
    const char *path = o->base_path;
    if (o->n_ctx && o->n_ctx != info->n_ctx)
        return differs(err, path, "a context of", info->n_ctx, o->n_ctx);
    if (o->max_chunks && o->max_chunks != info->n_chunks)
        return differs(err, path, "chunks:", info->n_chunks, o->max_chunks);
    tamis_kld_score score = info->score;
    tamis_status st = o->score ? tamis_kld_score_parse(o->score, &score, err) : TAMIS_OK;
    if (st) return st;
    if (score != info->score)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: the base was made with --score %s, not %s",
                          path, tamis_kld_score_name(info->score), tamis_kld_score_name(score));
    if (j->parent.model && strcmp(j->parent.identity.hash, info->parent.hash) != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: the base was made from another parent (%s, hash %s) than %s (hash "
                          "%s)",
                          path, info->parent.name, info->parent.hash, o->parent_path,
                          j->parent.identity.hash);
    return TAMIS_OK;
}

static tamis_status check_text_of_base(job *j, tamis_error *err) {
    const tamis_kld_options *o = j->options;
    const tamis_kld_base_info *info = &j->base.info;
    if (!o->text_path && !o->tokens_path) return TAMIS_OK;
    const tamis_kld_source *source = j->parent.model ? &j->parent : &j->quants[0];
    tamis_kld_text text;
    tamis_chunks chunks;
    tamis_status st =
        tamis_kld_read_text(o, info->n_ctx, info->n_chunks, source, &chunks, &text, err);
    if (st) return st;
    const size_t n_bytes = (size_t)(info->n_ctx * info->n_chunks) * sizeof *chunks.tokens;
    if (strcmp(text.hash, info->text.hash) != 0 || chunks.n_chunks != info->n_chunks ||
        memcmp(chunks.tokens, j->base.tokens, n_bytes) != 0)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: the base was made from another text (%s, %lld tokens, hash %s) than "
                        "%s (%lld tokens, hash %s)",
                        o->base_path, info->text.name, (long long)info->text.n_tokens,
                        info->text.hash, text.name, (long long)text.n_tokens, text.hash);
    tamis_chunks_release(&chunks);
    return st;
}

static tamis_status prepare_from_base(job *j, tamis_error *err) {
    tamis_kld_result *r = j->result;
    const tamis_kld_base_info *info = &j->base.info;
    tamis_status st = tamis_kld_base_read(j->options->base_path, j->machine->budget, &j->base, err);
    if (st) return st;
    r->parent = info->parent;
    r->text = info->text;
    r->score = info->score;
    j->plan = j->base.plan;
    return check_against_base(j, err);
}

/* Open and check everything; nothing is computed here. */
static tamis_status prepare(job *j, tamis_error *err) {
    const tamis_kld_options *o = j->options;
    tamis_status st = find_base(o, &j->has_base, err);
    if (st) return st;
    st = check_options(o, j->has_base, err);
    if (st) return st;
    if (o->parent_path)
        st = tamis_kld_source_open(o->parent_path, o->text_path != NULL, j->machine->log,
                                   &j->parent, err);
    if (st) return st;
    st = j->has_base ? prepare_from_base(j, err) : prepare_from_parent(j, err);
    if (st) return st;
    st = open_quants(j, err);
    if (st) return st;
    if (j->has_base) st = check_text_of_base(j, err);
    if (st) return st;
    j->result->n_ctx = j->plan.n_ctx;
    j->result->n_chunks = j->plan.n_chunks;
    j->result->n_rows = j->plan.n_rows;
    const int64_t n_trained =
        j->parent.model ? tamis_model_context_length(j->parent.model) : j->plan.n_ctx;
    if (n_trained > 0 && n_trained < j->plan.n_ctx)
        tamis_warn(j->machine->log, "%s was trained with a context of %lld, --ctx is %lld",
                   j->result->parent.name, (long long)n_trained, (long long)j->plan.n_ctx);
    j->targets = tamis_kld_plan_targets(&j->plan, err);
    return j->targets ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

static tamis_status run_parent(job *j, tamis_error *err) {
    const tamis_kld_result *r = j->result;
    tamis_status st = tamis_kld_evaluate(j->parent.model, &j->plan, j->machine, &j->hidden, err);
    if (st) return st;
    st = tamis_head_open(j->parent.model, &j->head, err);
    if (st || !j->options->base_path) return st;
    const tamis_kld_base_info info = {
        .n_ctx = r->n_ctx,
        .n_chunks = r->n_chunks,
        .score = r->score,
        .parent = r->parent,
        .text = r->text,
    };
    st = tamis_kld_base_write(j->options->base_path, &info, &j->plan, j->hidden.data, j->head, err);
    if (!st) tamis_info(j->machine->log, "base file written: %s", j->options->base_path);
    return st;
}

static tamis_status parent_perplexity(job *j, const tamis_kld_side *p, tamis_error *err) {
    const int64_t n = j->plan.n_rows;
    double *nll = tamis_alloc_array((uint64_t)n, sizeof *nll, err);
    if (!nll) return TAMIS_NO_RESOURCE;
    tamis_progress_begin(j->machine->progress, "perplexity",
                         (uint64_t)(n * tamis_head_n_vocab(p->head)), "logits");
    tamis_status st = tamis_nll(p->head, j->machine->gemm, j->machine->pool, p->hidden, n,
                                j->targets, nll, NULL, j->machine->progress, err);
    tamis_progress_end(j->machine->progress);
    if (!st) j->result->parent_perplexity = tamis_perplexity_of(nll, n);
    free(nll);
    return st;
}

static tamis_status run_quant(job *j, const tamis_kld_side *p, size_t i_quant, tamis_error *err) {
    tamis_kld_quant *result = &j->result->quants[i_quant];
    tamis_kld_source *source = &j->quants[i_quant];
    tamis_store hidden = {0};
    tamis_kld_rows rows = {0};
    tamis_kld_side q = {.name = result->model.name};
    tamis_status st = tamis_kld_evaluate(source->model, &j->plan, j->machine, &hidden, err);
    if (st) goto out;
    st = tamis_head_open(source->model, &q.head, err);
    if (st) goto out;
    q.hidden = hidden.data;
    st = tamis_kld_rows_init(&rows, j->plan.n_rows, err);
    if (st) goto out;
    st = tamis_kld_compare(p, &q, j->targets, j->plan.n_rows, j->machine, &rows, err);
    if (st) goto out;
    st = tamis_kld_stats_of(&rows, &result->stats, err);
    if (st) goto out;
    j->result->parent_perplexity = tamis_perplexity_of(rows.nll_p, rows.n);
    tamis_info(j->machine->log, "%s: mean KLD %.6f, same top token %.3f %%", q.name,
               result->stats.of[TAMIS_KLD_MEAN].value, result->stats.of[TAMIS_KLD_SAME_TOP].value);
out:
    tamis_kld_rows_release(&rows);
    tamis_head_close(q.head);
    tamis_store_release(&hidden);
    tamis_kld_source_close(source);
    return st;
}

static void job_release(job *j) {
    if (j->quants) {
        for (size_t i = 0; i < j->options->n_quants; ++i)
            tamis_kld_source_close(&j->quants[i]);
    }
    free(j->quants);
    tamis_head_close(j->head);
    tamis_store_release(&j->hidden);
    free(j->targets);
    tamis_chunks_release(&j->chunks);
    tamis_kld_base_release(&j->base);
    tamis_kld_source_close(&j->parent);
}

tamis_status tamis_kld_run(const tamis_kld_options *options, const tamis_kld_machine *machine,
                           tamis_kld_result *out, tamis_error *err) {
    *out = (tamis_kld_result){.n_quants = options->n_quants};
    job j = {.options = options, .machine = machine, .result = out};
    tamis_status st = TAMIS_NO_RESOURCE;
    out->quants = tamis_alloc_array(options->n_quants, sizeof *out->quants, err);
    if (!out->quants) goto out;
    st = prepare(&j, err);
    if (st) goto out;
    tamis_info(machine->log, "%lld chunks of %lld tokens, %lld scored positions",
               (long long)out->n_chunks, (long long)out->n_ctx, (long long)out->n_rows);
    if (!j.has_base) st = run_parent(&j, err);
    if (st) goto out;
    const tamis_kld_side p = {
        .head = j.has_base ? j.base.head : j.head,
        .hidden = j.has_base ? j.base.hidden.data : j.hidden.data,
        .name = out->parent.name,
    };
    if (options->n_quants == 0) st = parent_perplexity(&j, &p, err);
    for (size_t i = 0; i < options->n_quants && !st; ++i)
        st = run_quant(&j, &p, i, err);
out:
    job_release(&j);
    if (st) tamis_kld_result_release(out);
    return st;
}

void tamis_kld_result_release(tamis_kld_result *result) {
    if (!result) return;
    free(result->quants);
    *result = (tamis_kld_result){0};
}
