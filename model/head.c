/* head.c - see head.h. Stored rows come from the model's file or from bytes someone else holds
 * (a base file); from there on both are alike. Bound: compute (the products). */
#include "model/head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/model_internal.h"
#include "model/ops/exp.h"

enum { ROWS_PER_ITEM = 64, FINISH_ROWS = 8 };

struct tamis_head {
    const tamis_type *type;
    int64_t n_embd, n_vocab;
    uint64_t row_bytes;
    const tamis_gguf *gguf; /* NULL: rows are in `bytes` */
    const tamis_gguf_tensor *tensor;
    const uint8_t *bytes; /* [n_vocab] rows, borrowed */
    const float *bias;    /* [n_vocab] or NULL */
    float *own_bias;
    float weight_scale, softcap;
};

/* Decode a small tensor of n elements beside the head, checked to be finite. */
static tamis_status read_small(const tamis_gguf *g, const tamis_gguf_tensor *t, float *dst,
                               tamis_error *err) {
    int64_t n = (int64_t)t->ne[0];
    tamis_status st = TAMIS_NO_RESOURCE;
    uint8_t *stored = tamis_alloc_array(tamis_tensor_row_bytes(t), 1, err);
    if (!stored) goto out;
    st = tamis_gguf_read_tensor(g, t, 0, tamis_tensor_row_bytes(t), stored, err);
    if (st) goto out;
    tamis_decode(t->type, stored, dst, n);
    int64_t bad = tamis_find_nonfinite(dst, n);
    if (bad < n)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s': element %lld is %g",
                        tamis_gguf_path(g), t->name, (long long)bad, (double)dst[bad]);
out:
    free(stored);
    return st;
}

/* The tensor beside the head's weight: "output.bias" for "output.weight". */
static const tamis_gguf_tensor *companion(const tamis_model *m, const char *suffix) {
    bool is_tied = m->head == m->token_embd;
    if (strcmp(suffix, ".bias") == 0)
        return is_tied ? NULL : tamis_gguf_find_tensor(m->gguf, "output.bias");
    return tamis_gguf_find_tensor(m->gguf, is_tied ? "token_embd.scale" : "output.scale");
}

/* A head whose rows are `tensor`; bias and scale may be NULL. */
static tamis_status open_tensor(const tamis_model *model, const tamis_gguf_tensor *tensor,
                                const tamis_gguf_tensor *bias, const tamis_gguf_tensor *scale,
                                tamis_head **out, tamis_error *err) {
    *out = NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    tamis_head *h = tamis_alloc_array(1, sizeof *h, err);
    if (!h) goto out;
    h->gguf = model->gguf;
    h->tensor = tensor;
    h->type = tensor->type;
    h->row_bytes = tamis_tensor_row_bytes(tensor);
    h->n_embd = model->hp.n_embd;
    h->n_vocab = model->hp.n_vocab;
    h->weight_scale = 1.0f;
    h->softcap = model->hp.logit_softcap;
    st = scale ? read_small(h->gguf, scale, &h->weight_scale, err) : TAMIS_OK;
    if (st || !bias) goto out;
    h->bias = h->own_bias = tamis_alloc_array((uint64_t)h->n_vocab, sizeof *h->own_bias, err);
    st = h->own_bias ? read_small(h->gguf, bias, h->own_bias, err) : TAMIS_NO_RESOURCE;
out:
    if (st)
        tamis_head_close(h);
    else
        *out = h;
    return st;
}

tamis_status tamis_head_open(tamis_model *model, tamis_head **out, tamis_error *err) {
    return open_tensor(model, model->head, companion(model, ".bias"), companion(model, ".scale"),
                       out, err);
}

tamis_status tamis_head_open_mtp(tamis_model *model, int64_t i_block, tamis_head **out,
                                 bool *is_own, tamis_error *err) {
    char stem[64], name[96];
    snprintf(stem, sizeof stem, "blk.%lld.nextn.shared_head_head",
             (long long)(model->hp.n_layers + i_block));
    snprintf(name, sizeof name, "%s.weight", stem);
    const tamis_gguf_tensor *tensor = tamis_gguf_find_tensor(model->gguf, name);
    if (is_own) *is_own = tensor != NULL;
    if (!tensor) return tamis_head_open(model, out, err);
    snprintf(name, sizeof name, "%s.scale", stem);
    return open_tensor(model, tensor, NULL, tamis_gguf_find_tensor(model->gguf, name), out, err);
}

