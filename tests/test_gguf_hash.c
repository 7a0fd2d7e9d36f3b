/* test_gguf_hash.c - digests against those of the reference .json files, the same for any number
 * of workers; the model digest over what it covers and what it does not; manifests. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "gguf/hash.h"
#include "gguf/manifest.h"

static char lines[1 << 16];

static void keep_line(void *ctx, const tamis_digest_line *line) {
    const char *name = line->tensor ? line->tensor->name : "";
    const size_t n = strlen(lines);
    (void)ctx;
    snprintf(lines + n, sizeof lines - n, "%s %d %s %s\n", tamis_digest_name(line->kind),
             line->scope, name, line->text);
}

static void hash_path(const char *path, const tamis_gguf_options *reading,
                      const tamis_digest_options *options) {
    tamis_error err = { 0 };
    tamis_gguf *g = NULL;
    lines[0] = 0;
    if (tamis_gguf_open(path, reading, &g, &err)) fail_msg("%s", err.message);
    if (tamis_gguf_hash(g, options, keep_line, NULL, &err)) fail_msg("%s", err.message);
    tamis_gguf_close(g);
}

static void compare(const char *name) {
    const tamis_gguf_options reading = { .single_file = true };
    const tamis_digest_options options = {
        .wants = { [TAMIS_DIGEST_XXH3_128] = true, [TAMIS_DIGEST_SHA256] = true }
    };
    cJSON *want = slurp_json(shared_path("fixtures/gguf/valid/%s.json", name)), *tensor;
    hash_path(shared_path("fixtures/gguf/valid/%s.gguf", name), &reading, &options);
    cJSON_ArrayForEach(tensor, cJSON_GetObjectItem(want, "tensors")) {
        static const char *const kinds[][2] = { { "xxh3-128", "xxh3_128" }, { "sha256", "sha256" } };
        for (int k = 0; k < 2; k++) {
            char line[256];
            snprintf(line, sizeof line, "%s 0 %s %s\n", kinds[k][0],
                     cJSON_GetObjectItem(tensor, "name")->valuestring,
                     cJSON_GetObjectItem(tensor, kinds[k][1])->valuestring);
            if (!strstr(lines, line)) fail_msg("%s: no line %s", name, line);
        }
    }
    cJSON_Delete(want);
}

static void test_fixtures(void **state) {
    (void)state;
    assert_true(for_each_valid_gguf(compare) >= 30);
}

static void test_any_number_of_workers(void **state) {
    tamis_digest_options options = { .wants = { true, true, true, true, true },
                                     .wants_model = { true, true, true, true, false } };
    static char first[sizeof lines];
    (void)state;
    for (int n = 1; n <= 5; n += 2) {
        assert_int_equal(tamis_pool_new(n, &options.pool, NULL), TAMIS_OK);
        hash_path(source_path("testdata/tiny-qwen3.gguf"), NULL, &options);
        tamis_pool_free(options.pool);
        if (n == 1) memcpy(first, lines, sizeof lines);
        assert_string_equal(lines, first);
    }
}

/* --- the model digest --- */

typedef struct little {
    const char *key, *value, *name;
    uint64_t ne0, ne1;
    int alignment;
    bool is_reversed;
} little;

static void add_key(tamis_gguf_writer *w, const char *key, const char *value) {
    assert_int_equal(tamis_gguf_set_string(w, key, value, strlen(value), NULL), TAMIS_OK);
}

