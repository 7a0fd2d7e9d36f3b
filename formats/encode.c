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

/* The encoder of the level in use; NULL for a type that no family has. */
static tamis_encode_fn *find_encoder(const tamis_type *type) {
    for (int i = 0; i < N_FAMILIES; i++) {
        tamis_encode_fn *encode = families[i][tamis_cpu_level()]->encode[type->id];
        if (encode) return encode;
    }
    return NULL;
}

const char *tamis_effort_name(tamis_effort effort) {
    return effort == TAMIS_EFFORT_FAST ? "fast" : effort == TAMIS_EFFORT_BEST ? "best" : "normal";
}

bool tamis_can_encode(const tamis_type *type) {
    return find_encoder(type) != NULL;
}

tamis_status tamis_encode_row(const tamis_type *type, const float *x, const float *importance,
                              tamis_effort effort, uint8_t *blocks, int64_t n_elems,
                              tamis_error *err) {
    const float finite = 0x1.fffffep127f;
    float largest = type->largest > 0.0f ? type->largest : finite;
    tamis_encode_fn *encode = find_encoder(type);
    if (!encode) {
        return tamis_fail(err, TAMIS_BAD_INPUT, "type '%s' cannot be encoded", type->name);
    }
    int64_t i = tamis_find_above(x, n_elems, largest);
    if (i < n_elems && !(x[i] >= -finite && x[i] <= finite)) {
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "element %lld is %g; weights must be finite, repair the source",
                          (long long)i, (double)x[i]);
    }
    if (i < n_elems) {
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "element %lld is %g; %s holds magnitudes up to %g, choose a wider type",
                          (long long)i, (double)x[i], type->name, (double)largest);
    }
    if (importance) {
        int64_t i_large = tamis_find_above(importance, n_elems, finite);
        int64_t i_negative = find_negative(importance, n_elems);
        i = i_large < i_negative ? i_large : i_negative;
        if (i < n_elems) {
            return tamis_fail(
                err, TAMIS_BAD_INPUT,
                "importance of element %lld is %g; it must be finite and not negative",
                (long long)i, (double)importance[i]);
        }
    }
    encode(x, importance, blocks, n_elems, effort);
    return TAMIS_OK;
}
