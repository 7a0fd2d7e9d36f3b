/* test_formats_encode_small.c - mxfp4, nvfp4, tq1_0, tq2_0, q2_0, q1_0: the least error there is
 * against trying everything, never worse than the reference's rule, never worse with more
 * effort, and no code or scale that should not be written. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/codebooks.h"
#include "formats/formats.h"

enum { N = 1024, MAX_BYTES = N, MAX_BLOCK = 256 };

static const tamis_effort efforts[] = {TAMIS_EFFORT_FAST, TAMIS_EFFORT_NORMAL, TAMIS_EFFORT_BEST};

static const int32_t small_types[] = {TAMIS_TYPE_MXFP4, TAMIS_TYPE_NVFP4, TAMIS_TYPE_TQ1_0,
                                      TAMIS_TYPE_TQ2_0, TAMIS_TYPE_Q2_0,  TAMIS_TYPE_Q1_0};
enum { N_SMALL = sizeof small_types / sizeof small_types[0] };

static uint64_t seed;

static float uniform(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((int32_t)(seed >> 40) - (1 << 23)) / (float)(1 << 23);
}

static float bell(void) {
    return uniform() + uniform() + uniform() + uniform();
}

enum { BELL, HEAVY, OUTLIER, LEVELS, ONE_SIDED, CONSTANT, FALLING, NEAR_LIMIT, ZERO_MIXED, N_ROWS };

static void fill_row(const tamis_type *type, int kind, float *x) {
    float largest = type->largest > 65504.0f ? 65504.0f : type->largest;
    for (int i = 0; i < N; i++) {
        float b = bell();
        x[i] = 0.03125f * b;
        if (kind == HEAVY) x[i] *= b * b * b * b;
        if (kind == OUTLIER && i % 200 == 77) x[i] *= 1000.0f;
        if (kind == LEVELS) x[i] = 0.0117f * rintf(b);
        if (kind == ONE_SIDED) x[i] = -0.5f + 0.125f * b;
        if (kind == CONSTANT) x[i] = -0.3f;
        if (kind == FALLING) x[i] = ldexpf(b, -4 - i / 32);
        if (kind == NEAR_LIMIT) x[i] = 0.25f * largest * b;
        if (kind == ZERO_MIXED) x[i] = i % 64 < 40 ? 0.0f : 0.1f * b;
    }
}

enum { NO_WEIGHTS, MILD, SPREAD, GAPS, EMPTY, N_WEIGHTS };

static const float *fill_weights(int kind, float *w) {
    for (int i = 0; i < N; i++) {
        float u = 0.0625f + fabsf(uniform());
        w[i] = u * u;
        if (kind == SPREAD) w[i] = ldexpf(u, (int)(17.0f * uniform()));
        if (kind == GAPS) w[i] = i / 24 % 3 ? u : 0.0f;
        if (kind == EMPTY) w[i] = 0.0f;
    }
    return kind == NO_WEIGHTS ? NULL : w;
}

static void encode(const tamis_type *type, const float *x, const float *w, tamis_effort effort,
                   uint8_t *blocks, float *y) {
    tamis_error err;
    if (tamis_encode_row(type, x, w, effort, blocks, N, &err) != TAMIS_OK)
        fail_msg("%s", err.message);
    type->decode(blocks, y, N);
}

static double error_of(const float *x, const float *y, const float *w, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double off = (double)x[i] - (double)y[i];
        sum += (w ? (double)w[i] : 1.0) * off * off;
    }
    return sum;
}

/* A block with importance in it, or none that counts. */
static const float *weights_of(const float *w, int at, int n) {
    bool any = false;
    for (int i = 0; w && i < n; i++)
        any |= w[at + i] > 0;
    return any ? w + at : NULL;
}

/* --- the reference's rules, reference/tensor-types.md section 5 --- */

