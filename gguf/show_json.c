/* show_json.c - an open file as JSON.
 * Everything in the metadata, in file order, with the conventions of show.h; numbers
 * keep all their digits. Tensor data is not read. */
#include <string.h>

#include "base/hash.h"
#include "gguf/gguf_internal.h"
#include "gguf/show_internal.h"

enum { LONG_STRING_BYTES = 512 };

/* Values are put into objects; arrays want them bare. Taken from a scratch object. */
static void move_to_array(cJSON *array, cJSON *scratch) {
    cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(scratch, "v");
    if (item) cJSON_AddItemToArray(array, item);
}

static tamis_status add_string(cJSON *object, const char *key, tamis_bytes text, bool all,
                               tamis_error *err) {
    if (text.n_bytes <= LONG_STRING_BYTES || all) {
        tamis_json_add_bytes(object, key, text.data, text.n_bytes);
        return TAMIS_OK;
    }
    char digest[TAMIS_HASH_HEX_MAX];
    tamis_status st = tamis_hash_bytes(TAMIS_HASH_SHA256, text.data, text.n_bytes, digest, err);
    if (st) return st;
    cJSON *value = cJSON_AddObjectToObject(object, key);
    tamis_json_add_uint(value, "bytes", text.n_bytes);
    cJSON_AddStringToObject(value, "sha256", digest);
    return TAMIS_OK;
}

/* Element i, which is no string. */
static void add_number(cJSON *object, const char *key, const tamis_gguf *g, const tamis_gguf_kv *kv,
                       uint64_t i) {
    bool flag;
    int64_t si;
    uint64_t ui;
    double d = 0;
    if (tamis_gguf_kv_bool(g, kv, i, &flag))
        cJSON_AddBoolToObject(object, key, flag);
    else if (tamis_gguf_kv_int(g, kv, i, &si))
        tamis_json_add_int(object, key, si);
    else if (tamis_gguf_kv_uint(g, kv, i, &ui))
        tamis_json_add_uint(object, key, ui);
    else if (tamis_gguf_kv_double(g, kv, i, &d))
        tamis_json_add_double(object, key, d);
}

static tamis_status add_array(cJSON *object, const tamis_gguf *g, const tamis_gguf_kv *kv, bool all,
                              tamis_error *err) {
    cJSON *value = cJSON_AddObjectToObject(object, "value");
    cJSON_AddStringToObject(value, "type", tamis_gguf_kind_name(kv->elem_kind));
    tamis_json_add_uint(value, "n", kv->n_elems);
    cJSON *values = cJSON_AddArrayToObject(value, "values");
    cJSON *scratch = cJSON_CreateObject();
    tamis_status st = TAMIS_OK;
    tamis_bytes text;
    uint64_t cursor = 0;
    for (uint64_t i = 0; !st && i < kv->n_elems; i++) {
        if (tamis_gguf_kv_next_string(g, kv, &cursor, &text))
            st = add_string(scratch, "v", text, all, err);
        else
            add_number(scratch, "v", g, kv, i);
        move_to_array(values, scratch);
    }
    cJSON_Delete(scratch);
    return st;
}

tamis_status tamis_gguf_show_value_json(cJSON *object, const tamis_gguf *g, const tamis_gguf_kv *kv,
                                        bool all, tamis_error *err) {
    tamis_bytes text;
    cJSON_AddStringToObject(object, "type", tamis_gguf_kind_name(kv->kind));
    if (kv->kind == TAMIS_GGUF_ARRAY) return add_array(object, g, kv, all, err);
    if (tamis_gguf_kv_string(g, kv, 0, &text)) return add_string(object, "value", text, all, err);
    add_number(object, "value", g, kv, 0);
    return TAMIS_OK;
}

static tamis_status add_kv(cJSON *metadata, const tamis_gguf *g, int32_t i, bool all,
                           tamis_error *err) {
    tamis_gguf_kv kv = tamis_gguf_kv_at(g, i);
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(metadata, item);
    tamis_json_add_bytes(item, "key", kv.key.data, kv.key.n_bytes);
    return tamis_gguf_show_value_json(item, g, &kv, all, err);
}

static void add_tensor(cJSON *tensors, const tamis_gguf *g, const tamis_gguf_tensor *t) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(tensors, item);
    tamis_json_add_bytes(item, "name", t->name, strlen(t->name));
    if (t->type)
        cJSON_AddStringToObject(item, "type", t->type->name);
    else
        cJSON_AddNullToObject(item, "type");
    tamis_json_add_int(item, "type_id", t->type_id);
    cJSON *ne = cJSON_AddArrayToObject(item, "ne"), *scratch = cJSON_CreateObject();
    for (int i = 0; i < t->n_dims; i++) {
        tamis_json_add_uint(scratch, "v", t->ne[i]);
        move_to_array(ne, scratch);
    }
    cJSON_Delete(scratch);
    tamis_json_add_uint(item, "offset", t->offset);
    if (t->is_size_known)
        tamis_json_add_uint(item, "size", t->n_bytes);
    else
        cJSON_AddNullToObject(item, "size");
    if (tamis_gguf_n_files(g) > 1) tamis_json_add_int(item, "i_file", t->i_file);
}

tamis_status tamis_gguf_show_json(const tamis_gguf *g, const tamis_gguf_show_options *options,
                                  cJSON **out, tamis_error *err) {
    bool is_set = tamis_gguf_n_files(g) > 1;
    tamis_status st = TAMIS_OK;
    *out = NULL;
    cJSON *root = cJSON_CreateObject();
    if (is_set)
        cJSON_AddNullToObject(root, "file_size");
    else
        tamis_json_add_uint(root, "file_size", tamis_gguf_file_size(g, 0));
    tamis_json_add_uint(root, "version", tamis_gguf_version(g));
    cJSON_AddStringToObject(root, "byte_order", tamis_gguf_is_big_endian(g) ? "big" : "little");
    tamis_json_add_uint(root, "alignment", tamis_gguf_alignment(g));
    if (is_set || !tamis_gguf_n_tensors(g))
        cJSON_AddNullToObject(root, "data_offset");
    else
        tamis_json_add_uint(root, "data_offset", tamis_gguf_data_offset(g, 0));
    if (tamis_gguf_trailing_bytes(g))
        tamis_json_add_uint(root, "trailing_bytes", tamis_gguf_trailing_bytes(g));
    cJSON *metadata = options->no_metadata ? NULL : cJSON_AddArrayToObject(root, "metadata");
    for (int32_t i = 0; metadata && !st && i < tamis_gguf_n_kv(g); i++)
        st = add_kv(metadata, g, i, options->all, err);
    if (!options->no_tensors) {
        cJSON *tensors = cJSON_AddArrayToObject(root, "tensors");
        for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++)
            if (gguf_show_chooses(options, tamis_gguf_tensor_at(g, i)))
                add_tensor(tensors, g, tamis_gguf_tensor_at(g, i));
    }
    if (!st) st = gguf_show_sums_json(g, options, cJSON_AddObjectToObject(root, "sums"), err);
    if (st)
        cJSON_Delete(root);
    else
        *out = root;
    return st;
}
