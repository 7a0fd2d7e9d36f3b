/* patch_file.c - a few bytes of an existing file overwritten; see atomic_file.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/checked.h"

tamis_status tamis_patch_file(const char *path, uint64_t offset, const void *old, const void *data,
                              size_t n_bytes, tamis_error *err) {
    tamis_status st = TAMIS_NO_RESOURCE;
    ssize_t n = 0;
    int fd = -1;
    char *there = tamis_alloc_array(n_bytes, 1, err);
    if (!there) return st;
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        st = tamis_fail_errno(err, TAMIS_NO_RESOURCE, "cannot write '%s'", path);
        goto out;
    }
    n = pread(fd, there, n_bytes, (off_t)offset);
    if (n < 0 || (size_t)n != n_bytes || memcmp(there, old, n_bytes) != 0) {
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "'%s' changed while it was read (%zu bytes at %" PRIu64 "); try again",
                        path, n_bytes, offset);
        goto out;
    }
    n = pwrite(fd, data, n_bytes, (off_t)offset);
    if (n < 0 || (size_t)n != n_bytes || fsync(fd) != 0) {
        st = tamis_fail_errno(err, TAMIS_NO_RESOURCE, "'%s': cannot write", path);
        goto out;
    }
    st = TAMIS_OK;
out:
    if (fd >= 0 && close(fd) != 0 && !st)
        st = tamis_fail_errno(err, TAMIS_NO_RESOURCE, "'%s': cannot write", path);
    free(there);
    return st;
}
