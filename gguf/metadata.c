/* metadata.c - keys and values of an open file: found by hash, converted on access.
 * Nothing is decoded ahead of time; a value is a place in the header's copy, read in
 * the file's byte order. All lengths were checked when the file was opened. */
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_internal.h"

static const struct {
    const char *name;
    uint8_t n_bytes;
} kinds[TAMIS_GGUF_N_KINDS] = {
    [TAMIS_GGUF_U8] = {"u8", 1},      [TAMIS_GGUF_I8] = {"i8", 1},
    [TAMIS_GGUF_U16] = {"u16", 2},    [TAMIS_GGUF_I16] = {"i16", 2},
    [TAMIS_GGUF_U32] = {"u32", 4},    [TAMIS_GGUF_I32] = {"i32", 4},
    [TAMIS_GGUF_F32] = {"f32", 4},    [TAMIS_GGUF_BOOL] = {"bool", 1},
    [TAMIS_GGUF_STRING] = {"str", 0}, [TAMIS_GGUF_ARRAY] = {"arr", 0},
    [TAMIS_GGUF_U64] = {"u64", 8},    [TAMIS_GGUF_I64] = {"i64", 8},
    [TAMIS_GGUF_F64] = {"f64", 8},
};

const char *tamis_gguf_kind_name(tamis_gguf_kind kind) {
    return kind < TAMIS_GGUF_N_KINDS ? kinds[kind].name : "?";
}

size_t gguf_kind_bytes(tamis_gguf_kind kind) {
    return kinds[kind].n_bytes;
}

tamis_bytes gguf_string_at(const void *file, uint32_t offset) {
    const gguf_file *f = file;
    const uint8_t *p = f->head + offset;
    return (tamis_bytes){(const char *)p + 8, (size_t)gguf_load(p, 8, f->is_big_endian)};
}

tamis_gguf_kv gguf_file_kv(const gguf_file *f, uint64_t index) {
    tamis_gguf_kv kv = {.key = gguf_string_at(f, f->kv_offsets[index]), .index = (int32_t)index};
    const uint8_t *p = (const uint8_t *)kv.key.data + kv.key.n_bytes;
    kv.kind = kv.elem_kind = (tamis_gguf_kind)gguf_load(p, 4, f->is_big_endian);
    kv.n_elems = 1;
    if (kv.kind == TAMIS_GGUF_ARRAY) {
        kv.elem_kind = (tamis_gguf_kind)gguf_load(p + 4, 4, f->is_big_endian);
        kv.n_elems = gguf_load(p + 8, 8, f->is_big_endian);
    }
    return kv;
}

