/* job.h - a whole run of the tool: which files, what came out. The parent's pass runs once, each
 * quantized model's once; a base file can stand in for the parent. */
#ifndef TAMIS_KLD_JOB_H
#define TAMIS_KLD_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kld/base_file.h"
#include "kld/evaluate.h"
#include "kld/identity.h"
#include "kld/mtp.h"
#include "kld/stats.h"
#include "kld/worst.h"
#include "model/perplexity.h"

/* What to do; strings borrowed. Values left 0 or NULL take the default, or the base's. */
typedef struct tamis_kld_options {
    const char *parent_path;
    const char *const *quant_paths;
    size_t n_quants;
    const char *text_path;   /* a text ... */
    const char *tokens_path; /* ... or raw int32 ids */
    bool parse_special;
    int64_t n_ctx;                /* 0: 512, the base's, or all raw ids */
    int64_t max_chunks;           /* 0: all */
    const char *score;            /* NULL: "llama", or the base's */
    const char *base_path;        /* read when it exists (in either layout), else written */
    const char *save_logits_path; /* base file in the layout of llama-perplexity, to be written */
    bool mtp;                     /* judge the multi-token prediction blocks, too */
    bool per_chunk;               /* keep the running statistics of each chunk */
    int64_t n_worst;              /* positions with the largest divergence to describe; 0: none */
    const char *json_path;        /* written by the caller; only kept apart from the inputs */
} tamis_kld_options;

typedef struct tamis_kld_quant {
    tamis_kld_identity model;
    tamis_kld_stats stats;
    tamis_kld_running *running; /* [n_chunks] with per_chunk, else NULL */
    tamis_kld_worst worst;      /* n = 0 without n_worst */
    tamis_kld_mtp *mtp;         /* [n_mtp], NULL without */
} tamis_kld_quant;

typedef struct tamis_kld_result {
    tamis_kld_identity parent;
    tamis_kld_text text;
    int64_t n_ctx, n_chunks, n_rows; /* n_rows: scored positions */
    tamis_kld_score score;
    tamis_perplexity parent_perplexity;
    int64_t n_mtp; /* multi-token prediction blocks that were judged */
    tamis_kld_drafts parent_drafts[TAMIS_KLD_MTP_MAX];
    char llama_base[256]; /* name of the base file when it was one of llama-perplexity, else "" */
    double llama_base_range; /* of its log-probabilities: 16, or 24 for ik_llama.cpp's */
    tamis_kld_quant *quants; /* [n_quants] in the order given */
    size_t n_quants;
} tamis_kld_result;

/* Run it. Every file is opened and every vocabulary compared before anything is computed.
 * Release with tamis_kld_result_release(). TAMIS_BAD_USAGE: options that do not go together;
 * TAMIS_BAD_INPUT: a file that cannot be used, or one that differs from the base in vocabulary,
 * context or text (the reason is named). */
tamis_status tamis_kld_run(const tamis_kld_options *options, const tamis_kld_machine *machine,
                           tamis_kld_result *out, tamis_error *err) TAMIS_MUST_USE;
void tamis_kld_result_release(tamis_kld_result *result);

/* Before an output is made at `path`: TAMIS_BAD_USAGE when it is one of the run's inputs, or
 * TAMIS_NO_RESOURCE when it cannot be written there, so that this is known before the work. */
tamis_status tamis_kld_check_output(const tamis_kld_options *options, const char *path,
                                    tamis_error *err) TAMIS_MUST_USE;

/* Write the logits of every token of the text (or ids) to `path`: f32 little-endian [n_tokens]
 * [n_vocab], atomically. Uses parent_path, text_path or tokens_path, n_ctx and max_chunks. */
tamis_status tamis_kld_dump_logits(const tamis_kld_options *options,
                                   const tamis_kld_machine *machine, const char *path,
                                   tamis_error *err) TAMIS_MUST_USE;

#endif
