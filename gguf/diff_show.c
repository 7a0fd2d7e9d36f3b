/* diff_show.c - a comparison as text, at most 100 columns, and as JSON. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/diff.h"
#include "gguf/gguf_internal.h"
#include "gguf/show_internal.h"

typedef unsigned long long ull;

enum { NAME_COLUMNS = 31 };

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

static void print_element_change(const tamis_gguf_diff *diff, const tamis_diff_key *k,
                                 FILE *stream) {
    fprintf(stream, "%s x %llu", tamis_gguf_kind_name(k->a.elem_kind), (ull)k->a.n_elems);
    if (k->a.n_elems != k->b.n_elems) fprintf(stream, " -> x %llu", (ull)k->b.n_elems);
    const uint64_t n_common = k->a.n_elems < k->b.n_elems ? k->a.n_elems : k->b.n_elems;
    if (k->n_differ)
        fprintf(stream, ", %llu element%s differ%s, the first is %llu: ", (ull)k->n_differ,
                plural(k->n_differ), k->n_differ == 1 ? "s" : "", (ull)k->i_first);
    else
        fprintf(stream, ", the first %llu equal", (ull)n_common);
    if (!k->n_differ) return;
    tamis_gguf_show_element(diff->a, &k->a, k->i_first, false, stream);
    fputs(" -> ", stream);
    tamis_gguf_show_element(diff->b, &k->b, k->i_first, false, stream);
}

static void print_key(const tamis_gguf_diff *diff, const tamis_diff_key *k, FILE *stream) {
    char name[GGUF_QUOTE_BYTES];
    const tamis_gguf_kv *kv = k->is_in_a ? &k->a : &k->b;
    const bool is_change = k->is_in_a && k->is_in_b;
    fprintf(stream, "  %c %s  ",
            is_change    ? '~'
            : k->is_in_a ? '-'
                         : '+',
            gguf_quote(kv->key, name));
    if (!is_change) {
        fprintf(stream, "%s  ", tamis_gguf_kind_name(kv->kind));
        tamis_gguf_show_value(k->is_in_a ? diff->a : diff->b, kv, false, stream);
    } else if (k->a.kind == TAMIS_GGUF_ARRAY && k->b.kind == TAMIS_GGUF_ARRAY &&
               k->a.elem_kind == k->b.elem_kind) {
        print_element_change(diff, k, stream);
    } else {
        fprintf(stream, "%s", tamis_gguf_kind_name(k->a.kind));
        if (k->a.kind != k->b.kind) fprintf(stream, " -> %s", tamis_gguf_kind_name(k->b.kind));
        fputs("  ", stream);
        tamis_gguf_show_value(diff->a, &k->a, false, stream);
        fputs(" -> ", stream);
        tamis_gguf_show_value(diff->b, &k->b, false, stream);
    }
    fputs(k->is_layout ? "  (layout)\n" : "\n", stream);
}

static void print_metadata(const tamis_gguf_diff *diff, FILE *stream) {
    uint64_t n_a = 0, n_b = 0, n_changed = 0;
    for (uint64_t i = 0; i < diff->n_keys; i++) {
        const tamis_diff_key *k = &diff->keys[i];
        n_a += k->is_in_a && !k->is_in_b;
        n_b += k->is_in_b && !k->is_in_a;
        n_changed += k->is_in_a && k->is_in_b;
    }
    fprintf(stream, "\nmetadata: %llu keys equal, %llu only in A, %llu only in B, %llu changed\n",
            (ull)diff->n_same_keys, (ull)n_a, (ull)n_b, (ull)n_changed);
    for (uint64_t i = 0; i < diff->n_keys; i++)
        print_key(diff, &diff->keys[i], stream);
}

static void print_one_side(const tamis_gguf_tensor *t, char mark, FILE *stream) {
    char name[GGUF_QUOTE_BYTES], shape[96], type[32];
    fprintf(stream, "  %c %s  [%s]  %s\n", mark,
            gguf_quote((tamis_bytes){t->name, strlen(t->name)}, name),
            gguf_shape_text(t, shape, sizeof shape), gguf_type_text(t, type, sizeof type));
}

/* What the tensor tables say; values come after. */
static void print_table_changes(const tamis_gguf_diff *diff, FILE *stream) {
    uint64_t n_a = 0, n_b = 0, n_both = 0, n_type = 0, n_shape = 0;
    for (uint64_t i = 0; i < diff->n_tensors; i++) {
        const tamis_diff_tensor *t = &diff->tensors[i];
        n_a += !t->b;
        n_b += !t->a;
        n_both += t->a && t->b;
        n_type += t->has_other_type;
        n_shape += t->has_other_shape;
    }
    fprintf(stream,
            "\ntensors: %llu in both, %llu only in A, %llu only in B, %llu of another type, "
            "%llu of another shape\n",
            (ull)n_both, (ull)n_a, (ull)n_b, (ull)n_type, (ull)n_shape);
    if (diff->has_other_order) fputs("  their order in the file differs (layout)\n", stream);
    for (uint64_t i = 0; i < diff->n_tensors; i++) {
        const tamis_diff_tensor *t = &diff->tensors[i];
        char name[GGUF_QUOTE_BYTES], shape_a[96], shape_b[96];
        if (!t->b) print_one_side(t->a, '-', stream);
        if (!t->a) print_one_side(t->b, '+', stream);
        if (t->has_other_shape)
            fprintf(stream, "  ~ %s  [%s] -> [%s]\n",
                    gguf_quote((tamis_bytes){t->a->name, strlen(t->a->name)}, name),
                    gguf_shape_text(t->a, shape_a, sizeof shape_a),
                    gguf_shape_text(t->b, shape_b, sizeof shape_b));
    }
}

