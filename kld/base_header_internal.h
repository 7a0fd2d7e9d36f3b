/* base_header_internal.h - the JSON header of a base file. */
#ifndef TAMIS_KLD_BASE_HEADER_INTERNAL_H
#define TAMIS_KLD_BASE_HEADER_INTERNAL_H

#include <stddef.h>

#include "base/error.h"
#include "kld/base_file.h"

/* The header as text; free() it. */
tamis_status tamis_base_header_print(const tamis_kld_base_info *info, char **out_text,
                                     size_t *out_n_bytes, tamis_error *err) TAMIS_MUST_USE;
/* Parse a header; every field must be present, of its type and in range, "mtp" when has_mtp. `path`
 * is for messages. */
tamis_status tamis_base_header_parse(const char *text, size_t n_bytes, bool has_mtp,
                                     const char *path, tamis_kld_base_info *out,
                                     tamis_error *err) TAMIS_MUST_USE;

#endif
