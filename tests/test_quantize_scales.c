/* Scales beside nvfp4 weights: where they are made, what they hold, that weights times scale are
 * what the source says, and what becomes of scales that the source has. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/quantize.h"

enum { ROW = 128, N_ROWS = 6, N_EXPERTS = 3, N = ROW * N_ROWS, N_ALL = N * N_EXPERTS };

static const char *in_temp(const char *name) {
    static char path[6][4096];
    static int i;
    i = (i + 1) % 6;
    snprintf(path[i], sizeof path[i], "%s/%s", temp_dir(), name);
    return path[i];
}

static tamis_gguf *open_gguf(const char *path) {
    tamis_gguf *g;
    tamis_error err;
    if (tamis_gguf_open(path, NULL, &g, &err)) fail_msg("%s", err.message);
    return g;
}

/* --- models made here --- */

typedef struct made_tensor {
    const char *name;
    int n_dims;
    uint64_t ne[3];
    const float *values; /* F32 */
} made_tensor;

static const char *write_model(const char *name, const char *arch, const made_tensor *tensors,
                               int n_tensors) {
    const char *path = in_temp(name);
    tamis_gguf_writer *w;
    char key[64];
    snprintf(key, sizeof key, "%s.block_count", arch);
    assert_int_equal(tamis_gguf_writer_new(&w, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_set_string(w, "general.architecture", arch, strlen(arch), NULL), 0);
    assert_int_equal(tamis_gguf_set_uint(w, key, TAMIS_GGUF_U32, 2, NULL), TAMIS_OK);
    for (int i = 0; i < n_tensors; i++)
        assert_int_equal(tamis_gguf_add_tensor(w, tensors[i].name, TAMIS_TYPE_F32,
                                               tensors[i].n_dims, tensors[i].ne, NULL),
                         TAMIS_OK);
    assert_int_equal(tamis_gguf_begin(w, path, NULL), TAMIS_OK);
    for (int i = 0; i < n_tensors; i++) {
        uint64_t n = 1;
        for (int d = 0; d < tensors[i].n_dims; d++)
            n *= tensors[i].ne[d];
        assert_int_equal(tamis_gguf_write_data(w, tensors[i].values, n * 4, NULL), TAMIS_OK);
    }
    assert_int_equal(tamis_gguf_commit(w, NULL), TAMIS_OK);
    tamis_gguf_writer_free(w);
    return path;
}

static float dense[N], stack[N_ALL];

/* Weights of about 0.02 with a heavy tail; the experts 100 times apart, the second all zero. */
static void fill(float factor) {
    for (int i = 0; i < N_ALL; i++) {
        float x = 0.02f * sinf((float)i * 1.7f) + (i % 97 == 5 ? 0.07f : 0.0f);
        if (i < N) dense[i] = factor * x;
        stack[i] = factor * x * (i / N == 1 ? 0.0f : i / N == 2 ? 100.0f : 1.0f);
    }
}

static const made_tensor both[] = {
    {"blk.0.attn_q.weight", 2, {ROW, N_ROWS}, dense},
    {"blk.0.ffn_up_exps.weight", 3, {ROW, N_ROWS, N_EXPERTS}, stack},
};

/* --- runs and what they leave --- */

static tamis_status quantize(const char *input, const char *output, const char *type,
                             tamis_quantize_options o, int n_threads, uint64_t mem_bytes,
                             tamis_error *err) {
    tamis_gguf *g = open_gguf(input);
    tamis_quantize_plan *plan = NULL;
    tamis_budget budget;
    tamis_budget_init(&budget, mem_bytes);
    o.file_type = tamis_file_type_find(type);
    tamis_status st = tamis_quantize_plan_new(g, &o, &plan, err);
    if (st == TAMIS_OK) st = tamis_quantize_run(plan, output, n_threads, &budget, NULL, err);
    if (st == TAMIS_OK) {
        size_t n_bytes;
        free(slurp(output, &n_bytes));
        assert_int_equal(n_bytes, plan->file_bytes); /* known to the byte beforehand */
        assert_int_equal(budget.used_bytes, 0);
    }
    tamis_quantize_plan_free(plan);
    tamis_gguf_close(g);
    return st;
}

static void must(tamis_status st, const tamis_error *err) {
    if (st) fail_msg("%s", err->message);
}

/* The values of a tensor, decoded; NULL when there is none. */
static float *values_of(const tamis_gguf *g, const char *name) {
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, name);
    if (!t) return NULL;
    uint64_t n = tamis_tensor_n_elems(t);
    uint8_t *bytes = malloc(t->n_bytes);
    float *x = calloc(n, sizeof *x);
    assert_int_equal(tamis_gguf_read_tensor(g, t, 0, t->n_bytes, bytes, NULL), TAMIS_OK);
    tamis_decode(t->type, bytes, x, (int64_t)n);
    free(bytes);
    return x;
}

