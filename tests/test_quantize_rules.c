/* Rules of the user's: what a text or a file of them may hold, in which order they win, and what is
 * said of rules, layers, keys and names without effect. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/quantize_internal.h"

static tamis_status parse(const char *text, type_rules **out, tamis_error *err) {
    return type_rules_parse(text, strlen(text), "r.txt", out, err);
}

static void takes_a_file_of_rules(void **state) {
    (void)state;
    type_rules *rules;
    tamis_error err;
    int64_t i;
    const char *text = "# a comment = q4_0\n  attn_v=Q8_0\tffn_(up|gate)=q5_k\r\n\n"
                       "blk\\.[0-3]\\.=f16 # to the end of the line attn_q=q4_0\n";
    assert_int_equal(parse(text, &rules, &err), TAMIS_OK);
    const struct {
        const char *name;
        int64_t i_rule;
        const char *type;
    } rows[] = {
        {"blk.0.attn_v.weight", 0, "q8_0"},   {"blk.9.ffn_up.weight", 1, "q5_K"},
        {"blk.0.ffn_gate.weight", 1, "q5_K"}, {"blk.3.attn_q.weight", 2, "f16"},
        {"blk.4.attn_q.weight", -1, NULL},    {"BLK.9.ATTN_V.weight", 0, "q8_0"},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        assert_int_equal(type_rules_match(rules, rows[k].name, &i, &err), TAMIS_OK);
        if (i != rows[k].i_rule)
            fail_msg("%s: rule %d, not %d", rows[k].name, (int)i, (int)rows[k].i_rule);
        const tamis_type *type = type_rules_type(rules, i);
        if (rows[k].type) assert_string_equal(type->name, rows[k].type);
        if (!rows[k].type) assert_null(type);
    }
    type_rules_free(rules);
}

/* Where the two dialects differ, a pattern means what it means in ECMAScript. */
static void reads_patterns_as_ecmascript(void **state) {
    (void)state;
    const struct {
        const char *rule, *name;
        bool matches;
    } rows[] = {
        {"ffn[^]down=q8_0", "ffn_down", true},
        {"ffn[]down=q8_0", "ffn_down", false},
        {"^\\u0066fn=q8_0", "ffn_down", true},
        {"\\x66fn=q8_0", "ffn_down", true},
        {"(x)?\\1down$=q8_0", "ffn_down", true},
        {"\\D\\d\\.=q8_0", "blk.1.x", true},
        {"a=b=q8_0", "a=b", true},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        type_rules *rules;
        tamis_error err;
        int64_t i;
        if (parse(rows[k].rule, &rules, &err)) fail_msg("%s: %s", rows[k].rule, err.message);
        assert_int_equal(type_rules_match(rules, rows[k].name, &i, &err), TAMIS_OK);
        if ((i >= 0) != rows[k].matches) fail_msg("%s on %s", rows[k].rule, rows[k].name);
        type_rules_free(rules);
    }
}

