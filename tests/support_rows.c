/* support_rows.c - see support_rows.h. */
#include "support_rows.h"

#include <math.h>

#include "support.h"

static uint64_t state;

void rows_seed(uint64_t seed) {
    state = seed;
}

uint32_t rows_random(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 40);
}

float rows_uniform(void) {
    return (float)((int32_t)rows_random() - (1 << 23)) / (float)(1 << 23);
}

float rows_bell(void) {
    return rows_uniform() + rows_uniform() + rows_uniform() + rows_uniform();
}

static void fill_bell(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = 0.03125f * rows_bell();
}

/* Cubes of a bell: a few elements tower above the rest. */
static void fill_heavy(float *x, int n) {
    for (int i = 0; i < n; i++) {
        float b = rows_bell();
        x[i] = 0.0625f * b * b * b;
    }
}

/* One in a hundred is twenty times as large. */
static void fill_outliers(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = (rows_random() % 100 == 0 ? 0.625f : 0.03125f) * rows_bell();
}

static void fill_one_sided(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = 0.5f + 0.0625f * rows_bell();
}

/* Each run of 16 has a size of its own. */
static void fill_uneven(float *x, int n) {
    float size = 1.0f;
    for (int i = 0; i < n; i++) {
        if (i % 16 == 0) size = ldexpf(1.0f, -(int)(rows_random() % 8));
        x[i] = size * rows_bell();
    }
}

const row_kind ordinary_rows[] = {
    {"bell", fill_bell},           {"heavy-tailed", fill_heavy}, {"outliers", fill_outliers},
    {"one-sided", fill_one_sided}, {"uneven", fill_uneven},      {0},
};

static void fill_zeros(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = rows_random() & 1 ? 0.0f : -0.0f;
}

static void fill_constant(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = 0.3f;
}

static void fill_negative_constant(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = -0.001f;
}

static void fill_two_values(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = rows_random() & 1 ? 0.03125f : -0.09375f;
}

static void fill_one_outlier(float *x, int n) {
    fill_bell(x, n);
    x[n / 3] = -1000.0f;
}

/* One element in each 64, so in each block of 256 four: the others are exactly zero. */
static void fill_lonely(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = i % 64 == 17 ? rows_bell() : 0.0f;
}

static void fill_ramp(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = (float)(i - n / 2) / 1024.0f;
}

static void fill_denormals(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = ldexpf((float)(int32_t)(rows_random() % 2001) - 1000.0f, -149);
}

/* Steps would be of the order of the smallest f16, 2^-24. */
static void fill_tiny(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = ldexpf(rows_bell(), -14 - i / 64 % 12);
}

/* From 2^-30 down to nothing, and beside each other what no scale can hold together. */
static void fill_specks(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = ldexpf(rows_bell(), -30 - i / 4);
}

static void fill_mixed_sizes(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = ldexpf(rows_bell(), 4 - (int)(rows_random() % 60));
}

static void fill_vast(float *x, int n) {
    for (int i = 0; i < n; i++)
        x[i] = 500.0f * rows_bell();
}

const row_kind hard_rows[] = {
    {"zeros", fill_zeros},
    {"constant", fill_constant},
    {"negative constant", fill_negative_constant},
    {"two values", fill_two_values},
    {"one outlier", fill_one_outlier},
    {"lonely elements", fill_lonely},
    {"ramp", fill_ramp},
    {"denormals", fill_denormals},
    {"tiny", fill_tiny},
    {"specks", fill_specks},
    {"mixed sizes", fill_mixed_sizes},
    {"vast", fill_vast},
    {0},
};

static void fill_mild(float *w, int n) {
    for (int i = 0; i < n; i++) {
        float u = 0.015625f + fabsf(rows_uniform());
        w[i] = 4.0f * u * u;
    }
}

/* Over ten orders of magnitude. */
static void fill_spread(float *w, int n) {
    for (int i = 0; i < n; i++)
        w[i] = ldexpf(1.0f + fabsf(rows_uniform()), -(int)(rows_random() % 34));
}

static void fill_vast_spread(float *w, int n) {
    fill_spread(w, n);
    for (int i = 0; i < n; i++)
        w[i] = ldexpf(w[i], 120);
}

static void fill_faint_spread(float *w, int n) {
    fill_spread(w, n);
    for (int i = 0; i < n; i++)
        w[i] = ldexpf(w[i], -115);
}

static void fill_nothing(float *w, int n) {
    for (int i = 0; i < n; i++)
        w[i] = 0.0f;
}

static void fill_half_empty(float *w, int n) {
    fill_mild(w, n);
    for (int i = 0; i < n; i++)
        if (i / 48 % 2) w[i] = 0.0f;
}

/* One column in forty has all of it. */
static void fill_few(float *w, int n) {
    for (int i = 0; i < n; i++)
        w[i] = i % 40 == 3 ? 7.0f : 0.0f;
}

const row_kind importance_rows[] = {
    {"none", NULL},
    {"mild", fill_mild},
    {"ten orders of magnitude", fill_spread},
    {"ten orders, vast", fill_vast_spread},
    {"ten orders, faint", fill_faint_spread},
    {"all zero", fill_nothing},
    {"half empty", fill_half_empty},
    {"few columns", fill_few},
    {0},
};

const float *fill_importance(const row_kind *kind, float *room, int n) {
    if (!kind->fill) return NULL;
    kind->fill(room, n);
    return room;
}

double squared_error(const float *x, const float *y, const float *w, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double off = (double)x[i] - (double)y[i];
        sum += (w ? (double)w[i] : 1.0) * off * off;
    }
    return sum;
}

void for_each_encoder(int n, void (*fn)(const tamis_type *type)) {
    int n_types, n_found = 0;
    const tamis_type *types = tamis_type_table(&n_types);
    for (int i = 0; i < n_types; i++) {
        if (!tamis_can_encode(&types[i]) || n % (int)types[i].block_elems != 0) continue;
        fn(&types[i]);
        n_found++;
    }
    if (n_found < 15) fail_msg("only %d types can be encoded", n_found);
}