static float f16(float v) {
    uint8_t bytes[2];
    const tamis_type *type = tamis_type_by_id(TAMIS_TYPE_F16);
    if (tamis_encode_row(type, &v, NULL, TAMIS_EFFORT_NORMAL, bytes, 1, NULL)) fail();
    type->decode(bytes, &v, 1);
    return v;
}

static float e4m3_half(int code) {
    if (code < 8) return (float)code * 0x1p-10f;
    return ldexpf((float)(8 + (code & 7)), (code >> 3) - 11);
}

static int e4m3_of(float v) {
    v = fminf(v, 448.0f);
    if (v < 0x1p-6f) return (int)fminf(7.0f, roundf(v * 512.0f));
    int exponent;
    float mantissa = frexpf(v, &exponent); /* [0.5, 1) */
    int code = (exponent + 6) * 8 + (int)floorf(mantissa * 16.0f + 0.5f) - 8;
    return code > 126 ? 126 : code;
}

static float fp4_nearest(float x, float step) {
    float best = 0;
    for (int q = 0; q < 16; q++) {
        float value = (float)tamis_fp4_values[q] * step;
        if (fabsf(x - value) < fabsf(x - best)) best = value;
    }
    return best;
}

static float top_of(const float *x, int n) {
    float top = 0;
    for (int i = 0; i < n; i++)
        top = fmaxf(top, fabsf(x[i]));
    return top;
}

static float scale_of_block(int32_t id, const float *x, int n) {
    float top = top_of(x, n), sum = 0;
    switch (id) {
    case TAMIS_TYPE_MXFP4:
        return top > 0 ? ldexpf(1.0f, (int)floorf(log2f(top)) - 3) : 0;
    case TAMIS_TYPE_NVFP4:
        return e4m3_half(e4m3_of(top / 6.0f));
    case TAMIS_TYPE_Q1_0:
        for (int i = 0; i < n; i++)
            sum += fabsf(x[i]);
        return sum / (float)n;
    default:
        return top;
    }
}

static void reference_block(int32_t id, const float *x, int n, float *y) {
    float d = scale_of_block(id, x, n);
    bool is_fp4 = id == TAMIS_TYPE_MXFP4 || id == TAMIS_TYPE_NVFP4;
    for (int i = 0; i < n; i++) {
        float q = d > 0 ? roundf(x[i] * (1.0f / d)) : 0;
        if (id == TAMIS_TYPE_Q1_0) q = x[i] >= 0 ? 1.0f : -1.0f;
        y[i] = is_fp4 ? fp4_nearest(x[i], d) : q * f16(d);
    }
}

/* Elements that share a scale. */
static int group_of(const tamis_type *type) {
    return type->id == TAMIS_TYPE_NVFP4 ? 16 : (int)type->block_elems;
}

/* In each group: the reference's rule >= fast >= normal >= best. */
static void test_never_worse(void **state) {
    (void)state;
    float x[N], y[N], w_room[N], worse[N];
    uint8_t blocks[MAX_BYTES];
    seed = 1;
    for (int i = 0; i < N_SMALL * N_ROWS * N_WEIGHTS; i++) {
        const tamis_type *type = tamis_type_by_id(small_types[i % N_SMALL]);
        int row = i / N_SMALL % N_ROWS, weights = i / N_SMALL / N_ROWS, n = group_of(type);
        fill_row(type, row, x);
        const float *w = fill_weights(weights, w_room);
        for (int at = 0; at < N; at += n)
            reference_block(type->id, x + at, n, worse + at);
        for (int e = 0; e < 3; e++) {
            encode(type, x, w, efforts[e], blocks, y);
            for (int at = 0; at < N; at += n) {
                const float *w_group = weights_of(w, at, n);
                double most = error_of(x + at, worse + at, w_group, n);
                double ours = error_of(x + at, y + at, w_group, n);
                double slack = e == 0 ? 1e-5 : 0;
                if (!(ours <= most * (1 + slack) + 1e-30))
                    fail_msg("%s row %d weights %d at %d, %s: %.9g, with less effort %.9g",
                             type->name, row, weights, at, tamis_effort_name(efforts[e]), ours,
                             most);
            }
            memcpy(worse, y, sizeof y);
        }
    }
}