/* |x - scale * decoded| / |x| of one matrix. */
static double error_of(const float *x, const float *decoded, float scale) {
    double error = 0, norm = 0;
    for (int i = 0; i < N; i++) {
        double d = (double)x[i] - (double)decoded[i] * (double)scale;
        error += d * d;
        norm += (double)x[i] * (double)x[i];
    }
    return norm > 0 ? sqrt(error / norm) : error;
}

static void assert_type(const tamis_gguf *g, const char *name, const char *type) {
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, name);
    if (!t) fail_msg("no tensor '%s'", name);
    assert_string_equal(t->type->name, type);
}

/* --- tests --- */

/* Per expert; a zero matrix has scale 1; the block scales have room for half more. */
static void weights_times_scale_are_the_source(void **state) {
    (void)state;
    tamis_error err;
    fill(1);
    const char *in = write_model("m.gguf", "llama", both, 2), *out = in_temp("o.gguf");
    must(quantize(in, out, "NVFP4", (tamis_quantize_options){0}, 2, 0, &err), &err);
    tamis_gguf *g = open_gguf(out);
    int64_t file_type;
    assert_int_equal(tamis_gguf_get_int(g, "general.file_type", 0, 99, -1, &file_type, NULL), 0);
    assert_int_equal(file_type, 39);
    assert_int_equal(tamis_gguf_n_tensors(g), 4);
    assert_type(g, both[0].name, "nvfp4");
    assert_type(g, both[1].name, "nvfp4");
    assert_int_equal(tamis_gguf_find_tensor(g, "blk.0.ffn_up_exps.scale")->ne[0], N_EXPERTS);
    assert_int_equal(tamis_gguf_find_tensor(g, "blk.0.attn_q.scale")->ne[0], 1);
    float *scale = values_of(g, "blk.0.attn_q.scale"), *w = values_of(g, both[0].name);
    float *scales = values_of(g, "blk.0.ffn_up_exps.scale"), *ws = values_of(g, both[1].name);
    float top = 0;
    for (int i = 0; i < N; i++)
        top = fmaxf(top, fabsf(dense[i]));
    assert_true(top / scale[0] > 6 * 448 / 3.0f && top / scale[0] <= 6 * 448 / 1.5f);
    assert_true(error_of(dense, w, scale[0]) < 0.12);
    assert_true(scales[0] == scale[0] && scales[1] == 1 && scales[2] > 50 * scale[0]);
    for (int e = 0; e < N_EXPERTS; e++)
        assert_true(error_of(stack + e * N, ws + e * N, scales[e]) < 0.12);
    free(scale);
    free(w);
    free(scales);
    free(ws);
    tamis_gguf_close(g);
}

