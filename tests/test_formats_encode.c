/* test_formats_encode.c - encoders: the same bytes on every CPU level and by every compiler,
 * small errors, refusal of what a format cannot hold. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "formats/formats.h"

enum { N = 2048, MAX_BYTES = 4 * N };

static const int32_t encoded_types[] = {
    TAMIS_TYPE_F32,     TAMIS_TYPE_F16,     TAMIS_TYPE_BF16,     TAMIS_TYPE_Q4_0,
    TAMIS_TYPE_Q4_1,    TAMIS_TYPE_Q5_0,    TAMIS_TYPE_Q5_1,     TAMIS_TYPE_Q8_0,
    TAMIS_TYPE_Q2_K,    TAMIS_TYPE_Q3_K,    TAMIS_TYPE_Q4_K,     TAMIS_TYPE_Q5_K,
    TAMIS_TYPE_Q6_K,    TAMIS_TYPE_IQ4_NL,  TAMIS_TYPE_IQ4_XS,   TAMIS_TYPE_TQ1_0,
    TAMIS_TYPE_TQ2_0,   TAMIS_TYPE_MXFP4,   TAMIS_TYPE_NVFP4,    TAMIS_TYPE_Q1_0,
    TAMIS_TYPE_Q2_0,    TAMIS_TYPE_IQ2_XXS, TAMIS_TYPE_IQ2_XS,   TAMIS_TYPE_IQ2_S,
    TAMIS_TYPE_IQ3_XXS, TAMIS_TYPE_IQ3_S,   TAMIS_TYPE_IQ1_S,    TAMIS_TYPE_IQ1_M,
    TAMIS_TYPE_IQ1_XS,  TAMIS_TYPE_IQ1_XXS, TAMIS_TYPE_IQ1_XXXS,
};
enum { N_ENCODED = sizeof encoded_types / sizeof encoded_types[0] };

static uint64_t seed;

/* Integers, exact divisions and powers of two only, so that every build gets the same input. */
static uint32_t random_bits(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 40);
}

static float uniform(void) {
    return (float)((int32_t)random_bits() - (1 << 23)) / (float)(1 << 23);
}

static float bell(void) {
    return uniform() + uniform() + uniform() + uniform();
}

enum { BELL, HEAVY, OUTLIERS, POSITIVE, CONSTANT, TWO_VALUED, SMALL, SPECKS, ZEROS, VAST, N_ROWS };

static void fill_row(int kind, float *x) {
    for (int i = 0; i < N; i++) {
        float b = bell();
        switch (kind) {
        case HEAVY:
            x[i] = b * b * b * 0.125f;
            break;
        case OUTLIERS:
            x[i] = random_bits() % 300 == 0 ? 100.0f * b : 0.03125f * b;
            break;
        case POSITIVE:
            x[i] = 0.5f + 0.0625f * b;
            break;
        case CONSTANT:
            x[i] = -0.375f;
            break;
        case TWO_VALUED:
            x[i] = random_bits() & 1 ? 0.03125f : -0.09375f;
            break;
        case SMALL:
            x[i] = ldexpf(b, -16 - i / 512);
            break;
        case SPECKS:
            x[i] = ldexpf(b, -30 - i / 16);
            break;
        case ZEROS:
            x[i] = random_bits() & 1 ? 0.0f : -0.0f;
            break;
        case VAST:
            x[i] = 15000.0f * b;
            break;
        default:
            x[i] = 0.03125f * b * (float)(1 + i / 256);
            break;
        }
    }
}

/* A row of a kind, brought into the range of a type. */
static void fill_row_of(const tamis_type *type, int kind, float *x) {
    fill_row(kind, x);
    for (int i = 0; kind == VAST && i < N && type->largest > 0 && type->largest < 60000; i++)
        x[i] *= 0.03125f;
}

enum { NO_WEIGHTS, MILD, SPREAD, HALF_EMPTY, EMPTY, LARGE, N_WEIGHTS };

