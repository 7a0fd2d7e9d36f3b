/* imatrix_dat.c - the legacy importance-matrix layout, reading only.
 * No magic and no checksum: counts and lengths are signed 32-bit, so each is held against what is
 * left of the file before it is believed. Little-endian, packed: reference/files.md A.2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "imatrix/imatrix_internal.h"

#define NAME_MAX_BYTES 4095 /* no sound weight name comes near it */

/* A read position in the file, and where in the layout it stands (for messages). */
typedef struct cursor {
    const tamis_input *in;
    uint64_t offset, size;
    char where[32]; /* "entry 2", "the trailer" */
} cursor;

static uint64_t remaining(const cursor *c) {
    return c->size - c->offset;
}

static tamis_status truncated(const cursor *c, const char *what, uint64_t n_wanted,
                              tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "truncated in %s: %s wants %llu bytes at offset %llu, the file has %llu; "
                      "not an importance matrix, or cut short",
                      c->where, what, (unsigned long long)n_wanted, (unsigned long long)c->offset,
                      (unsigned long long)c->size);
}

static tamis_status read_bytes(cursor *c, const char *what, uint64_t n_bytes, void *dst,
                               tamis_error *err) {
    if (n_bytes > remaining(c)) return truncated(c, what, n_bytes, err);
    tamis_status st = tamis_input_read(c->in, c->offset, (size_t)n_bytes, dst, err);
    c->offset += n_bytes;
    return st;
}

/* A signed 32-bit number that must be at least lo. */
static tamis_status read_count(cursor *c, const char *what, int32_t lo, uint32_t *out,
                               tamis_error *err) {
    uint8_t b[4];
    tamis_status st = read_bytes(c, what, sizeof b, b, err);
    if (st) return st;
    uint32_t u = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    if (u > INT32_MAX || (int32_t)u < lo)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: %s %lld is out of range (at least %d) at offset %llu; not an "
                          "importance matrix, or damaged",
                          c->where, what, u > INT32_MAX ? (long long)u - (1LL << 32) : (long long)u,
                          lo, (unsigned long long)(c->offset - sizeof b));
    *out = u;
    return TAMIS_OK;
}

/* A text of n_bytes without NUL; *out is the caller's. */
static tamis_status read_text(cursor *c, const char *what, uint32_t n_bytes, char **out,
                              tamis_error *err) {
    if (n_bytes > remaining(c)) return truncated(c, what, n_bytes, err);
    if (n_bytes > NAME_MAX_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: %s of %u bytes at offset %llu is too long",
                          c->where, what, n_bytes, (unsigned long long)c->offset);
    char text[NAME_MAX_BYTES + 1];
    tamis_status st = read_bytes(c, what, n_bytes, text, err);
    if (st) return st;
    if (memchr(text, 0, n_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: %s at offset %llu holds a NUL", c->where, what,
                          (unsigned long long)(c->offset - n_bytes));
    *out = tamis_copy_text(text, n_bytes, err);
    return *out ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

static void from_little_endian(float *x, uint64_t n) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (uint64_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        u = __builtin_bswap32(u);
        memcpy(x + i, &u, sizeof u);
    }
#else
    (void)x, (void)n;
#endif
}

static tamis_status read_entry(cursor *c, tamis_imatrix *m, tamis_error *err) {
    uint32_t n_name = 0, n_calls = 0, n_values = 0;
    char *name = NULL;
    tamis_status st = read_count(c, "name length", 1, &n_name, err);
    if (st == TAMIS_OK) st = read_text(c, "name", n_name, &name, err);
    if (st == TAMIS_OK) st = read_count(c, "ncall", 0, &n_calls, err);
    if (st == TAMIS_OK) st = read_count(c, "nval", 1, &n_values, err);
    if (st) goto out;
    uint64_t n_bytes = (uint64_t)n_values * sizeof(float);
    if (n_bytes > remaining(c)) {
        st = truncated(c, "values", n_bytes, err);
        goto out;
    }
    tamis_imatrix_entry *e;
    if ((st = tamis_imatrix_add(m, name, n_values, 1, &e, err))) goto out;
    if ((st = read_bytes(c, "values", n_bytes, e->sums, err))) goto out;
    from_little_endian(e->sums, n_values);
    /* The stored value is mean * ncall; without calls it is the mean itself. */
    e->counts[0] = n_calls > 0 ? (float)n_calls : 1.0f;
    st = tamis_imatrix_check_entry(e, err);
out:
    free(name);
    return st;
}

/* last_chunk and the dataset's name; very old files end before them. */
static tamis_status read_trailer(cursor *c, tamis_imatrix *m, tamis_error *err) {
    snprintf(c->where, sizeof c->where, "the trailer");
    uint32_t n_text = 0;
    tamis_status st = TAMIS_OK;
    if (remaining(c) > 0) st = read_count(c, "last_chunk", 0, &m->chunk_count, err);
    if (st || remaining(c) == 0) return st;
    if ((st = read_count(c, "dataset length", 0, &n_text, err))) return st;
    m->datasets = tamis_alloc_array(1, sizeof *m->datasets, err);
    if (!m->datasets) return TAMIS_NO_RESOURCE;
    if ((st = read_text(c, "dataset name", n_text, &m->datasets[0], err))) return st;
    m->n_datasets = 1;
    if (remaining(c) > 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%llu bytes after the trailer at offset %llu",
                          (unsigned long long)remaining(c), (unsigned long long)c->offset);
    return TAMIS_OK;
}

tamis_status tamis_imatrix_read_dat(const tamis_input *in, tamis_imatrix *m, tamis_error *err) {
    cursor c = {.in = in, .size = tamis_input_size(in), .where = "the header"};
    if (c.size == 0) return tamis_fail(err, TAMIS_BAD_INPUT, "the file is empty");
    uint32_t n_entries = 0;
    tamis_status st = read_count(&c, "n_entries", 0, &n_entries, err);
    for (uint32_t i = 0; st == TAMIS_OK && i < n_entries; i++) {
        snprintf(c.where, sizeof c.where, "entry %u", i);
        st = read_entry(&c, m, err);
    }
    if (st == TAMIS_OK && n_entries > 0) st = read_trailer(&c, m, err);
    return st;
}
