/* seed_oss.c - seed_oss: Seed-OSS 36B. A layer as of qwen2, with heads of a size of their own,
 * whose second norm is called post_attention_norm. Facts: those of reference/architectures.md
 * sections 0, 1 and 3; what differs was held against llama.cpp's output
 * (docs/adding-an-architecture.md). */
#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

static const tamis_attention_style attention_style = {0};
static const tamis_ffn_style ffn_style = {.norm = "post_attention_norm"};

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { ATTENTION, FFN, N_PARTS };
    tamis_status st = tamis_self_attention(run, i_layer, &attention_style, ATTENTION, N_PARTS, err);
    return st ? st : tamis_dense_ffn(run, i_layer, &ffn_style, FFN, N_PARTS, err);
}

const tamis_arch tamis_arch_seed_oss = {
    .name = "seed_oss",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_post_attention_norm,
                  &tamis_rules_dense},
    .check = tamis_check_dense,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = layer,
};
