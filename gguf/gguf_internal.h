/* gguf_internal.h - what the sources of the container room share.
 * A gguf_file is one file of a set. Its header (everything before the tensor data) is
 * copied into `head`, grown to what the file really holds, so that a file that
 * shrinks while it is read is an error and nothing else. Keys, values and names are
 * found in that copy by offset: 4 bytes of index per key, a header of at most 4 GiB. */
#ifndef TAMIS_GGUF_GGUF_INTERNAL_H
#define TAMIS_GGUF_GGUF_INTERNAL_H

#include <stdatomic.h>

#include "base/checked.h"
#include "base/input_file.h"
#include "gguf/gguf.h"
#include "gguf/name_index.h"

enum {
    GGUF_HEADER_BYTES = 24,
    GGUF_MIN_KV_BYTES = 14,   /* length, one byte of key, kind, one byte of value */
    GGUF_MIN_INFO_BYTES = 24, /* length, n_dims, type, offset */
    GGUF_MAX_KEY_BYTES = 65535,
    GGUF_MAX_NAME_BYTES = 63,
    GGUF_DEFAULT_ALIGNMENT = 32,
    GGUF_MAX_BLOCKS = 65536, /* layers a model may have */
    GGUF_QUOTE_BYTES = 160,  /* buffer for a name quoted in a message */
};

typedef struct gguf_file {
    char *path;
    tamis_input *input;    /* NULL when the bytes lie in memory */
    const uint8_t *memory; /* borrowed; NULL with an input */
    uint64_t size;

    uint8_t *head; /* bytes 0 .. head_bytes of the file */
    uint64_t head_bytes, head_capacity;
    uint64_t pos; /* next byte to parse */

    uint32_t version;
    bool is_big_endian;
    uint32_t alignment;
    uint64_t n_kv, n_tensors;
    uint32_t *kv_offsets; /* [n_kv] of the records, ascending */
    uint64_t kv_capacity;
    uint64_t kv_end, infos_end, data_offset;
    tamis_name_index keys; /* handles are offsets of records */
    uint64_t trailing_bytes;
} gguf_file;

struct tamis_gguf {
    gguf_file *files;
    uint64_t n_files, files_capacity;
    tamis_gguf_tensor *tensors;
    uint64_t n_tensors, tensors_capacity;
    tamis_name_index names; /* handles are tensor numbers + 1 */
    /* Where the last string element was found: element number << 32 | offset in head. */
    _Atomic uint64_t *string_cursor;
};

/* Unsigned value of 1, 2, 4 or 8 bytes in the file's byte order. */
static inline uint64_t gguf_load(const uint8_t *p, size_t width, bool is_big_endian) {
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++)
        v = v << 8 | p[is_big_endian ? i : width - 1 - i];
    return v;
}

/* Bytes of one element of a kind; 0 for strings and arrays. */
size_t gguf_kind_bytes(tamis_gguf_kind kind);
/* The length-prefixed string at an offset of the header (already checked). */
tamis_bytes gguf_string_at(const void *file, uint32_t offset);
/* Text quoted for a message: escaped, cut to the buffer. */
static inline const char *gguf_quote(tamis_bytes text, char out[GGUF_QUOTE_BYTES]) {
    return tamis_escape(text.data, text.n_bytes, out, GGUF_QUOTE_BYTES);
}

/* reader.c: copy more of the file into head, parse header and metadata. */
tamis_status gguf_need(gguf_file *f, uint64_t n_bytes, const char *what,
                       tamis_error *err) TAMIS_MUST_USE;
tamis_status gguf_take_uint(gguf_file *f, size_t width, const char *what, uint64_t *out,
                            tamis_error *err) TAMIS_MUST_USE;
tamis_status gguf_take_string(gguf_file *f, const char *what, tamis_bytes *out,
                              tamis_error *err) TAMIS_MUST_USE;
tamis_status gguf_read_metadata(gguf_file *f, tamis_error *err) TAMIS_MUST_USE;
void gguf_file_release(gguf_file *f);

