/* json.c - reading through cJSON after a strict check, and an own printer.
 * cJSON's printer is not used: it writes numbers with more digits than needed and
 * passes invalid UTF-8 on. */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/json_internal.h"
#include "base/parse.h"
#include "base/terminal.h"
#include "base/utf8.h"

static int compare_keys(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Refuse an object that names a key twice, here or further down. */
static tamis_status check_keys(const cJSON *value, const char *what, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    const char **keys = NULL;
    const cJSON *child = NULL;
    uint64_t n = 0, i = 0;
    cJSON_ArrayForEach(child, value) {
        st = check_keys(child, what, err);
        if (st) return st;
        n++;
    }
    if (!cJSON_IsObject(value) || n < 2) return TAMIS_OK;
    keys = tamis_alloc_array(n, sizeof *keys, err);
    if (!keys) return TAMIS_NO_RESOURCE;
    cJSON_ArrayForEach(child, value) keys[i++] = child->string;
    qsort(keys, n, sizeof *keys, compare_keys);
    for (i = 1; i < n && st == TAMIS_OK; i++) {
        if (strcmp(keys[i - 1], keys[i]) != 0) continue;
        char shown[128];
        st = tamis_fail(err, TAMIS_BAD_INPUT, "'%s': key '%s' is there twice in one object", what,
                        tamis_escape(keys[i], strlen(keys[i]), shown, sizeof shown));
    }
    free(keys);
    return st;
}

tamis_status tamis_json_parse(const char *text, size_t n_bytes, const char *what, cJSON **out,
                              tamis_error *err) {
    *out = NULL;
    tamis_status st = tamis_json_check(text, n_bytes, what, err);
    if (st) return st;
    cJSON *value = cJSON_ParseWithLength(text, n_bytes);
    if (!value) /* the grammar holds, so memory is what is missing */
        return tamis_fail(err, TAMIS_NO_RESOURCE, "'%s': out of memory for %zu bytes of JSON", what,
                          n_bytes);
    st = check_keys(value, what, err);
    if (st) {
        cJSON_Delete(value);
        return st;
    }
    *out = value;
    return TAMIS_OK;
}

/* A text that grows; the first failure is kept and ends all further writing. */
struct text {
    char *data;
    uint64_t n_bytes, capacity;
    tamis_status status;
    tamis_error *err;
};

static void put(struct text *t, const char *data, size_t n) {
    if (t->status) return;
    t->status = tamis_grow(&t->data, &t->capacity, t->n_bytes + n, 1, t->err);
    if (t->status) return;
    memcpy(t->data + t->n_bytes, data, n);
    t->n_bytes += n;
}

static void put_text(struct text *t, const char *s) {
    put(t, s, strlen(s));
}

static void put_line_start(struct text *t, int depth) {
    put(t, "\n", 1);
    for (int i = 0; i < depth; i++)
        put(t, "  ", 2);
}

static void put_string(struct text *t, const char *s) {
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: character, letter */
    size_t n_bytes = strlen(s);
    put(t, "\"", 1);
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c = 0;
        size_t n = tamis_utf8_next(s + i, n_bytes - i, &c);
        char piece[8];
        const char *pair = NULL;
        for (const char *p = named; n == 1 && *p && !pair; p += 2)
            if (*p == s[i]) pair = p;
        if (n == 0) {
            put_text(t, "\xEF\xBF\xBD"); /* U+FFFD for a byte that is no UTF-8 */
            n = 1;
        } else if (pair) {
            piece[0] = '\\', piece[1] = pair[1];
            put(t, piece, 2);
        } else if (c < 0x20 || (c >= 0x7F && c <= 0x9F)) {
            snprintf(piece, sizeof piece, "\\u%04x", (unsigned)c);
            put(t, piece, 6);
        } else {
            put(t, s + i, n);
        }
        i += n;
    }
    put(t, "\"", 1);
}

static const char *non_finite_name(double v) {
    return isnan(v) ? "nan" : v > 0 ? "inf" : "-inf";
}

static void put_number(struct text *t, double v) {
    char digits[40];
    if (isfinite(v))
        put_text(t, tamis_format_double(v, digits, sizeof digits));
    else
        put_string(t, non_finite_name(v));
}

/* Rows of plain numbers stay on one line. */
static bool is_flat(const cJSON *array) {
    const cJSON *child = NULL;
    cJSON_ArrayForEach(child, array) {
        if (cJSON_IsArray(child) || cJSON_IsObject(child) || cJSON_IsString(child)) return false;
    }
    return true;
}