/* The model digest of a file of two keys and two tensors. */
static void digest_of(const little *m, char out[TAMIS_HASH_HEX_MAX]) {
    static const float data[64] = { 1, 2, 3 };
    const uint64_t ne[2] = { m->ne0, m->ne1 }, one[1] = { 64 };
    tamis_gguf_writer *w = NULL;
    char path[4200];
    snprintf(path, sizeof path, "%s/little.gguf", temp_dir());
    assert_int_equal(tamis_gguf_writer_new(&w, NULL), TAMIS_OK);
    if (m->is_reversed) add_key(w, m->key, m->value);
    add_key(w, "general.architecture", "none");
    if (!m->is_reversed) add_key(w, m->key, m->value);
    if (m->alignment)
        assert_int_equal(tamis_gguf_set_uint(w, "general.alignment", TAMIS_GGUF_U32,
                                             (uint64_t)m->alignment, NULL),
                         TAMIS_OK);
    for (int i = 0; i < 2; i++) {
        const bool is_last = (i == 1) != m->is_reversed;
        assert_int_equal(is_last ? tamis_gguf_add_tensor(w, "z", 0, 1, one, NULL)
                                 : tamis_gguf_add_tensor(w, m->name, 0, 2, ne, NULL),
                         TAMIS_OK);
    }
    assert_int_equal(tamis_gguf_begin(w, path, NULL), TAMIS_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tamis_gguf_write_data(w, data, sizeof data, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_commit(w, NULL), TAMIS_OK);
    tamis_gguf_writer_free(w);
    const tamis_digest_options options = { .wants_model = { [TAMIS_DIGEST_XXH3_128] = true } };
    hash_path(path, NULL, &options);
    assert_int_equal(sscanf(lines, "xxh3-128 2 %64s", out), 1);
}

static void test_model_digest(void **state) {
    static const little base = { "k", "v", "a", 8, 8, 0, false };
    static const little same[] = {
        { "k", "v", "a", 8, 8, 64, false },
        { "k", "v", "a", 8, 8, 0, true },
    };
    static const little other[] = {
        { "j", "v", "a", 8, 8, 0, false }, { "k", "w", "a", 8, 8, 0, false },
        { "k", "v", "b", 8, 8, 0, false }, { "k", "v", "a", 4, 16, 0, false },
        { "k", "v", "a", 64, 1, 0, false },
    };
    char want[TAMIS_HASH_HEX_MAX], have[TAMIS_HASH_HEX_MAX];
    (void)state;
    digest_of(&base, want);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        digest_of(&same[i], have);
        assert_string_equal(have, want);
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        digest_of(&other[i], have);
        assert_string_not_equal(have, want);
    }
}

/* The digest as hash.h spells it out, of bytes put together here. */
static void test_model_digest_bytes(void **state) {
    static const little m = { "k", "v", "a", 8, 8, 0, false };
    static const float data[64] = { 1, 2, 3 };
    char bytes[512], digest[TAMIS_HASH_HEX_MAX], want[TAMIS_HASH_HEX_MAX], have[TAMIS_HASH_HEX_MAX];
    size_t n = 0;
    (void)state;
    assert_int_equal(tamis_hash_bytes(TAMIS_HASH_XXH3_128, data, sizeof data, digest, NULL), 0);
#define PUT(text) (memcpy(bytes + n, text, sizeof text - 1), n += sizeof text - 1)
    PUT("tamis-model-1\n\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0");
    PUT("\24\0\0\0\0\0\0\0general.architecture\10\0\0\0\4\0\0\0\0\0\0\0none");
    PUT("\1\0\0\0\0\0\0\0k\10\0\0\0\1\0\0\0\0\0\0\0v");
    PUT("\1\0\0\0\0\0\0\0a\2\0\0\0\10\0\0\0\0\0\0\0\10\0\0\0\0\0\0\0\0\0\0\0");
    memcpy(bytes + n, digest, strlen(digest));
    n += strlen(digest);
    PUT("\1\0\0\0\0\0\0\0z\1\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0");
    memcpy(bytes + n, digest, strlen(digest));
    n += strlen(digest);
#undef PUT
    assert_int_equal(tamis_hash_bytes(TAMIS_HASH_XXH3_128, bytes, n, want, NULL), TAMIS_OK);
    digest_of(&m, have);
    assert_string_equal(have, want);
}

/* --- manifests --- */

static tamis_manifest *manifest_of(const char *text) {
    tamis_manifest *m = NULL;
    tamis_error err = { 0 };
    char path[4200];
    snprintf(path, sizeof path, "%s/sums", temp_dir());
    assert_int_equal(tamis_write_file(path, text, strlen(text), NULL), TAMIS_OK);
    if (tamis_manifest_read(path, &m, &err)) assert_int_equal(err.code, TAMIS_BAD_INPUT);
    return m;
}

