/* writer_keys.c - the metadata of a file being written.
 * Keys keep the order in which they were first set; setting one again replaces its
 * value in place. Values are held as the bytes that will be written. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "gguf/writer_internal.h"

static tamis_bytes record_key(const void *writer, uint32_t handle) {
    const tamis_gguf_writer *w = writer;
    const gguf_record *r = &w->records[handle - 1];
    return (tamis_bytes){(const char *)r->bytes + 8, r->key_bytes};
}

static uint32_t find_record(const tamis_gguf_writer *w, tamis_bytes key) {
    return tamis_name_index_find(&w->keys, record_key, w, key);
}

/* Index the records anew, with room for more. */
static tamis_status rebuild_index(tamis_gguf_writer *w, uint64_t room, tamis_error *err) {
    tamis_name_index index;
    tamis_status st = tamis_name_index_init(&index, room, err);
    if (st) return st;
    tamis_name_index_release(&w->keys);
    w->keys = index;
    w->keys_capacity = room;
    for (uint64_t i = 0; i < w->n_records; i++)
        (void)tamis_name_index_add(&w->keys, record_key, w, (uint32_t)i + 1);
    return TAMIS_OK;
}

static tamis_status check_key(tamis_bytes key, tamis_error *err) {
    char quoted[GGUF_QUOTE_BYTES];
    if (key.n_bytes && key.n_bytes <= GGUF_MAX_KEY_BYTES && !memchr(key.data, 0, key.n_bytes) &&
        tamis_utf8_is_valid(key.data, key.n_bytes))
        return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "key '%s' cannot be written: keys are UTF-8 of 1 to %d bytes without NUL",
                      gguf_quote(key, quoted), GGUF_MAX_KEY_BYTES);
}

/* A new record with its key, kind and room for the value; *value is where that goes. */
static tamis_status new_record(tamis_bytes key, tamis_gguf_kind kind, uint64_t value_bytes,
                               gguf_record *out, uint8_t **value, tamis_error *err) {
    uint64_t n_bytes;
    tamis_status st = check_key(key, err);
    if (st) return st;
    if (!tamis_add_u64(value_bytes, 8 + key.n_bytes + 4, &n_bytes))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "a value is too long to be written");
    uint8_t *p = tamis_alloc_array(n_bytes, 1, err);
    if (!p) return TAMIS_NO_RESOURCE;
    gguf_store(p, 8, key.n_bytes);
    memcpy(p + 8, key.data, key.n_bytes);
    gguf_store(p + 8 + key.n_bytes, 4, kind);
    *out = (gguf_record){p, (size_t)n_bytes, key.n_bytes};
    *value = p + 8 + key.n_bytes + 4;
    return TAMIS_OK;
}

/* Put a finished record in its place; takes it. */
static tamis_status place(tamis_gguf_writer *w, gguf_record record, tamis_error *err) {
    tamis_bytes key = {(const char *)record.bytes + 8, record.key_bytes};
    tamis_status st = TAMIS_OK;
    if (w->output)
        st = tamis_fail(err, TAMIS_BAD_USAGE, "keys cannot be set once writing has begun");
    uint32_t handle = st ? 0 : find_record(w, key);
    if (handle) {
        free(w->records[handle - 1].bytes);
        w->records[handle - 1] = record;
        return TAMIS_OK;
    }
    if (!st)
        st = tamis_grow(&w->records, &w->records_capacity, w->n_records + 1, sizeof *w->records,
                        err);
    if (!st && w->n_records == w->keys_capacity)
        st = rebuild_index(w, w->keys_capacity ? w->keys_capacity * 2 : 64, err);
    if (st) {
        free(record.bytes);
        return st;
    }
    w->records[w->n_records++] = record;
    (void)tamis_name_index_add(&w->keys, record_key, w, (uint32_t)w->n_records);
    return TAMIS_OK;
}

static tamis_bytes text_of(const char *text) {
    return (tamis_bytes){text, strlen(text)};
}

tamis_status gguf_set_bits(tamis_gguf_writer *w, const char *key, tamis_gguf_kind kind,
                           uint64_t bits, tamis_error *err) {
    gguf_record record;
    uint8_t *value;
    tamis_status st = new_record(text_of(key), kind, gguf_kind_bytes(kind), &record, &value, err);
    if (st) return st;
    gguf_store(value, gguf_kind_bytes(kind), bits);
    return place(w, record, err);
}