static const float *fill_weights(int kind, float *w) {
    for (int i = 0; i < N; i++) {
        float u = 0.015625f + fabsf(uniform());
        switch (kind) {
        case SPREAD:
            w[i] = ldexpf(u, -(int)(random_bits() % 34));
            break;
        case HALF_EMPTY:
            w[i] = (i / 48) % 2 ? u : 0.0f;
            break;
        case EMPTY:
            w[i] = 0.0f;
            break;
        case LARGE:
            w[i] = ldexpf(u, 100);
            break;
        default:
            w[i] = u * u * 4.0f;
            break;
        }
    }
    return kind == NO_WEIGHTS ? NULL : w;
}

static void encode(const tamis_type *type, const float *x, const float *w, uint8_t *blocks) {
    tamis_error err;
    if (tamis_encode_row(type, x, w, TAMIS_EFFORT_NORMAL, blocks, N, &err) != TAMIS_OK)
        fail_msg("%s", err.message);
}

static void encode_plain(const tamis_type *type, const float *x, const float *w, uint8_t *blocks) {
    use_cpu("plain");
    encode(type, x, w, blocks);
}

static double weighted_error(const float *x, const float *y, const float *w, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double off = (double)x[i] - (double)y[i];
        sum += (w ? (double)w[i] : 1.0) * off * off;
    }
    return sum;
}

static void test_levels_agree(void **state) {
    (void)state;
    static const char *const levels[] = {"avx2", "avx512"};
    float x[N], w_room[N];
    uint8_t plain[MAX_BYTES], fast[MAX_BYTES];
    seed = 1;
    for (int i = 0; i < N_ROWS * N_WEIGHTS * N_ENCODED; i++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[i % N_ENCODED]);
        int row_kind = i / N_ENCODED % N_ROWS;
        fill_row_of(type, row_kind, x);
        const float *w = fill_weights(i / N_ENCODED / N_ROWS, w_room);
        uint64_t n_bytes;
        assert_true(tamis_type_row_bytes(type, N, &n_bytes));
        encode_plain(type, x, w, plain);
        for (int level = 0; level < 2; level++) {
            use_cpu(levels[level]);
            memset(fast, 0xA5, sizeof fast);
            encode(type, x, w, fast);
            if (memcmp(plain, fast, (size_t)n_bytes) != 0)
                fail_msg("%s row %d: %s differs", type->name, row_kind, tamis_formats_cpu());
        }
    }
}

/* Rows that do not fill the vectors encode as the start of rows that do. */
static void test_short_rows(void **state) {
    (void)state;
    float x[N], w[N];
    uint8_t whole[MAX_BYTES], part[MAX_BYTES];
    seed = 2;
    fill_row(BELL, x);
    fill_weights(MILD, w);
    for (int t = 0; t < N_ENCODED; t++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[t]);
        encode_plain(type, x, w, whole);
        for (int64_t n = type->block_elems; n < N; n += 3 * type->block_elems) {
            size_t n_bytes = (size_t)n / type->block_elems * type->block_bytes;
            part[n_bytes] = 0x5A;
            tamis_error err;
            assert_int_equal(tamis_encode_row(type, x, w, TAMIS_EFFORT_NORMAL, part, n, &err),
                             TAMIS_OK);
            assert_memory_equal(whole, part, n_bytes);
            assert_int_equal(part[n_bytes], 0x5A);
        }
    }
}

/* Rows that share their importance give in one call what each gives alone. */
static void test_rows_together(void **state) {
    (void)state;
    static const char *const levels[] = {"plain", "avx2", "avx512"};
    static float x[3 * N];
    static uint8_t together[3 * MAX_BYTES];
    float w_room[N];
    uint8_t alone[MAX_BYTES];
    tamis_error err;
    seed = 12;
    for (int i = 0; i < 3 * N_WEIGHTS * N_ENCODED; i++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[i % N_ENCODED]);
        const float *w = fill_weights(i / N_ENCODED / 3, w_room);
        int64_t bad_row;
        uint64_t n_bytes;
        assert_true(tamis_type_row_bytes(type, N, &n_bytes));
        use_cpu(levels[i / N_ENCODED % 3]);
        for (int row = 0; row < 3; row++)
            fill_row(row == 1 ? BELL : (i + row) % N_ROWS, x + row * N);
        if (tamis_encode_rows(type, x, w, TAMIS_EFFORT_NORMAL, together, N, 3, &bad_row, &err))
            continue; /* the format cannot hold one of them */
        for (int row = 0; row < 3; row++) {
            encode(type, x + row * N, w, alone);
            assert_memory_equal(together + (size_t)row * n_bytes, alone, n_bytes);
        }
    }
}

