/* imatrix.c - see imatrix.h. One pass with two observers: the collector, and the kept rows of the
 * scored positions for the perplexity. */
#include "imatrix/imatrix.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "imatrix/collect.h"
#include "model/gemm.h"
#include "model/head.h"
#include "model/kept_rows.h"

void tamis_imatrix_result_release(tamis_imatrix_result *result) {
    free(result->running);
    free(result->texts);
    memset(result, 0, sizeof *result);
}

static tamis_status score(tamis_model *model, const tamis_text_parts *texts,
                          const tamis_kept_rows *kept, const tamis_pass_options *pass,
                          tamis_imatrix_result *result, tamis_error *err) {
    const int64_t n_rows = tamis_row_choice_n_rows(&kept->choice);
    tamis_head *head = NULL;
    tamis_gemm *gemm = NULL;
    int32_t *targets = NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    double *nll = tamis_alloc_array((uint64_t)n_rows, sizeof *nll, err);
    if (!nll) goto out;
    targets = tamis_row_choice_targets(&kept->choice, texts->tokens, err);
    if (!targets) goto out;
    result->running = tamis_alloc_array((uint64_t)texts->n_chunks, sizeof *result->running, err);
    if (!result->running) goto out;
    st = tamis_head_open(model, &head, err);
    if (st) goto out;
    st = tamis_gemm_new(pass->engine, &gemm, err);
    if (st) goto out;
    tamis_progress_begin(pass->progress, "perplexity",
                         (uint64_t)n_rows * (uint64_t)tamis_head_n_vocab(head), "logits");
    st = tamis_nll(head, gemm, pass->pool, kept->store.data, n_rows, targets, nll, NULL,
                   pass->progress, err);
    tamis_progress_end(pass->progress);
    if (st) goto out;
    const int64_t n_per_chunk = kept->choice.n_per_chunk;
    for (int64_t c = 0; c < texts->n_chunks; c++)
        result->running[c] = tamis_perplexity_of(nll, (c + 1) * n_per_chunk);
    for (size_t i = 0; i < texts->n_parts; i++) {
        const tamis_text_part *part = &texts->parts[i];
        result->texts[i].perplexity = tamis_perplexity_of(nll + part->first_chunk * n_per_chunk,
                                                          part->n_chunks * n_per_chunk);
    }
out:
    tamis_gemm_free(gemm);
    tamis_head_close(head);
    free(targets);
    free(nll);
    return st;
}

/* What decides the result besides what the pass names itself. */
static tamis_status name_run(const tamis_imatrix_options *options, const tamis_text_parts *texts,
                             tamis_error *err) {
    tamis_checkpoint *cp = options->pass.checkpoint;
    if (!cp) return TAMIS_OK;
    tamis_status st = tamis_text_parts_name(texts, cp, err);
    if (st) return st;
    st = tamis_checkpoint_name(cp, "--process-output", options->with_output ? "on" : "off", err);
    return st ? st
              : tamis_checkpoint_name(cp, "--all-experts", options->all_experts ? "on" : "off",
                                      err);
}

static tamis_status new_collector(const tamis_imatrix_options *options,
                                  const tamis_text_parts *texts, tamis_collector **out,
                                  tamis_error *err) {
    tamis_collector_text *ends = tamis_alloc_array(texts->n_parts, sizeof *ends, err);
    if (!ends) return TAMIS_NO_RESOURCE;
    for (size_t i = 0; i < texts->n_parts; i++) {
        const tamis_text_part *part = &texts->parts[i];
        ends[i].n_tokens_end = (part->first_chunk + part->n_chunks) * texts->n_ctx;
        ends[i].weight = part->weight;
    }
    tamis_status st = tamis_collector_new(ends, texts->n_parts, options->with_output,
                                          options->pass.pool, out, err);
    free(ends);
    return st;
}

/* Room for the rows to score; what the pass needs stays free in the budget. */
static tamis_status make_room(tamis_model *model, const tamis_row_choice *scored,
                              tamis_budget *budget, tamis_kept_rows *kept, tamis_error *err) {
    uint64_t needed;
    tamis_status st = tamis_pass_needed_bytes(model, scored->n_chunks * scored->n_ctx,
                                              scored->n_ctx, &needed, err);
    if (st) return st;
    const uint64_t left = tamis_budget_left(budget);
    const uint64_t held = needed < left ? needed : left;
    const bool is_held = tamis_budget_take(budget, held);
    st = tamis_kept_rows_init(kept, scored, tamis_model_n_embd(model), budget, err);
    if (is_held) tamis_budget_give(budget, held);
    return st;
}

