/* reader.c - header and metadata of one file: copied piece by piece, checked, indexed.
 * Every length is held against what is left of the file before anything is read or
 * allocated for it; time and memory are linear in the bytes that are there.
 * Layout: reference/gguf.md section 1; rules 1-5, 7 of gguf-threats.md section 2. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "gguf/gguf_internal.h"

enum { FIRST_READ_BYTES = 64 * 1024, READ_PIECE_BYTES = 1 << 20 };

typedef unsigned long long ull;

void gguf_file_release(gguf_file *f) {
    free(f->path);
    tamis_input_close(f->input);
    free(f->head);
    free(f->kv_offsets);
    tamis_name_index_release(&f->keys);
    *f = (gguf_file){0};
}

/* Copy bytes of the file to dst in small pieces, and let go of each piece's mapped pages. */
static tamis_status copy_bytes(const gguf_file *f, uint64_t offset, uint64_t n_bytes, uint8_t *dst,
                               tamis_error *err) {
    if (!f->input) {
        memcpy(dst, f->memory + offset, (size_t)n_bytes);
        return TAMIS_OK;
    }
    tamis_status st = TAMIS_OK;
    for (uint64_t at = 0; !st && at < n_bytes; at += READ_PIECE_BYTES) {
        uint64_t n = n_bytes - at < READ_PIECE_BYTES ? n_bytes - at : READ_PIECE_BYTES;
        st = tamis_input_read(f->input, offset + at, (size_t)n, dst + at, err);
        tamis_input_dont_need(f->input, offset + at, n);
    }
    return st;
}

/* Make head hold the bytes up to `end`, which is at most the file's size. */
static tamis_status fill_head(gguf_file *f, uint64_t end, tamis_error *err) {
    if (end <= f->head_bytes) return TAMIS_OK;
    if (end > UINT32_MAX)
        return tamis_fail(err, TAMIS_BAD_INPUT, "the header is longer than 4 GiB");
    uint64_t wanted = f->head_bytes ? f->head_bytes * 2 : FIRST_READ_BYTES;
    if (wanted < end) wanted = end;
    if (wanted > f->size) wanted = f->size;
    if (wanted > UINT32_MAX) wanted = UINT32_MAX;
    uint8_t *head = realloc(f->head, (size_t)wanted);
    if (!head)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory: %llu bytes for the header",
                          (ull)wanted);
    f->head = head;
    tamis_status st =
        copy_bytes(f, f->head_bytes, wanted - f->head_bytes, head + f->head_bytes, err);
    if (st) return st;
    f->head_bytes = wanted;
    return TAMIS_OK;
}

tamis_status gguf_need(gguf_file *f, uint64_t n_bytes, const char *what, tamis_error *err) {
    if (n_bytes > f->size - f->pos)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "truncated: %s needs %llu bytes at offset %llu, the file ends at %llu",
                          what, (ull)n_bytes, (ull)f->pos, (ull)f->size);
    return fill_head(f, f->pos + n_bytes, err);
}

tamis_status gguf_take_uint(gguf_file *f, size_t width, const char *what, uint64_t *out,
                            tamis_error *err) {
    tamis_status st = gguf_need(f, width, what, err);
    if (st) return st;
    *out = gguf_load(f->head + f->pos, width, f->is_big_endian);
    f->pos += width;
    return TAMIS_OK;
}

tamis_status gguf_take_string(gguf_file *f, const char *what, tamis_bytes *out, tamis_error *err) {
    uint64_t n_bytes;
    tamis_status st = gguf_take_uint(f, 8, what, &n_bytes, err);
    if (st) return st;
    if (n_bytes > f->size - f->pos)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s of %llu bytes at offset %llu is longer than the rest of the file "
                          "(%llu bytes)",
                          what, (ull)n_bytes, (ull)f->pos, (ull)(f->size - f->pos));
    st = gguf_need(f, n_bytes, what, err);
    if (st) return st;
    *out = (tamis_bytes){(const char *)f->head + f->pos, (size_t)n_bytes};
    f->pos += n_bytes;
    return TAMIS_OK;
}