static void format_types(const tamis_diff_tensor *t, char *out, size_t cap) {
    char a[32], b[32];
    gguf_type_text(t->a, a, sizeof a);
    gguf_type_text(t->b, b, sizeof b);
    snprintf(out, cap, t->has_other_type ? "%s -> %s" : "%s", a, b);
}

static void print_sums(const char *name, const char *types, const tamis_diff_sums *s,
                       FILE *stream) {
    const double share = s->n_elems ? 100.0 * (double)s->n_differ / (double)s->n_elems : 0;
    fprintf(stream, "%-*s  %-15s  %6.2f%%  %9.3g  %9.3g  %9.3g", NAME_COLUMNS, name, types, share,
            s->max_abs, tamis_diff_mean_abs(s), tamis_diff_relative(s));
    fprintf(stream, "  %8.6f", tamis_diff_cosine(s));
    if (s->n_nonfinite) fprintf(stream, "  %llu not finite", (ull)s->n_nonfinite);
    fputc('\n', stream);
}

static void print_tensor(const tamis_diff_tensor *t, FILE *stream) {
    char name[GGUF_QUOTE_BYTES], types[80];
    const tamis_diff_sums *s = &t->sums;
    gguf_quote((tamis_bytes){t->a->name, strlen(t->a->name)}, name);
    format_types(t, types, sizeof types);
    if (t->how == TAMIS_DIFF_VALUES)
        print_sums(name, types, s, stream);
    else if (t->how == TAMIS_DIFF_BYTES)
        fprintf(stream, "%-*s  %-15s  %llu of %llu differ\n", NAME_COLUMNS, name, types,
                (ull)s->n_differ, (ull)s->n_elems);
    else
        fprintf(stream, "%-*s  %-15s  not compared\n", NAME_COLUMNS, name, types);
}

