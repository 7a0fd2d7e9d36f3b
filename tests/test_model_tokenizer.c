/* test_model_tokenizer.c - ids of the reference vocabularies, id for id: texts, cases and
 * invalid bytes, plain and special, with every pre-tokenizer; and the text back. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer.h"

#define DIR "fixtures/tokenizers/"

typedef struct vocabulary {
    char *data;
    tamis_gguf *g;
    tamis_tokenizer *t;
} vocabulary;

/* Open a vocabulary; `pre` replaces the value of the last key when not NULL. */
static vocabulary open_vocabulary(const char *name, const char *pre) {
    vocabulary v = {0};
    size_t n;
    tamis_error err;
    v.data = slurp(shared_path(DIR "%s.gguf", name), &n);
    if (pre) {
        static const char key[] = "tokenizer.ggml.pre";
        uint64_t n_pre = strlen(pre);
        char *at = memmem(v.data, n, key, strlen(key));
        assert_non_null(at);
        size_t keep = (size_t)(at - v.data) + strlen(key) + 4;
        n = (keep + 8 + n_pre + 31) / 32 * 32;
        v.data = realloc(v.data, n);
        assert_non_null(v.data);
        memset(v.data + keep, 0, n - keep);
        memcpy(v.data + keep, &n_pre, 8);
        memcpy(v.data + keep + 8, pre, n_pre);
    }
    if (tamis_gguf_open_memory(v.data, n, NULL, &v.g, &err) ||
        tamis_tokenizer_new(v.g, &v.t, &err))
        fail_msg("%s with pre %s: %s", name, pre ? pre : "of the file", err.message);
    return v;
}

static void close_vocabulary(vocabulary *v) {
    tamis_tokenizer_free(v->t);
    tamis_gguf_close(v->g);
    free(v->data);
}

/* Numbers up to the end of a list: "]" or the end of the line. Moves *at behind it. */
static tamis_tokens read_ids(const char **at) {
    tamis_tokens ids = {0};
    const char *p = *at;
    ids.ids = calloc(strlen(p) / 2 + 1, sizeof *ids.ids);
    for (; *p && *p != '\n' && *p != ']'; p++) {
        if (*p < '0' || *p > '9') continue;
        char *end;
        ids.ids[ids.n_ids++] = (int32_t)strtol(p, &end, 10);
        p = end - 1;
    }
    while (*p == ']' || *p == '\n') {
        p++;
        if (p[-1] == '\n') break;
    }
    *at = p;
    return ids;
}

static void check_ids(const vocabulary *v, const char *what, const char *text, size_t n,
                      bool special, const char **expected) {
    tamis_tokens want = read_ids(expected), got = {0};
    tamis_error err;
    if (tamis_tokenize(v->t, text, n, special, special, &got, &err)) fail_msg("%s", err.message);
    uint64_t i = 0;
    while (i < want.n_ids && i < got.n_ids && want.ids[i] == got.ids[i]) i++;
    if (i < want.n_ids || i < got.n_ids)
        fail_msg("%s, '%.40s': token %llu is %d, expected %d (%llu ids, expected %llu)", what, text,
                 (unsigned long long)i, i < got.n_ids ? got.ids[i] : -1,
                 i < want.n_ids ? want.ids[i] : -1, (unsigned long long)got.n_ids,
                 (unsigned long long)want.n_ids);
    tamis_tokens_release(&want);
    tamis_tokens_release(&got);
}

static void check_text(const vocabulary *v, const char *name, const char *suffix, bool special) {
    size_t n;
    char *text = slurp(shared_path(DIR "text.txt"), &n);
    char *list = slurp(shared_path(DIR "%s.%s", name, suffix), NULL);
    const char *at = list;
    char what[128];
    snprintf(what, sizeof what, "%s.%s", name, suffix);
    check_ids(v, what, text, n, special, &at);
    free(text);
    free(list);
}

