/* name_index.h - a hash set of names that lie elsewhere.
 * Stores 32-bit handles and asks the caller for the name behind one: about 5.3 bytes
 * per name. Seeded at random, so that no file can choose its collisions. */
#ifndef TAMIS_GGUF_NAME_INDEX_H
#define TAMIS_GGUF_NAME_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "gguf/gguf.h"

typedef struct tamis_name_index {
    uint32_t *slots; /* [n_slots], 0 = free */
    uint64_t n_slots;
    uint64_t seed;
} tamis_name_index;

/* The name behind a handle (never 0). */
typedef tamis_bytes tamis_name_fn(const void *ctx, uint32_t handle);

/* Room for n_names; at most 2^31. */
tamis_status tamis_name_index_init(tamis_name_index *index, uint64_t n_names,
                                   tamis_error *err) TAMIS_MUST_USE;
void tamis_name_index_release(tamis_name_index *index);

/* Handle of `name`, or 0. An index that was never initialised is empty. */
uint32_t tamis_name_index_find(const tamis_name_index *index, tamis_name_fn *name_of,
                               const void *ctx, tamis_bytes name);
/* Add a handle. Returns 0, or the handle already there under the same name. */
uint32_t tamis_name_index_add(tamis_name_index *index, tamis_name_fn *name_of, const void *ctx,
                              uint32_t handle);

#endif