/* Powers of two go into the scale alone, however small or large they are. */
static void powers_of_two_change_the_scale_only(void **state) {
    (void)state;
    static const float factors[] = {1, 0x1p-20f, 0x1p30f, 0x1p-100f, 0x1p120f};
    tamis_error err;
    float first = 0, *first_w = NULL;
    for (size_t k = 0; k < sizeof factors / sizeof *factors; k++) {
        fill(factors[k]);
        const char *in = write_model("m.gguf", "llama", both, 1), *out = in_temp("o.gguf");
        must(quantize(in, out, "NVFP4", (tamis_quantize_options){0}, 1, 0, &err), &err);
        tamis_gguf *g = open_gguf(out);
        float *scale = values_of(g, "blk.0.attn_q.scale"), *w = values_of(g, both[0].name);
        if (k == 0) {
            first = scale[0];
            first_w = w;
        } else {
            assert_true(scale[0] == first * factors[k]);
            assert_memory_equal(w, first_w, N * sizeof *w);
            free(w);
        }
        free(scale);
        tamis_gguf_close(g);
    }
    free(first_w);
}

static void same_bytes_for_any_threads_and_memory(void **state) {
    (void)state;
    tamis_error err;
    size_t n_first, n;
    char *first = NULL;
    fill(1);
    const char *in = write_model("m.gguf", "llama", both, 2), *out = in_temp("o.gguf");
    for (int i = 0; i < 4; i++) {
        uint64_t mem = i % 2 ? 4 << 20 : 0;
        must(quantize(in, out, "NVFP4", (tamis_quantize_options){0}, i + 1, mem, &err), &err);
        char *bytes = slurp(out, i ? &n : &n_first);
        if (i == 0) first = bytes;
        if (i == 0) continue;
        assert_int_equal(n, n_first);
        assert_memory_equal(bytes, first, n);
        free(bytes);
    }
    free(first);
}

/* Without a scale the blocks hold everything, and the file has no other tensors. */
static void folds_where_no_scale_is_applied(void **state) {
    (void)state;
    tamis_error err;
    fill(1);
    const char *out = in_temp("o.gguf");
    must(quantize(write_model("m.gguf", "no-such", both, 2), out, "NVFP4",
                  (tamis_quantize_options){0}, 1, 0, &err),
         &err);
    tamis_gguf *g = open_gguf(out);
    assert_int_equal(tamis_gguf_n_tensors(g), 2);
    float *w = values_of(g, both[0].name);
    double folded = error_of(dense, w, 1);
    assert_true(folded < 0.2);
    free(w);
    tamis_gguf_close(g);
    must(quantize(write_model("m.gguf", "llama", both, 2), out, "NVFP4",
                  (tamis_quantize_options){0}, 1, 0, &err),
         &err);
    g = open_gguf(out);
    w = values_of(g, both[0].name);
    float *scale = values_of(g, "blk.0.attn_q.scale");
    assert_true(error_of(dense, w, scale[0]) < folded);
    free(scale);
    free(w);
    tamis_gguf_close(g);
}

/* Encoded anew, a weight is multiplied by its scale, and the scale is gone; a copy keeps both. */
static void takes_the_scale_of_the_source_in(void **state) {
    (void)state;
    static const char *const types[] = {"F32", "Q8_0", "Q5_K_S", "COPY", "Q4_0"};
    tamis_error err;
    fill(1);
    const char *in = write_model("m.gguf", "llama", both, 2), *nv = in_temp("nv.gguf");
    must(quantize(in, nv, "NVFP4", (tamis_quantize_options){0}, 1, 0, &err), &err);
    for (int i = 0; i < 5; i++) {
        const char *out = in_temp("o.gguf");
        const bool anew = i < 3;
        must(quantize(nv, out, types[i], (tamis_quantize_options){.allow_requantize = anew}, 1, 0,
                      &err),
             &err);
        tamis_gguf *g = open_gguf(out);
        assert_int_equal(tamis_gguf_n_tensors(g), anew ? 2 : 4);
        float *w = values_of(g, both[0].name), *ws = values_of(g, both[1].name);
        float *scale = values_of(g, "blk.0.attn_q.scale");
        assert_true(anew == !scale);
        assert_true(error_of(dense, w, scale ? scale[0] : 1) < 0.13);
        if (anew) assert_true(error_of(stack + 2 * N, ws + 2 * N, 1) < 0.13);
        free(w);
        free(ws);
        free(scale);
        tamis_gguf_close(g);
    }
}

