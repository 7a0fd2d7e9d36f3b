/* pass.c - the layer-major pass: embeddings of all tokens, then layer by layer over all of them,
 * then the final norm. The hidden states lie in memory, or in a scratch file when the
 * budget says no. Bound: compute; with little memory, the disk that holds the scratch file. */
#include "model/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/parse.h"
#include "base/version.h"
#include "model/arch/arch.h"
#include "model/checkpoint_internal.h"
#include "model/model_hash.h"
#include "model/mtp.h"
#include "model/ops/norm.h"
#include "model/weights.h"

static tamis_status check_tokens(const tamis_model *m, const int32_t *tokens, int64_t n_tokens,
                                 int64_t n_ctx, tamis_error *err) {
    if (n_ctx < 1 || n_tokens < 1 || n_tokens > INT32_MAX || n_tokens % n_ctx != 0)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%lld tokens cannot be run as sequences of %lld (at most %d tokens, "
                          "whole sequences)",
                          (long long)n_tokens, (long long)n_ctx, INT32_MAX);
    for (int64_t i = 0; i < n_tokens; i++)
        if (tokens[i] < 0 || tokens[i] >= m->hp.n_vocab)
            return tamis_fail(err, TAMIS_BAD_USAGE,
                              "token %lld has id %d; the vocabulary of '%s' has %lld entries",
                              (long long)i, (int)tokens[i], tamis_model_path(m),
                              (long long)m->hp.n_vocab);
    return TAMIS_OK;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Floats that a token takes in a mixer, beside its input and output. */
static int64_t mixer_floats(const tamis_hparams *hp, const tamis_layer_hparams *l) {
    const tamis_ssm_hparams *ssm = &hp->ssm;
    const tamis_latent_hparams *latent = &hp->latent;
    if (l->mixer == TAMIS_MIXER_DELTA_NET) /* q, k, v before and after the convolution; z */
        return 4 * ssm->n_key_heads * ssm->state_size + 4 * ssm->inner_size;
    if (l->mixer == TAMIS_MIXER_LATENT) /* queries, plain and absorbed; attended latents, values */
        return latent->q_rank + latent->kv_rank + latent->head_rope +
               l->n_head * (latent->head_nope + 2 * latent->head_rope + 2 * latent->kv_rank +
                            latent->head_v);
    return l->n_head * (2 * l->head_k + l->head_v); /* queries and, where there are, gates */
}

/* Decoded weights of a layer part, buffers of a tile. */
static tamis_status fixed_bytes(const tamis_run *run, uint64_t *out, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    uint64_t weights;
    tamis_status st = tamis_weights_peak_floats(run->model, &weights, err);
    if (st) return st;
    int64_t per_token = 0, per_key = 0;
    for (int64_t i = 0; i < hp->n_blocks; i++) {
        const tamis_layer_hparams *l = &hp->layers[i];
        int64_t ff = larger(l->n_ff, larger(hp->experts.n_ff, hp->experts.n_shared_ff));
        per_token = larger(per_token, mixer_floats(hp, l) + 3 * ff + 2 * hp->n_embd);
        per_key = larger(per_key, l->n_head_kv * (l->head_k + l->head_v));
    }
    int64_t buffers = tamis_run_tile_tokens(run) * per_token + tamis_run_tile_keys(run) * per_key;
    weights += (uint64_t)hp->ple_width * (uint64_t)hp->n_embd;
    *out = (weights + (uint64_t)buffers) * sizeof(float);
    return TAMIS_OK;
}

tamis_status tamis_pass_needed_bytes(tamis_model *model, int64_t n_tokens, int64_t n_ctx,
                                     uint64_t *out, tamis_error *err) {
    const tamis_run run = {.model = model, .n_tokens = n_tokens, .n_ctx = n_ctx};
    return fixed_bytes(&run, out, err);
}

/* What was taken from the budget, to be given back. */
typedef struct budget_share {
    uint64_t fixed_bytes, state_bytes;
} budget_share;

/* Hidden states (the sums of experts, the keys and values that are kept) in memory if there is room
 * beside what is fixed. */
static tamis_status take_states(tamis_run *run, budget_share *taken, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    tamis_budget *budget = run->options.budget;
    uint64_t n_bytes = (uint64_t)run->n_tokens * (uint64_t)hp->n_embd * sizeof(float);
    uint64_t kept_bytes = tamis_run_kept_floats(run) * sizeof(float);
    uint64_t all_bytes = (hp->experts.n ? 2 * n_bytes : n_bytes) + kept_bytes, fixed, available;
    char shown[32], wanted[32];
    enum { MEGA = 1000000 };
    tamis_status st = fixed_bytes(run, &fixed, err);
    if (st) return st;
    if (tamis_budget_take(budget, fixed))
        taken->fixed_bytes = fixed;
    else
        tamis_warn(run->options.log,
                   "%s: one layer needs %s of memory, --mem leaves %s; the run goes on and takes "
                   "more (--mem %lluM would do)",
                   tamis_model_path(run->model), tamis_format_size(fixed, wanted, sizeof wanted),
                   tamis_format_size(tamis_budget_left(budget), shown, sizeof shown),
                   (unsigned long long)((fixed + budget->used_bytes + MEGA - 1) / MEGA));
    bool is_limited = budget && budget->limit_bytes;
    bool in_memory = taken->fixed_bytes == fixed && tamis_budget_take(budget, all_bytes);
    if (in_memory) taken->state_bytes = all_bytes;
    available = tamis_memory_available_bytes();
    if (!is_limited && available && all_bytes > available / 2) in_memory = false;
    if (!in_memory)
        tamis_info(run->options.log, "hidden states: %s in a scratch file",
                   tamis_format_size(all_bytes, shown, sizeof shown));
    st = tamis_scratch_init(&run->h_memory, n_bytes, !in_memory, NULL, err);
    if (!st && hp->experts.n)
        st = tamis_scratch_init(&run->sums_memory, n_bytes, !in_memory, NULL, err);
    if (!st && kept_bytes)
        st = tamis_scratch_init(&run->kv_memory, kept_bytes, !in_memory, NULL, err);
    run->kept_kv = run->kv_memory.data;
    run->h = run->h_memory.data;
    run->sums = run->sums_memory.data;
    return st;
}

/* The factors that divide the frequencies of the main rope, where the file has them. */
static tamis_status load_rope_factors(tamis_run *run, tamis_weight *factors, tamis_error *err) {
    const tamis_rope_params *params = &run->model->hp.ropes[TAMIS_ROPE_MAIN];
    const char *stem = "rope_freqs";
    if (params->scaling == TAMIS_ROPE_LONGROPE)
        stem = run->n_ctx > params->original_context ? "rope_factors_long" : "rope_factors_short";
    *factors = tamis_weight_find(run, -1, stem);
    if (!run->model->arch->has_rope_factors) factors->tensor = NULL;
    if (!factors->tensor) return TAMIS_OK;
    tamis_status st = tamis_weights_load(run, &factors, 1, 0, err);
    for (int64_t i = 0; !st && i < params->n_rot / 2; i++)
        if (factors->w[i] == 0.0f)
            st = tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s': element %lld is 0",
                            tamis_model_path(run->model), factors->tensor->name, (long long)i);
    return st;
}

