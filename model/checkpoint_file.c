/* checkpoint_file.c - the file of a checkpoint, see checkpoint_internal.h.
 * Header (32 bytes): "TAMISCKP", u32 1 (in the machine's byte order), u32 layout version, u64 bytes
 * of the file, u64 zero. Then sections: name (8 bytes, padded with NUL), u64 bytes, the bytes, and
 * their XXH3-128 as 32 hex digits. Numbers are in the byte order of the machine: bits are promised
 * on one machine only. Bound: the disk. */
#include "model/checkpoint_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/threads.h"

enum {
    MAGIC_BYTES = 8,
    LAYOUT_VERSION = 1,
    DIGEST_BYTES = 32,
    PIECE_BYTES = 4 << 20, /* between two looks at the interrupt */
    SYNC_BYTES = 64 << 20, /* so that the sync at the end is short */
};
static const char MAGIC[MAGIC_BYTES] = {'T', 'A', 'M', 'I', 'S', 'C', 'K', 'P'};

typedef struct header {
    char magic[MAGIC_BYTES];
    uint32_t byte_order, version;
    uint64_t file_bytes, zero;
} header;

typedef struct section_head {
    char name[TAMIS_SECTION_NAME_BYTES];
    uint64_t n_bytes;
} section_head;

tamis_status tamis_checkpoint_put(tamis_checkpoint_writer *w, const void *data, uint64_t n_bytes,
                                  tamis_error *err) {
    w->n_bytes += n_bytes;
    if (!w->out) return TAMIS_OK;
    const char *bytes = data;
    for (uint64_t at = 0; at < n_bytes;) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        const size_t n = n_bytes - at < PIECE_BYTES ? (size_t)(n_bytes - at) : PIECE_BYTES;
        tamis_hash_update(w->hash, bytes + at, n);
        tamis_status st = tamis_output_write(w->out, bytes + at, n, err);
        if (st) return st;
        at += n;
        w->n_unsynced += n;
        if (w->n_unsynced < SYNC_BYTES) continue;
        w->n_unsynced = 0;
        st = tamis_output_sync(w->out, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

tamis_status tamis_checkpoint_put_number(tamis_checkpoint_writer *w, int64_t value,
                                         tamis_error *err) {
    return tamis_checkpoint_put(w, &value, sizeof value, err);
}

/* Bytes of the whole file: every section writes into nothing first. */
static tamis_status count_bytes(const tamis_section *sections, int n_sections, uint64_t *n_bytes,
                                uint64_t *total, tamis_error *err) {
    *total = sizeof(header);
    for (int i = 0; i < n_sections; i++) {
        tamis_checkpoint_writer counter = {0};
        tamis_status st = sections[i].write(sections[i].ctx, &counter, err);
        if (st) return st;
        n_bytes[i] = counter.n_bytes;
        *total += sizeof(section_head) + counter.n_bytes + DIGEST_BYTES;
    }
    return TAMIS_OK;
}

static tamis_status write_section(const tamis_section *section, uint64_t n_bytes,
                                  tamis_checkpoint_writer *w, tamis_error *err) {
    char hex[TAMIS_HASH_HEX_MAX];
    section_head head = {.n_bytes = n_bytes};
    memcpy(head.name, section->name, strnlen(section->name, sizeof head.name));
    tamis_status st = tamis_output_write(w->out, &head, sizeof head, err);
    if (st) return st;
    st = tamis_hash_new(TAMIS_HASH_XXH3_128, &w->hash, err);
    if (st) return st;
    st = section->write(section->ctx, w, err);
    if (!st) st = tamis_output_write(w->out, tamis_hash_hex(w->hash, hex), DIGEST_BYTES, err);
    tamis_hash_free(w->hash);
    w->hash = NULL;
    return st;
}

tamis_status tamis_checkpoint_write_file(const char *path, const tamis_section *sections,
                                         int n_sections, uint64_t *n_bytes, tamis_error *err) {
    tamis_checkpoint_writer w = {0};
    header head = {.byte_order = 1, .version = LAYOUT_VERSION};
    memcpy(head.magic, MAGIC, sizeof MAGIC);
    tamis_status st = TAMIS_NO_RESOURCE;
    uint64_t *section_bytes = tamis_alloc_array((uint64_t)n_sections, sizeof *section_bytes, err);
    if (!section_bytes) goto out;
    st = count_bytes(sections, n_sections, section_bytes, &head.file_bytes, err);
    if (st) goto out;
    st = tamis_output_open(path, &w.out, err);
    if (st) goto out;
    st = tamis_output_reserve(w.out, head.file_bytes, err);
    if (st) goto out;
    st = tamis_output_write(w.out, &head, sizeof head, err);
    for (int i = 0; i < n_sections && !st; i++)
        st = write_section(&sections[i], section_bytes[i], &w, err);
    if (st) goto out;
    *n_bytes = head.file_bytes;
    st = tamis_output_commit(w.out, err);
    w.out = NULL;
out:
    tamis_output_discard(w.out);
    free(section_bytes);
    return st;
}

tamis_status tamis_checkpoint_damaged(const tamis_checkpoint_reader *r, const char *what,
                                      tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: the checkpoint is damaged (%s, before byte %" PRIu64
                      "); remove it, or begin again without --resume",
                      tamis_input_path(r->in), what, r->at);
}

tamis_checkpoint_kind tamis_checkpoint_probe(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return TAMIS_CHECKPOINT_NONE;
    char magic[MAGIC_BYTES] = {0};
    FILE *f = S_ISREG(st.st_mode) ? fopen(path, "re") : NULL;
    const bool is_read = f && fread(magic, 1, sizeof magic, f) == sizeof magic;
    if (f) fclose(f);
    return is_read && memcmp(magic, MAGIC, sizeof magic) == 0 ? TAMIS_CHECKPOINT_IS_ONE
                                                              : TAMIS_CHECKPOINT_FOREIGN;
}

static tamis_status check_header(tamis_checkpoint_reader *r, tamis_error *err) {
    header head;
    const uint64_t size = tamis_input_size(r->in);
    if (size < sizeof head) return tamis_checkpoint_damaged(r, "it is cut off", err);
    tamis_status st = tamis_input_read(r->in, 0, sizeof head, &head, err);
    if (st) return st;
    r->at = sizeof head;
    if (memcmp(head.magic, MAGIC, sizeof MAGIC) != 0)
        return tamis_checkpoint_damaged(r, "no checkpoint at all", err);
    if (head.byte_order != 1 || head.version != LAYOUT_VERSION)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: written by another version of this tool, or on another kind of "
                          "machine; begin again without --resume",
                          tamis_input_path(r->in));
    if (head.file_bytes != size) return tamis_checkpoint_damaged(r, "it is cut off", err);
    if (head.zero != 0) return tamis_checkpoint_damaged(r, "its header", err);
    return TAMIS_OK;
}

tamis_status tamis_checkpoint_reader_open(const char *path, tamis_checkpoint_reader *r,
                                          tamis_error *err) {
    *r = (tamis_checkpoint_reader){0};
    tamis_status st = tamis_input_open(path, TAMIS_INPUT_READ, &r->in, err);
    return st ? st : check_header(r, err);
}

void tamis_checkpoint_reader_close(tamis_checkpoint_reader *r) {
    tamis_hash_free(r->hash);
    tamis_input_close(r->in);
    *r = (tamis_checkpoint_reader){0};
}

tamis_status tamis_checkpoint_section_begin(tamis_checkpoint_reader *r, const char *name,
                                            tamis_error *err) {
    section_head head;
    char wanted[TAMIS_SECTION_NAME_BYTES] = {0};
    const uint64_t left = tamis_input_size(r->in) - r->at;
    memcpy(wanted, name, strnlen(name, sizeof wanted));
    if (left < sizeof head + DIGEST_BYTES) return tamis_checkpoint_damaged(r, "it is cut off", err);
    tamis_status st = tamis_input_read(r->in, r->at, sizeof head, &head, err);
    if (st) return st;
    if (memcmp(head.name, wanted, sizeof wanted) != 0)
        return tamis_checkpoint_damaged(r, "the order of its parts", err);
    if (head.n_bytes > left - sizeof head - DIGEST_BYTES)
        return tamis_checkpoint_damaged(r, "the length of a part", err);
    r->at += sizeof head;
    r->section_end = r->at + head.n_bytes;
    return tamis_hash_new(TAMIS_HASH_XXH3_128, &r->hash, err);
}

uint64_t tamis_checkpoint_left(const tamis_checkpoint_reader *r) {
    return r->section_end - r->at;
}

tamis_status tamis_checkpoint_get(tamis_checkpoint_reader *r, void *data, uint64_t n_bytes,
                                  tamis_error *err) {
    if (n_bytes > tamis_checkpoint_left(r))
        return tamis_checkpoint_damaged(r, "a part is too short", err);
    char *bytes = data;
    for (uint64_t at = 0; at < n_bytes;) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        const size_t n = n_bytes - at < PIECE_BYTES ? (size_t)(n_bytes - at) : PIECE_BYTES;
        tamis_status st = tamis_input_read(r->in, r->at, n, bytes + at, err);
        if (st) return st;
        tamis_hash_update(r->hash, bytes + at, n);
        at += n;
        r->at += n;
    }
    return TAMIS_OK;
}

