/* rules.c - the user's own choices: "REGEX=TYPE", one at a time or a file of them.
 * A pattern is searched for anywhere in a tensor's name, case ignored; the first rule that matches
 * wins. What stands behind the last "=" is the type. Patterns are PCRE2 in its ECMAScript manner;
 * their number, length and steps are bounded, so that a file of rules cannot stall a run. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/input_file.h"
#include "base/utf8.h"
#include "quantize/quantize_internal.h"

#define OPTION "--tensor-type"

enum {
    N_RULES_MAX = 4096,
    RULE_BYTES_MAX = 1024,
    FILE_BYTES_MAX = 1 << 20,
    MATCH_STEPS_MAX = 20000, /* names have 63 bytes: a sane pattern takes some hundred */
    MATCH_KIB_MAX = 1024,
    SHOWN_BYTES = 160,
};

typedef struct type_rule {
    char *text;   /* "REGEX=TYPE" */
    char *origin; /* "--tensor-type", or "FILE:LINE" */
    pcre2_code *pattern;
    const tamis_type *type;
    int64_t n_matched, n_first;     /* tensors that it matches; that no earlier rule matches */
    int64_t n_of[RULE_OPTION + 1];  /* of these, by effect */
    int64_t i_earlier;              /* the rule that took a tensor from it, or -1 */
    char *witness[RULE_OPTION + 1]; /* name of the first of these, or NULL */
} type_rule;

struct type_rules {
    type_rule *items;
    uint64_t n_items, capacity;
    pcre2_compile_context *compiling;
    pcre2_match_context *matching;
    pcre2_match_data *match;
};

void type_rules_free(type_rules *rules) {
    if (!rules) return;
    for (uint64_t i = 0; i < rules->n_items; i++) {
        pcre2_code_free(rules->items[i].pattern);
        free(rules->items[i].text);
        free(rules->items[i].origin);
        for (int k = 0; k <= RULE_OPTION; k++)
            free(rules->items[i].witness[k]);
    }
    pcre2_match_data_free(rules->match);
    pcre2_match_context_free(rules->matching);
    pcre2_compile_context_free(rules->compiling);
    free(rules->items);
    free(rules);
}