/* The tables of angles that some block uses. */
static tamis_status make_ropes(tamis_run *run, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    bool is_used[TAMIS_N_ROPES] = {false};
    for (int64_t i = 0; i < hp->n_blocks; i++)
        is_used[hp->layers[i].rope] = true;
    tamis_weight factors;
    tamis_status st = load_rope_factors(run, &factors, err);
    for (int i = 0; i < TAMIS_N_ROPES && !st; i++)
        if (is_used[i])
            st = tamis_rope_table_init(&run->ropes[i], run->model->arch->rope_kind, &hp->ropes[i],
                                       i == TAMIS_ROPE_MAIN ? factors.w : NULL, run->n_ctx, err);
    return st;
}

static tamis_status report_layer(tamis_run *run, int64_t layer, tamis_error *err) {
    int64_t n_embd = run->model->hp.n_embd;
    tamis_status st = TAMIS_OK;
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile))
        for (int i = 0; i < run->n_observers && !st; i++)
            if (run->observers[i].on_layer)
                st = run->observers[i].on_layer(run->observers[i].ctx, layer, tile.first,
                                                tile.n_tokens, run->h + tile.first * n_embd, err);
    return st;
}

/* The final norm, what the head would see, and the observers of both. keeps: the normed states take
 * the place of the residual stream. */
