/* test_model_pass.c - what a pass promises besides its numbers: what observers see and when, the
 * memory budget, refusal of bad tokens, non-finite weights and activations, interruption. */
#include "support.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "model/pass.h"

enum { N_TOKENS = 96, MAX_EVENTS = 4096 };

/* One call of an observer. */
typedef struct event {
    char names[160]; /* joined by spaces; "layer" and "final" for those calls */
    int64_t layer, expert, n_experts, n_tokens, d_in;
    int64_t first_token; /* of a product */
    double sum_of_squares;
} event;

typedef struct record {
    event events[MAX_EVENTS];
    int n;
    float *final;   /* [N_TOKENS][n_embd], NULL = not kept */
    int64_t n_embd;
    int fail_at;    /* event at which to fail with TAMIS_CHECK_FAILED; -1 = never */
    int signal_at;  /* event at which SIGINT comes; -1 = never */
} record;

static record seen;

static event *add_event(void) {
    if (seen.n == MAX_EVENTS) fail_msg("more than %d calls", MAX_EVENTS);
    if (seen.n == seen.signal_at) raise(SIGINT);
    return &seen.events[seen.n++];
}

static tamis_status on_product(void *ctx, const tamis_product *p, tamis_error *err) {
    (void)ctx;
    if (seen.n == seen.fail_at) return tamis_fail(err, TAMIS_CHECK_FAILED, "seen enough");
    event *e = add_event();
    e->names[0] = 0;
    for (int i = 0; i < p->n_names; i++) {
        size_t n = strlen(e->names);
        snprintf(e->names + n, sizeof e->names - n, "%s%s", i ? " " : "", p->names[i]);
    }
    e->layer = p->layer;
    e->expert = p->expert;
    e->n_experts = p->n_experts;
    e->n_tokens = p->n_tokens;
    e->d_in = p->d_in;
    for (int64_t r = 0; r < p->n_tokens; r++) {
        const int64_t token = p->tokens ? p->tokens[r] : p->first_token + r;
        if (token < 0 || token >= N_TOKENS || (r && p->tokens && token <= p->tokens[r - 1]))
            fail_msg("'%s': row %d is of token %d", e->names, (int)r, (int)token);
    }
    e->first_token = p->tokens ? p->tokens[0] : p->first_token;
    e->sum_of_squares = 0.0;
    for (int64_t i = 0; i < p->n_tokens * p->d_in; i++)
        e->sum_of_squares += (double)p->x[i] * (double)p->x[i];
    return TAMIS_OK;
}

static tamis_status on_layer(void *ctx, int64_t layer, int64_t first, int64_t n, const float *h,
                             tamis_error *err) {
    (void)ctx, (void)h, (void)err;
    *add_event() = (event){.names = "layer", .layer = layer, .expert = first, .n_tokens = n};
    return TAMIS_OK;
}

static tamis_status on_final(void *ctx, int64_t first, int64_t n, const float *h,
                             tamis_error *err) {
    (void)ctx, (void)err;
    *add_event() = (event){.names = "final", .expert = first, .n_tokens = n};
    if (seen.final)
        memcpy(seen.final + first * seen.n_embd, h, (size_t)(n * seen.n_embd) * sizeof *h);
    return TAMIS_OK;
}

static const tamis_observer observer = {
    .on_product = on_product, .on_layer = on_layer, .on_final = on_final,
};

static void start_record(void) {
    free(seen.final);
    seen.final = NULL;
    seen.n = 0;
    seen.fail_at = seen.signal_at = -1;
}

static tamis_model *open_path(const char *path) {
    tamis_error err;
    tamis_model *m = NULL;
    if (tamis_model_open(path, NULL, &m, &err)) fail_msg("%s", err.message);
    return m;
}

static tamis_model *open_fixture(const char *name) {
    return open_path(shared_path("fixtures/arch/%s.gguf", name));
}

/* Run the fixture's tokens as sequences of n_ctx; the status is the caller's to judge. */
static tamis_status run(tamis_model *m, const char *fixture, int64_t n_ctx,
                        const tamis_pass_options *options, tamis_error *err) {
    char *tokens = slurp(shared_path("fixtures/arch/%s.tokens", fixture), NULL);
    tamis_status st = tamis_pass_run(m, (const int32_t *)tokens, N_TOKENS, n_ctx, options,
                                     &observer, 1, err);
    free(tokens);
    return st;
}

