/* base_file.h - a parent's side of a comparison as a file: tokens, final normed hidden states of
 * the scored positions, output head. Results from it equal those from the parent bit for bit.
 * Layout: docs/kld-base-file.md. */
#ifndef TAMIS_KLD_BASE_FILE_H
#define TAMIS_KLD_BASE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "kld/evaluate.h"
#include "kld/identity.h"
#include "kld/mtp.h"
#include "model/head.h"

/* What is said about the text of a run. */
typedef struct tamis_kld_text {
    char name[256];   /* file name without folders; printable */
    char hash[33];    /* XXH3-128 over all its token ids */
    int64_t n_tokens; /* all, trailing ones included */
} tamis_kld_text;

/* What the header says of the head of a multi-token prediction block. */
typedef struct tamis_kld_base_mtp {
    bool has_head; /* its own; else that of the model serves */
    int32_t head_type_id;
    float weight_scale;
} tamis_kld_base_mtp;

/* The header of a base file. */
typedef struct tamis_kld_base_info {
    int64_t n_ctx, n_chunks;
    tamis_kld_score score;
    tamis_kld_identity parent; /* n_vocab and n_embd included */
    tamis_kld_text text;
    int32_t head_type_id;
    float weight_scale, softcap;
    bool has_bias;
    int64_t n_mtp; /* multi-token prediction blocks; 0: nothing is held of them */
    tamis_kld_base_mtp mtp[TAMIS_KLD_MTP_MAX];
} tamis_kld_base_info;

/* Write a base file atomically: info (head fields are taken from the heads, but for has_head),
 * tokens [n_chunks * n_ctx] as the model saw them, hidden states [n_rows][n_embd], the rows of
 * `head`, and the same of mtp [info->n_mtp], rows as in tamis_kld_plan_mtp().
 * TAMIS_NO_RESOURCE when it cannot be written. Memory: two blocks of 4 MiB. */
tamis_status tamis_kld_base_write(const char *path, const tamis_kld_base_info *info,
                                  const tamis_kld_plan *plan, const float *hidden, tamis_head *head,
                                  const tamis_kld_side *mtp, tamis_error *err) TAMIS_MUST_USE;

/* Bytes that tamis_kld_base_write() writes at most. */
tamis_status tamis_kld_base_max_bytes(const char *path, const tamis_kld_base_info *info,
                                      const tamis_kld_plan *plan, const tamis_head *head,
                                      const tamis_kld_side *mtp, uint64_t *out,
                                      tamis_error *err) TAMIS_MUST_USE;

/* A base file in memory (its large parts in scratch files when the budget says so). */
typedef struct tamis_kld_base {
    tamis_kld_base_info info;
    int32_t *tokens;     /* [n_chunks * n_ctx] */
    tamis_kld_plan plan; /* of tokens */
    tamis_store hidden;  /* f32 [n_rows][n_embd] of the scored rows */
    tamis_store weights; /* the head's rows as the parent's file stores them */
    float *bias;         /* [n_vocab] or NULL */
    tamis_head *head;    /* made of weights and bias */
    /* of info.n_mtp blocks */
    tamis_store mtp_hidden[TAMIS_KLD_MTP_MAX], mtp_weights[TAMIS_KLD_MTP_MAX];
    tamis_head *mtp_heads[TAMIS_KLD_MTP_MAX]; /* NULL: `head` serves */
} tamis_kld_base;

/* Read a base file. Every byte is checked: header, predicted sizes, file size, checksums, ids in
 * range, finite hidden states. TAMIS_BAD_INPUT names file, section and offset.
 * Release with tamis_kld_base_release(). */
tamis_status tamis_kld_base_read(const char *path, tamis_budget *budget, tamis_kld_base *out,
                                 tamis_error *err) TAMIS_MUST_USE;
void tamis_kld_base_release(tamis_kld_base *base);

#endif
