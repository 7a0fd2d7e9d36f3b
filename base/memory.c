/* memory.c - the budget account, what the machine has, and scratch memory.
 * Files read: /proc/meminfo, /proc/self/status; limits of groups: cgroup.h. */
#include "base/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/checked.h"
#include "base/parse.h"

void tamis_budget_init(tamis_budget *budget, uint64_t limit_bytes) {
    budget->limit_bytes = limit_bytes;
    atomic_init(&budget->used_bytes, 0);
    atomic_init(&budget->peak_bytes, 0);
}

bool tamis_budget_take(tamis_budget *budget, uint64_t n_bytes) {
    if (!budget) return true;
    uint64_t used = atomic_load(&budget->used_bytes), wanted = 0;
    do {
        if (!tamis_add_u64(used, n_bytes, &wanted)) return false;
        if (budget->limit_bytes && wanted > budget->limit_bytes) return false;
    } while (!atomic_compare_exchange_weak(&budget->used_bytes, &used, wanted));
    uint64_t peak = atomic_load(&budget->peak_bytes);
    while (wanted > peak && !atomic_compare_exchange_weak(&budget->peak_bytes, &peak, wanted)) {
    }
    return true;
}

void tamis_budget_give(tamis_budget *budget, uint64_t n_bytes) {
    if (!budget) return;
    uint64_t used = atomic_load(&budget->used_bytes), rest = 0;
    do {
        rest = used > n_bytes ? used - n_bytes : 0;
    } while (!atomic_compare_exchange_weak(&budget->used_bytes, &used, rest));
}

uint64_t tamis_budget_left(const tamis_budget *budget) {
    if (!budget || !budget->limit_bytes) return UINT64_MAX;
    uint64_t used = atomic_load(&budget->used_bytes);
    return used < budget->limit_bytes ? budget->limit_bytes - used : 0;
}

/* The kB figure behind "Name:" in a file of /proc, in bytes; 0 when it is not there. */
static uint64_t proc_field(const char *path, const char *name) {
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    char line[256];
    uint64_t kib = 0;
    size_t n_name = strlen(name);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, n_name) == 0 && sscanf(line + n_name, ": %" SCNu64, &kib) == 1)
            break;
    fclose(f);
    return kib * 1024;
}

uint64_t tamis_memory_available_bytes(void) {
    uint64_t available = proc_field("/proc/meminfo", "MemAvailable");
    uint64_t left = tamis_cgroup_memory_left();
    if (left != UINT64_MAX && (left < available || available == 0)) available = left;
    return available;
}

uint64_t tamis_memory_peak_bytes(void) {
    return proc_field("/proc/self/status", "VmHWM");
}

/* Descriptor of a new file of n_bytes in `dir` that has no name, so nothing is left behind
 * however the process ends. */
static tamis_status open_unlinked(const char *dir, uint64_t n_bytes, int *out, tamis_error *err) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/.tamis-scratch-XXXXXX", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "'%.200s': path too long for a scratch file",
                          dir);
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { /* not every file system knows O_TMPFILE */
        fd = mkostemp(path, O_CLOEXEC);
        if (fd < 0)
            return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot make a scratch file in '%s'",
                                    dir);
        unlink(path);
    }
    /* Real blocks, so that a full disk is an error here and not a SIGBUS later. */
    int rc = posix_fallocate(fd, 0, (off_t)n_bytes);
    if (rc) {
        char size[32];
        close(fd);
        return tamis_fail(err, TAMIS_NO_RESOURCE,
                          "scratch file of %s in '%s': %s; set TMPDIR to "
                          "a disk with more room",
                          tamis_format_size(n_bytes, size, sizeof size), dir, strerror(rc));
    }
    *out = fd;
    return TAMIS_OK;
}

tamis_status tamis_scratch_init(tamis_scratch *s, uint64_t n_bytes, bool on_disk, const char *dir,
                                tamis_error *err) {
    *s = (tamis_scratch){0};
    size_t size = 0;
    if (n_bytes == 0) n_bytes = 1;
    if (n_bytes > INT64_MAX / 2 || !tamis_to_size(n_bytes, &size))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "scratch memory of %" PRIu64 " bytes is too much",
                          n_bytes);
    int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (on_disk) {
        const char *tmp = getenv("TMPDIR");
        if (!dir) dir = tmp && *tmp ? tmp : "/tmp";
        tamis_status st = open_unlinked(dir, n_bytes, &fd, err);
        if (st) return st;
        flags = MAP_SHARED;
    }
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (fd >= 0) close(fd);
    if (data == MAP_FAILED)
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot map %zu bytes of scratch memory",
                                size);
    *s = (tamis_scratch){.data = data, .n_bytes = n_bytes, .on_disk = on_disk};
    return TAMIS_OK;
}

void tamis_scratch_release(tamis_scratch *s) {
    if (!s || !s->data) return;
    munmap(s->data, (size_t)s->n_bytes);
    *s = (tamis_scratch){0};
}
