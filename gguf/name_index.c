/* name_index.c - see name_index.h. Open addressing with linear probing at a load of
 * at most 3/4; hashes are XXH3 with a seed of this process's own. */
#include "gguf/name_index.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/checked.h"

tamis_status tamis_name_index_init(tamis_name_index *index, uint64_t n_names, tamis_error *err) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed = (uint64_t)(uintptr_t)index;
    if (n_names > INT32_MAX)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%llu names are too many",
                          (unsigned long long)n_names);
    uint64_t n_slots = n_names + n_names / 3 + 2;
    uint32_t *slots = tamis_alloc_array(n_slots, sizeof *slots, err);
    if (!slots) return TAMIS_NO_RESOURCE;
    *index = (tamis_name_index){.slots = slots, .n_slots = n_slots, .seed = seed};
    return TAMIS_OK;
}

void tamis_name_index_release(tamis_name_index *index) {
    free(index->slots);
    *index = (tamis_name_index){0};
}

/* The slot that holds `name`, or the free one where it belongs. */
static uint64_t find_slot(const tamis_name_index *index, tamis_name_fn *name_of, const void *ctx,
                          tamis_bytes name) {
    uint64_t hash = XXH3_64bits_withSeed(name.data, name.n_bytes, index->seed);
    uint64_t i = (hash >> 32) * index->n_slots >> 32;
    while (index->slots[i]) {
        tamis_bytes other = name_of(ctx, index->slots[i]);
        if (other.n_bytes == name.n_bytes && !memcmp(other.data, name.data, name.n_bytes)) break;
        if (++i == index->n_slots) i = 0;
    }
    return i;
}

uint32_t tamis_name_index_find(const tamis_name_index *index, tamis_name_fn *name_of,
                               const void *ctx, tamis_bytes name) {
    return index->slots ? index->slots[find_slot(index, name_of, ctx, name)] : 0;
}

uint32_t tamis_name_index_add(tamis_name_index *index, tamis_name_fn *name_of, const void *ctx,
                              uint32_t handle) {
    uint32_t *slot = &index->slots[find_slot(index, name_of, ctx, name_of(ctx, handle))];
    if (*slot) return *slot;
    *slot = handle;
    return 0;
}
