/* test_imatrix_all_experts.c - every token through every expert for the statistics: counts are all
 * tokens, sums are those of a brute force, and the model's own result keeps its bits. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "imatrix/collect.h"
#include "model/pass.h"

enum { LAYER = 1 };

/* What a pass is seen to do: the input of layer 1's experts, and the end. */
typedef struct record {
    float *x, *final; /* [n_tokens][n_embd] */
    int64_t n_embd;
} record;

static tamis_status on_product(void *ctx, const tamis_product *p, tamis_error *err) {
    (void)err;
    record *r = ctx;
    if (p->layer == LAYER && strstr(p->names[0], "ffn_gate") && strstr(p->names[0], "_exps") &&
        p->expert == 0)
        for (int64_t i = 0; i < p->n_tokens; i++)
            memcpy(r->x + (p->tokens ? p->tokens[i] : p->first_token + i) * p->d_in,
                   p->x + i * p->d_in, (size_t)p->d_in * sizeof *p->x);
    return TAMIS_OK;
}

static tamis_status on_final(void *ctx, int64_t first, int64_t n, const float *h,
                             tamis_error *err) {
    (void)err;
    record *r = ctx;
    memcpy(r->final + first * r->n_embd, h, (size_t)(n * r->n_embd) * sizeof *h);
    return TAMIS_OK;
}

typedef struct result {
    tamis_imatrix matrix;
    record record;
    int64_t n_tokens;
} result;

static result collect(tamis_model *m, const char *name, bool all_experts, int n_threads) {
    tamis_error err;
    size_t n_bytes;
    char *tokens = slurp(shared_path("fixtures/arch/%s.tokens", name), &n_bytes);
    result r = {.n_tokens = (int64_t)(n_bytes / sizeof(int32_t)),
                .record = {.n_embd = tamis_model_n_embd(m)}};
    r.record.x = calloc((size_t)(r.n_tokens * r.record.n_embd), sizeof(float));
    r.record.final = calloc((size_t)(r.n_tokens * r.record.n_embd), sizeof(float));
    tamis_pool *pool = NULL;
    assert_int_equal(tamis_pool_new(n_threads, &pool, &err), TAMIS_OK);
    const tamis_collector_text text = {r.n_tokens, 1.0};
    tamis_collector *c = NULL;
    assert_int_equal(tamis_collector_new(&text, 1, false, pool, &c, &err), TAMIS_OK);
    const tamis_observer observers[] = {
        tamis_collector_observer(c),
        {.ctx = &r.record, .on_product = on_product, .on_final = on_final},
    };
    const tamis_pass_options options = {.pool = pool, .all_experts = all_experts};
    if (tamis_pass_run(m, (const int32_t *)tokens, r.n_tokens, r.n_tokens / 3, &options, observers,
                       2, &err))
        fail_msg("%s: %s", name, err.message);
    tamis_imatrix_init(&r.matrix);
    assert_int_equal(tamis_collector_finish(c, &r.matrix, &err), TAMIS_OK);
    tamis_imatrix_sort(&r.matrix);
    tamis_collector_free(c);
    tamis_pool_free(pool);
    free(tokens);
    return r;
}

static void release(result *r) {
    tamis_imatrix_release(&r->matrix);
    free(r->record.x);
    free(r->record.final);
}

static const tamis_imatrix_entry *entry(const result *r, const char *stem) {
    char name[96];
    snprintf(name, sizeof name, "blk.%d.%s.weight", LAYER, stem);
    const tamis_imatrix_entry *e = tamis_imatrix_find(&r->matrix, name);
    if (!e) fail_msg("no entry '%s'", name);
    return e;
}