/* Scales beside F32: they go into the weights that get a scale, and stay beside the others. */
static void scales_beside_other_types(void **state) {
    (void)state;
    static const float four[] = {4}, of_experts[] = {2, 2, 8}, input[] = {9};
    const made_tensor tensors[] = {
        both[0],
        {"blk.0.attn_q.scale", 1, {1}, four},
        {"blk.0.attn_q.input_scale", 1, {1}, input},
        both[1],
        {"blk.0.ffn_up_exps.scale", 1, {N_EXPERTS}, of_experts},
    };
    tamis_error err;
    fill(1);
    const char *out = in_temp("o.gguf");
    must(quantize(write_model("m.gguf", "llama", tensors, 5), out, "NVFP4",
                  (tamis_quantize_options){0}, 1, 0, &err),
         &err);
    tamis_gguf *g = open_gguf(out);
    assert_int_equal(tamis_gguf_n_tensors(g), 4);
    float *w = values_of(g, both[0].name), *scale = values_of(g, "blk.0.attn_q.scale");
    float *ws = values_of(g, both[1].name), *scales = values_of(g, "blk.0.ffn_up_exps.scale");
    assert_true(error_of(dense, w, scale[0] / 4) < 0.12);
    assert_true(error_of(stack + 2 * N, ws + 2 * N, scales[2] / 8) < 0.12);
    free(w);
    free(ws);
    free(scale);
    free(scales);
    tamis_gguf_close(g);
    must(quantize(write_model("m.gguf", "llama", tensors, 5), out, "Q8_0",
                  (tamis_quantize_options){0}, 1, 0, &err),
         &err);
    g = open_gguf(out);
    assert_int_equal(tamis_gguf_n_tensors(g), 5);
    scale = values_of(g, "blk.0.attn_q.scale");
    assert_true(scale[0] == 4);
    free(scale);
    tamis_gguf_close(g);
}

static void refuses_scales_that_are_no_scales(void **state) {
    (void)state;
    static const float two[] = {1, 2}, nan_value[] = {NAN};
    const struct {
        made_tensor scale;
        const char *says[2];
    } rows[] = {
        {{"blk.0.attn_q.scale", 1, {2}, two}, {"'blk.0.attn_q.scale'", "holds 2"}},
        {{"blk.0.attn_q.scale", 1, {1}, nan_value}, {"'blk.0.attn_q.scale'", "nan"}},
        {{"blk.0.ffn_up_exps.scale", 1, {2}, two}, {"should hold 3", "holds 2"}},
    };
    fill(1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tamis_error err = {0};
        const made_tensor tensors[] = {both[0], both[1], rows[i].scale};
        tamis_status st = quantize(write_model("m.gguf", "llama", tensors, 3), in_temp("o.gguf"),
                                   "NVFP4", (tamis_quantize_options){0}, 1, 0, &err);
        if (st != TAMIS_BAD_INPUT || !strstr(err.message, rows[i].says[0]) ||
            !strstr(err.message, rows[i].says[1]))
            fail_msg("row %zu: status %d, \"%s\"", i, st, err.message);
    }
}

static void names_a_weight_that_is_not_finite(void **state) {
    (void)state;
    tamis_error err = {0};
    fill(1);
    dense[3 * ROW + 7] = INFINITY;
    tamis_status st = quantize(write_model("m.gguf", "llama", both, 2), in_temp("o.gguf"), "NVFP4",
                               (tamis_quantize_options){0}, 2, 0, &err);
    assert_int_equal(st, TAMIS_BAD_INPUT);
    assert_non_null(strstr(err.message, "'blk.0.attn_q.weight', row 3"));
}