/* Version, and from it the byte order: swapped it has zero low bits. */
static tamis_status read_version(gguf_file *f, tamis_error *err) {
    uint32_t version = (uint32_t)gguf_load(f->head + 4, 4, false);
    uint32_t swapped = (uint32_t)gguf_load(f->head + 4, 4, true);
    if (version && !(version & 0xFFFF)) {
        if (swapped > 3)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "version %u is not supported (nor is %u, its other byte order)",
                              version, swapped);
        version = swapped;
        f->is_big_endian = true;
    }
    if (version == 1)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "GGUF version 1 (32-bit counts) is not supported; convert the model "
                          "again, or find a newer file");
    if (version != 2 && version != 3)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "version %u is not supported (versions 2 and 3 are)", version);
    f->version = version;
    return TAMIS_OK;
}

static tamis_status read_header(gguf_file *f, tamis_error *err) {
    if (!f->size) return tamis_fail(err, TAMIS_BAD_INPUT, "not a GGUF file: empty");
    if (f->size < 4)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "truncated: %llu bytes are too short for a header of %d", (ull)f->size,
                          GGUF_HEADER_BYTES);
    tamis_status st = fill_head(f, f->size < GGUF_HEADER_BYTES ? f->size : GGUF_HEADER_BYTES, err);
    if (st) return st;
    if (memcmp(f->head, "GGUF", 4)) {
        char magic[32];
        tamis_escape((const char *)f->head, 4, magic, sizeof magic);
        return tamis_fail(err, TAMIS_BAD_INPUT, "not a GGUF file: it begins with '%s'", magic);
    }
    if (f->size < GGUF_HEADER_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "truncated: %llu bytes are too short for a header of %d", (ull)f->size,
                          GGUF_HEADER_BYTES);
    st = read_version(f, err);
    if (st) return st;
    f->n_tensors = gguf_load(f->head + 8, 8, f->is_big_endian);
    f->n_kv = gguf_load(f->head + 16, 8, f->is_big_endian);
    f->pos = GGUF_HEADER_BYTES;
    uint64_t left = f->size - f->pos;
    if (f->n_kv > left / GGUF_MIN_KV_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "truncated or damaged: n_kv %llu (at offset 16) exceeds what the rest of "
                          "the file (%llu bytes from offset %d) can hold",
                          (ull)f->n_kv, (ull)left, GGUF_HEADER_BYTES);
    if (f->n_tensors > left / GGUF_MIN_INFO_BYTES)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "truncated or damaged: n_tensors %llu (at offset 8) exceeds what the rest "
            "of the file (%llu bytes from offset %d) can hold",
            (ull)f->n_tensors, (ull)left, GGUF_HEADER_BYTES);
    return TAMIS_OK;
}

static tamis_status check_bools(const gguf_file *f, uint64_t n, tamis_error *err) {
    const uint8_t *p = f->head + f->pos;
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "element %llu: a bool must be 0 or 1, not %d (offset %llu)", (ull)i,
                              p[i], (ull)(f->pos + i));
    return TAMIS_OK;
}

/* Step over n bare values of a kind. */
static tamis_status skip_values(gguf_file *f, tamis_gguf_kind kind, uint64_t n, tamis_error *err) {
    if (kind == TAMIS_GGUF_STRING) {
        for (uint64_t i = 0; i < n; i++) {
            tamis_bytes unused;
            tamis_status st = gguf_take_string(f, "a string", &unused, err);
            if (st) return n > 1 ? tamis_fail_prefix(err, "element %llu", (ull)i) : st;
        }
        return TAMIS_OK;
    }
    uint64_t n_bytes = n * gguf_kind_bytes(kind); /* n was held against the file */
    tamis_status st = gguf_need(f, n_bytes, "a value", err);
    if (!st && kind == TAMIS_GGUF_BOOL) st = check_bools(f, n, err);
    if (!st) f->pos += n_bytes;
    return st;
}

static tamis_status skip_array(gguf_file *f, tamis_error *err) {
    uint64_t kind, n;
    tamis_status st = gguf_take_uint(f, 4, "the element type of an array", &kind, err);
    if (!st) st = gguf_take_uint(f, 8, "the count of an array", &n, err);
    if (st) return st;
    if (kind == TAMIS_GGUF_ARRAY)
        return tamis_fail(err, TAMIS_BAD_INPUT, "nested arrays are not supported");
    if (kind >= TAMIS_GGUF_N_KINDS)
        return tamis_fail(err, TAMIS_BAD_INPUT, "unknown value type %llu of the elements",
                          (ull)kind);
    /* Strings are walked one by one, so that the message can name the one that is cut. */
    size_t width = kind == TAMIS_GGUF_STRING ? 1 : gguf_kind_bytes((tamis_gguf_kind)kind);
    if (n > (f->size - f->pos) / width)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "truncated: array of %llu elements at offset %llu is longer than the "
                          "rest of the file (%llu bytes)",
                          (ull)n, (ull)f->pos, (ull)(f->size - f->pos));
    return skip_values(f, (tamis_gguf_kind)kind, n, err);
}

