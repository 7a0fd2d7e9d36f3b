/* test_formats_encode_golden.c - encoders on the rows of the golden file: no worse than the
 * errors recorded for the reference encoders, and the same bytes where the format fixes them. */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"

enum { N_COLS = 1024, N_ROWS = 16 };

typedef struct errors {
    double mse, weighted_mse, relative; /* as the columns of errors.tsv */
} errors;

static char *golden; /* the whole file */

static uint64_t number_at(const char *at, int n_bytes) {
    uint64_t v = 0;
    for (int i = 0; i < n_bytes; i++)
        v |= (uint64_t)(uint8_t)at[i] << (8 * i);
    return v;
}

/* The data of a tensor. The file is a known fixture: string values only, two dimensions at most. */
static const void *tensor_data(const char *wanted) {
    uint64_t n_tensors = number_at(golden + 8, 8), n_kv = number_at(golden + 16, 8);
    uint64_t found = UINT64_MAX;
    const char *at = golden + 24;
    for (uint64_t i = 0; i < n_kv; i++) {
        at += 8 + number_at(at, 8) + 4;
        at += 8 + number_at(at, 8);
    }
    for (uint64_t i = 0; i < n_tensors; i++) {
        uint64_t n_name = number_at(at, 8);
        const char *name = at + 8;
        at = name + n_name;
        at += 4 + 8 * number_at(at, 4) + 4;
        if (n_name == strlen(wanted) && memcmp(name, wanted, n_name) == 0) found = number_at(at, 8);
        at += 8;
    }
    if (found == UINT64_MAX) fail_msg("no tensor %s", wanted);
    return golden + (at - golden + 31) / 32 * 32 + found;
}

static void measure(const tamis_type *type, const float *x, const float *w, bool with_importance,
                    errors *out) {
    uint8_t blocks[4 * N_COLS];
    float y[N_COLS];
    double sum = 0, weighted = 0, relative = 0, sum_w = 0;
    int n_relative = 0;
    for (int i_row = 0; i_row < N_ROWS; i_row++, x += N_COLS) {
        double off2 = 0, x2 = 0;
        tamis_error err;
        if (tamis_encode_row(type, x, with_importance ? w : NULL, TAMIS_EFFORT_NORMAL, blocks,
                             N_COLS, &err))
            fail_msg("%s row %d: %s", type->name, i_row, err.message);
        type->decode(blocks, y, N_COLS);
        for (int i = 0; i < N_COLS; i++) {
            double off = (double)x[i] - (double)y[i];
            off2 += off * off;
            x2 += (double)x[i] * (double)x[i];
            weighted += (double)w[i] * off * off;
            sum_w += (double)w[i];
        }
        sum += off2;
        if (x2 > 0) {
            relative += off2 / x2;
            n_relative++;
        }
    }
    out->mse = sum / (N_ROWS * N_COLS);
    out->weighted_mse = weighted / sum_w;
    out->relative = relative / n_relative;
}

/* With importance its own measure must not be above the reference's, without the plain ones. */
static void test_recorded_errors(void **state) {
    (void)state;
    const float *x = tensor_data("source"), *w = tensor_data("importance");
    char *text = slurp(shared_path("fixtures/formats/errors.tsv"), NULL);
    int n_checked = 0;
    char *rest = text;
    for (char *line; (line = strtok_r(NULL, "\n", &rest));) {
        char name[32], variant[32], equal[8];
        errors ref, ours;
        if (sscanf(line, "%31s %31s %*f %lf %lf %*f %*f %lf %*s %7s", name, variant, &ref.mse,
                   &ref.weighted_mse, &ref.relative, equal) != 6)
            continue;
        const tamis_type *type = tamis_type_by_name(name);
        if (!type || !tamis_can_encode(type)) continue;
        bool with_importance = strcmp(variant, "imatrix") == 0;
        bool is_fixed = type->importance == TAMIS_IMPORTANCE_IGNORED;
        measure(type, x, w, with_importance, &ours);
        /* The reference ignores importance here: what it does not weigh it may do better. */
        bool is_ours_alone = !is_fixed && strcmp(equal, "yes") == 0;
        /* One step for the signs of 128 elements: there is next to no choice. */
        bool is_signs = strcmp(name, "Q1_0") == 0;
        double share = is_fixed || is_signs || !with_importance ? 1 + 1e-6
                       : is_ours_alone                          ? 0.90
                                                                : 0.97;
        bool is_good = with_importance ? ours.weighted_mse <= share * ref.weighted_mse
                                       : ours.mse <= share * ref.mse;
        if (!is_good || (!is_ours_alone && ours.relative > 1.02 * ref.relative))
            fail_msg("%s %s: mse %g weighted %g relative %g, reference %g %g %g", name, variant,
                     ours.mse, ours.weighted_mse, ours.relative, ref.mse, ref.weighted_mse,
                     ref.relative);
        n_checked++;
    }
    free(text);
    assert_int_equal(n_checked, 40);
}

static void test_fixed_bytes(void **state) {
    (void)state;
    static const char *const names[] = {"F16", "BF16", "Q8_0"};
    const float *x = tensor_data("source");
    for (int i = 0; i < 3; i++) {
        char tensor[32];
        uint8_t blocks[4 * N_COLS];
        uint64_t n_bytes;
        const tamis_type *type = tamis_type_by_name(names[i]);
        snprintf(tensor, sizeof tensor, "%s.plain", names[i]);
        const uint8_t *want = tensor_data(tensor);
        assert_true(tamis_type_row_bytes(type, N_COLS, &n_bytes));
        for (int i_row = 0; i_row < N_ROWS; i_row++) {
            tamis_error err;
            assert_int_equal(tamis_encode_row(type, x + i_row * N_COLS, NULL, TAMIS_EFFORT_NORMAL,
                                              blocks, N_COLS, &err),
                             TAMIS_OK);
            if (memcmp(blocks, want + (size_t)i_row * n_bytes, (size_t)n_bytes) != 0)
                fail_msg("%s row %d", names[i], i_row);
        }
    }
}

int main(void) {
    require_shared();
    tamis_formats_init();
    golden = slurp(shared_path("fixtures/formats/golden.gguf"), NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_errors),
        cmocka_unit_test(test_fixed_bytes),
    };
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(golden);
    return n_failed;
}
