/* Whole runs of the quantizer: the same bytes however it is run, sizes as planned, errors as small
 * as the type allows, keys, and what is refused without leaving anything behind. */
#include "support.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "quantize/quantize.h"

static tamis_gguf *open_gguf(const char *path) {
    tamis_gguf *g;
    tamis_error err;
    if (tamis_gguf_open(path, NULL, &g, &err)) fail_msg("%s", err.message);
    return g;
}

/* Status of a whole run. */
static tamis_status quantize(const char *input, const char *output, const char *type,
                             tamis_quantize_options o, int n_threads, uint64_t mem_bytes,
                             tamis_error *err) {
    tamis_gguf *g = NULL;
    tamis_quantize_plan *plan = NULL;
    tamis_budget budget;
    tamis_budget_init(&budget, mem_bytes);
    o.file_type = tamis_file_type_find(type);
    assert_non_null(o.file_type);
    tamis_status st = tamis_gguf_open(input, NULL, &g, err);
    if (st == TAMIS_OK) st = tamis_quantize_plan_new(g, &o, &plan, err);
    if (st == TAMIS_OK) st = tamis_quantize_run(plan, output, n_threads, &budget, NULL, err);
    if (st == TAMIS_OK) {
        size_t n_bytes;
        free(slurp(output, &n_bytes));
        assert_int_equal(n_bytes, plan->file_bytes);
        assert_int_equal(budget.used_bytes, 0);
    }
    tamis_quantize_plan_free(plan);
    tamis_gguf_close(g);
    return st;
}

static const char *out_path(const char *name) {
    static char path[2][4096];
    static int i;
    i = !i;
    snprintf(path[i], sizeof path[i], "%s/%s", temp_dir(), name);
    return path[i];
}

static void must(tamis_status st, const tamis_error *err) {
    if (st) fail_msg("%s", err->message);
}

static void assert_same_file(const char *a, const char *b) {
    size_t na, nb;
    char *da = slurp(a, &na), *db = slurp(b, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(da, db, na);
    free(da);
    free(db);
}

static void same_bytes_for_any_threads_and_memory(void **state) {
    (void)state;
    static const char *const names[] = {"mixtral", "qwen3"};
    for (int i = 0; i < 2; i++) {
        char imatrix[4096];
        tamis_error err;
        snprintf(imatrix, sizeof imatrix, "%s",
                 shared_path("fixtures/imatrix/%s.c128.gguf", names[i]));
        const tamis_quantize_options o = {.imatrix_path = imatrix};
        const char *in = shared_path("fixtures/arch/%s.gguf", names[i]);
        const char *a = out_path("a.gguf"), *b = out_path("b.gguf");
        must(quantize(in, a, "Q4_K_M", o, 1, 0, &err), &err);
        must(quantize(in, b, "Q4_K_M", o, 3, 0, &err), &err);
        assert_same_file(a, b);
        must(quantize(in, b, "Q4_K_M", o, 2, 4 << 20, &err), &err);
        assert_same_file(a, b);
    }
}

/* Relative root-mean-square error of the encoded tensors; copied ones must be equal. */
static double relative_error(const tamis_gguf *a, const tamis_gguf *b) {
    double sum = 0, sum_error = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(a); i++) {
        const tamis_gguf_tensor *ta = tamis_gguf_tensor_at(a, i);
        const tamis_gguf_tensor *tb = tamis_gguf_find_tensor(b, ta->name);
        assert_non_null(tb);
        int64_t n = (int64_t)tamis_tensor_n_elems(ta);
        uint8_t *da = malloc(ta->n_bytes), *db = malloc(tb->n_bytes);
        float *xa = calloc((size_t)n, sizeof *xa), *xb = calloc((size_t)n, sizeof *xb);
        assert_int_equal(tamis_gguf_read_tensor(a, ta, 0, ta->n_bytes, da, NULL), TAMIS_OK);
        assert_int_equal(tamis_gguf_read_tensor(b, tb, 0, tb->n_bytes, db, NULL), TAMIS_OK);
        if (ta->type == tb->type) assert_memory_equal(da, db, ta->n_bytes);
        tamis_decode(ta->type, da, xa, n);
        tamis_decode(tb->type, db, xb, n);
        for (int64_t k = 0; k < n && ta->type != tb->type; k++) {
            sum += (double)xa[k] * (double)xa[k];
            sum_error += ((double)xa[k] - (double)xb[k]) * ((double)xa[k] - (double)xb[k]);
        }
        free(da);
        free(db);
        free(xa);
        free(xb);
    }
    return sum > 0 ? sqrt(sum_error / sum) : 0;
}