/* Which weights of each architecture get one: as its readers were seen to apply it. */
static void makes_scales_where_readers_apply_them(void **state) {
    (void)state;
    static const struct {
        const char *model, *weight;
        int is_scaled;
    } rows[] = {
        {"qwen3", "blk.0.attn_q", 1},
        {"qwen3", "blk.1.ffn_down", 1},
        {"qwen3", "token_embd", 0},
        {"llama", "blk.0.attn_output", 1},
        {"llama", "blk.0.ffn_gate", 1},
        {"qwen3moe", "blk.0.ffn_down_exps", 1},
        {"qwen2", "blk.0.attn_v", 1},
        {"qwen2", "blk.0.ffn_up", 0},
        {"qwen2moe", "blk.0.ffn_up_exps", 0},
        {"qwen2moe", "blk.0.ffn_up_shexp", 0},
        {"qwen3next", "blk.0.attn_qkv", 0},
        {"qwen3next", "blk.0.attn_gate", 0},
        {"qwen3next", "blk.0.ssm_out", 0},
        {"qwen3next", "blk.0.ffn_up_shexp", 1},
        {"qwen35", "blk.0.attn_qkv", 1},
        {"qwen35", "blk.0.ssm_out", 1},
        {"qwen35moe", "blk.0.ffn_up_exps", 1},
        {"deepseek2", "blk.1.ffn_up_exps", 0},
        {"llama-bias", "blk.0.ffn_up", 0},
        {"llama-bias", "blk.0.attn_q", 1},
        {"qwen35-mtp", "blk.3.attn_q", 1},
        {"qwen35-mtp", "blk.4.attn_q", 0},
        {"gemma3", "blk.0.attn_k", 1},
        {"gemma3", "blk.0.ffn_up", 0},
        {"gemma4", "blk.0.ffn_up", 1},
    };
    const char *rule = "weight=nvfp4";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[64];
        tamis_error err;
        tamis_gguf *g = open_gguf(shared_path("fixtures/arch/%s.gguf", rows[i].model));
        tamis_quantize_plan *plan;
        const tamis_quantize_options o = {
            .file_type = tamis_file_type_find("Q4_0"), .rules = &rule, .n_rules = 1};
        must(tamis_quantize_plan_new(g, &o, &plan, &err), &err);
        int n_weights = 0, n_scales = 0;
        for (int64_t k = 0; k < plan->n_steps; k++) {
            const tamis_quantize_step *s = &plan->steps[k];
            snprintf(name, sizeof name, "%s.weight", rows[i].weight);
            n_weights += !strcmp(s->name, name) && !strcmp(s->type->name, "nvfp4");
            snprintf(name, sizeof name, "%s.scale", rows[i].weight);
            n_scales += !strcmp(s->name, name) && s->is_made;
        }
        if (n_weights != 1 || n_scales != rows[i].is_scaled)
            fail_msg("%s, %s: %d weights in nvfp4, %d scales", rows[i].model, rows[i].weight,
                     n_weights, n_scales);
        tamis_quantize_plan_free(plan);
        tamis_gguf_close(g);
    }
}

int main(void) {
    require_shared();
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_times_scale_are_the_source),
        cmocka_unit_test(powers_of_two_change_the_scale_only),
        cmocka_unit_test(same_bytes_for_any_threads_and_memory),
        cmocka_unit_test(folds_where_no_scale_is_applied),
        cmocka_unit_test(takes_the_scale_of_the_source_in),
        cmocka_unit_test(scales_beside_other_types),
        cmocka_unit_test(refuses_scales_that_are_no_scales),
        cmocka_unit_test(names_a_weight_that_is_not_finite),
        cmocka_unit_test(makes_scales_where_readers_apply_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
