/* test_gguf_fixtures.c - the reference containers through the library: what is valid must
 * read as its .json says (data hashes too), what is odd as odd/README.tsv says, and
 * every bad file must be refused with one line. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "gguf/check.h"

static char warnings[4096];

static void keep_warning(void *ctx, tamis_log_level level, const char *text) {
    (void)ctx, (void)level;
    size_t n = strlen(warnings);
    snprintf(warnings + n, sizeof warnings - n, "%s\n", text);
}

static const tamis_log warning_log = { .line = keep_warning };

/* --- comparing with a .json --- */

static void compare_text(const cJSON *want, const char *data, size_t n_bytes, const char *where) {
    if (cJSON_IsString(want)) {
        /* The parser may have cut a text at an escaped NUL; then only the head can be compared. */
        size_t n = strlen(want->valuestring);
        if (n > n_bytes || memcmp(data, want->valuestring, n) || (n < n_bytes && data[n]))
            fail_msg("%s: '%s' expected", where, want->valuestring);
        return;
    }
    const cJSON *hex = cJSON_GetObjectItem(want, "hex");
    const cJSON *sha = cJSON_GetObjectItem(want, "sha256");
    if (hex) {
        assert_int_equal(strlen(hex->valuestring), 2 * n_bytes);
        for (size_t i = 0; i < n_bytes; i++) {
            char two[3];
            snprintf(two, sizeof two, "%02x", (unsigned char)data[i]);
            assert_memory_equal(two, hex->valuestring + 2 * i, 2);
        }
        return;
    }
    char digest[TAMIS_HASH_HEX_MAX];
    assert_non_null(sha);
    assert_int_equal(cJSON_GetObjectItem(want, "bytes")->valueint, n_bytes);
    assert_int_equal(tamis_hash_bytes(TAMIS_HASH_SHA256, data, n_bytes, digest, NULL), TAMIS_OK);
    assert_string_equal(digest, sha->valuestring);
}

static void compare_number(const cJSON *want, const tamis_gguf *g, const tamis_gguf_kv *kv,
                           uint64_t i, const char *where) {
    int64_t si = 0;
    uint64_t ui = 0;
    double d = 0;
    assert_true(tamis_gguf_kv_double(g, kv, i, &d));
    if (cJSON_IsBool(want)) {
        bool b = false;
        assert_true(tamis_gguf_kv_bool(g, kv, i, &b));
        assert_int_equal(b, cJSON_IsTrue(want));
    } else if (cJSON_IsNumber(want)) {
        if (d != want->valuedouble) fail_msg("%s: %.17g, expected %.17g", where, d, want->valuedouble);
    } else {
        char text[40];
        assert_true(cJSON_IsString(want));
        if (kv->elem_kind == TAMIS_GGUF_F32 || kv->elem_kind == TAMIS_GGUF_F64)
            snprintf(text, sizeof text, "%s", isnan(d) ? "nan" : d > 0 ? "inf" : "-inf");
        else if (tamis_gguf_kv_uint(g, kv, i, &ui))
            snprintf(text, sizeof text, "%llu", (unsigned long long)ui);
        else if (tamis_gguf_kv_int(g, kv, i, &si))
            snprintf(text, sizeof text, "%lld", (long long)si);
        assert_string_equal(text, want->valuestring);
    }
}

static void compare_value(const cJSON *want, const tamis_gguf *g, const tamis_gguf_kv *kv,
                          const char *where) {
    tamis_bytes text, again;
    if (kv->kind == TAMIS_GGUF_STRING) {
        assert_true(tamis_gguf_kv_string(g, kv, 0, &text));
        compare_text(want, text.data, text.n_bytes, where);
        return;
    }
    if (kv->kind != TAMIS_GGUF_ARRAY) {
        compare_number(want, g, kv, 0, where);
        return;
    }
    assert_string_equal(tamis_gguf_kind_name(kv->elem_kind),
                        cJSON_GetObjectItem(want, "type")->valuestring);
    assert_int_equal(kv->n_elems, cJSON_GetObjectItem(want, "n")->valueint);
    const cJSON *item;
    uint64_t i = 0, cursor = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(want, "values")) {
        if (kv->elem_kind != TAMIS_GGUF_STRING) {
            compare_number(item, g, kv, i++, where);
            continue;
        }
        assert_true(tamis_gguf_kv_next_string(g, kv, &cursor, &text));
        assert_true(tamis_gguf_kv_string(g, kv, i++, &again));
        assert_ptr_equal(text.data, again.data);
        compare_text(item, text.data, text.n_bytes, where);
    }
    assert_int_equal(i, kv->n_elems);
    assert_false(tamis_gguf_kv_next_string(g, kv, &cursor, &text) && cursor);
}

