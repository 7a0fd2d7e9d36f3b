/* Statistics of importance matrices: every figure of the tables that another tool printed for the
 * fixtures, and the list of experts that saw little. */
#include "support.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imatrix/imatrix_file.h"
#include "imatrix/statistics.h"

static void load(const char *name, tamis_imatrix *m) {
    tamis_error err;
    if (tamis_imatrix_load(shared_path("fixtures/imatrix/%s", name), m, &err))
        fail_msg("%s", err.message);
}

/* --- the printed tables --- */

enum { N_COLUMNS = 13, N_LAYER_COLUMNS = 4 };

/* Fields of a line between blanks; up to N_COLUMNS. */
static int split(char *line, char *fields[N_COLUMNS]) {
    int n = 0;
    char *end;
    for (char *f = strtok_r(line, " \t", &end); f && n < N_COLUMNS; f = strtok_r(NULL, " \t", &end))
        fields[n++] = f;
    return n;
}

/* How many figures differ in their last digit: the tables were made with sums in f32. */
static int n_off_by_one;

/* `text` as printed with `decimals` digits, possibly with a percent sign. */
static void assert_printed(const char *where, const char *text, double value, int decimals) {
    char own[64];
    snprintf(own, sizeof own, "%.*f", decimals, value);
    if (strtod(own, NULL) == strtod(text, NULL)) return;
    n_off_by_one++;
    if (fabs(strtod(own, NULL) - strtod(text, NULL)) > 1.01 * pow(10, -decimals))
        fail_msg("%s: %s, printed %s", where, own, text);
}

static void compare_tensor(const tamis_imatrix_tensor_stats *t, char *const f[N_COLUMNS]) {
    char layer[24] = "-";
    const char *name = t->entry->name;
    if (t->layer >= 0) snprintf(layer, sizeof layer, "%d", (int)t->layer);
    assert_string_equal(f[0], layer);
    assert_int_equal(t->kind_bytes, strlen(f[1]));
    assert_memory_equal(t->kind, f[1], t->kind_bytes);
    assert_printed(name, f[2], t->total, 2);
    assert_printed(name, f[3], t->min, 4);
    assert_printed(name, f[4], t->max, 4);
    assert_printed(name, f[5], t->mean, 2);
    assert_printed(name, f[6], t->deviation, 2);
    assert_printed(name, f[7], 100 * t->active, 2);
    assert_printed(name, f[8], (double)t->n_values, 0);
    assert_printed(name, f[9], t->entropy, 4);
    assert_printed(name, f[10], 100 * t->entropy_share, 2);
    assert_printed(name, f[11], 100 * t->zd, 2);
    assert_printed(name, f[12], t->cosine, 4);
}

static void compare_file(const char *model) {
    char name[64];
    snprintf(name, sizeof name, "%s.c128.gguf", model);
    tamis_imatrix m;
    tamis_imatrix_stats s;
    tamis_error err;
    load(name, &m);
    assert_int_equal(tamis_imatrix_stats_make(&m, &s, &err), TAMIS_OK);
    assert_int_equal(s.n_empty, 0);
    char *text = slurp(shared_path("fixtures/imatrix/%s.c128.stats.txt", model), NULL), *end;
    uint64_t i = 0, k = 0;
    for (char *line = strtok_r(text, "\n", &end); line; line = strtok_r(NULL, "\n", &end)) {
        char *f[N_COLUMNS];
        int n = split(line, f);
        bool is_row = n > 0 && (strspn(f[0], "0123456789") == strlen(f[0]) || !strcmp(f[0], "-"));
        if (is_row && n == N_COLUMNS) {
            assert_true(i < s.n_tensors);
            compare_tensor(&s.tensors[i++], f);
        } else if (is_row && n == N_LAYER_COLUMNS) {
            assert_true(k < s.n_layers);
            const tamis_imatrix_layer_stats *l = &s.layers[k++];
            assert_printed(model, f[0], (double)l->layer, 0);
            assert_printed(model, f[1], l->total, 2);
            assert_printed(model, f[2], 100 * l->zd, 4);
            assert_printed(model, f[3], l->cosine, 4);
        }
    }
    assert_int_equal(i, m.n_entries);
    assert_int_equal(k, s.n_layers);
    assert_true(k > 3);
    free(text);
    tamis_imatrix_stats_release(&s);
    tamis_imatrix_release(&m);
}

static void tables_are_those_of_other_tools(void **state) {
    (void)state;
    static const char *const models[] = {"llama",    "mixtral",   "qwen3",
                                         "qwen3moe", "qwen35moe", "idle-expert"};
    n_off_by_one = 0;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        compare_file(models[i]);
    if (n_off_by_one > 2) fail_msg("%d figures differ", n_off_by_one);
}