static void every_type_is_as_near_as_its_bits_allow(void **state) {
    (void)state;
    static const struct {
        const char *type;
        double error_max;
    } rows[] = {
        {"Q2_K", 0.25},   {"Q3_K_S", 0.18}, {"Q3_K_M", 0.14}, {"Q3_K_L", 0.13}, {"Q4_0", 0.10},
        {"Q4_1", 0.09},   {"Q4_K_S", 0.08}, {"Q4_K_M", 0.08}, {"Q5_0", 0.05},   {"Q5_1", 0.045},
        {"Q5_K_S", 0.04}, {"Q5_K_M", 0.04}, {"Q6_K", 0.02},   {"Q8_0", 0.007},  {"IQ4_NL", 0.09},
        {"IQ3_S", 0.15},  {"IQ3_M", 0.15},  {"TQ1_0", 0.5},   {"TQ2_0", 0.5},   {"Q1_0", 0.7},
        {"Q2_0", 0.4},    {"MXFP4_MOE", 0.007},
        {"IQ4_XS", 0.09}, {"F16", 0.0005},  {"BF16", 0.0},    {"F32", 0.0},     {"COPY", 0.0},
    };
    char in[4096];
    snprintf(in, sizeof in, "%s", shared_path("models/tiny-qwen3.gguf"));
    tamis_gguf *a = open_gguf(in);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tamis_error err;
        const char *out = out_path("t.gguf");
        must(quantize(in, out, rows[i].type, (tamis_quantize_options){0}, 2, 0, &err), &err);
        tamis_gguf *b = open_gguf(out);
        double e = relative_error(a, b);
        tamis_gguf_close(b);
        if (!(e <= rows[i].error_max))
            fail_msg("%s: relative error %.4f, at most %.4f wanted", rows[i].type, e,
                     rows[i].error_max);
    }
    tamis_gguf_close(a);
}

static void assert_text(const tamis_gguf *g, const char *key, const char *value) {
    tamis_bytes text;
    assert_int_equal(tamis_gguf_get_string(g, key, &text, NULL), TAMIS_OK);
    if (!text.data || text.n_bytes != strlen(value) || memcmp(text.data, value, text.n_bytes))
        fail_msg("%s is \"%.*s\", not \"%s\"", key, (int)text.n_bytes, text.data ? text.data : "",
                 value);
}

static void assert_int(const tamis_gguf *g, const char *key, int64_t value) {
    int64_t x;
    assert_int_equal(tamis_gguf_get_int(g, key, INT64_MIN, INT64_MAX, -77, &x, NULL), TAMIS_OK);
    assert_int_equal(x, value);
}

