/* atomic_file.h - an output that appears whole or not at all.
 * Written under a temporary name beside the target (O_EXCL, not followed through
 * symlinks; ".<name>.tamis-<pid>-<n>.tmp"), synced, then renamed. A run that is
 * killed leaves the old file as it was; a failed or interrupted one unlinks the
 * temporary. No tool takes a name of that form for a result. */
#ifndef TAMIS_BASE_ATOMIC_FILE_H
#define TAMIS_BASE_ATOMIC_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/input_file.h"

typedef struct tamis_output tamis_output;

/* Start an output for `path` (its directory must exist). TAMIS_NO_RESOURCE with the cause (no
 * permission, no such directory, is a directory). */
tamis_status tamis_output_open(const char *path, tamis_output **out,
                               tamis_error *err) TAMIS_MUST_USE;
const char *tamis_output_path(const tamis_output *out); /* final path; borrowed */

/* Append at the current end (buffered). */
tamis_status tamis_output_write(tamis_output *out, const void *data, size_t n_bytes,
                                tamis_error *err) TAMIS_MUST_USE;
/* Append n_bytes of an input from `offset` of it, by way of the output's own buffer.
 * TAMIS_BAD_INPUT when the input is too short. */
tamis_status tamis_output_copy(tamis_output *out, const tamis_input *in, uint64_t offset,
                               uint64_t n_bytes, tamis_error *err) TAMIS_MUST_USE;
/* Append n_bytes zero bytes. */
tamis_status tamis_output_write_zeros(tamis_output *out, uint64_t n_bytes,
                                      tamis_error *err) TAMIS_MUST_USE;
/* Overwrite bytes already written (for headers). */
tamis_status tamis_output_rewrite(tamis_output *out, uint64_t offset, const void *data,
                                  size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;
/* Bytes appended so far. */
uint64_t tamis_output_size(const tamis_output *out);
/* Reserve disk space now so that a full disk is known before the work (posix_fallocate-like;
 * the file still ends where writing ended). TAMIS_NO_RESOURCE when there is not enough. */
tamis_status tamis_output_reserve(tamis_output *out, uint64_t n_bytes,
                                  tamis_error *err) TAMIS_MUST_USE;

/* Bring what was written so far to the disk, so that the sync of a large output's commit is short.
 */
tamis_status tamis_output_sync(tamis_output *out, tamis_error *err) TAMIS_MUST_USE;
/* Hand what is buffered to the file, so that it can be read back. */
tamis_status tamis_output_flush(tamis_output *out, tamis_error *err) TAMIS_MUST_USE;
/* The file that holds what was written so far (borrowed); NULL for a pipe or a device. */
const char *tamis_output_written_path(const tamis_output *out);

/* Let commit return before the bytes are on the disk, as cp does: for a copy whose source stays. A
 * run that is killed still leaves nothing half; a power failure soon after can. */
void tamis_output_skip_sync(tamis_output *out);

/* Flush, fsync, rename over the target, fsync the directory; frees *out in every case. */
tamis_status tamis_output_commit(tamis_output *out, tamis_error *err) TAMIS_MUST_USE;
/* All its bytes are there: flush, fsync, give the buffer and the descriptor back. Only commit or
 * discard may follow. For an output that waits for others. */
tamis_status tamis_output_seal(tamis_output *out, tamis_error *err) TAMIS_MUST_USE;
/* Commit n >= 1 outputs that belong together, and free them in every case. The first is renamed
 * last, and a file of its name is removed before: whenever the run is killed, the first file is
 * missing or the set is whole. When one cannot be renamed, none of them stays. */
tamis_status tamis_output_commit_set(tamis_output *const *outputs, size_t n_outputs,
                                     tamis_error *err) TAMIS_MUST_USE;
/* Unlink the temporary and free; NULL is accepted. */
void tamis_output_discard(tamis_output *out);

/* Before the work whose result goes to `path`: TAMIS_BAD_USAGE when it is one of the n_others
 * `others`, inputs and outputs of the same run (NULL entries are skipped; links count as what they
 * name), TAMIS_NO_RESOURCE when it
 * cannot be written there. Nothing is left behind. */
tamis_status tamis_output_check(const char *path, const char *const *others, size_t n_others,
                                tamis_error *err) TAMIS_MUST_USE;

/* Whole small file in one call. */
tamis_status tamis_write_file(const char *path, const void *data, size_t n_bytes,
                              tamis_error *err) TAMIS_MUST_USE;

/* Overwrite n_bytes of a file that exists, and sync it. The bytes there must be `old`:
 * TAMIS_BAD_INPUT when the file changed. Not atomic by itself: callers keep to one sector. */
tamis_status tamis_patch_file(const char *path, uint64_t offset, const void *old, const void *data,
                              size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;

/* Free bytes a user may write on the file system that holds (the directory of) `path`. */
tamis_status tamis_disk_free_bytes(const char *path, uint64_t *out,
                                   tamis_error *err) TAMIS_MUST_USE;
/* Before the work whose result is n_bytes at `path` (and beside it): TAMIS_NO_RESOURCE naming both
 * sizes when there is less room. */
tamis_status tamis_disk_check(const char *path, uint64_t n_bytes, tamis_error *err) TAMIS_MUST_USE;

#endif
