/* memory.h - the memory budget of a run (--mem) and what the machine has.
 * A budget is an account, not an allocator: rooms take() before they allocate a
 * large thing and give() after freeing it, and choose smaller tiles or a scratch
 * file when take() says no. Thread-safe. */
#ifndef TAMIS_BASE_MEMORY_H
#define TAMIS_BASE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct tamis_budget {
    uint64_t limit_bytes; /* 0 = no limit */
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t peak_bytes;
} tamis_budget;

void tamis_budget_init(tamis_budget *budget, uint64_t limit_bytes);
/* False when it would pass the limit; nothing is taken then. NULL budget: always true. */
bool tamis_budget_take(tamis_budget *budget, uint64_t n_bytes);
void tamis_budget_give(tamis_budget *budget, uint64_t n_bytes);
/* Bytes that may still be taken; UINT64_MAX without a limit. */
uint64_t tamis_budget_left(const tamis_budget *budget);

/* MemAvailable of the machine, lowered to the cgroup's limit where one is set; 0 if unknown. */
uint64_t tamis_memory_available_bytes(void);
/* Peak resident set of this process so far. */
uint64_t tamis_memory_peak_bytes(void);

/* Memory that may lie in a file: an anonymous mapping, or a shared mapping of an unlinked
 * temporary file in `dir` (NULL: TMPDIR or /tmp) so that the kernel can write it out under
 * pressure. Zeroed. Release with tamis_scratch_release(). */
typedef struct tamis_scratch {
    void *data;
    uint64_t n_bytes;
    bool on_disk;
} tamis_scratch;
tamis_status tamis_scratch_init(tamis_scratch *s, uint64_t n_bytes, bool on_disk, const char *dir,
                                tamis_error *err) TAMIS_MUST_USE;
void tamis_scratch_release(tamis_scratch *s);

#endif
