/* base_header.c - see base_header_internal.h; fields: docs/kld-base-file.md. */
#include "kld/base_header_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"

static const int64_t MAX_CTX = (int64_t)1 << 30, MAX_CHUNKS = (int64_t)1 << 40;
static const int64_t MAX_VOCAB = 1 << 24, MAX_EMBD = 1 << 20;
static const int64_t MAX_EXACT = (int64_t)1 << 53; /* integers that a JSON number holds */

tamis_status tamis_base_header_print(const tamis_kld_base_info *info, char **out_text,
                                     size_t *out_n_bytes, tamis_error *err) {
    const tamis_kld_identity *parent = &info->parent;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "tool_version", tamis_version());
    tamis_json_add_int(root, "n_ctx", info->n_ctx);
    tamis_json_add_int(root, "n_chunks", info->n_chunks);
    cJSON_AddStringToObject(root, "score", tamis_kld_score_name(info->score));
    tamis_json_add_int(root, "n_vocab", parent->n_vocab);
    tamis_json_add_int(root, "n_embd", parent->n_embd);
    cJSON *head = cJSON_AddObjectToObject(root, "head");
    tamis_json_add_int(head, "type_id", info->head_type_id);
    tamis_json_add_double(head, "weight_scale", (double)info->weight_scale);
    tamis_json_add_double(head, "softcap", (double)info->softcap);
    tamis_json_add_int(head, "has_bias", info->has_bias);
    cJSON *model = cJSON_AddObjectToObject(root, "parent");
    cJSON_AddStringToObject(model, "file", parent->name);
    cJSON_AddStringToObject(model, "hash", parent->hash);
    cJSON_AddStringToObject(model, "arch", parent->arch);
    cJSON_AddStringToObject(model, "vocab_hash", parent->vocab_hash);
    tamis_json_add_uint(model, "bytes", parent->n_bytes);
    tamis_json_add_double(model, "bits_per_weight", parent->bits_per_weight);
    cJSON *mtp = info->n_mtp ? cJSON_AddArrayToObject(root, "mtp") : NULL;
    for (int64_t k = 0; k < info->n_mtp; ++k) {
        cJSON *block = cJSON_CreateObject();
        cJSON_AddItemToArray(mtp, block);
        tamis_json_add_int(block, "has_head", info->mtp[k].has_head);
        if (!info->mtp[k].has_head) continue;
        tamis_json_add_int(block, "type_id", info->mtp[k].head_type_id);
        tamis_json_add_double(block, "weight_scale", (double)info->mtp[k].weight_scale);
    }
    cJSON *text = cJSON_AddObjectToObject(root, "text");
    cJSON_AddStringToObject(text, "file", info->text.name);
    cJSON_AddStringToObject(text, "hash", info->text.hash);
    tamis_json_add_int(text, "n_tokens", info->text.n_tokens);
    char *printed = text ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    if (!printed)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory for the header of a base file");
    *out_text = printed;
    *out_n_bytes = strlen(printed);
    return TAMIS_OK;
}

/* Reading: the first field that is wrong is kept, later ones are skipped. */
typedef struct reader {
    const char *path;
    tamis_error *err;
    tamis_status status;
} reader;

static void refuse(reader *r, const char *key) {
    if (r->status) return;
    r->status = tamis_fail(r->err, TAMIS_BAD_INPUT,
                           "%s: header field \"%s\" is missing, of the wrong type or out of range",
                           r->path, key);
}

static const cJSON *get_object(reader *r, const cJSON *from, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, key);
    if (cJSON_IsObject(item)) return item;
    refuse(r, key);
    return NULL;
}

static double get_number(reader *r, const cJSON *from, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, key);
    if (cJSON_IsNumber(item) && isfinite(item->valuedouble)) return item->valuedouble;
    refuse(r, key);
    return 0;
}

static int64_t get_int(reader *r, const cJSON *from, const char *key, int64_t lo, int64_t hi) {
    const double value = get_number(r, from, key);
    if (value >= (double)lo && value <= (double)hi && value == floor(value)) return (int64_t)value;
    refuse(r, key);
    return lo;
}

static float get_float(reader *r, const cJSON *from, const char *key) {
    const double value = get_number(r, from, key);
    if (fabs(value) <= 3e38) return (float)value;
    refuse(r, key);
    return 0;
}

