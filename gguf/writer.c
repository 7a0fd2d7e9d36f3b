/* writer.c - layout and streaming of an output file.
 * Every size is known before the first byte of data: offsets are the running sum of
 * the padded sizes, in the order of the infos, so there are no gaps. Padding is zero,
 * after the last tensor too. Layout: reference/gguf.md sections 1.4 to 1.6. */
#include <stdlib.h>
#include <string.h>

#include "gguf/writer_internal.h"

typedef unsigned long long ull;

tamis_status tamis_gguf_writer_new(tamis_gguf_writer **out, tamis_error *err) {
    *out = tamis_alloc_array(1, sizeof **out, err);
    return *out ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

/* Nothing of the output remains. */
static void discard_parts(tamis_gguf_writer *w) {
    for (uint64_t i = 0; i < w->n_parts; i++) {
        tamis_output_discard(w->parts[i].output);
        w->parts[i].output = NULL;
    }
    w->output = NULL;
}

void tamis_gguf_writer_skip_sync(tamis_gguf_writer *w) {
    w->skips_sync = true;
}

void tamis_gguf_writer_free(tamis_gguf_writer *w) {
    if (!w) return;
    discard_parts(w);
    free(w->parts);
    free(w->path);
    for (uint64_t i = 0; i < w->n_records; i++)
        free(w->records[i].bytes);
    free(w->records);
    free(w->tensors);
    tamis_name_index_release(&w->keys);
    tamis_name_index_release(&w->names);
    free(w);
}

static tamis_bytes tensor_name(const void *writer, uint32_t handle) {
    const tamis_gguf_writer *w = writer;
    const char *name = w->tensors[handle - 1].name;
    return (tamis_bytes){name, strlen(name)};
}

/* Note the newest tensor's name; an equal one is refused. */
static tamis_status index_name(tamis_gguf_writer *w, tamis_error *err) {
    if (w->n_tensors > w->names_capacity) {
        uint64_t room = w->names_capacity ? w->names_capacity * 2 : 64;
        tamis_name_index index;
        tamis_status st = tamis_name_index_init(&index, room, err);
        if (st) return st;
        tamis_name_index_release(&w->names);
        w->names = index;
        w->names_capacity = room;
        for (uint64_t i = 0; i + 1 < w->n_tensors; i++)
            (void)tamis_name_index_add(&w->names, tensor_name, w, (uint32_t)i + 1);
    }
    if (!tamis_name_index_add(&w->names, tensor_name, w, (uint32_t)w->n_tensors)) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT, "duplicate tensor");
}

static bool has_layout(int32_t type_id) {
    const tamis_type *type = tamis_type_by_id(type_id);
    return type && type->block_elems;
}

/* Shape, type and size of a new tensor. */
static tamis_status describe(gguf_out_tensor *t, int32_t type_id, int32_t n_dims,
                             const uint64_t *ne, tamis_error *err) {
    const tamis_type *type = tamis_type_by_id(type_id);
    uint64_t n_rows = 1, row_bytes;
    if (!has_layout(type_id))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "type id %d is unknown or retired and cannot be written", type_id);
    if (n_dims < 1 || n_dims > 4)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%d dimensions, 1 to 4 are possible", n_dims);
    for (int i = 0; i < 4; i++) {
        t->ne[i] = i < n_dims ? ne[i] : 1;
        if (t->ne[i] > 1) t->n_dims = i + 1;
        if (!t->ne[i] || t->ne[i] > INT64_MAX)
            return tamis_fail(err, TAMIS_BAD_INPUT, "dimension %d is out of range", i);
    }
    if (t->n_dims < 1) t->n_dims = 1;
    if (t->ne[0] % type->block_elems)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "a row of %llu is not a multiple of %u, the block of %s", (ull)t->ne[0],
                          type->block_elems, type->name);
    uint64_t n_elems;
    if (!tamis_type_row_bytes(type, t->ne[0], &row_bytes) ||
        !tamis_mul_u64(t->ne[1], t->ne[2], &n_rows) || !tamis_mul_u64(n_rows, t->ne[3], &n_rows) ||
        !tamis_mul_u64(n_rows, t->ne[0], &n_elems) || n_elems > INT64_MAX ||
        !tamis_mul_u64(row_bytes, n_rows, &t->n_bytes) || t->n_bytes > INT64_MAX)
        return tamis_fail(err, TAMIS_BAD_INPUT, "its size overflows");
    t->type_id = type_id;
    return TAMIS_OK;
}

