/* hparams.h - hyper-parameters as plain numbers, read and checked when a model is opened.
 * What differs from block to block (head sizes, mixer, window, experts) is in layers[]; operators
 * look there only, so that blocks beyond the trunk (multi-token prediction) run as well.
 * Keys: reference/architectures.md section 0. */
#ifndef TAMIS_MODEL_ARCH_HPARAMS_H
#define TAMIS_MODEL_ARCH_HPARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/arch/keys.h"

typedef enum tamis_rope_scaling {
    TAMIS_ROPE_LINEAR, /* also none: freq_scale is 1 then */
    TAMIS_ROPE_YARN,
    TAMIS_ROPE_LONGROPE,
} tamis_rope_scaling;

/* Pairs that turn with one of four positions (reference/architectures.md section 1); all positions
 * of text are the same but the fourth, which is 0. */
typedef enum tamis_rope_sectioning {
    TAMIS_SECTIONS_NONE,
    TAMIS_SECTIONS_IN_ROW,  /* MROPE: one section after the other */
    TAMIS_SECTIONS_IN_TURN, /* IMROPE: the first three interleaved */
} tamis_rope_sectioning;

/* Rotary embedding as the file describes it (reference/architectures.md sections 0.1 and 1). */
typedef struct tamis_rope_params {
    int64_t n_rot; /* rotated elements of a head, even */
    double freq_base;
    double freq_scale; /* 1 / factor */
    tamis_rope_scaling scaling;
    int64_t original_context;
    double attn_factor;
    double beta_fast, beta_slow; /* of yarn */
    double log_multiplier;       /* of yarn: cos and sin are divided by 1 + this * 0.1 ln factor */
    tamis_rope_sectioning sectioning;
    int64_t sections[4]; /* pairs; their sum is positive unless sectioning is NONE */
} tamis_rope_params;

enum {
    TAMIS_ROPE_MAIN,
    TAMIS_ROPE_WINDOW, /* of layers with a sliding window, where a family gives them their own */
    TAMIS_N_ROPES,
};

/* What mixes the tokens of a layer. */
typedef enum tamis_mixer {
    TAMIS_MIXER_ATTENTION,
    TAMIS_MIXER_DELTA_NET, /* sizes in ssm */
    TAMIS_MIXER_LATENT,    /* attention over compressed keys and values; sizes in latent */
} tamis_mixer;

/* A block of the model; int64_t throughout, so that a key of one value per block can be read into
 * any of the fields. */
typedef struct tamis_layer_hparams {
    int64_t n_head, n_head_kv, n_ff;
    int64_t head_k, head_v; /* elements of a key and of a value head */
    int64_t rope;           /* which of ropes[] */
    int64_t window;         /* a token sees itself and window - 1 before it; 0 = all before it */
    int64_t kv_from;        /* the layer whose keys and values it attends to; itself normally */
    int64_t mixer;          /* a tamis_mixer */
    int64_t has_experts;
} tamis_layer_hparams;

/* Gated delta net (reference/architectures.md section 7); zeros where there is none. */
typedef struct tamis_ssm_hparams {
    int64_t conv_kernel, inner_size, state_size;
    int64_t n_value_heads; /* time_step_rank */
    int64_t n_key_heads;   /* group_count */
} tamis_ssm_hparams;

/* Latent attention (reference/architectures.md section 14); zeros where there is none. */
typedef struct tamis_latent_hparams {
    int64_t q_rank; /* 0: queries are not compressed */
    int64_t kv_rank;
    int64_t head_nope, head_rope, head_v; /* elements of a head, decompressed */
    bool is_absorbed;        /* attn_k_b and attn_v_b, a matrix per head, not attn_kv_b */
    double logit_multiplier; /* yarn stretches logits by (1 + this * 0.1 ln factor)^2 */
} tamis_latent_hparams;

typedef enum tamis_gating {
    TAMIS_GATING_SOFTMAX, /* over all experts */
    TAMIS_GATING_SIGMOID,
    TAMIS_GATING_CHOSEN, /* the largest logits, softmax over those */
} tamis_gating;

