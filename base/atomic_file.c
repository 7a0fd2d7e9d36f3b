/* atomic_file.c - an output that appears whole or not at all; see atomic_file.h.
 * Small writes gather in a buffer, large ones go straight to the file. A target that
 * is no regular file (a pipe, /dev/null) is written directly: there is nothing to keep. */
#include "base/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/atomic_file_internal.h"
#include "base/checked.h"
#include "base/interrupt.h"
#include "base/parse.h"

/* COPY_BYTES: what is read at once stays in the processor's cache until it is written.
 * WRITE_OUT_BYTES: the kernel is told to begin writing to the disk after so many, so that the sync
 * at the end finds most of it done (1 GiB on ext4: 0.48 s in all, 0.90 s without). */
enum { BUFFER_BYTES = 1 << 20, COPY_BYTES = 256 << 10, WRITE_OUT_BYTES = 16 << 20 };

struct tamis_output {
    char *path;      /* as the caller named it, for messages */
    char *target;    /* what is replaced: links resolved, absolute; NULL: written directly */
    char *temporary; /* NULL when written directly or already renamed */
    int fd;
    int i_slot; /* in the table of temporaries to remove */
    uint64_t n_flushed, n_reserved;
    uint64_t n_begun; /* bytes whose way to the disk was begun */
    bool skips_sync;
    size_t n_buffered;
    unsigned char *buffer; /* [BUFFER_BYTES] */
};

static tamis_status fail_write(const tamis_output *out, int cause, uint64_t n_left,
                               tamis_error *err) {
    if (cause == ENOSPC || cause == EDQUOT)
        return tamis_fail(err, TAMIS_NO_RESOURCE,
                          "'%s': no space left on device; %" PRIu64
                          " bytes were still to write; free some space or choose another disk",
                          out->path, n_left);
    errno = cause;
    return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "'%s': cannot write", out->path);
}

static void begin_write_out(tamis_output *out) {
    uint64_t n = out->n_flushed - out->n_begun;
    if (!out->target || out->skips_sync || n < WRITE_OUT_BYTES) return;
    /* A hint: what goes wrong here goes wrong again in fsync(), and is reported there. */
    (void)sync_file_range(out->fd, (off64_t)out->n_begun, (off64_t)n, SYNC_FILE_RANGE_WRITE);
    out->n_begun = out->n_flushed;
}

static tamis_status write_all(tamis_output *out, const unsigned char *data, size_t n_bytes,
                              tamis_error *err) {
    for (size_t n_done = 0; n_done < n_bytes;) {
        ssize_t n = write(out->fd, data + n_done, n_bytes - n_done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_write(out, n < 0 ? errno : EIO, n_bytes - n_done, err);
        n_done += (size_t)n;
        out->n_flushed += (size_t)n;
    }
    begin_write_out(out);
    return TAMIS_OK;
}

static tamis_status flush(tamis_output *out, tamis_error *err) {
    size_t n = out->n_buffered;
    out->n_buffered = 0;
    return write_all(out, out->buffer, n, err);
}

/* The directory part of an absolute path, "/" included, as a new string. */
static char *copy_directory(const char *path, tamis_error *err) {
    const char *slash = strrchr(path, '/');
    return tamis_copy_text(path, slash ? (size_t)(slash - path) + 1 : 0, err);
}

/* Absolute path of what `path` names: links resolved when it exists; otherwise its directory's
 * real path and its own last part. */
static tamis_status resolve(const char *path, char **out, tamis_error *err) {
    char real[PATH_MAX], directory[PATH_MAX];
    if (realpath(path, real)) {
        *out = tamis_copy_text(real, strlen(real), err);
        return *out ? TAMIS_OK : TAMIS_NO_RESOURCE;
    }
    if (errno != ENOENT) return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot write '%s'", path);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n_directory = slash ? (size_t)(slash - path) + 1 : 0;
    if (!*name || n_directory >= sizeof directory)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "cannot write '%s': no file name", path);
    memcpy(directory, path, n_directory);
    directory[n_directory] = 0;
    if (!realpath(n_directory ? directory : ".", real))
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot write '%s': its directory", path);
    size_t n_real = strlen(real), n_name = strlen(name);
    char *joined = tamis_alloc_array(n_real + n_name + 2, 1, err);
    if (!joined) return TAMIS_NO_RESOURCE;
    memcpy(joined, real, n_real);
    if (n_real > 1) joined[n_real++] = '/'; /* not behind the root */
    memcpy(joined + n_real, name, n_name + 1);
    *out = joined;
    return TAMIS_OK;
}

