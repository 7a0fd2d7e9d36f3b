/* test_quantize_borrow.c - importance of experts that saw few tokens: count-weighted shrinkage
 * towards the mean of the tensor's experts, in both layouts of a matrix. */
#include "support.h"

#include <string.h>

#include "quantize/quantize_internal.h"

enum { D = 4, E = 3 };

static tamis_gguf_tensor stack = {.name = "blk.1.ffn_down_exps.weight", .ne = {D, 8, E, 1}};

static tamis_quantize_step step_of(const tamis_imatrix_entry *e) {
    return (tamis_quantize_step){.tensor = &stack, .name = "x", .importance = e, .borrows = true};
}

static void check(const tamis_imatrix_entry *e, const double *expected) {
    tamis_error err;
    float out[D * E];
    const tamis_quantize_step s = step_of(e);
    assert_int_equal(borrow_weights(&s, out, &err), TAMIS_OK);
    for (int i = 0; i < D * E; i++)
        if (!(out[i] > (float)expected[i] * 0.999999f && out[i] < (float)expected[i] * 1.000001f))
            fail_msg("weight %d is %.9g, expected %.9g", i, (double)out[i], expected[i]);
}

/* (n * own + 32 * mean) / (n + 32), mean = all sums / all counts. */
static void counts_weigh(void **state) {
    (void)state;
    float sums[D * E] = {100, 200, 300, 400, 0, 0, 0, 0, 8, 4, 2, 6};
    double counts[E] = {1000, 0, 8}, expected[D * E];
    const tamis_imatrix_entry e = {.n_values = D * E, .n_counts = E, .sums = sums, .counts = counts};
    for (int i = 0; i < E; i++)
        for (int c = 0; c < D; c++) {
            double mean = ((double)sums[c] + (double)sums[D + c] + (double)sums[2 * D + c]) / 1008;
            expected[i * D + c] = ((double)sums[i * D + c] + 32 * mean) / (counts[i] + 32);
        }
    check(&e, expected);
    const tamis_quantize_step s = step_of(&e);
    double n = -1;
    assert_int_equal(borrow_count(&s), 2);
    assert_false(tamis_quantize_expert_borrows(&s, 0, &n));
    assert_true(tamis_quantize_expert_borrows(&s, 1, &n) && n == 0);
    assert_true(tamis_quantize_expert_borrows(&s, 2, &n) && n == 8);
    assert_false(tamis_quantize_expert_borrows(&s, E, &n));
}

/* One count for all: an expert of equal values saw nothing, the others keep their own. */
static void legacy_layout(void **state) {
    (void)state;
    float sums[D * E] = {10, 20, 30, 40, 5, 5, 5, 5, 30, 20, 10, 60};
    double counts[1] = {5};
    const tamis_imatrix_entry e = {.n_values = D * E, .n_counts = 1, .sums = sums, .counts = counts};
    const double expected[D * E] = {2, 4, 6, 8, 4, 4, 4, 10, 6, 4, 2, 12};
    check(&e, expected);
    const tamis_quantize_step s = step_of(&e);
    assert_int_equal(borrow_count(&s), 1);
}

static void only_experts(void **state) {
    (void)state;
    tamis_gguf_tensor heads = {.name = "blk.1.attn_k_b.weight", .ne = {D, 8, E, 1}};
    const tamis_imatrix_entry e = {.n_values = D * E, .n_counts = E};
    assert_true(borrow_applies(&e, &stack));
    assert_false(borrow_applies(&e, &heads));
    tamis_quantize_step s = step_of(&e);
    s.borrows = false;
    assert_int_equal(tamis_quantize_n_experts(&s), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_weigh),
        cmocka_unit_test(legacy_layout),
        cmocka_unit_test(only_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
