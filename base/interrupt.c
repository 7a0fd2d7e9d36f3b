/* interrupt.c - SIGINT and SIGTERM: the first asks, the second ends.
 * The handler touches only lock-free atomics and async-signal-safe calls. The paths
 * of open temporaries lie in a fixed table that it can walk at any moment: a slot is
 * FREE, then BUSY while its path is being written, then READY.
 * These are the only writable globals of the room; signals leave no other place. */
#include "base/interrupt.h"

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/threads.h"

enum { N_SLOTS = 64, SLOT_FREE = 0, SLOT_BUSY = 1, SLOT_READY = 2 };

static struct slot {
    atomic_int state;
    char path[PATH_MAX];
} slots[N_SLOTS];

static atomic_int n_signals;

int tamis_temporary_register(const char *path) {
    size_t n = strlen(path) + 1;
    if (n > PATH_MAX) return -1;
    for (int i = 0; i < N_SLOTS; i++) {
        int expected = SLOT_FREE;
        if (!atomic_compare_exchange_strong(&slots[i].state, &expected, SLOT_BUSY)) continue;
        memcpy(slots[i].path, path, n);
        atomic_store(&slots[i].state, SLOT_READY);
        return i;
    }
    return -1;
}

void tamis_temporary_forget(int i_slot) {
    if (i_slot >= 0 && i_slot < N_SLOTS) atomic_store(&slots[i_slot].state, SLOT_FREE);
}

static void on_signal(int number) {
    (void)number;
    if (atomic_fetch_add(&n_signals, 1) == 0) return;
    for (int i = 0; i < N_SLOTS; i++)
        if (atomic_load(&slots[i].state) == SLOT_READY) unlink(slots[i].path);
    _exit(TAMIS_INTERRUPTED);
}

void tamis_interrupt_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART; /* reads and writes go on; loops poll tamis_interrupted() */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* A closed pipe or a file size limit is a failed write with a message, not a silent death. */
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}

bool tamis_interrupted(void) {
    return atomic_load_explicit(&n_signals, memory_order_relaxed) > 0;
}

tamis_status tamis_fail_interrupted(tamis_error *err) {
    return tamis_fail(err, TAMIS_INTERRUPTED, "interrupted");
}