static tamis_status rules_init(type_rules **out, tamis_error *err) {
    type_rules *rules = tamis_alloc_array(1, sizeof *rules, err);
    *out = rules;
    if (!rules) return TAMIS_NO_RESOURCE;
    rules->compiling = pcre2_compile_context_create(NULL);
    rules->matching = pcre2_match_context_create(NULL);
    rules->match = pcre2_match_data_create(1, NULL);
    if (!rules->compiling || !rules->matching || !rules->match)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory for " OPTION);
    pcre2_set_parens_nest_limit(rules->compiling, 50);
    pcre2_set_match_limit(rules->matching, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(rules->matching, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(rules->matching, MATCH_KIB_MAX);
    return TAMIS_OK;
}

/* --- reading --- */

/* The code of an error in what was given: a file's content, or the command line. */
static tamis_status code_of(const type_rule *rule) {
    return strcmp(rule->origin, OPTION) ? TAMIS_BAD_INPUT : TAMIS_BAD_USAGE;
}

static const char *shown(const char *text, char out[SHOWN_BYTES]) {
    return tamis_escape(text, strlen(text), out, SHOWN_BYTES);
}

static tamis_status compile(const type_rules *rules, type_rule *rule, size_t n_pattern,
                            tamis_error *err) {
    /* What ECMAScript and PCRE2 read differently is read as the former does: "[^]", "\u0061",
     * "$", groups that took no part. */
    const uint32_t flags = PCRE2_CASELESS | PCRE2_DOLLAR_ENDONLY | PCRE2_ALLOW_EMPTY_CLASS |
                           PCRE2_ALT_BSUX | PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C;
    int code;
    PCRE2_SIZE offset;
    char text[SHOWN_BYTES];
    rule->pattern =
        pcre2_compile((PCRE2_SPTR)rule->text, n_pattern, flags, &code, &offset, rules->compiling);
    if (rule->pattern) return TAMIS_OK;
    PCRE2_UCHAR why[128];
    pcre2_get_error_message(code, why, sizeof why);
    return tamis_fail(err, code_of(rule), "%s: '%s': %s at character %zu", rule->origin,
                      shown(rule->text, text), (const char *)why, (size_t)offset);
}

static tamis_status parse_rule(const type_rules *rules, type_rule *rule, tamis_error *err) {
    char text[SHOWN_BYTES], name[SHOWN_BYTES];
    shown(rule->text, text);
    const char *equals = strrchr(rule->text, '=');
    if (!equals || equals == rule->text || !equals[1])
        return tamis_fail(err, code_of(rule), "%s: '%s': write REGEX=TYPE, e.g. attn_v=q8_0",
                          rule->origin, text);
    rule->type = tamis_type_by_name(equals + 1);
    if (!rule->type)
        return tamis_fail(err, code_of(rule), "%s: '%s': unknown type '%s'", rule->origin, text,
                          shown(equals + 1, name));
    if (!tamis_can_encode(rule->type))
        return tamis_fail(err, code_of(rule), "%s: '%s': %s cannot be encoded", rule->origin, text,
                          rule->type->name);
    return compile(rules, rule, (size_t)(equals - rule->text), err);
}

static tamis_status add_rule(type_rules *rules, const char *text, size_t n_bytes,
                             const char *origin, tamis_error *err) {
    tamis_status code = strcmp(origin, OPTION) ? TAMIS_BAD_INPUT : TAMIS_BAD_USAGE;
    if (rules->n_items >= N_RULES_MAX)
        return tamis_fail(err, code, "%s: more than %d rules", origin, N_RULES_MAX);
    if (n_bytes > RULE_BYTES_MAX)
        return tamis_fail(err, code, "%s: a rule of %zu bytes, %d are allowed", origin, n_bytes,
                          RULE_BYTES_MAX);
    tamis_status st =
        tamis_grow(&rules->items, &rules->capacity, rules->n_items + 1, sizeof *rules->items, err);
    if (st) return st;
    type_rule *rule = &rules->items[rules->n_items++];
    *rule = (type_rule){.i_earlier = -1};
    rule->text = tamis_copy_text(text, n_bytes, err);
    rule->origin = rule->text ? tamis_copy_text(origin, strlen(origin), err) : NULL;
    return rule->origin ? parse_rule(rules, rule, err) : TAMIS_NO_RESOURCE;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static tamis_status add_file_text(type_rules *rules, const char *text, size_t n_bytes,
                                  const char *path, tamis_error *err) {
    if (memchr(text, 0, n_bytes) || !tamis_utf8_is_valid(text, n_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: no text; rules are UTF-8 without NUL", path);
    unsigned line = 1;
    for (size_t i = 0; i < n_bytes;) {
        line += text[i] == '\n';
        if (is_space(text[i])) {
            i++;
            continue;
        }
        size_t from = i;
        if (text[i] == '#') {
            while (i < n_bytes && text[i] != '\n')
                i++;
            continue;
        }
        while (i < n_bytes && !is_space(text[i]))
            i++;
        char origin[512];
        snprintf(origin, sizeof origin, "%.480s:%u", path, line);
        tamis_status st = add_rule(rules, text + from, i - from, origin, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

static tamis_status add_file(type_rules *rules, const char *path, tamis_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    uint64_t n_before = rules->n_items;
    tamis_status st = tamis_read_file(path, FILE_BYTES_MAX, &text, &n_bytes, err);
    if (st == TAMIS_OK) st = add_file_text(rules, text, n_bytes, path, err);
    if (st == TAMIS_OK && rules->n_items == n_before)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "%s: holds no rule; write REGEX=TYPE", path);
    free(text);
    return st;
}

tamis_status type_rules_new(const tamis_quantize_options *o, type_rules **out, tamis_error *err) {
    type_rules *rules = NULL;
    *out = NULL;
    tamis_status st = rules_init(&rules, err);
    for (uint64_t i = 0; st == TAMIS_OK && i < o->n_rules; i++)
        st = o->rule_is_file && o->rule_is_file[i]
                 ? add_file(rules, o->rules[i], err)
                 : add_rule(rules, o->rules[i], strlen(o->rules[i]), OPTION, err);
    if (st == TAMIS_OK)
        *out = rules;
    else
        type_rules_free(rules);
    return st;
}

tamis_status type_rules_parse(const char *text, size_t n_bytes, const char *path, type_rules **out,
                              tamis_error *err) {
    type_rules *rules = NULL;
    *out = NULL;
    tamis_status st = rules_init(&rules, err);
    if (st == TAMIS_OK) st = add_file_text(rules, text, n_bytes, path, err);
    if (st == TAMIS_OK)
        *out = rules;
    else
        type_rules_free(rules);
    return st;
}

/* --- matching --- */

tamis_status type_rules_match(type_rules *rules, const char *name, int64_t *i_rule,
                              tamis_error *err) {
    *i_rule = -1;
    for (uint64_t i = 0; i < rules->n_items; i++) {
        type_rule *rule = &rules->items[i];
        int code = pcre2_match(rule->pattern, (PCRE2_SPTR)name, strlen(name), 0, 0, rules->match,
                               rules->matching);
        if (code == PCRE2_ERROR_NOMATCH) continue;
        if (code < 0) {
            char text[SHOWN_BYTES];
            PCRE2_UCHAR why[128];
            pcre2_get_error_message(code, why, sizeof why);
            return tamis_fail(err, code_of(rule), "%s: '%s': cannot be matched against '%s': %s",
                              rule->origin, shown(rule->text, text), name, (const char *)why);
        }
        rule->n_matched++;
        if (*i_rule < 0) {
            *i_rule = (int64_t)i;
            rule->n_first++;
        } else if (rule->i_earlier < 0) {
            rule->i_earlier = *i_rule;
        }
    }
    return tamis_interrupted() ? tamis_fail_interrupted(err) : TAMIS_OK;
}

const tamis_type *type_rules_type(const type_rules *rules, int64_t i_rule) {
    return i_rule < 0 ? NULL : rules->items[i_rule].type;
}

void type_rules_note(type_rules *rules, int64_t i_rule, rule_effect effect, const char *name) {
    if (i_rule < 0) return;
    type_rule *rule = &rules->items[i_rule];
    rule->n_of[effect]++;
    /* Only for a message; without memory it names no tensor. */
    if (!rule->witness[effect]) rule->witness[effect] = tamis_copy_text(name, strlen(name), NULL);
}

/* --- rules without effect --- */

static const char *witness_of(const type_rule *rule, rule_effect effect) {
    return rule->witness[effect] ? rule->witness[effect] : "its tensor";
}

static const char *nearest_step(const tamis_quantize_plan *plan, const char *wanted) {
    nearest_name n;
    nearest_begin(&n, wanted);
    for (int64_t i = 0; i < plan->n_steps; i++)
        nearest_offer(&n, plan->steps[i].name);
    return nearest_end(&n);
}

static tamis_status check_rule(const type_rules *rules, const type_rule *rule,
                               const tamis_quantize_plan *plan, const tamis_quantize_options *o,
                               tamis_error *err) {
    char text[SHOWN_BYTES], other[SHOWN_BYTES];
    shown(rule->text, text);
    if (rule->n_matched == 0) {
        const char *nearest = nearest_step(plan, rule->text);
        return lax_fail(o, err, "%s: '%s' matches no tensor of %s%s%s%s", rule->origin, text,
                        tamis_gguf_path(plan->source), nearest ? "; the nearest name is '" : "",
                        nearest ? nearest : "", nearest ? "'" : "");
    }
    if (rule->n_first == 0) {
        const type_rule *earlier = &rules->items[rule->i_earlier];
        return lax_fail(o, err,
                        "%s: '%s' is shadowed: all it matches is taken by the earlier '%s' (%s); "
                        "put it first",
                        rule->origin, text, shown(earlier->text, other), earlier->origin);
    }
    if (rule->n_of[RULE_CHANGES] > 0) return TAMIS_OK;
    if (rule->n_of[RULE_SAME] > 0)
        return lax_fail(o, err, "%s: '%s' changes nothing: '%s' is %s without it", rule->origin,
                        text, witness_of(rule, RULE_SAME), rule->type->name);
    if (rule->n_of[RULE_OPTION] > 0)
        return lax_fail(o, err, "%s: '%s' changes nothing: an option of its own decides about '%s'",
                        rule->origin, text, witness_of(rule, RULE_OPTION));
    return lax_fail(o, err, "%s: '%s' changes nothing: '%s' %s", rule->origin, text,
                    witness_of(rule, RULE_KEPT),
                    o->file_type->base_type_id < 0 ? "keeps its type with COPY"
                                                   : "is never quantized");
}

tamis_status type_rules_check(const type_rules *rules, const tamis_quantize_plan *plan,
                              const tamis_quantize_options *options, tamis_error *err) {
    for (uint64_t i = 0; i < rules->n_items; i++) {
        tamis_status st = check_rule(rules, &rules->items[i], plan, options, err);
        if (st) return st;
    }
    return TAMIS_OK;
}
