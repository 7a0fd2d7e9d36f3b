/* Two importance matrices compared: figures that can be worked out by hand, and the fixtures. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "imatrix/diff.h"
#include "imatrix/imatrix_file.h"

static void load(const char *name, tamis_imatrix *m) {
    tamis_error err;
    if (tamis_imatrix_load(shared_path("fixtures/imatrix/%s", name), m, &err))
        fail_msg("%s", err.message);
}

static void compare(const tamis_imatrix *a, const tamis_imatrix *b, tamis_imatrix_diff *d) {
    tamis_error err;
    if (tamis_imatrix_diff_make(a, b, 2, d, &err)) fail_msg("%s", err.message);
}

/* Append an entry with these sums and counts. */
static void add(tamis_imatrix *m, const char *name, uint64_t n_values, const float *sums,
                uint64_t n_counts, const double *counts) {
    tamis_imatrix_entry *e;
    tamis_error err;
    if (tamis_imatrix_add(m, name, n_values, n_counts, &e, &err)) fail_msg("%s", err.message);
    memcpy(e->sums, sums, n_values * sizeof *sums);
    memcpy(e->counts, counts, n_counts * sizeof *counts);
}

static void assert_near(double got, double want) {
    if (fabs(got - want) > 1e-12) fail_msg("%.15g, expected %.15g", got, want);
}

static void a_file_is_identical_to_itself(void **state) {
    (void)state;
    tamis_imatrix m;
    tamis_imatrix_diff d;
    load("idle-expert.c128.gguf", &m);
    compare(&m, &m, &d);
    assert_int_equal(d.n_tensors, 32);
    assert_int_equal(d.n_equal, 32);
    assert_true(d.max_distance == 0 && d.min_ratio == 1 && d.max_ratio == 1);
    assert_int_equal(d.n_experts, 0);
    tamis_imatrix_diff_release(&d);
    tamis_imatrix_release(&m);
}

static void figures_of_a_dense_entry(void **state) {
    (void)state;
    tamis_imatrix a, b;
    tamis_imatrix_diff d;
    tamis_imatrix_init(&a);
    tamis_imatrix_init(&b);
    /* Means 3 4 0 and 4 3 2. */
    add(&a, "blk.0.x.weight", 3, (float[]){6, 8, 0}, 1, (double[]){2});
    add(&b, "blk.0.x.weight", 3, (float[]){40, 30, 20}, 1, (double[]){10});
    add(&a, "blk.1.only_a.weight", 1, (float[]){1}, 1, (double[]){1});
    add(&b, "blk.1.only_b.weight", 1, (float[]){1}, 1, (double[]){1});
    add(&a, "blk.2.size.weight", 2, (float[]){1, 1}, 1, (double[]){1});
    add(&b, "blk.2.size.weight", 3, (float[]){1, 1, 1}, 1, (double[]){1});
    compare(&a, &b, &d);
    assert_int_equal(d.n_tensors, 4);
    assert_int_equal(d.n_comparable, 1);
    assert_int_equal(d.n_only_a, 1);
    assert_int_equal(d.n_only_b, 1);
    assert_int_equal(d.n_other_size, 1);
    const tamis_imatrix_tensor_diff *t = &d.tensors[0];
    assert_string_equal(t->a->name, "blk.0.x.weight");
    assert_near(t->distance, 1 - 24 / (5 * sqrt(29)));
    assert_near(t->ratio, 9.0 / 7);
    assert_int_equal(t->n_columns, 3);
    assert_int_equal(t->n_columns_differ, 1); /* 0 and 2 of 9; 4 of 7 and 3 of 9 do not */
    assert_int_equal(t->n_experts, 0);
    assert_false(d.tensors[3].is_comparable);
    tamis_imatrix_diff_release(&d);
    tamis_imatrix_release(&a);
    tamis_imatrix_release(&b);
}

static void experts_with_other_shares(void **state) {
    (void)state;
    tamis_imatrix a, b;
    tamis_imatrix_diff d;
    tamis_imatrix_init(&a);
    tamis_imatrix_init(&b);
    static const char *const names[] = {"blk.0.ffn_down_exps.weight", "blk.0.ffn_up_exps.weight"};
    /* Expert 0: half against a quarter; 1: seen on one side; 2: 2 and 1 of 1000, chance. */
    for (int i = 0; i < 2; i++) {
        add(&a, names[i], 6, (float[]){500, 500, 498, 498, 2, 2}, 3, (double[]){500, 498, 2});
        add(&b, names[i], 6, (float[]){999, 999, 0, 0, 1, 1}, 3, (double[]){999, 0, 1});
    }
    compare(&a, &b, &d);
    assert_int_equal(d.tensors[0].n_experts, 3);
    assert_int_equal(d.tensors[0].n_experts_differ, 1);
    assert_int_equal(d.tensors[1].n_experts_differ, 1);
    assert_int_equal(d.n_experts, 1); /* once for the layer */
    assert_int_equal(d.experts[0].expert, 1);
    assert_string_equal(d.experts[0].name, names[0]);
    assert_true(d.experts[0].count_b == 0 && d.experts[0].distance == 1);
    /* Cosine and ratio over the experts that both saw. */
    assert_int_equal(d.tensors[0].n_columns, 4);
    assert_near(d.tensors[0].distance, 0);
    assert_near(d.tensors[0].ratio, 1);
    tamis_imatrix_diff_release(&d);

    b.entries[0].counts[1] = 0;
    a.entries[0].counts[0] = 100; /* 100 of 600 against 999 of 1000 */
    compare(&a, &b, &d);
    assert_int_equal(d.n_experts, 3); /* two of the first weight; the other has counts of its own */
    assert_near(d.experts[0].share_a, 100.0 / 600);
    tamis_imatrix_diff_release(&d);
    tamis_imatrix_release(&a);
    tamis_imatrix_release(&b);
}

static void an_entry_without_data(void **state) {
    (void)state;
    tamis_imatrix a, b;
    tamis_imatrix_diff d;
    tamis_imatrix_init(&a);
    tamis_imatrix_init(&b);
    add(&a, "x", 2, (float[]){0, 0}, 1, (double[]){0});
    add(&b, "x", 2, (float[]){1, 2}, 1, (double[]){1});
    compare(&a, &b, &d);
    assert_true(d.tensors[0].distance == 1);
    tamis_imatrix_diff_release(&d);
    compare(&a, &a, &d);
    assert_true(d.tensors[0].is_equal && d.tensors[0].distance == 0);
    tamis_imatrix_diff_release(&d);
    tamis_imatrix_release(&a);
    tamis_imatrix_release(&b);
}

static void layouts_of_one_run_differ_by_rounding(void **state) {
    (void)state;
    tamis_imatrix a, b;
    tamis_imatrix_diff d;
    load("idle-expert.c128.gguf", &a);
    load("idle-expert.c128.dat", &b);
    compare(&a, &b, &d);
    assert_int_equal(d.n_comparable, 32);
    assert_int_equal(d.n_equal, 0);
    assert_true(d.max_distance < 1e-12);
    assert_true(fabs(d.min_ratio - 1) < 1e-6 && fabs(d.max_ratio - 1) < 1e-6);
    tamis_imatrix_diff_release(&d);
    tamis_imatrix_release(&a);
    tamis_imatrix_release(&b);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_identical_to_itself),
        cmocka_unit_test(figures_of_a_dense_entry),
        cmocka_unit_test(experts_with_other_shares),
        cmocka_unit_test(an_entry_without_data),
        cmocka_unit_test(layouts_of_one_run_differ_by_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
