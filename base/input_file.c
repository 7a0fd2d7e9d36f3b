/* input_file.c - reading a regular file at offsets.
 * Mapped reads are a memcpy under a guard: a process-wide SIGBUS handler jumps back
 * when the fault lies in the range the thread is just copying, and passes every other
 * fault on to the handler that was there before. */
#include "base/input_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/threads.h"

struct tamis_input {
    char *path;
    int fd;
    uint64_t size;
    const unsigned char *map; /* NULL in read mode and for an empty file */
};

/* What this thread is copying from a mapping; NULL outside tamis_input_read(). */
struct guard {
    const unsigned char *first, *end;
    sigjmp_buf back;
};
static _Thread_local struct guard *volatile current_guard;

/* The handler that ours stands in front of. Written under the lock, before ours can run. */
static struct sigaction previous;
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local volatile sig_atomic_t is_passing_on;

static void pass_on(int number, siginfo_t *info, void *context) {
    bool has_function = (previous.sa_flags & SA_SIGINFO) ||
                        (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN);
    if (!has_function || is_passing_on) { /* is_passing_on: the other one passed it back to us */
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    is_passing_on = 1;
    if (previous.sa_flags & SA_SIGINFO)
        previous.sa_sigaction(number, info, context);
    else
        previous.sa_handler(number);
    is_passing_on = 0;
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
    struct guard *g = current_guard;
    const unsigned char *at = info->si_addr;
    if (g && info->si_code > 0 && at >= g->first && at < g->end) {
        /* Whoever stands in front of us may have blocked signals: what held before the fault. */
        const ucontext_t *interrupted = context;
        pthread_sigmask(SIG_SETMASK, &interrupted->uc_sigmask, NULL);
        siglongjmp(g->back, 1);
    }
    pass_on(number, info, context);
}

/* Called at every opening: a library or test harness may have put its own handler over ours. */
static void install_guard(void) {
    struct sigaction now, action;
    memset(&now, 0, sizeof now);
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&install_lock);
    bool is_ours = sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
                   now.sa_sigaction == on_bus_error;
    if (!is_ours) {
        previous = now;
        sigaction(SIGBUS, &action, NULL);
    }
    pthread_mutex_unlock(&install_lock);
}

/* False when the file ended under the copy. Kept apart and small: after siglongjmp only what was
 * not changed since sigsetjmp may be used. */
static __attribute__((noinline)) bool copy_guarded(void *dst, const unsigned char *src, size_t n) {
    struct guard g = {.first = src, .end = src + n};
    if (sigsetjmp(g.back, 0)) {
        current_guard = NULL;
        return false;
    }
    current_guard = &g;
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(dst, src, n);
    atomic_signal_fence(memory_order_seq_cst);
    current_guard = NULL;
    return true;
}

static tamis_status open_regular(tamis_input *in, tamis_error *err) {
    struct stat st;
    /* O_NONBLOCK: a FIFO must be refused, not waited for. */
    in->fd = open(in->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (in->fd < 0) return tamis_fail_errno(err, TAMIS_BAD_INPUT, "cannot open '%s'", in->path);
    if (fstat(in->fd, &st) != 0)
        return tamis_fail_errno(err, TAMIS_BAD_INPUT, "cannot read '%s'", in->path);
    if (S_ISDIR(st.st_mode))
        return tamis_fail(err, TAMIS_BAD_INPUT, "'%s' is a directory; a file is needed", in->path);
    if (!S_ISREG(st.st_mode) || st.st_size < 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "'%s' is a pipe or a device; a regular file is needed", in->path);
    in->size = (uint64_t)st.st_size;
    return TAMIS_OK;
}

static tamis_status map_whole(tamis_input *in, tamis_error *err) {
    size_t size = 0;
    if (in->size == 0) return TAMIS_OK;
    if (!tamis_to_size(in->size, &size))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "'%s': %" PRIu64 " bytes cannot be mapped",
                          in->path, in->size);
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, in->fd, 0);
    if (map == MAP_FAILED)
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot map '%s'", in->path);
    in->map = map;
    install_guard();
    return TAMIS_OK;
}

tamis_status tamis_input_open(const char *path, tamis_input_mode mode, tamis_input **out,
                              tamis_error *err) {
    *out = NULL;
    tamis_status st = TAMIS_NO_RESOURCE;
    tamis_input *in = tamis_alloc_array(1, sizeof *in, err);
    if (!in) return st;
    in->fd = -1;
    in->path = tamis_copy_text(path, strlen(path), err);
    if (!in->path) goto out;
    st = open_regular(in, err);
    if (st) goto out;
    if (mode == TAMIS_INPUT_MAP) st = map_whole(in, err);
    if (st) goto out;
    *out = in;
    return TAMIS_OK;
out:
    tamis_input_close(in);
    return st;
}

