/* imatrix_internal.h - what the importance-matrix readers and writers share. */
#ifndef TAMIS_IMATRIX_IMATRIX_INTERNAL_H
#define TAMIS_IMATRIX_IMATRIX_INTERNAL_H

#include <stdint.h>

#include "base/error.h"
#include "base/input_file.h"
#include "base/log.h"
#include "imatrix/matrix.h"

/* Where the bytes of a matrix lie: a file, or memory when `in` is NULL. */
typedef struct tamis_imatrix_source {
    const tamis_input *in;
    const uint8_t *data;
    uint64_t n_bytes;
} tamis_imatrix_source;

/* Read the legacy layout (reference/files.md A.2) into an empty *m, entries in file order.
 * chunk_size stays 0: the layout does not store it. Messages do not name the file. */
tamis_status tamis_imatrix_read_dat(const tamis_imatrix_source *source, tamis_imatrix *m,
                                    tamis_error *err) TAMIS_MUST_USE;

/* Write the legacy layout; view: m's entries in the order to write, checked. */
tamis_status tamis_imatrix_write_dat(const tamis_imatrix *m, const tamis_imatrix_entry *const *view,
                                     const char *path, const tamis_log *log,
                                     tamis_error *err) TAMIS_MUST_USE;

#endif