static void test_bad_row_is_named(void **state) {
    (void)state;
    static float x[3 * N];
    static uint8_t blocks[3 * MAX_BYTES];
    int64_t bad_row;
    tamis_error err;
    for (int t = 0; t < N_ENCODED; t++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[t]);
        memset(x, 0, sizeof x);
        x[2 * N + 5] = NAN;
        assert_int_equal(
            tamis_encode_rows(type, x, NULL, TAMIS_EFFORT_NORMAL, blocks, N, 3, &bad_row, &err),
            TAMIS_BAD_INPUT);
        assert_int_equal(bad_row, 2);
        assert_non_null(strstr(err.message, "element 5"));
    }
}

/* What each type may lose on bell-shaped rows, as a share of the row's sum of squares. */
static void test_error_is_small(void **state) {
    (void)state;
    static const struct {
        int32_t id;
        double most;
    } cases[] = {
        {TAMIS_TYPE_F32, 0},           {TAMIS_TYPE_F16, 1e-6},      {TAMIS_TYPE_BF16, 4e-6},
        {TAMIS_TYPE_Q4_0, 8e-3},       {TAMIS_TYPE_Q4_1, 6e-3},     {TAMIS_TYPE_Q5_0, 2e-3},
        {TAMIS_TYPE_Q5_1, 1.5e-3},     {TAMIS_TYPE_Q8_0, 4e-5},     {TAMIS_TYPE_Q2_K, 8e-2},
        {TAMIS_TYPE_Q3_K, 3e-2},       {TAMIS_TYPE_Q4_K, 6e-3},     {TAMIS_TYPE_Q5_K, 1.5e-3},
        {TAMIS_TYPE_Q6_K, 5e-4},       {TAMIS_TYPE_IQ4_NL, 6e-3},   {TAMIS_TYPE_IQ4_XS, 6e-3},
        {TAMIS_TYPE_TQ1_0, 2e-1},      {TAMIS_TYPE_TQ2_0, 2e-1},    {TAMIS_TYPE_MXFP4, 1.5e-2},
        {TAMIS_TYPE_NVFP4, 8e-3},      {TAMIS_TYPE_Q1_0, 4e-1},     {TAMIS_TYPE_Q2_0, 1.5e-1},
        {TAMIS_TYPE_IQ2_XXS, 1.3e-1},  {TAMIS_TYPE_IQ2_XS, 1e-1},   {TAMIS_TYPE_IQ2_S, 8e-2},
        {TAMIS_TYPE_IQ3_XXS, 5e-2},    {TAMIS_TYPE_IQ3_S, 3e-2},    {TAMIS_TYPE_IQ1_S, 2.2e-1},
        {TAMIS_TYPE_IQ1_M, 2e-1},      {TAMIS_TYPE_IQ1_XS, 2.4e-1}, {TAMIS_TYPE_IQ1_XXS, 2.7e-1},
        {TAMIS_TYPE_IQ1_XXXS, 3.2e-1},
    };
    float x[N], y[N], zero[N] = {0};
    uint8_t blocks[MAX_BYTES];
    seed = 4;
    fill_row(BELL, x);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const tamis_type *type = tamis_type_by_id(cases[i].id);
        encode(type, x, NULL, blocks);
        type->decode(blocks, y, N);
        double share = weighted_error(x, y, NULL, N) / weighted_error(x, zero, NULL, N);
        if (!(share <= cases[i].most)) fail_msg("%s loses %g", type->name, share);
    }
}

static double bits_per_weight(const tamis_type *type) {
    return 8.0 * type->block_bytes / type->block_elems;
}