tamis_status tamis_head_from_bytes(int32_t type_id, int64_t n_embd, int64_t n_vocab,
                                   const uint8_t *rows, const float *bias, float weight_scale,
                                   float softcap, tamis_head **out, tamis_error *err) {
    *out = NULL;
    const tamis_type *type = tamis_type_by_id(type_id);
    uint64_t row_bytes;
    if (!type || !type->decode || n_embd < 1 || n_vocab < 1 ||
        !tamis_type_row_bytes(type, (uint64_t)n_embd, &row_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "an output matrix of %lld x %lld in tensor type %d cannot be decoded",
                          (long long)n_embd, (long long)n_vocab, (int)type_id);
    tamis_head *h = tamis_alloc_array(1, sizeof *h, err);
    if (!h) return TAMIS_NO_RESOURCE;
    *h = (tamis_head){.type = type,
                      .n_embd = n_embd,
                      .n_vocab = n_vocab,
                      .row_bytes = row_bytes,
                      .bytes = rows,
                      .bias = bias,
                      .weight_scale = weight_scale,
                      .softcap = softcap};
    *out = h;
    return TAMIS_OK;
}

void tamis_head_close(tamis_head *head) {
    if (!head) return;
    free(head->own_bias);
    free(head);
}

int64_t tamis_head_n_embd(const tamis_head *head) {
    return head->n_embd;
}

int64_t tamis_head_n_vocab(const tamis_head *head) {
    return head->n_vocab;
}

int32_t tamis_head_type_id(const tamis_head *head) {
    return head->type->id;
}

const float *tamis_head_bias(const tamis_head *head) {
    return head->bias;
}

float tamis_head_weight_scale(const tamis_head *head) {
    return head->weight_scale;
}

const char *tamis_head_origin(const tamis_head *head) {
    return head->gguf ? tamis_gguf_path(head->gguf) : "the base file";
}

float tamis_head_softcap(const tamis_head *head) {
    return head->softcap;
}

tamis_status tamis_head_read_rows(tamis_head *head, int64_t first, int64_t n_rows, void *dst,
                                  tamis_error *err) {
    if (first < 0 || n_rows < 0 || n_rows > head->n_vocab - first)
        return tamis_fail(err, TAMIS_BAD_USAGE, "output rows %lld to %lld of %lld",
                          (long long)first, (long long)(first + n_rows), (long long)head->n_vocab);
    uint64_t offset = (uint64_t)first * head->row_bytes;
    uint64_t n_bytes = (uint64_t)n_rows * head->row_bytes;
    if (head->gguf)
        return tamis_gguf_read_tensor(head->gguf, head->tensor, offset, n_bytes, dst, err);
    memcpy(dst, head->bytes + offset, n_bytes);
    return TAMIS_OK;
}

typedef struct decode_job {
    const tamis_head *head;
    const uint8_t *stored;
    float *w;
    int64_t n_rows;
} decode_job;

static void decode_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const decode_job *j = ctx;
    const tamis_head *h = j->head;
    int64_t first = i_item * ROWS_PER_ITEM, n = j->n_rows - first;
    if (n > ROWS_PER_ITEM) n = ROWS_PER_ITEM;
    tamis_decode(h->type, j->stored + (uint64_t)first * h->row_bytes, j->w + first * h->n_embd,
                 n * h->n_embd);
}

tamis_status tamis_head_decode(tamis_head *head, tamis_pool *pool, int64_t first, int64_t n_cols,
                               float *w, tamis_error *err) {
    tamis_status st = TAMIS_NO_RESOURCE;
    uint8_t *stored = tamis_alloc_array((uint64_t)n_cols, head->row_bytes, err);
    if (!stored) goto out;
    st = tamis_head_read_rows(head, first, n_cols, stored, err);
    if (st) goto out;
    decode_job j = {.head = head, .stored = stored, .w = w, .n_rows = n_cols};
    tamis_pool_run(pool, (n_cols + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, decode_rows, &j);
    int64_t n = n_cols * head->n_embd, bad = tamis_find_nonfinite(w, n);
    if (bad < n)
        st =
            tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s': row %lld, element %lld is %g",
                       tamis_head_origin(head), head->tensor ? head->tensor->name : "output.weight",
                       (long long)(first + bad / head->n_embd), (long long)(bad % head->n_embd),
                       (double)w[bad]);
out:
    free(stored);
    return st;
}

typedef struct finish_job {
    const tamis_head *head;
    int64_t first, n_cols, n_rows;
    float *logits;
} finish_job;

static void finish_rows(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const finish_job *j = ctx;
    const tamis_head *h = j->head;
    int64_t end = (i_item + 1) * FINISH_ROWS;
    for (int64_t r = i_item * FINISH_ROWS; r < end && r < j->n_rows; r++) {
        float *row = j->logits + r * j->n_cols;
        for (int64_t i = 0; i < j->n_cols; i++)
            row[i] *= h->weight_scale;
        for (int64_t i = 0; h->bias && i < j->n_cols; i++)
            row[i] += h->bias[j->first + i];
        for (int64_t i = 0; h->softcap > 0.0f && i < j->n_cols; i++)
            row[i] = h->softcap * tamis_tanh(row[i] / h->softcap);
    }
}

void tamis_head_logits(const tamis_head *head, tamis_gemm *gemm, tamis_pool *pool, const float *w,
                       int64_t first, int64_t n_cols, const float *h, int64_t n_rows,
                       float *logits) {
    tamis_gemm_xwt(gemm, pool, n_rows, n_cols, head->n_embd, h, head->n_embd, w, logits, n_cols, 0);
    if (head->weight_scale == 1.0f && !head->bias && head->softcap <= 0.0f) return;
    finish_job j = {
        .head = head, .first = first, .n_cols = n_cols, .n_rows = n_rows, .logits = logits};
    tamis_pool_run(pool, (n_rows + FINISH_ROWS - 1) / FINISH_ROWS, finish_rows, &j);
}
