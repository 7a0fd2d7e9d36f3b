/* json_internal.h - what json.c shares with json_check.c. */
#ifndef TAMIS_BASE_JSON_INTERNAL_H
#define TAMIS_BASE_JSON_INTERNAL_H

#include <stddef.h>

#include "base/error.h"

enum { TAMIS_JSON_DEPTH_MAX = 32 };

/* Hold a text against the grammar before any tree is built from it. TAMIS_BAD_INPUT naming
 * `what` and the byte. */
tamis_status tamis_json_check(const char *text, size_t n_bytes, const char *what,
                              tamis_error *err) TAMIS_MUST_USE;

#endif