/* Rows of one matrix of a stack, [n][ne0]. */
static float *rows_of(const tamis_model *m, const char *stem, uint64_t expert) {
    char name[96];
    snprintf(name, sizeof name, "blk.%d.%s.weight", LAYER, stem);
    const tamis_gguf *g = tamis_model_gguf(m);
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, name);
    uint64_t n_bytes = t->ne[1] * tamis_tensor_row_bytes(t);
    uint8_t *bytes = malloc(n_bytes);
    float *w = malloc(t->ne[0] * t->ne[1] * sizeof *w);
    assert_int_equal(tamis_gguf_read_tensor(g, t, expert * n_bytes, n_bytes, bytes, NULL), 0);
    tamis_decode(t->type, bytes, w, (int64_t)(t->ne[0] * t->ne[1]));
    free(bytes);
    return w;
}

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static void near(const char *what, uint64_t expert, uint64_t column, double found,
                 double expected) {
    if (!(fabs(found - expected) <= 1e-5 * expected))
        fail_msg("%s, expert %llu, column %llu: %.9g, expected %.9g", what,
                 (unsigned long long)expert, (unsigned long long)column, found, expected);
}

/* qwen2moe: SwiGLU, separate gate and up. */
static void sums_are_of_all_tokens(void **state) {
    (void)state;
    tamis_error err;
    tamis_model *m = NULL;
    assert_int_equal(
        tamis_model_open(shared_path("fixtures/arch/qwen2moe.gguf"), NULL, &m, &err), TAMIS_OK);
    result r = collect(m, "qwen2moe", true, 2);
    const tamis_imatrix_entry *in = entry(&r, "ffn_up_exps"), *down = entry(&r, "ffn_down_exps");
    const tamis_imatrix_entry *inp = entry(&r, "ffn_gate_inp");
    const int64_t d = r.record.n_embd;
    const uint64_t n_ff = down->n_values / down->n_counts;
    for (uint64_t e = 0; e < down->n_counts; e++) {
        float *gate = rows_of(m, "ffn_gate_exps", e), *up = rows_of(m, "ffn_up_exps", e);
        for (uint64_t k = 0; k < n_ff; k++) {
            double sum = 0;
            for (int64_t i = 0; i < r.n_tokens; i++) {
                double g = dot(gate + (int64_t)k * d, r.record.x + i * d, d);
                double a = g / (1 + exp(-g)) * dot(up + (int64_t)k * d, r.record.x + i * d, d);
                sum += a * a;
            }
            near("ffn_down_exps", e, k, (double)down->sums[e * n_ff + k], sum);
        }
        for (int64_t k = 0; k < d; k++)
            near("ffn_up_exps", e, (uint64_t)k, (double)in->sums[(int64_t)e * d + k],
                 (double)inp->sums[k]);
        free(gate);
        free(up);
    }
    release(&r);
    tamis_model_close(m);
}

/* Counts, and every bit of the result; also with gate and up in one weight (gemma4moe), with biases
 * (gpt-oss), and with dense layers before (deepseek2). */
static void the_result_stays(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2moe", "gemma4moe", "gpt-oss", "deepseek2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tamis_error err;
        tamis_model *m = NULL;
        if (tamis_model_open(shared_path("fixtures/arch/%s.gguf", names[i]), NULL, &m, &err))
            fail_msg("%s", err.message);
        result plain = collect(m, names[i], false, 2), all = collect(m, names[i], true, 1);
        assert_memory_equal(plain.record.final, all.record.final,
                            (size_t)(plain.n_tokens * plain.record.n_embd) * sizeof(float));
        assert_int_equal(plain.matrix.n_entries, all.matrix.n_entries);
        int64_t n_stacks = 0;
        for (uint64_t k = 0; k < all.matrix.n_entries; k++) {
            const tamis_imatrix_entry *e = &all.matrix.entries[k], *p = &plain.matrix.entries[k];
            assert_string_equal(e->name, p->name);
            for (uint64_t j = 0; j < e->n_counts; j++)
                if (e->counts[j] != (double)all.n_tokens)
                    fail_msg("%s: %s: count %g", names[i], e->name, e->counts[j]);
            n_stacks += e->n_counts > 1;
            if (e->n_counts == 1)
                assert_memory_equal(e->sums, p->sums, e->n_values * sizeof *e->sums);
        }
        assert_true(n_stacks > 0);
        release(&plain);
        release(&all);
        tamis_model_close(m);
    }
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_of_all_tokens),
        cmocka_unit_test(the_result_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
