/* imatrix_file.h - importance matrices as files: the GGUF layout (read and write) and the
 * legacy .dat layout (read). Layouts and rules: reference/files.md part A. */
#ifndef TAMIS_IMATRIX_IMATRIX_FILE_H
#define TAMIS_IMATRIX_IMATRIX_FILE_H

#include "base/error.h"
#include "imatrix/matrix.h"

/* Read either layout (GGUF tried first, by its magic). Refuses rule 17 of gguf-threats.md:
 * lengths out of range, repeated names, missing pairs or keys, values negative or not finite.
 * A legacy entry (mean * ncall) becomes sums with one count = ncall * 1 such that
 * tamis_imatrix_weights() gives value / ncall. */
tamis_status tamis_imatrix_load(const char *path, tamis_imatrix *out,
                                tamis_error *err) TAMIS_MUST_USE;

/* Write the GGUF layout atomically: entries sorted by name, "<name>.in_sum2" and
 * "<name>.counts". TAMIS_BAD_USAGE for names longer than 55 bytes, a name twice, no entries, or
 * chunk_size 0; TAMIS_BAD_INPUT for values that tamis_imatrix_load() would refuse. */
tamis_status tamis_imatrix_save(const tamis_imatrix *m, const char *path,
                                tamis_error *err) TAMIS_MUST_USE;

#endif
