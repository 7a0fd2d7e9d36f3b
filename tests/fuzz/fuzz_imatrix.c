/* fuzz_imatrix.c - any bytes as an importance matrix, in either layout; what loads is described,
 * merged with itself and compared with a second matrix cut out of the same input.
 * An input is one matrix, or two behind a 4-byte length of the first. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imatrix/diff.h"
#include "imatrix/imatrix_file.h"
#include "imatrix/merge.h"
#include "imatrix/statistics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static const char *const names[] = {"a", "b"};

static void count(void *ctx, const char *name, int64_t expert, int64_t n_tokens) {
    (void)name;
    *(int64_t *)ctx += expert + n_tokens;
}

static void describe(const tamis_imatrix *m) {
    tamis_imatrix_stats stats;
    int64_t sum = 0;
    if (tamis_imatrix_stats_make(m, &stats, NULL)) abort();
    if (stats.n_tensors + stats.n_empty != m->n_entries) abort();
    tamis_imatrix_stats_release(&stats);
    (void)tamis_imatrix_rare_experts(m, 32, count, &sum);
}

static void compare(const tamis_imatrix *a, const tamis_imatrix *b) {
    tamis_imatrix_diff diff;
    if (tamis_imatrix_diff_make(a, b, 2, &diff, NULL)) abort();
    if (diff.n_comparable + diff.n_only_a + diff.n_only_b + diff.n_other_size != diff.n_tensors)
        abort();
    if (a == b && diff.n_equal != diff.n_tensors) abort();
    tamis_imatrix_diff_release(&diff);
}

/* What was written must be read again. */
static void write_and_read(const tamis_imatrix *m, tamis_imatrix_layout layout) {
    char path[64];
    tamis_error err;
    tamis_imatrix back;
    snprintf(path, sizeof path, "/dev/shm/fuzz-imatrix-%ld", (long)getpid());
    if (tamis_imatrix_save_as(m, path, layout, NULL, &err)) return;
    if (tamis_imatrix_load(path, &back, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    tamis_imatrix_release(&back);
    unlink(path);
}

static bool load(const uint8_t *data, size_t n_bytes, uint32_t i_source, tamis_imatrix *m) {
    tamis_error err = {0};
    tamis_imatrix_init(m);
    if (tamis_imatrix_load_memory(data, n_bytes, m, &err)) {
        if (m->n_entries || err.code != TAMIS_BAD_INPUT || strchr(err.message, '\n')) abort();
        return false;
    }
    for (uint64_t i = 0; i < m->n_entries; i++)
        m->entries[i].i_source = i_source;
    if (m->chunk_size || !tamis_imatrix_scale_legacy(m, 512, &err)) return true;
    tamis_imatrix_release(m);
    return false;
}

static void use(const uint8_t *data, size_t n_data, const uint8_t *more, size_t n_more) {
    tamis_imatrix a, b;
    tamis_error err;
    if (!load(data, n_data, 0, &a)) return;
    describe(&a);
    compare(&a, &a);
    write_and_read(&a, n_data % 2 ? TAMIS_IMATRIX_GGUF : TAMIS_IMATRIX_DAT);
    if (load(more, n_more, 1, &b)) {
        compare(&a, &b);
        if (tamis_imatrix_merge(&a, &b, names, NULL, &err) == TAMIS_OK) describe(&a);
        tamis_imatrix_release(&b);
    }
    tamis_imatrix_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    uint32_t n_first = 0;
    use(data, n_bytes, data, n_bytes);
    if (n_bytes < sizeof n_first) return 0;
    memcpy(&n_first, data, sizeof n_first);
    data += sizeof n_first;
    n_bytes -= sizeof n_first;
    if (n_first <= n_bytes) use(data, n_first, data + n_first, n_bytes - n_first);
    return 0;
}