static void put_value(struct text *t, const cJSON *value, int depth);

static void put_members(struct text *t, const cJSON *value, int depth, bool is_object) {
    bool one_line = !value->child || (!is_object && is_flat(value));
    put(t, is_object ? "{" : "[", 1);
    const cJSON *child = NULL;
    cJSON_ArrayForEach(child, value) {
        if (!one_line) put_line_start(t, depth + 1);
        if (is_object) {
            put_string(t, child->string ? child->string : "");
            put(t, ": ", 2);
        }
        put_value(t, child, depth + 1);
        if (child->next) put(t, ", ", one_line ? 2 : 1);
    }
    if (!one_line) put_line_start(t, depth);
    put(t, is_object ? "}" : "]", 1);
}

static void put_value(struct text *t, const cJSON *value, int depth) {
    if (cJSON_IsObject(value) || cJSON_IsArray(value))
        put_members(t, value, depth, cJSON_IsObject(value));
    else if (cJSON_IsString(value))
        put_string(t, value->valuestring ? value->valuestring : "");
    else if (cJSON_IsNumber(value))
        put_number(t, value->valuedouble);
    else if (cJSON_IsRaw(value) && value->valuestring)
        put_text(t, value->valuestring);
    else
        put_text(t, cJSON_IsTrue(value) ? "true" : cJSON_IsFalse(value) ? "false" : "null");
}

static tamis_status write_stdout(const char *data, size_t n_bytes, tamis_error *err) {
    (void)fwrite(data, 1, n_bytes, stdout); /* a short count leaves its mark on the stream */
    return tamis_flush_results(err);
}

tamis_status tamis_json_write(const cJSON *value, const char *path, tamis_error *err) {
    if (!value)
        return tamis_fail(err, TAMIS_NO_RESOURCE, "'%s': no JSON to write: out of memory", path);
    struct text t = {.err = err};
    put_value(&t, value, 0);
    put(&t, "\n", 1);
    tamis_status st = t.status;
    if (st == TAMIS_OK)
        st = strcmp(path, "-") == 0 ? write_stdout(t.data, t.n_bytes, err)
                                    : tamis_write_file(path, t.data, t.n_bytes, err);
    free(t.data);
    return st;
}

static const int64_t exact_max = INT64_C(1) << 53; /* doubles hold every integer up to here */

void tamis_json_add_int(cJSON *object, const char *key, int64_t value) {
    char digits[24];
    if (value >= -exact_max && value <= exact_max) {
        cJSON_AddNumberToObject(object, key, (double)value);
        return;
    }
    snprintf(digits, sizeof digits, "%" PRId64, value);
    cJSON_AddStringToObject(object, key, digits);
}

void tamis_json_add_uint(cJSON *object, const char *key, uint64_t value) {
    char digits[24];
    if (value <= (uint64_t)exact_max) {
        cJSON_AddNumberToObject(object, key, (double)value);
        return;
    }
    snprintf(digits, sizeof digits, "%" PRIu64, value);
    cJSON_AddStringToObject(object, key, digits);
}

void tamis_json_add_double(cJSON *object, const char *key, double value) {
    if (isfinite(value))
        cJSON_AddNumberToObject(object, key, value);
    else
        cJSON_AddStringToObject(object, key, non_finite_name(value));
}

void tamis_json_add_bytes(cJSON *object, const char *key, const char *data, size_t n_bytes) {
    static const char digits[] = "0123456789abcdef";
    /* A cJSON string ends at its first NUL. */
    bool is_text = tamis_utf8_is_valid(data, n_bytes) && (!n_bytes || !memchr(data, 0, n_bytes));
    uint64_t cap = 0;
    if (!tamis_mul_u64(n_bytes, 2, &cap)) return;
    char *copy = tamis_alloc_array(cap + 1, 1, NULL);
    if (!copy) return;
    if (is_text) {
        if (n_bytes) memcpy(copy, data, n_bytes);
        cJSON_AddStringToObject(object, key, copy);
    } else {
        for (size_t i = 0; i < n_bytes; i++) {
            copy[2 * i] = digits[(unsigned char)data[i] >> 4];
            copy[2 * i + 1] = digits[(unsigned char)data[i] & 15];
        }
        cJSON *hex = cJSON_AddObjectToObject(object, key);
        if (hex) cJSON_AddStringToObject(hex, "hex", copy);
    }
    free(copy);
}
