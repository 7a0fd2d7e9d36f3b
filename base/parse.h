/* parse.h - numbers and sizes from text: the whole string, in range, or an error.
 * The only way text becomes a number in this project. */
#ifndef TAMIS_BASE_PARSE_H
#define TAMIS_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Decimal integer with optional sign, nothing before or after, lo <= value <= hi.
 * `what` names the thing in the message ("--threads"). TAMIS_BAD_USAGE otherwise. */
tamis_status tamis_parse_int(const char *text, int64_t lo, int64_t hi, const char *what,
                             int64_t *out, tamis_error *err) TAMIS_MUST_USE;

/* The same for the whole range of uint64_t. */
tamis_status tamis_parse_uint(const char *text, const char *what, uint64_t *out,
                              tamis_error *err) TAMIS_MUST_USE;

/* Finite decimal number (strtod syntax in the C locale, no hex), lo <= value <= hi. */
tamis_status tamis_parse_double(const char *text, double lo, double hi, const char *what,
                                double *out, tamis_error *err) TAMIS_MUST_USE;

/* Size in bytes: "123", "500M", "12G", "1.5GiB"; suffix K M G T with optional B are powers of
 * 1000, KiB MiB GiB TiB are powers of 1024. */
tamis_status tamis_parse_size(const char *text, const char *what, uint64_t *out_bytes,
                              tamis_error *err) TAMIS_MUST_USE;

/* "1.50 GB" style text for a size (powers of 1000), into out; returns out. */
char *tamis_format_size(uint64_t n_bytes, char *out, size_t cap);

/* The fewest digits (15 to 17) that read back as the same double, with a point in every locale;
 * finite values only. cap >= 32. Returns out. */
char *tamis_format_double(double value, char *out, size_t cap);

/* "1:02:03" or "12.3 s" for a duration in seconds; returns out. */
char *tamis_format_seconds(double seconds, char *out, size_t cap);

/* The entry of names[n_names] nearest to `text` by edit distance (case ignored), or NULL when
 * nothing is within a third of its length. For "did you mean". */
const char *tamis_nearest(const char *text, const char *const *names, size_t n_names);

#endif
