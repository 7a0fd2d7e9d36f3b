/* merge_heap.h - the pairs that may be merged, best first, and leftmost of equals.
 * A key is rank << 32 | place of the left symbol. Private to the tokenizer. */
#ifndef TAMIS_MODEL_MERGE_HEAP_H
#define TAMIS_MODEL_MERGE_HEAP_H

#include <stdint.h>

#define TAMIS_NO_RANK UINT32_MAX

/* Start from zero; tamis_grow(&keys, &capacity, ...) before pushing, free(keys). */
typedef struct tamis_merge_heap {
    uint64_t *keys;
    uint64_t n, capacity;
} tamis_merge_heap;

static inline void tamis_merge_heap_push(tamis_merge_heap *h, uint32_t rank, uint32_t place) {
    uint64_t i = h->n++, key = (uint64_t)rank << 32 | place;
    for (; i > 0 && h->keys[(i - 1) / 2] > key; i = (i - 1) / 2)
        h->keys[i] = h->keys[(i - 1) / 2];
    h->keys[i] = key;
}

/* The smallest key; the heap is not empty. */
static inline uint64_t tamis_merge_heap_pop(tamis_merge_heap *h) {
    uint64_t top = h->keys[0], last = h->keys[--h->n], i = 0;
    for (uint64_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && h->keys[child + 1] < h->keys[child]) child++;
        if (h->keys[child] >= last) break;
        h->keys[i] = h->keys[child];
    }
    h->keys[i] = last;
    return top;
}

#endif
