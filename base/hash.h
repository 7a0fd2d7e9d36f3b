/* hash.h - XXH3-128 (fast identity), SHA-256 (proof), and XXH64 and SHA-1 for what other tools
 * wrote; streaming and one-shot. */
#ifndef TAMIS_BASE_HASH_H
#define TAMIS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct tamis_hash tamis_hash;
typedef enum tamis_hash_kind {
    TAMIS_HASH_XXH3_128,
    TAMIS_HASH_SHA256,
    TAMIS_HASH_XXH64,
    TAMIS_HASH_SHA1,
} tamis_hash_kind;

#define TAMIS_HASH_HEX_MAX 65 /* hex digits of the longest digest, and NUL */

tamis_status tamis_hash_new(tamis_hash_kind kind, tamis_hash **out,
                            tamis_error *err) TAMIS_MUST_USE;
void tamis_hash_free(tamis_hash *h);
/* Begin anew, as after tamis_hash_new(). */
tamis_status tamis_hash_restart(tamis_hash *h, tamis_error *err) TAMIS_MUST_USE;
void tamis_hash_update(tamis_hash *h, const void *data, size_t n_bytes);
/* Lower-case hex of the digest (canonical, as xxhsum -H2 and sha256sum print); the state is
 * finished after it. Returns hex. */
char *tamis_hash_hex(tamis_hash *h, char hex[TAMIS_HASH_HEX_MAX]);

/* One-shot. */
tamis_status tamis_hash_bytes(tamis_hash_kind kind, const void *data, size_t n_bytes,
                              char hex[TAMIS_HASH_HEX_MAX], tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_hash_file(tamis_hash_kind kind, const char *path, char hex[TAMIS_HASH_HEX_MAX],
                             tamis_error *err) TAMIS_MUST_USE;

#endif