/* Append a tensor of a shape that describe() or a reader found sound. */
static tamis_status append_tensor(tamis_gguf_writer *w, const char *name,
                                  const gguf_out_tensor *shape, tamis_error *err) {
    size_t n_name = strlen(name);
    if (!n_name || n_name > GGUF_MAX_NAME_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT, "its name has %zu bytes, 1 to %d can be written",
                          n_name, GGUF_MAX_NAME_BYTES);
    if (w->output) return tamis_fail(err, TAMIS_BAD_USAGE, "added once writing has begun");
    tamis_status st =
        tamis_grow(&w->tensors, &w->tensors_capacity, w->n_tensors + 1, sizeof *w->tensors, err);
    if (st) return st;
    gguf_out_tensor *t = &w->tensors[w->n_tensors];
    *t = *shape;
    memcpy(t->name, name, n_name + 1);
    w->n_tensors++;
    st = index_name(w, err);
    if (st) w->n_tensors--;
    return st;
}

static tamis_status tensor_fail(const char *name, tamis_error *err) {
    char quoted[GGUF_QUOTE_BYTES];
    return tamis_fail_prefix(err, "tensor '%s'",
                             gguf_quote((tamis_bytes){name, strlen(name)}, quoted));
}

tamis_status tamis_gguf_add_tensor(tamis_gguf_writer *w, const char *name, int32_t type_id,
                                   int32_t n_dims, const uint64_t *ne, tamis_error *err) {
    gguf_out_tensor t = {0};
    tamis_status st = describe(&t, type_id, n_dims, ne, err);
    if (!st) st = append_tensor(w, name, &t, err);
    return st ? tensor_fail(name, err) : TAMIS_OK;
}

tamis_status tamis_gguf_add_copy(tamis_gguf_writer *w, const tamis_gguf_tensor *like,
                                 tamis_error *err) {
    if (like->type && like->type->block_elems)
        return tamis_gguf_add_tensor(w, like->name, like->type_id, like->n_dims, like->ne, err);
    gguf_out_tensor t = {
        .type_id = like->type_id, .n_dims = like->n_dims, .n_bytes = like->n_bytes};
    memcpy(t.ne, like->ne, sizeof t.ne);
    tamis_status st = TAMIS_OK;
    if (!like->is_size_known)
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "its type (id %d) is unknown and no tensor follows that bounds its data; "
                        "it cannot be copied",
                        like->type_id);
    if (!st) st = append_tensor(w, like->name, &t, err);
    return st ? tensor_fail(like->name, err) : TAMIS_OK;
}

/* The record of a key, or NULL; asked for a few times per file. */
const gguf_record *gguf_find_record(const tamis_gguf_writer *w, const char *key) {
    size_t n_bytes = strlen(key);
    for (uint64_t i = 0; i < w->n_records; i++)
        if (w->records[i].key_bytes == n_bytes && !memcmp(w->records[i].bytes + 8, key, n_bytes))
            return &w->records[i];
    return NULL;
}

tamis_status gguf_writer_alignment(const tamis_gguf_writer *w, uint32_t *out, tamis_error *err) {
    const gguf_record *r = gguf_find_record(w, "general.alignment");
    *out = GGUF_DEFAULT_ALIGNMENT;
    if (!r) return TAMIS_OK;
    uint64_t value =
        gguf_record_kind(r) == TAMIS_GGUF_U32 ? gguf_load(gguf_record_value(r), 4, false) : 0;
    if (value < 8 || value > 65536 || (value & (value - 1)))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key 'general.alignment' must be a u32 and a power of two from 8 to "
                          "65536 to be written");
    *out = (uint32_t)value;
    return TAMIS_OK;
}

static uint64_t info_bytes(const gguf_out_tensor *t) {
    return 8 + strlen(t->name) + 4 + 8 * (uint64_t)t->n_dims + 4 + 8;
}

