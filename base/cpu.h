/* cpu.h - which of the compiled kernels this CPU runs. */
#ifndef TAMIS_BASE_CPU_H
#define TAMIS_BASE_CPU_H

/* In order, each better than those before it that the same CPU has. */
typedef enum tamis_cpu {
    TAMIS_CPU_PLAIN,  /* what the compiler makes of C for every CPU of the architecture */
    TAMIS_CPU_NEON,   /* aarch64: Advanced SIMD by hand */
    TAMIS_CPU_AVX2,   /* x86-64: AVX2 and F16C */
    TAMIS_CPU_AVX512, /* x86-64: AVX-512 F, BW, VL and DQ, BMI2 */
    TAMIS_N_CPUS,
} tamis_cpu;

/* The best level of this CPU, or the one that TAMIS_CPU in the environment names (case ignored)
 * when that is lower. Asks each time; kernels are chosen once, at start. */
tamis_cpu tamis_cpu_choose(void);

/* "plain", "neon", "avx2" or "avx512". */
const char *tamis_cpu_name(tamis_cpu cpu);

#endif