/* Experts; n is 0 in a dense model. */
typedef struct tamis_expert_hparams {
    int64_t n, n_used;
    int64_t n_ff;        /* width of an expert */
    int64_t n_shared_ff; /* width of the shared expert; 0 = none */
    int64_t n_groups, n_groups_used;
    float weights_scale; /* of the chosen weights; 0 = none */
    bool normalize;      /* the chosen weights are divided by their sum */
    tamis_gating gating;
} tamis_expert_hparams;

enum { TAMIS_EXPERTS_MAX = 512, TAMIS_BLOCKS_MAX = 65536, TAMIS_WIDTH_MAX = 1 << 24 };

typedef struct tamis_hparams {
    int64_t context_length, n_embd, n_vocab;
    int64_t n_blocks;  /* stored */
    int64_t n_layers;  /* executed by a pass: n_blocks - n_mtp */
    int64_t n_mtp;     /* multi-token prediction, at the end of the blocks */
    int64_t ple_width; /* of an embedding per token and layer; 0 = none */
    float norm_eps;
    float embd_scale;        /* of the token embedding */
    float temperature_scale; /* queries times 1 + this * ln(floor(position / length) + 1) */
    int64_t temperature_length;
    float logit_softcap; /* c of c * tanh(logit / c); 0 = none */
    tamis_rope_params ropes[TAMIS_N_ROPES];
    tamis_ssm_hparams ssm;
    tamis_latent_hparams latent;
    tamis_expert_hparams experts;
    tamis_layer_hparams *layers; /* [n_blocks] */
} tamis_hparams;

/* The hyper-parameters that all architectures share, and those of experts when there are any. Both
 * ropes are alike, and all blocks are attention over everything before; a family changes that in
 * its check.
 * TAMIS_BAD_INPUT naming the key that is missing, of the wrong type or out of range.
 * Release hp->layers with free(), also after an error. */
tamis_status tamis_hparams_read(const tamis_keys *keys, tamis_hparams *hp,
                                tamis_error *err) TAMIS_MUST_USE;

/* Sections of the rotated pairs from rope.dimension_sections (exactly four numbers) into all ropes.
 * All zero: TAMIS_SECTIONS_NONE, or TAMIS_BAD_INPUT when is_needed; likewise when absent. */
tamis_status tamis_hparams_read_sections(const tamis_keys *keys, tamis_rope_sectioning sectioning,
                                         bool is_needed, tamis_hparams *hp,
                                         tamis_error *err) TAMIS_MUST_USE;

/* Blocks with a sliding window, attention.sliding_window wide (absent or 0: none slides, or
 * TAMIS_BAD_INPUT when is_needed). Which: attention.sliding_window_pattern, a flag per block, or a
 * period P (`period` when absent; below 0: the flags are needed): block i slides when
 * i mod P < P - 1, every block when P is 0. */
tamis_status tamis_hparams_read_windows(const tamis_keys *keys, int64_t period, bool is_needed,
                                        tamis_hparams *hp, tamis_error *err) TAMIS_MUST_USE;

/* A rope of their own for the blocks with a window: rope.freq_base_swa (`base` when absent),
 * rope.dimension_count_swa, not scaled. */
tamis_status tamis_hparams_read_window_rope(const tamis_keys *keys, double base, tamis_hparams *hp,
                                            tamis_error *err) TAMIS_MUST_USE;

/* What must hold of every block once the family had its say: heads share key heads evenly, no more
 * of a head is rotated than there is, kv_from names an own earlier layer of the same shape. */
tamis_status tamis_hparams_check(const tamis_keys *keys, const tamis_hparams *hp,
                                 tamis_error *err) TAMIS_MUST_USE;

/* For a name "blk.N.rest": N (whole decimal, no leading zeros) to *layer, returns "rest";
 * NULL for any other name. */
const char *tamis_layer_of_name(const char *name, int64_t *layer);

#endif