static void run_well(const char *fixture, int64_t n_ctx) {
    tamis_error err;
    tamis_model *m = open_fixture(fixture);
    start_record();
    if (run(m, fixture, n_ctx, NULL, &err)) fail_msg("%s", err.message);
    tamis_model_close(m);
}

static void assert_event(int i, const char *names, int64_t layer, int64_t d_in) {
    const event *e = &seen.events[i];
    if (strcmp(e->names, names) != 0 || e->layer != layer || e->d_in != d_in)
        fail_msg("call %d is '%s' of layer %lld with %lld inputs; expected '%s', %lld, %lld", i,
                 e->names, (long long)e->layer, (long long)e->d_in, names, (long long)layer,
                 (long long)d_in);
}

static void dense_products_in_order(void **state) {
    (void)state;
    run_well("llama", 48);
    enum { PER_LAYER = 5, LAYERS = 4 };
    assert_int_equal(seen.n, LAYERS * PER_LAYER + 2);
    for (int64_t l = 0; l < LAYERS; l++) {
        char names[160];
        int first = (int)l * PER_LAYER;
        snprintf(names, sizeof names,
                 "blk.%d.attn_q.weight blk.%d.attn_k.weight blk.%d.attn_v.weight", (int)l, (int)l,
                 (int)l);
        assert_event(first, names, l, 128);
        snprintf(names, sizeof names, "blk.%d.attn_output.weight", (int)l);
        assert_event(first + 1, names, l, 128);
        snprintf(names, sizeof names, "blk.%d.ffn_gate.weight blk.%d.ffn_up.weight", (int)l,
                 (int)l);
        assert_event(first + 2, names, l, 128);
        snprintf(names, sizeof names, "blk.%d.ffn_down.weight", (int)l);
        assert_event(first + 3, names, l, 160);
        assert_event(first + 4, "layer", l, 0);
        for (int i = 0; i < PER_LAYER; i++)
            assert_int_equal(seen.events[first + i].n_tokens, N_TOKENS);
        assert_int_equal(seen.events[first].expert, -1);
        assert_int_equal(seen.events[first].first_token, 0);
        assert_int_equal(seen.events[first].n_experts, 1);
    }
    assert_event(LAYERS * PER_LAYER, "output.weight", -1, 128);
    assert_event(LAYERS * PER_LAYER + 1, "final", 0, 0);
}

static void tied_head_is_not_observed(void **state) {
    (void)state;
    run_well("qwen3", N_TOKENS);
    for (int i = 0; i < seen.n; i++) assert_true(seen.events[i].layer >= 0);
    assert_string_equal(seen.events[seen.n - 1].names, "final");
}

/* The router sees all tokens; then experts ascend, and together they see every token k times. */
static void expert_products_in_order(void **state) {
    (void)state;
    run_well("mixtral", N_TOKENS);
    int64_t routed = 0, last = -1;
    int n_routers = 0;
    for (int i = 0; i < seen.n; i++) {
        const event *e = &seen.events[i];
        if (strcmp(e->names, "blk.2.ffn_gate_inp.weight") == 0) {
            n_routers++;
            assert_int_equal(e->expert, -1);
            assert_int_equal(e->n_tokens, N_TOKENS);
        }
        if (strcmp(e->names, "blk.2.ffn_gate_exps.weight blk.2.ffn_up_exps.weight") != 0) continue;
        assert_true(e->expert > last && e->expert < 6);
        assert_int_equal(e->n_experts, 6);
        assert_int_equal(e->d_in, 96);
        assert_string_equal(e[1].names, "blk.2.ffn_down_exps.weight");
        assert_int_equal(e[1].expert, e->expert);
        assert_int_equal(e[1].n_tokens, e->n_tokens);
        assert_int_equal(e[1].d_in, 32);
        last = e->expert;
        routed += e->n_tokens;
    }
    assert_int_equal(n_routers, 1);
    assert_int_equal(routed, 2 * N_TOKENS);
}

