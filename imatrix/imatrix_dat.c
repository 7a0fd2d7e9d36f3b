/* imatrix_dat.c - the legacy importance-matrix layout.
 * Reading: no magic and no checksum: counts and lengths are signed 32-bit, so each is held against
 * what is left of the file before it is believed. Little-endian, packed: reference/files.md A.2. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/threads.h"
#include "imatrix/imatrix_internal.h"

#define NAME_MAX_BYTES 4095 /* no sound weight name comes near it */

/* A read position in the file, and where in the layout it stands (for messages). */
typedef struct cursor {
    const tamis_imatrix_source *source;
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
    tamis_status st = TAMIS_OK;
    if (c->source->in)
        st = tamis_input_read(c->source->in, c->offset, (size_t)n_bytes, dst, err);
    else
        memcpy(dst, c->source->data + c->offset, (size_t)n_bytes);
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

/* Between the file's byte order and ours. */
static void swap_if_big_endian(float *x, uint64_t n) {
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
    swap_if_big_endian(e->sums, n_values);
    /* The stored value is mean * ncall; without calls it is the mean itself. */
    e->counts[0] = n_calls > 0 ? (double)n_calls : 1.0;
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
    if (n_text > 0) m->datasets = tamis_alloc_array(1, sizeof *m->datasets, err);
    if (n_text > 0 && !m->datasets) return TAMIS_NO_RESOURCE;
    if (n_text > 0) {
        if ((st = read_text(c, "dataset name", n_text, &m->datasets[0], err))) return st;
        m->n_datasets = 1;
    }
    if (remaining(c) > 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%llu bytes after the trailer at offset %llu",
                          (unsigned long long)remaining(c), (unsigned long long)c->offset);
    return TAMIS_OK;
}

tamis_status tamis_imatrix_read_dat(const tamis_imatrix_source *source, tamis_imatrix *m,
                                    tamis_error *err) {
    cursor c = {.source = source, .size = source->n_bytes, .where = "the header"};
    if (c.size == 0) return tamis_fail(err, TAMIS_BAD_INPUT, "the file is empty");
    uint32_t n_entries = 0;
    tamis_status st = read_count(&c, "n_entries", 0, &n_entries, err);
    for (uint32_t i = 0; st == TAMIS_OK && i < n_entries; i++) {
        snprintf(c.where, sizeof c.where, "entry %u", i);
        st = tamis_interrupted() ? tamis_fail_interrupted(err) : read_entry(&c, m, err);
    }
    if (st == TAMIS_OK && n_entries > 0) st = read_trailer(&c, m, err);
    return st;
}

/* --- writing --- */

static tamis_status write_i32(tamis_output *out, uint64_t value, const char *what,
                              tamis_error *err) {
    if (value > INT32_MAX)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%s %llu is too large for the legacy layout (at most %d); write GGUF",
                          what, (unsigned long long)value, INT32_MAX);
    const uint8_t b[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                          (uint8_t)(value >> 24)};
    return tamis_output_write(out, b, sizeof b, err);
}

static tamis_status write_text(tamis_output *out, const char *text, const char *what,
                               tamis_error *err) {
    size_t n = strlen(text);
    if (n > NAME_MAX_BYTES)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s %zu is out of range (at most %d)", what, n,
                          NAME_MAX_BYTES);
    tamis_status st = write_i32(out, n, what, err);
    return st ? st : tamis_output_write(out, text, n, err);
}

static double max_count(const tamis_imatrix_entry *e) {
    double most = 0;
    for (uint64_t j = 0; j < e->n_counts; j++)
        if (e->counts[j] > most) most = e->counts[j];
    return most;
}

static bool are_finite(const float *x, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* An entry as mean * ncall; an expert that saw nothing gets mean 1. */
static tamis_status write_entry(tamis_output *out, const tamis_imatrix_entry *e,
                                uint32_t chunk_size, tamis_error *err) {
    uint64_t n_columns = e->n_values / e->n_counts;
    double n_calls = ceil(max_count(e) / chunk_size);
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    float *values = tamis_alloc_array(n_columns, sizeof *values, err);
    tamis_status st = values ? TAMIS_OK : TAMIS_NO_RESOURCE;
    if (!st) st = write_text(out, e->name, "name length", err);
    if (!st) st = write_i32(out, (uint64_t)n_calls, "ncall", err);
    if (!st) st = write_i32(out, e->n_values, "nval", err);
    for (uint64_t j = 0; !st && j < e->n_counts; j++) {
        const float count = (float)e->counts[j], *sums = e->sums + j * n_columns;
        for (uint64_t i = 0; i < n_columns; i++)
            values[i] = (count > 0 ? sums[i] / count : 1.0f) * (float)n_calls;
        if (!are_finite(values, n_columns)) {
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "entry '%s': a mean times its %.0f calls is beyond f32 in the legacy "
                            "layout; write GGUF",
                            e->name, n_calls);
            break;
        }
        swap_if_big_endian(values, n_columns);
        st = tamis_output_write(out, values, n_columns * sizeof *values, err);
    }
    free(values);
    return st;
}

/* What of the matrix the layout cannot hold. Returns the number of entries it can. */
static uint64_t warn_of_losses(const tamis_imatrix *m, const char *path, const tamis_log *log) {
    uint64_t n_kept = 0, n_expert = 0;
    const char *left_out = NULL;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const tamis_imatrix_entry *e = &m->entries[i];
        if (max_count(e) > 0) {
            n_kept++;
            n_expert += e->n_counts > 1;
        } else if (!left_out) {
            left_out = e->name;
        }
    }
    if (left_out)
        tamis_warn(log,
                   "%s: %llu of %llu entries have no data and are left out, '%s' first (the legacy "
                   "layout has no place for them)",
                   path, (unsigned long long)(m->n_entries - n_kept),
                   (unsigned long long)m->n_entries, left_out);
    if (n_expert)
        tamis_info(log,
                   "%s: the counts per expert of %llu entries are not kept by the legacy layout",
                   path, (unsigned long long)n_expert);
    if (m->n_datasets > 1)
        tamis_warn(log, "%s: of %llu datasets the legacy layout names the last only", path,
                   (unsigned long long)m->n_datasets);
    return n_kept;
}

tamis_status tamis_imatrix_write_dat(const tamis_imatrix *m, const tamis_imatrix_entry *const *view,
                                     const char *path, const tamis_log *log, tamis_error *err) {
    tamis_output *out = NULL;
    uint64_t n_kept = warn_of_losses(m, path, log);
    if (n_kept == 0)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "no entry has data; such a matrix cannot be written in the legacy layout");
    tamis_status st = tamis_output_open(path, &out, err);
    if (st) return st;
    st = write_i32(out, n_kept, "number of entries", err);
    for (uint64_t i = 0; !st && i < m->n_entries; i++)
        if (max_count(view[i]) > 0) st = write_entry(out, view[i], m->chunk_size, err);
    if (!st) st = write_i32(out, m->chunk_count, "number of chunks", err);
    const char *dataset = m->n_datasets ? m->datasets[m->n_datasets - 1] : "";
    if (!st) st = write_text(out, dataset, "dataset name length", err);
    if (st) {
        tamis_output_discard(out);
        return st;
    }
    return tamis_output_commit(out, err);
}
