/* json.h - JSON through cJSON, with the checks that hostile or large input wants.
 * Writing: build with cJSON's own functions, print with tamis_json_write(). */
#ifndef TAMIS_BASE_JSON_H
#define TAMIS_BASE_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>

#include "base/error.h"

/* Parse a text; depth at most 32, duplicate keys refused, nothing after the value. `what` names
 * the source in messages. *out: free with cJSON_Delete(). */
tamis_status tamis_json_parse(const char *text, size_t n_bytes, const char *what, cJSON **out,
                              tamis_error *err) TAMIS_MUST_USE;

/* Write `value`, indented, with a final newline, atomically to `path`; "-" is standard output.
 * Numbers that are not finite are written as the strings "nan", "inf", "-inf". */
tamis_status tamis_json_write(const cJSON *value, const char *path,
                              tamis_error *err) TAMIS_MUST_USE;

/* Add a 64-bit integer; beyond +-2^53 it becomes a string so that no reader rounds it. */
void tamis_json_add_int(cJSON *object, const char *key, int64_t value);
void tamis_json_add_uint(cJSON *object, const char *key, uint64_t value);
/* Add a double; non-finite ones as strings. All digits are kept (shortest that reads back). */
void tamis_json_add_double(cJSON *object, const char *key, double value);
/* Add bytes that may be no UTF-8: as text when valid (invalid: {"hex": "..."}). */
void tamis_json_add_bytes(cJSON *object, const char *key, const char *data, size_t n_bytes);

#endif
