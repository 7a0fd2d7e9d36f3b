/* diff_internal.h - what the sources of diff.h share. */
#ifndef TAMIS_GGUF_DIFF_INTERNAL_H
#define TAMIS_GGUF_DIFF_INTERNAL_H

#include "gguf/diff.h"

/* diff_keys.c: fills keys and n_same_keys. */
tamis_status gguf_diff_keys(tamis_gguf_diff *diff, tamis_error *err) TAMIS_MUST_USE;
/* diff_values.c: fills `how` and `sums` of the tensors and the total. */
tamis_status gguf_diff_values(tamis_gguf_diff *diff, const tamis_diff_options *options,
                              tamis_error *err) TAMIS_MUST_USE;

#endif
