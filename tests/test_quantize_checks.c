/* What is held against what: importance entries against tensors, and the written file against what
 * was encoded. On a small model made here: a dense matrix and three experts. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/quantize_internal.h"

enum { ROW = 256, N_DENSE = ROW * 4, N_EXPERTS = ROW * 4 * 3 };

static const char dense[] = "blk.0.attn_v.weight", experts[] = "blk.0.ffn_up_exps.weight";
static float weights[N_DENSE + N_EXPERTS];

static const char *in_temp(const char *name) {
    static char path[4][4096];
    static int i;
    i = (i + 1) % 4;
    snprintf(path[i], sizeof path[i], "%s/%s", temp_dir(), name);
    return path[i];
}

static tamis_gguf *open_model(void) {
    tamis_gguf_writer *w;
    tamis_gguf *g;
    const char *path = in_temp("m.gguf");
    for (int i = 0; i < N_DENSE + N_EXPERTS; i++)
        weights[i] = sinf((float)i * 1.7f) + 0.3f * cosf((float)(i * i % 977));
    assert_int_equal(tamis_gguf_writer_new(&w, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_set_string(w, "general.architecture", "llama", 5, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_add_tensor(w, dense, 0, 2, (uint64_t[]){ROW, 4}, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_add_tensor(w, experts, 0, 3, (uint64_t[]){ROW, 4, 3}, NULL),
                     TAMIS_OK);
    assert_int_equal(tamis_gguf_begin(w, path, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_write_data(w, weights, N_DENSE * 4, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_write_data(w, weights + N_DENSE, N_EXPERTS * 4, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_commit(w, NULL), TAMIS_OK);
    tamis_gguf_writer_free(w);
    assert_int_equal(tamis_gguf_open(path, NULL, &g, NULL), TAMIS_OK);
    return g;
}

/* --- importance --- */

typedef struct entry_shape {
    uint64_t n_values, n_counts;
    float count, sum;
    int i_bare; /* a matrix without counts; -1: none */
    int i_zero; /* a matrix with counts and no sums; -1: none */
} entry_shape;

static const char *write_matrix(const entry_shape *of_dense, const entry_shape *of_experts) {
    const char *path = in_temp("i.gguf");
    tamis_imatrix m;
    tamis_imatrix_init(&m);
    m.chunk_size = 16;
    for (int k = 0; k < 2; k++) {
        const entry_shape *shape = k ? of_experts : of_dense;
        tamis_imatrix_entry *e;
        if (!shape) continue;
        assert_int_equal(
            tamis_imatrix_add(&m, k ? experts : dense, shape->n_values, shape->n_counts, &e, NULL),
            TAMIS_OK);
        uint64_t n = shape->n_values / shape->n_counts;
        for (uint64_t j = 0; j < shape->n_counts; j++)
            e->counts[j] = (int)j == shape->i_bare ? 0 : shape->count;
        for (uint64_t i = 0; i < shape->n_values; i++)
            e->sums[i] = (int)(i / n) == shape->i_bare || (int)(i / n) == shape->i_zero
                             ? 0
                             : shape->sum * (float)(1 + i % 7);
    }
    tamis_error err;
    if (tamis_imatrix_save(&m, path, &err)) fail_msg("%s", err.message);
    tamis_imatrix_release(&m);
    return path;
}

