/* keys.c - see keys.h. Key names and types: reference/architectures.md section 0.1. */
#include "model/arch/keys.h"

#include <stdio.h>

const char *tamis_keys_name(const tamis_keys *keys, const char *suffix, char *key) {
    snprintf(key, TAMIS_KEY_CAP, "%s.%s", keys->arch, suffix);
    return key;
}

bool tamis_keys_has(const tamis_keys *keys, const char *suffix) {
    char key[TAMIS_KEY_CAP];
    tamis_gguf_kv kv;
    return tamis_gguf_find(keys->gguf, tamis_keys_name(keys, suffix, key), &kv);
}

tamis_status tamis_keys_int(const tamis_keys *keys, const char *suffix, int64_t lo, int64_t hi,
                            int64_t fallback, int64_t *out, tamis_error *err) {
    char key[TAMIS_KEY_CAP];
    return tamis_gguf_get_int(keys->gguf, tamis_keys_name(keys, suffix, key), lo, hi, fallback, out,
                              err);
}

tamis_status tamis_keys_need_int(const tamis_keys *keys, const char *suffix, int64_t lo, int64_t hi,
                                 int64_t *out, tamis_error *err) {
    char key[TAMIS_KEY_CAP];
    if (!tamis_keys_has(keys, suffix))
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is missing",
                          tamis_keys_name(keys, suffix, key));
    return tamis_keys_int(keys, suffix, lo, hi, lo, out, err);
}

tamis_status tamis_keys_double(const tamis_keys *keys, const char *suffix, double lo, double hi,
                               double fallback, double *out, tamis_error *err) {
    char key[TAMIS_KEY_CAP];
    tamis_status st =
        tamis_gguf_get_double(keys->gguf, tamis_keys_name(keys, suffix, key), fallback, out, err);
    if (st || !tamis_keys_has(keys, suffix)) return st;
    if (*out >= lo && *out <= hi) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is %g; allowed is %g to %g", key, *out, lo,
                      hi);
}

tamis_status tamis_keys_bool(const tamis_keys *keys, const char *suffix, bool fallback, bool *out,
                             tamis_error *err) {
    char key[TAMIS_KEY_CAP];
    return tamis_gguf_get_bool(keys->gguf, tamis_keys_name(keys, suffix, key), fallback, out, err);
}

tamis_status tamis_keys_per_block(const tamis_keys *keys, const char *suffix, int64_t hi,
                                  int64_t n_blocks, int64_t *values, int64_t stride,
                                  tamis_error *err) {
    char key[TAMIS_KEY_CAP];
    tamis_gguf_kv kv;
    if (!tamis_gguf_find(keys->gguf, tamis_keys_name(keys, suffix, key), &kv)) return TAMIS_OK;
    bool is_array = kv.kind == TAMIS_GGUF_ARRAY;
    if (is_array && kv.n_elems != (uint64_t)n_blocks)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' has %llu entries; expected %lld", key,
                          (unsigned long long)kv.n_elems, (long long)n_blocks);
    for (int64_t i = 0; i < n_blocks; i++) {
        uint64_t at = is_array ? (uint64_t)i : 0;
        int64_t value;
        bool flag;
        if (tamis_gguf_kv_bool(keys->gguf, &kv, at, &flag))
            value = flag;
        else if (!tamis_gguf_kv_int(keys->gguf, &kv, at, &value))
            return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is no integer", key);
        if (value < 0 || value > hi)
            return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is %lld; allowed is 0 to %lld", key,
                              (long long)value, (long long)hi);
        values[i * stride] = value;
    }
    return TAMIS_OK;
}

tamis_status tamis_keys_array(const tamis_keys *keys, const char *suffix, int64_t hi, int64_t n,
                              int64_t *values, tamis_error *err) {
    char key[TAMIS_KEY_CAP];
    tamis_gguf_kv kv;
    if (tamis_gguf_find(keys->gguf, tamis_keys_name(keys, suffix, key), &kv) &&
        kv.kind != TAMIS_GGUF_ARRAY)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' is no array; expected %lld numbers", key,
                          (long long)n);
    return tamis_keys_per_block(keys, suffix, hi, n, values, 1, err);
}