static void compare_metadata(const cJSON *want, const tamis_gguf *g, const char *name) {
    const cJSON *item;
    int32_t i = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(want, "metadata")) {
        assert_true(i < tamis_gguf_n_kv(g));
        tamis_gguf_kv kv = tamis_gguf_kv_at(g, i), found;
        const char *key = cJSON_GetObjectItem(item, "key")->valuestring;
        char where[256];
        snprintf(where, sizeof where, "%s: %.200s", name, key);
        assert_int_equal(kv.key.n_bytes, strlen(key));
        assert_memory_equal(kv.key.data, key, kv.key.n_bytes);
        assert_true(tamis_gguf_find(g, key, &found));
        assert_int_equal(found.index, i);
        assert_string_equal(tamis_gguf_kind_name(kv.kind),
                            cJSON_GetObjectItem(item, "type")->valuestring);
        compare_value(cJSON_GetObjectItem(item, "value"), g, &kv, where);
        i++;
    }
    assert_int_equal(i, tamis_gguf_n_kv(g));
}

static void compare_hash(const void *data, size_t n, const cJSON *want, tamis_hash_kind kind) {
    char digest[TAMIS_HASH_HEX_MAX];
    assert_int_equal(tamis_hash_bytes(kind, data, n, digest, NULL), TAMIS_OK);
    assert_string_equal(digest, want->valuestring);
}

/* Bytes as they lie in the file, and as they are read (little-endian). */
static void compare_data(const cJSON *want, const tamis_gguf *g, const tamis_gguf_tensor *t) {
    size_t n = (size_t)t->n_bytes, n_file;
    char *file = slurp(tamis_gguf_file_path(g, t->i_file), &n_file);
    assert_true(t->file_offset + n <= n_file);
    compare_hash(file + t->file_offset, n, cJSON_GetObjectItem(want, "xxh3_128"),
                 TAMIS_HASH_XXH3_128);
    compare_hash(file + t->file_offset, n, cJSON_GetObjectItem(want, "sha256"), TAMIS_HASH_SHA256);
    const cJSON *le_fast = cJSON_GetObjectItem(want, "xxh3_128_le");
    const cJSON *le = cJSON_GetObjectItem(want, "sha256_le");
    tamis_error err = { 0 };
    void *data = malloc(n);
    assert_non_null(data);
    if (tamis_gguf_read_tensor(g, t, 0, n, data, &err)) fail_msg("%s", err.message);
    compare_hash(data, n, le_fast ? le_fast : cJSON_GetObjectItem(want, "xxh3_128"),
                 TAMIS_HASH_XXH3_128);
    compare_hash(data, n, le ? le : cJSON_GetObjectItem(want, "sha256"), TAMIS_HASH_SHA256);
    assert_int_equal(tamis_gguf_read_tensor(g, t, n, 1, data, &err), TAMIS_BAD_INPUT);
    free(data);
    free(file);
}

