/* tensors.c - the tensor table: names, shapes, sizes and where the data lies.
 * One function computes a tensor's bytes; offsets are checked for alignment, for the
 * end of the file, for order, overlap and gaps, in that order. Rules 8-11 and 16 of
 * reference/gguf-threats.md section 2; layout in reference/gguf.md section 1.4. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "gguf/gguf_internal.h"

typedef unsigned long long ull;

/* Memory a tensor costs once open: its row here and its slot in the index. */
enum { BYTES_PER_TENSOR = sizeof(tamis_gguf_tensor) + 8, SLACK_BYTES = 8 << 20 };

static tamis_bytes text_of(const char *text) {
    return (tamis_bytes){text, strlen(text)};
}

uint64_t tamis_tensor_n_rows(const tamis_gguf_tensor *t) {
    return t->ne[1] * t->ne[2] * t->ne[3]; /* the product was checked when the file was opened */
}

uint64_t tamis_tensor_n_elems(const tamis_gguf_tensor *t) {
    return t->ne[0] * tamis_tensor_n_rows(t);
}

uint64_t tamis_tensor_row_bytes(const tamis_gguf_tensor *t) {
    uint64_t n_bytes;
    return t->type && tamis_type_row_bytes(t->type, t->ne[0], &n_bytes) ? n_bytes : 0;
}

static bool has_layout(const tamis_gguf_tensor *t) {
    return t->type && t->type->block_elems;
}

/* Elements and bytes of a tensor whose ne and type are set. */
static tamis_status compute_size(tamis_gguf_tensor *t, tamis_error *err) {
    uint64_t n_elems = 1;
    for (int i = 0; i < 4; i++) {
        if (!t->ne[i]) return tamis_fail(err, TAMIS_BAD_INPUT, "dimension %d is 0", i);
        if (t->ne[i] > INT64_MAX)
            return tamis_fail(err, TAMIS_BAD_INPUT, "dimension %d is out of range (%" PRId64 ")", i,
                              (int64_t)t->ne[i]);
        if (!tamis_mul_u64(n_elems, t->ne[i], &n_elems) || n_elems > INT64_MAX)
            return tamis_fail(err, TAMIS_BAD_INPUT, "the number of elements overflows");
    }
    if (!has_layout(t)) return TAMIS_OK;
    if (t->ne[0] % t->type->block_elems)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "a row of %llu is not a multiple of %u, the block of %s", (ull)t->ne[0],
                          t->type->block_elems, t->type->name);
    uint64_t row_bytes;
    if (!tamis_type_row_bytes(t->type, t->ne[0], &row_bytes) ||
        !tamis_mul_u64(row_bytes, tamis_tensor_n_rows(t), &t->n_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT, "the size in bytes overflows");
    t->is_size_known = true;
    return TAMIS_OK;
}

static tamis_status check_name(tamis_bytes name, tamis_error *err) {
    char quoted[GGUF_QUOTE_BYTES];
    if (!name.n_bytes) return tamis_fail(err, TAMIS_BAD_INPUT, "the tensor name is empty");
    if (name.n_bytes > GGUF_MAX_NAME_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "the tensor name '%s' is longer than %d bytes (%zu)",
                          gguf_quote(name, quoted), GGUF_MAX_NAME_BYTES, name.n_bytes);
    if (memchr(name.data, 0, name.n_bytes))
        return tamis_fail(err, TAMIS_BAD_INPUT, "the tensor name '%s' holds a NUL",
                          gguf_quote(name, quoted));
    return TAMIS_OK;
}

