/* checked.c - allocation by count; see checked.h. */
#include "base/checked.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_BYTES = 64 }; /* a cache line, and the widest vector */

void *tamis_alloc_array(uint64_t n_elems, size_t elem_bytes, tamis_error *err) {
    uint64_t n_bytes = 0, n_padded = 0;
    size_t size = 0;
    if (n_elems == 0) n_elems = 1;
    if (elem_bytes == 0) elem_bytes = 1;
    if (!tamis_mul_u64(n_elems, elem_bytes, &n_bytes) ||
        !tamis_align_up_u64(n_bytes, ALIGN_BYTES, &n_padded) || n_padded > PTRDIFF_MAX ||
        !tamis_to_size(n_padded, &size)) {
        tamis_fail(err, TAMIS_NO_RESOURCE, "%" PRIu64 " elements of %zu bytes are too many",
                   n_elems, elem_bytes);
        return NULL;
    }
    void *block = NULL;
    if (posix_memalign(&block, ALIGN_BYTES, size)) {
        tamis_fail(err, TAMIS_NO_RESOURCE,
                   "out of memory: %zu bytes were wanted; use fewer threads or a smaller context",
                   size);
        return NULL;
    }
    memset(block, 0, size);
    return block;
}

tamis_status tamis_grow(void *array, uint64_t *capacity, uint64_t n_wanted, size_t elem_bytes,
                        tamis_error *err) {
    if (n_wanted <= *capacity) return TAMIS_OK;
    uint64_t n_new = *capacity + *capacity / 2;
    if (n_new < n_wanted) n_new = n_wanted;
    if (n_new < 8) n_new = 8;
    uint64_t n_bytes = 0;
    size_t size = 0;
    if (!tamis_mul_u64(n_new, elem_bytes, &n_bytes) || n_bytes > PTRDIFF_MAX ||
        !tamis_to_size(n_bytes, &size))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "%" PRIu64 " elements of %zu bytes are too many",
                          n_new, elem_bytes);
    void *old = NULL; /* through memcpy: a T ** may not be read as a void ** */
    memcpy(&old, array, sizeof old);
    char *block = realloc(old, size);
    if (!block)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory: %zu bytes were wanted", size);
    size_t n_kept = (size_t)*capacity * elem_bytes;
    memset(block + n_kept, 0, size - n_kept);
    memcpy(array, &block, sizeof block);
    *capacity = n_new;
    return TAMIS_OK;
}

char *tamis_copy_text(const char *text, size_t n_bytes, tamis_error *err) {
    char *copy = n_bytes < PTRDIFF_MAX ? malloc(n_bytes + 1) : NULL;
    if (!copy) {
        tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory: %zu bytes were wanted", n_bytes);
        return NULL;
    }
    if (n_bytes) memcpy(copy, text, n_bytes);
    copy[n_bytes] = 0;
    return copy;
}
