/* test_formats_segment.c - encoding against a quadratic form: the form never rises above what its
 * diagonal alone gives, falls where inputs are correlated, and a diagonal form is plain weights. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"

enum { N = TAMIS_SEGMENT_MAX, N_INPUTS = 512 };

static float form[N * N]; /* H = X'X of inputs with two strong directions in common */
static float x[N];

static float uniform(void) {
    return (float)(rand() % 65536) / 32768.0f - 1.0f;
}

static void fill(unsigned seed, bool is_diagonal) {
    float input[N], first[N], second[N];
    srand(seed);
    memset(form, 0, sizeof form);
    for (int i = 0; i < N; i++) {
        x[i] = 0.05f * (uniform() + uniform() + uniform());
        first[i] = uniform();
        second[i] = uniform();
    }
    for (int k = 0; k < N_INPUTS; k++) {
        float a = 2 * uniform(), b = 2 * uniform();
        for (int i = 0; i < N; i++)
            input[i] = uniform() + a * first[i] + b * second[i];
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                if (!is_diagonal || i == j) form[i * N + j] += input[i] * input[j];
    }
}

static double form_at(const float *y, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            sum += (double)form[i * n + j] * ((double)x[i] - (double)y[i]) *
                   ((double)x[j] - (double)y[j]);
    return sum;
}

static double encode_row(const tamis_type *type, tamis_effort effort, uint8_t *blocks) {
    float diagonal[N], y[N];
    for (int i = 0; i < N; i++)
        diagonal[i] = form[i * N + i];
    assert_int_equal(tamis_encode_row(type, x, diagonal, effort, blocks, N, NULL), TAMIS_OK);
    tamis_decode(type, blocks, y, N);
    return form_at(y, N);
}

static double encode_segment(const tamis_type *type, tamis_effort effort, uint8_t *blocks) {
    float y[N];
    tamis_error err;
    if (tamis_encode_segment(type, x, form, effort, blocks, N, &err)) fail_msg("%s", err.message);
    tamis_decode(type, blocks, y, N);
    return form_at(y, N);
}

static void the_form_falls(void **state) {
    (void)state;
    uint8_t blocks[4 * N];
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    for (int t = 0; t < n_types; t++) {
        const tamis_type *type = &types[t];
        if (!tamis_can_encode(type) || type->class != TAMIS_CLASS_QUANTIZED) continue;
        bool is_fixed =
            type->importance == TAMIS_IMPORTANCE_IGNORED; /* its bytes know no weights */
        double by_rows = 0, by_segments = 0;
        for (unsigned seed = 0; seed < 3; seed++) {
            fill(seed, false);
            double row = encode_row(type, TAMIS_EFFORT_NORMAL, blocks);
            double segment = encode_segment(type, TAMIS_EFFORT_NORMAL, blocks);
            assert_true(segment <= row * (1 + 1e-6));
            by_rows += row;
            by_segments += segment;
        }
        /* Nor do those of a scale in powers of two: the steps of the search end between two values.
         */
        bool is_coarse = type->id == TAMIS_TYPE_MXFP4;
        /* Entries of grids leave steps that are as coarse. */
        bool is_grid = strncmp(type->name, "iq", 2) == 0 && strncmp(type->name, "iq4", 3) != 0;
        if (!is_coarse && !(by_segments < (is_fixed || is_grid ? 1 : 0.95) * by_rows))
            fail_msg("%s: %g, by rows %g", type->name, by_segments, by_rows);
    }
}

static void a_diagonal_is_weights(void **state) {
    (void)state;
    uint8_t a[4 * N], b[4 * N];
    const tamis_type *type = tamis_type_by_id(TAMIS_TYPE_Q4_K);
    fill(7, true);
    encode_row(type, TAMIS_EFFORT_NORMAL, a);
    double segment = encode_segment(type, TAMIS_EFFORT_NORMAL, b);
    float y[N];
    tamis_decode(type, a, y, N);
    assert_true(segment <= form_at(y, N) * (1 + 1e-6));
    assert_true(segment > 0.97 * form_at(y, N));
}

static void every_level_gives_the_same(void **state) {
    (void)state;
    static const char *const levels[] = {"avx2", "avx512"};
    uint8_t plain[4 * N], fast[4 * N];
    const tamis_type *type = tamis_type_by_id(TAMIS_TYPE_Q3_K);
    fill(8, false);
    use_cpu("plain");
    encode_segment(type, TAMIS_EFFORT_NORMAL, plain);
    for (int i = 0; i < 2; i++) {
        use_cpu(levels[i]);
        encode_segment(type, TAMIS_EFFORT_NORMAL, fast);
        assert_memory_equal(plain, fast, type->block_bytes);
    }
    use_cpu("");
}

static void refuses_what_does_not_fit(void **state) {
    (void)state;
    uint8_t blocks[4 * N];
    tamis_error err;
    const tamis_type *type = tamis_type_by_id(TAMIS_TYPE_Q4_0);
    static const int64_t lengths[] = {0, -32, 33, N + 32};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            tamis_encode_segment(type, x, form, TAMIS_EFFORT_FAST, blocks, lengths[i], &err),
            TAMIS_BAD_USAGE);
        assert_non_null(strstr(err.message, "multiples of 32 up to 256"));
    }
    fill(9, false);
    x[17] = NAN;
    assert_int_equal(tamis_encode_segment(type, x, form, TAMIS_EFFORT_FAST, blocks, 32, &err),
                     TAMIS_BAD_INPUT);
    assert_non_null(strstr(err.message, "17"));
}

int main(void) {
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_form_falls),
        cmocka_unit_test(a_diagonal_is_weights),
        cmocka_unit_test(every_level_gives_the_same),
        cmocka_unit_test(refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
