/* diff.h - what two model files say differently: metadata, tensors, values.
 * Values of two types are compared as they decode, which is how a quantized file is held against
 * its parent. All sums are in double, over fixed pieces combined in file order: the same result
 * for any number of threads. */
#ifndef TAMIS_GGUF_DIFF_H
#define TAMIS_GGUF_DIFF_H

#include <stdio.h>

#include "base/json.h"
#include "base/progress.h"
#include "base/threads.h"
#include "gguf/gguf.h"

/* A key that is not the same in both. */
typedef struct tamis_diff_key {
    bool is_in_a, is_in_b;
    bool is_layout;     /* split.*: how the file is cut, not what it says; no difference */
    tamis_gguf_kv a, b; /* where it is */
    uint64_t n_differ;  /* elements of arrays of one kind, over the shorter length */
    uint64_t i_first;   /* the first that differs; the shorter length when none does */
} tamis_diff_key;

/* Running sums of a comparison; a is the first file. */
typedef struct tamis_diff_sums {
    uint64_t n_elems, n_differ;
    uint64_t n_nonfinite; /* pairs with a value that is not finite: in no sum */
    double max_abs;       /* of |a - b| */
    uint64_t i_max;       /* element where that is, in the tensor */
    double abs, sq;       /* sums of |a - b| and its square */
    double aa, bb, ab;    /* sums of products */
    bool has_other_bytes; /* of one type, and not the same bytes */
} tamis_diff_sums;

double tamis_diff_mean_abs(const tamis_diff_sums *s);
/* Root of sum (a - b)^2 / sum a^2; 0 when nothing differs, infinite when a is 0 and b is not. */
double tamis_diff_relative(const tamis_diff_sums *s);
/* 1 when nothing differs; 0 when one is 0 and the other is not. */
double tamis_diff_cosine(const tamis_diff_sums *s);

typedef enum tamis_diff_how {
    TAMIS_DIFF_NOT_COMPARED, /* only in one, other shapes, types that do not decode, --no-values */
    TAMIS_DIFF_VALUES,
    TAMIS_DIFF_BYTES, /* one type that does not decode: counts only; of elements, or of bytes when
                         the type is unknown */
} tamis_diff_how;

typedef struct tamis_diff_tensor {
    const tamis_gguf_tensor *a, *b; /* NULL where it is not */
    bool has_other_type, has_other_shape;
    tamis_diff_how how;
    tamis_diff_sums sums;
} tamis_diff_tensor;

typedef struct tamis_gguf_diff {
    const tamis_gguf *a, *b;
    tamis_diff_key *keys; /* those of A in its order, then those only in B */
    uint64_t n_keys, keys_capacity;
    uint64_t n_same_keys;
    tamis_diff_tensor *tensors; /* all: those of A in its order, then those only in B */
    uint64_t n_tensors;
    bool has_other_order;  /* the common tensors; means nothing to a reader of the files */
    bool has_values;       /* were compared */
    tamis_diff_sums total; /* over the tensors compared as values */
} tamis_gguf_diff;

typedef struct tamis_diff_options {
    bool metadata_only;       /* no tensors at all */
    bool no_values;           /* tensors without their data */
    tamis_pool *pool;         /* may be NULL */
    tamis_progress *progress; /* may be NULL */
} tamis_diff_options;

/* *out borrows from both files; tamis_diff_release() it. Memory: 2 MiB per worker. */
tamis_status tamis_gguf_diff_files(const tamis_gguf *a, const tamis_gguf *b,
                                   const tamis_diff_options *options, tamis_gguf_diff *out,
                                   tamis_error *err) TAMIS_MUST_USE;
void tamis_diff_release(tamis_gguf_diff *diff);
/* Nothing but layout and order differs. */
bool tamis_diff_is_equal(const tamis_gguf_diff *diff);
/* A tensor that says something else: any difference but order. */
bool tamis_diff_tensor_differs(const tamis_diff_tensor *t);

/* As text, at most 100 columns: the tensors with the largest relative error, n_top of them (those
 * that differ; with `all` every one compared). */
tamis_status tamis_diff_show_text(const tamis_gguf_diff *diff, uint64_t n_top, bool all,
                                  FILE *stream, tamis_error *err) TAMIS_MUST_USE;
/* The whole of it; in the order of the files. free with cJSON_Delete(). */
cJSON *tamis_diff_show_json(const tamis_gguf_diff *diff);

#endif
