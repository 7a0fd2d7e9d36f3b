/* rules.c - the user's own choices: "REGEX=TYPE" for --tensor-type.
 * A pattern is searched for anywhere in a tensor's name, case ignored; the first rule that matches
 * wins. What stands behind the last "=" is the type. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "quantize/quantize_internal.h"

enum { STEM_BYTES = 64 };

typedef struct type_rule {
    const char *text; /* as given; borrowed */
    pcre2_code *pattern;
    const tamis_type *type;
} type_rule;

struct type_rules {
    type_rule *items;
    uint64_t n_items;
    pcre2_match_data *match;
};

void type_rules_free(type_rules *rules) {
    if (!rules) return;
    for (uint64_t i = 0; i < rules->n_items; i++)
        pcre2_code_free(rules->items[i].pattern);
    pcre2_match_data_free(rules->match);
    free(rules->items);
    free(rules);
}

static tamis_status parse_rule(const char *text, type_rule *rule, tamis_error *err) {
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text || !equals[1])
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--tensor-type '%s': write REGEX=TYPE, e.g. attn_v=q8_0", text);
    rule->text = text;
    rule->type = tamis_type_by_name(equals + 1);
    if (!rule->type)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--tensor-type '%s': unknown type '%s'", text,
                          equals + 1);
    if (!rule->type->encode)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--tensor-type '%s': %s cannot be encoded yet",
                          text, rule->type->name);
    int code;
    PCRE2_SIZE offset;
    rule->pattern = pcre2_compile((PCRE2_SPTR)text, (PCRE2_SIZE)(equals - text), PCRE2_CASELESS,
                                  &code, &offset, NULL);
    if (rule->pattern) return TAMIS_OK;
    PCRE2_UCHAR why[128];
    pcre2_get_error_message(code, why, sizeof why);
    return tamis_fail(err, TAMIS_BAD_USAGE, "--tensor-type '%s': %s at character %zu", text,
                      (const char *)why, (size_t)offset);
}

tamis_status type_rules_new(const char *const *texts, uint64_t n_texts, type_rules **out,
                            tamis_error *err) {
    *out = NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    type_rules *rules = tamis_alloc_array(1, sizeof *rules, err);
    if (!rules) goto out;
    rules->items = tamis_alloc_array(n_texts, sizeof *rules->items, err);
    if (!rules->items) goto out;
    rules->match = pcre2_match_data_create(1, NULL);
    if (!rules->match) {
        st = tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory for --tensor-type");
        goto out;
    }
    st = TAMIS_OK;
    for (uint64_t i = 0; i < n_texts; i++) {
        rules->n_items = i + 1;
        if ((st = parse_rule(texts[i], &rules->items[i], err))) goto out;
    }
    *out = rules;
    rules = NULL;
out:
    type_rules_free(rules);
    return st;
}

static bool matches(const type_rules *rules, uint64_t i_rule, const char *name) {
    return pcre2_match(rules->items[i_rule].pattern, (PCRE2_SPTR)name, strlen(name), 0, 0,
                       rules->match, NULL) >= 0;
}

const tamis_type *type_rules_match(const type_rules *rules, const char *name) {
    for (uint64_t i = 0; i < rules->n_items; i++)
        if (matches(rules, i, name)) return rules->items[i].type;
    return NULL;
}

/* "ffn_down" of "blk.0.ffn_down.weight": what a rule is mostly made of. */
static void stem_of(const char *name, char out[STEM_BYTES]) {
    const char *from = mix_layer_of(name) >= 0 ? strchr(name + 4, '.') + 1 : name;
    const char *dot = strrchr(from, '.');
    size_t n = dot ? (size_t)(dot - from) : strlen(from);
    if (n >= STEM_BYTES) n = STEM_BYTES - 1;
    memcpy(out, from, n);
    out[n] = 0;
}

static tamis_status fail_unmatched(const type_rule *rule, const tamis_gguf *g, tamis_error *err) {
    char wanted[STEM_BYTES], stem[STEM_BYTES], best[STEM_BYTES] = "";
    size_t n = (size_t)(strrchr(rule->text, '=') - rule->text);
    if (n >= sizeof wanted) n = sizeof wanted - 1;
    memcpy(wanted, rule->text, n);
    wanted[n] = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        stem_of(tamis_gguf_tensor_at(g, i)->name, stem);
        const char *const both[] = {best, stem};
        if (tamis_nearest(wanted, both, 2) == stem) memcpy(best, stem, sizeof best);
    }
    return tamis_fail(err, TAMIS_BAD_USAGE, "--tensor-type '%s' matches no tensor of %s%s%s%s",
                      rule->text, tamis_gguf_path(g), best[0] ? "; did you mean '" : "", best,
                      best[0] ? "'" : "");
}

tamis_status type_rules_check(const type_rules *rules, const tamis_gguf *g, tamis_error *err) {
    for (uint64_t i = 0; i < rules->n_items; i++) {
        bool is_used = false;
        for (int64_t t = 0; !is_used && t < tamis_gguf_n_tensors(g); t++)
            is_used = matches(rules, i, tamis_gguf_tensor_at(g, t)->name);
        if (!is_used) return fail_unmatched(&rules->items[i], g, err);
    }
    return TAMIS_OK;
}