static void test_manifest_lines(void **state) {
    static const char *const bad[] = {
        "", "\n\n# nothing\n", "xxh64 0123456789abcdef", "xxh64  0123456789abcdef  ",
        "xxh64  0123456789abcde  f.gguf", "xxh64  0123456789abcdeg  f.gguf",
        "xxh64  0123456789abcdef  f.gguf\nxxh64  0123456789abcdee  f.gguf\n",
        "some text of another kind\n", "md5  00  f.gguf\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (manifest_of(bad[i])) fail_msg("manifest %zu is not refused", i);
    tamis_manifest *m = manifest_of("# a\r\nXXH\n");
    assert_null(m);
    m = manifest_of("xxh64     0123456789ABCDEF  f.gguf\r\n\nxxh64  0123456789abcdef  f.gguf");
    assert_non_null(m);
    tamis_verdict verdict;
    const tamis_digest_line line = { TAMIS_DIGEST_XXH64, TAMIS_DIGEST_OF_DATA, NULL,
                                     "0123456789abcdef" };
    assert_int_equal(tamis_manifest_select(m, "dir/f.gguf", NULL), TAMIS_OK);
    assert_int_equal(tamis_manifest_compare(m, &line, &verdict, NULL), TAMIS_OK);
    assert_int_equal(verdict, TAMIS_VERDICT_OK);
    tamis_manifest_free(m);
}

static void test_manifest_selects(void **state) {
#define D "xxh64  0123456789abcdef  "
    static const struct {
        const char *text, *file;
        tamis_status status;
        bool has_tensors;
    } cases[] = {
        { D "a/m.gguf\n" D "b/m.gguf:t\n", "b/m.gguf", TAMIS_OK, true },
        { D "a/m.gguf\n" D "b/m.gguf:t\n", "a/m.gguf", TAMIS_OK, false },
        { D "a/m.gguf\n" D "b/m.gguf:t\n", "c/m.gguf", TAMIS_BAD_INPUT, false },
        { D "a/m.gguf\n" D "b/n.gguf:t\n", "c/n.gguf", TAMIS_OK, true },
        { D "a/m.gguf\n" D "b/n.gguf:t\n", "c/x.gguf", TAMIS_CHECK_FAILED, false },
        { D "a/m.gguf\n" D "a/m.gguf:t\n" D "a/m.gguf#model\n", "x", TAMIS_OK, true },
        { D "c:m.gguf\n" D "c:m.gguf:t:u\n", "x", TAMIS_OK, true },
        { D "plain:t\n", "x", TAMIS_OK, true },
    };
#undef D
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tamis_manifest *m = manifest_of(cases[i].text);
        tamis_digest_options options = { 0 };
        assert_non_null(m);
        const tamis_status st = tamis_manifest_select(m, cases[i].file, NULL);
        if (st != cases[i].status) fail_msg("case %zu: status %d", i, st);
        if (!st) tamis_manifest_wants(m, NULL, &options);
        if (!st && options.no_tensors == cases[i].has_tensors) fail_msg("case %zu: tensors", i);
        tamis_manifest_free(m);
    }
}

/* Every byte of a manifest changed, every length of it: read, or refused with a message. */
static void test_manifest_mutations(void **state) {
    static const char sound[] = "xxh64     0123456789abcdef  f.gguf:t\nxxh64     0123456789abcdef  "
                                "f.gguf\nuuid      25543948-a233-547c-8967-29a7bf9bb264  f.gguf\n";
    char path[4200], text[sizeof sound];
    (void)state;
    snprintf(path, sizeof path, "%s/sums", temp_dir());
    for (size_t i = 0; i < 4 * (sizeof sound - 1); i++) {
        static const char bytes[] = { 0, '\n', ' ' };
        const size_t at = i / 4;
        tamis_manifest *m = NULL;
        tamis_error err = { 0 };
        memcpy(text, sound, sizeof sound);
        if (i % 4 < 3) text[at] = bytes[i % 4];
        const size_t n = i % 4 < 3 ? sizeof sound - 1 : at;
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, n, f), n);
        fclose(f);
        const tamis_status st = tamis_manifest_read(path, &m, &err);
        if (st && (st != TAMIS_BAD_INPUT || m || !strstr(err.message, "sums")))
            fail_msg("byte %zu: status %d, '%s'", at, st, err.message);
        if (!st) (void)!tamis_manifest_select(m, "f.gguf", &err);
        tamis_manifest_free(m);
    }
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),       cmocka_unit_test(test_any_number_of_workers),
        cmocka_unit_test(test_model_digest),   cmocka_unit_test(test_model_digest_bytes),
        cmocka_unit_test(test_manifest_lines), cmocka_unit_test(test_manifest_selects),
        cmocka_unit_test(test_manifest_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