static void holds_entries_against_tensors(void **state) {
    (void)state;
    tamis_gguf *g = open_model();
    const entry_shape sound = {ROW, 1, 8, 1, -1, -1}, sound_experts = {ROW * 3, 3, 8, 1, -1, -1};
    const entry_shape idle = {ROW * 3, 3, 8, 1, 1, -1}, one_count = {ROW * 3, 1, 8, 1, -1, -1};
    const entry_shape two = {ROW * 2, 2, 8, 1, -1, -1}, long_row = {ROW * 6, 3, 8, 1, -1, -1};
    const entry_shape zero = {ROW, 1, 8, 0, -1, -1}, zero_expert = {ROW * 3, 3, 8, 1, -1, 2};
    const entry_shape empty = {ROW, 1, 0, 0, -1, -1}, half = {ROW * 3, 6, 8, 1, -1, -1};
    const struct {
        const char *type;
        const entry_shape *of_dense, *of_experts;
        tamis_status status;
        const char *says;
        int n_used;
    } rows[] = {
        {"Q4_K_S", &sound, &sound_experts, TAMIS_OK, "", 2},
        {"Q4_K_S", &sound, &idle, TAMIS_OK, "", 2},
        {"Q4_K_S", &sound, &one_count, TAMIS_OK, "", 2},
        {"Q4_K_S", &sound, NULL, TAMIS_OK, "", 1},
        {"Q4_K_S", &empty, &sound_experts, TAMIS_OK, "", 1},
        {"Q8_0", &zero, &two, TAMIS_OK, "", 0}, /* not used, not looked at */
        {"Q4_K_S", &sound, &two, TAMIS_BAD_INPUT, "512 values in 2 counts", 0},
        {"Q4_K_S", &sound, &half, TAMIS_BAD_INPUT, "768 values in 6 counts", 0},
        {"Q4_K_S", &sound, &long_row, TAMIS_BAD_INPUT, "the tensor wants 256 x 3", 0},
        {"Q4_K_S", &zero, &sound_experts, TAMIS_BAD_INPUT, "all sums are zero; make the matrix", 0},
        {"Q4_K_S", &sound, &zero_expert, TAMIS_BAD_INPUT, "matrix 2: 8 rows were counted", 0},
        {"Q2_K_S", &sound, NULL, TAMIS_BAD_INPUT, "there is none for it; make the matrix from", 0},
        {"Q2_K_S", &empty, &sound_experts, TAMIS_BAD_INPUT, "its entry saw no row", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tamis_error err = {0};
        tamis_quantize_plan *plan = NULL;
        const tamis_quantize_options o = {
            .file_type = tamis_file_type_find(rows[i].type),
            .imatrix_path = write_matrix(rows[i].of_dense, rows[i].of_experts),
        };
        tamis_status st = tamis_quantize_plan_new(g, &o, &plan, &err);
        if (st != rows[i].status || !strstr(err.message, rows[i].says))
            fail_msg("row %zu: status %d, \"%s\", not \"%s\"", i, st, err.message, rows[i].says);
        if (plan) assert_int_equal(plan->n_with_importance, rows[i].n_used);
        tamis_quantize_plan_free(plan);
    }
    tamis_gguf_close(g);
}

/* --- the self-check --- */

/* A plan with its data written by the test: `step` and `byte` say what is spoilt there, after the
 * sums were taken (is_meant: before, so that the bytes are as expected). */
typedef struct spoil {
    const char *type;
    int step; /* -1: nothing */
    size_t byte;
    uint8_t value;
    bool is_meant, all_zero;
} spoil;

static tamis_status write_and_check(const tamis_gguf *g, const spoil *sp, tamis_error *err) {
    tamis_quantize_plan *plan;
    tamis_pool *pool;
    row_sums sums[2] = {0};
    uint8_t blocks[N_EXPERTS * 4];
    float decoded[N_EXPERTS];
    const tamis_quantize_options o = {.file_type = tamis_file_type_find(sp->type)};
    assert_int_equal(tamis_quantize_plan_new(g, &o, &plan, err), TAMIS_OK);
    assert_int_equal(tamis_pool_new(2, &pool, err), TAMIS_OK);
    assert_int_equal(tamis_gguf_begin(plan->writer, in_temp("c.gguf"), err), TAMIS_OK);
    assert_int_equal(plan->n_steps, 2);
    for (int i = 0; i < 2; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        const float *x = i ? weights + N_DENSE : weights;
        assert_int_equal(tamis_encode_row(s->type, x, NULL, TAMIS_EFFORT_NORMAL, blocks,
                                          i ? N_EXPERTS : N_DENSE, err),
                         TAMIS_OK);
        if (i == sp->step && sp->all_zero) memset(blocks, 0, s->n_bytes);
        if (i == sp->step && sp->is_meant) blocks[sp->byte] = sp->value;
        s->type->decode(blocks, decoded, i ? N_EXPERTS : N_DENSE);
        tamis_add_row_error(x, decoded, i ? N_EXPERTS : N_DENSE, &sums[i].sums);
        sums[i].hash = row_hash(blocks, s->n_bytes, 0); /* all rows are one item */
        if (i == sp->step && !sp->is_meant) blocks[sp->byte] = sp->value;
        assert_int_equal(tamis_gguf_write_data(plan->writer, blocks, s->n_bytes, err), TAMIS_OK);
    }
    tamis_status st = self_check(plan, sums, pool, NULL, NULL, err);
    assert_int_equal(plan->is_checked, st == TAMIS_OK);
    tamis_pool_free(pool);
    tamis_quantize_plan_free(plan);
    return st;
}

static void finds_what_was_not_written_as_meant(void **state) {
    (void)state;
    tamis_gguf *g = open_model();
    const struct {
        spoil how;
        tamis_status status;
        const char *says[2];
    } rows[] = {
        {{"Q8_0", -1, 0, 0, false, false}, TAMIS_OK, {"", ""}},
        {{"Q8_0", 1, 777, 0x55, false, false},
         TAMIS_CHECK_FAILED,
         {experts, "not what was encoded"}},
        {{"F16", 0, 1, 0x7c, false, false}, TAMIS_CHECK_FAILED, {dense, "not what was encoded"}},
        {{"F16", 0, 1, 0x7c, true, false}, TAMIS_CHECK_FAILED, {dense, "not finite"}},
        {{"F16", 1, 2047, 0xff, true, false}, TAMIS_CHECK_FAILED, {experts, "not finite"}},
        {{"Q4_0", 1, 0, 0, true, true}, TAMIS_CHECK_FAILED, {experts, "all zero"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tamis_error err = {0};
        tamis_status st = write_and_check(g, &rows[i].how, &err);
        if (st != rows[i].status || !strstr(err.message, rows[i].says[0]) ||
            !strstr(err.message, rows[i].says[1]))
            fail_msg("row %zu: status %d, \"%s\"", i, st, err.message);
    }
    tamis_gguf_close(g);
}

static double error_of(const char *path, const char *name, const float *x, int64_t n) {
    tamis_gguf *g;
    double error = 0, norm = 0;
    assert_int_equal(tamis_gguf_open(path, NULL, &g, NULL), TAMIS_OK);
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, name);
    uint8_t *blocks = malloc(t->n_bytes);
    float *y = calloc((size_t)n, sizeof *y);
    assert_int_equal(tamis_gguf_read_tensor(g, t, 0, t->n_bytes, blocks, NULL), TAMIS_OK);
    tamis_decode(t->type, blocks, y, n);
    for (int64_t i = 0; i < n; i++) {
        error += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        norm += (double)x[i] * (double)x[i];
    }
    free(blocks);
    free(y);
    tamis_gguf_close(g);
    return sqrt(error / norm);
}

static void says_the_error_of_each_tensor(void **state) {
    (void)state;
    static const char *const types[] = {"Q2_K", "Q4_0", "Q8_0", "F16"};
    tamis_gguf *g = open_model();
    for (int i = 0; i < 4; i++) {
        tamis_quantize_plan *plan;
        tamis_error err;
        const tamis_quantize_step *worst[10];
        const char *path = in_temp("e.gguf");
        const tamis_quantize_options o = {.file_type = tamis_file_type_find(types[i])};
        assert_int_equal(tamis_quantize_plan_new(g, &o, &plan, &err), TAMIS_OK);
        if (tamis_quantize_run(plan, path, i + 1, NULL, NULL, &err)) fail_msg("%s", err.message);
        double of_dense = error_of(path, dense, weights, N_DENSE);
        double of_experts = error_of(path, experts, weights + N_DENSE, N_EXPERTS);
        assert_true(fabs(plan->steps[0].relative_error / of_dense - 1) < 1e-5);
        assert_true(fabs(plan->steps[1].relative_error / of_experts - 1) < 1e-5);
        assert_int_equal(tamis_quantize_worst(plan, 10, worst), 2);
        assert_true(worst[0]->relative_error >= worst[1]->relative_error);
        assert_int_equal(tamis_quantize_worst(plan, 1, worst), 1);
        tamis_quantize_plan_free(plan);
    }
    tamis_gguf_close(g);
}

/* The same digits for any number of threads and pieces. */
static void errors_do_not_depend_on_threads_or_memory(void **state) {
    (void)state;
    tamis_gguf *g = open_model();
    double first[2] = {0};
    for (int i = 0; i < 4; i++) {
        tamis_quantize_plan *plan;
        tamis_error err;
        tamis_budget budget;
        tamis_budget_init(&budget, i % 2 ? 0 : 4 << 20);
        const tamis_quantize_options o = {.file_type = tamis_file_type_find("Q4_K_S")};
        assert_int_equal(tamis_quantize_plan_new(g, &o, &plan, &err), TAMIS_OK);
        if (tamis_quantize_run(plan, in_temp("t.gguf"), i + 1, &budget, NULL, &err))
            fail_msg("%s", err.message);
        for (int k = 0; k < 2; k++) {
            if (i == 0) first[k] = plan->steps[k].relative_error;
            assert_true(first[k] > 0 && plan->steps[k].relative_error == first[k]);
        }
        assert_int_equal(budget.used_bytes, 0);
        tamis_quantize_plan_free(plan);
    }
    tamis_gguf_close(g);
}

/* Sums of squares that f32 cannot hold. */
static void sums_very_small_and_large_weights(void **state) {
    (void)state;
    static const float scales[] = {1e-30f, 1e-12f, 1, 1e18f, 1e30f};
    float x[300], y[300];
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
        tamis_row_error sums = {0};
        for (int i = 0; i < 300; i++) {
            x[i] = scales[k] * (float)(1 + i % 3);
            y[i] = x[i] * 0.75f;
        }
        tamis_add_row_error(x, y, 300, &sums);
        assert_true(fabs(sqrt(sums.error / sums.norm) - 0.25) < 1e-6);
    }
}

int main(void) {
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_entries_against_tensors),
        cmocka_unit_test(finds_what_was_not_written_as_meant),
        cmocka_unit_test(says_the_error_of_each_tensor),
        cmocka_unit_test(errors_do_not_depend_on_threads_or_memory),
        cmocka_unit_test(sums_very_small_and_large_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