/* Create the temporary beside out->target with the permissions the result shall have. */
static tamis_status create_temporary(tamis_output *out, const struct stat *old, tamis_error *err) {
    static atomic_uint n_made; /* tells the outputs of one process apart */
    const char *name = strrchr(out->target, '/') + 1;
    int n_directory = (int)(name - out->target);
    size_t cap = strlen(out->target) + 64;
    out->temporary = tamis_alloc_array(cap, 1, err);
    if (!out->temporary) return TAMIS_NO_RESOURCE;
    for (int i_try = 0; i_try < 100; i_try++) {
        snprintf(out->temporary, cap, "%.*s.%.*s.tamis-%ld-%u.tmp", n_directory, out->target,
                 (int)TAMIS_NAME_KEPT_MAX, name, (long)getpid(), atomic_fetch_add(&n_made, 1));
        /* Registered first: a signal between the two may find no file, never a nameless one. */
        out->i_slot = tamis_temporary_register(out->temporary);
        out->fd = open(out->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (out->fd >= 0) break;
        int cause = errno;
        tamis_temporary_forget(out->i_slot);
        out->i_slot = -1;
        if (cause == EEXIST) continue;
        free(out->temporary);
        out->temporary = NULL;
        errno = cause;
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot write '%s'", out->path);
    }
    if (out->fd < 0) {
        free(out->temporary);
        out->temporary = NULL;
        return tamis_fail(err, TAMIS_NO_RESOURCE, "cannot write '%s': no free temporary name",
                          out->path);
    }
    /* Tells tamis_remove_stale() in another process space, where our pid means nothing, that the
     * file is in use; where locks are not supported the pid alone has to do. */
    if (flock(out->fd, LOCK_EX | LOCK_NB) != 0) errno = 0;
    if (old && fchmod(out->fd, old->st_mode & 0777) != 0)
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "'%s': cannot keep its permissions",
                                out->path);
    return TAMIS_OK;
}

/* Our own descriptor behind a name such as /dev/stdout, -1 for all others. A file that the shell
 * redirected must be written through it, not replaced by another one of the same name. */
static int standard_stream(const char *path) {
    if (strcmp(path, "/dev/stdout") == 0) return STDOUT_FILENO;
    return strcmp(path, "/dev/stderr") == 0 ? STDERR_FILENO : -1;
}

static tamis_status open_target(tamis_output *out, tamis_error *err) {
    struct stat old;
    int stream = standard_stream(out->path);
    if (stream >= 0) {
        out->fd = fcntl(stream, F_DUPFD_CLOEXEC, 3);
        if (out->fd >= 0) return TAMIS_OK;
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot write '%s'", out->path);
    }
    bool is_there = stat(out->path, &old) == 0;
    if (is_there && S_ISDIR(old.st_mode))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "cannot write '%s': it is a directory",
                          out->path);
    if (is_there && !S_ISREG(old.st_mode)) {
        out->fd = open(out->path, O_WRONLY | O_CLOEXEC);
        if (out->fd >= 0) return TAMIS_OK;
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot write '%s'", out->path);
    }
    /* A file that was made read-only is not replaced behind its owner's back. */
    if (is_there && access(out->path, W_OK) != 0)
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot write '%s'", out->path);
    tamis_status st = resolve(out->path, &out->target, err);
    if (st) return st;
    tamis_remove_stale(out->target);
    return create_temporary(out, is_there ? &old : NULL, err);
}

tamis_status tamis_output_open(const char *path, tamis_output **out, tamis_error *err) {
    *out = NULL;
    if (!*path)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "the output has no name; give a file name");
    tamis_status st = TAMIS_NO_RESOURCE;
    tamis_output *o = tamis_alloc_array(1, sizeof *o, err);
    if (!o) return st;
    o->fd = -1;
    o->i_slot = -1;
    o->path = tamis_copy_text(path, strlen(path), err);
    if (!o->path) goto out;
    o->buffer = tamis_alloc_array(BUFFER_BYTES, 1, err);
    if (!o->buffer) goto out;
    st = open_target(o, err);
    if (st) goto out;
    *out = o;
    return TAMIS_OK;
out:
    tamis_output_discard(o);
    return st;
}

const char *tamis_output_path(const tamis_output *out) {
    return out->path;
}

uint64_t tamis_output_size(const tamis_output *out) {
    return out->n_flushed + out->n_buffered;
}

tamis_status tamis_output_flush(tamis_output *out, tamis_error *err) {
    return flush(out, err);
}

const char *tamis_output_written_path(const tamis_output *out) {
    return out->temporary;
}

