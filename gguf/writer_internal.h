/* writer_internal.h - the state of a file being written, shared by writer*.c.
 * A key is kept as the finished bytes of its record, so writing is copying. */
#ifndef TAMIS_GGUF_WRITER_INTERNAL_H
#define TAMIS_GGUF_WRITER_INTERNAL_H

#include "base/atomic_file.h"
#include "gguf/gguf_internal.h"

typedef struct gguf_record {
    uint8_t *bytes; /* key length, key, kind, value: little-endian */
    size_t n_bytes;
    size_t key_bytes;
} gguf_record;

typedef struct gguf_out_tensor {
    char name[GGUF_MAX_NAME_BYTES + 1];
    int32_t type_id, n_dims;
    uint64_t ne[4];
    uint64_t n_bytes; /* of data, without padding */
} gguf_out_tensor;

/* One file of the output and the tensors it holds. */
typedef struct gguf_part {
    uint64_t first, n_tensors;
    tamis_output *output; /* from its first byte to commit */
} gguf_part;

struct tamis_gguf_writer {
    gguf_record *records;
    uint64_t n_records, records_capacity;
    tamis_name_index keys; /* handles are record numbers + 1; room for keys_capacity */
    uint64_t keys_capacity;

    gguf_out_tensor *tensors;
    uint64_t n_tensors, tensors_capacity;
    tamis_name_index names; /* handles are tensor numbers + 1 */
    uint64_t names_capacity;

    gguf_part *parts; /* set by set_shards, or one of them by begin */
    uint64_t n_parts, parts_capacity;
    bool is_split;

    tamis_output *output; /* of the part being written; NULL before begin and after commit */
    char *path;           /* given to begin */
    bool skips_sync;
    uint32_t alignment;   /* fixed by begin */
    uint64_t i_part;      /* the one being written */
    uint64_t i_tensor;    /* the one being written, over all parts */
    uint64_t written;     /* bytes of it so far */
};

static inline void gguf_store(uint8_t *p, size_t width, uint64_t v) {
    for (size_t i = 0; i < width; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

/* Payload of a record: what follows the kind. */
static inline const uint8_t *gguf_record_value(const gguf_record *r) {
    return r->bytes + 8 + r->key_bytes + 4;
}
static inline tamis_gguf_kind gguf_record_kind(const gguf_record *r) {
    return (tamis_gguf_kind)gguf_load(r->bytes + 8 + r->key_bytes, 4, false);
}

/* writer.c: value of general.alignment, checked; the record of a key or NULL. */
tamis_status gguf_writer_alignment(const tamis_gguf_writer *w, uint32_t *out,
                                   tamis_error *err) TAMIS_MUST_USE;
const gguf_record *gguf_find_record(const tamis_gguf_writer *w, const char *key);

/* The same as tamis_gguf_write_data() with bytes of an input. */
tamis_status gguf_copy_data(tamis_gguf_writer *w, const tamis_input *in, uint64_t offset,
                            uint64_t n_bytes, tamis_error *err) TAMIS_MUST_USE;

/* writer_keys.c: range of an integer kind (false for others); a number or bool, and an array of
 * them, from their bits. */
bool gguf_int_range(tamis_gguf_kind kind, int64_t *lo, uint64_t *hi);
tamis_status gguf_set_bits(tamis_gguf_writer *w, const char *key, tamis_gguf_kind kind,
                           uint64_t bits, tamis_error *err) TAMIS_MUST_USE;
tamis_status gguf_set_numbers(tamis_gguf_writer *w, const char *key, tamis_gguf_kind elem_kind,
                              const uint64_t *bits, uint64_t n_items,
                              tamis_error *err) TAMIS_MUST_USE;

/* writer_open.c: a file of these keys and no tensor, made in memory and opened. *bytes: free()
 * after closing *out, also on error. */
tamis_status gguf_open_keys(const tamis_gguf_writer *w, uint8_t **bytes, tamis_gguf **out,
                            tamis_error *err) TAMIS_MUST_USE;

/* writer_shards.c: does a key go into part i? The first part holds all; the others what tells
 * them apart and what their layout needs. */
bool gguf_part_has_key(const tamis_gguf_writer *w, uint64_t i_part, const gguf_record *r);
/* Write that part's record of a key. */
tamis_status gguf_write_record(tamis_gguf_writer *w, const gguf_record *r,
                               tamis_error *err) TAMIS_MUST_USE;

#endif
