/* threads.c - the worker pool.
 * Workers live as long as the pool and sleep between runs. In a run each takes the
 * next item from an atomic counter until none is left; items are expected to be large
 * (a tile of a product, a block of rows), so one counter is no bottleneck. */
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/checked.h"

enum { MAX_THREADS = 1024 };

struct worker {
    tamis_pool *pool;
    pthread_t thread;
    int i_worker;
};

struct tamis_pool {
    int n_workers;          /* the caller included */
    int n_started;          /* threads running: n_workers - 1 once complete */
    struct worker *workers; /* [n_workers]; the caller's own entry 0 is unused */

    pthread_mutex_t lock; /* guards the fields below but next_item */
    pthread_cond_t wake;  /* a new run, or the end */
    pthread_cond_t done;  /* the last worker finished */
    uint64_t i_run;
    int n_busy;
    bool is_ending;
    tamis_work_fn *fn;
    void *ctx;
    int64_t n_items;

    _Atomic int64_t next_item;
};

int tamis_n_cores(void) {
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
    if (n < 1) { /* more CPUs than cpu_set_t holds */
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 && online < MAX_THREADS ? (int)online : online > 0 ? MAX_THREADS : 1;
    }
    int quota = tamis_cgroup_cores();
    return quota > 0 && quota < n ? quota : n;
}

static void work(tamis_pool *pool, tamis_work_fn *fn, void *ctx, int64_t n_items, int i_worker) {
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&pool->next_item, 1, memory_order_relaxed);
        if (i >= n_items) return;
        fn(ctx, i, i_worker);
    }
}

static void *worker_main(void *arg) {
    struct worker *me = arg;
    tamis_pool *pool = me->pool;
    uint64_t i_seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->is_ending && pool->i_run == i_seen)
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->is_ending) break;
        i_seen = pool->i_run;
        tamis_work_fn *fn = pool->fn;
        void *ctx = pool->ctx;
        int64_t n_items = pool->n_items;
        pthread_mutex_unlock(&pool->lock);
        work(pool, fn, ctx, n_items, me->i_worker);
        pthread_mutex_lock(&pool->lock);
        if (--pool->n_busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Start threads with all signals but the synchronous ones blocked, so that SIGINT is handled in
 * the main thread. */
static int start_quietly(pthread_t *thread, void *(*fn)(void *), void *arg) {
    sigset_t blocked, old;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    pthread_sigmask(SIG_SETMASK, &blocked, &old);
    int rc = pthread_create(thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

tamis_status tamis_pool_new(int n_threads, tamis_pool **out, tamis_error *err) {
    *out = NULL;
    if (n_threads <= 0) n_threads = tamis_n_cores();
    if (n_threads > MAX_THREADS)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%d threads are too many; at most %d", n_threads,
                          (int)MAX_THREADS);
    tamis_pool *pool = tamis_alloc_array(1, sizeof *pool, err);
    if (!pool) return TAMIS_NO_RESOURCE;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->n_workers = n_threads;
    tamis_status st = TAMIS_NO_RESOURCE;
    pool->workers = tamis_alloc_array((uint64_t)n_threads, sizeof *pool->workers, err);
    if (!pool->workers) goto out;
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = &pool->workers[i];
        *w = (struct worker){.pool = pool, .i_worker = i};
        int rc = start_quietly(&w->thread, worker_main, w);
        if (rc) {
            st = tamis_fail(err, TAMIS_NO_RESOURCE,
                            "cannot start thread %d of %d: %s; use fewer with --threads", i + 1,
                            n_threads, strerror(rc));
            goto out;
        }
        pool->n_started++;
    }
    *out = pool;
    return TAMIS_OK;
out:
    tamis_pool_free(pool);
    return st;
}

void tamis_pool_free(tamis_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->is_ending = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i <= pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

int tamis_pool_size(const tamis_pool *pool) {
    return pool ? pool->n_workers : 1;
}

void tamis_pool_run(tamis_pool *pool, int64_t n_items, tamis_work_fn *fn, void *ctx) {
    if (n_items <= 0) return;
    if (!pool || pool->n_workers == 1 || n_items == 1) {
        for (int64_t i = 0; i < n_items; i++)
            fn(ctx, i, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->fn = fn;
    pool->ctx = ctx;
    pool->n_items = n_items;
    pool->n_busy = pool->n_started;
    atomic_store_explicit(&pool->next_item, 0, memory_order_relaxed);
    pool->i_run++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);

    work(pool, fn, ctx, n_items, 0);

    pthread_mutex_lock(&pool->lock);
    while (pool->n_busy > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

struct tamis_thread {
    pthread_t thread;
    tamis_thread_fn *fn;
    void *ctx;
    tamis_status status;
};

static void *thread_main(void *arg) {
    tamis_thread *t = arg;
    t->status = t->fn(t->ctx);
    return NULL;
}

tamis_status tamis_thread_start(tamis_thread_fn *fn, void *ctx, tamis_thread **out,
                                tamis_error *err) {
    *out = NULL;
    tamis_thread *t = tamis_alloc_array(1, sizeof *t, err);
    if (!t) return TAMIS_NO_RESOURCE;
    t->fn = fn;
    t->ctx = ctx;
    int rc = start_quietly(&t->thread, thread_main, t);
    if (rc) {
        free(t);
        return tamis_fail(err, TAMIS_NO_RESOURCE, "cannot start a background thread: %s",
                          strerror(rc));
    }
    *out = t;
    return TAMIS_OK;
}

tamis_status tamis_thread_join(tamis_thread *thread) {
    if (!thread) return TAMIS_OK;
    pthread_join(thread->thread, NULL);
    tamis_status st = thread->status;
    free(thread);
    return st;
}