tamis_status tamis_output_write(tamis_output *out, const void *data, size_t n_bytes,
                                tamis_error *err) {
    if (n_bytes > BUFFER_BYTES - out->n_buffered) {
        tamis_status st = flush(out, err);
        if (st) return st;
    }
    if (n_bytes >= BUFFER_BYTES) return write_all(out, data, n_bytes, err);
    if (n_bytes) memcpy(out->buffer + out->n_buffered, data, n_bytes);
    out->n_buffered += n_bytes;
    return TAMIS_OK;
}

tamis_status tamis_output_copy(tamis_output *out, const tamis_input *in, uint64_t offset,
                               uint64_t n_bytes, tamis_error *err) {
    while (n_bytes > 0) {
        if (out->n_buffered >= COPY_BYTES) {
            tamis_status st = flush(out, err);
            if (st) return st;
        }
        size_t n = COPY_BYTES - out->n_buffered;
        if (n > n_bytes) n = (size_t)n_bytes;
        tamis_status st = tamis_input_read(in, offset, n, out->buffer + out->n_buffered, err);
        if (st) return st;
        out->n_buffered += n;
        offset += n;
        n_bytes -= n;
    }
    return TAMIS_OK;
}

tamis_status tamis_output_write_zeros(tamis_output *out, uint64_t n_bytes, tamis_error *err) {
    static const unsigned char zeros[4096];
    while (n_bytes > 0) {
        size_t n = n_bytes < sizeof zeros ? (size_t)n_bytes : sizeof zeros;
        tamis_status st = tamis_output_write(out, zeros, n, err);
        if (st) return st;
        n_bytes -= n;
    }
    return TAMIS_OK;
}

tamis_status tamis_output_rewrite(tamis_output *out, uint64_t offset, const void *data,
                                  size_t n_bytes, tamis_error *err) {
    uint64_t end = 0;
    if (!tamis_add_u64(offset, n_bytes, &end) || end > tamis_output_size(out))
        return tamis_fail(err, TAMIS_NO_RESOURCE,
                          "'%s': %zu bytes at %" PRIu64 " lie beyond what was written", out->path,
                          n_bytes, offset);
    if (!out->target)
        return tamis_fail(err, TAMIS_NO_RESOURCE,
                          "'%s' is a pipe or a device; this output needs a regular file",
                          out->path);
    tamis_status st = flush(out, err);
    if (st) return st;
    for (size_t n_done = 0; n_done < n_bytes;) {
        ssize_t n = pwrite(out->fd, (const char *)data + n_done, n_bytes - n_done,
                           (off_t)(offset + n_done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_write(out, n < 0 ? errno : EIO, n_bytes - n_done, err);
        n_done += (size_t)n;
    }
    return TAMIS_OK;
}

void tamis_output_skip_sync(tamis_output *out) {
    out->skips_sync = true;
}

static tamis_status fail_space(const char *path, uint64_t n_bytes, uint64_t n_free,
                               tamis_error *err) {
    char wanted[32], left[32];
    return tamis_fail(err, TAMIS_NO_RESOURCE,
                      "'%s': %s are needed and %s are free; free some space or choose another disk",
                      path, tamis_format_size(n_bytes, wanted, sizeof wanted),
                      tamis_format_size(n_free, left, sizeof left));
}

tamis_status tamis_disk_check(const char *path, uint64_t n_bytes, tamis_error *err) {
    uint64_t n_free = 0;
    tamis_status st = tamis_disk_free_bytes(path, &n_free, err);
    return st || n_free >= n_bytes ? st : fail_space(path, n_bytes, n_free, err);
}

tamis_status tamis_output_reserve(tamis_output *out, uint64_t n_bytes, tamis_error *err) {
    if (!out->target || n_bytes == 0) return TAMIS_OK;
    if (n_bytes > INT64_MAX)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "'%s': %" PRIu64 " bytes are too many", out->path,
                          n_bytes);
    /* fallocate() and not the posix_ one, which writes zeros where it is not supported. */
    int rc = 0;
    do {
        rc = fallocate(out->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)n_bytes);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) {
        out->n_reserved = n_bytes;
        return TAMIS_OK;
    }
    bool is_full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    uint64_t n_free = 0;
    tamis_status st = tamis_disk_free_bytes(out->target, &n_free, err);
    if (st) return st;
    if (!is_full && n_free >= n_bytes) return TAMIS_OK;
    return fail_space(out->path, n_bytes, n_free, err);
}

tamis_status tamis_output_sync(tamis_output *out, tamis_error *err) {
    tamis_status st = flush(out, err);
    if (!st && out->target && fdatasync(out->fd) != 0) st = fail_write(out, errno, 0, err);
    return st;
}

/* A rename is on disk only when its directory is; a file system that cannot sync directories says
 * EINVAL, and then there is nothing more to do. */