static tamis_status finish(tamis_run *run, bool keeps, tamis_error *err) {
    const tamis_hparams *hp = &run->model->hp;
    tamis_weight norm = tamis_weight_find(run, -1, "output_norm"), *all = &norm;
    tamis_weight output = tamis_weight_find(run, -1, "output");
    const tamis_weight *head = &output;
    tamis_status st = tamis_weights_load(run, &all, 1, 0, err);
    if (st) return st;
    float *normed = tamis_run_buffer(run, TAMIS_BUFFER_NORMED,
                                     tamis_run_tile_tokens(run) * hp->n_embd, sizeof *normed, err);
    if (!normed) return TAMIS_NO_RESOURCE;
    tamis_tile tile = {0};
    while (!st && tamis_run_next_tile(run, &tile)) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        tamis_rms_norm_rows(run->pool, run->h + tile.first * hp->n_embd, NULL, norm.w,
                            tile.n_tokens, hp->n_embd, hp->norm_eps, normed);
        const tamis_product product = tamis_tile_product(-1, &tile, normed);
        if (output.tensor) st = tamis_weights_observe(run, &head, 1, &product, err);
        for (int i = 0; i < run->n_observers && !st; i++)
            if (run->observers[i].on_final)
                st = run->observers[i].on_final(run->observers[i].ctx, tile.first, tile.n_tokens,
                                                normed, err);
        if (keeps)
            memcpy(run->h + tile.first * hp->n_embd, normed,
                   (size_t)(tile.n_tokens * hp->n_embd) * sizeof *normed);
    }
    return st;
}

/* What decides the result, for the checkpoint. */
static tamis_status name_run(const tamis_run *run, const int32_t *tokens, tamis_error *err) {
    tamis_checkpoint *cp = run->options.checkpoint;
    char model[33], text[TAMIS_HASH_HEX_MAX], n_tokens[32], n_ctx[32], engine[128];
    for (int i = 0; i < run->n_observers; i++) {
        const tamis_observer *o = &run->observers[i];
        if ((o->on_product || o->on_layer) && !(o->save && o->restore))
            return tamis_fail(err, TAMIS_BAD_USAGE, "observer %d cannot be in a checkpoint", i);
    }
    tamis_status st = tamis_model_hash(run->model->gguf, model, err);
    if (!st)
        st = tamis_hash_bytes(TAMIS_HASH_XXH3_128, tokens, (size_t)run->n_tokens * sizeof *tokens,
                              text, err);
    if (st) return st;
    snprintf(n_ctx, sizeof n_ctx, "%lld", (long long)run->n_ctx);
    snprintf(n_tokens, sizeof n_tokens, "%lld", (long long)run->n_tokens);
    snprintf(engine, sizeof engine, "%s (%.64s)", tamis_gemm_name(run->gemm),
             tamis_gemm_kernels(run->gemm));
    const char *const names[][2] = {
        {"version", tamis_version()},   {"model (hash)", model},         {"--ctx", n_ctx},
        {"number of tokens", n_tokens}, {"text (hash of tokens)", text}, {"engine", engine},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names && !st; i++)
        st = tamis_checkpoint_name(cp, names[i][0], names[i][1], err);
    return st;
}

