/* fuzz_tensor_types.c - any bytes as a file of --tensor-type rules; what is taken is matched
 * against the names of a small model. Patterns may be wrong or too dear; neither may crash or
 * stall. */
#include <stdint.h>
#include <stdlib.h>

#include "quantize/quantize_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static const char *const names[] = {
        "output.weight",
        "token_embd.weight",
        "blk.0.attn_q.weight",
        "blk.1.attn_v.weight",
        "blk.10.ffn_down_exps.weight",
        "blk.99.ssm_conv1d.weight",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    type_rules *rules = NULL;
    tamis_error err;
    if (type_rules_parse((const char *)data, n_bytes, "rules", &rules, &err)) {
        if (rules || !err.message[0]) abort();
        return 0;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t i_rule;
        if (type_rules_match(rules, names[i], &i_rule, &err)) break;
        if ((i_rule < 0) != (type_rules_type(rules, i_rule) == NULL)) abort();
        type_rules_note(rules, i_rule, RULE_CHANGES, names[i]);
    }
    type_rules_free(rules);
    return 0;
}
