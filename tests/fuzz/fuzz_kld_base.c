/* fuzz_kld_base.c - any bytes as a base file; also with the header's checksum made right, so that
 * mutants get past it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "kld/base_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void read_one(const uint8_t *data, size_t n_bytes) {
    char path[64];
    tamis_error err;
    tamis_kld_base base;
    tamis_budget budget;
    snprintf(path, sizeof path, "/dev/shm/fuzz-base-%ld", (long)getpid());
    FILE *f = fopen(path, "wb");
    if (!f) abort();
    fwrite(data, 1, n_bytes, f);
    fclose(f);
    tamis_budget_init(&budget, 64 << 20);
    if (tamis_kld_base_read(path, &budget, &base, &err) == TAMIS_OK) tamis_kld_base_release(&base);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    read_one(data, n_bytes);
    uint64_t n_header = 0;
    for (int i = 7; i >= 0 && n_bytes >= 20; --i)
        n_header = n_header << 8 | data[12 + i];
    if (n_bytes < 28 || n_header > n_bytes - 28) return 0;
    uint8_t *copy = malloc(n_bytes);
    if (!copy) abort();
    memcpy(copy, data, n_bytes);
    const uint64_t sum = XXH3_64bits(copy, 20 + (size_t)n_header);
    for (int i = 0; i < 8; ++i)
        copy[20 + n_header + (size_t)i] = (uint8_t)(sum >> (8 * i));
    read_one(copy, n_bytes);
    free(copy);
    return 0;
}