/* Size of header, records and infos of a part with padding, and of the data behind them. */
static tamis_status layout(const tamis_gguf_writer *w, uint64_t i_part, const gguf_part *part,
                           uint32_t alignment, uint64_t *head_bytes, uint64_t *data_bytes,
                           tamis_error *err) {
    uint64_t head = GGUF_HEADER_BYTES, data = 0;
    bool fits = true;
    for (uint64_t i = 0; i < w->n_records; i++)
        if (gguf_part_has_key(w, i_part, &w->records[i]))
            fits = fits && tamis_add_u64(head, w->records[i].n_bytes, &head);
    for (uint64_t i = part->first; i < part->first + part->n_tensors; i++) {
        fits = fits && tamis_add_u64(head, info_bytes(&w->tensors[i]), &head) &&
               tamis_add_u64(data, w->tensors[i].n_bytes, &data) &&
               tamis_align_up_u64(data, alignment, &data);
    }
    const gguf_out_tensor *last =
        part->n_tensors ? &w->tensors[part->first + part->n_tensors - 1] : NULL;
    if (last && !has_layout(last->type_id)) {
        (void)tamis_fail(err, TAMIS_BAD_INPUT,
                         "its type (id %d) is unknown, and as the last of its file nothing would "
                         "bound its data; let another tensor follow it",
                         last->type_id);
        return tensor_fail(last->name, err);
    }
    uint64_t total;
    if (!fits || !tamis_align_up_u64(head, alignment, &head) ||
        !tamis_add_u64(head, data, &total) || total > INT64_MAX)
        return tamis_fail(err, TAMIS_BAD_INPUT, "the size of the output overflows");
    *head_bytes = head;
    *data_bytes = data;
    return TAMIS_OK;
}

/* The parts of the output: those that were asked for, or `whole`, one that holds everything. */
static const gguf_part *parts_of(const tamis_gguf_writer *w, gguf_part *whole) {
    *whole = (gguf_part){.n_tensors = w->n_tensors};
    return w->is_split ? w->parts : whole;
}

tamis_status tamis_gguf_writer_file_size(const tamis_gguf_writer *w, uint64_t i_file, uint64_t *out,
                                         tamis_error *err) {
    uint32_t alignment;
    uint64_t head = 0, data = 0;
    gguf_part whole;
    const gguf_part *parts = parts_of(w, &whole);
    tamis_status st = gguf_writer_alignment(w, &alignment, err);
    if (!st) st = layout(w, i_file, &parts[i_file], alignment, &head, &data, err);
    if (!st) *out = head + data;
    return st;
}

tamis_status tamis_gguf_writer_size(const tamis_gguf_writer *w, uint64_t *out, tamis_error *err) {
    uint64_t sum = 0, n_bytes = 0;
    for (uint64_t i = 0; i < tamis_gguf_writer_n_files(w); i++) {
        tamis_status st = tamis_gguf_writer_file_size(w, i, &n_bytes, err);
        if (st) return st;
        if (!tamis_add_u64(sum, n_bytes, &sum))
            return tamis_fail(err, TAMIS_BAD_INPUT, "the size of the output overflows");
    }
    *out = sum;
    return TAMIS_OK;
}

static tamis_status write_header(tamis_gguf_writer *w, tamis_error *err) {
    uint8_t header[GGUF_HEADER_BYTES];
    uint64_t n_keys = 0;
    for (uint64_t i = 0; i < w->n_records; i++)
        n_keys += gguf_part_has_key(w, w->i_part, &w->records[i]);
    memcpy(header, "GGUF", 4);
    gguf_store(header + 4, 4, 3);
    gguf_store(header + 8, 8, w->parts[w->i_part].n_tensors);
    gguf_store(header + 16, 8, n_keys);
    tamis_status st = tamis_output_write(w->output, header, sizeof header, err);
    for (uint64_t i = 0; !st && i < w->n_records; i++)
        if (gguf_part_has_key(w, w->i_part, &w->records[i]))
            st = gguf_write_record(w, &w->records[i], err);
    return st;
}

