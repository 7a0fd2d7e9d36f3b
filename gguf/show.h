/* show.h - what `gguf show` prints: text for people, JSON for programs. */
#ifndef TAMIS_GGUF_SHOW_H
#define TAMIS_GGUF_SHOW_H

#include <stdio.h>

#include "base/json.h"
#include "gguf/gguf.h"

typedef struct tamis_gguf_show_options {
    bool no_tensors;    /* leave out the tensor table */
    bool no_metadata;   /* leave out the metadata */
    bool all;           /* whole strings and arrays */
    bool every_layer;   /* a row for each layer, not for each run of equal layers (text) */
    const char *filter; /* shell pattern: only tensors whose names match; NULL = all */
} tamis_gguf_show_options;

/* Tensors that the filter lets through. */
int64_t tamis_gguf_show_n_tensors(const tamis_gguf *g, const tamis_gguf_show_options *options);

/* Header, metadata, tensors and totals by part, type, kind and layer as text, about 100 columns
 * wide. */
tamis_status tamis_gguf_show_text(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                  FILE *stream, tamis_error *err) TAMIS_MUST_USE;

/* The same as JSON: file_size, version, byte_order, alignment, data_offset (null without tensors;
 * both null for a set), metadata [{key, type, value}], tensors [{name, type, type_id, ne, offset,
 * size}] (and i_file in a set), sums {parts, types, kinds, layers: [{name, tensors, weights, size,
 * bits, types}]}. Arrays are {type, n, values}; strings above 512 bytes {bytes, sha256} unless
 * options->all; bytes that are no UTF-8 {hex}. *out: free with cJSON_Delete(). */
tamis_status tamis_gguf_show_json(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                  cJSON **out, tamis_error *err) TAMIS_MUST_USE;

/* The header, and the layers of the model as a table of at most 80 columns where numbers are of
 * usual length: mixer, heads, feed-forward, weights, types. Layers that follow one another and differ
 * in nothing share a row unless options->every_layer. TAMIS_BAD_INPUT when there are none. */
tamis_status tamis_gguf_show_arch(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                  FILE *stream, tamis_error *err) TAMIS_MUST_USE;
/* The same as JSON, every layer; members: docs/gguf.md. *out: free with cJSON_Delete(). */
tamis_status tamis_gguf_show_arch_json(const tamis_gguf *g, cJSON **out,
                                       tamis_error *err) TAMIS_MUST_USE;

/* One value of the metadata, on one line without its end; the members "type" and "value" of a JSON
 * object for it. all: nothing shortened. */
void tamis_gguf_show_value(const tamis_gguf *g, const tamis_gguf_kv *kv, bool all, FILE *stream);
tamis_status tamis_gguf_show_value_json(cJSON *object, const tamis_gguf *g, const tamis_gguf_kv *kv,
                                        bool all, tamis_error *err) TAMIS_MUST_USE;
/* Element i of a value; the whole value as it is, for scripts: strings unescaped, arrays one
 * element a line. */
void tamis_gguf_show_element(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, bool all,
                             FILE *stream);
void tamis_gguf_show_raw(const tamis_gguf *g, const tamis_gguf_kv *kv, FILE *stream);

#endif