static void check_cases(const vocabulary *v, const char *name, const char *suffix,
                        const char *input, const char *separator, bool special) {
    size_t n, n_sep = strlen(separator);
    char *text = slurp(shared_path(DIR "%s", input), &n);
    char *lists = slurp(shared_path(DIR "%s.%s", name, suffix), NULL);
    const char *at = lists, *begin = text;
    int i_case = 0;
    for (; *at; i_case++) {
        char *end = memmem(begin, (size_t)(text + n - begin), separator, n_sep);
        char what[128];
        if (!end) end = text + n;
        snprintf(what, sizeof what, "%s.%s case %d", name, suffix, i_case);
        check_ids(v, what, begin, (size_t)(end - begin), special, &at);
        begin = end < text + n ? end + n_sep : end;
    }
    assert_true(i_case > 40);
    free(text);
    free(lists);
}

static void check_raw(const vocabulary *v, const char *name) {
    size_t n;
    char *text = slurp(shared_path(DIR "raw.bin"), &n);
    char *lists = slurp(shared_path(DIR "%s.raw.ids", name), NULL);
    const char *at = lists;
    check_ids(v, name, text, n, false, &at);
    check_ids(v, name, text, n, true, &at);
    free(text);
    free(lists);
}

/* Everything the fixtures have for one vocabulary and pre. */
static void check_all(const char *vocab, const char *pre, bool has_special) {
    vocabulary v = open_vocabulary(vocab, pre);
    char name[128];
    snprintf(name, sizeof name, "%s%s%s", vocab, pre ? "." : "", pre ? pre : "");
    check_text(&v, name, "text.ids", false);
    check_cases(&v, name, "cases.out", "cases.inp", "\n__case__\n", false);
    if (has_special) {
        check_text(&v, name, "text-special.ids", true);
        check_cases(&v, name, "cases-special.out", "cases.inp", "\n__case__\n", true);
        check_raw(&v, name);
    }
    close_vocabulary(&v);
}

static void test_pre_tokenizers_both_modes(void **state) {
    (void)state;
    static const char *const pres[] = {
        "default", "gpt-2", "llama-bpe", "glm4", "qwen2", "qwen35", "deepseek-llm",
        "deepseek-coder", "deepseek-v3", "gpt-4o", "tekken", "kimi-k2", "starcoder", "falcon"};
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) check_all("small-bpe", pres[i], true);
}

static void test_pre_tokenizers_plain(void **state) {
    (void)state;
    static const char *const pres[] = {
        "smaug-bpe", "minicpm5", "youtu", "granite-embed-multi-97m", "bailingmoe", "seed-coder",
        "exaone-moe", "superbpe", "laguna", "afmoe", "jais-2", "viking", "poro-chat", "tiny_aya"};
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) check_all("small-bpe", pres[i], false);
}

static void test_missing_byte_tokens(void **state) {
    (void)state;
    check_all("small-bpe-holes", "qwen2", true);
    check_all("small-bpe-holes", "llama-bpe", true);
}

static void test_published_vocabularies(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2", "gpt-2", "deepseek-llm", "deepseek-coder",
                                        "starcoder", "falcon"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char input[64];
        snprintf(input, sizeof input, "%s.inp", names[i]);
        vocabulary v = open_vocabulary(names[i], NULL);
        check_cases(&v, names[i], "out", input, "\n__ggml_vocab_test__\n", false);
        close_vocabulary(&v);
        check_all(names[i], NULL, true);
    }
    check_all("qwen2", "qwen35", true);
}

static void check_text_back(const char *vocab, const char *pre, const char *expected) {
    vocabulary v = open_vocabulary(vocab, pre);
    size_t n, n_back, n_want;
    char *text = slurp(shared_path(DIR "text.txt"), &n), *back;
    char *want = slurp(shared_path(DIR "%s", expected), &n_want);
    tamis_tokens ids = {0};
    tamis_error err;
    assert_int_equal(tamis_tokenize(v.t, text, n, false, false, &ids, &err), TAMIS_OK);
    assert_int_equal(tamis_detokenize(v.t, ids.ids, ids.n_ids, true, &back, &n_back, &err),
                     TAMIS_OK);
    assert_int_equal(n_back, n_want);
    assert_memory_equal(back, want, n_want);
    tamis_tokens_release(&ids);
    free(back);
    free(want);
    free(text);
    close_vocabulary(&v);
}