/* Everything of a record but its name. */
static tamis_status read_shape(gguf_file *f, tamis_gguf_tensor *t, uint64_t *n_dims,
                               tamis_error *err) {
    uint64_t type_id;
    tamis_status st = gguf_take_uint(f, 4, "n_dims", n_dims, err);
    if (st) return st;
    if (*n_dims > 4)
        return tamis_fail(err, TAMIS_BAD_INPUT, "n_dims %llu is more than 4", (ull)*n_dims);
    t->n_dims = *n_dims ? (int32_t)*n_dims : 1;
    for (int i = 0; i < 4; i++) {
        t->ne[i] = 1;
        if (i < (int)*n_dims) st = gguf_take_uint(f, 8, "a dimension", &t->ne[i], err);
        if (st) return st;
    }
    st = gguf_take_uint(f, 4, "a tensor type", &type_id, err);
    if (!st) st = gguf_take_uint(f, 8, "a tensor offset", &t->offset, err);
    if (st) return st;
    uint32_t bits = (uint32_t)type_id;
    memcpy(&t->type_id, &bits, sizeof bits);
    t->type = tamis_type_by_id(t->type_id);
    return compute_size(t, err);
}

static tamis_status read_info(gguf_file *f, tamis_gguf_tensor *t, uint64_t i_info,
                              const tamis_log *log, tamis_error *err) {
    tamis_bytes name;
    char quoted[GGUF_QUOTE_BYTES];
    uint64_t offset = f->pos, n_dims;
    tamis_status st = gguf_take_string(f, "a tensor name", &name, err);
    if (!st) st = check_name(name, err);
    if (st)
        return tamis_fail_prefix(err, "tensor info %llu at offset %llu", (ull)i_info, (ull)offset);
    gguf_quote(name, quoted);
    st = read_shape(f, t, &n_dims, err);
    if (st) return tamis_fail_prefix(err, "tensor info %llu '%s'", (ull)i_info, quoted);
    if (!n_dims)
        tamis_warn(log, "%s: tensor '%s' has n_dims 0, read as one element", f->path, quoted);
    return TAMIS_OK;
}

/* Point names into head, now that it moves no more. The byte behind a name (the first of n_dims,
 * which is parsed by now) becomes its NUL. */
static void bind_names(gguf_file *f, tamis_gguf_tensor *tensors) {
    uint8_t *p = f->head + f->kv_end;
    for (uint64_t i = 0; i < f->n_tensors; i++) {
        uint64_t n_bytes = gguf_load(p, 8, f->is_big_endian);
        uint64_t n_dims = gguf_load(p + 8 + n_bytes, 4, f->is_big_endian);
        tensors[i].name = (const char *)p + 8;
        p += 8 + n_bytes;
        *p = 0;
        p += 4 + 8 * n_dims + 4 + 8;
    }
}

static tamis_status tensor_fail(const tamis_gguf_tensor *t, tamis_error *err) {
    char quoted[GGUF_QUOTE_BYTES];
    return tamis_fail_prefix(err, "tensor '%s'", gguf_quote(text_of(t->name), quoted));
}

static tamis_status check_bounds(const gguf_file *f, tamis_gguf_tensor *tensors, tamis_error *err) {
    for (uint64_t i = 0; i < f->n_tensors; i++) {
        tamis_gguf_tensor *t = &tensors[i];
        if (!(t->offset % f->alignment)) continue;
        (void)tamis_fail(err, TAMIS_BAD_INPUT, "offset %llu is not a multiple of %u",
                         (ull)t->offset, f->alignment);
        return tensor_fail(t, err);
    }
    for (uint64_t i = 0; i < f->n_tensors; i++) {
        tamis_gguf_tensor *t = &tensors[i];
        uint64_t end;
        if (!tamis_add_u64(f->data_offset, t->offset, &t->file_offset) ||
            !tamis_add_u64(t->file_offset, t->n_bytes, &end) || end > f->size) {
            (void)tamis_fail(err, TAMIS_BAD_INPUT,
                             "%llu bytes of data at offset %llu run beyond the end of the file "
                             "(%llu bytes); the download is incomplete",
                             (ull)t->n_bytes, (ull)t->file_offset, (ull)f->size);
            return tensor_fail(t, err);
        }
    }
    return TAMIS_OK;
}

