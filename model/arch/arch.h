/* arch.h - what an architecture family is: a row of the table in arch.c.
 * A family names its tensors with their shapes (rules), states what must hold of its
 * hyper-parameters, and runs one layer from the operators of model/ops/. */
#ifndef TAMIS_MODEL_ARCH_ARCH_H
#define TAMIS_MODEL_ARCH_ARCH_H

#include "model/model_internal.h"
#include "model/run_internal.h"

/* A length in a tensor's shape, in terms of the hyper-parameters of its layer. */
typedef enum tamis_dim {
    TAMIS_DIM_NONE,       /* no such dimension: 1 */
    TAMIS_DIM_EMBD,       /* D */
    TAMIS_DIM_EMBD2,      /* 2 * D */
    TAMIS_DIM_VOCAB,      /* V */
    TAMIS_DIM_Q,          /* H * head size of keys */
    TAMIS_DIM_Q2,         /* 2 * Q, queries and their gates */
    TAMIS_DIM_K,          /* Hk * head size of keys */
    TAMIS_DIM_V,          /* Hk * head size of values */
    TAMIS_DIM_QKV,        /* Q + K + V */
    TAMIS_DIM_HEADS,      /* H * head size of values */
    TAMIS_DIM_HEAD,       /* head size of keys */
    TAMIS_DIM_ROT_PAIRS,  /* n_rot / 2 of the main rope */
    TAMIS_DIM_FF,         /* F */
    TAMIS_DIM_EXPERT_FF,  /* Fe */
    TAMIS_DIM_EXPERT_FF2, /* 2 * Fe */
    TAMIS_DIM_EXPERTS,    /* E */
    TAMIS_DIM_SHARED_FF,  /* Fs */
    TAMIS_DIM_N_HEADS,    /* H */
    TAMIS_DIM_PLE,        /* width of the embedding per token and layer */
    TAMIS_DIM_PLE_ALL,    /* that of all layers */

    TAMIS_DIM_SSM_CHANNELS, /* of queries, keys and values of a delta net */
    TAMIS_DIM_SSM_INNER,    /* of its values */
    TAMIS_DIM_SSM_IN,       /* of queries, keys, values and their gates */
    TAMIS_DIM_SSM_CONV,     /* taps of its convolution */
    TAMIS_DIM_SSM_HEADS,    /* value heads */
    TAMIS_DIM_SSM_HEADS2,   /* 2 * value heads */
    TAMIS_DIM_SSM_STATE,    /* elements of a head */

    TAMIS_DIM_Q_RANK,       /* of latent attention: rq */
    TAMIS_DIM_KV_RANK,      /* rkv */
    TAMIS_DIM_LATENT_KV,    /* rkv + rotated elements of a head */
    TAMIS_DIM_LATENT_Q,     /* H * size of a query head */
    TAMIS_DIM_NOPE,         /* unrotated elements of a head */
    TAMIS_DIM_LATENT_V,     /* elements of a value head */
    TAMIS_DIM_LATENT_KV_B,  /* H * (unrotated elements + value head) */
    TAMIS_DIM_LATENT_HEADS, /* H * value head */
    TAMIS_N_DIMS,
} tamis_dim;

/* When a rule applies; judged for each block, from its hyper-parameters. */
typedef enum tamis_rule_when {
    TAMIS_WHEN_ALWAYS,
    TAMIS_WHEN_DENSE, /* the block has no experts */
    TAMIS_WHEN_EXPERTS,
    TAMIS_WHEN_SHARED_EXPERT, /* the block has experts, and one that all tokens go through */
    TAMIS_WHEN_ATTENTION,     /* by its mixer */
    TAMIS_WHEN_DELTA_NET,
    TAMIS_WHEN_LATENT,
    TAMIS_WHEN_LATENT_Q_RANK, /* its queries are compressed */
    TAMIS_WHEN_LATENT_Q_WHOLE,
    TAMIS_WHEN_LATENT_ABSORBED, /* a matrix per head, not attn_kv_b */
    TAMIS_WHEN_LATENT_JOINED,
    TAMIS_WHEN_OWN_KV, /* attends to its own keys and values, or to those of another block */
    TAMIS_WHEN_SHARED_KV,
    TAMIS_WHEN_PLE, /* there is an embedding per token and layer */
    TAMIS_WHEN_MTP, /* a multi-token prediction block */
    TAMIS_WHEN_LONGROPE,
    TAMIS_N_WHENS,
} tamis_rule_when;

enum {
    TAMIS_RULE_LAYER = 1, /* one per block, "blk.N." before the name */
    TAMIS_RULE_OPTIONAL = 2,
    TAMIS_RULE_BIAS = 4,       /* a bias of one value per output may stand beside it */
    TAMIS_RULE_NEEDS_BIAS = 8, /* and must */
    TAMIS_RULE_PRODUCT = 16,   /* a weight of matrix products: a scale may stand beside it */
    TAMIS_RULE_BARE = 32,      /* the stem is the whole name: "ssm_a", "ssm_dt.bias" */
};

