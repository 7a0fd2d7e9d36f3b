/* dump_logits.c - raw logits of every position as a file, for comparing with other engines.
 * A block of rows is made tile by tile of the vocabulary and written whole, so memory is one
 * block of rows and one tile of the head. Bound: the matrix product, then the disk. */
#include <math.h>
#include <stdlib.h>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "formats/formats.h"
#include "kld/job.h"
#include "kld/source.h"
#include "model/head.h"
#include "model/kept_rows.h"
#include "model/pass.h"

enum { MAX_BLOCK_BYTES = 64 << 20 };

/* The final hidden state of every token. */
static tamis_status run_pass(const tamis_kld_source *source, const tamis_chunks *chunks,
                             const tamis_kld_machine *machine, tamis_kept_rows *hidden,
                             tamis_error *err) {
    const tamis_row_choice all = {
        .n_ctx = chunks->n_ctx, .n_chunks = chunks->n_chunks, .n_per_chunk = chunks->n_ctx};
    tamis_status st =
        tamis_kept_rows_init(hidden, &all, tamis_model_n_embd(source->model), machine->budget, err);
    if (st) return st;
    const tamis_observer observer = tamis_kept_rows_observer(hidden);
    const tamis_pass_options options = tamis_kld_pass_options(machine);
    const int64_t n_tokens = chunks->n_chunks * chunks->n_ctx;
    tamis_progress_begin(machine->progress, source->identity.name,
                         (uint64_t)(n_tokens * tamis_model_n_layers(source->model)), "tokens");
    st = tamis_pass_run(source->model, chunks->tokens, n_tokens, chunks->n_ctx, &options, &observer,
                        1, err);
    tamis_progress_end(machine->progress);
    return st;
}

typedef struct writer {
    tamis_head *head;
    const tamis_kld_machine *machine;
    float *weights; /* [tile][n_embd] */
    float *tile;    /* [block rows][tile] */
    float *block;   /* [block rows][n_vocab] */
    tamis_output *out;
} writer;

static tamis_status write_block(writer *w, const float *hidden, int64_t n_rows, tamis_error *err) {
    const int64_t n_vocab = tamis_head_n_vocab(w->head);
    for (int64_t first = 0; first < n_vocab; first += TAMIS_LOGIT_TILE_COLS) {
        int64_t n_cols = n_vocab - first;
        if (n_cols > TAMIS_LOGIT_TILE_COLS) n_cols = TAMIS_LOGIT_TILE_COLS;
        tamis_status st =
            tamis_head_decode(w->head, w->machine->pool, first, n_cols, w->weights, err);
        if (st) return st;
        tamis_head_logits(w->head, w->machine->gemm, w->machine->pool, w->weights, first, n_cols,
                          hidden, n_rows, w->tile);
        for (int64_t r = 0; r < n_rows; ++r) {
            for (int64_t c = 0; c < n_cols; ++c)
                w->block[r * n_vocab + first + c] = w->tile[r * n_cols + c];
        }
    }
    const int64_t n_values = n_rows * n_vocab;
    const int64_t i_bad = tamis_find_nonfinite(w->block, n_values);
    if (i_bad < n_values)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: the logit of token %lld is not finite",
                          tamis_head_origin(w->head), (long long)(i_bad % n_vocab));
    return tamis_output_write(w->out, w->block, (size_t)n_values * sizeof(float), err);
}

static tamis_status write_all(writer *w, const float *hidden, int64_t n_tokens, tamis_error *err) {
    const int64_t n_vocab = tamis_head_n_vocab(w->head), n_embd = tamis_head_n_embd(w->head);
    const int64_t tile = n_vocab < TAMIS_LOGIT_TILE_COLS ? n_vocab : TAMIS_LOGIT_TILE_COLS;
    int64_t n_block = MAX_BLOCK_BYTES / (4 * n_vocab);
    if (n_block < 1) n_block = 1;
    if (n_block > TAMIS_LOGIT_BLOCK_ROWS) n_block = TAMIS_LOGIT_BLOCK_ROWS;
    w->weights = tamis_alloc_array((uint64_t)(tile * n_embd), sizeof(float), err);
    if (!w->weights) return TAMIS_NO_RESOURCE;
    w->tile = tamis_alloc_array((uint64_t)(tile * n_block), sizeof(float), err);
    if (!w->tile) return TAMIS_NO_RESOURCE;
    w->block = tamis_alloc_array((uint64_t)(n_vocab * n_block), sizeof(float), err);
    if (!w->block) return TAMIS_NO_RESOURCE;
    tamis_progress_begin(w->machine->progress, "logits", (uint64_t)n_tokens, "tokens");
    tamis_status st = TAMIS_OK;
    for (int64_t i = 0; i < n_tokens && !st; i += n_block) {
        const int64_t n = n_tokens - i < n_block ? n_tokens - i : n_block;
        st = tamis_interrupted() ? tamis_fail_interrupted(err)
                                 : write_block(w, hidden + i * n_embd, n, err);
        tamis_progress_advance(w->machine->progress, (uint64_t)n);
    }
    tamis_progress_end(w->machine->progress);
    return st;
}

static tamis_status check_options(const tamis_kld_options *o, tamis_error *err) {
    if (!o->parent_path)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--dump-logits writes those of -m: give -m FILE");
    if (!o->text_path == !o->tokens_path)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--dump-logits needs one of -f and --tokens");
    if (o->n_quants || o->base_path || o->save_logits_path || o->score || o->per_chunk ||
        o->n_worst)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--dump-logits is a run of its own, without -q, --base, "
                          "--save-all-logits, --score, --per-chunk and --worst");
    return TAMIS_OK;
}

tamis_status tamis_kld_dump_logits(const tamis_kld_options *options,
                                   const tamis_kld_machine *machine, const char *path,
                                   tamis_error *err) {
    tamis_kld_source source = {0};
    tamis_chunks chunks = {0};
    tamis_kept_rows hidden = {0};
    tamis_kld_text text;
    writer w = {.machine = machine};
    tamis_status st = check_options(options, err);
    if (!st) st = tamis_kld_check_output(options, path, err);
    if (st) return st;
    st = tamis_kld_source_open(options->parent_path, options->text_path != NULL, machine->log,
                               &source, err);
    if (st) goto out;
    const int64_t n_ctx = options->n_ctx ? options->n_ctx : options->tokens_path ? 0 : 512;
    st = tamis_kld_read_text(options, n_ctx, options->max_chunks, 0, &source, &chunks, &text, err);
    if (st) goto out;
    st = tamis_head_open(source.model, &w.head, err);
    if (st) goto out;
    const uint64_t n_tokens = (uint64_t)(chunks.n_chunks * chunks.n_ctx);
    st = tamis_output_open(path, &w.out, err);
    if (st) goto out;
    uint64_t n_bytes;
    if (!tamis_mul_u64(n_tokens, 4 * (uint64_t)tamis_head_n_vocab(w.head), &n_bytes)) n_bytes = 0;
    st = tamis_output_reserve(w.out, n_bytes, err);
    if (st) goto out;
    st = run_pass(&source, &chunks, machine, &hidden, err);
    if (st) goto out;
    st = write_all(&w, hidden.store.data, (int64_t)n_tokens, err);
    if (st) goto out;
    st = tamis_output_commit(w.out, err);
    w.out = NULL;
out:
    tamis_output_discard(w.out);
    free(w.weights);
    free(w.tile);
    free(w.block);
    tamis_head_close(w.head);
    tamis_kept_rows_release(&hidden);
    tamis_chunks_release(&chunks);
    tamis_kld_source_close(&source);
    return st;
}
