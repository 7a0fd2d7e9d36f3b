/* head.h - the output head: logits from final hidden states, a tile of the vocabulary at a time,
 * so that neither the whole matrix in f32 nor all logits are ever held. */
#ifndef TAMIS_MODEL_HEAD_H
#define TAMIS_MODEL_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/threads.h"
#include "model/gemm.h"
#include "model/model.h"

typedef struct tamis_head tamis_head;

/* The head of a model (borrows the model), reading weight rows as they are needed. */
tamis_status tamis_head_open(tamis_model *model, tamis_head **out, tamis_error *err) TAMIS_MUST_USE;
/* The head of multi-token prediction block i_block: its own, or that of the model where it has
 * none (*is_own, may be NULL, says which). */
tamis_status tamis_head_open_mtp(tamis_model *model, int64_t i_block, tamis_head **out,
                                 bool *is_own, tamis_error *err) TAMIS_MUST_USE;
/* A head from stored bytes (a base file): `rows` are n_vocab rows of n_embd elements in type_id,
 * bias [n_vocab] or NULL, logit_scale 1 and softcap 0 for none. All borrowed. */
tamis_status tamis_head_from_bytes(int32_t type_id, int64_t n_embd, int64_t n_vocab,
                                   const uint8_t *rows, const float *bias, float weight_scale,
                                   float softcap, tamis_head **out,
                                   tamis_error *err) TAMIS_MUST_USE;
void tamis_head_close(tamis_head *head);

int64_t tamis_head_n_embd(const tamis_head *head);
int64_t tamis_head_n_vocab(const tamis_head *head);
int32_t tamis_head_type_id(const tamis_head *head);
const float *tamis_head_bias(const tamis_head *head); /* [n_vocab] or NULL; borrowed */
float tamis_head_weight_scale(const tamis_head *head);
const char *tamis_head_origin(const tamis_head *head); /* the file it is from, for messages */
float tamis_head_softcap(const tamis_head *head);      /* 0 = none */
/* Stored bytes of rows [first, first + n): row bytes * n, for writing a base file. */
tamis_status tamis_head_read_rows(tamis_head *head, int64_t first, int64_t n_rows, void *dst,
                                  tamis_error *err) TAMIS_MUST_USE;

/* Decode weight rows [first, first + n_cols) into w [n_cols][n_embd]; non-finite values are
 * TAMIS_BAD_INPUT naming the tensor and row. */
tamis_status tamis_head_decode(tamis_head *head, tamis_pool *pool, int64_t first, int64_t n_cols,
                               float *w, tamis_error *err) TAMIS_MUST_USE;
/* logits [n_rows][n_cols] (stride n_cols) from h [n_rows][n_embd] and decoded rows w, with scale,
 * bias and softcap applied. */
void tamis_head_logits(const tamis_head *head, tamis_gemm *gemm, tamis_pool *pool, const float *w,
                       int64_t first, int64_t n_cols, const float *h, int64_t n_rows,
                       float *logits);

#endif
