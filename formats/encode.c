/* encode.c - encode one row: refuse what the format cannot hold, then the fastest encoder.
 * What a format cannot hold stands in its row of the type table. */
#include "formats/formats.h"

#include <stddef.h>

#include "formats/encode_internal.h"

/* A new family of encoders is a row here. */
static const tamis_encoders *const families[][TAMIS_N_LEVELS] = {
#if defined(__x86_64__)
    {&tamis_linear_plain, &tamis_linear_avx2, &tamis_linear_avx512},
    {&tamis_grid_plain, &tamis_grid_avx2, &tamis_grid_avx512},
    {&tamis_fixed_plain, &tamis_fixed_avx2, &tamis_fixed_avx512},
    {&tamis_small_plain, &tamis_small_avx2, &tamis_small_avx512},
#else
    {&tamis_linear_plain, NULL, NULL},
    {&tamis_grid_plain, NULL, NULL},
    {&tamis_fixed_plain, NULL, NULL},
    {&tamis_small_plain, NULL, NULL},
#endif
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

static int64_t find_negative(const float *w, int64_t n) {
    int32_t is_any = 0;
    for (int64_t i = 0; i < n; i++) {
        is_any |= w[i] < 0.0f;
    }
    for (int64_t i = 0; is_any && i < n; i++) {
        if (w[i] < 0.0f) return i;
    }
    return n;
}

/* The family of the level in use that has a type; NULL when none has. */
static const tamis_encoders *find_family(const tamis_type *type) {
    for (int i = 0; i < N_FAMILIES; i++) {
        const tamis_encoders *family = families[i][tamis_cpu_level()];
        if (family->encode[type->id] || family->encode_rows[type->id]) return family;
    }
    return NULL;
}

const char *tamis_effort_name(tamis_effort effort) {
    return effort == TAMIS_EFFORT_FAST ? "fast" : effort == TAMIS_EFFORT_BEST ? "best" : "normal";
}

bool tamis_can_encode(const tamis_type *type) {
    return find_family(type) != NULL;
}

static const float finite_max = 0x1.fffffep127f;

static tamis_status check_values(const tamis_type *type, const float *x, int64_t n_elems,
                                 tamis_error *err) {
    float largest = type->largest > 0.0f ? type->largest : finite_max;
    int64_t i = tamis_find_above(x, n_elems, largest);
    if (i == n_elems) return TAMIS_OK;
    if (!(x[i] >= -finite_max && x[i] <= finite_max)) {
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "element %lld is %g; weights must be finite, repair the source",
                          (long long)i, (double)x[i]);
    }
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "element %lld is %g; %s holds magnitudes up to %g, choose a wider type",
                      (long long)i, (double)x[i], type->name, (double)largest);
}

static tamis_status check_importance(const float *importance, int64_t n_elems, tamis_error *err) {
    int64_t i_large = tamis_find_above(importance, n_elems, finite_max);
    int64_t i_negative = find_negative(importance, n_elems);
    int64_t i = i_large < i_negative ? i_large : i_negative;
    if (i == n_elems) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "importance of element %lld is %g; it must be finite and not negative",
                      (long long)i, (double)importance[i]);
}

tamis_status tamis_encode_rows(const tamis_type *type, const float *x, const float *importance,
                               tamis_effort effort, uint8_t *blocks, int64_t n_elems,
                               int64_t n_rows, int64_t *bad_row, tamis_error *err) {
    const tamis_encoders *family = find_family(type);
    uint64_t row_bytes = 0;
    *bad_row = 0;
    if (!family) {
        return tamis_fail(err, TAMIS_BAD_INPUT, "type '%s' cannot be encoded", type->name);
    }
    if (!tamis_type_row_bytes(type, (uint64_t)n_elems, &row_bytes)) {
        return tamis_fail(err, TAMIS_BAD_INPUT, "a row of %lld elements is no multiple of %u (%s)",
                          (long long)n_elems, (unsigned)type->block_elems, type->name);
    }
    for (int64_t i = 0; i < n_rows; i++) {
        *bad_row = i;
        tamis_status st = check_values(type, x + i * n_elems, n_elems, err);
        if (st) return st;
    }
    *bad_row = 0;
    tamis_status st = importance ? check_importance(importance, n_elems, err) : TAMIS_OK;
    if (st) return st;
    const tamis_rows rows = {.x = x,
                             .importance = importance,
                             .blocks = blocks,
                             .n_rows = n_rows,
                             .n_elems = n_elems,
                             .row_bytes = (ptrdiff_t)row_bytes};
    if (family->encode_rows[type->id]) {
        family->encode_rows[type->id](&rows, effort);
        return TAMIS_OK;
    }
    for (int64_t i = 0; i < n_rows; i++) {
        family->encode[type->id](x + i * n_elems, importance, blocks + i * rows.row_bytes, n_elems,
                                 effort);
    }
    return TAMIS_OK;
}

tamis_status tamis_encode_row(const tamis_type *type, const float *x, const float *importance,
                              tamis_effort effort, uint8_t *blocks, int64_t n_elems,
                              tamis_error *err) {
    int64_t bad_row;
    return tamis_encode_rows(type, x, importance, effort, blocks, n_elems, 1, &bad_row, err);
}
