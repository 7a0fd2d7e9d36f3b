/* What --protect looks after: kinds by name, the type each gets in place of the mix's. */
#include "support.h"

#include <string.h>

#include "quantize/quantize_internal.h"

static void knows_its_kinds(void **state) {
    (void)state;
    static const struct {
        const char *name, *stem;
    } cases[] = {
        {"blk.0.ffn_gate_inp.weight", "ffn_gate_inp"},
        {"blk.0.ffn_gate_inp.bias", "ffn_gate_inp"},
        {"blk.0.ffn_gate_inp_shexp.weight", "ffn_gate_inp_shexp"},
        {"blk.17.ssm_a", "ssm_a"},
        {"blk.17.ssm_alpha.weight", "ssm_alpha"},
        {"blk.17.ssm_beta.weight", "ssm_beta"},
        {"blk.17.ssm_ba.weight", "ssm_ba"},
        {"blk.17.ssm_dt.bias", "ssm_dt"},
        {"blk.17.ssm_dt.weight", "ssm_dt"},
        {"blk.17.ssm_conv1d.weight", "ssm_conv1d"},
        {"blk.17.ssm_out.weight", "ssm_out"},
        {"blk.3.attn_output.weight", "attn_output"},
        {"blk.3.exp_probs_b.bias", "exp_probs_b"},
        {"blk.0.ffn_gate_inp.scale", NULL},
        {"blk.0.ffn_gate.weight", NULL},
        {"blk.0.attn_output_norm.weight", NULL},
        {"blk.0.attn_gate.weight", NULL},
        {"blk.0.ssm_norm.weight", NULL},
        {"v.blk.0.attn_output.weight", NULL},
        {"output.weight", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const tamis_protected_kind *kind = protect_kind_of(cases[i].name);
        if (!kind != !cases[i].stem || (kind && strcmp(kind->stem, cases[i].stem)))
            fail_msg("%s: %s", cases[i].name, kind ? kind->stem : "none");
    }
}

static const char *type_for(const char *name, const char *parent, const char *wanted) {
    const tamis_gguf_tensor t = {
        .name = name, .n_dims = 2, .ne = {256, 4, 1, 1}, .type = tamis_type_by_name(parent)};
    return protect_type(protect_kind_of(name), &t, tamis_type_by_name(wanted))->name;
}

static void keeps_what_steers(void **state) {
    (void)state;
    assert_string_equal(type_for("blk.0.ssm_alpha.weight", "bf16", "q4_K"), "bf16");
    assert_string_equal(type_for("blk.0.ssm_alpha.weight", "bf16", "q8_0"), "bf16");
    assert_string_equal(type_for("blk.0.ssm_beta.weight", "f32", "f16"), "f32");
    assert_string_equal(type_for("blk.0.ffn_up.weight", "bf16", "q4_K"), "q4_K");
}

/* Every type that can be encoded in fewer than 8 bits has a higher one on the ladder; what the
 * parent has is never passed. */
static void lifts_what_writes(void **state) {
    (void)state;
    const char *name = "blk.0.ssm_out.weight";
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    for (int i = 0; i < n_types; i++) {
        const tamis_type *type = &types[i];
        if (!tamis_can_encode(type) || type->class != TAMIS_CLASS_QUANTIZED) continue;
        const tamis_type *to = tamis_type_by_name(type_for(name, "f32", type->name));
        double bits = 8.0 * type->block_bytes / type->block_elems;
        double lifted = 8.0 * to->block_bytes / to->block_elems;
        if (bits < 8 && lifted <= bits) fail_msg("%s: lifted to %s", type->name, to->name);
        if (bits > 8) assert_string_equal(to->name, type->name);
    }
    assert_string_equal(type_for(name, "bf16", "f16"), "f16");
    assert_string_equal(type_for(name, "q4_K", "q2_K"), "q4_K");
    assert_string_equal(type_for(name, "q4_K", "q3_K"), "q4_K");
    assert_string_equal(type_for(name, "q5_K", "q4_K"), "q5_K");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(knows_its_kinds),
                                       cmocka_unit_test(keeps_what_steers),
                                       cmocka_unit_test(lifts_what_writes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