/* Largest relative error first; what has none behind, what cannot be compared before all. */
static int compare_tensors(const void *a, const void *b) {
    const tamis_diff_tensor *x = *(const tamis_diff_tensor *const *)a;
    const tamis_diff_tensor *y = *(const tamis_diff_tensor *const *)b;
    const int known_x = x->how == TAMIS_DIFF_VALUES, known_y = y->how == TAMIS_DIFF_VALUES;
    if (known_x != known_y) return known_x - known_y;
    const double rx = tamis_diff_relative(&x->sums), ry = tamis_diff_relative(&y->sums);
    if (rx != ry) return rx > ry ? -1 : 1;
    return (x > y) - (x < y);
}

static bool is_listed(const tamis_diff_tensor *t, bool all) {
    if (!t->a || !t->b || t->has_other_shape) return false;
    return all || t->sums.n_differ || t->sums.has_other_bytes || t->how == TAMIS_DIFF_NOT_COMPARED;
}

static tamis_status print_values(const tamis_gguf_diff *diff, uint64_t n_top, bool all,
                                 FILE *stream, tamis_error *err) {
    uint64_t n = 0, n_same = 0, n_compared = 0;
    const tamis_diff_tensor **rows = tamis_alloc_array(diff->n_tensors, sizeof *rows, err);
    if (!rows) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i < diff->n_tensors; i++) {
        const tamis_diff_tensor *t = &diff->tensors[i];
        n_compared += t->how != TAMIS_DIFF_NOT_COMPARED;
        n_same += t->how != TAMIS_DIFF_NOT_COMPARED && !t->sums.n_differ;
        if (is_listed(t, all)) rows[n++] = t;
    }
    fprintf(stream, "\nvalues: %llu of %llu tensors equal\n", (ull)n_same, (ull)n_compared);
    qsort(rows, n, sizeof *rows, compare_tensors);
    if (n)
        fprintf(stream, "\n%-*s  %-15s  %7s  %9s  %9s  %9s  %8s\n", NAME_COLUMNS, "tensor", "types",
                "differ", "max abs", "mean abs", "rms rel", "cosine");
    for (uint64_t i = 0; i < n && (all || i < n_top); i++)
        print_tensor(rows[i], stream);
    if (!all && n > n_top)
        fprintf(stream, "... and %llu more (--all lists them)\n", (ull)(n - n_top));
    if (diff->total.n_elems) print_sums("all values compared", "", &diff->total, stream);
    free(rows);
    return TAMIS_OK;
}

tamis_status tamis_diff_show_text(const tamis_gguf_diff *diff, uint64_t n_top, bool all,
                                  FILE *stream, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    fprintf(stream, "A  %s\nB  %s\n", tamis_gguf_path(diff->a), tamis_gguf_path(diff->b));
    print_metadata(diff, stream);
    if (diff->tensors) print_table_changes(diff, stream);
    if (diff->has_values) st = print_values(diff, n_top, all, stream, err);
    if (!st) fprintf(stream, "\n%s\n", tamis_diff_is_equal(diff) ? "equal" : "different");
    return st;
}

/* --- JSON --- */

static void add_sums(cJSON *object, const tamis_diff_sums *s) {
    tamis_json_add_uint(object, "elements", s->n_elems);
    tamis_json_add_uint(object, "differing", s->n_differ);
    tamis_json_add_uint(object, "nonfinite", s->n_nonfinite);
    tamis_json_add_double(object, "max_abs", s->max_abs);
    tamis_json_add_uint(object, "max_at", s->i_max);
    tamis_json_add_double(object, "mean_abs", tamis_diff_mean_abs(s));
    tamis_json_add_double(object, "rms_relative", tamis_diff_relative(s));
    tamis_json_add_double(object, "cosine", tamis_diff_cosine(s));
}

