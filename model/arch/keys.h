/* keys.h - metadata of one architecture, "<arch>.<suffix>", each value held against its range.
 * Messages name the whole key, what was found and what is allowed. */
#ifndef TAMIS_MODEL_ARCH_KEYS_H
#define TAMIS_MODEL_ARCH_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "gguf/gguf.h"

/* Where the keys are read: a file and the architecture it names; both borrowed. */
typedef struct tamis_keys {
    const tamis_gguf *gguf;
    const char *arch;
} tamis_keys;

enum { TAMIS_KEY_CAP = 160 };

/* "<arch>.<suffix>" to key [TAMIS_KEY_CAP]; returns key. */
const char *tamis_keys_name(const tamis_keys *keys, const char *suffix, char *key);
bool tamis_keys_has(const tamis_keys *keys, const char *suffix);

/* All: TAMIS_OK with *out set, or TAMIS_BAD_INPUT when the key is of another type or out of
 * [lo, hi]; *out = fallback (not held against the range) when the key is absent. */
tamis_status tamis_keys_int(const tamis_keys *keys, const char *suffix, int64_t lo, int64_t hi,
                            int64_t fallback, int64_t *out, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_keys_double(const tamis_keys *keys, const char *suffix, double lo, double hi,
                               double fallback, double *out, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_keys_bool(const tamis_keys *keys, const char *suffix, bool fallback, bool *out,
                             tamis_error *err) TAMIS_MUST_USE;

/* The same for a key that must be there. */
tamis_status tamis_keys_need_int(const tamis_keys *keys, const char *suffix, int64_t lo, int64_t hi,
                                 int64_t *out, tamis_error *err) TAMIS_MUST_USE;

/* A number, or an array of one per block (flags count as 0 and 1), into values [n_blocks] that lie
 * `stride` int64 apart; within 0 to hi. Left as they are when the key is absent. */
tamis_status tamis_keys_per_block(const tamis_keys *keys, const char *suffix, int64_t hi,
                                  int64_t n_blocks, int64_t *values, int64_t stride,
                                  tamis_error *err) TAMIS_MUST_USE;

/* An array of exactly n numbers within 0 to hi into values [n]; left as they are when the key is
 * absent. */
tamis_status tamis_keys_array(const tamis_keys *keys, const char *suffix, int64_t hi, int64_t n,
                              int64_t *values, tamis_error *err) TAMIS_MUST_USE;

#endif