static tamis_status check_key(tamis_bytes key, tamis_error *err) {
    if (!key.n_bytes) return tamis_fail(err, TAMIS_BAD_INPUT, "the key is empty");
    if (key.n_bytes > GGUF_MAX_KEY_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT, "the key has %zu bytes, at most %d are allowed",
                          key.n_bytes, GGUF_MAX_KEY_BYTES);
    char quoted[GGUF_QUOTE_BYTES];
    if (memchr(key.data, 0, key.n_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT, "the key '%s' holds a NUL",
                          gguf_quote(key, quoted));
    if (!tamis_utf8_is_valid(key.data, key.n_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT, "the key '%s' is not valid UTF-8",
                          gguf_quote(key, quoted));
    return TAMIS_OK;
}

static tamis_status read_kv(gguf_file *f, uint64_t i_kv, tamis_error *err) {
    tamis_bytes key;
    uint64_t kind;
    uint64_t offset = f->pos;
    tamis_status st = gguf_take_string(f, "a key", &key, err);
    if (!st) st = check_key(key, err);
    if (st) return tamis_fail_prefix(err, "key %llu at offset %llu", (ull)i_kv, (ull)offset);

    st = tamis_grow(&f->kv_offsets, &f->kv_capacity, i_kv + 1, sizeof *f->kv_offsets, err);
    if (st) return st;
    f->kv_offsets[i_kv] = (uint32_t)offset;
    st = gguf_take_uint(f, 4, "a value type", &kind, err);
    if (!st && kind >= TAMIS_GGUF_N_KINDS)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "unknown value type %llu at offset %llu", (ull)kind,
                        (ull)(f->pos - 4));
    if (!st && kind == TAMIS_GGUF_ARRAY)
        st = skip_array(f, err);
    else if (!st)
        st = skip_values(f, (tamis_gguf_kind)kind, 1, err);
    if (!st) return TAMIS_OK;
    char quoted[GGUF_QUOTE_BYTES]; /* the key again: head may have moved */
    gguf_quote(gguf_string_at(f, (uint32_t)offset), quoted);
    return tamis_fail_prefix(err, "key %llu '%s'", (ull)i_kv, quoted);
}

static tamis_status index_keys(gguf_file *f, tamis_error *err) {
    tamis_status st = tamis_name_index_init(&f->keys, f->n_kv, err);
    for (uint64_t i = 0; !st && i < f->n_kv; i++) {
        if (!tamis_name_index_add(&f->keys, gguf_string_at, f, f->kv_offsets[i])) continue;
        char quoted[GGUF_QUOTE_BYTES];
        gguf_quote(gguf_string_at(f, f->kv_offsets[i]), quoted);
        st = tamis_fail(err, TAMIS_BAD_INPUT, "duplicate key '%s' (key %llu, offset %u)", quoted,
                        (ull)i, f->kv_offsets[i]);
    }
    return st;
}

static tamis_status read_alignment(gguf_file *f, tamis_error *err) {
    tamis_gguf_kv kv;
    f->alignment = GGUF_DEFAULT_ALIGNMENT;
    if (!gguf_file_find(f, "general.alignment", &kv)) return TAMIS_OK;
    if (kv.kind != TAMIS_GGUF_U32)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key 'general.alignment' must be a u32, it is %s",
                          tamis_gguf_kind_name(kv.kind));
    int64_t value = 0;
    gguf_file_int(f, &kv, 0, &value);
    if (value < 8 || value > 65536 || (value & (value - 1)))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'general.alignment' is %lld: the alignment must be a power of two "
                          "from 8 to 65536",
                          (long long)value);
    f->alignment = (uint32_t)value;
    return TAMIS_OK;
}

tamis_status gguf_read_metadata(gguf_file *f, tamis_error *err) {
    tamis_status st = read_header(f, err);
    for (uint64_t i = 0; !st && i < f->n_kv; i++)
        st = read_kv(f, i, err);
    if (st) return st;
    f->kv_end = f->pos;
    st = index_keys(f, err);
    if (!st) st = read_alignment(f, err);
    return st;
}