static tamis_status order_fail(const gguf_file *f, const tamis_gguf_tensor *a,
                               const tamis_gguf_tensor *b, const char *what, tamis_error *err) {
    char quoted_a[GGUF_QUOTE_BYTES], quoted_b[GGUF_QUOTE_BYTES];
    (void)f;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "tensors '%s' (%llu bytes at offset %llu) and '%s' (offset %llu): %s",
                      gguf_quote(text_of(a->name), quoted_a), (ull)a->n_bytes, (ull)a->offset,
                      gguf_quote(text_of(b->name), quoted_b), (ull)b->offset, what);
}

/* No two tensors share a byte, and none is left out. A type without a known size reaches to the
 * next tensor; the last such one has none. */
static tamis_status check_order(gguf_file *f, tamis_gguf_tensor *tensors, bool allow_gaps,
                                tamis_error *err) {
    for (uint64_t i = 1; i < f->n_tensors; i++)
        if (tensors[i].offset < tensors[i - 1].offset)
            return order_fail(f, &tensors[i - 1], &tensors[i], "the offsets are not increasing",
                              err);
    uint64_t end = 0; /* padded end of the tensor before; bounded by the file's size */
    for (uint64_t i = 0; i < f->n_tensors; i++) {
        tamis_gguf_tensor *t = &tensors[i];
        if (t->offset < end) return order_fail(f, t - 1, t, "they overlap", err);
        if (t->offset > end && !allow_gaps) {
            (void)tamis_fail(err, TAMIS_BAD_INPUT, "gap of %llu bytes before it (offset %llu)",
                             (ull)(t->offset - end), (ull)t->offset);
            return tensor_fail(t, err);
        }
        if (!t->is_size_known && i + 1 < f->n_tensors) {
            t->n_bytes = t[1].offset - t->offset;
            t->is_size_known = t->n_bytes > 0;
            if (!t->n_bytes) return order_fail(f, t, t + 1, "they overlap", err);
        }
        end = (t->offset + t->n_bytes + f->alignment - 1) & ~((uint64_t)f->alignment - 1);
    }
    uint64_t used = f->n_tensors ? f->data_offset + end : f->data_offset;
    if (f->n_tensors && !tensors[f->n_tensors - 1].is_size_known) used = f->size;
    f->trailing_bytes = f->size > used ? f->size - used : 0;
    return TAMIS_OK;
}

tamis_status gguf_read_tensor_infos(tamis_gguf *g, int32_t i_file,
                                    const tamis_gguf_options *options, tamis_error *err) {
    gguf_file *f = &g->files[i_file];
    uint64_t left = f->size - f->pos, n_total;
    if (f->n_tensors > left / GGUF_MIN_INFO_BYTES ||
        f->n_tensors * (BYTES_PER_TENSOR + GGUF_MIN_INFO_BYTES) > left + SLACK_BYTES)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "truncated or damaged: n_tensors %llu exceeds what the rest of the file (%llu "
            "bytes from offset %llu) can hold",
            (ull)f->n_tensors, (ull)left, (ull)f->pos);
    n_total = g->n_tensors + f->n_tensors;
    tamis_status st = tamis_grow(&g->tensors, &g->tensors_capacity, n_total ? n_total : 1,
                                 sizeof *g->tensors, err);
    if (st) return st;
    tamis_gguf_tensor *tensors = g->tensors + g->n_tensors;
    for (uint64_t i = 0; i < f->n_tensors; i++) {
        st = read_info(f, &tensors[i], i, options->log, err);
        if (st) return st;
        tensors[i].i_file = i_file;
    }
    f->infos_end = f->pos;
    uint8_t *head = realloc(f->head, (size_t)f->infos_end);
    if (head) f->head = head;
    f->head_bytes = f->infos_end;
    bind_names(f, tensors);
    if (!tamis_align_up_u64(f->infos_end, f->alignment, &f->data_offset))
        return tamis_fail(err, TAMIS_BAD_INPUT, "the header is too long");
    st = check_bounds(f, tensors, err);
    if (!st) st = check_order(f, tensors, options->allow_gaps, err);
    if (st) return st;
    g->n_tensors = n_total;
    if (f->trailing_bytes)
        tamis_warn(options->log, "%s: %llu bytes after the last tensor are not part of the model",
                   f->path, (ull)f->trailing_bytes);
    return TAMIS_OK;
}