static tamis_status sync_directory(const tamis_output *out, tamis_error *err) {
    char *directory = copy_directory(out->target, err);
    if (!directory) return TAMIS_NO_RESOURCE;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (fd < 0) return TAMIS_OK; /* a directory may be writable and not readable */
    int rc = fsync(fd), cause = errno;
    close(fd);
    if (rc != 0 && cause != EINVAL && cause != EROFS) return fail_write(out, cause, 0, err);
    return TAMIS_OK;
}

tamis_status tamis_output_seal(tamis_output *out, tamis_error *err) {
    if (out->fd < 0) return TAMIS_OK;
    tamis_status st = flush(out, err);
    if (st) return st;
    free(out->buffer);
    out->buffer = NULL;
    if (out->n_reserved > out->n_flushed &&
        ftruncate(out->fd, (off_t)out->n_flushed) != 0) /* gives unused reserved blocks back */
        return fail_write(out, errno, 0, err);
    if (out->target && !out->skips_sync && fsync(out->fd) != 0)
        return fail_write(out, errno, 0, err);
    int rc = close(out->fd), cause = errno;
    out->fd = -1;
    if (rc != 0 && cause != EINTR) return fail_write(out, cause, 0, err);
    return TAMIS_OK;
}

/* Give a sealed output its name. */
static tamis_status place(tamis_output *out, tamis_error *err) {
    if (!out->target) return TAMIS_OK;
    if (rename(out->temporary, out->target) != 0)
        return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot replace '%s'", out->path);
    tamis_temporary_forget(out->i_slot);
    out->i_slot = -1;
    free(out->temporary);
    out->temporary = NULL;
    return TAMIS_OK;
}

tamis_status tamis_output_commit(tamis_output *out, tamis_error *err) {
    return tamis_output_commit_set(&out, 1, err);
}

tamis_status tamis_output_commit_set(tamis_output *const *outputs, size_t n_outputs,
                                     tamis_error *err) {
    tamis_status st = TAMIS_OK;
    size_t n_placed = 0;
    const char *first = outputs[0]->target;
    for (size_t i = 0; !st && i < n_outputs; i++)
        st = tamis_output_seal(outputs[i], err);
    if (!st && n_outputs > 1 && first && unlink(first) != 0 && errno != ENOENT)
        st = tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot replace '%s'", outputs[0]->path);
    for (; !st && n_placed < n_outputs; n_placed += !st)
        st = place(outputs[n_outputs - 1 - n_placed], err);
    for (size_t i = n_outputs - n_placed; st && i < n_outputs; i++)
        if (outputs[i]->target) unlink(outputs[i]->target);
    if (!st && first && !outputs[0]->skips_sync) st = sync_directory(outputs[0], err);
    for (size_t i = 0; i < n_outputs; i++)
        tamis_output_discard(outputs[i]);
    return st;
}

void tamis_output_discard(tamis_output *out) {
    if (!out) return;
    if (out->fd >= 0) close(out->fd);
    if (out->temporary) unlink(out->temporary);
    tamis_temporary_forget(out->i_slot);
    free(out->temporary);
    free(out->target);
    free(out->buffer);
    free(out->path);
    free(out);
}

tamis_status tamis_write_file(const char *path, const void *data, size_t n_bytes,
                              tamis_error *err) {
    tamis_output *out = NULL;
    tamis_status st = tamis_output_open(path, &out, err);
    if (st) return st;
    st = tamis_output_write(out, data, n_bytes, err);
    if (st) {
        tamis_output_discard(out);
        return st;
    }
    return tamis_output_commit(out, err);
}

tamis_status tamis_output_check(const char *path, const char *const *others, size_t n_others,
                                tamis_error *err) {
    for (size_t i = 0; i < n_others; i++) {
        if (tamis_is_same_file(path, others[i]))
            return tamis_fail(err, TAMIS_BAD_USAGE,
                              "'%s' is already a file of this run; give the output another name",
                              path);
    }
    tamis_output *probe = NULL;
    tamis_status st = tamis_output_open(path, &probe, err);
    tamis_output_discard(probe);
    return st;
}

tamis_status tamis_disk_free_bytes(const char *path, uint64_t *out, tamis_error *err) {
    struct statvfs v;
    if (statvfs(path, &v) != 0) {
        char *directory = copy_directory(path, err);
        if (!directory) return TAMIS_NO_RESOURCE;
        int rc = statvfs(*directory ? directory : ".", &v), cause = errno;
        free(directory);
        errno = cause;
        if (rc != 0)
            return tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot write '%s': its directory",
                                    path);
    }
    uint64_t r = 0;
    *out = tamis_mul_u64(v.f_bavail, v.f_frsize, &r) ? r : UINT64_MAX;
    return TAMIS_OK;
}
