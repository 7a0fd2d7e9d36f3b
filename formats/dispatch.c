/* dispatch.c - the kernels this CPU runs, chosen once.
 * The plain versions in the type table are complete; a CPU level replaces what it
 * compiles better. The choice changes speed only, never a bit of a result. */
#include "formats/formats.h"

#include <stdlib.h>
#include <strings.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "formats/decode_around_internal.h"
#include "formats/kernels_internal.h"

/* Floats of one call from which stores go around the caches: 16 MiB. */
enum { AROUND_FROM_ELEMS = 4 << 20 };

static const tamis_kernels kernels_plain = {
    .name = "plain",
    .level = TAMIS_LEVEL_PLAIN,
#if defined(__x86_64__)
    .decode_around = decode_around,
#endif
};

/* Written by tamis_formats_init() before threads start. */
static const tamis_kernels *active = &kernels_plain;

#if defined(__x86_64__)
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

void tamis_formats_init(void) {
    active = &kernels_plain;
#if defined(__x86_64__)
    const char *limit = getenv("TAMIS_CPU");
    if (limit && strcasecmp(limit, "plain") == 0) return;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !has_f16c()) return;
    active = &tamis_kernels_avx2;
    if (limit && strcasecmp(limit, "avx2") == 0) return;
    if (has_avx512()) active = &tamis_kernels_avx512;
#endif
}

int tamis_cpu_level(void) {
    return active->level;
}

const char *tamis_formats_cpu(void) {
    return active->name;
}

void tamis_decode(const tamis_type *type, const uint8_t *blocks, float *x, int64_t n_elems) {
    tamis_decode_fn *decode = active->decode[type->id];
    if (!decode) decode = type->decode;
    if (n_elems >= AROUND_FROM_ELEMS && active->decode_around) {
        active->decode_around(type, decode, blocks, x, n_elems);
    } else {
        decode(blocks, x, n_elems);
    }
}