static void compare_tensors(const cJSON *want, const tamis_gguf *g) {
    const cJSON *item;
    int64_t i = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(want, "tensors")) {
        assert_true(i < tamis_gguf_n_tensors(g));
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i++);
        const cJSON *ne = cJSON_GetObjectItem(item, "ne");
        assert_string_equal(t->name, cJSON_GetObjectItem(item, "name")->valuestring);
        assert_ptr_equal(tamis_gguf_find_tensor(g, t->name), t);
        assert_string_equal(t->type->name, cJSON_GetObjectItem(item, "type")->valuestring);
        assert_int_equal(t->type_id, cJSON_GetObjectItem(item, "type_id")->valueint);
        assert_int_equal(t->n_dims, cJSON_GetArraySize(ne));
        for (int d = 0; d < 4; d++)
            assert_int_equal(t->ne[d], d < t->n_dims ? cJSON_GetArrayItem(ne, d)->valueint : 1);
        if (tamis_gguf_n_files(g) == 1) /* else the table counts over the set */
            assert_int_equal(t->offset, cJSON_GetObjectItem(item, "offset")->valueint);
        assert_int_equal(t->n_bytes, cJSON_GetObjectItem(item, "size")->valueint);
        assert_true(t->is_size_known);
        compare_data(item, g, t);
    }
    assert_int_equal(i, tamis_gguf_n_tensors(g));
}

static void compare_file(const char *path, const char *json_path, const tamis_gguf_options *o) {
    tamis_error err = { 0 };
    tamis_gguf *g = NULL;
    cJSON *want = slurp_json(json_path);
    if (tamis_gguf_open(path, o, &g, &err)) fail_msg("%s", err.message);
    const cJSON *size = cJSON_GetObjectItem(want, "file_size");
    const cJSON *data_offset = cJSON_GetObjectItem(want, "data_offset");
    if (cJSON_IsNumber(size)) assert_int_equal(tamis_gguf_file_size(g, 0), size->valueint);
    if (cJSON_IsNumber(data_offset))
        assert_int_equal(tamis_gguf_data_offset(g, 0), data_offset->valueint);
    assert_int_equal(tamis_gguf_version(g), cJSON_GetObjectItem(want, "version")->valueint);
    assert_int_equal(tamis_gguf_alignment(g), cJSON_GetObjectItem(want, "alignment")->valueint);
    assert_string_equal(tamis_gguf_is_big_endian(g) ? "big" : "little",
                        cJSON_GetObjectItem(want, "byte_order")->valuestring);
    assert_int_equal(tamis_gguf_trailing_bytes(g), 0);
    assert_true(tamis_gguf_has_file(g, path));
    compare_metadata(want, g, path);
    compare_tensors(want, g);
    tamis_gguf_close(g);
    cJSON_Delete(want);
}

static int i_valid;

static void compare_valid(const char *name) {
    /* The two ways of reading in turn. */
    tamis_gguf_options options = { .single_file = true, .no_map = i_valid++ % 2 };
    compare_file(shared_path("fixtures/gguf/valid/%s.gguf", name),
                 shared_path("fixtures/gguf/valid/%s.json", name), &options);
}

static void test_valid(void **state) {
    (void)state;
    assert_true(for_each_valid_gguf(compare_valid) >= 30);
}

static void test_split_sets(void **state) {
    (void)state;
    for (int i = 1; i <= 3; i++) {
        tamis_gguf *g = NULL;
        const char *path = shared_path("fixtures/gguf/valid/split-%05d-of-00003.gguf", i);
        compare_file(path, shared_path("fixtures/gguf/valid/split.json"), NULL);
        path = shared_path("fixtures/gguf/valid/split-notensors-%05d-of-00003.gguf", i);
        assert_int_equal(tamis_gguf_open(path, NULL, &g, NULL), TAMIS_OK);
        assert_int_equal(tamis_gguf_n_files(g), 3);
        assert_int_equal(tamis_gguf_n_tensors(g), 11);
        tamis_gguf_close(g);
    }
}

/* --- odd --- */

static char findings[1024];

static void keep_finding(void *ctx, const tamis_gguf_finding *f) {
    (void)ctx;
    size_t n = strlen(findings);
    snprintf(findings + n, sizeof findings - n, "%s row %d block %d n %d %s\n", f->tensor,
             (int)f->row, (int)f->block, (int)f->n_bad, tamis_finding_kind_name(f->kind));
}

static tamis_gguf *open_odd(const char *name) {
    tamis_gguf *g = NULL;
    tamis_error err = { 0 };
    tamis_gguf_options options = { .log = &warning_log };
    warnings[0] = 0;
    if (tamis_gguf_open(shared_path("fixtures/gguf/odd/%s", name), &options, &g, &err))
        fail_msg("%s", err.message);
    return g;
}

