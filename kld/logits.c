/* logits.c - see logits.h. Two kinds of side behind one small table of functions. Bound: the matrix
 * product for heads, the disk for base files. */
#include "kld/logits.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/perplexity.h"

enum { GROUP_BYTES = 256 << 20 }; /* of a base file, held at a time where memory allows */

typedef struct kind {
    bool is_stored;
    tamis_status (*load)(tamis_kld_logits *side, tamis_error *err);
    tamis_status (*begin_tile)(tamis_kld_logits *side, tamis_error *err);
    void (*fill)(tamis_kld_logits *side, int64_t row, int64_t n_rows);
} kind;

struct tamis_kld_logits {
    const kind *kind;
    const char *name;
    const tamis_kld_machine *machine;
    const int64_t *row_list; /* NULL: rows are 0 .. n_rows - 1 */
    int64_t n_vocab, n_rows;
    int64_t first_row, n_loaded; /* rows loaded */
    int64_t first, n_cols;       /* tile */
    float *values;               /* [block rows][tile] */
    /* of a head */
    tamis_head *head;
    const float *hidden; /* [.][n_embd] */
    float *weights;      /* [tile][n_embd] */
    float *gathered;     /* [block rows][n_embd], with a row_list */
    /* of a base file */
    const tamis_llama_base *base;
    tamis_store rows; /* [max_rows][row bytes] */
    int64_t max_rows;
};

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t source_row(const tamis_kld_logits *s, int64_t row) {
    return s->row_list ? s->row_list[row] : row;
}

static tamis_status load_head(tamis_kld_logits *s, tamis_error *err) {
    (void)s, (void)err;
    return TAMIS_OK;
}

static tamis_status begin_tile_head(tamis_kld_logits *s, tamis_error *err) {
    return tamis_head_decode(s->head, s->machine->pool, s->first, s->n_cols, s->weights, err);
}

static void fill_head(tamis_kld_logits *s, int64_t row, int64_t n_rows) {
    const int64_t n_embd = tamis_head_n_embd(s->head);
    const float *hidden = s->row_list ? s->gathered : s->hidden + row * n_embd;
    for (int64_t i = 0; s->row_list && i < n_rows; ++i)
        memcpy(s->gathered + i * n_embd, s->hidden + s->row_list[row + i] * n_embd,
               (size_t)n_embd * sizeof *hidden);
    tamis_head_logits(s->head, s->machine->gemm, s->machine->pool, s->weights, s->first, s->n_cols,
                      hidden, n_rows, s->values);
}