static void says_what_made_it(void **state) {
    (void)state;
    char in[4096], imatrix[4096], hex[TAMIS_HASH_HEX_MAX];
    tamis_error err;
    snprintf(in, sizeof in, "%s", shared_path("fixtures/arch/qwen3.gguf"));
    snprintf(imatrix, sizeof imatrix, "%s", shared_path("fixtures/imatrix/qwen3.c128.gguf"));
    const char *const rule = "Attn_V=q8_0";
    const tamis_quantize_options o = {.imatrix_path = imatrix, .rules = &rule, .n_rules = 1};
    const char *out = out_path("k.gguf");
    must(quantize(in, out, "Q4_K", o, 1, 0, &err), &err);
    tamis_gguf *a = open_gguf(in), *b = open_gguf(out);
    assert_int(b, "general.file_type", 15);
    assert_int(b, "general.quantization_version", 2);
    assert_int(b, "quantize.imatrix.chunks_count", 30);
    assert_text(b, "quantize.imatrix.file", "qwen3.c128.gguf");
    assert_text(b, "quantize.imatrix.dataset", "calib-a.txt");
    assert_text(b, "tamis.parent.name", "qwen3.gguf");
    assert_text(b, "tamis.options", "Q4_K --tensor-type Attn_V=q8_0 --imatrix qwen3.c128.gguf");
    assert_int_equal(tamis_hash_file(TAMIS_HASH_XXH3_128, in, hex, NULL), TAMIS_OK);
    assert_text(b, "tamis.parent.xxh3_128", hex);
    assert_int_equal(tamis_hash_file(TAMIS_HASH_SHA256, imatrix, hex, NULL), TAMIS_OK);
    assert_text(b, "tamis.imatrix.sha256", hex);
    const tamis_gguf_tensor *v = tamis_gguf_find_tensor(b, "blk.0.attn_v.weight");
    assert_int_equal(v->type_id, TAMIS_TYPE_Q8_0);
    /* every key of the source is there, and the order is by layer, then by name */
    for (int32_t i = 0; i < tamis_gguf_n_kv(a); i++) {
        tamis_gguf_kv kv = tamis_gguf_kv_at(a, i), found;
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)kv.key.n_bytes, kv.key.data);
        assert_true(tamis_gguf_find(b, key, &found));
    }
    assert_string_equal(tamis_gguf_tensor_at(b, 0)->name, "output_norm.weight");
    const char *last = "";
    for (int64_t i = 0; i < tamis_gguf_n_tensors(b); i++) {
        const char *name = tamis_gguf_tensor_at(b, i)->name;
        if (strncmp(name, "blk.0.", 6)) continue;
        assert_true(strcmp(last, name) < 0);
        last = name;
    }
    tamis_gguf_close(a);
    tamis_gguf_close(b);
}

static void joins_a_split_set(void **state) {
    (void)state;
    tamis_error err;
    char in[4096], hex[3][TAMIS_HASH_HEX_MAX], all[256];
    for (int i = 0; i < 3; i++) {
        snprintf(in, sizeof in, "%s", shared_path("fixtures/gguf/valid/split-%05d-of-00003.gguf", i + 1));
        assert_int_equal(tamis_hash_file(TAMIS_HASH_SHA256, in, hex[i], NULL), TAMIS_OK);
    }
    snprintf(all, sizeof all, "%s,%s,%s", hex[0], hex[1], hex[2]);
    snprintf(in, sizeof in, "%s", shared_path("fixtures/gguf/valid/split-00001-of-00003.gguf"));
    const char *out = out_path("s.gguf");
    must(quantize(in, out, "COPY", (tamis_quantize_options){.sha256 = true}, 1, 0, &err), &err);
    tamis_gguf *g = open_gguf(out), *a = open_gguf(in);
    tamis_gguf_kv kv;
    assert_false(tamis_gguf_find(g, "split.count", &kv));
    assert_false(tamis_gguf_find(g, "split.no", &kv));
    assert_false(tamis_gguf_find(g, "split.tensors.count", &kv));
    assert_int_equal(tamis_gguf_n_tensors(g), tamis_gguf_n_tensors(a));
    assert_text(g, "tamis.parent.sha256", all);
    assert_true(relative_error(a, g) == 0);
    tamis_gguf_close(g);
    tamis_gguf_close(a);
}

