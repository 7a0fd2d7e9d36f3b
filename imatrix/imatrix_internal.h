/* imatrix_internal.h - what the importance-matrix readers share. */
#ifndef TAMIS_IMATRIX_IMATRIX_INTERNAL_H
#define TAMIS_IMATRIX_IMATRIX_INTERNAL_H

#include "base/error.h"
#include "base/input_file.h"
#include "imatrix/matrix.h"

/* Read the legacy layout (reference/files.md A.2) into an empty *m, entries in file order.
 * chunk_size stays 0: the layout does not store it. Messages do not name the file. */
tamis_status tamis_imatrix_read_dat(const tamis_input *in, tamis_imatrix *m,
                                    tamis_error *err) TAMIS_MUST_USE;

#endif