/* Importance must lower the error where it is high. */
static void test_importance_counts(void **state) {
    (void)state;
    float x[N], y[N], w[N];
    uint8_t blocks[MAX_BYTES];
    seed = 5;
    fill_row(BELL, x);
    fill_weights(SPREAD, w);
    for (int t = 0; t < N_ENCODED; t++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[t]);
        if (type->importance == TAMIS_IMPORTANCE_IGNORED) continue;
        encode(type, x, NULL, blocks);
        type->decode(blocks, y, N);
        double without = weighted_error(x, y, w, N);
        encode(type, x, w, blocks);
        type->decode(blocks, y, N);
        /* Where a scale of few values is all there is to choose, little can be gained. */
        double share = bits_per_weight(type) < 2.2 || type->id == TAMIS_TYPE_MXFP4 ? 0.97 : 0.75;
        if (!(weighted_error(x, y, w, N) < share * without)) fail_msg("%s", type->name);
    }
}

static void test_refuses(void **state) {
    (void)state;
    float x[N], w[N];
    uint8_t blocks[MAX_BYTES];
    seed = 6;
    for (int t = 0; t < N_ENCODED; t++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[t]);
        const float bad[] = {NAN, INFINITY, -INFINITY};
        for (int i = 0; i < 3; i++) {
            tamis_error err;
            fill_row(BELL, x);
            x[1234] = bad[i];
            assert_int_equal(tamis_encode_row(type, x, NULL, TAMIS_EFFORT_NORMAL, blocks, N, &err),
                             TAMIS_BAD_INPUT);
            assert_non_null(strstr(err.message, "1234"));
            x[1234] = 0.0f;
            fill_weights(MILD, w);
            w[77] = i ? -1.0f : NAN;
            assert_int_equal(tamis_encode_row(type, x, w, TAMIS_EFFORT_NORMAL, blocks, N, &err),
                             TAMIS_BAD_INPUT);
            assert_non_null(strstr(err.message, "77"));
        }
    }
    tamis_error err;
    assert_int_equal(
        tamis_encode_row(tamis_type_by_name("q8_1"), x, w, TAMIS_EFFORT_NORMAL, blocks, N, &err),
        TAMIS_BAD_INPUT);
}

/* Every magnitude is refused, or stored with sound scales. */
static void test_range(void **state) {
    (void)state;
    float x[N], y[N];
    uint8_t blocks[MAX_BYTES];
    seed = 7;
    for (int t = 1; t < N_ENCODED; t++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[t]);
        bool is_refused = false;
        for (int power = -149; power < 127; power++) {
            tamis_error err;
            fill_row(power & 1 ? BELL : POSITIVE, x);
            for (int i = 0; i < N; i++)
                x[i] = ldexpf(x[i], power);
            is_refused =
                tamis_encode_row(type, x, NULL, TAMIS_EFFORT_NORMAL, blocks, N, &err) != TAMIS_OK;
            if (is_refused) continue;
            assert_int_equal(tamis_find_bad_block(type, blocks, N / type->block_elems),
                             N / type->block_elems);
            type->decode(blocks, y, N);
            assert_int_equal(tamis_find_nonfinite(y, N), N);
        }
        assert_int_equal(is_refused, type->largest < 0x1p126f);
    }
}

static void test_zeros_stay_zero(void **state) {
    (void)state;
    float x[N], y[N], w[N];
    uint8_t blocks[MAX_BYTES];
    seed = 8;
    fill_row(ZEROS, x);
    fill_weights(MILD, w);
    for (int t = 0; t < N_ENCODED; t++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[t]);
        for (int i = 0; i < 2; i++) {
            encode(type, x, i ? w : NULL, blocks);
            type->decode(blocks, y, N);
            for (int e = 0; e < N; e++)
                assert_true(y[e] == 0.0f);
        }
    }
}

