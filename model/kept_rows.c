/* kept_rows.c - see kept_rows.h. Copies rows as the pass hands them out; bound: memory. */
#include "model/kept_rows.h"

#include <string.h>

#include "base/checked.h"

tamis_row_choice tamis_row_choice_second_half(int64_t n_ctx, int64_t n_chunks) {
    tamis_row_choice choice = {.n_ctx = n_ctx, .n_chunks = n_chunks, .first = n_ctx / 2};
    if (n_ctx > 2) choice.n_per_chunk = n_ctx - 1 - choice.first;
    return choice;
}

int64_t tamis_row_choice_n_rows(const tamis_row_choice *choice) {
    return choice->n_chunks * choice->n_per_chunk;
}

int32_t *tamis_row_choice_targets(const tamis_row_choice *choice, const int32_t *tokens,
                                  tamis_error *err) {
    const int64_t n = choice->n_per_chunk;
    int32_t *targets =
        tamis_alloc_array((uint64_t)tamis_row_choice_n_rows(choice), sizeof *targets, err);
    if (!targets) return NULL;
    for (int64_t c = 0; c < choice->n_chunks; c++)
        memcpy(targets + c * n, tokens + c * choice->n_ctx + choice->first + 1,
               (size_t)n * sizeof *targets);
    return targets;
}

tamis_status tamis_kept_rows_init(tamis_kept_rows *kept, const tamis_row_choice *choice,
                                  int64_t n_embd, tamis_budget *budget, tamis_error *err) {
    *kept = (tamis_kept_rows){.choice = *choice, .n_embd = n_embd, .i_block = -1};
    return tamis_store_init(&kept->store, (uint64_t)tamis_row_choice_n_rows(choice),
                            (uint64_t)n_embd * sizeof(float), "final hidden states", budget, err);
}

void tamis_kept_rows_release(tamis_kept_rows *kept) {
    if (kept) tamis_store_release(&kept->store);
}

static tamis_status keep(void *ctx, int64_t first_token, int64_t n_tokens, const float *h,
                         tamis_error *err) {
    (void)err;
    const tamis_kept_rows *kept = ctx;
    const tamis_row_choice *choice = &kept->choice;
    float *rows = kept->store.data;
    for (int64_t i = 0; i < n_tokens; i++) {
        const int64_t chunk = (first_token + i) / choice->n_ctx;
        const int64_t r = (first_token + i) % choice->n_ctx - choice->first;
        if (r < 0 || r >= choice->n_per_chunk) continue;
        memcpy(rows + (chunk * choice->n_per_chunk + r) * kept->n_embd, h + i * kept->n_embd,
               (size_t)kept->n_embd * sizeof *h);
    }
    return TAMIS_OK;
}

tamis_observer tamis_kept_rows_observer(tamis_kept_rows *kept) {
    return (tamis_observer){.ctx = kept, .on_final = keep};
}

static tamis_status keep_mtp(void *ctx, int64_t i_block, int64_t first_row, int64_t n_rows,
                             const float *h, tamis_error *err) {
    const tamis_kept_rows *kept = ctx;
    return i_block == kept->i_block ? keep(ctx, first_row, n_rows, h, err) : TAMIS_OK;
}

tamis_observer tamis_kept_rows_mtp_observer(tamis_kept_rows *kept, int64_t i_block) {
    kept->i_block = i_block;
    return (tamis_observer){.ctx = kept, .wants_mtp = true, .on_mtp_final = keep_mtp};
}