/* The pass, once model and texts are there. */
static tamis_status run(const tamis_imatrix_options *options, tamis_model *model,
                        const tamis_text_parts *texts, tamis_imatrix *matrix,
                        tamis_imatrix_result *result, tamis_error *err) {
    tamis_pass_options with_experts = options->pass;
    const tamis_pass_options *pass = &with_experts;
    with_experts.all_experts = options->all_experts;
    /* With fewer than three tokens in a chunk no position is scored. */
    const tamis_row_choice scored = tamis_row_choice_second_half(texts->n_ctx, texts->n_chunks);
    bool scores = options->with_perplexity && scored.n_per_chunk > 0;
    tamis_kept_rows kept = {0};
    tamis_collector *collector = NULL;
    tamis_observer observers[2];
    int n_observers = 1;

    tamis_status st = new_collector(options, texts, &collector, err);
    if (st) goto out;
    observers[0] = tamis_collector_observer(collector);
    observers[0].wants_mtp = !options->without_mtp;
    if (scores) {
        st = make_room(model, &scored, pass->budget, &kept, err);
        if (st) goto out;
        observers[n_observers++] = tamis_kept_rows_observer(&kept);
    }
    st = name_run(options, texts, err);
    if (st) goto out;
    st = tamis_pass_run(model, texts->tokens, texts->n_chunks * texts->n_ctx, texts->n_ctx, pass,
                        observers, n_observers, err);
    if (st) goto out;
    st = tamis_collector_finish(collector, matrix, err);
    if (st) goto out;
    if (scores) st = score(model, texts, &kept, pass, result, err);
    if (st == TAMIS_INTERRUPTED) st = tamis_checkpoint_interrupted(pass->checkpoint, err);
out:
    tamis_kept_rows_release(&kept);
    tamis_collector_free(collector);
    return st;
}

/* What is known of the texts before the pass. */
static tamis_status describe(const tamis_text_parts *texts, const tamis_log *log,
                             tamis_imatrix_result *result, tamis_error *err) {
    result->texts = tamis_alloc_array(texts->n_parts, sizeof *result->texts, err);
    if (!result->texts) return TAMIS_NO_RESOURCE;
    result->n_texts = texts->n_parts;
    result->n_chunks = texts->n_chunks;
    result->n_ctx = texts->n_ctx;
    result->n_tokens = texts->n_text_tokens;
    for (size_t i = 0; i < texts->n_parts; i++) {
        const tamis_text_part *part = &texts->parts[i];
        result->texts[i] = (tamis_imatrix_text_result){.text = {part->path, part->weight},
                                                       .n_tokens = part->n_text_tokens,
                                                       .n_chunks = part->n_chunks};
        tamis_info(log, "'%s': %lld tokens, %lld chunks of %lld", part->path,
                   (long long)part->n_text_tokens, (long long)part->n_chunks,
                   (long long)texts->n_ctx);
    }
    return TAMIS_OK;
}

static bool has_experts(const tamis_imatrix *matrix) {
    for (uint64_t i = 0; i < matrix->n_entries; i++)
        if (matrix->entries[i].n_counts > 1) return true;
    return false;
}

tamis_status tamis_imatrix_make(const tamis_imatrix_options *options, tamis_imatrix *matrix,
                                tamis_imatrix_result *result, tamis_error *err) {
    memset(result, 0, sizeof *result);
    tamis_model *model = NULL;
    tamis_tokenizer *tokenizer = NULL;
    tamis_text_parts texts = {0};
    tamis_status st = tamis_model_open(options->model_path, options->pass.log, &model, err);
    if (st) goto out;
    st = tamis_tokenizer_new(tamis_model_gguf(model), &tokenizer, err);
    if (st) goto out;
    st = tamis_text_parts_read(tokenizer, &options->chunks, options->texts, options->n_texts,
                               &texts, err);
    if (st) goto out;
    st = describe(&texts, options->pass.log, result, err);
    if (st) goto out;
    const int64_t n_trained = tamis_model_context_length(model);
    if (n_trained > 0 && n_trained < texts.n_ctx)
        tamis_warn(options->pass.log, "%s was trained with a context of %lld, --ctx is %lld",
                   options->model_path, (long long)n_trained, (long long)texts.n_ctx);

    if (!options->without_mtp) result->n_mtp = tamis_model_n_mtp(model);
    if (result->n_mtp)
        tamis_info(options->pass.log,
                   "%lld multi-token prediction block%s: run with the trunk's states and the next "
                   "tokens",
                   (long long)result->n_mtp, result->n_mtp > 1 ? "s" : "");
    st = run(options, model, &texts, matrix, result, err);
    if (st) goto out;
    matrix->all_experts = options->all_experts && has_experts(matrix);
    if (options->all_experts && !matrix->all_experts)
        tamis_warn(options->pass.log, "%s has no experts; --all-experts changes nothing",
                   options->model_path);
    matrix->chunk_count = (uint32_t)texts.n_chunks;
    matrix->chunk_size = (uint32_t)texts.n_ctx;
    for (size_t i = 0; i < options->n_texts && !st; i++)
        st = tamis_imatrix_add_dataset(matrix, options->texts[i].path, err);
out:
    tamis_text_parts_release(&texts);
    tamis_tokenizer_free(tokenizer);
    tamis_model_close(model);
    return st;
}
