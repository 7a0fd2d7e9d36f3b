/* imatrix_file.h - importance matrices as files: the GGUF layout and the legacy .dat layout, both
 * read and written. Layouts and rules: reference/files.md part A. */
#ifndef TAMIS_IMATRIX_IMATRIX_FILE_H
#define TAMIS_IMATRIX_IMATRIX_FILE_H

#include <stddef.h>

#include "base/error.h"
#include "base/log.h"
#include "imatrix/matrix.h"

/* Read either layout (GGUF tried first, by its magic). Refuses rule 17 of gguf-threats.md:
 * lengths out of range, repeated names, missing pairs or keys, values negative or not finite.
 * A legacy entry (mean * ncall) becomes sums with one count = ncall * 1 such that
 * tamis_imatrix_weights() gives value / ncall. */
tamis_status tamis_imatrix_load(const char *path, tamis_imatrix *out,
                                tamis_error *err) TAMIS_MUST_USE;

/* The same from n_bytes bytes in memory; messages name no file. */
tamis_status tamis_imatrix_load_memory(const void *data, size_t n_bytes, tamis_imatrix *out,
                                       tamis_error *err) TAMIS_MUST_USE;

/* Write the GGUF layout atomically: entries sorted by name, "<name>.in_sum2" and
 * "<name>.counts". TAMIS_BAD_USAGE for names longer than 55 bytes, a name twice, no entries, or
 * chunk_size 0; TAMIS_BAD_INPUT for values that tamis_imatrix_load() would refuse. */
tamis_status tamis_imatrix_save(const tamis_imatrix *m, const char *path,
                                tamis_error *err) TAMIS_MUST_USE;

typedef enum tamis_imatrix_layout { TAMIS_IMATRIX_GGUF, TAMIS_IMATRIX_DAT } tamis_imatrix_layout;

/* The same in either layout; `log` hears what the layout cannot hold: counts beyond 2^24 (GGUF),
 * entries without data, counts per expert and all datasets but the last (.dat). The legacy layout
 * has no limit on names, and needs one entry with data (else TAMIS_BAD_INPUT). */
tamis_status tamis_imatrix_save_as(const tamis_imatrix *m, const char *path,
                                   tamis_imatrix_layout layout, const tamis_log *log,
                                   tamis_error *err) TAMIS_MUST_USE;

#endif