tamis_status gguf_set_numbers(tamis_gguf_writer *w, const char *key, tamis_gguf_kind elem_kind,
                              const uint64_t *bits, uint64_t n_items, tamis_error *err) {
    gguf_record record;
    uint8_t *value;
    uint64_t n_bytes;
    size_t width = gguf_kind_bytes(elem_kind);
    if (!tamis_mul_u64(n_items, width, &n_bytes) || !tamis_add_u64(n_bytes, 4 + 8, &n_bytes))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "key '%s': the array is too long", key);
    tamis_status st = new_record(text_of(key), TAMIS_GGUF_ARRAY, n_bytes, &record, &value, err);
    if (st) return st;
    gguf_store(value, 4, elem_kind);
    gguf_store(value + 4, 8, n_items);
    value += 12;
    for (uint64_t i = 0; i < n_items; i++, value += width)
        gguf_store(value, width, bits[i]);
    return place(w, record, err);
}

/* Largest magnitudes of the integer kinds; -lo and hi. */
bool gguf_int_range(tamis_gguf_kind kind, int64_t *lo, uint64_t *hi) {
    size_t width = gguf_kind_bytes(kind);
    switch (kind) {
    case TAMIS_GGUF_U8:
    case TAMIS_GGUF_U16:
    case TAMIS_GGUF_U32:
    case TAMIS_GGUF_U64:
        *lo = 0;
        *hi = UINT64_MAX >> (64 - 8 * width);
        return true;
    case TAMIS_GGUF_I8:
    case TAMIS_GGUF_I16:
    case TAMIS_GGUF_I32:
    case TAMIS_GGUF_I64:
        *hi = UINT64_MAX >> (65 - 8 * width);
        *lo = -(int64_t)*hi - 1;
        return true;
    default:
        return false;
    }
}

static tamis_status does_not_fit(const char *key, tamis_gguf_kind kind, tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s': the value does not fit in %s", key,
                      tamis_gguf_kind_name(kind));
}

tamis_status tamis_gguf_set_uint(tamis_gguf_writer *w, const char *key, tamis_gguf_kind kind,
                                 uint64_t value, tamis_error *err) {
    int64_t lo;
    uint64_t hi;
    if (!gguf_int_range(kind, &lo, &hi) || value > hi) return does_not_fit(key, kind, err);
    return gguf_set_bits(w, key, kind, value, err);
}

tamis_status tamis_gguf_set_int(tamis_gguf_writer *w, const char *key, tamis_gguf_kind kind,
                                int64_t value, tamis_error *err) {
    int64_t lo;
    uint64_t hi;
    if (!gguf_int_range(kind, &lo, &hi) || value < lo || (value > 0 && (uint64_t)value > hi))
        return does_not_fit(key, kind, err);
    return gguf_set_bits(w, key, kind, (uint64_t)value, err);
}

tamis_status tamis_gguf_set_double(tamis_gguf_writer *w, const char *key, tamis_gguf_kind kind,
                                   double value, tamis_error *err) {
    uint64_t bits = 0;
    if (kind == TAMIS_GGUF_F64) {
        memcpy(&bits, &value, sizeof value);
    } else if (kind == TAMIS_GGUF_F32) {
        float narrow = (float)value;
        uint32_t bits32;
        memcpy(&bits32, &narrow, sizeof bits32);
        bits = bits32;
    } else {
        return does_not_fit(key, kind, err);
    }
    return gguf_set_bits(w, key, kind, bits, err);
}

tamis_status tamis_gguf_set_bool(tamis_gguf_writer *w, const char *key, bool value,
                                 tamis_error *err) {
    return gguf_set_bits(w, key, TAMIS_GGUF_BOOL, value, err);
}

tamis_status tamis_gguf_set_string(tamis_gguf_writer *w, const char *key, const char *data,
                                   size_t n_bytes, tamis_error *err) {
    gguf_record record;
    uint8_t *value;
    uint64_t value_bytes;
    if (!tamis_add_u64(n_bytes, 8, &value_bytes)) return does_not_fit(key, TAMIS_GGUF_STRING, err);
    tamis_status st =
        new_record(text_of(key), TAMIS_GGUF_STRING, value_bytes, &record, &value, err);
    if (st) return st;
    gguf_store(value, 8, n_bytes);
    if (n_bytes) memcpy(value + 8, data, n_bytes);
    return place(w, record, err);
}

