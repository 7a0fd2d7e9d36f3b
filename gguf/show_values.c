/* show_values.c - values, types, shapes and counts as text, for what prints files.
 * Text from a file is escaped; long strings and arrays are cut unless all of it is wanted. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_internal.h"
#include "gguf/show_internal.h"

typedef unsigned long long ull;

enum { VALUE_COLUMNS = 56, N_ARRAY_SHOWN = 6 };

const char *gguf_count_text(uint64_t n, char *out, size_t cap) {
    static const char units[] = " KMBT";
    double value = (double)n;
    int i = 0;
    while (value >= 1000 && units[i + 1]) {
        value /= 1000;
        i++;
    }
    if (i)
        snprintf(out, cap, "%.2f %c", value, units[i]);
    else
        snprintf(out, cap, "%llu", (ull)n);
    return out;
}

/* A string in quotes, cut to about `columns`. */
static void print_string(tamis_bytes text, bool all, FILE *stream) {
    size_t cap = all ? 4 * text.n_bytes + 8 : VALUE_COLUMNS;
    char small[VALUE_COLUMNS], *big = all ? malloc(cap) : NULL;
    fprintf(stream, "\"%s\"",
            tamis_escape(text.data, text.n_bytes, big ? big : small, big ? cap : sizeof small));
    if (!big && text.n_bytes > VALUE_COLUMNS) fprintf(stream, " (%zu bytes)", text.n_bytes);
    free(big);
}

/* Element i, which is no string. f32 prints with the digits that tell f32 apart. */
static void print_number(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, FILE *stream) {
    bool flag;
    int64_t si;
    uint64_t ui;
    double d = 0;
    if (tamis_gguf_kv_bool(g, kv, i, &flag))
        fputs(flag ? "true" : "false", stream);
    else if (tamis_gguf_kv_int(g, kv, i, &si))
        fprintf(stream, "%" PRId64, si);
    else if (tamis_gguf_kv_uint(g, kv, i, &ui))
        fprintf(stream, "%" PRIu64, ui);
    else if (tamis_gguf_kv_double(g, kv, i, &d))
        fprintf(stream, kv->elem_kind == TAMIS_GGUF_F32 ? "%.7g" : "%.16g", d);
}

static void print_array(const tamis_gguf *g, const tamis_gguf_kv *kv, bool all, FILE *stream) {
    uint64_t cursor = 0, n_columns = 0;
    tamis_bytes text;
    fprintf(stream, "%llu x %s [", (ull)kv->n_elems, tamis_gguf_kind_name(kv->elem_kind));
    for (uint64_t i = 0; i < kv->n_elems; i++) {
        if (i) fputs(", ", stream);
        if (!all && (i == N_ARRAY_SHOWN || n_columns > VALUE_COLUMNS)) {
            fputs("...", stream);
            break;
        }
        if (!tamis_gguf_kv_next_string(g, kv, &cursor, &text)) {
            print_number(g, kv, i, stream);
            continue;
        }
        n_columns += text.n_bytes + 4;
        print_string(text, all, stream);
    }
    fputc(']', stream);
}

void tamis_gguf_show_value(const tamis_gguf *g, const tamis_gguf_kv *kv, bool all, FILE *stream) {
    tamis_bytes text;
    if (kv->kind == TAMIS_GGUF_ARRAY)
        print_array(g, kv, all, stream);
    else if (tamis_gguf_kv_string(g, kv, 0, &text))
        print_string(text, all, stream);
    else
        print_number(g, kv, 0, stream);
}

void tamis_gguf_show_element(const tamis_gguf *g, const tamis_gguf_kv *kv, uint64_t i, bool all,
                             FILE *stream) {
    tamis_bytes text;
    if (tamis_gguf_kv_string(g, kv, i, &text))
        print_string(text, all, stream);
    else
        print_number(g, kv, i, stream);
}

void tamis_gguf_show_raw(const tamis_gguf *g, const tamis_gguf_kv *kv, FILE *stream) {
    uint64_t cursor = 0;
    tamis_bytes text;
    for (uint64_t i = 0; i < kv->n_elems; i++) {
        const bool is_text = kv->kind == TAMIS_GGUF_STRING
                                 ? tamis_gguf_kv_string(g, kv, 0, &text)
                                 : tamis_gguf_kv_next_string(g, kv, &cursor, &text);
        if (is_text)
            fwrite(text.data, 1, text.n_bytes, stream);
        else
            print_number(g, kv, i, stream);
        fputc('\n', stream);
    }
}

const char *gguf_type_text(const tamis_gguf_tensor *t, char *out, size_t cap) {
    if (t->type && t->type->block_elems)
        snprintf(out, cap, "%s", t->type->name);
    else
        snprintf(out, cap, "%s%d", t->type ? "retired " : "type ", t->type_id);
    return out;
}

const char *gguf_shape_text(const tamis_gguf_tensor *t, char *out, size_t cap) {
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < t->n_dims && n < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%" PRIu64, i ? " x " : "", t->ne[i]);
    return out;
}