/* A norm's output has a mean square of 1 before its weights, which are near 1. */
static void inputs_are_normed(void **state) {
    (void)state;
    run_well("llama", N_TOKENS);
    double mean = seen.events[0].sum_of_squares / (double)(N_TOKENS * seen.events[0].d_in);
    if (!(mean > 0.2 && mean < 5.0)) fail_msg("mean square %g of a normed input", mean);
}

static float *final_states(const char *fixture, tamis_pass_options *options) {
    tamis_error err;
    tamis_model *m = open_fixture(fixture);
    start_record();
    seen.n_embd = tamis_model_n_embd(m);
    seen.final = malloc((size_t)(N_TOKENS * seen.n_embd) * sizeof *seen.final);
    if (run(m, fixture, 32, options, &err)) fail_msg("%s", err.message);
    tamis_model_close(m);
    float *final = seen.final;
    seen.final = NULL;
    return final;
}

static void count_line(void *ctx, tamis_log_level level, const char *text) {
    (void)level;
    if (strstr(text, "scratch file")) ++*(int *)ctx;
}

/* Run under a limit: the same bits as without, all that was taken given back. Returns the peak. */
static uint64_t check_limit(const char *name, uint64_t limit_bytes, int wants_scratch) {
    tamis_budget budget;
    int n_scratch = 0;
    tamis_log log = {.line = count_line, .ctx = &n_scratch};
    tamis_pass_options options = {.budget = &budget, .log = &log};
    tamis_budget_init(&budget, limit_bytes);
    float *unbounded = final_states(name, NULL), *bounded = final_states(name, &options);
    assert_memory_equal(unbounded, bounded, (size_t)(N_TOKENS * seen.n_embd) * sizeof(float));
    free(unbounded);
    free(bounded);
    assert_true(budget.used_bytes == 0);
    assert_true(budget.peak_bytes <= limit_bytes);
    assert_int_equal(n_scratch, wants_scratch);
    return budget.peak_bytes;
}

/* Enough; one byte too few for the hidden states; too little for a single layer. */
static void budget_changes_no_bit(void **state) {
    (void)state;
    const char *const names[] = {"llama", "mixtral", "gemma4", "gemma4moe", "qwen35", "deepseek2"};
    for (int i = 0; i < 6; i++) {
        uint64_t peak_bytes = check_limit(names[i], 1000000000, 0);
        assert_true(peak_bytes > 100000);
        check_limit(names[i], peak_bytes - 1, 1);
        check_limit(names[i], 1, 1);
    }
}

static void bad_tokens_are_refused(void **state) {
    (void)state;
    tamis_error err;
    tamis_model *m = open_fixture("llama");
    int32_t tokens[] = {1, 2, 320, 4};
    const struct {
        int64_t n_tokens, n_ctx;
        const char *words;
    } cases[] = {
        {4, 4, "token 2 has id 320"}, {4, 3, "whole sequences"}, {0, 1, "whole sequences"},
        {2, 0, "whole sequences"},    {2, -1, "whole sequences"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tamis_status st =
            tamis_pass_run(m, tokens, cases[i].n_tokens, cases[i].n_ctx, NULL, NULL, 0, &err);
        assert_int_equal(st, TAMIS_BAD_USAGE);
        if (!strstr(err.message, cases[i].words)) fail_msg("%s", err.message);
    }
    tokens[2] = -1;
    assert_int_equal(tamis_pass_run(m, tokens, 4, 4, NULL, NULL, 0, &err), TAMIS_BAD_USAGE);
    tamis_pass_options options = {.engine = "abacus"};
    assert_int_equal(tamis_pass_run(m, tokens, 2, 2, &options, NULL, 0, &err), TAMIS_BAD_USAGE);
    tamis_model_close(m);
}

static void observer_stops_the_pass(void **state) {
    (void)state;
    tamis_error err;
    tamis_model *m = open_fixture("mixtral");
    for (int at = 0; at < 12; at++) {
        start_record();
        seen.fail_at = at;
        tamis_status st = run(m, "mixtral", N_TOKENS, NULL, &err);
        if (seen.n < at) continue; /* that call was no product */
        assert_int_equal(st, seen.n == at ? TAMIS_CHECK_FAILED : TAMIS_OK);
    }
    tamis_model_close(m);
}

/* A copy of a model with one f32 element of a tensor replaced. */
static const char *with_element(const char *fixture, const char *tensor, int64_t element,
                                float value) {
    static char path[4200];
    tamis_error err;
    tamis_gguf *g = NULL;
    size_t n_bytes;
    char *data = slurp(shared_path("fixtures/arch/%s.gguf", fixture), &n_bytes);
    if (tamis_gguf_open_memory(data, n_bytes, NULL, &g, &err)) fail_msg("%s", err.message);
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, tensor);
    assert_non_null(t);
    assert_int_equal(t->type_id, TAMIS_TYPE_F32);
    memcpy(data + t->file_offset + (size_t)element * sizeof value, &value, sizeof value);
    tamis_gguf_close(g);
    snprintf(path, sizeof path, "%s/changed.gguf", temp_dir());
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n_bytes, f), n_bytes);
    fclose(f);
    free(data);
    return path;
}