static tamis_status write_infos(tamis_gguf_writer *w, tamis_error *err) {
    uint8_t info[8 + GGUF_MAX_NAME_BYTES + 4 + 4 * 8 + 4 + 8];
    const gguf_part *part = &w->parts[w->i_part];
    uint64_t offset = 0; /* sums were checked by layout() */
    tamis_status st = TAMIS_OK;
    for (uint64_t i = part->first; !st && i < part->first + part->n_tensors; i++) {
        const gguf_out_tensor *t = &w->tensors[i];
        size_t n_name = strlen(t->name);
        uint8_t *p = info;
        gguf_store(p, 8, n_name);
        memcpy(p + 8, t->name, n_name);
        p += 8 + n_name;
        gguf_store(p, 4, (uint64_t)t->n_dims);
        p += 4;
        for (int j = 0; j < t->n_dims; j++, p += 8)
            gguf_store(p, 8, t->ne[j]);
        gguf_store(p, 4, (uint64_t)t->type_id);
        gguf_store(p + 4, 8, offset);
        p += 12;
        st = tamis_output_write(w->output, info, (size_t)(p - info), err);
        (void)tamis_align_up_u64(offset + t->n_bytes, w->alignment, &offset);
    }
    return st;
}

/* Open the file of part w->i_part and write all but its data. */
static tamis_status begin_part(tamis_gguf_writer *w, tamis_error *err) {
    uint64_t head = 0, data = 0;
    gguf_part *part = &w->parts[w->i_part];
    char *path = NULL;
    tamis_status st = tamis_gguf_writer_path(w, w->path, w->i_part, &path, err);
    if (!st) st = layout(w, w->i_part, part, w->alignment, &head, &data, err);
    if (!st) st = tamis_output_open(path, &part->output, err);
    if (!st && w->skips_sync) tamis_output_skip_sync(part->output);
    free(path);
    if (st) return st;
    w->output = part->output;
    st = tamis_output_reserve(w->output, head + data, err);
    if (!st) st = write_header(w, err);
    if (!st) st = write_infos(w, err);
    if (!st) st = tamis_output_write_zeros(w->output, head - tamis_output_size(w->output), err);
    return st;
}

/* Go on to the part that holds the next tensor. The first part stays open: its keys may still be
 * rewritten. */
static tamis_status advance_part(tamis_gguf_writer *w, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    while (!st && w->i_part + 1 < w->n_parts &&
           w->i_tensor == w->parts[w->i_part].first + w->parts[w->i_part].n_tensors) {
        if (w->i_part) st = tamis_output_seal(w->output, err);
        if (st) return st;
        w->i_part++;
        st = begin_part(w, err);
    }
    return st;
}

/* Several files reserve their space one by one: that there is enough for all is asked first. */
static tamis_status check_space(const tamis_gguf_writer *w, tamis_error *err) {
    uint64_t n_bytes = 0;
    char *path = NULL;
    if (!w->is_split) return TAMIS_OK;
    tamis_status st = tamis_gguf_writer_size(w, &n_bytes, err);
    if (!st) st = tamis_gguf_writer_path(w, w->path, 0, &path, err);
    if (!st) st = tamis_disk_check(path, n_bytes, err);
    free(path);
    return st;
}

static tamis_status plan_parts(tamis_gguf_writer *w, tamis_error *err) {
    if (!w->is_split) {
        tamis_status st = tamis_grow(&w->parts, &w->parts_capacity, 1, sizeof *w->parts, err);
        if (st) return st;
        w->parts[0] = (gguf_part){.n_tensors = w->n_tensors};
        w->n_parts = 1;
    }
    const gguf_part *last = &w->parts[w->n_parts - 1];
    if (last->first + last->n_tensors == w->n_tensors) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_USAGE, "tensors were added after the files were planned");
}

tamis_status tamis_gguf_begin(tamis_gguf_writer *w, const char *path, tamis_error *err) {
    if (w->output) return tamis_fail(err, TAMIS_BAD_USAGE, "%s: writing has begun already", path);
    uint64_t n_bytes = 0;
    tamis_status st = plan_parts(w, err);
    if (!st) st = gguf_writer_alignment(w, &w->alignment, err);
    if (!st) st = tamis_gguf_writer_size(w, &n_bytes, err);
    if (st) return tamis_fail_prefix(err, "%s", path);
    free(w->path);
    w->path = tamis_copy_text(path, strlen(path), err);
    if (!w->path) return TAMIS_NO_RESOURCE;
    w->i_part = w->i_tensor = w->written = 0;
    st = check_space(w, err);
    if (!st) st = begin_part(w, err);
    if (!st) st = advance_part(w, err); /* past files without tensors */
    if (st) discard_parts(w);
    return st;
}

