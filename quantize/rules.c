/* rules.c - the user's own choices: "REGEX=TYPE" for --tensor-type.
 * A pattern is searched for anywhere in a tensor's name, case ignored; the first rule that matches
 * wins. What stands behind the last "=" is the type. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "quantize/quantize_internal.h"

typedef struct type_rule {
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
    for (uint64_t i = 0; i < rules->n_items; i++) pcre2_code_free(rules->items[i].pattern);
    pcre2_match_data_free(rules->match);
    free(rules->items);
    free(rules);
}

static tamis_status parse_rule(const char *text, type_rule *rule, tamis_error *err) {
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text || !equals[1])
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--tensor-type '%s': write REGEX=TYPE, e.g. attn_v=q8_0", text);
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

const tamis_type *type_rules_match(const type_rules *rules, const char *name) {
    for (uint64_t i = 0; i < rules->n_items; i++) {
        int n = pcre2_match(rules->items[i].pattern, (PCRE2_SPTR)name, strlen(name), 0, 0,
                            rules->match, NULL);
        if (n >= 0) return rules->items[i].type;
    }
    return NULL;
}
