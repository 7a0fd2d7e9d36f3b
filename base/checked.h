/* checked.h - arithmetic on sizes that come from files, and allocation by count.
 * Every size or offset read from a file goes through these; there is no bare
 * a * b in an allocation anywhere. Functions return false on overflow and leave
 * *out untouched. */
#ifndef TAMIS_BASE_CHECKED_H
#define TAMIS_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

static inline bool tamis_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

static inline bool tamis_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

/* Round up to a multiple of `align` (a power of two). */
static inline bool tamis_align_up_u64(uint64_t a, uint64_t align, uint64_t *out) {
    uint64_t r;
    if (__builtin_add_overflow(a, align - 1, &r)) return false;
    *out = r & ~(align - 1);
    return true;
}

/* Narrow a file size to size_t; false when it does not fit. */
static inline bool tamis_to_size(uint64_t a, size_t *out) {
    if (a > SIZE_MAX) return false;
    *out = (size_t)a;
    return true;
}

/* Zeroed array of n elements, 64-byte aligned; release with free(). NULL with err
 * (TAMIS_NO_RESOURCE, naming the bytes wanted) on overflow or out of memory.
 * n = 0 gives a valid one-element block. */
void *tamis_alloc_array(uint64_t n_elems, size_t elem_bytes, tamis_error *err) TAMIS_MUST_USE;

/* Grow *array (elements of elem_bytes) so that it can hold at least n_wanted; *capacity is
 * updated. Growth is geometric; new elements are zero. The old array is kept on failure.
 * Arrays grown this way come from malloc, not tamis_alloc_array(); start from NULL, 0. */
tamis_status tamis_grow(void *array /* T ** */, uint64_t *capacity, uint64_t n_wanted,
                        size_t elem_bytes, tamis_error *err) TAMIS_MUST_USE;

/* strdup of exactly n_bytes bytes plus NUL; NULL with err when out of memory. */
char *tamis_copy_text(const char *text, size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;

#endif
