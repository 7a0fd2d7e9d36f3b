/* fuzz_kld_base.c - any bytes as a base file, in either layout. Checks that few mutants would pass
 * are made to fit: the checksum of our header; in the peer's layout, whose size follows from its
 * header, the numbers and the length. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "kld/base_file.h"
#include "kld/llama_base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Whatever opens can be read to its end. */
static void read_llama(const char *path) {
    tamis_error err;
    tamis_llama_base *base;
    if (tamis_llama_base_open(path, &base, &err)) return;
    const int64_t n_vocab = tamis_llama_base_n_vocab(base);
    const size_t n_row = (size_t)tamis_llama_base_row_bytes(base);
    uint8_t *row = malloc(n_row);
    float *values = malloc((size_t)n_vocab * sizeof *values);
    if (!row || !values) abort();
    for (int64_t i = 0; i < tamis_llama_base_n_rows(base); ++i) {
        double nll = 0;
        if (tamis_llama_base_read(base, i, 1, row, &err)) abort();
        tamis_llama_base_decode(base, i, row, 0, n_vocab, values);
        if (tamis_llama_base_nll(base, i, (int32_t)(n_vocab - 1), &nll, &err)) abort();
        for (int64_t k = 0; k < n_vocab; ++k) {
            if (!(values[k] < 1e-2f)) abort(); /* a log-probability, and finite */
        }
    }
    free(values);
    free(row);
    tamis_llama_base_close(base);
}

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
    if (tamis_llama_base_is_one(path))
        read_llama(path);
    else if (tamis_kld_base_read(path, &budget, &base, &err) == TAMIS_OK)
        tamis_kld_base_release(&base);
    unlink(path);
}

/* The same bytes with a right checksum behind the header. */
static void read_with_checksum(const uint8_t *data, size_t n_bytes) {
    uint64_t n_header = 0;
    for (int i = 7; i >= 0 && n_bytes >= 20; --i)
        n_header = n_header << 8 | data[12 + i];
    if (n_bytes < 28 || n_header > n_bytes - 28) return;
    uint8_t *copy = malloc(n_bytes);
    if (!copy) abort();
    memcpy(copy, data, n_bytes);
    const uint64_t sum = XXH3_64bits(copy, 20 + (size_t)n_header);
    for (int i = 0; i < 8; ++i)
        copy[20 + n_header + (size_t)i] = (uint8_t)(sum >> (8 * i));
    read_one(copy, n_bytes);
    free(copy);
}

/* Small numbers from the first bytes and as much data as they ask for, ids within reach. */
static void read_with_sizes(const uint8_t *data, size_t n_bytes) {
    if (n_bytes < 32) return;
    const int32_t numbers[3] = {3 + data[8] % 30, 1 + data[12] % 70, 1 + data[16] % 5};
    uint64_t size = 0;
    if (!tamis_llama_base_file_bytes(numbers[0], numbers[2], numbers[1], &size)) abort();
    uint8_t *copy = calloc(1, (size_t)size);
    if (!copy) abort();
    memcpy(copy, data, n_bytes < size ? n_bytes : (size_t)size);
    memcpy(copy, "_logits_", 8);
    memcpy(copy + 8, numbers, sizeof numbers);
    for (int32_t i = 0; i < numbers[0] * numbers[2]; ++i) {
        int32_t id;
        memcpy(&id, copy + 20 + 4 * i, sizeof id);
        if (data[20] & 1) id = (int32_t)((uint32_t)id % (uint32_t)numbers[1]);
        memcpy(copy + 20 + 4 * i, &id, sizeof id);
    }
    read_one(copy, (size_t)size);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    read_one(data, n_bytes);
    if (n_bytes >= 8 && memcmp(data, "_logits_", 8) == 0)
        read_with_sizes(data, n_bytes);
    else
        read_with_checksum(data, n_bytes);
    return 0;
}
