/* test_formats_encode_golden.c - encoders on the rows of the golden file: no worse than the
 * errors of the reference encoders, and the same bytes where the format fixes them. */
#include "support.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"

enum { N_COLS = 1024, N_ROWS = 16 };

/* Mean over elements of the squared error, plain and weighted; mean over rows of the weighted
 * error as a share of the row's weighted squares (without importance: of plain squares). */
typedef struct errors {
    double mse, weighted_mse, relative;
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

/* y: [N_ROWS][N_COLS] decoded. */
static errors measure(const float *x, const float *y, const float *w, bool with_importance) {
    errors out = {0};
    double sum_w = 0;
    int n_relative = 0;
    for (int i_row = 0; i_row < N_ROWS; i_row++, x += N_COLS, y += N_COLS) {
        double off2 = 0, x2 = 0;
        for (int i = 0; i < N_COLS; i++) {
            double off = (double)x[i] - (double)y[i], weight = with_importance ? (double)w[i] : 1;
            off2 += weight * off * off;
            x2 += weight * (double)x[i] * (double)x[i];
            out.mse += off * off / (N_ROWS * N_COLS);
            out.weighted_mse += (double)w[i] * off * off;
            sum_w += (double)w[i];
        }
        if (x2 > 0) {
            out.relative += off2 / x2;
            n_relative++;
        }
    }
    out.weighted_mse /= sum_w;
    out.relative /= n_relative;
    return out;
}

static errors measure_ours(const tamis_type *type, const float *x, const float *w,
                           bool with_importance, tamis_effort effort) {
    static float y[N_ROWS * N_COLS];
    uint8_t blocks[4 * N_COLS];
    for (int i_row = 0; i_row < N_ROWS; i_row++) {
        tamis_error err;
        if (tamis_encode_row(type, x + i_row * N_COLS, with_importance ? w : NULL, effort, blocks,
                             N_COLS, &err))
            fail_msg("%s row %d: %s", type->name, i_row, err.message);
        type->decode(blocks, y + i_row * N_COLS, N_COLS);
    }
    return measure(x, y, w, with_importance);
}

static errors measure_reference(const tamis_type *type, const char *tensor, const float *x,
                                const float *w, bool with_importance) {
    static float y[N_ROWS * N_COLS];
    type->decode(tensor_data(tensor), y, N_ROWS * N_COLS);
    return measure(x, y, w, with_importance);
}

/* What share of the reference's error is allowed. */
typedef struct shares {
    double error, relative;
} shares;

static shares allowed(const tamis_type *type, bool with_importance, bool is_ours_alone,
                      tamis_effort effort) {
    bool is_best = effort == TAMIS_EFFORT_BEST;
    /* One step for the signs of 128 elements: there is next to no choice. */
    bool is_signs = type->id == tamis_type_by_name("q1_0")->id;
    if (type->importance == TAMIS_IMPORTANCE_IGNORED || is_signs || !with_importance) {
        return (shares){1 + 1e-6, 1.02};
    }
    if (is_ours_alone) return (shares){0.90, INFINITY};
    /* A step for 32 elements and nothing else: the reference is near the least possible too. */
    bool is_simple = type->block_elems == 32;
    return (shares){is_best ? 0.95 : 0.97, is_simple ? 0.975 : is_best ? 0.95 : 0.97};
}

/* With importance the weighted errors count, without the plain ones. */
static void test_errors_beside_the_reference(void **state) {
    (void)state;
    const float *x = tensor_data("source"), *w = tensor_data("importance");
    char *text = slurp(shared_path("fixtures/formats/errors.tsv"), NULL);
    int n_checked = 0;
    char *rest = text;
    for (char *line; (line = strtok_r(NULL, "\n", &rest));) {
        char name[32], variant[32], equal[8], tensor[80];
        errors recorded;
        if (sscanf(line, "%31s %31s %*f %lf %lf %*f %*f %*f %*s %7s", name, variant, &recorded.mse,
                   &recorded.weighted_mse, equal) != 5)
            continue;
        const tamis_type *type = tamis_type_by_name(name);
        if (!type || !tamis_can_encode(type)) continue;
        bool with_importance = strcmp(variant, "imatrix") == 0;
        /* The reference ignores importance here: what it does not weigh it may do better. */
        bool is_ours_alone =
            type->importance != TAMIS_IMPORTANCE_IGNORED && strcmp(equal, "yes") == 0;
        snprintf(tensor, sizeof tensor, "%s.%s", name, variant);
        errors ref = measure_reference(type, tensor, x, w, with_importance);
        assert_true(fabs(ref.mse / recorded.mse - 1) < 1e-5);
        assert_true(fabs(ref.weighted_mse / recorded.weighted_mse - 1) < 1e-5);
        for (tamis_effort e = TAMIS_EFFORT_NORMAL; e <= TAMIS_EFFORT_BEST; e++) {
            shares most = allowed(type, with_importance, is_ours_alone, e);
            errors ours = measure_ours(type, x, w, with_importance, e);
            double error =
                with_importance ? ours.weighted_mse / ref.weighted_mse : ours.mse / ref.mse;
            double relative = ours.relative / ref.relative;
            if (!(error <= most.error) || !(relative <= most.relative))
                fail_msg("%s %s, effort %s: %g of the reference's error (at most %g), by rows %g "
                         "(at most %g)",
                         name, variant, tamis_effort_name(e), error, most.error, relative,
                         most.relative);
        }
        n_checked++;
    }
    free(text);
    assert_true(n_checked >= 51);
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
        cmocka_unit_test(test_errors_beside_the_reference),
        cmocka_unit_test(test_fixed_bytes),
    };
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(golden);
    return n_failed;
}