/* --- the least error there is --- */

/* Least error over all scales of a 4-bit float, each with the nearest values. */
static double least_fp4(int32_t id, const float *x, const float *w, int n) {
    double least = INFINITY;
    int n_scales = id == TAMIS_TYPE_MXFP4 ? 255 : 127;
    float top = top_of(x, n);
    for (int code = 0; code < n_scales; code++) {
        float step = id == TAMIS_TYPE_MXFP4 ? ldexpf(1.0f, code - 128) : e4m3_half(code), y[32];
        if (step > top && code > 0) break;
        for (int i = 0; i < n; i++)
            y[i] = fp4_nearest(x[i], step);
        least = fmin(least, error_of(x, y, w, n));
    }
    return least;
}

static void test_fp4_is_exact(void **state) {
    (void)state;
    float x[N], y[N], w_room[N];
    uint8_t blocks[MAX_BYTES];
    seed = 2;
    for (int i = 0; i < 2 * N_ROWS * N_WEIGHTS; i++) {
        const tamis_type *type = tamis_type_by_id(small_types[i % 2]);
        int row = i / 2 % N_ROWS, n = group_of(type);
        fill_row(type, row, x);
        const float *w = fill_weights(i / 2 / N_ROWS, w_room);
        bool is_mxfp4 = type->id == TAMIS_TYPE_MXFP4;
        encode(type, x, w, is_mxfp4 ? TAMIS_EFFORT_NORMAL : TAMIS_EFFORT_BEST, blocks, y);
        for (int at = 0; at < N; at += n) {
            const float *w_group = weights_of(w, at, n);
            double least = least_fp4(type->id, x + at, w_group, n);
            double ours = error_of(x + at, y + at, w_group, n);
            if (!(ours <= least * (1 + 2e-5) + 1e-24))
                fail_msg("%s row %d at %d: %.9g, could be %.9g", type->name, row, at, ours, least);
        }
    }
}

/* Least error over a range of stored steps. Steps below a 64th of the largest magnitude are left
 * out: rows here have no use for them. */
static double least_step(const float *x, const float *w, int n, bool has_two) {
    double least = error_of(x, (const float[MAX_BLOCK]){0}, w, n);
    float top = top_of(x, n), y[MAX_BLOCK];
    for (float d = f16(top / 64.0f); d < 1.01f * top; d = f16(d * 1.000977f)) {
        for (int sign = -1; sign <= (has_two ? 1 : -1); sign += 2) {
            for (int i = 0; i < n; i++) {
                float q = rintf(x[i] / (d * (float)sign));
                y[i] = d * (float)sign * fminf(fmaxf(q, -1.0f), has_two ? 2.0f : 1.0f);
            }
            least = fmin(least, error_of(x, y, w, n));
        }
    }
    return least;
}

static void test_step_is_exact_at_best(void **state) {
    (void)state;
    static const int rows[] = {BELL, HEAVY, OUTLIER, LEVELS, ONE_SIDED, ZERO_MIXED};
    static const int32_t ids[] = {TAMIS_TYPE_TQ2_0, TAMIS_TYPE_Q2_0};
    float x[N], y[N], w_room[N];
    uint8_t blocks[MAX_BYTES];
    seed = 3;
    for (int i = 0; i < 2 * 6 * 2; i++) {
        const tamis_type *type = tamis_type_by_id(ids[i % 2]);
        int row = rows[i / 2 % 6], n = (int)type->block_elems;
        fill_row(type, row, x);
        const float *w = fill_weights(i / 12, w_room);
        for (int e = 1; e < 3; e++) {
            encode(type, x, w, efforts[e], blocks, y);
            for (int at = 0; at < 2 * n; at += n) {
                const float *w_block = weights_of(w, at, n);
                double least = least_step(x + at, w_block, n, type->id == TAMIS_TYPE_Q2_0);
                double ours = error_of(x + at, y + at, w_block, n), slack = e == 1 ? 2e-2 : 5e-5;
                if (!(ours <= least * (1 + slack) + 1e-12))
                    fail_msg("%s row %d at %d, %s: %.9g, could be %.9g", type->name, row, at,
                             tamis_effort_name(efforts[e]), ours, least);
            }
        }
    }
}

