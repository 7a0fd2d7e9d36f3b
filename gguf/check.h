/* check.h - what is wrong with a file whose structure is sound: values, model, tokenizer.
 * Opening a file enforces the rules of the container (gguf.h). What is looked at here breaks no
 * reader by itself; each finding has a grade. */
#ifndef TAMIS_GGUF_CHECK_H
#define TAMIS_GGUF_CHECK_H

#include "base/progress.h"
#include "base/threads.h"
#include "gguf/gguf.h"

typedef enum tamis_check_grade {
    TAMIS_CHECK_NOTE,    /* unusual, and likely meant */
    TAMIS_CHECK_WARNING, /* likely a mistake; the model works */
    TAMIS_CHECK_ERROR,   /* the model does not work, or not as it says */
} tamis_check_grade;

/* "note", "warning", "error" */
const char *tamis_check_grade_name(tamis_check_grade grade);

/* --- values --- */
typedef enum tamis_finding_kind {
    TAMIS_FINDING_VALUE,   /* stored values that are not finite (types without blocks) */
    TAMIS_FINDING_SCALE,   /* blocks with a scale that is not finite */
    TAMIS_FINDING_DECODED, /* deep: blocks of finite scales that decode to something else */
    TAMIS_FINDING_ZEROS,   /* deep: the whole tensor is 0; a warning */
    TAMIS_FINDING_PADDING, /* deep: bytes behind the tensor's data that are not 0; a warning */
} tamis_finding_kind;

typedef struct tamis_gguf_finding {
    const char *tensor; /* borrowed */
    tamis_finding_kind kind;
    uint64_t row, block; /* of the first bad one */
    uint64_t n_bad;      /* blocks (values, for types without; elements that are 0; bytes) */
} tamis_gguf_finding;

/* "value", "scale", "decoded", "zeros", "padding"; whether one makes a tensor bad. */
const char *tamis_finding_kind_name(tamis_finding_kind kind);
bool tamis_finding_is_bad(tamis_finding_kind kind);

typedef struct tamis_check_options {
    bool deep;                /* decode every block too, and look at padding */
    tamis_pool *pool;         /* may be NULL */
    tamis_progress *progress; /* may be NULL */
} tamis_check_options;

typedef void tamis_finding_fn(void *ctx, const tamis_gguf_finding *finding);

/* Read every tensor's data and look for what reference/tensor-types.md section 6 calls unsound;
 * with deep, for more. Findings come in file order. options may be NULL. *n_bad_tensors counts the
 * tensors with a finding that is bad. Memory: 1 MiB per worker. */
tamis_status tamis_gguf_check_values(const tamis_gguf *g, const tamis_check_options *options,
                                     tamis_finding_fn *found, void *ctx, int64_t *n_bad_tensors,
                                     tamis_error *err) TAMIS_MUST_USE;

/* --- model and tokenizer --- */
typedef struct tamis_check_remark {
    const char *part; /* "model" or "tokenizer" */
    tamis_check_grade grade;
    const char *text; /* one line, no full stop; borrowed for the call */
} tamis_check_remark;

typedef void tamis_remark_fn(void *ctx, const tamis_check_remark *remark);

/* Do keys and tensor table agree: layers, expert counts, widths, rows of the embedding? */
tamis_status tamis_gguf_check_model(const tamis_gguf *g, tamis_remark_fn *found, void *ctx,
                                    tamis_error *err) TAMIS_MUST_USE;
/* Does the tokenizer agree with itself: special tokens, types, scores, bytes, merges, the texts of
 * the chat template (which is searched, never rendered)? */
tamis_status tamis_gguf_check_tokenizer(const tamis_gguf *g, tamis_remark_fn *found, void *ctx,
                                        tamis_error *err) TAMIS_MUST_USE;

#endif
