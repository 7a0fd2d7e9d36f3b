/* hybrid.c - see hybrid.h. */
#include "model/arch/hybrid.h"

#include "base/checked.h"
#include "model/ops/self_attention.h"

#include <stdlib.h>

enum {
    LAYER = TAMIS_RULE_LAYER,
    BARE = TAMIS_RULE_LAYER | TAMIS_RULE_BARE,
    SCALED = TAMIS_RULE_LAYER | TAMIS_RULE_PRODUCT,
    OPTIONAL = TAMIS_RULE_OPTIONAL,
};

/* clang-format off */
static const tamis_tensor_rule gated_attention[] = {
    { "attn_norm",   { TAMIS_DIM_EMBD },                  LAYER,  TAMIS_WHEN_ATTENTION, NULL },
    { "attn_q",      { TAMIS_DIM_EMBD, TAMIS_DIM_Q2 },    SCALED, TAMIS_WHEN_ATTENTION, NULL },
    { "attn_k",      { TAMIS_DIM_EMBD, TAMIS_DIM_K },     SCALED, TAMIS_WHEN_ATTENTION, NULL },
    { "attn_v",      { TAMIS_DIM_EMBD, TAMIS_DIM_V },     SCALED, TAMIS_WHEN_ATTENTION, NULL },
    { "attn_q_norm", { TAMIS_DIM_HEAD },                  LAYER,  TAMIS_WHEN_ATTENTION, NULL },
    { "attn_k_norm", { TAMIS_DIM_HEAD },                  LAYER,  TAMIS_WHEN_ATTENTION, NULL },
    { "attn_output", { TAMIS_DIM_HEADS, TAMIS_DIM_EMBD }, SCALED, TAMIS_WHEN_ATTENTION, NULL },
};

static const tamis_tensor_rule delta_net[] = {
    { "attn_norm",  { TAMIS_DIM_EMBD },                          LAYER,  TAMIS_WHEN_DELTA_NET, NULL },
    { "attn_qkv",   { TAMIS_DIM_EMBD, TAMIS_DIM_SSM_CHANNELS },  SCALED, TAMIS_WHEN_DELTA_NET, "ssm_in" },
    { "attn_gate",  { TAMIS_DIM_EMBD, TAMIS_DIM_SSM_INNER },     SCALED, TAMIS_WHEN_DELTA_NET, "ssm_in" },
    { "ssm_conv1d", { TAMIS_DIM_SSM_CONV, TAMIS_DIM_SSM_CHANNELS }, LAYER, TAMIS_WHEN_DELTA_NET, NULL },
    { "ssm_dt.bias", { TAMIS_DIM_SSM_HEADS },                    BARE,   TAMIS_WHEN_DELTA_NET, NULL },
    { "ssm_a",      { TAMIS_DIM_SSM_HEADS },                     BARE,   TAMIS_WHEN_DELTA_NET, NULL },
    { "ssm_norm",   { TAMIS_DIM_SSM_STATE },                     LAYER,  TAMIS_WHEN_DELTA_NET, NULL },
    { "ssm_out",    { TAMIS_DIM_SSM_INNER, TAMIS_DIM_EMBD },     SCALED, TAMIS_WHEN_DELTA_NET, NULL },
};
/* clang-format on */

const tamis_rule_set tamis_rules_gated_attention = {gated_attention, sizeof gated_attention /
                                                                         sizeof gated_attention[0]};
const tamis_rule_set tamis_rules_delta_net = {delta_net, sizeof delta_net / sizeof delta_net[0]};

static tamis_status read_sizes(const tamis_keys *keys, tamis_ssm_hparams *ssm, tamis_error *err) {
    enum { CONV_MAX = 64, HEADS_MAX = 1 << 16, HEAD_SIZE_MAX = 1 << 12 };
    const struct {
        const char *suffix;
        int64_t max, *to;
    } sizes[] = {
        {"ssm.conv_kernel", CONV_MAX, &ssm->conv_kernel},
        {"ssm.inner_size", TAMIS_WIDTH_MAX, &ssm->inner_size},
        {"ssm.state_size", HEAD_SIZE_MAX, &ssm->state_size},
        {"ssm.time_step_rank", HEADS_MAX, &ssm->n_value_heads},
        {"ssm.group_count", HEADS_MAX, &ssm->n_key_heads},
    };
    tamis_status st = TAMIS_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && !st; i++)
        st = tamis_keys_need_int(keys, sizes[i].suffix, 1, sizes[i].max, sizes[i].to, err);
    if (st) return st;
    if (ssm->n_value_heads % ssm->n_key_heads != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%lld value heads do not share %lld key heads evenly (keys "
                          "'%s.ssm.time_step_rank' and 'ssm.group_count')",
                          (long long)ssm->n_value_heads, (long long)ssm->n_key_heads, keys->arch);
    if (ssm->inner_size != ssm->n_value_heads * ssm->state_size)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '%s.ssm.inner_size' is %lld; %lld value heads of %lld elements "
                          "('ssm.time_step_rank', 'ssm.state_size') make %lld",
                          keys->arch, (long long)ssm->inner_size, (long long)ssm->n_value_heads,
                          (long long)ssm->state_size,
                          (long long)(ssm->n_value_heads * ssm->state_size));
    return TAMIS_OK;
}

/* Which layers are delta nets: 1 in is_linear [n_blocks]. */
static tamis_status read_pattern(const tamis_keys *keys, const tamis_hparams *hp,
                                 int64_t *is_linear, tamis_error *err) {
    enum { USUAL_INTERVAL = 4 };
    int64_t interval;
    tamis_status st = tamis_keys_int(keys, "full_attention_interval", 1, TAMIS_BLOCKS_MAX,
                                     USUAL_INTERVAL, &interval, err);
    for (int64_t i = 0; i < hp->n_blocks && !st; i++)
        is_linear[i] = (i + 1) % interval != 0;
    if (!st)
        st = tamis_keys_per_block(keys, "attention.recurrent_layers", 1, hp->n_blocks, is_linear, 1,
                                  err);
    return st;
}

tamis_status tamis_hybrid_check(const tamis_keys *keys, tamis_hparams *hp, tamis_error *err) {
    tamis_status st = read_sizes(keys, &hp->ssm, err);
    if (st) return st;
    int64_t *is_linear = tamis_alloc_array((uint64_t)hp->n_blocks, sizeof *is_linear, err);
    if (!is_linear) return TAMIS_NO_RESOURCE;
    st = read_pattern(keys, hp, is_linear, err);
    for (int64_t i = 0; i < hp->n_layers && !st; i++)
        if (is_linear[i]) hp->layers[i].mixer = TAMIS_MIXER_DELTA_NET;
    free(is_linear);
    if (!st && hp->layers[0].head_k != hp->layers[0].head_v)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "keys '%s.attention.key_length' and 'value_length' are %lld and %lld; in "
                        "this architecture the two are equal",
                        keys->arch, (long long)hp->layers[0].head_k,
                        (long long)hp->layers[0].head_v);
    return st;
}

tamis_status tamis_hybrid_mixer(tamis_run *run, int64_t layer, const tamis_linear_style *style,
                                int i_part, int n_parts, tamis_error *err) {
    static const tamis_attention_style attention = {.is_gated = true};
    if (run->model->hp.layers[layer].mixer == TAMIS_MIXER_DELTA_NET)
        return tamis_linear_attention(run, layer, style, i_part, n_parts, err);
    return tamis_self_attention(run, layer, &attention, i_part, n_parts, err);
}