/* --- what must never be written --- */

static void check_mxfp4(const uint8_t *b) {
    assert_true(b[0] != 255);
    for (int i = 1; i < 17; i++)
        assert_true((b[i] & 15) != 8 && b[i] >> 4 != 8);
}

static void check_nvfp4(const uint8_t *b) {
    for (int i = 0; i < 4; i++)
        assert_true(b[i] < 127);
    for (int i = 4; i < 36; i++)
        assert_true((b[i] & 15) != 8 && b[i] >> 4 != 8);
}

static void check_tq1_0(const uint8_t *b) {
    for (int i = 0; i < 52; i++) {
        /* The only byte for its five digits, and no fifth digit in the last four bytes. */
        int v = b[i] * 243 / 256;
        assert_int_equal(b[i], (v * 256 + 242) / 243);
        assert_true(i < 48 || v % 3 == 0);
    }
}

static void check_tq2_0(const uint8_t *b) {
    for (int i = 0; i < 64; i++)
        assert_int_equal(b[i] & (b[i] >> 1) & 0x55, 0);
}

static void check_sign_of_zero(const uint8_t *b, const float *x) {
    for (int i = 0; i < 128; i++)
        assert_int_equal((b[2 + i / 8] >> (i % 8)) & 1, x[i] >= 0);
}

static void test_what_is_written(void **state) {
    (void)state;
    float x[N], y[N], w_room[N];
    uint8_t blocks[MAX_BYTES];
    seed = 4;
    for (int i = 0; i < N_SMALL * N_ROWS * N_WEIGHTS; i++) {
        const tamis_type *type = tamis_type_by_id(small_types[i % N_SMALL]);
        fill_row(type, i / N_SMALL % N_ROWS, x);
        x[17] = 0.0f;
        x[18] = -0.0f;
        encode(type, x, fill_weights(i / N_SMALL / N_ROWS, w_room), efforts[i % 3], blocks, y);
        int n_blocks = N / (int)type->block_elems;
        assert_int_equal(tamis_find_bad_block(type, blocks, n_blocks), n_blocks);
        for (int b = 0; b < n_blocks; b++) {
            const uint8_t *block = blocks + (size_t)b * type->block_bytes;
            if (type->id == TAMIS_TYPE_MXFP4) check_mxfp4(block);
            if (type->id == TAMIS_TYPE_NVFP4) check_nvfp4(block);
            if (type->id == TAMIS_TYPE_TQ1_0) check_tq1_0(block);
            if (type->id == TAMIS_TYPE_TQ2_0) check_tq2_0(block);
            if (type->id == TAMIS_TYPE_Q1_0) check_sign_of_zero(block, x + 128 * b);
        }
    }
}

/* tq1_0 and tq2_0 hold the same values in other bytes. */
static void test_ternary_types_agree(void **state) {
    (void)state;
    float x[N], one[N], two[N], w[N];
    uint8_t blocks[MAX_BYTES];
    const tamis_type *tq1 = tamis_type_by_id(TAMIS_TYPE_TQ1_0);
    const tamis_type *tq2 = tamis_type_by_id(TAMIS_TYPE_TQ2_0);
    seed = 5;
    for (int row = 0; row < N_ROWS; row++) {
        fill_row(tq1, row, x);
        fill_weights(MILD, w);
        encode(tq1, x, w, TAMIS_EFFORT_NORMAL, blocks, one);
        encode(tq2, x, w, TAMIS_EFFORT_NORMAL, blocks, two);
        assert_memory_equal(one, two, sizeof one);
    }
}

