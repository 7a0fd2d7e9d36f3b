/* kernels_internal.h - the CPU levels, and the decode kernels of one, found by type id. */
#ifndef TAMIS_FORMATS_KERNELS_INTERNAL_H
#define TAMIS_FORMATS_KERNELS_INTERNAL_H

#include <stdint.h>

#include "formats/formats.h"

#define TAMIS_N_TYPE_IDS 67 /* highest id, and one */

/* The levels that encoders and scans are compiled for, in order. NEON is no level of its own: it
 * is what their plain bodies, vectors of four floats, become on aarch64. */
enum { TAMIS_LEVEL_PLAIN, TAMIS_LEVEL_AVX2, TAMIS_LEVEL_AVX512, TAMIS_N_LEVELS };
/* The level in use, as tamis_formats_init() chose it. */
int tamis_cpu_level(void);

typedef void tamis_decode_fn(const uint8_t *blocks, float *x, int64_t n_elems);

/* Decoders are NULL where the level has nothing better than the plain version. */
typedef struct tamis_kernels {
    const char *name;
    int level;
    tamis_decode_fn *decode[TAMIS_N_TYPE_IDS];
    /* The same through `decode`, but with stores that go around the caches: for large outputs.
     * NULL where the level has no such stores. */
    void (*decode_around)(const tamis_type *type, tamis_decode_fn *decode, const uint8_t *blocks,
                          float *x, int64_t n_elems);
    int64_t (*find_nonfinite)(const float *x, int64_t n);
} tamis_kernels;

extern const tamis_kernels tamis_kernels_avx2;
extern const tamis_kernels tamis_kernels_avx512;
extern const tamis_kernels tamis_kernels_neon;

#endif