static tamis_pass_state state_of(const tamis_run *run) {
    return (tamis_pass_state){.n_layers = run->model->hp.n_layers,
                              .n_tokens = run->n_tokens,
                              .n_embd = run->model->hp.n_embd,
                              .h = run->h,
                              .kept = run->kept_kv,
                              .n_kept = tamis_run_kept_floats(run),
                              .observers = run->observers,
                              .n_observers = run->n_observers};
}

/* The state before the first layer to run: the embeddings, or what a checkpoint holds. */
static tamis_status start(tamis_run *run, const int32_t *tokens, int64_t *first_layer,
                          tamis_error *err) {
    tamis_checkpoint *cp = run->options.checkpoint;
    tamis_pass_state state = state_of(run);
    tamis_status st = make_ropes(run, err);
    if (!st && cp) st = tamis_checkpoint_restore(cp, &state, err);
    *first_layer = state.n_done;
    if (st || state.n_done > 0) return st;
    const tamis_weight embedding = tamis_weight_find(run, -1, "token_embd");
    return tamis_weight_embed(run, &embedding, tokens, run->n_tokens, run->h, err);
}

static tamis_status run_layers(tamis_run *run, const int32_t *tokens, tamis_error *err) {
    const tamis_model *m = run->model;
    tamis_checkpoint *cp = run->options.checkpoint;
    tamis_pass_state state = state_of(run);
    const bool has_mtp = tamis_mtp_is_wanted(run);
    const int64_t n_blocks = has_mtp ? m->hp.n_blocks : m->hp.n_layers;
    int64_t first = 0;
    tamis_status st = has_mtp ? tamis_mtp_check(run, err) : TAMIS_OK;
    if (!st) st = start(run, tokens, &first, err);
    tamis_progress_begin(run->options.progress, "layers", (uint64_t)(run->n_tokens * n_blocks),
                         "tokens x layers");
    for (int64_t i = first; i < m->hp.n_layers && !st; i++) {
        st = m->arch->layer(run, i, err);
        if (!st) st = report_layer(run, i, err);
        state.n_done = i + 1;
        if (!st && cp) st = tamis_checkpoint_save(cp, &state, err);
    }
    if (!st) st = finish(run, has_mtp, err);
    if (!st && has_mtp) st = tamis_mtp_run(run, tokens, err);
    tamis_progress_end(run->options.progress);
    return st;
}

tamis_status tamis_pass_run(tamis_model *model, const int32_t *tokens, int64_t n_tokens,
                            int64_t n_ctx, const tamis_pass_options *options,
                            const tamis_observer *observers, int n_observers, tamis_error *err) {
    tamis_status st = check_tokens(model, tokens, n_tokens, n_ctx, err);
    if (st) return st;
    tamis_run run = {.model = model,
                     .observers = observers,
                     .n_observers = n_observers,
                     .tokens = tokens,
                     .n_tokens = n_tokens,
                     .n_ctx = n_ctx};
    budget_share taken = {0};
    if (options) run.options = *options;
    run.pool = run.options.pool;
    st = tamis_gemm_new(run.options.engine, &run.gemm, err);
    if (!st && run.options.checkpoint) st = name_run(&run, tokens, err);
    if (!st && run.options.checkpoint) st = tamis_checkpoint_begin(run.options.checkpoint, err);
    if (!st) st = take_states(&run, &taken, err);
    if (!st) st = run_layers(&run, tokens, err);
    if (st == TAMIS_INTERRUPTED) st = tamis_checkpoint_interrupted(run.options.checkpoint, err);
    tamis_budget_give(run.options.budget, taken.fixed_bytes + taken.state_bytes);
    tamis_scratch_release(&run.h_memory);
    tamis_scratch_release(&run.sums_memory);
    tamis_scratch_release(&run.kv_memory);
    for (int i = 0; i < TAMIS_N_ROPES; i++)
        tamis_rope_table_release(&run.ropes[i]);
    for (int i = 0; i < TAMIS_N_BUFFERS; i++)
        free(run.buffers[i].data);
    tamis_gemm_free(run.gemm);
    return st;
}