tamis_status tamis_gguf_set_strings(tamis_gguf_writer *w, const char *key, const char *const *items,
                                    uint64_t n_items, tamis_error *err) {
    gguf_record record;
    uint8_t *value;
    uint64_t n_bytes = 4 + 8;
    for (uint64_t i = 0; i < n_items; i++)
        if (!tamis_add_u64(n_bytes, 8 + strlen(items[i]), &n_bytes))
            return does_not_fit(key, TAMIS_GGUF_ARRAY, err);
    tamis_status st = new_record(text_of(key), TAMIS_GGUF_ARRAY, n_bytes, &record, &value, err);
    if (st) return st;
    gguf_store(value, 4, TAMIS_GGUF_STRING);
    gguf_store(value + 4, 8, n_items);
    value += 12;
    for (uint64_t i = 0; i < n_items; i++) {
        size_t n = strlen(items[i]);
        gguf_store(value, 8, n);
        memcpy(value + 8, items[i], n);
        value += 8 + n;
    }
    return place(w, record, err);
}

/* Copy bare values, from the file's byte order to little-endian. */
static void copy_values(const gguf_file *f, const tamis_gguf_kv *kv, const uint8_t *from,
                        uint8_t *to) {
    size_t width = gguf_kind_bytes(kv->elem_kind);
    for (uint64_t i = 0; i < kv->n_elems; i++) {
        size_t n = width ? width : 8;
        uint64_t bits = gguf_load(from, n, f->is_big_endian);
        gguf_store(to, n, bits);
        from += n;
        to += n;
        if (width) continue;
        memcpy(to, from, (size_t)bits); /* a string: its length was checked when reading */
        from += bits;
        to += bits;
    }
}

tamis_status tamis_gguf_set_copy(tamis_gguf_writer *w, const tamis_gguf *from,
                                 const tamis_gguf_kv *kv, tamis_error *err) {
    const gguf_file *f = &from->files[0];
    uint64_t n_bytes = gguf_file_payload_bytes(f, kv);
    bool is_array = kv->kind == TAMIS_GGUF_ARRAY;
    gguf_record record;
    uint8_t *value;
    tamis_status st =
        new_record(kv->key, kv->kind, n_bytes + (is_array ? 12 : 0), &record, &value, err);
    if (st) return st;
    if (is_array) {
        gguf_store(value, 4, kv->elem_kind);
        gguf_store(value + 4, 8, kv->n_elems);
        value += 12;
    }
    copy_values(f, kv, gguf_file_payload(f, kv), value);
    return place(w, record, err);
}

tamis_status tamis_gguf_set_filtered(tamis_gguf_writer *w, const tamis_gguf *from,
                                     const tamis_gguf_kv *kv, const bool *keep, tamis_error *err) {
    const gguf_file *f = &from->files[0];
    size_t width = kv->kind == TAMIS_GGUF_ARRAY ? gguf_kind_bytes(kv->elem_kind) : 0;
    const uint8_t *values = gguf_file_payload(f, kv);
    uint64_t n_kept = 0;
    gguf_record record;
    uint8_t *value;
    if (width == 0) return tamis_fail(err, TAMIS_BAD_USAGE, "only arrays of numbers are filtered");
    for (uint64_t i = 0; i < kv->n_elems; i++)
        n_kept += keep[i];
    tamis_status st = new_record(kv->key, kv->kind, 12 + n_kept * width, &record, &value, err);
    if (st) return st;
    gguf_store(value, 4, kv->elem_kind);
    gguf_store(value + 4, 8, n_kept);
    value += 12;
    for (uint64_t i = 0; i < kv->n_elems; i++) {
        if (!keep[i]) continue;
        gguf_store(value, width, gguf_load(values + i * width, width, f->is_big_endian));
        value += width;
    }
    return place(w, record, err);
}

tamis_status tamis_gguf_set_all(tamis_gguf_writer *w, const tamis_gguf *from, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (int32_t i = 0; !st && i < tamis_gguf_n_kv(from); i++) {
        tamis_gguf_kv kv = tamis_gguf_kv_at(from, i);
        st = tamis_gguf_set_copy(w, from, &kv, err);
    }
    return st;
}

void tamis_gguf_unset(tamis_gguf_writer *w, const char *key) {
    uint32_t handle = find_record(w, text_of(key));
    if (!handle || w->output) return;
    free(w->records[handle - 1].bytes);
    memmove(&w->records[handle - 1], &w->records[handle],
            (size_t)(w->n_records - handle) * sizeof *w->records);
    w->n_records--;
    /* The numbers behind it moved; the slots are there already. */
    memset(w->keys.slots, 0, (size_t)w->keys.n_slots * sizeof *w->keys.slots);
    for (uint64_t i = 0; i < w->n_records; i++)
        (void)tamis_name_index_add(&w->keys, record_key, w, (uint32_t)i + 1);
}