static void add_key(cJSON *array, const tamis_gguf_diff *diff, const tamis_diff_key *k) {
    const tamis_gguf_kv *kv = k->is_in_a ? &k->a : &k->b;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(array, item);
    tamis_json_add_bytes(item, "key", kv->key.data, kv->key.n_bytes);
    cJSON_AddStringToObject(item, "change",
                            k->is_in_a && k->is_in_b ? "changed"
                            : k->is_in_a             ? "only in A"
                                                     : "only in B");
    if (k->is_layout) cJSON_AddTrueToObject(item, "layout");
    /* Shortened values carry hashes; that cannot fail but for memory, and then they are absent. */
    if (k->is_in_a)
        (void)!tamis_gguf_show_value_json(cJSON_AddObjectToObject(item, "a"), diff->a, &k->a, false,
                                          NULL);
    if (k->is_in_b)
        (void)!tamis_gguf_show_value_json(cJSON_AddObjectToObject(item, "b"), diff->b, &k->b, false,
                                          NULL);
    if (!k->is_in_a || !k->is_in_b || k->a.kind != TAMIS_GGUF_ARRAY || k->b.kind != k->a.kind ||
        k->a.elem_kind != k->b.elem_kind)
        return;
    tamis_json_add_uint(item, "differing", k->n_differ);
    tamis_json_add_uint(item, "first", k->i_first);
}

static void add_side(cJSON *item, const char *side, const tamis_gguf_tensor *t) {
    char type[32];
    if (!t) {
        cJSON_AddNullToObject(item, side);
        return;
    }
    cJSON *object = cJSON_AddObjectToObject(item, side);
    cJSON_AddStringToObject(object, "type", gguf_type_text(t, type, sizeof type));
    cJSON *ne = cJSON_AddArrayToObject(object, "ne");
    for (int i = 0; i < t->n_dims; i++)
        cJSON_AddItemToArray(ne, cJSON_CreateNumber((double)t->ne[i]));
    tamis_json_add_uint(object, "size", t->n_bytes);
}

static void add_tensor(cJSON *array, const tamis_gguf_diff *diff, const tamis_diff_tensor *t) {
    static const char *const how[] = {"no", "values", "bytes"};
    const char *name = t->a ? t->a->name : t->b->name;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(array, item);
    tamis_json_add_bytes(item, "name", name, strlen(name));
    add_side(item, "a", t->a);
    add_side(item, "b", t->b);
    if (!diff->has_values) return;
    cJSON_AddStringToObject(item, "compared", how[t->how]);
    if (t->how == TAMIS_DIFF_VALUES) add_sums(item, &t->sums);
    if (t->how == TAMIS_DIFF_BYTES) {
        tamis_json_add_uint(item, "elements", t->sums.n_elems);
        tamis_json_add_uint(item, "differing", t->sums.n_differ);
    }
    if (!t->has_other_type && t->how != TAMIS_DIFF_NOT_COMPARED)
        cJSON_AddBoolToObject(item, "same_bytes", !t->sums.has_other_bytes);
}

cJSON *tamis_diff_show_json(const tamis_gguf_diff *diff) {
    cJSON *root = cJSON_CreateObject();
    const char *a = tamis_gguf_path(diff->a), *b = tamis_gguf_path(diff->b);
    tamis_json_add_bytes(root, "a", a, strlen(a));
    tamis_json_add_bytes(root, "b", b, strlen(b));
    cJSON_AddBoolToObject(root, "equal", tamis_diff_is_equal(diff));
    tamis_json_add_uint(root, "keys_equal", diff->n_same_keys);
    cJSON *keys = cJSON_AddArrayToObject(root, "keys");
    for (uint64_t i = 0; i < diff->n_keys; i++)
        add_key(keys, diff, &diff->keys[i]);
    if (!diff->tensors) return root;
    cJSON_AddBoolToObject(root, "order_differs", diff->has_other_order);
    cJSON *tensors = cJSON_AddArrayToObject(root, "tensors");
    for (uint64_t i = 0; i < diff->n_tensors; i++)
        add_tensor(tensors, diff, &diff->tensors[i]);
    if (diff->has_values) add_sums(cJSON_AddObjectToObject(root, "total"), &diff->total);
    return root;
}
