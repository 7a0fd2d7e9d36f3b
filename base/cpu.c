/* cpu.c - see cpu.h. */
#include "base/cpu.h"

#include <stdbool.h>
#include <stdlib.h>
#include <strings.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const names[TAMIS_N_CPUS] = {"plain", "neon", "avx2", "avx512"};

const char *tamis_cpu_name(tamis_cpu cpu) {
    return names[cpu];
}

/* Those of this architecture, in order. */
static const tamis_cpu levels[] = {
    TAMIS_CPU_PLAIN,
#if defined(__x86_64__)
    TAMIS_CPU_AVX2,
    TAMIS_CPU_AVX512,
#elif defined(__aarch64__)
    TAMIS_CPU_NEON,
#endif
};

#if defined(__x86_64__)
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static tamis_cpu best(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !has_f16c()) return TAMIS_CPU_PLAIN;
    bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("bmi2");
    return has_avx512 ? TAMIS_CPU_AVX512 : TAMIS_CPU_AVX2;
}
#elif defined(__aarch64__)
static tamis_cpu best(void) {
    return TAMIS_CPU_NEON; /* part of the architecture */
}
#else
static tamis_cpu best(void) {
    return TAMIS_CPU_PLAIN;
}
#endif

tamis_cpu tamis_cpu_choose(void) {
    tamis_cpu cpu = best();
    const char *limit = getenv("TAMIS_CPU");
    if (!limit) return cpu;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (strcasecmp(limit, names[levels[i]]) == 0 && levels[i] < cpu) return levels[i];
    }
    return cpu;
}
