/* fuzz_checkpoint.c - any bytes as a checkpoint of an imatrix run; also with all lengths and check
 * sums made right, so that mutants get past them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "formats/formats.h"
#include "imatrix/collect.h"
#include "model/checkpoint_internal.h"

enum { N_TOKENS = 4, N_EMBD = 4, N_LAYERS = 3, HEADER_BYTES = 32, HEAD_BYTES = 16, DIGEST = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Restore, and go on as a pass would: one more product, then the entries. */
static void use(tamis_checkpoint *cp, tamis_collector *collector, tamis_error *err) {
    static float h[N_TOKENS * N_EMBD];
    const tamis_observer observer = tamis_collector_observer(collector);
    tamis_pass_state state = {.n_layers = N_LAYERS,
                              .n_tokens = N_TOKENS,
                              .n_embd = N_EMBD,
                              .h = h,
                              .observers = &observer,
                              .n_observers = 1};
    if (tamis_checkpoint_begin(cp, err) || tamis_checkpoint_restore(cp, &state, err)) return;
    const char *names[] = {"blk.0.ffn_down_exps.weight"};
    for (int64_t e = 0; e < 2; e++) {
        const tamis_product product = {.names = names,
                                       .n_names = 1,
                                       .expert = e,
                                       .n_experts = 2,
                                       .x = h,
                                       .n_tokens = N_TOKENS,
                                       .d_in = N_EMBD};
        if (observer.on_product(observer.ctx, &product, err)) return;
    }
    tamis_imatrix matrix;
    tamis_imatrix_init(&matrix);
    tamis_status st = tamis_collector_finish(collector, &matrix, err);
    if (st == TAMIS_OK && matrix.n_entries == 0) abort();
    tamis_imatrix_release(&matrix);
}

static void read_one(const uint8_t *data, size_t n_bytes) {
    char path[64];
    tamis_error err;
    tamis_checkpoint *cp = NULL;
    tamis_collector *collector = NULL;
    const tamis_collector_text text = {.n_tokens_end = N_TOKENS, .weight = 1};
    snprintf(path, sizeof path, "/dev/shm/fuzz-checkpoint-%ld", (long)getpid());
    FILE *f = fopen(path, "wb");
    if (!f) abort();
    fwrite(data, 1, n_bytes, f);
    fclose(f);
    const tamis_checkpoint_options options = {.path = path, .resume = true};
    if (tamis_checkpoint_new(&options, &cp, &err) == TAMIS_OK &&
        tamis_collector_new(&text, 1, false, NULL, &collector, &err) == TAMIS_OK)
        use(cp, collector, &err);
    tamis_collector_free(collector);
    tamis_checkpoint_free(cp);
    unlink(path);
}

/* Walk the sections as far as they hang together and write the sums that their bytes have. */
static void mend(uint8_t *data, size_t n_bytes) {
    const uint64_t file_bytes = n_bytes;
    memcpy(data + 16, &file_bytes, sizeof file_bytes);
    for (size_t at = HEADER_BYTES; n_bytes - at >= HEAD_BYTES + DIGEST;) {
        uint64_t n;
        char hex[TAMIS_HASH_HEX_MAX];
        memcpy(&n, data + at + 8, sizeof n);
        if (n > n_bytes - at - HEAD_BYTES - DIGEST) return;
        at += HEAD_BYTES;
        if (tamis_hash_bytes(TAMIS_HASH_XXH3_128, data + at, (size_t)n, hex, NULL)) abort();
        memcpy(data + at + n, hex, DIGEST);
        at += (size_t)n + DIGEST;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    tamis_formats_init();
    read_one(data, n_bytes);
    if (n_bytes < HEADER_BYTES) return 0;
    uint8_t *copy = malloc(n_bytes);
    if (!copy) abort();
    memcpy(copy, data, n_bytes);
    mend(copy, n_bytes);
    read_one(copy, n_bytes);
    free(copy);
    return 0;
}