static tamis_bytes name_of(const void *set, uint32_t handle) {
    const tamis_gguf *g = set;
    return text_of(g->tensors[handle - 1].name);
}

tamis_status gguf_index_tensors(tamis_gguf *g, tamis_error *err) {
    tamis_status st = tamis_name_index_init(&g->names, g->n_tensors, err);
    for (uint64_t i = 0; !st && i < g->n_tensors; i++) {
        uint32_t other = tamis_name_index_add(&g->names, name_of, g, (uint32_t)i + 1);
        if (!other) continue;
        char quoted[GGUF_QUOTE_BYTES];
        int32_t i_file = g->tensors[i].i_file, i_other = g->tensors[other - 1].i_file;
        gguf_quote(text_of(g->tensors[i].name), quoted);
        st = i_file == i_other
                 ? tamis_fail(err, TAMIS_BAD_INPUT, "%s: duplicate tensor '%s'",
                              g->files[i_file].path, quoted)
                 : tamis_fail(err, TAMIS_BAD_INPUT, "duplicate tensor '%s' in '%s' and '%s'",
                              quoted, g->files[i_other].path, g->files[i_file].path);
    }
    return st;
}

const tamis_gguf_tensor *tamis_gguf_find_tensor(const tamis_gguf *g, const char *name) {
    uint32_t handle = tamis_name_index_find(&g->names, name_of, g, text_of(name));
    return handle ? &g->tensors[handle - 1] : NULL;
}

/* The whole decimal number at text, ended by '.' or the end of the name; *end behind it. A text
 * that does not begin like a number is none: *is_number false. */
static tamis_status read_number(const char *text, const char *what, int64_t limit, bool *is_number,
                                const char **end, tamis_error *err) {
    size_t n = strcspn(text, ".");
    char digits[GGUF_MAX_NAME_BYTES + 1], quoted[GGUF_QUOTE_BYTES];
    int64_t value;
    *end = text + n;
    *is_number = *text == '-' || *text == '+' || (*text >= '0' && *text <= '9');
    if (!*is_number) return TAMIS_OK;
    memcpy(digits, text, n);
    digits[n] = 0;
    if (strspn(digits, "0123456789") != n ||
        tamis_parse_int(digits, 0, INT64_MAX, what, &value, NULL))
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s number '%s' is out of range", what,
                          gguf_quote((tamis_bytes){digits, n}, quoted));
    if (value >= limit)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s %lld of %lld is out of range", what,
                          (long long)value, (long long)limit);
    return TAMIS_OK;
}

tamis_status gguf_check_layer_numbers(const tamis_gguf *g, tamis_error *err) {
    int64_t n_layers = GGUF_MAX_BLOCKS, n_experts = GGUF_MAX_BLOCKS;
    gguf_arch_int(&g->files[0], "block_count", &n_layers);
    if (gguf_arch_int(&g->files[0], "expert_count", &n_experts) && !n_experts)
        n_experts = GGUF_MAX_BLOCKS;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const tamis_gguf_tensor *t = &g->tensors[i];
        const char *p = t->name;
        bool is_number;
        if (strncmp(p, "blk.", 4)) continue;
        tamis_status st = read_number(p + 4, "layer", n_layers, &is_number, &p, err);
        /* One tensor per expert: blk.N.ffn_gate.E.weight. */
        if (!st && is_number && !strncmp(p, ".ffn_", 5)) {
            p += 5 + strcspn(p + 5, ".");
            if (*p) st = read_number(p + 1, "expert", n_experts, &is_number, &p, err);
        }
        if (!st) continue;
        (void)tensor_fail(t, err);
        return tamis_fail_prefix(err, "%s", g->files[t->i_file].path);
    }
    return TAMIS_OK;
}
