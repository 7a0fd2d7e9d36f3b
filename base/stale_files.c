/* stale_files.c - temporaries of killed runs.
 * A name ".<name>.tamis-<pid>-<n>.tmp" is stale when no process of that number lives
 * and nobody holds its lock (a writer in another container has a number unknown here).
 * All else is left alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/atomic_file_internal.h"

/* Digits at *s as a number, *s moved behind them; -1 when there are none or too many. */
static int64_t take_number(const char **s) {
    int64_t r = -1;
    for (int n = 0; **s >= '0' && **s <= '9'; (*s)++, n++) {
        if (n == 10) return -1;
        r = (r < 0 ? 0 : r) * 10 + (**s - '0');
    }
    return r;
}

/* The process that made the temporary `entry` for a target called `name`; -1 when it is none. */
static int64_t maker_of(const char *entry, const char *name) {
    static const char mark[] = ".tamis-";
    size_t n_name = strnlen(name, TAMIS_NAME_KEPT_MAX);
    if (entry[0] != '.' || strncmp(entry + 1, name, n_name) != 0) return -1;
    const char *s = entry + 1 + n_name;
    if (strncmp(s, mark, sizeof mark - 1) != 0) return -1;
    s += sizeof mark - 1;
    int64_t pid = take_number(&s);
    if (pid <= 0 || pid > INT_MAX || *s++ != '-') return -1;
    if (take_number(&s) < 0 || strcmp(s, ".tmp") != 0) return -1;
    return pid;
}

static bool is_locked(int directory, const char *entry) {
    int fd = openat(directory, entry, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return true; /* no regular file of ours */
    bool locked = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return locked;
}

void tamis_remove_stale(const char *target) {
    char directory[PATH_MAX];
    const char *name = strrchr(target, '/') + 1;
    size_t n = (size_t)(name - target);
    if (n >= sizeof directory) return;
    memcpy(directory, target, n);
    directory[n] = 0;
    DIR *d = opendir(directory);
    if (!d) return; /* nothing can be found; the output itself will tell what is wrong */
    for (struct dirent *e; (e = readdir(d));) {
        int64_t pid = maker_of(e->d_name, name);
        bool is_dead = pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
        if (is_dead && !is_locked(dirfd(d), e->d_name)) unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
}
