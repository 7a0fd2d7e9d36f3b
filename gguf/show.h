/* show.h - what `gguf show` prints: text for people, JSON for programs. */
#ifndef TAMIS_GGUF_SHOW_H
#define TAMIS_GGUF_SHOW_H

#include <stdio.h>

#include "base/json.h"
#include "gguf/gguf.h"

typedef struct tamis_gguf_show_options {
    bool no_tensors; /* leave out the tensor table */
    bool all;        /* whole strings and arrays */
} tamis_gguf_show_options;

/* Header, metadata, tensors and totals by type as text, about 110 columns wide. */
void tamis_gguf_show_text(const tamis_gguf *g, const tamis_gguf_show_options *options,
                          FILE *stream);

/* The same as JSON: file_size, version, byte_order, alignment, data_offset (null without tensors;
 * both null for a set), metadata [{key, type, value}], tensors [{name, type, type_id, ne, offset,
 * size}] (and i_file in a set). Arrays are {type, n, values}; strings above 512 bytes {bytes,
 * sha256} unless options->all; bytes that are no UTF-8 {hex}. *out: free with cJSON_Delete(). */
tamis_status tamis_gguf_show_json(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                  cJSON **out, tamis_error *err) TAMIS_MUST_USE;

/* One value of the metadata, on one line without its end; the members "type" and "value" of a JSON
 * object for it. all: nothing shortened. */
void tamis_gguf_show_value(const tamis_gguf *g, const tamis_gguf_kv *kv, bool all, FILE *stream);
tamis_status tamis_gguf_show_value_json(cJSON *object, const tamis_gguf *g, const tamis_gguf_kv *kv,
                                        bool all, tamis_error *err) TAMIS_MUST_USE;

#endif