/* A block's bytes depend on its own weights only. */
static void test_blocks_are_independent(void **state) {
    (void)state;
    float x[N], y[N], w[N], x_turned[N], w_turned[N];
    uint8_t blocks[MAX_BYTES], turned[MAX_BYTES];
    seed = 6;
    for (int t = 0; t < N_SMALL; t++) {
        const tamis_type *type = tamis_type_by_id(small_types[t]);
        size_t n = type->block_elems, n_bytes = type->block_bytes;
        fill_row(type, HEAVY, x);
        fill_weights(SPREAD, w);
        for (size_t b = 0; b < N / n; b++) {
            memcpy(x_turned + N - (b + 1) * n, x + b * n, n * sizeof *x);
            memcpy(w_turned + N - (b + 1) * n, w + b * n, n * sizeof *w);
        }
        encode(type, x, w, TAMIS_EFFORT_NORMAL, blocks, y);
        encode(type, x_turned, w_turned, TAMIS_EFFORT_NORMAL, turned, y);
        for (size_t b = 0; b < N / n; b++)
            assert_memory_equal(blocks + b * n_bytes, turned + (N / n - b - 1) * n_bytes, n_bytes);
    }
}

/* Powers of two go into the scale alone, as long as it has room: down to values that have no f16,
 * mxfp4 alone goes on. */
static void test_scaling(void **state) {
    (void)state;
    float x[N], y[N], w[N], scaled[N], y_scaled[N];
    uint8_t blocks[MAX_BYTES];
    seed = 7;
    for (int t = 0; t < N_SMALL; t++) {
        const tamis_type *type = tamis_type_by_id(small_types[t]);
        bool is_wide = type->id == TAMIS_TYPE_MXFP4;
        fill_row(type, BELL, x);
        for (int i = 0; i < N; i++)
            x[i] *= 32.0f; /* magnitudes up to 4 */
        fill_weights(MILD, w);
        encode(type, x, w, TAMIS_EFFORT_NORMAL, blocks, y);
        for (int power = is_wide ? -122 : -3; power <= (is_wide ? 124 : 8); power += 1) {
            for (int i = 0; i < N; i++)
                scaled[i] = ldexpf(x[i], power);
            encode(type, scaled, w, TAMIS_EFFORT_NORMAL, blocks, y_scaled);
            for (int i = 0; i < N; i++)
                assert_true(y_scaled[i] == ldexpf(y[i], power));
        }
    }
}

/* Magnitudes far below the smallest scale, and up to the largest that are taken. */
static void test_ends_of_the_range(void **state) {
    (void)state;
    float x[N], y[N];
    uint8_t blocks[MAX_BYTES];
    seed = 8;
    for (int t = 0; t < N_SMALL; t++) {
        const tamis_type *type = tamis_type_by_id(small_types[t]);
        fill_row(type, BELL, x);
        x[5] = type->largest;
        encode(type, x, NULL, TAMIS_EFFORT_NORMAL, blocks, y);
        assert_int_equal(tamis_find_nonfinite(y, N), N);
        tamis_error err;
        x[5] *= -1.01f;
        assert_int_equal(tamis_encode_row(type, x, NULL, TAMIS_EFFORT_NORMAL, blocks, N, &err),
                         TAMIS_BAD_INPUT);
        for (int i = 0; i < N; i++)
            x[i] = ldexpf(bell(), -149 + i / 64);
        encode(type, x, NULL, TAMIS_EFFORT_NORMAL, blocks, y);
        for (int i = 0; i < N; i++)
            assert_true(fabsf(y[i]) < 0x1p-120f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_worse),
        cmocka_unit_test(test_fp4_is_exact),
        cmocka_unit_test(test_step_is_exact_at_best),
        cmocka_unit_test(test_what_is_written),
        cmocka_unit_test(test_ternary_types_agree),
        cmocka_unit_test(test_blocks_are_independent),
        cmocka_unit_test(test_scaling),
        cmocka_unit_test(test_ends_of_the_range),
    };
    tamis_formats_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
