/* threads.h - a fixed pool of workers, a background thread, and interruption.
 * Work is split into items whose results depend on the item number only, never on
 * the worker or the thread count, so every result is the same for any pool size. */
#ifndef TAMIS_BASE_THREADS_H
#define TAMIS_BASE_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct tamis_pool tamis_pool;

/* Cores this process may run on (affinity and cgroup quota respected where readable), >= 1. */
int tamis_n_cores(void);

/* Pool of n_threads workers, the caller included (1 = no extra thread; 0 = all cores).
 * TAMIS_NO_RESOURCE when threads cannot be started. Free with tamis_pool_free(). */
tamis_status tamis_pool_new(int n_threads, tamis_pool **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_pool_free(tamis_pool *pool);
int tamis_pool_size(const tamis_pool *pool); /* NULL pool counts as 1 */

/* Called once per item; i_worker in [0, tamis_pool_size()) selects scratch space. */
typedef void tamis_work_fn(void *ctx, int64_t i_item, int i_worker);

/* Run fn for items 0..n_items-1, each exactly once, in any order, on all workers; returns when
 * all are done. NULL pool runs in the caller. Not reentrant; one caller at a time. */
void tamis_pool_run(tamis_pool *pool, int64_t n_items, tamis_work_fn *fn, void *ctx);

/* One background thread running fn(ctx). Join exactly once; join returns fn's status. */
typedef struct tamis_thread tamis_thread;
typedef tamis_status tamis_thread_fn(void *ctx);
tamis_status tamis_thread_start(tamis_thread_fn *fn, void *ctx, tamis_thread **out,
                                tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_thread_join(tamis_thread *thread);

/* Bounded queue of pointers between two threads, for pipelines. push blocks when full, pop when
 * empty; close wakes both sides: later pushes return false, pops drain and then return false. */
typedef struct tamis_queue tamis_queue;
tamis_status tamis_queue_new(int capacity, tamis_queue **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_queue_free(tamis_queue *queue);
bool tamis_queue_push(tamis_queue *queue, void *item);
bool tamis_queue_pop(tamis_queue *queue, void **out);
void tamis_queue_close(tamis_queue *queue);

/* Interruption. A tool's main.c installs the handlers for SIGINT and SIGTERM once (SIGPIPE and
 * SIGXFSZ are ignored then: such a write fails instead); long loops in libraries poll
 * tamis_interrupted() and return tamis_fail_interrupted(). A second signal ends the process at once
 * (temporaries are unlinked first, see atomic_file.h). */
void tamis_interrupt_install(void);
bool tamis_interrupted(void);
tamis_status tamis_fail_interrupted(tamis_error *err);

#endif