/* Each expert is encoded with its own weights, and with nothing else when none are borrowed. */
static void experts_use_their_own_importance(void **state) {
    (void)state;
    char in[4096], imatrix[4096];
    tamis_error err;
    snprintf(in, sizeof in, "%s", shared_path("fixtures/arch/mixtral.gguf"));
    snprintf(imatrix, sizeof imatrix, "%s", shared_path("fixtures/imatrix/mixtral.c128.gguf"));
    const char *name = "blk.0.ffn_down_exps.weight", *out = out_path("x.gguf");
    must(quantize(in, out, "Q4_0", (tamis_quantize_options){.imatrix_path = imatrix, .no_borrow = true}, 2, 0, &err),
         &err);
    tamis_imatrix m;
    assert_int_equal(tamis_imatrix_load(imatrix, &m, NULL), TAMIS_OK);
    const tamis_imatrix_entry *e = tamis_imatrix_find(&m, name);
    tamis_gguf *a = open_gguf(in), *b = open_gguf(out);
    const tamis_gguf_tensor *ta = tamis_gguf_find_tensor(a, name);
    const tamis_gguf_tensor *tb = tamis_gguf_find_tensor(b, name);
    assert_true(e && ta && tb && ta->ne[2] > 1 && e->n_counts == ta->ne[2]);
    uint64_t n = ta->ne[0], row_bytes = tamis_tensor_row_bytes(tb);
    float *weights = calloc(e->n_values, sizeof *weights), *x = calloc(n, sizeof *x);
    uint8_t *in_row = malloc(tamis_tensor_row_bytes(ta)), *want = malloc(row_bytes),
            *have = malloc(row_bytes);
    tamis_imatrix_weights(e, weights);
    for (uint64_t row = 0; row < tamis_tensor_n_rows(ta); row++) {
        uint64_t in_bytes = tamis_tensor_row_bytes(ta);
        assert_int_equal(tamis_gguf_read_tensor(a, ta, row * in_bytes, in_bytes, in_row, NULL), 0);
        assert_int_equal(tamis_gguf_read_tensor(b, tb, row * row_bytes, row_bytes, have, NULL), 0);
        tamis_decode(ta->type, in_row, x, (int64_t)n);
        const float *w = weights + row / ta->ne[1] * n;
        assert_int_equal(tamis_encode_row(tb->type, x, w, TAMIS_EFFORT_NORMAL, want, (int64_t)n, NULL), TAMIS_OK);
        assert_memory_equal(want, have, row_bytes);
    }
    free(weights);
    free(x);
    free(in_row);
    free(want);
    free(have);
    tamis_gguf_close(a);
    tamis_gguf_close(b);
    tamis_imatrix_release(&m);
}

