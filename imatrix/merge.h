/* merge.h - importance matrices added up: several files, or files and the run that follows them.
 * Rules: reference/files.md A.5. Sums are added in f32 in the order given, as other tools do;
 * counts exactly. */
#ifndef TAMIS_IMATRIX_MERGE_H
#define TAMIS_IMATRIX_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "imatrix/matrix.h"

/* Load and add up n_paths >= 1 files of either layout. chunk_size: tokens per chunk of the result
 * and of legacy files, which do not say; 0 = that of the first file that says, else 512.
 * Entries come out sorted by name; datasets in the order of the files; chunk_count is the largest
 * count / chunk_size. TAMIS_BAD_INPUT: what tamis_imatrix_load() refuses, files that have no entry
 * in common, entries of different sizes or numbers of experts (naming entry and both files), sums
 * beyond f32. `log` hears of entries that only some files have and of differing chunk sizes. */
tamis_status tamis_imatrix_load_merged(const char *const *paths, size_t n_paths,
                                       uint32_t chunk_size, const tamis_log *log,
                                       tamis_imatrix *out, tamis_error *err) TAMIS_MUST_USE;

/* Add `more` to *into, both sorted by name and with chunk_size set, and empty *more. names: what
 * the entries' i_source stand for, for messages. A single count meeting several is repeated for
 * each of them. The chunk size stays, chunk_count is made anew. Errors: as above; *into is then
 * unusable but for tamis_imatrix_release(). */
tamis_status tamis_imatrix_merge(tamis_imatrix *into, tamis_imatrix *more, const char *const *names,
                                 const tamis_log *log, tamis_error *err) TAMIS_MUST_USE;

/* Put `files`, the sum of n_paths files of the run's chunk size, before a run's matrix *run, sorted
 * or not, whose datasets come last; *files is emptied. An entry with several equal counts that the
 * run counts once (a dense 3-D weight of an older file) is counted once from here on. */
tamis_status tamis_imatrix_merge_run(tamis_imatrix *files, const char *const *paths, size_t n_paths,
                                     tamis_imatrix *run, const char *run_name, const tamis_log *log,
                                     tamis_error *err) TAMIS_MUST_USE;

/* Before a run on top of merged files: TAMIS_BAD_INPUT when none of m's entries names a tensor of
 * the model (GGUF), or one has other sizes. names: as for tamis_imatrix_merge(). A model that
 * cannot be opened is not looked at: the run will say why. */
tamis_status tamis_imatrix_check_model(const tamis_imatrix *m, const char *const *names,
                                       const char *model_path, tamis_error *err) TAMIS_MUST_USE;

/* A legacy matrix (chunk_size 0) as others are: values and counts times chunk_size. */
tamis_status tamis_imatrix_scale_legacy(tamis_imatrix *m, uint32_t chunk_size,
                                        tamis_error *err) TAMIS_MUST_USE;

#endif
