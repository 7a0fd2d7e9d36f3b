/* copy.h - whole files made from an open one: split, merged, or with other keys.
 * Tensors are taken over byte for byte in their order (a big-endian source becomes
 * little-endian); memory does not depend on the size of the data. */
#ifndef TAMIS_GGUF_COPY_H
#define TAMIS_GGUF_COPY_H

#include "base/progress.h"
#include "gguf/gguf.h"

/* Put all keys but those of a split set, and all tensors of `from`, into a new writer. */
tamis_status tamis_gguf_copy_prepare(tamis_gguf_writer *w, const tamis_gguf *from,
                                     tamis_error *err) TAMIS_MUST_USE;

/* Before the work: TAMIS_BAD_USAGE when a file that begin would make of `path` is one of the files
 * of `from`; TAMIS_NO_RESOURCE, unless is_dry, when it cannot be written there. */
tamis_status tamis_gguf_check_outputs(const tamis_gguf_writer *w, const tamis_gguf *from,
                                      const char *path, bool is_dry,
                                      tamis_error *err) TAMIS_MUST_USE;

/* Begin, the data of n_tensors tensors of `from` (the first ones), commit. The writer's tensors
 * must be those. */
tamis_status tamis_gguf_copy_run(tamis_gguf_writer *w, const tamis_gguf *from, int64_t n_tensors,
                                 const char *path, tamis_progress *progress,
                                 tamis_error *err) TAMIS_MUST_USE;

/* Read back what was made of `from` without other keys: TAMIS_CHECK_FAILED, naming the first
 * difference, unless `path` holds the same tensors with the same data and as many keys (those of a
 * split set not counted). */
tamis_status tamis_gguf_copy_verify(const tamis_gguf *from, const char *path,
                                    tamis_progress *progress, tamis_error *err) TAMIS_MUST_USE;

/* Memory that copying takes: the metadata twice, the tensor table twice, buffers. */
uint64_t tamis_gguf_copy_memory_bytes(const tamis_gguf *from);

#endif