static int count_files(const char *folder) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    int n = 0;
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static void refuses_with_a_reason(void **state) {
    (void)state;
    char wrong[4096], other[4096];
    snprintf(wrong, sizeof wrong, "%s", shared_path("fixtures/imatrix/bad/gguf-wrong-size.gguf"));
    snprintf(other, sizeof other, "%s", shared_path("fixtures/imatrix/qwen35moe.c128.gguf"));
    static const char *const bad_rule = "attn(=q8_0", *const no_type = "attn_v=q9_9",
                            *const no_encoder = "attn_v=q8_1", *const name = "attn_q";
    const struct {
        const char *input, *type;
        tamis_quantize_options options;
        tamis_status status;
        const char *says[2];
    } rows[] = {
        {"fixtures/gguf/odd/nan-f32.gguf", "Q8_0", {0}, TAMIS_BAD_INPUT, {"a.weight", "row 0"}},
        {"fixtures/gguf/odd/nan-f32.gguf", "COPY", {0}, TAMIS_BAD_INPUT, {"a.weight", "row 0"}},
        {"fixtures/gguf/odd/inf-scale-q8_0.gguf", "COPY", {0}, TAMIS_BAD_INPUT, {"row 1", "block 1"}},
        {"fixtures/gguf/odd/type-unknown.gguf", "Q8_0", {0}, TAMIS_BAD_INPUT, {"99", "unknown"}},
        {"fixtures/gguf/odd/type-retired.gguf", "Q8_0", {0}, TAMIS_BAD_INPUT, {"4", "retired"}},
        {"fixtures/imatrix/wide.Q4_0.gguf", "Q8_0", {0}, TAMIS_BAD_INPUT, {"--allow-requantize", "q6_K"}},
        {"fixtures/arch/qwen3.gguf", "Q2_K_S", {0}, TAMIS_BAD_USAGE, {"--imatrix", "blk.0"}},
        {"fixtures/arch/llama.gguf", "Q4_0", {.imatrix_path = wrong}, TAMIS_BAD_INPUT, {"256 values", "128"}},
        {"models/tiny-qwen3.gguf", "Q4_0", {.imatrix_path = other}, TAMIS_BAD_INPUT, {"another model", ""}},
        {"fixtures/arch/qwen3.gguf", "Q4_0", {.rules = &bad_rule, .n_rules = 1}, TAMIS_BAD_USAGE, {"attn(", ""}},
        {"fixtures/arch/qwen3.gguf", "Q4_0", {.rules = &no_type, .n_rules = 1}, TAMIS_BAD_USAGE, {"q9_9", ""}},
        {"fixtures/arch/qwen3.gguf", "Q4_0", {.rules = &no_encoder, .n_rules = 1}, TAMIS_BAD_USAGE, {"q8_1", "cannot be encoded"}},
        {"fixtures/arch/qwen3.gguf", "Q4_0", {.include = &name, .n_include = 1}, TAMIS_BAD_USAGE, {"--imatrix", ""}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char in[4096];
        tamis_error err = {0};
        snprintf(in, sizeof in, "%s", shared_path("%s", rows[i].input));
        int n_files = count_files(temp_dir());
        tamis_status st =
            quantize(in, out_path("refused.gguf"), rows[i].type, rows[i].options, 2, 0, &err);
        if (st != rows[i].status)
            fail_msg("%s as %s: status %d, %s", rows[i].input, rows[i].type, st, err.message);
        for (int k = 0; k < 2; k++)
            if (!strstr(err.message, rows[i].says[k]))
                fail_msg("%s as %s: \"%s\" does not say \"%s\"", rows[i].input, rows[i].type,
                         err.message, rows[i].says[k]);
        assert_int_equal(count_files(temp_dir()), n_files);
    }
}

static void never_writes_over_its_input(void **state) {
    (void)state;
    size_t n_bytes;
    tamis_error err;
    char *data = slurp(shared_path("fixtures/arch/qwen3.gguf"), &n_bytes);
    char path[4096];
    snprintf(path, sizeof path, "%s", out_path("same.gguf"));
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(data, 1, n_bytes, f), n_bytes);
    fclose(f);
    assert_int_equal(quantize(path, path, "Q8_0", (tamis_quantize_options){0}, 1, 0, &err),
                     TAMIS_BAD_USAGE);
    size_t n_now;
    char *now = slurp(path, &n_now);
    assert_int_equal(n_now, n_bytes);
    assert_memory_equal(now, data, n_bytes);
    free(now);
    free(data);
}

static void obeys_the_memory_budget(void **state) {
    (void)state;
    char in[4096];
    tamis_error err;
    snprintf(in, sizeof in, "%s", shared_path("models/tiny-qwen3.gguf"));
    assert_int_equal(quantize(in, out_path("m.gguf"), "Q8_0", (tamis_quantize_options){0}, 2,
                              100000, &err),
                     TAMIS_NO_RESOURCE);
    assert_non_null(strstr(err.message, "--mem"));
}

int main(void) {
    require_shared();
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_for_any_threads_and_memory),
        cmocka_unit_test(every_type_is_as_near_as_its_bits_allow),
        cmocka_unit_test(says_what_made_it),
        cmocka_unit_test(joins_a_split_set),
        cmocka_unit_test(experts_use_their_own_importance),
        cmocka_unit_test(refuses_with_a_reason),
        cmocka_unit_test(never_writes_over_its_input),
        cmocka_unit_test(obeys_the_memory_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
