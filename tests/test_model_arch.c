/* test_model_arch.c - every architecture against reference values: the residual stream after each
 * layer, the final hidden state, and the logits; the same bits from one and two threads. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/head.h"
#include "model/pass.h"

typedef struct fixture {
    const char *name;
    int has_long;
} fixture;

static const fixture fixtures[] = {
    {"gemma4", 1}, {"gemma3", 1}, {"gemma4moe", 1}, {"gpt-oss", 1},
    {"qwen3", 0}, {"llama-bias", 0}, {"llama-yarn", 1},   {"mixtral", 0},
    {"qwen2", 0}, {"llama", 0},      {"qwen3-scales", 0}, {"qwen3moe", 0},
    {"qwen2moe", 0}, {"glm4moe", 0}, {"deepseek2", 1},
    {"qwen35", 1}, {"qwen35-mtp", 1}, {"qwen35moe", 1},   {"qwen35moe-mtp", 1},
    {"qwen3next", 1},
};
enum { N_FIXTURES = sizeof fixtures / sizeof fixtures[0] };
enum { LAYER_TOKENS = 8, LONG_ROWS = 32 };

static const double tolerance = 2e-4;

/* What a pass is seen to do. */
typedef struct record {
    int64_t n_tokens, n_embd;
    float *layers; /* [n_layers + 1][LAYER_TOKENS][n_embd] */
    float *final;  /* [n_tokens][n_embd] */
    int64_t n_layers;
} record;

static void keep_last(record *r, int64_t slot, int64_t first, int64_t n, const float *h) {
    for (int64_t i = 0; i < n; i++) {
        int64_t at = first + i - (r->n_tokens - LAYER_TOKENS);
        if (at >= 0)
            memcpy(r->layers + (slot * LAYER_TOKENS + at) * r->n_embd, h + i * r->n_embd,
                   (size_t)r->n_embd * sizeof *h);
    }
}

static tamis_status on_layer(void *ctx, int64_t layer, int64_t first, int64_t n, const float *h,
                             tamis_error *err) {
    (void)err;
    keep_last(ctx, layer, first, n, h);
    return TAMIS_OK;
}

static tamis_status on_final(void *ctx, int64_t first, int64_t n, const float *h,
                             tamis_error *err) {
    (void)err;
    record *r = ctx;
    keep_last(r, r->n_layers, first, n, h);
    memcpy(r->final + first * r->n_embd, h, (size_t)(n * r->n_embd) * sizeof *h);
    return TAMIS_OK;
}

static tamis_model *open_model(const char *name) {
    tamis_error err;
    tamis_model *m = NULL;
    if (tamis_model_open(shared_path("fixtures/arch/%s.gguf", name), NULL, &m, &err))
        fail_msg("%s: %s", name, err.message);
    return m;
}

static record run(tamis_model *m, const int32_t *tokens, int64_t n_tokens, int64_t n_ctx,
                  int n_threads) {
    tamis_error err;
    tamis_pool *pool = NULL;
    assert_int_equal(tamis_pool_new(n_threads, &pool, &err), TAMIS_OK);
    record r = {.n_tokens = n_tokens, .n_embd = tamis_model_n_embd(m),
                .n_layers = tamis_model_n_layers(m)};
    r.layers = calloc((size_t)((r.n_layers + 1) * LAYER_TOKENS * r.n_embd), sizeof(float));
    r.final = calloc((size_t)(n_tokens * r.n_embd), sizeof(float));
    tamis_observer observer = {.ctx = &r, .on_layer = on_layer, .on_final = on_final};
    tamis_pass_options options = {.pool = pool};
    if (tamis_pass_run(m, tokens, n_tokens, n_ctx, &options, &observer, 1, &err))
        fail_msg("%s", err.message);
    tamis_pool_free(pool);
    return r;
}

static void release(record *r) {
    free(r->layers);
    free(r->final);
}

/* Logits of the last n_rows tokens, by tiles of the vocabulary that do not divide it. */
static float *logits_of(tamis_model *m, const record *r, int64_t n_rows) {
    enum { TILE = 100 };
    tamis_error err;
    tamis_head *head = NULL;
    tamis_gemm *gemm = NULL;
    assert_int_equal(tamis_head_open(m, &head, &err), TAMIS_OK);
    assert_int_equal(tamis_gemm_new(NULL, &gemm, &err), TAMIS_OK);
    int64_t n_vocab = tamis_head_n_vocab(head);
    float *logits = calloc((size_t)(n_rows * n_vocab), sizeof(float));
    float *w = calloc((size_t)(TILE * r->n_embd), sizeof(float));
    float *tile = calloc((size_t)(TILE * n_rows), sizeof(float));
    for (int64_t first = 0; first < n_vocab; first += TILE) {
        int64_t n = n_vocab - first < TILE ? n_vocab - first : TILE;
        assert_int_equal(tamis_head_decode(head, NULL, first, n, w, &err), TAMIS_OK);
        tamis_head_logits(head, gemm, NULL, w, first, n,
                          r->final + (r->n_tokens - n_rows) * r->n_embd, n_rows, tile);
        for (int64_t i = 0; i < n_rows; i++)
            memcpy(logits + i * n_vocab + first, tile + i * n, (size_t)n * sizeof *tile);
    }
    free(w);
    free(tile);
    tamis_gemm_free(gemm);
    tamis_head_close(head);
    return logits;
}

