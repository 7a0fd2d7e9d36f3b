/* evaluate.c - see evaluate.h. The kept rows of one layer-major pass. */
#include "kld/evaluate.h"

#include <string.h>

#include "kld/identity.h"
#include "model/kept_rows.h"
#include "model/pass.h"

tamis_pass_options tamis_kld_pass_options(const tamis_kld_machine *machine) {
    return (tamis_pass_options){
        .pool = machine->pool,
        .engine = tamis_gemm_name(machine->gemm),
        .budget = machine->budget,
        .progress = machine->progress,
        .log = machine->log,
    };
}

static const char *const SCORE_NAMES[TAMIS_KLD_N_SCORES] = {"llama", "all"};

const char *tamis_kld_score_name(tamis_kld_score score) {
    return SCORE_NAMES[score];
}

tamis_status tamis_kld_score_parse(const char *name, tamis_kld_score *out, tamis_error *err) {
    for (int i = 0; i < TAMIS_KLD_N_SCORES; ++i) {
        if (strcmp(name, SCORE_NAMES[i])) continue;
        *out = (tamis_kld_score)i;
        return TAMIS_OK;
    }
    char text[64];
    return tamis_fail(err, TAMIS_BAD_USAGE, "--score is llama or all, not \"%s\"",
                      tamis_escape(name, strlen(name), text, sizeof text));
}

tamis_status tamis_kld_plan_init(tamis_kld_plan *plan, const int32_t *tokens, int64_t n_ctx,
                                 int64_t n_chunks, tamis_kld_score score, tamis_error *err) {
    *plan = (tamis_kld_plan){.tokens = tokens, .n_ctx = n_ctx, .n_chunks = n_chunks};
    plan->first = score == TAMIS_KLD_SCORE_ALL ? 0 : n_ctx / 2;
    plan->n_per_chunk = n_ctx - 1 - plan->first;
    if (plan->n_per_chunk < 1)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "a context of %lld tokens has no position to score; use --ctx %d or more",
                          (long long)n_ctx, score == TAMIS_KLD_SCORE_ALL ? 2 : 3);
    plan->n_rows = n_chunks * plan->n_per_chunk;
    return TAMIS_OK;
}

int32_t tamis_kld_plan_target(const tamis_kld_plan *plan, int64_t i_row) {
    const int64_t i_chunk = i_row / plan->n_per_chunk;
    const int64_t position = plan->first + i_row % plan->n_per_chunk;
    return plan->tokens[i_chunk * plan->n_ctx + position + 1];
}

static tamis_row_choice chosen_rows(const tamis_kld_plan *plan) {
    return (tamis_row_choice){.n_ctx = plan->n_ctx,
                              .n_chunks = plan->n_chunks,
                              .first = plan->first,
                              .n_per_chunk = plan->n_per_chunk};
}

int32_t *tamis_kld_plan_targets(const tamis_kld_plan *plan, tamis_error *err) {
    const tamis_row_choice choice = chosen_rows(plan);
    return tamis_row_choice_targets(&choice, plan->tokens, err);
}

tamis_status tamis_kld_evaluate(tamis_model *model, const tamis_kld_plan *plan,
                                const tamis_kld_machine *machine, tamis_store *out,
                                tamis_error *err) {
    const tamis_row_choice choice = chosen_rows(plan);
    tamis_kept_rows kept;
    tamis_status st =
        tamis_kept_rows_init(&kept, &choice, tamis_model_n_embd(model), machine->budget, err);
    if (st) return st;
    const tamis_observer observer = tamis_kept_rows_observer(&kept);
    const tamis_pass_options options = tamis_kld_pass_options(machine);
    const int64_t n_tokens = plan->n_chunks * plan->n_ctx;
    char name[256];
    tamis_kld_file_name(tamis_model_path(model), name);
    tamis_progress_begin(machine->progress, name,
                         (uint64_t)(n_tokens * tamis_model_n_layers(model)), "tokens");
    st = tamis_pass_run(model, plan->tokens, n_tokens, plan->n_ctx, &options, &observer, 1, err);
    tamis_progress_end(machine->progress);
    if (st) {
        tamis_kept_rows_release(&kept);
        return st;
    }
    *out = kept.store;
    return TAMIS_OK;
}
