/* tensor_names.c - see tensor_names.h. Names: reference/architectures.md. */
#include "gguf/tensor_names.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

static const char *const kind_names[TAMIS_KIND_N] = {
    [TAMIS_KIND_EMBEDDING] = "embeddings", [TAMIS_KIND_OUTPUT] = "output",
    [TAMIS_KIND_ATTENTION] = "attention",  [TAMIS_KIND_FFN] = "ffn",
    [TAMIS_KIND_EXPERTS] = "experts",      [TAMIS_KIND_SHARED_EXPERTS] = "shared experts",
    [TAMIS_KIND_ROUTER] = "router",        [TAMIS_KIND_SSM] = "ssm",
    [TAMIS_KIND_NORM] = "norms",           [TAMIS_KIND_MTP] = "mtp",
    [TAMIS_KIND_VISION] = "vision",        [TAMIS_KIND_AUDIO] = "audio",
    [TAMIS_KIND_PROJECTOR] = "projector",  [TAMIS_KIND_OTHER] = "other",
};

/* The first row whose part is found decides. */
/* clang-format off */
static const struct {
    const char *part;
    bool at_start;
    tamis_tensor_kind kind;
} rules[] = {
    { "v.",             true,  TAMIS_KIND_VISION },
    { "a.",             true,  TAMIS_KIND_AUDIO },
    { "mm.",            true,  TAMIS_KIND_PROJECTOR },
    { "resampler.",     true,  TAMIS_KIND_PROJECTOR },
    { "model.image_",   true,  TAMIS_KIND_PROJECTOR },
    { "nextn.",         false, TAMIS_KIND_MTP },
    { "norm",           false, TAMIS_KIND_NORM },
    { "ffn_gate_inp",   false, TAMIS_KIND_ROUTER },
    { "exp_probs_b",    false, TAMIS_KIND_ROUTER },
    { "_shexp",         false, TAMIS_KIND_SHARED_EXPERTS },
    { "_chexp",         false, TAMIS_KIND_SHARED_EXPERTS },
    { "_exps",          false, TAMIS_KIND_EXPERTS },
    { "ffn_",           false, TAMIS_KIND_FFN },
    { "attn_",          false, TAMIS_KIND_ATTENTION },
    { "ssm_",           false, TAMIS_KIND_SSM },
    { "time_mix",       false, TAMIS_KIND_SSM },
    { "shortconv",      false, TAMIS_KIND_SSM },
    { "token_embd",     false, TAMIS_KIND_EMBEDDING },
    { "position_embd",  false, TAMIS_KIND_EMBEDDING },
    { "token_types",    false, TAMIS_KIND_EMBEDDING },
    { "per_layer_",     true,  TAMIS_KIND_EMBEDDING },
    { "output.",        true,  TAMIS_KIND_OUTPUT },
    { "cls",            true,  TAMIS_KIND_OUTPUT },
};
/* clang-format on */

const char *tamis_tensor_kind_name(tamis_tensor_kind kind) {
    return kind_names[kind];
}

tamis_tensor_kind tamis_tensor_kind_of(const char *name) {
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const char *found = strstr(name, rules[i].part);
        if (found && (found == name || !rules[i].at_start)) return rules[i].kind;
    }
    return TAMIS_KIND_OTHER;
}

size_t tamis_tensor_layer(const char *name, int64_t *layer) {
    static const char mark[] = "blk.", digits[] = "0123456789";
    char number[24];
    const char *p = strstr(name, mark);
    if (!p || (p != name && p[-1] != '.')) return 0;
    p += strlen(mark);
    const size_t n = strspn(p, digits);
    if (!n || n >= sizeof number || p[n] != '.') return 0;
    snprintf(number, sizeof number, "%.*s", (int)n, p);
    if (tamis_parse_int(number, 0, INT64_MAX, "layer", layer, NULL)) return 0;
    return (size_t)(p - name) + n;
}