tamis_status tamis_checkpoint_get_number(tamis_checkpoint_reader *r, int64_t lo, int64_t hi,
                                         int64_t *out, tamis_error *err) {
    tamis_status st = tamis_checkpoint_get(r, out, sizeof *out, err);
    if (st) return st;
    return *out >= lo && *out <= hi ? TAMIS_OK
                                    : tamis_checkpoint_damaged(r, "a number out of range", err);
}

tamis_status tamis_checkpoint_section_end(tamis_checkpoint_reader *r, tamis_error *err) {
    char hex[TAMIS_HASH_HEX_MAX], stored[DIGEST_BYTES];
    if (r->at != r->section_end) return tamis_checkpoint_damaged(r, "a part is too long", err);
    tamis_hash_hex(r->hash, hex);
    tamis_hash_free(r->hash);
    r->hash = NULL;
    tamis_status st = tamis_input_read(r->in, r->at, sizeof stored, stored, err);
    if (st) return st;
    if (memcmp(hex, stored, sizeof stored) != 0)
        return tamis_checkpoint_damaged(r, "a check sum", err);
    r->at += sizeof stored;
    return TAMIS_OK;
}

tamis_status tamis_checkpoint_reader_end(const tamis_checkpoint_reader *r, tamis_error *err) {
    return r->at == tamis_input_size(r->in)
               ? TAMIS_OK
               : tamis_checkpoint_damaged(r, "bytes behind its end", err);
}
