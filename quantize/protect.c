/* protect.c - --protect: the small tensors that steer a model stay as the parent has them, and what
 * writes a mixer's result into the residual stream gets a higher type than the mix gave.
 * One table of kinds with a reason each, one ladder of types; measured in docs/protection.md.
 * Names: reference/architectures.md sections 4, 7 to 10 and 13 to 15. */
#include <stdio.h>
#include <string.h>

#include "quantize/quantize_internal.h"

/* A layer's tensor by its stem; "x.weight", "x.bias" and a bare "x" are all of stem "x". */
/* clang-format off */
static const tamis_protected_kind kinds[] = {
    {"ffn_gate_inp",       false, "router: a small error sends tokens to other experts"},
    {"exp_probs_b",        false, "router's bias: decides which experts are chosen"},
    {"ffn_gate_inp_shexp", false, "gate of the shared expert: one number scales all of it"},
    {"ssm_conv1d",         false, "convolution: a few taps per channel, no row to average over"},
    {"shortconv.conv",     false, "convolution: a few taps per channel, no row to average over"},
    {"ssm_a",              false, "decay: its error compounds over every later token"},
    {"ssm_d",              false, "skip of the state: one number per head"},
    {"ssm_dt",             false, "time step: enters the decay's exponent"},
    {"ssm_x",              false, "makes the time step and the state's input and output"},
    {"ssm_alpha",          false, "makes the decay: its error compounds over every later token"},
    {"ssm_beta",           false, "makes the strength of writing into the state"},
    {"ssm_ba",             false, "makes decay and strength of writing into the state"},
    {"ssm_out",            true,  "writes the state's reading into the residual stream"},
    {"attn_output",        true,  "writes the attention's result into the residual stream"},
};
/* clang-format on */

/* What is lifted: from a type of fewer than so many bits to the one after it. */
static const struct {
    double below_bits;
    int32_t to;
} ladder[] = {
    {3, TAMIS_TYPE_Q4_K},   /* q2_K, iq2, iq1 and below */
    {4, TAMIS_TYPE_Q5_K},   /* q3_K, iq3 */
    {6.5, TAMIS_TYPE_Q6_K}, /* all of 4 and 5 bits */
    {8, TAMIS_TYPE_Q8_0},   /* q6_K */
};

const tamis_protected_kind *protect_kind_of(const char *name) {
    if (mix_layer_of(name) < 0) return NULL;
    const char *stem = strchr(name + 4, '.') + 1;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].stem);
        if (strncmp(stem, kinds[i].stem, n) != 0) continue;
        if (!stem[n] || !strcmp(stem + n, ".weight") || !strcmp(stem + n, ".bias"))
            return &kinds[i];
    }
    return NULL;
}

static double bits_of(const tamis_type *type) {
    return 8.0 * (double)type->block_bytes / (double)type->block_elems;
}

const tamis_type *protect_type(const tamis_protected_kind *kind, const tamis_gguf_tensor *t,
                               const tamis_type *wanted) {
    if (!kind || wanted == t->type) return wanted;
    if (!kind->is_lifted) return t->type;
    size_t i = 0, n = sizeof ladder / sizeof *ladder;
    while (i < n && bits_of(wanted) >= ladder[i].below_bits)
        i++;
    if (i == n) return wanted;
    const tamis_type *to = tamis_type_by_id(ladder[i].to);
    /* More than the parent has is no gain. */
    return bits_of(to) < bits_of(t->type) ? to : t->type;
}

/* Bytes more that a tensor takes as `type`. */
static uint64_t bytes_more(const tamis_gguf_tensor *t, const tamis_type *from,
                           const tamis_type *type) {
    uint64_t old_row = 0, new_row = 0;
    if (!tamis_type_row_bytes(from, t->ne[0], &old_row) ||
        !tamis_type_row_bytes(type, t->ne[0], &new_row) || new_row < old_row)
        return 0;
    return (new_row - old_row) * tamis_tensor_n_rows(t);
}

void protect_note(tamis_protection *p, const tamis_protected_kind *kind, const tamis_gguf_tensor *t,
                  const tamis_type *by_mix, const tamis_type *type) {
    p->n_of[kind - kinds]++;
    p->n_tensors++;
    p->n_bytes += bytes_more(t, by_mix, type);
}

void protect_note_rule(tamis_protection *p, const char *name, const tamis_type *by_rule,
                       const tamis_type *without_rule) {
    if (bits_of(by_rule) >= bits_of(without_rule)) return;
    if (!p->n_by_rules++) p->first_by_rule = name;
}

int tamis_quantize_protected(const tamis_quantize_plan *plan,
                             const tamis_protected_kind *out[TAMIS_PROTECTED_KINDS_MAX],
                             int64_t n_of[TAMIS_PROTECTED_KINDS_MAX]) {
    _Static_assert(sizeof kinds / sizeof *kinds <= TAMIS_PROTECTED_KINDS_MAX, "room for all kinds");
    int n = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!plan->protection.n_of[i]) continue;
        out[n] = &kinds[i];
        n_of[n++] = plan->protection.n_of[i];
    }
    return n;
}

tamis_status protect_set_keys(const tamis_quantize_plan *plan, tamis_gguf_writer *w,
                              tamis_error *err) {
    const tamis_protected_kind *found[TAMIS_PROTECTED_KINDS_MAX];
    int64_t n_of[TAMIS_PROTECTED_KINDS_MAX];
    const char *stems[TAMIS_PROTECTED_KINDS_MAX];
    int n = plan->protection.is_on ? tamis_quantize_protected(plan, found, n_of) : 0;
    for (int i = 0; i < n; i++)
        stems[i] = found[i]->stem;
    return n ? tamis_gguf_set_strings(w, "tamis.protected", stems, (uint64_t)n, err) : TAMIS_OK;
}
