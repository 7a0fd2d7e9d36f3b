/* hparams.h - hyper-parameters as plain numbers, read and checked when a model is opened.
 * Keys: reference/architectures.md section 0. */
#ifndef TAMIS_MODEL_ARCH_HPARAMS_H
#define TAMIS_MODEL_ARCH_HPARAMS_H

#include <stdint.h>

#include "base/error.h"
#include "gguf/gguf.h"

typedef enum tamis_rope_scaling {
    TAMIS_ROPE_LINEAR, /* also none: freq_scale is 1 then */
    TAMIS_ROPE_YARN,
    TAMIS_ROPE_LONGROPE,
} tamis_rope_scaling;

/* Rotary embedding as the file describes it (reference/architectures.md sections 0.1 and 1). */
typedef struct tamis_rope_params {
    int64_t n_rot; /* rotated elements of a head, even */
    double freq_base;
    double freq_scale; /* 1 / factor */
    tamis_rope_scaling scaling;
    int64_t original_context;
    double attn_factor;
} tamis_rope_params;

typedef struct tamis_layer_hparams {
    int64_t n_head, n_head_kv, n_ff;
} tamis_layer_hparams;

enum { TAMIS_EXPERTS_MAX = 512, TAMIS_BLOCKS_MAX = 65536 };

typedef struct tamis_hparams {
    int64_t context_length, n_embd, n_layers, n_vocab;
    int64_t head_k, head_v; /* elements of a key and of a value head */
    float norm_eps;
    tamis_rope_params rope;
    int64_t n_expert, n_expert_used, n_expert_ff; /* 0 in a dense model */
    int64_t n_expert_groups, n_expert_groups_used;
    tamis_layer_hparams *layers; /* [n_layers] */
} tamis_hparams;

/* The hyper-parameters that all architectures share, and those of experts when `g` has them.
 * TAMIS_BAD_INPUT naming the key that is missing, of the wrong type or out of range.
 * Release hp->layers with free(), also after an error. */
tamis_status tamis_hparams_read(const tamis_gguf *g, const char *arch, tamis_hparams *hp,
                                tamis_error *err) TAMIS_MUST_USE;

/* For a name "blk.N.rest": N (whole decimal, no leading zeros) to *layer, returns "rest";
 * NULL for any other name. */
const char *tamis_layer_of_name(const char *name, int64_t *layer);

#endif