/* The greatest difference is within the tolerance of the greatest magnitude expected. */
static void compare(const char *what, const char *name, const float *found, const float *expected,
                    int64_t n) {
    double largest = 0.0, worst = 0.0;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs((double)found[i] - (double)expected[i]);
        if (!(difference <= worst)) worst = difference, at = i;
        if (fabs((double)expected[i]) > largest) largest = fabs((double)expected[i]);
    }
    if (getenv("TAMIS_SHOW")) print_message("%-14s %-8s %.2e\n", name, what, worst / largest);
    if (!(worst <= tolerance * largest))
        fail_msg("%s %s: element %lld is %g, expected %g; off by %.3g of the largest %g", name,
                 what, (long long)at, (double)found[at], (double)expected[at], worst / largest,
                 largest);
}

static void check_logits(const fixture *f, const char *kind, int64_t n_rows) {
    size_t n_bytes;
    char *tokens = slurp(shared_path("fixtures/arch/%s%s.tokens", f->name, kind), &n_bytes);
    int64_t n_tokens = (int64_t)(n_bytes / sizeof(int32_t));
    if (n_rows == 0) n_rows = n_tokens;
    tamis_model *m = open_model(f->name);
    record r = run(m, (const int32_t *)tokens, n_tokens, n_tokens, 2);
    float *logits = logits_of(m, &r, n_rows);
    int64_t n_logits = n_rows * tamis_model_n_vocab(m);
    char *expected = slurp(shared_path("fixtures/arch/%s%s.logits.f32", f->name, kind), &n_bytes);
    assert_int_equal(n_bytes, (size_t)n_logits * sizeof(float));
    compare(*kind ? "long" : "logits", f->name, logits, (const float *)expected, n_logits);
    if (!*kind) {
        char *layers = slurp(shared_path("fixtures/arch/%s.layers.f32", f->name), &n_bytes);
        int64_t n = LAYER_TOKENS * r.n_embd;
        assert_int_equal(n_bytes, (size_t)((r.n_layers + 1) * n) * sizeof(float));
        for (int64_t i = 0; i <= r.n_layers; i++)
            compare("layers", f->name, r.layers + i * n, (const float *)layers + i * n, n);
        free(layers);
    }
    free(tokens);
    free(logits);
    free(expected);
    release(&r);
    tamis_model_close(m);
}

static void logits_and_layers(void **state) {
    (void)state;
    for (int i = 0; i < N_FIXTURES; i++) check_logits(&fixtures[i], "", 0);
}

static void long_sequences(void **state) {
    (void)state;
    for (int i = 0; i < N_FIXTURES; i++)
        if (fixtures[i].has_long) check_logits(&fixtures[i], ".long", LONG_ROWS);
}

/* Every third model; 1500 tokens: as one sequence they go through in two pieces, as 15 sequences
 * in two tiles. */
static void threads_do_not_matter(void **state) {
    (void)state;
    enum { N = 1500 };
    static int32_t tokens[N];
    const int64_t contexts[] = {N, 100};
    for (int i = 0; i < N; i++) tokens[i] = (i * 37 + i / 11) % 320;
    for (int i = 0; i < N_FIXTURES; i += 3) {
        tamis_model *m = open_model(fixtures[i].name);
        for (int c = 0; c < 2; c++) {
            record one = run(m, tokens, N, contexts[c], 1);
            for (int n_threads = 2; n_threads <= 3; n_threads++) {
                record more = run(m, tokens, N, contexts[c], n_threads);
                assert_memory_equal(one.final, more.final,
                                    (size_t)(N * one.n_embd) * sizeof(float));
                release(&more);
            }
            release(&one);
        }
        tamis_model_close(m);
    }
}

/* Each sequence starts anew: a batch of sequences gives what each gives alone. */
static void sequences_are_apart(void **state) {
    (void)state;
    size_t n_bytes;
    for (int i = 0; i < N_FIXTURES; i++) {
        char *text = slurp(shared_path("fixtures/arch/%s.tokens", fixtures[i].name), &n_bytes);
        const int32_t *tokens = (const int32_t *)text;
        tamis_model *m = open_model(fixtures[i].name);
        record all = run(m, tokens, 96, 32, 2), last = run(m, tokens + 64, 32, 32, 2);
        compare("alone", fixtures[i].name, all.final + 64 * all.n_embd, last.final,
                32 * all.n_embd);
        release(&all);
        release(&last);
        tamis_model_close(m);
        free(text);
    }
}

/* A long sequence that goes through in two pieces of 750 begins as a shorter one in one piece. */
static void pieces_join(void **state) {
    (void)state;
    enum { N = 1500, SHORT = 900 };
    static int32_t tokens[N];
    for (int i = 0; i < N; i++) tokens[i] = (i * 53 + i / 7) % 320;
    for (int i = 0; i < N_FIXTURES; i += 2) {
        tamis_model *m = open_model(fixtures[i].name);
        record all = run(m, tokens, N, N, 2), begin = run(m, tokens, SHORT, SHORT, 2);
        compare("pieces", fixtures[i].name, all.final, begin.final, SHORT * all.n_embd);
        release(&all);
        release(&begin);
        tamis_model_close(m);
    }
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_layers),
        cmocka_unit_test(long_sequences),
        cmocka_unit_test(sequences_are_apart),
        cmocka_unit_test(pieces_join),
        cmocka_unit_test(threads_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
