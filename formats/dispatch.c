/* dispatch.c - the kernels this CPU runs, chosen once.
 * The plain versions in the type table are complete; a CPU level replaces what it
 * compiles better. The choice changes speed only, never a bit of a result. */
#include "formats/formats.h"

#include <stddef.h>

#include "base/cpu.h"
#include "formats/decode_around_internal.h"
#include "formats/finite_internal.h"
#include "formats/kernels_internal.h"

/* Floats of one call from which stores go around the caches: 16 MiB. */
enum { AROUND_FROM_ELEMS = 4 << 20 };

static const tamis_kernels kernels_plain = {
    .name = "plain",
    .level = TAMIS_LEVEL_PLAIN,
    .find_nonfinite = find_nonfinite,
#if defined(__x86_64__)
    .decode_around = decode_around,
#endif
};

/* Written by tamis_formats_init() before threads start. */
static const tamis_kernels *active = &kernels_plain;

void tamis_formats_init(void) {
    static const tamis_kernels *const kernels[TAMIS_N_CPUS] = {
        [TAMIS_CPU_PLAIN] = &kernels_plain,
#if defined(__x86_64__)
        [TAMIS_CPU_AVX2] = &tamis_kernels_avx2,
        [TAMIS_CPU_AVX512] = &tamis_kernels_avx512,
#elif defined(__aarch64__)
        [TAMIS_CPU_NEON] = &tamis_kernels_neon,
#endif
    };
    active = kernels[tamis_cpu_choose()];
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

int64_t tamis_find_nonfinite(const float *x, int64_t n) {
    return active->find_nonfinite(x, n);
}
