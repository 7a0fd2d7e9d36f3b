/* manifest.h - a list of digests read from a file, and a model held against it.
 * One line per digest: "<algorithm>  <digest>  <subject>", as `gguf hash` and llama-gguf-hash
 * print them; empty lines and lines that begin with '#' are skipped. A manifest is hostile
 * until checked: at most 32 MiB, every line whole, no digest twice with two values. */
#ifndef TAMIS_GGUF_MANIFEST_H
#define TAMIS_GGUF_MANIFEST_H

#include "gguf/hash.h"

typedef struct tamis_manifest tamis_manifest;

/* TAMIS_BAD_INPUT: unreadable, a malformed line (named by its number), no line of a known
 * algorithm. *out: free with tamis_manifest_free(). */
tamis_status tamis_manifest_read(const char *path, tamis_manifest **out,
                                 tamis_error *err) TAMIS_MUST_USE;
void tamis_manifest_free(tamis_manifest *m);

/* Choose the lines about a model file: those that name this path; else those that name a file of
 * the same name in some folder; else, when the manifest is about one file only, all of them.
 * TAMIS_CHECK_FAILED when there are none, TAMIS_BAD_INPUT when several folders are named. */
tamis_status tamis_manifest_select(tamis_manifest *m, const char *file,
                                   tamis_error *err) TAMIS_MUST_USE;
/* What has to be computed to answer the chosen lines: sets wants, wants_model and no_tensors of
 * `options`. asked: only these algorithms, found in the manifest or not; NULL: those found. */
void tamis_manifest_wants(const tamis_manifest *m, const bool asked[TAMIS_DIGEST_N_KINDS],
                          tamis_digest_options *options);

typedef enum tamis_verdict {
    TAMIS_VERDICT_OK,
    TAMIS_VERDICT_MISMATCH,
    TAMIS_VERDICT_NOT_FOUND, /* the manifest has no such line */
    TAMIS_VERDICT_MISSING,   /* the model has nothing for a line of the manifest */
    TAMIS_VERDICT_UNKNOWN,   /* a line of an unknown algorithm */
    TAMIS_VERDICT_N,
} tamis_verdict;

/* "Ok", "Mismatch", "Not Found", "Missing", "Unknown Algorithm". */
const char *tamis_verdict_name(tamis_verdict verdict);

/* Hold a computed line against the chosen ones. */
tamis_status tamis_manifest_compare(tamis_manifest *m, const tamis_digest_line *line,
                                    tamis_verdict *out, tamis_error *err) TAMIS_MUST_USE;
/* The chosen lines that no compare() met: of computed algorithms, or of unknown ones. In order of
 * their subjects. */
void tamis_manifest_rest(const tamis_manifest *m, const tamis_digest_options *computed,
                         void (*found)(void *ctx, tamis_verdict verdict, const char *algorithm,
                                       const char *digest, const char *subject),
                         void *ctx);

#endif
