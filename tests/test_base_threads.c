/* test_base_threads.c - pool, background thread, queue, budget, scratch memory, interruption. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/threads.h"
#include "support.h"

enum { N_ITEMS = 2000 };

static tamis_error err;

struct counts {
    atomic_int seen[N_ITEMS];
    atomic_int is_wrong; /* a worker number out of range */
    int n_workers;
};

static void count_item(void *ctx, int64_t i_item, int i_worker) {
    struct counts *c = ctx;
    if (i_worker < 0 || i_worker >= c->n_workers) c->is_wrong = 1;
    c->seen[i_item]++;
}

static void every_item_once(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 5};
    static struct counts c;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        tamis_pool *pool = NULL;
        assert_int_equal(tamis_pool_new(sizes[i], &pool, &err), TAMIS_OK);
        assert_int_equal(tamis_pool_size(pool), sizes[i]);
        memset(&c, 0, sizeof c);
        c.n_workers = sizes[i];
        for (int i_run = 0; i_run < 50; i_run++) { /* many short runs follow each other */
            tamis_pool_run(pool, N_ITEMS - i_run, count_item, &c);
            tamis_pool_run(pool, 0, count_item, &c);
            tamis_pool_run(pool, 1, count_item, &c);
        }
        for (int k = 0; k < N_ITEMS; k++) {
            int n_runs = k < N_ITEMS - 49 ? 50 : N_ITEMS - k;
            assert_int_equal(c.seen[k], k == 0 ? 100 : n_runs);
        }
        assert_int_equal(c.is_wrong, 0);
        tamis_pool_free(pool);
    }
    memset(&c, 0, sizeof c);
    c.n_workers = 1;
    tamis_pool_run(NULL, 3, count_item, &c);
    assert_int_equal(c.seen[2], 1);
    assert_int_equal(tamis_pool_size(NULL), 1);
    tamis_pool_free(NULL);
    assert_in_range(tamis_n_cores(), 1, 100000);
    tamis_pool *pool = NULL;
    assert_int_equal(tamis_pool_new(100000, &pool, &err), TAMIS_BAD_USAGE);
    assert_null(pool);
}

struct stage {
    tamis_queue *queue;
    int n_taken;
    int64_t sum;
};

static tamis_status produce(void *ctx) {
    struct stage *s = ctx;
    for (intptr_t i = 1; i <= 1000; i++)
        if (!tamis_queue_push(s->queue, (void *)i)) return TAMIS_INTERRUPTED;
    tamis_queue_close(s->queue);
    return TAMIS_CHECK_FAILED; /* any value that join must hand on */
}

static void queue_keeps_order_and_drains(void **state) {
    (void)state;
    struct stage s = {0};
    tamis_thread *thread = NULL;
    assert_int_equal(tamis_queue_new(3, &s.queue, &err), TAMIS_OK);
    assert_int_equal(tamis_thread_start(produce, &s, &thread, &err), TAMIS_OK);
    void *item = NULL;
    for (intptr_t i = 1; i <= 1000; i++) {
        assert_true(tamis_queue_pop(s.queue, &item));
        assert_int_equal((intptr_t)item, i);
    }
    assert_false(tamis_queue_pop(s.queue, &item));
    assert_false(tamis_queue_push(s.queue, item));
    assert_int_equal(tamis_thread_join(thread), TAMIS_CHECK_FAILED);
    tamis_queue_free(s.queue);
    tamis_queue_free(NULL);
}

static void closing_wakes_a_full_producer(void **state) {
    (void)state;
    struct stage s = {0};
    tamis_thread *thread = NULL;
    void *item = NULL;
    assert_int_equal(tamis_queue_new(2, &s.queue, &err), TAMIS_OK);
    assert_int_equal(tamis_thread_start(produce, &s, &thread, &err), TAMIS_OK);
    assert_true(tamis_queue_pop(s.queue, &item));
    tamis_queue_close(s.queue);
    assert_int_equal(tamis_thread_join(thread), TAMIS_INTERRUPTED);
    while (tamis_queue_pop(s.queue, &item))
        s.n_taken++;
    assert_in_range(s.n_taken, 0, 2);
    tamis_queue_free(s.queue);
}

static void budget(void **state) {
    (void)state;
    tamis_budget b;
    tamis_budget_init(&b, 100);
    assert_true(tamis_budget_take(&b, 60));
    assert_false(tamis_budget_take(&b, 41));
    assert_true(tamis_budget_left(&b) == 40);
    assert_true(tamis_budget_take(&b, 40));
    tamis_budget_give(&b, 70);
    assert_true(tamis_budget_left(&b) == 70);
    assert_true(b.peak_bytes == 100);
    assert_false(tamis_budget_take(&b, UINT64_MAX));
    tamis_budget_init(&b, 0);
    assert_true(tamis_budget_take(&b, UINT64_MAX));
    assert_false(tamis_budget_take(&b, 1)); /* the account itself must not wrap */
    assert_true(tamis_budget_left(&b) == UINT64_MAX);
    assert_true(tamis_budget_take(NULL, 5));
    tamis_budget_give(NULL, 5);
    assert_true(tamis_memory_available_bytes() > 1000000);
    assert_true(tamis_memory_peak_bytes() > 100000);
}

static void scratch(void **state) {
    (void)state;
    for (int on_disk = 0; on_disk < 2; on_disk++) {
        tamis_scratch s;
        assert_int_equal(tamis_scratch_init(&s, 100000, on_disk, temp_dir(), &err), TAMIS_OK);
        unsigned char *p = s.data;
        assert_int_equal(p[0] | p[99999], 0);
        memset(p, 7, 100000);
        assert_int_equal(p[99999], 7);
        tamis_scratch_release(&s);
        assert_null(s.data);
        tamis_scratch_release(&s);
    }
    tamis_scratch s;
    assert_int_equal(tamis_scratch_init(&s, 10, true, "/no/such/place", &err), TAMIS_NO_RESOURCE);
    assert_int_equal(tamis_scratch_init(&s, UINT64_MAX, false, NULL, &err), TAMIS_NO_RESOURCE);
    assert_int_equal(rmdir(temp_dir()), 0); /* nothing was left behind */
    assert_int_equal(mkdir(temp_dir(), 0700), 0);
}

/* In a child: the first signal is noted, the second ends it and removes registered files. */
static void signals(void **state) {
    (void)state;
    char path[4200];
    snprintf(path, sizeof path, "%s/left", temp_dir());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    pid_t child = fork();
    if (child == 0) {
        tamis_interrupt_install();
        int i_other = tamis_temporary_register("/no/such/file");
        if (tamis_temporary_register(path) < 0 || i_other < 0) _exit(9);
        tamis_temporary_forget(i_other);
        if (tamis_interrupted()) _exit(10);
        raise(SIGINT);
        if (!tamis_interrupted() || access(path, F_OK) != 0) _exit(11);
        if (tamis_fail_interrupted(&err) != TAMIS_INTERRUPTED) _exit(12);
        raise(SIGTERM);
        _exit(13);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_once),
        cmocka_unit_test(queue_keeps_order_and_drains),
        cmocka_unit_test(closing_wakes_a_full_producer),
        cmocka_unit_test(budget),
        cmocka_unit_test(scratch),
        cmocka_unit_test(signals),
    };
    return cmocka_run_group_tests_name("base/threads", tests, NULL, NULL);
}