/* --- what the tables do not show --- */

static void entries_without_data_are_left_out(void **state) {
    (void)state;
    tamis_imatrix m;
    tamis_imatrix_stats s;
    tamis_error err;
    load("zero-counts.gguf", &m);
    assert_int_equal(tamis_imatrix_stats_make(&m, &s, &err), TAMIS_OK);
    assert_int_equal(s.n_tensors, 1);
    assert_int_equal(s.n_empty, 1);
    assert_int_equal(s.tensors[0].n_values, 256); /* 2 of 3 experts */
    tamis_imatrix_stats_release(&s);

    /* One without any. */
    m.n_entries = 1;
    assert_int_equal(tamis_imatrix_stats_make(&m, &s, &err), TAMIS_OK);
    assert_int_equal(s.n_tensors, 0);
    assert_int_equal(s.n_layers, 0);
    tamis_imatrix_stats_release(&s);
    m.n_entries = 2;
    tamis_imatrix_release(&m);
}

static void the_head_has_no_layer(void **state) {
    (void)state;
    tamis_imatrix m;
    tamis_imatrix_stats s;
    tamis_error err;
    load("llama.c128-out.gguf", &m);
    assert_int_equal(tamis_imatrix_stats_make(&m, &s, &err), TAMIS_OK);
    const tamis_imatrix_tensor_stats *last = &s.tensors[s.n_tensors - 1];
    assert_string_equal(last->entry->name, "output.weight");
    assert_int_equal(last->layer, -1);
    assert_int_equal(last->kind_bytes, 6);
    assert_int_equal(s.n_layers, 4);
    assert_int_equal(s.layers[0].layer, 0);
    tamis_imatrix_stats_release(&s);
    tamis_imatrix_release(&m);
}

static void names_and_layers(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t layer;
        const char *rest;
    } rows[] = {
        {"blk.0.a.weight", 0, "a.weight"},
        {"blk.61.ffn_down.weight", 61, "ffn_down.weight"},
        {"output.weight", -1, "output.weight"},
        {"blk..a", -1, "blk..a"},
        {"blk.7", -1, "blk.7"},
        {"blk.x.a", -1, "blk.x.a"},
        {"blk.99999999999999999999.a", -1, "blk.99999999999999999999.a"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *rest;
        assert_int_equal(tamis_imatrix_layer_of(rows[i].name, &rest), rows[i].layer);
        assert_string_equal(rest, rows[i].rest);
    }
}

/* --- experts --- */

struct found {
    int64_t n, n_tokens;
    char names[512];
};

static void note(void *ctx, const char *name, int64_t expert, int64_t n_tokens) {
    struct found *f = ctx;
    size_t n = strlen(f->names);
    f->n++;
    f->n_tokens += n_tokens;
    snprintf(f->names + n, sizeof f->names - n, "%s:%d ", name, (int)expert);
}

static void rare_experts_are_listed_once_per_layer(void **state) {
    (void)state;
    tamis_imatrix m;
    load("idle-expert.c128.gguf", &m);
    struct found f = {0};
    assert_int_equal(tamis_imatrix_rare_experts(&m, 32, note, &f), 4);
    assert_int_equal(f.n_tokens, 0);
    assert_string_equal(f.names, "blk.0.ffn_down_exps.weight:5 blk.1.ffn_down_exps.weight:5 "
                                 "blk.2.ffn_down_exps.weight:5 blk.3.ffn_down_exps.weight:5 ");
    f = (struct found){0};
    assert_int_equal(tamis_imatrix_rare_experts(&m, 152, note, &f), 5);
    assert_int_equal(f.n_tokens, 151);
    assert_int_equal(tamis_imatrix_rare_experts(&m, 0, note, &f), 0);

    /* Another count in one weight of a layer: that weight is listed too. */
    const tamis_imatrix_entry *up = tamis_imatrix_find(&m, "blk.0.ffn_up_exps.weight");
    up->counts[7] = 3;
    f = (struct found){0};
    assert_int_equal(tamis_imatrix_rare_experts(&m, 32, note, &f), 6);
    assert_non_null(strstr(f.names, "blk.0.ffn_up_exps.weight:7"));
    tamis_imatrix_release(&m);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_those_of_other_tools),
        cmocka_unit_test(entries_without_data_are_left_out),
        cmocka_unit_test(the_head_has_no_layer),
        cmocka_unit_test(names_and_layers),
        cmocka_unit_test(rare_experts_are_listed_once_per_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