/* metadata.c: the same accessors as in gguf.h, of one file. */
tamis_gguf_kv gguf_file_kv(const gguf_file *f, uint64_t index);
bool gguf_file_find(const gguf_file *f, const char *key, tamis_gguf_kv *out);
bool gguf_file_find_bytes(const gguf_file *f, tamis_bytes key, tamis_gguf_kv *out);
bool gguf_file_int(const gguf_file *f, const tamis_gguf_kv *kv, uint64_t i, int64_t *out);
bool gguf_file_string(const gguf_file *f, const tamis_gguf_kv *kv, tamis_bytes *out);
bool gguf_file_next_string(const gguf_file *f, const tamis_gguf_kv *kv, uint64_t *cursor,
                           tamis_bytes *out);
/* First byte of the value (of the elements of an array). */
const uint8_t *gguf_file_payload(const gguf_file *f, const tamis_gguf_kv *kv);
/* Bytes of the payload. */
uint64_t gguf_file_payload_bytes(const gguf_file *f, const tamis_gguf_kv *kv);
/* The whole record of a key: length, key, kind, value. */
const uint8_t *gguf_file_record(const gguf_file *f, const tamis_gguf_kv *kv);
uint64_t gguf_file_record_bytes(const gguf_file *f, const tamis_gguf_kv *kv);

/* known_keys.c: kinds and ranges of the keys that the reference fixes; vocabulary.c: what the
 * tokenizer's keys say about each other. */
tamis_status gguf_check_known_keys(const gguf_file *f, tamis_error *err) TAMIS_MUST_USE;
tamis_status gguf_check_vocabulary(const gguf_file *f, tamis_error *err) TAMIS_MUST_USE;
/* The tokens of a vocabulary; handles are offsets of their strings in the header. A token that is
 * there twice is an error. To be released. */
tamis_status gguf_index_tokens(const gguf_file *f, const tamis_gguf_kv *tokens,
                               tamis_name_index *index, tamis_error *err) TAMIS_MUST_USE;
/* "left right": cut at the first space that is not the first byte; false when it cannot be. */
bool gguf_split_merge(tamis_bytes merge, tamis_bytes *left, tamis_bytes *right);
/* `{arch}.suffix` as an integer; false when the architecture or the key is absent. */
bool gguf_arch_int(const gguf_file *f, const char *suffix, int64_t *out);

/* The kind that the format fixes for a key (of an array: and of its elements), as this tool writes
 * it; false when it fixes none. */
bool gguf_known_kind(const gguf_file *f, const char *key, tamis_gguf_kind *kind,
                     tamis_gguf_kind *elem_kind);

/* tensors.c: the tensor table of one file, appended to g->tensors; then the rules over a set. */
tamis_status gguf_read_tensor_infos(tamis_gguf *g, int32_t i_file,
                                    const tamis_gguf_options *options,
                                    tamis_error *err) TAMIS_MUST_USE;
tamis_status gguf_index_tensors(tamis_gguf *g, tamis_error *err) TAMIS_MUST_USE;
tamis_status gguf_check_layer_numbers(const tamis_gguf *g, tamis_error *err) TAMIS_MUST_USE;

/* split.c: whether a file is one of a set, and the paths of the set. */
typedef struct gguf_split {
    int64_t count; /* 0: a single file */
    int64_t no;
    int64_t n_tensors; /* over the set */
    char *prefix;      /* path without "-00001-of-00003.gguf"; owned */
} gguf_split;
tamis_status gguf_read_split(const gguf_file *f, gguf_split *out, tamis_error *err) TAMIS_MUST_USE;
/* Path of part i, to be freed. */
tamis_status gguf_split_path(const gguf_split *split, int64_t i, char **out,
                             tamis_error *err) TAMIS_MUST_USE;
/* Bytes of a path in front of "-00001-of-00003.gguf" or ".gguf"; all of it without such an end. */
size_t gguf_split_prefix_bytes(const char *path);
/* Part i must say the same as the one that was opened. */
tamis_status gguf_check_part(const gguf_file *f, const gguf_split *split, int64_t i,
                             tamis_error *err) TAMIS_MUST_USE;

#endif