typedef struct tamis_tensor_rule {
    const char *stem; /* name without "blk.N." and ".weight" */
    tamis_dim ne[3];
    unsigned flags;
    tamis_rule_when when;
    const char *unless; /* not wanted where the tensor of this stem is present; NULL = wanted */
} tamis_tensor_rule;

typedef struct tamis_rule_set {
    const tamis_tensor_rule *rules;
    int n_rules;
} tamis_rule_set;

enum { TAMIS_RULE_SETS_MAX = 12 };

typedef struct tamis_arch {
    const char *name;
    const tamis_rule_set *rule_sets[TAMIS_RULE_SETS_MAX]; /* ends at the first NULL */
    /* Fill defaults and check what this family demands beyond tamis_hparams_read(). */
    tamis_status (*check)(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err);
    tamis_rope_kind rope_kind;
    bool has_rope_factors; /* rope_freqs, or rope_factors_long and _short, divide frequencies */
    /* Run all tokens of a run through one block; what it is follows from hp->layers[layer], so
     * that a multi-token prediction block runs through the same function. */
    tamis_status (*layer)(tamis_run *run, int64_t layer, tamis_error *err);
} tamis_arch;

/* Sets of rules that several families share (shared_rules.c). */
extern const tamis_rule_set tamis_rules_model;     /* embedding, final norm, head */
extern const tamis_rule_set tamis_rules_head;      /* the head, where it is never the embedding */
extern const tamis_rule_set tamis_rules_attention; /* norm, q k v or fused, output */
extern const tamis_rule_set tamis_rules_qk_norm;   /* norms of query and key heads */
extern const tamis_rule_set tamis_rules_ffn_norm;  /* the norm before the feed-forward part */
extern const tamis_rule_set tamis_rules_post_attention_norm; /* that, by another name */
extern const tamis_rule_set tamis_rules_post_ffw_norm;       /* of the output of the part */
extern const tamis_rule_set tamis_rules_dense;               /* gate, up, down */
extern const tamis_rule_set tamis_rules_experts;             /* router and experts */
extern const tamis_rule_set tamis_rules_shared_expert;       /* gate, up, down */
extern const tamis_rule_set tamis_rules_shared_gate;         /* ffn_gate_inp_shexp */
extern const tamis_rule_set tamis_rules_selection_bias;      /* exp_probs_b, optional */
extern const tamis_rule_set tamis_rules_mtp; /* what a prediction block has beside its layer */

/* The row for a name, or NULL. */
const tamis_arch *tamis_arch_find(const char *name, size_t n_bytes);

/* Every block has a feed-forward width. */
tamis_status tamis_check_widths(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err);

/* The check of a family without experts: none may be announced, every layer has a feed-forward
 * width. */
tamis_status tamis_check_dense(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err);

/* The check of a family made of experts: there are some, and their width is known
 * (expert_feed_forward_length; without it the feed-forward length / experts used). */
tamis_status tamis_check_experts(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err);

/* The same with a shared expert of width expert_shared_feed_forward_length; without the key the
 * feed-forward length. */
tamis_status tamis_check_shared_expert(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err);

/* The check of families whose first layers (leading_dense_block_count) are dense and whose router
 * is described by keys: expert_gating_func (`gating` without it), expert_weights_norm and _scale,
 * expert_shared_count shared experts side by side. */
tamis_status tamis_check_sparse(const tamis_keys *keys, tamis_gating gating, tamis_hparams *hp,
                                tamis_error *err);

/* Check that every tensor the architecture's rules ask for is there with the right shape and a type
 * that holds weights, and that no tensor of a block would be left out of the computation. */
tamis_status tamis_tensors_check(const tamis_gguf *g, const tamis_arch *arch,
                                 const tamis_hparams *hp, tamis_error *err) TAMIS_MUST_USE;

extern const tamis_arch tamis_arch_deepseek2;
extern const tamis_arch tamis_arch_gemma3;
extern const tamis_arch tamis_arch_gemma4;
extern const tamis_arch tamis_arch_glm4moe;
extern const tamis_arch tamis_arch_gpt_oss;
extern const tamis_arch tamis_arch_llama;
extern const tamis_arch tamis_arch_mistral3;
extern const tamis_arch tamis_arch_qwen2;
extern const tamis_arch tamis_arch_qwen2moe;
extern const tamis_arch tamis_arch_qwen3;
extern const tamis_arch tamis_arch_qwen3moe;
extern const tamis_arch tamis_arch_qwen35;
extern const tamis_arch tamis_arch_qwen35moe;
extern const tamis_arch tamis_arch_qwen3next;
extern const tamis_arch tamis_arch_qwen3vl;
extern const tamis_arch tamis_arch_qwen3vlmoe;
extern const tamis_arch tamis_arch_seed_oss;

#endif
