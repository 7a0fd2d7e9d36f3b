/* fuzz_decode.c - any bytes as blocks of any type: every CPU level decodes them to the bits of the
 * plain version, within the output and without reading behind the blocks; reversing the bytes of
 * their fields twice changes nothing; what is said to be sound decodes to numbers. The first byte
 * chooses the type. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/float16.h"
#include "formats/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

enum { MAX_BYTES = 4096, MAX_ELEMS = 8 * MAX_BYTES }; /* one bit a weight at the least */

static void check_levels(const tamis_type *type, const uint8_t *blocks, const float *want,
                         float *got, int64_t n) {
    static const char *const levels[] = {"plain", "neon", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        setenv("TAMIS_CPU", levels[i], 1);
        tamis_formats_init();
        memset(got, 0x55, sizeof *got * (size_t)(n + 1));
        tamis_decode(type, blocks, got, n);
        if (tamis_f32_bits(got[n]) != 0x55555555) abort(); /* it wrote behind the end */
        for (int64_t k = 0; k < n; k++) {
            if (isnan(want[k]) && isnan(got[k])) continue; /* any NaN is as good */
            if (tamis_f32_bits(got[k]) != tamis_f32_bits(want[k])) abort();
        }
    }
}

/* The largest scale times the largest code may still be infinite: NaN is what must not come of
 * sound blocks. */
static void check_soundness(const tamis_type *type, const uint8_t *blocks, const float *x,
                            int64_t n_blocks) {
    int64_t n_sound = tamis_find_bad_block(type, blocks, n_blocks);
    if (n_sound < 0 || n_sound > n_blocks) abort();
    for (int64_t i = 0; i < n_sound * type->block_elems; i++)
        if (isnan(x[i])) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    static float want[MAX_ELEMS], got[MAX_ELEMS + 1];
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    if (n_bytes == 0) return 0;
    const tamis_type *type = &types[data[0] % n_types];
    n_bytes = n_bytes - 1 < MAX_BYTES ? n_bytes - 1 : MAX_BYTES;
    if (!type->decode || n_bytes < type->block_bytes) return 0;
    int64_t n_blocks = (int64_t)(n_bytes / type->block_bytes), n = n_blocks * type->block_elems;
    n_bytes = (size_t)n_blocks * type->block_bytes;

    /* Of exactly this size, so that a sanitizer sees a read behind the blocks. */
    uint8_t *blocks = malloc(n_bytes);
    if (!blocks) return 0;
    memcpy(blocks, data + 1, n_bytes);
    type->decode(blocks, want, n);
    check_levels(type, blocks, want, got, n);
    check_soundness(type, blocks, want, n_blocks);
    tamis_swap_bytes(type, blocks, n_blocks);
    tamis_swap_bytes(type, blocks, n_blocks);
    if (memcmp(blocks, data + 1, n_bytes) != 0) abort();
    free(blocks);
    return 0;
}