static void expect_findings(const char *name, const char *want) {
    tamis_gguf *g = open_odd(name);
    int64_t n_bad = 0;
    findings[0] = 0;
    assert_int_equal(tamis_gguf_check_values(g, NULL, keep_finding, NULL, &n_bad, NULL), TAMIS_OK);
    assert_string_equal(findings, want);
    assert_int_equal(n_bad, *want ? 1 : 0);
    tamis_gguf_close(g);
}

static void test_odd_values(void **state) {
    (void)state;
    expect_findings("inf-scale-q8_0.gguf", "a.weight row 1 block 1 n 1 scale\n");
    expect_findings("nan-scale-q4_K.gguf", "a.weight row 0 block 0 n 1 scale\n");
    expect_findings("merge-result-missing.gguf", "");
    expect_findings("architecture-unknown.gguf", "");
    expect_findings("no-architecture.gguf", "");
    expect_findings("type-unknown.gguf", "");
    expect_findings("type-retired.gguf", "");
    tamis_gguf *g = open_odd("nan-f32.gguf");
    int64_t n_bad = 0;
    findings[0] = 0;
    assert_int_equal(tamis_gguf_check_values(g, NULL, keep_finding, NULL, &n_bad, NULL), TAMIS_OK);
    assert_int_equal(n_bad, 1);
    assert_non_null(strstr(findings, "a.weight row 0 "));
    assert_non_null(strstr(findings, "n 2 value"));
    tamis_gguf_close(g);
}

static void test_odd_structure(void **state) {
    (void)state;
    tamis_gguf *g = open_odd("ndims-0.gguf");
    assert_non_null(strstr(warnings, "n_dims 0"));
    bool has_scalar = false;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++)
        has_scalar |= tamis_tensor_n_elems(tamis_gguf_tensor_at(g, i)) == 1;
    assert_true(has_scalar);
    tamis_gguf_close(g);

    g = open_odd("trailing-bytes.gguf");
    assert_true(tamis_gguf_trailing_bytes(g) > 0);
    assert_non_null(strstr(warnings, "after the last tensor"));
    tamis_gguf_close(g);

    static const char *const listed[] = { "type-retired.gguf", "type-unknown.gguf" };
    for (int i = 0; i < 2; i++) {
        g = open_odd(listed[i]);
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, 0), *next = t + 1;
        for (int64_t j = 0; j + 1 < tamis_gguf_n_tensors(g); j++, t++, next++)
            if (!t->type || !t->type->block_elems) break;
        assert_true(t->is_size_known);
        assert_int_equal(t->n_bytes, next->offset - t->offset);
        tamis_gguf_close(g);
    }
    g = open_odd("type-unknown-last.gguf");
    const tamis_gguf_tensor *last = tamis_gguf_tensor_at(g, tamis_gguf_n_tensors(g) - 1);
    char byte;
    assert_null(last->type);
    assert_false(last->is_size_known);
    assert_int_equal(tamis_gguf_read_tensor(g, last, 0, 1, &byte, NULL), TAMIS_BAD_INPUT);
    tamis_gguf_close(g);

    tamis_gguf_close(open_odd("tensor-name-bad-utf8.gguf"));
    tamis_gguf_close(open_odd("tensor-name-control.gguf"));
    g = NULL;
    assert_int_equal(tamis_gguf_open(shared_path("fixtures/gguf/odd/tensor-name-empty.gguf"), NULL,
                                     &g, NULL),
                     TAMIS_BAD_INPUT);
}

/* --- bad --- */

