/* encode.c - encode one row: refuse what the format cannot hold, then the fastest encoder.
 * The limits keep every scale a finite f16: the largest code times the largest integer
 * scale times 65504 (for types with a minimum: the largest minimum they can store). */
#include "formats/formats.h"

#include <stddef.h>
#include <string.h>

#include "formats/encode_internal.h"
#include "formats/float16.h"

/* clang-format off */
static const struct { int32_t id; float largest; } limits[] = {
    { TAMIS_TYPE_F16, 65519.996f }, { TAMIS_TYPE_BF16, 0x1.feffffp127f },
    { TAMIS_TYPE_Q4_0, 8 * 65504.0f }, { TAMIS_TYPE_Q4_1, 65504.0f },
    { TAMIS_TYPE_Q5_0, 16 * 65504.0f }, { TAMIS_TYPE_Q5_1, 65504.0f },
    { TAMIS_TYPE_Q8_0, 127 * 65504.0f }, { TAMIS_TYPE_Q2_K, 15 * 65504.0f },
    { TAMIS_TYPE_Q3_K, 4 * 32 * 65504.0f }, { TAMIS_TYPE_Q4_K, 63 * 65504.0f },
    { TAMIS_TYPE_Q5_K, 63 * 65504.0f }, { TAMIS_TYPE_Q6_K, 32 * 128 * 65504.0f },
    { TAMIS_TYPE_IQ4_NL, 127 * 65504.0f }, { TAMIS_TYPE_IQ4_XS, 127 * 32 * 65504.0f },
};
/* clang-format on */

static float largest_of(int32_t id) {
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        if (limits[i].id == id) {
            return limits[i].largest;
        }
    }
    return __builtin_inff();
}

/* Index of the first value that is NaN or above `largest` in magnitude; n when there is none.
 * The bits of a magnitude grow with it, and NaN lies above all; whole-number comparisons of
 * chunks are cheap beside any encoder. */
static int64_t find_too_large(const float *x, int64_t n, float largest) {
    enum { CHUNK = 1024 };
    const int32_t limit = (int32_t)tamis_f32_bits(largest);
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t end = n - at < CHUNK ? n : at + CHUNK;
        int32_t is_any = 0;
        for (int64_t i = at; i < end; i++) {
            is_any |= (int32_t)(tamis_f32_bits(x[i]) & 0x7FFFFFFFu) > limit;
        }
        for (int64_t i = at; is_any && i < end; i++) {
            if ((int32_t)(tamis_f32_bits(x[i]) & 0x7FFFFFFFu) > limit) return i;
        }
    }
    return n;
}

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

static tamis_encode_fn *fastest(const tamis_type *type) {
#if defined(__x86_64__)
    const tamis_encoders *const levels[] = {&tamis_encoders_avx2, &tamis_encoders_avx512};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(levels[i]->cpu, tamis_formats_cpu()) == 0 && levels[i]->encode[type->id]) {
            return levels[i]->encode[type->id];
        }
    }
#endif
    return type->encode;
}

tamis_status tamis_encode_row(const tamis_type *type, const float *x, const float *importance,
                              uint8_t *blocks, int64_t n_elems, tamis_error *err) {
    float largest = largest_of(type->id);
    float finite = 0x1.fffffep127f;
    if (!type->encode) {
        return tamis_fail(err, TAMIS_BAD_INPUT, "type '%s' cannot be encoded", type->name);
    }
    int64_t i = find_too_large(x, n_elems, largest < finite ? largest : finite);
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
        int64_t i_large = find_too_large(importance, n_elems, finite);
        int64_t i_negative = find_negative(importance, n_elems);
        i = i_large < i_negative ? i_large : i_negative;
        if (i < n_elems) {
            return tamis_fail(
                err, TAMIS_BAD_INPUT,
                "importance of element %lld is %g; it must be finite and not negative",
                (long long)i, (double)importance[i]);
        }
    }
    fastest(type)(x, importance, blocks, n_elems);
    return TAMIS_OK;
}