/* May n_bytes be appended to the tensor whose turn it is? */
static tamis_status check_data(const tamis_gguf_writer *w, uint64_t n_bytes, tamis_error *err) {
    if (!w->output) return tamis_fail(err, TAMIS_BAD_USAGE, "data written before begin");
    if (w->i_tensor == w->n_tensors)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s: data after the last tensor",
                          tamis_output_path(w->output));
    const gguf_out_tensor *t = &w->tensors[w->i_tensor];
    size_t n;
    if (n_bytes <= t->n_bytes - w->written && tamis_to_size(n_bytes, &n)) return TAMIS_OK;
    char quoted[GGUF_QUOTE_BYTES];
    gguf_quote((tamis_bytes){t->name, strlen(t->name)}, quoted);
    return tamis_fail(
        err, TAMIS_BAD_USAGE, "%s: tensor '%s': %llu bytes written after %llu of %llu",
        tamis_output_path(w->output), quoted, (ull)n_bytes, (ull)w->written, (ull)t->n_bytes);
}

/* n_bytes were appended: pad a tensor that is complete, and go on to the next. */
static tamis_status count_data(tamis_gguf_writer *w, uint64_t n_bytes, tamis_error *err) {
    const gguf_out_tensor *t = &w->tensors[w->i_tensor];
    uint64_t padded = t->n_bytes;
    w->written += n_bytes;
    if (w->written < t->n_bytes) return TAMIS_OK;
    (void)tamis_align_up_u64(t->n_bytes, w->alignment, &padded);
    w->i_tensor++;
    w->written = 0;
    tamis_status st = tamis_output_write_zeros(w->output, padded - t->n_bytes, err);
    return st ? st : advance_part(w, err);
}

tamis_status tamis_gguf_write_data(tamis_gguf_writer *w, const void *data, uint64_t n_bytes,
                                   tamis_error *err) {
    tamis_status st = check_data(w, n_bytes, err);
    if (!st) st = tamis_output_write(w->output, data, (size_t)n_bytes, err);
    return st ? st : count_data(w, n_bytes, err);
}

tamis_status gguf_copy_data(tamis_gguf_writer *w, const tamis_input *in, uint64_t offset,
                            uint64_t n_bytes, tamis_error *err) {
    tamis_status st = check_data(w, n_bytes, err);
    if (!st) st = tamis_output_copy(w->output, in, offset, n_bytes, err);
    return st ? st : count_data(w, n_bytes, err);
}

tamis_status tamis_gguf_commit(tamis_gguf_writer *w, tamis_error *err) {
    if (!w->output) return tamis_fail(err, TAMIS_BAD_USAGE, "commit before begin");
    if (w->i_tensor != w->n_tensors) {
        char quoted[GGUF_QUOTE_BYTES];
        const char *name = w->tensors[w->i_tensor].name;
        gguf_quote((tamis_bytes){name, strlen(name)}, quoted);
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s: tensor '%s' is not complete",
                          tamis_output_path(w->output), quoted);
    }
    tamis_output **outputs = tamis_alloc_array(w->n_parts, sizeof *outputs, err);
    if (!outputs) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i < w->n_parts; i++) {
        outputs[i] = w->parts[i].output;
        w->parts[i].output = NULL;
    }
    tamis_status st = tamis_output_commit_set(outputs, w->n_parts, err);
    free(outputs);
    w->output = NULL;
    return st;
}

tamis_status tamis_gguf_rewrite_string(tamis_gguf_writer *w, const char *key, const char *data,
                                       size_t n_bytes, tamis_error *err) {
    const gguf_record *r = gguf_find_record(w, key);
    if (!w->output || !r || gguf_record_kind(r) != TAMIS_GGUF_STRING ||
        gguf_load(gguf_record_value(r), 8, false) != n_bytes)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "key '%s' cannot be rewritten: not written yet, no string, or of another "
                          "length",
                          key);
    uint64_t offset = GGUF_HEADER_BYTES; /* of the record; sums were checked by layout() */
    for (const gguf_record *before = w->records; before < r; before++)
        offset += before->n_bytes;
    return tamis_output_rewrite(w->parts[0].output, offset + r->n_bytes - n_bytes, data, n_bytes,
                                err);
}
