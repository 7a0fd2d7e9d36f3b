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
    *plan = (tamis_kld_plan){.tokens = tokens, .n_ctx = n_ctx, .n_chunks = n_chunks, .n_ahead = 1};
    plan->first = score == TAMIS_KLD_SCORE_ALL ? 0 : n_ctx / 2;
    plan->n_per_chunk = n_ctx - 1 - plan->first;
    if (plan->n_per_chunk < 1)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "a context of %lld tokens has no position to score; use --ctx %d or more",
                          (long long)n_ctx, score == TAMIS_KLD_SCORE_ALL ? 2 : 3);
    plan->n_rows = n_chunks * plan->n_per_chunk;
    return TAMIS_OK;
}

tamis_status tamis_kld_plan_mtp(const tamis_kld_plan *plan, int64_t i_block, tamis_kld_plan *out,
                                tamis_error *err) {
    *out = *plan;
    out->n_ahead = plan->n_ahead + 1 + i_block;
    out->n_per_chunk = plan->n_per_chunk - 1 - i_block;
    if (out->n_per_chunk < 1)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "a context of %lld tokens has no position to score for multi-token "
                          "prediction block %lld; use --ctx %lld or more",
                          (long long)plan->n_ctx, (long long)i_block + 1,
                          (long long)(plan->first ? 2 * i_block + 5 : i_block + 3));
    out->n_rows = plan->n_chunks * out->n_per_chunk;
    return TAMIS_OK;
}

int32_t tamis_kld_plan_target(const tamis_kld_plan *plan, int64_t i_row) {
    const int64_t i_chunk = i_row / plan->n_per_chunk;
    const int64_t position = plan->first + i_row % plan->n_per_chunk;
    return plan->tokens[i_chunk * plan->n_ctx + position + plan->n_ahead];
}

static tamis_row_choice chosen_rows(const tamis_kld_plan *plan) {
    return (tamis_row_choice){.n_ctx = plan->n_ctx,
                              .n_chunks = plan->n_chunks,
                              .first = plan->first,
                              .n_per_chunk = plan->n_per_chunk};
}

int32_t *tamis_kld_plan_targets(const tamis_kld_plan *plan, tamis_error *err) {
    tamis_row_choice choice = chosen_rows(plan);
    choice.first += plan->n_ahead - 1; /* a row is scored against the token after the choice */
    return tamis_row_choice_targets(&choice, plan->tokens, err);
}

tamis_status tamis_kld_evaluate(tamis_model *model, const tamis_kld_plan *plan,
                                const tamis_kld_machine *machine, tamis_store *out,
                                tamis_error *err) {
    return tamis_kld_evaluate_mtp(model, plan, machine, out, 0, NULL, err);
}

/* Room for the rows of the model and of its first n_mtp blocks, and who keeps them. */
static tamis_status make_room(const tamis_model *model, const tamis_kld_plan *plan, int64_t n_mtp,
                              tamis_budget *budget, tamis_kept_rows *kept,
                              tamis_observer *observers, tamis_error *err) {
    const int64_t n_embd = tamis_model_n_embd(model);
    tamis_row_choice choice = chosen_rows(plan);
    tamis_status st = tamis_kept_rows_init(&kept[0], &choice, n_embd, budget, err);
    observers[0] = tamis_kept_rows_observer(&kept[0]);
    for (int64_t k = 0; k < n_mtp && !st; ++k) {
        tamis_kld_plan of_block;
        st = tamis_kld_plan_mtp(plan, k, &of_block, err);
        if (st) return st;
        choice = chosen_rows(&of_block);
        choice.n_ctx -= 1 + k; /* positions that the block does not have */
        st = tamis_kept_rows_init(&kept[1 + k], &choice, n_embd, budget, err);
        observers[1 + k] = tamis_kept_rows_mtp_observer(&kept[1 + k], k);
    }
    return st;
}

tamis_status tamis_kld_evaluate_mtp(tamis_model *model, const tamis_kld_plan *plan,
                                    const tamis_kld_machine *machine, tamis_store *out,
                                    int64_t n_mtp, tamis_store *mtp, tamis_error *err) {
    tamis_kept_rows kept[1 + TAMIS_KLD_MTP_MAX] = {0};
    tamis_observer observers[1 + TAMIS_KLD_MTP_MAX];
    const tamis_pass_options options = tamis_kld_pass_options(machine);
    const int64_t n_tokens = plan->n_chunks * plan->n_ctx;
    char name[256];
    tamis_status st = make_room(model, plan, n_mtp, machine->budget, kept, observers, err);
    if (st) goto out;
    tamis_kld_file_name(tamis_model_path(model), name);
    tamis_progress_begin(machine->progress, name,
                         (uint64_t)(n_tokens * (tamis_model_n_layers(model) + n_mtp)), "tokens");
    st = tamis_pass_run(model, plan->tokens, n_tokens, plan->n_ctx, &options, observers,
                        1 + (int)n_mtp, err);
    tamis_progress_end(machine->progress);
out:
    for (int64_t k = 0; k <= n_mtp; ++k) {
        if (st)
            tamis_kept_rows_release(&kept[k]);
        else
            *(k ? &mtp[k - 1] : out) = kept[k].store;
    }
    return st;
}
