/* tasks_pick.c - the tasks that llama-perplexity picks, in its order, so that scores on a part of a
 * file can be compared. Its random numbers are the 32-bit Mersenne twister (Matsumoto and
 * Nishimura, 1998) seeded with 1; how a number becomes an index was established by running it. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kld/tasks_internal.h"

enum { N_STATE = 624, SHIFT = 397 };

typedef struct twister {
    uint32_t state[N_STATE];
    int i;
} twister;

static void twister_init(twister *t, uint32_t seed) {
    t->state[0] = seed;
    for (uint32_t i = 1; i < N_STATE; i++)
        t->state[i] = UINT32_C(1812433253) * (t->state[i - 1] ^ (t->state[i - 1] >> 30)) + i;
    t->i = N_STATE;
}

static void twister_refill(twister *t) {
    for (int i = 0; i < N_STATE; i++) {
        uint32_t y = (t->state[i] & UINT32_C(0x80000000)) |
                     (t->state[(i + 1) % N_STATE] & UINT32_C(0x7fffffff));
        t->state[i] =
            t->state[(i + SHIFT) % N_STATE] ^ (y >> 1) ^ (y & 1 ? UINT32_C(0x9908b0df) : 0);
    }
    t->i = 0;
}

static uint32_t twister_next(twister *t) {
    if (t->i == N_STATE) twister_refill(t);
    uint32_t y = t->state[t->i++];
    y ^= y >> 11;
    y ^= (y << 7) & UINT32_C(0x9d2c5680);
    y ^= (y << 15) & UINT32_C(0xefc60000);
    return y ^ (y >> 18);
}

/* Without bias below n >= 1 by a product (Lemire, 2019). */
static uint32_t below_by_product(twister *t, uint32_t n) {
    uint64_t product = (uint64_t)twister_next(t) * n;
    if ((uint32_t)product < n) {
        const uint32_t threshold = (0 - n) % n;
        while ((uint32_t)product < threshold)
            product = (uint64_t)twister_next(t) * n;
    }
    return (uint32_t)(product >> 32);
}

/* By a product in f32; its rounding can reach n itself. */
static uint32_t below_by_float(twister *t, uint32_t n) {
    const float x = 0x1p-32f * (float)twister_next(t) * (float)n;
    return x < (float)n ? (uint32_t)x : n - 1;
}

/* HellaSwag: always random, the rest keeps its order. The others: all in order, or random with the
 * last one moving into the gap. */
tamis_status tasks_pick(tamis_task_kind kind, int64_t n_tasks, int64_t n_picked, int64_t *order,
                        tamis_error *err) {
    const bool closes_gap = kind == TAMIS_TASK_HELLASWAG;
    int64_t *left = tamis_alloc_array((uint64_t)n_tasks, sizeof *left, err);
    if (!left) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < n_tasks; i++)
        left[i] = i;
    twister t;
    twister_init(&t, 1);
    int64_t n_left = n_tasks;
    for (int64_t i = 0; i < n_picked; i++, n_left--) {
        if (!closes_gap && n_picked == n_tasks) {
            order[i] = i;
            continue;
        }
        const int64_t j = closes_gap ? below_by_product(&t, (uint32_t)n_left)
                                     : below_by_float(&t, (uint32_t)n_left);
        order[i] = left[j];
        if (!closes_gap) left[j] = left[n_left - 1];
        if (closes_gap) memmove(left + j, left + j + 1, (size_t)(n_left - j - 1) * sizeof *left);
    }
    free(left);
    return TAMIS_OK;
}