/* Number of the record at an offset: the offsets ascend. */
static uint64_t record_number(const gguf_file *f, uint32_t offset) {
    uint64_t lo = 0, hi = f->n_kv - 1;
    while (lo < hi) {
        uint64_t mid = (lo + hi) / 2;
        if (f->kv_offsets[mid] < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool gguf_file_find_bytes(const gguf_file *f, tamis_bytes key, tamis_gguf_kv *out) {
    uint32_t offset = tamis_name_index_find(&f->keys, gguf_string_at, f, key);
    if (offset) *out = gguf_file_kv(f, record_number(f, offset));
    return offset != 0;
}

bool gguf_file_find(const gguf_file *f, const char *key, tamis_gguf_kv *out) {
    return gguf_file_find_bytes(f, (tamis_bytes){key, strlen(key)}, out);
}

const uint8_t *gguf_file_payload(const gguf_file *f, const tamis_gguf_kv *kv) {
    (void)f;
    const uint8_t *p = (const uint8_t *)kv->key.data + kv->key.n_bytes + 4;
    return kv->kind == TAMIS_GGUF_ARRAY ? p + 12 : p;
}

/* Offset in head just behind the record. */
static uint64_t record_end(const gguf_file *f, const tamis_gguf_kv *kv) {
    uint64_t next = (uint64_t)kv->index + 1;
    return next < f->n_kv ? f->kv_offsets[next] : f->kv_end;
}

uint64_t gguf_file_payload_bytes(const gguf_file *f, const tamis_gguf_kv *kv) {
    return record_end(f, kv) - (uint64_t)(gguf_file_payload(f, kv) - f->head);
}

const uint8_t *gguf_file_record(const gguf_file *f, const tamis_gguf_kv *kv) {
    return f->head + f->kv_offsets[kv->index];
}

uint64_t gguf_file_record_bytes(const gguf_file *f, const tamis_gguf_kv *kv) {
    return record_end(f, kv) - f->kv_offsets[kv->index];
}

/* Bits of element i of a kind with a width; false for strings and beyond the end. */
static bool load_element(const gguf_file *f, const tamis_gguf_kv *kv, uint64_t i, uint64_t *out) {
    size_t width = kinds[kv->elem_kind].n_bytes;
    if (!width || i >= kv->n_elems) return false;
    *out = gguf_load(gguf_file_payload(f, kv) + i * width, width, f->is_big_endian);
    return true;
}

static bool is_integer(tamis_gguf_kind kind) {
    return kind != TAMIS_GGUF_F32 && kind != TAMIS_GGUF_F64 && kinds[kind].n_bytes;
}

static bool is_signed(tamis_gguf_kind kind) {
    return kind == TAMIS_GGUF_I8 || kind == TAMIS_GGUF_I16 || kind == TAMIS_GGUF_I32 ||
           kind == TAMIS_GGUF_I64;
}

static int64_t sign_extend(uint64_t bits, size_t width) {
    uint64_t sign = (uint64_t)1 << (8 * width - 1);
    if (width < 8 && bits & sign) bits |= ~(uint64_t)0 << (8 * width);
    int64_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool gguf_file_int(const gguf_file *f, const tamis_gguf_kv *kv, uint64_t i, int64_t *out) {
    uint64_t bits;
    if (!is_integer(kv->elem_kind) || !load_element(f, kv, i, &bits)) return false;
    if (!is_signed(kv->elem_kind) && bits > INT64_MAX) return false;
    *out =
        is_signed(kv->elem_kind) ? sign_extend(bits, kinds[kv->elem_kind].n_bytes) : (int64_t)bits;
    return true;
}

static bool load_double(const gguf_file *f, const tamis_gguf_kv *kv, uint64_t i, double *out) {
    uint64_t bits;
    if (!load_element(f, kv, i, &bits)) return false;
    if (kv->elem_kind == TAMIS_GGUF_F64) {
        memcpy(out, &bits, sizeof *out);
    } else if (kv->elem_kind == TAMIS_GGUF_F32) {
        uint32_t bits32 = (uint32_t)bits;
        float value;
        memcpy(&value, &bits32, sizeof value);
        *out = (double)value;
    } else {
        *out = is_signed(kv->elem_kind) ? (double)sign_extend(bits, kinds[kv->elem_kind].n_bytes)
                                        : (double)bits;
    }
    return true;
}

bool gguf_file_string(const gguf_file *f, const tamis_gguf_kv *kv, tamis_bytes *out) {
    if (kv->kind != TAMIS_GGUF_STRING) return false;
    *out = gguf_string_at(f, (uint32_t)(gguf_file_payload(f, kv) - f->head));
    return true;
}

/* A cursor is 0 before the first element, else the offset in head of the next one. */
bool gguf_file_next_string(const gguf_file *f, const tamis_gguf_kv *kv, uint64_t *cursor,
                           tamis_bytes *out) {
    if (kv->kind != TAMIS_GGUF_ARRAY || kv->elem_kind != TAMIS_GGUF_STRING) return false;
    uint64_t offset = *cursor ? *cursor : (uint64_t)(gguf_file_payload(f, kv) - f->head);
    if (offset >= record_end(f, kv)) return false;
    *out = gguf_string_at(f, (uint32_t)offset);
    *cursor = offset + 8 + out->n_bytes;
    return true;
}

/* --- of an open set: the first file's metadata --- */

int32_t tamis_gguf_n_kv(const tamis_gguf *g) {
    return (int32_t)g->files[0].n_kv;
}

tamis_gguf_kv tamis_gguf_kv_at(const tamis_gguf *g, int32_t index) {
    return gguf_file_kv(&g->files[0], (uint64_t)index);
}

bool tamis_gguf_find(const tamis_gguf *g, const char *key, tamis_gguf_kv *out) {
    return gguf_file_find(&g->files[0], key, out);
}

bool tamis_gguf_kv_int(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, int64_t *out) {
    return gguf_file_int(&g->files[0], kv, i, out);
}

bool tamis_gguf_kv_uint(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, uint64_t *out) {
    if (!is_integer(kv->elem_kind)) return false;
    if (!is_signed(kv->elem_kind)) return load_element(&g->files[0], kv, i, out);
    int64_t value;
    if (!gguf_file_int(&g->files[0], kv, i, &value) || value < 0) return false;
    *out = (uint64_t)value;
    return true;
}

bool tamis_gguf_kv_double(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, double *out) {
    return load_double(&g->files[0], kv, i, out);
}

bool tamis_gguf_kv_bool(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, bool *out) {
    uint64_t bits;
    if (kv->elem_kind != TAMIS_GGUF_BOOL || !load_element(&g->files[0], kv, i, &bits)) return false;
    *out = bits != 0;
    return true;
}

/* One place per handle remembers the last element; threads that race for it only lose speed. */
static bool string_element(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i,
                           tamis_bytes *out) {
    const gguf_file *f = &g->files[0];
    uint64_t first = (uint64_t)(gguf_file_payload(f, kv) - f->head);
    uint64_t last_seen = atomic_load_explicit(g->string_cursor, memory_order_relaxed);
    uint64_t at = 0, cursor = last_seen & UINT32_MAX;
    if (cursor >= first && cursor < record_end(f, kv) && last_seen >> 32 <= i)
        at = last_seen >> 32;
    else
        cursor = first;
    for (;; at++) {
        uint64_t here = cursor;
        if (!gguf_file_next_string(f, kv, &cursor, out)) return false;
        if (at < i) continue;
        atomic_store_explicit(g->string_cursor, i << 32 | here, memory_order_relaxed);
        return true;
    }
}

bool tamis_gguf_kv_string(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i,
                          tamis_bytes *out) {
    if (kv->elem_kind != TAMIS_GGUF_STRING || i >= kv->n_elems) return false;
    if (kv->kind == TAMIS_GGUF_STRING) return gguf_file_string(&g->files[0], kv, out);
    return string_element(g, kv, i, out);
}

bool tamis_gguf_kv_next_string(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t *cursor,
                               tamis_bytes *out) {
    return gguf_file_next_string(&g->files[0], kv, cursor, out);
}

static tamis_status wrong_kind(const char *key, const char *wanted, const tamis_gguf_kv *kv,
                               tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' must be %s, it is %s", key, wanted,
                      tamis_gguf_kind_name(kv->kind));
}

tamis_status tamis_gguf_get_int(const tamis_gguf *g, const char *key, int64_t lo, int64_t hi,
                                int64_t fallback, int64_t *out, tamis_error *err) {
    tamis_gguf_kv kv;
    *out = fallback;
    if (!tamis_gguf_find(g, key, &kv)) return TAMIS_OK;
    if (!is_integer(kv.kind) || kv.kind == TAMIS_GGUF_BOOL)
        return wrong_kind(key, "an integer", &kv, err);
    int64_t value;
    if (!tamis_gguf_kv_int(g, &kv, 0, &value) || value < lo || value > hi)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '%s' is out of range (%lld to %lld are allowed)", key, (long long)lo,
                          (long long)hi);
    *out = value;
    return TAMIS_OK;
}

tamis_status tamis_gguf_get_double(const tamis_gguf *g, const char *key, double fallback,
                                   double *out, tamis_error *err) {
    tamis_gguf_kv kv;
    *out = fallback;
    if (!tamis_gguf_find(g, key, &kv)) return TAMIS_OK;
    if (!kinds[kv.kind].n_bytes || kv.kind == TAMIS_GGUF_BOOL)
        return wrong_kind(key, "a number", &kv, err);
    (void)tamis_gguf_kv_double(g, &kv, 0, out);
    return TAMIS_OK;
}

tamis_status tamis_gguf_get_bool(const tamis_gguf *g, const char *key, bool fallback, bool *out,
                                 tamis_error *err) {
    tamis_gguf_kv kv;
    *out = fallback;
    if (!tamis_gguf_find(g, key, &kv)) return TAMIS_OK;
    if (kv.kind != TAMIS_GGUF_BOOL) return wrong_kind(key, "a bool", &kv, err);
    (void)tamis_gguf_kv_bool(g, &kv, 0, out);
    return TAMIS_OK;
}

tamis_status tamis_gguf_get_string(const tamis_gguf *g, const char *key, tamis_bytes *out,
                                   tamis_error *err) {
    tamis_gguf_kv kv;
    *out = (tamis_bytes){0};
    if (!tamis_gguf_find(g, key, &kv)) return TAMIS_OK;
    if (kv.kind != TAMIS_GGUF_STRING) return wrong_kind(key, "a string", &kv, err);
    (void)tamis_gguf_kv_string(g, &kv, 0, out);
    return TAMIS_OK;
}