static void check_bad_element(const char *fixture, const char *tensor, int64_t element,
                              float value, const char *words) {
    tamis_error err;
    tamis_model *m = open_path(with_element(fixture, tensor, element, value));
    start_record();
    tamis_status st = run(m, fixture, N_TOKENS, NULL, &err);
    assert_int_equal(st, TAMIS_BAD_INPUT);
    if (!strstr(err.message, words) || !strstr(err.message, "changed.gguf"))
        fail_msg("'%s' does not say '%s'", err.message, words);
    tamis_model_close(m);
}

static void non_finite_weights_are_named(void **state) {
    (void)state;
    check_bad_element("qwen2", "blk.2.ffn_down.weight", 3 * 96 + 7, NAN,
                      "tensor 'blk.2.ffn_down.weight': row 3, element 7 is nan");
    check_bad_element("qwen2", "blk.0.attn_k.bias", 5, INFINITY,
                      "tensor 'blk.0.attn_k.bias': row 0, element 5 is inf");
    check_bad_element("qwen2", "output_norm.weight", 1, NAN, "'output_norm.weight': row 0");
    check_bad_element("mixtral", "blk.1.ffn_gate_inp.weight", 96, -INFINITY,
                      "tensor 'blk.1.ffn_gate_inp.weight': row 1, element 0 is -inf");
    check_bad_element("qwen3-scales", "blk.3.attn_q.scale", 0, NAN, "'blk.3.attn_q.scale'");
}

static void non_finite_activations_are_named(void **state) {
    (void)state;
    check_bad_element("qwen2", "blk.1.attn_q.bias", 3, 3e38f, "layer 1: ");
    check_bad_element("qwen2", "blk.2.attn_norm.weight", 3, 3e38f,
                      "layer 2: the attn_q product is");
    check_bad_element("mixtral", "blk.1.ffn_gate_inp.weight", 0, 3e38f,
                      "layer 1: the ffn_gate_inp product is");
    check_bad_element("qwen3-scales", "blk.2.ffn_up.scale", 0, 3e38f,
                      "layer 2: the input of ffn_down is");
    check_bad_element("qwen3-scales", "blk.3.ffn_down.scale", 0, 3e38f,
                      "layer 3: the hidden state after the feed-forward part is");
}

/* Last in the list: the signal stays seen for the rest of the program. */
static void a_signal_stops_the_pass(void **state) {
    (void)state;
    tamis_error err;
    tamis_model *m = open_fixture("llama");
    start_record();
    seen.signal_at = 3;
    tamis_interrupt_install();
    assert_int_equal(run(m, "llama", N_TOKENS, NULL, &err), TAMIS_INTERRUPTED);
    assert_int_equal(seen.n, 4);
    tamis_model_close(m);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_products_in_order),
        cmocka_unit_test(tied_head_is_not_observed),
        cmocka_unit_test(expert_products_in_order),
        cmocka_unit_test(inputs_are_normed),
        cmocka_unit_test(budget_changes_no_bit),
        cmocka_unit_test(bad_tokens_are_refused),
        cmocka_unit_test(observer_stops_the_pass),
        cmocka_unit_test(non_finite_weights_are_named),
        cmocka_unit_test(non_finite_activations_are_named),
        cmocka_unit_test(a_signal_stops_the_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