/* Words a message must hold, for files whose reason is easily confused with another. */
static const char *const reasons[][2] = {
    { "add-bos-u8.gguf", "tokenizer.ggml.add_bos_token' must be a bool" },
    { "align-24.gguf", "power of two" },
    { "align-u64.gguf", "general.alignment' must be a u32" },
    { "align-64-layout-32.gguf", "not a multiple of 64" },
    { "array-count-wraps-u64.gguf", "longer than the rest of the file" },
    { "array-depth-bomb.gguf", "nested arrays are not supported" },
    { "array-strings-one-more.gguf", "element 2" },
    { "block-count-huge.gguf", "llama.block_count' is out of range" },
    { "bool-255-in-array.gguf", "element 2: a bool must be 0 or 1" },
    { "bytes-wrap.gguf", "size in bytes overflows" },
    { "cut-inside-padding.gguf", "beyond the end of the file" },
    { "directory.gguf", "directory" },
    { "empty.gguf", "empty" },
    { "eos-out-of-range.gguf", "eos_token_id' is out of range" },
    { "head-count-arr-length.gguf", "has 2 values for 3 layers" },
    { "key-duplicate.gguf", "duplicate key 'x.k'" },
    { "key-nul-hides-duplicate.gguf", "holds a NUL" },
    { "layer-number-overflow.gguf", "out of range" },
    { "layer-number-too-big.gguf", "layer 7 of 2" },
    { "merges-missing-token.gguf", "merge 1 ('q z')" },
    { "ne-product-wraps-to-8.gguf", "number of elements overflows" },
    { "ne1-zero.gguf", "dimension 1 is 0" },
    { "offset-gap.gguf", "gap of 32 bytes" },
    { "offset-order.gguf", "not increasing" },
    { "offset-overlap.gguf", "overlap" },
    { "offset-wraps.gguf", "beyond the end of the file" },
    { "row-not-whole-blocks-q4_K.gguf", "row of 128 is not a multiple of 256" },
    { "scores-count.gguf", "has 1 values for 4 tokens" },
    { "split-count-differs/m-00001-of-00003.gguf", "split.count' differs" },
    { "split-duplicate-part/m-00001-of-00003.gguf", "'split.no' 1 in part 3" },
    { "split-first-not-0/m-00001-of-00003.gguf", "must have 'split.no' 0" },
    { "split-missing/m-00001-of-00003.gguf", "m-00002-of-00003.gguf" },
    { "split-name-disagrees/m-00001-of-00004.gguf", "disagree" },
    { "split-tensor-twice/m-00001-of-00003.gguf", "duplicate tensor 'token_embd.weight'" },
    { "split-total-wrong/m-00001-of-00003.gguf", "is 12 but the set has 11 tensors" },
    { "tokens-duplicate.gguf", "token 'a' twice (0 and 2)" },
    { "version-1.gguf", "version 1" },
    { "version-65536.gguf", "its other byte order" },
};

static void test_bad(void **state) {
    (void)state;
    char *table = slurp(shared_path("fixtures/gguf/bad/README.tsv"), NULL), *save = NULL;
    int n = 0;
    (void)strtok_r(table, "\n", &save); /* heading */
    for (char *line; (line = strtok_r(NULL, "\n", &save)); n++) {
        tamis_gguf *g = NULL;
        tamis_error err = { 0 };
        line[strcspn(line, "\t")] = 0;
        const char *path = shared_path("fixtures/gguf/bad/%s", line);
        tamis_status st = tamis_gguf_open(path, NULL, &g, &err);
        if (st != TAMIS_BAD_INPUT) fail_msg("%s: status %d", line, st);
        assert_null(g);
        assert_int_equal(err.code, TAMIS_BAD_INPUT);
        if (!strstr(err.message, ".gguf") || strchr(err.message, '\n'))
            fail_msg("%s: message '%s'", line, err.message);
        for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
            if (!strcmp(reasons[i][0], line) && !strstr(err.message, reasons[i][1]))
                fail_msg("%s: '%s' does not say '%s'", line, err.message, reasons[i][1]);
    }
    free(table);
    assert_true(n >= 120);
}

static void test_gaps_on_request(void **state) {
    (void)state;
    tamis_gguf *g = NULL;
    tamis_gguf_options options = { .allow_gaps = true };
    assert_int_equal(tamis_gguf_open(shared_path("fixtures/gguf/bad/offset-gap.gguf"), &options, &g,
                                     NULL),
                     TAMIS_OK);
    tamis_gguf_close(g);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),         cmocka_unit_test(test_split_sets),
        cmocka_unit_test(test_odd_values),    cmocka_unit_test(test_odd_structure),
        cmocka_unit_test(test_bad),           cmocka_unit_test(test_gaps_on_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