void tamis_input_close(tamis_input *in) {
    if (!in) return;
    if (in->map) munmap((void *)(uintptr_t)in->map, (size_t)in->size);
    if (in->fd >= 0) close(in->fd);
    free(in->path);
    free(in);
}

const char *tamis_input_path(const tamis_input *in) {
    return in->path;
}

uint64_t tamis_input_size(const tamis_input *in) {
    return in->size;
}

bool tamis_is_same_file(const char *a, const char *b) {
    struct stat x, y;
    if (!a || !b) return false;
    if (strcmp(a, b) == 0) return true;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The file's size now, which is not the one it was opened with when it was cut since. */
static uint64_t size_now(const tamis_input *in) {
    struct stat st;
    return fstat(in->fd, &st) == 0 && st.st_size >= 0 ? (uint64_t)st.st_size : 0;
}

static tamis_status fail_short(const tamis_input *in, uint64_t offset, uint64_t n,
                               tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "'%s' ends at byte %" PRIu64 ", %" PRIu64 " bytes at %" PRIu64
                      " were wanted; the file was cut or changed while being read",
                      in->path, size_now(in), n, offset);
}

static tamis_status read_at(const tamis_input *in, uint64_t offset, size_t n_bytes, void *dst,
                            tamis_error *err) {
    for (size_t n_done = 0; n_done < n_bytes;) {
        uint64_t at = offset + n_done;
        ssize_t n = pread(in->fd, (char *)dst + n_done, n_bytes - n_done, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return tamis_fail_errno(err, TAMIS_BAD_INPUT, "'%s': cannot read at byte %" PRIu64,
                                    in->path, at);
        if (n == 0) return fail_short(in, offset, n_bytes, err);
        n_done += (size_t)n;
    }
    return TAMIS_OK;
}

tamis_status tamis_input_read(const tamis_input *in, uint64_t offset, size_t n_bytes, void *dst,
                              tamis_error *err) {
    if (offset > in->size || n_bytes > in->size - offset)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "'%s': %zu bytes at %" PRIu64 " run past the end (file has %" PRIu64
                          "); the file is incomplete",
                          in->path, n_bytes, offset, in->size);
    if (n_bytes == 0) return TAMIS_OK;
    if (!in->map) return read_at(in, offset, n_bytes, dst, err);
    /* A page that is cut in its middle reads as zeros behind the cut, without a fault. */
    if (copy_guarded(dst, in->map + offset, n_bytes) && offset + n_bytes <= size_now(in))
        return TAMIS_OK;
    return fail_short(in, offset, n_bytes, err);
}

void tamis_input_dont_need(const tamis_input *in, uint64_t offset, uint64_t n_bytes) {
    /* The pages of this process only: dropping them from the page cache would slow the next
     * reader of the same file. */
    if (!in->map || offset >= in->size) return;
    if (n_bytes > in->size - offset) n_bytes = in->size - offset;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t first = offset / page * page;
    madvise((void *)(uintptr_t)(in->map + first), (size_t)(offset + n_bytes - first),
            MADV_DONTNEED);
}

enum { PIECE_BYTES = 64 << 20 }; /* between two looks at the interrupt */

tamis_status tamis_read_file(const char *path, uint64_t max_bytes, char **out_data,
                             size_t *out_n_bytes, tamis_error *err) {
    tamis_input *in = NULL;
    char *data = NULL;
    size_t n = 0;
    tamis_status st = tamis_input_open(path, TAMIS_INPUT_READ, &in, err);
    if (st) goto out;
    if (in->size > max_bytes || !tamis_to_size(in->size, &n) || n > PTRDIFF_MAX - 1) {
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "'%s' has %" PRIu64 " bytes; at most %" PRIu64 " are read here", path,
                        in->size, max_bytes);
        goto out;
    }
    st = TAMIS_NO_RESOURCE;
    data = tamis_alloc_array((uint64_t)n + 1, 1, err);
    if (!data) goto out;
    for (size_t at = 0, piece; at < n; at += piece) {
        if (tamis_interrupted()) {
            st = tamis_fail_interrupted(err);
            goto out;
        }
        piece = n - at < PIECE_BYTES ? n - at : PIECE_BYTES;
        st = tamis_input_read(in, at, piece, data + at, err);
        if (st) goto out;
    }
    st = TAMIS_OK;
    *out_data = data;
    if (out_n_bytes) *out_n_bytes = n;
    data = NULL;
out:
    free(data);
    tamis_input_close(in);
    return st;
}
