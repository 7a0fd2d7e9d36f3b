/* hash.h - digests of a model file: of each tensor's data, of all data, and of the model.
 *
 * The data digests are over the bytes as they lie in the file, without padding: of one tensor,
 * and of all tensors in file order (of a split set in the order of its files, so that it has the
 * digests of the merged file). Names, shapes, types and metadata are not in them, and two models
 * with equal bytes collide: reference/peer-tools.md section 5.
 *
 * The model digest covers these too. It is over, all numbers little-endian:
 *   the text "tamis-model-1\n", u64 number of keys, u64 number of tensors;
 *   the metadata records as in a file of version 3 (reference/gguf.md section 1.2), in byte order
 *   of their keys, without general.alignment, split.no, split.count and split.tensors.count;
 *   for each tensor in byte order of the names: u64 length and name, u32 n_dims (trailing
 *   dimensions of 1 cut, at least one left), u64 each dimension, u32 type id, and the hexadecimal
 *   digest of its data.
 * It does not change when a file is split, merged, aligned or ordered anew. */
#ifndef TAMIS_GGUF_HASH_H
#define TAMIS_GGUF_HASH_H

#include "base/hash.h"
#include "base/progress.h"
#include "base/threads.h"
#include "gguf/gguf.h"

/* In the order in which their lines are given. */
typedef enum tamis_digest_kind {
    TAMIS_DIGEST_XXH64,
    TAMIS_DIGEST_SHA1,
    TAMIS_DIGEST_SHA256,
    TAMIS_DIGEST_XXH3_128,
    TAMIS_DIGEST_UUID, /* of all data only: version 5, from SHA-1 with a fixed name space */
    TAMIS_DIGEST_N_KINDS,
} tamis_digest_kind;

/* "xxh64" ... as lines begin; _N_KINDS when a name is none of them. */
const char *tamis_digest_name(tamis_digest_kind kind);
tamis_digest_kind tamis_digest_by_name(const char *name, size_t n_bytes);
/* Characters of a digest in text. */
size_t tamis_digest_n_chars(tamis_digest_kind kind);

typedef enum tamis_digest_scope {
    TAMIS_DIGEST_OF_TENSOR,
    TAMIS_DIGEST_OF_DATA,
    TAMIS_DIGEST_OF_MODEL,
} tamis_digest_scope;

typedef struct tamis_digest_line {
    tamis_digest_kind kind;
    tamis_digest_scope scope;
    const tamis_gguf_tensor *tensor; /* of OF_TENSOR, else NULL */
    const char *text;                /* lower-case hex, or a UUID */
} tamis_digest_line;

typedef struct tamis_digest_options {
    bool wants[TAMIS_DIGEST_N_KINDS];       /* of data (and of tensors) */
    bool wants_model[TAMIS_DIGEST_N_KINDS]; /* no UUID */
    bool no_tensors;                        /* give no lines of tensors */
    tamis_pool *pool;                       /* may be NULL */
    tamis_progress *progress;               /* may be NULL */
} tamis_digest_options;

typedef void tamis_digest_fn(void *ctx, const tamis_digest_line *line);

/* Read all data once and hand over the lines: of each tensor, of the data, of the model. Memory:
 * 16 MiB. The digests do not depend on the pool. TAMIS_BAD_INPUT when data cannot be read or a
 * tensor's size is unknown; TAMIS_INTERRUPTED. */
tamis_status tamis_gguf_hash(const tamis_gguf *g, const tamis_digest_options *options,
                             tamis_digest_fn *line, void *ctx, tamis_error *err) TAMIS_MUST_USE;

/* What stands behind the digest in a manifest: "FILE:TENSOR", "FILE" or "FILE#model", control
 * characters and invalid UTF-8 as \xNN. *out: free() it. */
tamis_status tamis_digest_subject(const char *file, const tamis_digest_line *line, char **out,
                                  tamis_error *err) TAMIS_MUST_USE;

#endif
