/* input_file.h - reading a regular file at offsets, mapped or not.
 * Mapped reads survive a file that shrinks underneath: the fault is caught and
 * reported as TAMIS_BAD_INPUT, never as SIGBUS. */
#ifndef TAMIS_BASE_INPUT_FILE_H
#define TAMIS_BASE_INPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct tamis_input tamis_input;

typedef enum tamis_input_mode { TAMIS_INPUT_READ, TAMIS_INPUT_MAP } tamis_input_mode;

/* Open `path` for reading. A directory, a missing file or one without permission is
 * TAMIS_BAD_INPUT with the cause. Thread-safe once open. */
tamis_status tamis_input_open(const char *path, tamis_input_mode mode, tamis_input **out,
                              tamis_error *err) TAMIS_MUST_USE;
void tamis_input_close(tamis_input *in);
const char *tamis_input_path(const tamis_input *in); /* as given; borrowed */
uint64_t tamis_input_size(const tamis_input *in);    /* at opening */

/* True when both paths name one file, or are spelled the same when there is none yet; false when
 * either is NULL. */
bool tamis_is_same_file(const char *a, const char *b);

/* Copy n_bytes at `offset` to dst. Past the end or a short read: TAMIS_BAD_INPUT naming path and
 * offset. */
tamis_status tamis_input_read(const tamis_input *in, uint64_t offset, size_t n_bytes, void *dst,
                              tamis_error *err) TAMIS_MUST_USE;
/* Let go of the memory that a mapped range takes, until it is read again. */
void tamis_input_dont_need(const tamis_input *in, uint64_t offset, uint64_t n_bytes);

/* The whole of a (small) file, at most max_bytes, with a NUL added behind it; free() it. */
tamis_status tamis_read_file(const char *path, uint64_t max_bytes, char **out_data,
                             size_t *out_n_bytes, tamis_error *err) TAMIS_MUST_USE;

#endif
