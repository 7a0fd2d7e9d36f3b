/* check_internal.h - how the sources of check.h say what they found. */
#ifndef TAMIS_GGUF_CHECK_INTERNAL_H
#define TAMIS_GGUF_CHECK_INTERNAL_H

#include "gguf/check.h"
#include "gguf/gguf_internal.h"

typedef struct gguf_remarks {
    const char *part;
    tamis_remark_fn *found;
    void *ctx;
} gguf_remarks;

void gguf_remark(const gguf_remarks *to, tamis_check_grade grade, const char *format, ...)
    TAMIS_PRINTF(3, 4);

/* check_mmproj.c: what check_model looks at in a file of towers and projectors. */
tamis_status gguf_check_mmproj(const gguf_remarks *to, const tamis_gguf *g,
                               tamis_error *err) TAMIS_MUST_USE;

#endif