static void refuses_bad_rules_by_line(void **state) {
    (void)state;
    static char long_rule[1100], many[8 * 5000];
    memset(long_rule, 'a', sizeof long_rule - 1);
    memcpy(long_rule + 1090, "=q8_0", 6);
    for (int i = 0; i < 5000; i++)
        memcpy(many + 8 * i, " a=q8_0", 7), many[8 * i + 7] = '\n';
    many[sizeof many - 1] = 0;
    const struct {
        const char *text, *says;
    } rows[] = {
        {"attn_v=q8_0\n\nffn_up\n", "r.txt:3: 'ffn_up': write REGEX=TYPE"},
        {"=q8_0", "r.txt:1: '=q8_0': write REGEX=TYPE"},
        {"a=", "r.txt:1: 'a=': write REGEX=TYPE"},
        {"\n a=q9_9", "r.txt:2: 'a=q9_9': unknown type 'q9_9'"},
        {"a=i32", "i32 cannot be encoded"},
        {"attn(=q8_0", "r.txt:1: 'attn(=q8_0': missing closing parenthesis"},
        {"a\xff=q8_0", "r.txt: no text"},
        {long_rule, "r.txt:1: a rule of 1095 bytes, 1024 are allowed"},
        {many, "more than 4096 rules"},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        type_rules *rules = NULL;
        tamis_error err = {0};
        assert_int_equal(parse(rows[k].text, &rules, &err), TAMIS_BAD_INPUT);
        assert_null(rules);
        if (!strstr(err.message, rows[k].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, rows[k].says);
    }
    type_rules *rules = NULL;
    assert_int_equal(type_rules_parse("a=q8_0\0b=q8_0", 13, "r.txt", &rules, NULL),
                     TAMIS_BAD_INPUT);
}

static void gives_up_on_endless_patterns(void **state) {
    (void)state;
    type_rules *rules;
    tamis_error err;
    int64_t i;
    assert_int_equal(parse("(a|aa)+(a|aa)+(a|aa)+b=q8_0", &rules, &err), TAMIS_OK);
    const char *name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac";
    assert_int_equal(type_rules_match(rules, name, &i, &err), TAMIS_OK); /* no b: known at once */
    type_rules_free(rules);
    assert_int_equal(parse("(a|aa)+(a|aa)+(a|aa)+[bd]=q8_0", &rules, &err), TAMIS_OK);
    assert_int_equal(type_rules_match(rules, name, &i, &err), TAMIS_BAD_INPUT);
    assert_non_null(strstr(err.message, "match limit"));
    type_rules_free(rules);
}

/* --- without effect --- */

static char log_text[4096];

static void note_line(void *ctx, tamis_log_level level, const char *text) {
    (void)ctx;
    if (level != TAMIS_LOG_WARNING) return;
    size_t n = strlen(log_text);
    snprintf(log_text + n, sizeof log_text - n, "%s\n", text);
}

/* Both ways: an error that says `says`, and with lax a plan and a warning that says it. */
static void check_effect(const tamis_gguf *g, tamis_quantize_options o, const char *says) {
    tamis_error err = {0};
    tamis_quantize_plan *plan = NULL;
    const tamis_log log = {.line = note_line};
    tamis_status st = tamis_quantize_plan_new(g, &o, &plan, &err);
    if (st != TAMIS_BAD_USAGE || !strstr(err.message, says) || !strstr(err.message, "--lax"))
        fail_msg("status %d, \"%s\", not \"%s\"", st, st ? err.message : "", says);
    o.lax = true;
    o.log = &log;
    log_text[0] = 0;
    if (tamis_quantize_plan_new(g, &o, &plan, &err)) fail_msg("lax: %s", err.message);
    if (!strstr(log_text, says)) fail_msg("lax: \"%s\" does not say \"%s\"", log_text, says);
    tamis_quantize_plan_free(plan);
}

static void says_what_has_no_effect(void **state) {
    (void)state;
    char imatrix[4096];
    snprintf(imatrix, sizeof imatrix, "%s", shared_path("fixtures/imatrix/qwen3.c128.gguf"));
    tamis_gguf *g;
    assert_int_equal(tamis_gguf_open(shared_path("fixtures/arch/qwen3.gguf"), NULL, &g, NULL), 0);
    const tamis_file_type *q4 = tamis_file_type_find("Q4_K_S"),
                          *copy = tamis_file_type_find("COPY"), *f16 = tamis_file_type_find("F16");
    const char *const rules[][2] = {
        {"ffn_dwn=q8_0", NULL},    {"attn_q=q8_0", "blk.*attn_q\\.=q5_0"},
        {"attn_norm=q8_0", NULL},  {"ffn_gate=q4_K", NULL},
        {"token_embd=q8_0", NULL}, {"attn_.=q8_0", NULL},
        {"attn_k=f16", NULL},
    };
    const char *const part = "fn_dawn", *const key = "qwen3.block_cont=int:3";
    tamis_quantize_options o = {.file_type = q4, .rules = rules[0], .n_rules = 1};
    check_effect(g, o, "'ffn_dwn=q8_0' matches no tensor");
    check_effect(g, o, "the nearest name is 'blk.0.ffn_down.weight'");
    o.rules = rules[1], o.n_rules = 2;
    check_effect(g, o, "'blk.*attn_q\\\\.=q5_0' is shadowed");
    o.rules = rules[2], o.n_rules = 1;
    check_effect(g, o, "'attn_norm=q8_0' changes nothing: 'blk.0.attn_norm.weight' is never");
    o.rules = rules[3];
    check_effect(g, o, "'blk.0.ffn_gate.weight' is q4_K without it");
    o.rules = rules[4], o.embedding_type = tamis_type_by_name("q5_0");
    check_effect(g, o, "an option of its own decides about 'token_embd.weight'");
    o = (tamis_quantize_options){.file_type = copy, .rules = rules[5], .n_rules = 1};
    check_effect(g, o, "with COPY");
    o = (tamis_quantize_options){.file_type = f16, .rules = rules[6], .n_rules = 1};
    check_effect(g, o, "is f16 without it");
    o = (tamis_quantize_options){.file_type = copy, .output_type = tamis_type_by_name("q8_0")};
    check_effect(g, o, "--output-tensor-type changes nothing");
    o = (tamis_quantize_options){.file_type = q4, .prune = "1,70"};
    check_effect(g, o, "there is no layer 70");
    o.prune = "1,1";
    check_effect(g, o, "layer 1 is named twice");
    o = (tamis_quantize_options){.file_type = q4, .overrides = &key, .n_overrides = 1};
    check_effect(g, o, "did you mean 'qwen3.block_count'");
    o = (tamis_quantize_options){
        .file_type = q4, .imatrix_path = imatrix, .include = &part, .n_include = 1};
    check_effect(g, o, "--include-weights 'fn_dawn' is in the name of no entry");
    check_effect(g, o, "the nearest is 'blk.0.ffn_down.weight'");
    tamis_gguf_close(g);
}

int main(void) {
    require_shared();
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_file_of_rules),     cmocka_unit_test(reads_patterns_as_ecmascript),
        cmocka_unit_test(refuses_bad_rules_by_line), cmocka_unit_test(gives_up_on_endless_patterns),
        cmocka_unit_test(says_what_has_no_effect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