/* Nothing is cleaned up: the text comes back whole, but for pieces the vocabulary lacks. */
static void test_text_back(void **state) {
    (void)state;
    check_text_back("small-bpe", "qwen2", "text.txt");
    check_text_back("small-bpe", "llama-bpe", "text.txt");
    check_text_back("qwen2", NULL, "text.txt");
    check_text_back("gpt-2", NULL, "text.txt");
    check_text_back("small-bpe-holes", "qwen2", "small-bpe-holes.qwen2.text.detok");
}

/* Surrogates, overlong forms, NUL: the valid stretches come back, each bad byte as U+FFFD. */
static void test_hostile_bytes(void **state) {
    (void)state;
    size_t n, n_back;
    char *text = slurp(shared_path(DIR "hostile.bin"), &n), *back;
    text = realloc(text, n + 4);
    assert_non_null(text);
    memcpy(text + n, " end", 4);
    n += 4;
    static const char *const pres[] = {"qwen2", "default", "deepseek-llm", "gpt-4o", "superbpe"};
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
        vocabulary v = open_vocabulary("small-bpe", pres[i]);
        tamis_tokens ids = {0};
        tamis_error err;
        assert_int_equal(tamis_tokenize(v.t, text, n, true, true, &ids, &err), TAMIS_OK);
        assert_int_equal(tamis_detokenize(v.t, ids.ids, ids.n_ids, true, &back, &n_back, &err),
                         TAMIS_OK);
        assert_true(n_back >= n);
        assert_non_null(memmem(back, n_back, "\xEF\xBF\xBD", 3));
        assert_memory_equal(back + n_back - 4, " end", 4);
        tamis_tokens_release(&ids);
        free(back);
        close_vocabulary(&v);
    }
    free(text);
}

/* One call appends to what is there, and on failure leaves it. */
static void test_appends(void **state) {
    (void)state;
    vocabulary v = open_vocabulary("small-bpe", "llama-bpe");
    tamis_tokens ids = {0};
    tamis_error err;
    assert_true(tamis_tokenizer_adds_bos(v.t));
    assert_int_equal(tamis_tokenize(v.t, "", 0, true, false, &ids, &err), TAMIS_OK);
    assert_int_equal(ids.n_ids, 1);
    assert_int_equal(ids.ids[0], tamis_tokenizer_bos(v.t));
    assert_int_equal(tamis_tokenize(v.t, "", 0, false, false, &ids, &err), TAMIS_OK);
    assert_int_equal(ids.n_ids, 1);
    assert_int_equal(tamis_tokenize(v.t, "a", 1, false, false, &ids, &err), TAMIS_OK);
    assert_int_equal(ids.n_ids, 2);
    tamis_tokens_release(&ids);
    close_vocabulary(&v);
}

static void test_other_kinds_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *file, *message;
    } refused[] = {
        {"small-spm", "tokenizer kind 'llama' (SentencePiece) is not supported yet"},
        {"small-gemma4", "tokenizer kind 'gemma4'"},
    };
    for (size_t i = 0; i < 2; i++) {
        tamis_gguf *g;
        tamis_tokenizer *t;
        tamis_error err;
        assert_int_equal(
            tamis_gguf_open(shared_path(DIR "%s.gguf", refused[i].file), NULL, &g, &err), TAMIS_OK);
        assert_int_equal(tamis_tokenizer_new(g, &t, &err), TAMIS_BAD_INPUT);
        assert_null(t);
        if (!strstr(err.message, refused[i].message)) fail_msg("%s", err.message);
        tamis_gguf_close(g);
    }
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pre_tokenizers_both_modes),
        cmocka_unit_test(test_pre_tokenizers_plain),
        cmocka_unit_test(test_missing_byte_tokens),
        cmocka_unit_test(test_published_vocabularies),
        cmocka_unit_test(test_text_back),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_other_kinds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
