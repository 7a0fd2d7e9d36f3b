/* qwen2.c - qwen2: Qwen 1.5 / 2 / 2.5, dense, and models distilled into them.
 * Facts: reference/architectures.md section 3. */
#include "model/arch/arch.h"
#include "model/ops/ffn.h"
#include "model/ops/self_attention.h"

static const tamis_attention_style style = {0};

static tamis_status layer(tamis_run *run, int64_t i_layer, tamis_error *err) {
    enum { ATTENTION, FFN, N_PARTS };
    tamis_status st = tamis_self_attention(run, i_layer, &style, ATTENTION, N_PARTS, err);
    return st ? st : tamis_dense_ffn(run, i_layer, "ffn_norm", FFN, N_PARTS, err);
}

const tamis_arch tamis_arch_qwen2 = {
    .name = "qwen2",
    .rule_sets = {&tamis_rules_model, &tamis_rules_attention, &tamis_rules_ffn_norm,
                  &tamis_rules_dense},
    .check = tamis_check_dense,
    .rope_kind = TAMIS_ROPE_NEOX,
    .layer = layer,
};