/* Digests of the bytes, recorded with gcc -O2: what any build must produce. */
static const char *const recorded[N_ENCODED] = {
    "aac44ee9afaee964609c926ce3e3b999", /* f32 */
    "60793c1345d6ef8632c3d8e89c1960bb", /* f16 */
    "0c74ff27e8884e5b9db19baf7b27a9ca", /* bf16 */
    "a3995a77bfc9cc00fc265f6e8181979d", /* q4_0 */
    "6d7754c13843f63729217abed4b180b0", /* q4_1 */
    "b2a5a929300ea7ea8b91500a125ff8f9", /* q5_0 */
    "524befd875d667a45f4ce764cd6bd728", /* q5_1 */
    "405dcd2ea148a060962ede2cc2c24cbc", /* q8_0 */
    "8b242fda42b70198cf8276cf92020885", /* q2_K */
    "095569598c9df1f87c195a71e87e58a7", /* q3_K */
    "b2793acc74d4df5bcd25526a7d0372de", /* q4_K */
    "0382ec64dd3a746e5721174791ac0447", /* q5_K */
    "965c5d8d3a29850ca1068d668ab2c8bc", /* q6_K */
    "33f181ea4cb9c25dbb3382312b003083", /* iq4_nl */
    "22f1c08be556488f969cd2869858ec32", /* iq4_xs */
    "39dc876923b229e95faf874a92c5cd29", /* tq1_0 */
    "2e7533898be9adde670e2baecc836833", /* tq2_0 */
    "e2a90f1c14aa26660a7e31f2c31b1372", /* mxfp4 */
    "d5f62f817a62b262b45c2a26d97aa8b3", /* nvfp4 */
    "4277baed152f081effa725eba09acc81", /* q1_0 */
    "00d4dc26a8c5f7486751f38e08911077", /* q2_0 */
    "e7fc46e06ce02914f78dd4b8d9e40e3a", /* iq2_xxs */
    "c9fef7cb8bafbe0dd38057b7f0243191", /* iq2_xs */
    "25fbae9ef22906498414374efecb9fb0", /* iq2_s */
    "dfa0657146c08407ab81a72634eff3d3", /* iq3_xxs */
    "df6b4d2136c5704585104f2153eb1bb2", /* iq3_s */
    "e5c981941b8d64fcff86319e016fc23f", /* iq1_s */
    "f17cbc0f2462de93ea6824d31c949c02", /* iq1_m */
    "1c3f28f6e531747f0d953ecfa5223a58", /* iq1_xs */
    "5fb26371650cdc67c1adebbfee52cd65", /* iq1_xxs */
    "167dc19bb83624e73fe552de3ed5d225", /* iq1_xxxs */
};

static void test_bytes_are_those_recorded(void **state) {
    (void)state;
    float x[N], w_room[N];
    uint8_t blocks[MAX_BYTES];
    use_cpu("");
    for (int t = 0; t < N_ENCODED; t++) {
        const tamis_type *type = tamis_type_by_id(encoded_types[t]);
        uint64_t n_bytes;
        tamis_hash *hash;
        char hex[TAMIS_HASH_HEX_MAX];
        assert_true(tamis_type_row_bytes(type, N, &n_bytes));
        assert_int_equal(tamis_hash_new(TAMIS_HASH_XXH3_128, &hash, NULL), TAMIS_OK);
        seed = 9;
        for (int i = 0; i < N_ROWS * N_WEIGHTS; i++) {
            fill_row_of(type, i % N_ROWS, x);
            encode(type, x, fill_weights(i / N_ROWS, w_room), blocks);
            tamis_hash_update(hash, blocks, (size_t)n_bytes);
        }
        tamis_hash_hex(hash, hex);
        tamis_hash_free(hash);
        if (getenv("TAMIS_PRINT_DIGESTS")) {
            print_message("    \"%s\", /* %s */\n", hex, type->name);
        } else if (strcmp(hex, recorded[t]) != 0) {
            fail_msg("%s: %s, recorded %s", type->name, hex, recorded[t]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels_agree),    cmocka_unit_test(test_short_rows),
        cmocka_unit_test(test_rows_together),   cmocka_unit_test(test_bad_row_is_named),
        cmocka_unit_test(test_error_is_small),  cmocka_unit_test(test_importance_counts),
        cmocka_unit_test(test_refuses),         cmocka_unit_test(test_range),
        cmocka_unit_test(test_zeros_stay_zero), cmocka_unit_test(test_bytes_are_those_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