static const char *get_text(reader *r, const cJSON *from, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from, key);
    if (cJSON_IsString(item)) return item->valuestring;
    refuse(r, key);
    return "";
}

/* A file name for messages and reports: whatever it holds is made printable. */
static void get_name(reader *r, const cJSON *from, const char *key, char out[256]) {
    const char *text = get_text(r, from, key);
    tamis_escape(text, strlen(text), out, 256);
}

static void get_arch(reader *r, const cJSON *from, const char *key, char out[64]) {
    const char *text = get_text(r, from, key);
    if (!*text || strlen(text) >= 64) refuse(r, key);
    tamis_escape(text, strlen(text), out, 64);
}

static void get_hash(reader *r, const cJSON *from, const char *key, bool may_be_empty,
                     char out[33]) {
    const char *text = get_text(r, from, key);
    const size_t n = strlen(text);
    if ((n == 32 && strspn(text, "0123456789abcdef") == 32) || (n == 0 && may_be_empty)) {
        memcpy(out, text, n + 1);
        return;
    }
    refuse(r, key);
}

static void get_score(reader *r, const cJSON *from, const char *key, tamis_kld_score *out) {
    if (tamis_kld_score_parse(get_text(r, from, key), out, NULL)) refuse(r, key);
}

static void get_mtp(reader *r, const cJSON *root, tamis_kld_base_info *out) {
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(root, "mtp");
    const int n = cJSON_IsArray(array) ? cJSON_GetArraySize(array) : 0;
    if (n < 1 || n > TAMIS_KLD_MTP_MAX) {
        refuse(r, "mtp");
        return;
    }
    out->n_mtp = n;
    for (int k = 0; k < n; ++k) {
        const cJSON *block = cJSON_GetArrayItem(array, k);
        out->mtp[k].has_head = get_int(r, block, "has_head", 0, 1) == 1;
        if (!out->mtp[k].has_head) continue;
        out->mtp[k].head_type_id = (int32_t)get_int(r, block, "type_id", 0, 1000);
        out->mtp[k].weight_scale = get_float(r, block, "weight_scale");
    }
}

tamis_status tamis_base_header_parse(const char *text, size_t n_bytes, bool has_mtp,
                                     const char *path, tamis_kld_base_info *out, tamis_error *err) {
    *out = (tamis_kld_base_info){0};
    cJSON *root;
    tamis_status st = tamis_json_parse(text, n_bytes, path, &root, err);
    if (st) return st;
    reader r = {.path = path, .err = err};
    if (!cJSON_IsObject(root)) refuse(&r, "{");
    out->n_ctx = get_int(&r, root, "n_ctx", 2, MAX_CTX);
    out->n_chunks = get_int(&r, root, "n_chunks", 1, MAX_CHUNKS);
    get_score(&r, root, "score", &out->score);
    out->parent.n_vocab = get_int(&r, root, "n_vocab", 1, MAX_VOCAB);
    out->parent.n_embd = get_int(&r, root, "n_embd", 1, MAX_EMBD);
    const cJSON *head = get_object(&r, root, "head");
    out->head_type_id = (int32_t)get_int(&r, head, "type_id", 0, 1000);
    out->weight_scale = get_float(&r, head, "weight_scale");
    out->softcap = get_float(&r, head, "softcap");
    out->has_bias = get_int(&r, head, "has_bias", 0, 1) == 1;
    const cJSON *parent = get_object(&r, root, "parent");
    get_name(&r, parent, "file", out->parent.name);
    get_hash(&r, parent, "hash", false, out->parent.hash);
    get_arch(&r, parent, "arch", out->parent.arch);
    get_hash(&r, parent, "vocab_hash", true, out->parent.vocab_hash);
    out->parent.n_bytes = (uint64_t)get_int(&r, parent, "bytes", 0, MAX_EXACT);
    out->parent.bits_per_weight = get_number(&r, parent, "bits_per_weight");
    const cJSON *source = get_object(&r, root, "text");
    get_name(&r, source, "file", out->text.name);
    get_hash(&r, source, "hash", false, out->text.hash);
    out->text.n_tokens = get_int(&r, source, "n_tokens", 1, MAX_EXACT);
    if (has_mtp) get_mtp(&r, root, out);
    if (out->softcap < 0) refuse(&r, "softcap");
    if (out->n_chunks > out->text.n_tokens / out->n_ctx) refuse(&r, "n_chunks");
    cJSON_Delete(root);
    return r.status;
}
