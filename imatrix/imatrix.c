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
    memset(result, 0, sizeof *result);
}

static tamis_status score(tamis_model *model, const tamis_chunks *chunks,
                          const tamis_kept_rows *kept, const tamis_pass_options *pass,
                          tamis_imatrix_result *result, tamis_error *err) {
    const int64_t n_rows = tamis_row_choice_n_rows(&kept->choice);
    tamis_head *head = NULL;
    tamis_gemm *gemm = NULL;
    int32_t *targets = NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    double *nll = tamis_alloc_array((uint64_t)n_rows, sizeof *nll, err);
    if (!nll) goto out;
    targets = tamis_row_choice_targets(&kept->choice, chunks->tokens, err);
    if (!targets) goto out;
    result->running = tamis_alloc_array((uint64_t)chunks->n_chunks, sizeof *result->running, err);
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
    for (int64_t c = 0; c < chunks->n_chunks; c++)
        result->running[c] = tamis_perplexity_of(nll, (c + 1) * kept->choice.n_per_chunk);
out:
    tamis_gemm_free(gemm);
    tamis_head_close(head);
    free(targets);
    free(nll);
    return st;
}

/* What decides the result besides what the pass names itself. */
static tamis_status name_run(const tamis_imatrix_options *options, tamis_error *err) {
    tamis_checkpoint *cp = options->pass.checkpoint;
    return cp ? tamis_checkpoint_name(cp, "--process-output", options->with_output ? "on" : "off",
                                      err)
              : TAMIS_OK;
}

/* The pass, once model and text are there. */
static tamis_status run(const tamis_imatrix_options *options, tamis_model *model,
                        const tamis_chunks *chunks, tamis_imatrix *matrix,
                        tamis_imatrix_result *result, tamis_error *err) {
    const tamis_pass_options *pass = &options->pass;
    /* With fewer than three tokens in a chunk no position is scored. */
    const tamis_row_choice scored = tamis_row_choice_second_half(chunks->n_ctx, chunks->n_chunks);
    bool scores = options->with_perplexity && scored.n_per_chunk > 0;
    tamis_kept_rows kept = {0};
    tamis_collector *collector = NULL;
    tamis_observer observers[2];
    int n_observers = 1;

    tamis_status st = tamis_collector_new(options->with_output, pass->pool, &collector, err);
    if (st) goto out;
    observers[0] = tamis_collector_observer(collector);
    if (scores) {
        st = tamis_kept_rows_init(&kept, &scored, tamis_model_n_embd(model), pass->budget, err);
        if (st) goto out;
        observers[n_observers++] = tamis_kept_rows_observer(&kept);
    }
    st = name_run(options, err);
    if (st) goto out;
    st = tamis_pass_run(model, chunks->tokens, chunks->n_chunks * chunks->n_ctx, chunks->n_ctx,
                        pass, observers, n_observers, err);
    if (st) goto out;
    st = tamis_collector_finish(collector, matrix, err);
    if (st) goto out;
    if (scores) st = score(model, chunks, &kept, pass, result, err);
out:
    tamis_kept_rows_release(&kept);
    tamis_collector_free(collector);
    return st;
}

tamis_status tamis_imatrix_make(const tamis_imatrix_options *options, tamis_imatrix *matrix,
                                tamis_imatrix_result *result, tamis_error *err) {
    memset(result, 0, sizeof *result);
    tamis_model *model = NULL;
    tamis_tokenizer *tokenizer = NULL;
    tamis_chunks chunks = {0};
    tamis_status st = tamis_model_open(options->model_path, options->pass.log, &model, err);
    if (st) goto out;
    st = tamis_tokenizer_new(tamis_model_gguf(model), &tokenizer, err);
    if (st) goto out;
    st = tamis_chunks_from_text(tokenizer, &options->chunks, &chunks, err);
    if (st) goto out;
    result->n_chunks = chunks.n_chunks;
    result->n_ctx = chunks.n_ctx;
    result->n_tokens = chunks.n_text_tokens;
    tamis_info(options->pass.log, "'%s': %lld tokens, %lld chunks of %lld", options->chunks.path,
               (long long)chunks.n_text_tokens, (long long)chunks.n_chunks,
               (long long)chunks.n_ctx);
    const int64_t n_trained = tamis_model_context_length(model);
    if (n_trained > 0 && n_trained < chunks.n_ctx)
        tamis_warn(options->pass.log, "%s was trained with a context of %lld, --ctx is %lld",
                   options->model_path, (long long)n_trained, (long long)chunks.n_ctx);

    st = run(options, model, &chunks, matrix, result, err);
    if (st) goto out;
    matrix->chunk_count = (uint32_t)chunks.n_chunks;
    matrix->chunk_size = (uint32_t)chunks.n_ctx;
    st = tamis_imatrix_add_dataset(matrix, options->chunks.path, err);
out:
    tamis_chunks_release(&chunks);
    tamis_tokenizer_free(tokenizer);
    tamis_model_close(model);
    return st;
}
