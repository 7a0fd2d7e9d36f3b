/* show_internal.h - what the sources that print files share. */
#ifndef TAMIS_GGUF_SHOW_INTERNAL_H
#define TAMIS_GGUF_SHOW_INTERNAL_H

#include <stdio.h>

#include "gguf/show.h"

/* "1.50 G" of 1500000000; counts, not bytes. Returns out, as those below. */
const char *gguf_count_text(uint64_t n, char *out, size_t cap);
/* "q4_K", "retired 4", "type 99". */
const char *gguf_type_text(const tamis_gguf_tensor *t, char *out, size_t cap);
/* "4096 x 128" */
const char *gguf_shape_text(const tamis_gguf_tensor *t, char *out, size_t cap);

/* What one asks of a file first: format, name, contents, size. */
void gguf_show_header(const tamis_gguf *g, FILE *stream);
/* Is a tensor among those to be shown? */
bool gguf_show_chooses(const tamis_gguf_show_options *options, const tamis_gguf_tensor *t);
/* show_sums.c: sizes and bits per weight by type, kind and layer, of the tensors chosen. */
tamis_status gguf_show_sums(const tamis_gguf *g, const tamis_gguf_show_options *options,
                            FILE *stream, tamis_error *err) TAMIS_MUST_USE;
tamis_status gguf_show_sums_json(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                 cJSON *object, tamis_error *err) TAMIS_MUST_USE;

#endif