static tamis_status load_base(tamis_kld_logits *s, tamis_error *err) {
    uint8_t *to = s->rows.data;
    const uint64_t row_bytes = tamis_llama_base_row_bytes(s->base);
    const int64_t n_at_once = s->row_list ? 1 : 16;
    for (int64_t i = 0; i < s->n_loaded; i += n_at_once) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        tamis_status st = tamis_llama_base_read(s->base, source_row(s, s->first_row + i),
                                                smaller(n_at_once, s->n_loaded - i),
                                                to + (uint64_t)i * row_bytes, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

static tamis_status begin_tile_base(tamis_kld_logits *s, tamis_error *err) {
    (void)s, (void)err;
    return TAMIS_OK;
}

typedef struct decode_job {
    const tamis_kld_logits *side;
    int64_t row;
} decode_job;

static void decode_row(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const decode_job *j = ctx;
    const tamis_kld_logits *s = j->side;
    const int64_t row = j->row + i_item;
    const uint64_t offset = (uint64_t)(row - s->first_row) * tamis_llama_base_row_bytes(s->base);
    tamis_llama_base_decode(s->base, source_row(s, row), (const uint8_t *)s->rows.data + offset,
                            s->first, s->n_cols, s->values + i_item * s->n_cols);
}

static void fill_base(tamis_kld_logits *s, int64_t row, int64_t n_rows) {
    decode_job j = {.side = s, .row = row};
    tamis_pool_run(s->machine->pool, n_rows, decode_row, &j);
}

static const kind OF_HEAD = {false, load_head, begin_tile_head, fill_head};
static const kind OF_BASE = {true, load_base, begin_tile_base, fill_base};

static tamis_status new_side(const tamis_kld_logits *values, tamis_kld_logits **out,
                             tamis_error *err) {
    *out = NULL;
    tamis_kld_logits *s = tamis_alloc_array(1, sizeof *s, err);
    if (!s) return TAMIS_NO_RESOURCE;
    *s = *values;
    const int64_t n_block = smaller(s->n_rows, TAMIS_LOGIT_BLOCK_ROWS);
    const int64_t tile = smaller(s->n_vocab, TAMIS_LOGIT_TILE_COLS);
    s->values = tamis_alloc_array((uint64_t)(tile * n_block), sizeof *s->values, err);
    if (!s->values) {
        free(s);
        return TAMIS_NO_RESOURCE;
    }
    *out = s;
    return TAMIS_OK;
}

tamis_status tamis_kld_logits_of_head(tamis_head *head, const float *hidden,
                                      const int64_t *row_list, int64_t n_rows,
                                      const tamis_kld_machine *machine, const char *name,
                                      tamis_kld_logits **out, tamis_error *err) {
    const tamis_kld_logits values = {
        .kind = &OF_HEAD,
        .name = name,
        .machine = machine,
        .row_list = row_list,
        .n_vocab = tamis_head_n_vocab(head),
        .n_rows = n_rows,
        .head = head,
        .hidden = hidden,
        .max_rows = n_rows,
    };
    tamis_status st = new_side(&values, out, err);
    if (st) return st;
    tamis_kld_logits *s = *out;
    const uint64_t n_embd = (uint64_t)tamis_head_n_embd(head);
    const uint64_t tile = (uint64_t)smaller(s->n_vocab, TAMIS_LOGIT_TILE_COLS);
    s->weights = tamis_alloc_array(tile * n_embd, sizeof *s->weights, err);
    if (s->weights && row_list)
        s->gathered = tamis_alloc_array(TAMIS_LOGIT_BLOCK_ROWS * n_embd, sizeof *s->gathered, err);
    if (s->weights && (s->gathered || !row_list)) return TAMIS_OK;
    tamis_kld_logits_free(s);
    *out = NULL;
    return TAMIS_NO_RESOURCE;
}

/* As many whole blocks of rows as may be held. */
static int64_t rows_at_once(const tamis_llama_base *base, int64_t n_rows,
                            const tamis_budget *budget) {
    uint64_t n_bytes = GROUP_BYTES;
    if (budget && tamis_budget_left(budget) / 2 < n_bytes) n_bytes = tamis_budget_left(budget) / 2;
    const int64_t n_blocks =
        (int64_t)(n_bytes / tamis_llama_base_row_bytes(base)) / TAMIS_LOGIT_BLOCK_ROWS;
    return smaller(n_rows, (n_blocks < 1 ? 1 : n_blocks) * TAMIS_LOGIT_BLOCK_ROWS);
}

tamis_status tamis_kld_logits_of_base(const tamis_llama_base *base, const int64_t *row_list,
                                      int64_t n_rows, const tamis_kld_machine *machine,
                                      const char *name, tamis_kld_logits **out, tamis_error *err) {
    const tamis_kld_logits values = {
        .kind = &OF_BASE,
        .name = name,
        .machine = machine,
        .row_list = row_list,
        .n_vocab = tamis_llama_base_n_vocab(base),
        .n_rows = n_rows,
        .base = base,
        .max_rows = rows_at_once(base, n_rows, machine->budget),
    };
    tamis_status st = new_side(&values, out, err);
    if (st) return st;
    st =
        tamis_store_init(&(*out)->rows, (uint64_t)values.max_rows, tamis_llama_base_row_bytes(base),
                         "rows of the base file", machine->budget, err);
    if (!st) return TAMIS_OK;
    tamis_kld_logits_free(*out);
    *out = NULL;
    return st;
}

void tamis_kld_logits_free(tamis_kld_logits *s) {
    if (!s) return;
    tamis_store_release(&s->rows);
    free(s->values);
    free(s->weights);
    free(s->gathered);
    free(s);
}

const char *tamis_kld_logits_name(const tamis_kld_logits *s) {
    return s->name;
}

int64_t tamis_kld_logits_n_vocab(const tamis_kld_logits *s) {
    return s->n_vocab;
}

bool tamis_kld_logits_is_stored(const tamis_kld_logits *s) {
    return s->kind->is_stored;
}

int64_t tamis_kld_logits_max_rows(const tamis_kld_logits *s) {
    return s->max_rows;
}

tamis_status tamis_kld_logits_load(tamis_kld_logits *s, int64_t first, int64_t n_rows,
                                   tamis_error *err) {
    s->first_row = first;
    s->n_loaded = n_rows;
    return s->kind->load(s, err);
}

tamis_status tamis_kld_logits_begin_tile(tamis_kld_logits *s, int64_t first, int64_t n_cols,
                                         tamis_error *err) {
    s->first = first;
    s->n_cols = n_cols;
    return s->kind->begin_tile(s, err);
}

const float *tamis_kld_logits_get(tamis_kld_logits *s, int64_t row, int64_t n_rows) {
    s->kind->fill(s, row, n_rows);
    return s->values;
}
