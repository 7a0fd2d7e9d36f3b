/* writer_shards.c - an output spread over several files of one set.
 * Where files end is decided before anything is written; each is a whole GGUF with its
 * own offsets. A file without general.alignment is read with 32, so that the key goes
 * into all files when it says something else. Reference/gguf.md section 4. */
#include <stdlib.h>
#include <string.h>

#include "gguf/writer_internal.h"

typedef unsigned long long ull;

static const char key_no[] = "split.no", key_count[] = "split.count",
                  key_tensors[] = "split.tensors.count";

static bool has_key(const gguf_record *r, const char *key) {
    return r->key_bytes == strlen(key) && !memcmp(r->bytes + 8, key, r->key_bytes);
}

bool gguf_part_has_key(const tamis_gguf_writer *w, uint64_t i_part, const gguf_record *r) {
    if (!w->is_split || !i_part) return true;
    if (has_key(r, "general.alignment"))
        return gguf_load(gguf_record_value(r), 4, false) != GGUF_DEFAULT_ALIGNMENT;
    return has_key(r, key_no) || has_key(r, key_count) || has_key(r, key_tensors);
}

tamis_status gguf_write_record(tamis_gguf_writer *w, const gguf_record *r, tamis_error *err) {
    if (!w->is_split || !w->i_part || !has_key(r, key_no))
        return tamis_output_write(w->output, r->bytes, r->n_bytes, err);
    uint8_t own[2];
    gguf_store(own, sizeof own, w->i_part);
    tamis_status st = tamis_output_write(w->output, r->bytes, r->n_bytes - sizeof own, err);
    return st ? st : tamis_output_write(w->output, own, sizeof own, err);
}

static tamis_status add_part(tamis_gguf_writer *w, uint64_t first, tamis_error *err) {
    if (w->n_parts == UINT16_MAX)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "the output would have more than %u files; allow larger ones",
                          UINT16_MAX);
    tamis_status st =
        tamis_grow(&w->parts, &w->parts_capacity, w->n_parts + 1, sizeof *w->parts, err);
    if (st) return st;
    w->parts[w->n_parts++] = (gguf_part){.first = first};
    return TAMIS_OK;
}

/* Forget an earlier plan; nothing can be planned once writing has begun. */
static tamis_status start_plan(tamis_gguf_writer *w, tamis_error *err) {
    if (w->output) return tamis_fail(err, TAMIS_BAD_USAGE, "files planned once writing has begun");
    if (w->n_tensors > INT32_MAX)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%llu tensors are too many for a set of files",
                          (ull)w->n_tensors);
    w->n_parts = 0;
    w->is_split = false;
    return TAMIS_OK;
}

/* The keys of a set, behind all others and in the order of llama-gguf-split; a source's own are
 * dropped. The first file's number is 0; gguf_write_record() puts in that of the others. */
static tamis_status set_keys(tamis_gguf_writer *w, tamis_error *err) {
    tamis_gguf_unset(w, key_no);
    tamis_gguf_unset(w, key_tensors);
    tamis_gguf_unset(w, key_count);
    tamis_status st = tamis_gguf_set_uint(w, key_no, TAMIS_GGUF_U16, 0, err);
    if (!st) st = tamis_gguf_set_uint(w, key_tensors, TAMIS_GGUF_I32, w->n_tensors, err);
    if (!st) st = tamis_gguf_set_uint(w, key_count, TAMIS_GGUF_U16, w->n_parts, err);
    w->is_split = !st;
    return st;
}

tamis_status tamis_gguf_set_shards(tamis_gguf_writer *w, const tamis_gguf_shards *shards,
                                   tamis_error *err) {
    uint32_t alignment = 0;
    uint64_t n_bytes = 0; /* of the newest part; every tensor has at most INT64_MAX */
    tamis_status st = start_plan(w, err);
    if (!st) st = gguf_writer_alignment(w, &alignment, err);
    if (!st) st = add_part(w, 0, err);
    if (!st && shards->keys_alone && w->n_tensors) st = add_part(w, 0, err);
    for (uint64_t i = 0; !st && i < w->n_tensors; i++) {
        gguf_part *part = &w->parts[w->n_parts - 1];
        uint64_t padded = 0, sum = 0;
        bool fits = tamis_align_up_u64(w->tensors[i].n_bytes, alignment, &padded) &&
                    tamis_add_u64(n_bytes, padded, &sum);
        if (shards->max_bytes) fits = fits && sum <= shards->max_bytes;
        if (shards->max_tensors) fits = fits && part->n_tensors < shards->max_tensors;
        if (!fits && part->n_tensors) {
            st = add_part(w, i, err);
            if (st) break;
            part = &w->parts[w->n_parts - 1];
            sum = padded;
        }
        part->n_tensors++;
        n_bytes = sum;
    }
    return st ? st : set_keys(w, err);
}

tamis_status tamis_gguf_set_shard_counts(tamis_gguf_writer *w, const uint64_t *n_tensors,
                                         uint64_t n_files, tamis_error *err) {
    uint64_t first = 0;
    tamis_status st = start_plan(w, err);
    if (!st && !n_files) st = tamis_fail(err, TAMIS_BAD_USAGE, "an output needs one file at least");
    for (uint64_t i = 0; !st && i < n_files; i++) {
        st = add_part(w, first, err);
        if (st) break;
        if (n_tensors[i] > w->n_tensors - first) {
            first = UINT64_MAX;
            break;
        }
        w->parts[i].n_tensors = n_tensors[i];
        first += n_tensors[i];
    }
    if (!st && first != w->n_tensors)
        st = tamis_fail(err, TAMIS_BAD_USAGE, "the files planned do not hold the %llu tensors",
                        (ull)w->n_tensors);
    return st ? st : set_keys(w, err);
}

uint64_t tamis_gguf_writer_n_files(const tamis_gguf_writer *w) {
    return w->is_split ? w->n_parts : 1;
}

uint64_t tamis_gguf_writer_file_tensors(const tamis_gguf_writer *w, uint64_t i_file) {
    return w->is_split ? w->parts[i_file].n_tensors : w->n_tensors;
}

tamis_status tamis_gguf_writer_path(const tamis_gguf_writer *w, const char *path, uint64_t i_file,
                                    char **out, tamis_error *err) {
    *out = NULL;
    if (!w->is_split) {
        *out = tamis_copy_text(path, strlen(path), err);
        return *out ? TAMIS_OK : TAMIS_NO_RESOURCE;
    }
    size_t n_prefix = gguf_split_prefix_bytes(path);
    if (!n_prefix || path[n_prefix - 1] == '/')
        return tamis_fail(err, TAMIS_NO_RESOURCE, "cannot write '%s': no file name", path);
    gguf_split split = {.count = (int64_t)w->n_parts};
    split.prefix = tamis_copy_text(path, n_prefix, err);
    if (!split.prefix) return TAMIS_NO_RESOURCE;
    tamis_status st = gguf_split_path(&split, (int64_t)i_file, out, err);
    free(split.prefix);
    return st;
}
