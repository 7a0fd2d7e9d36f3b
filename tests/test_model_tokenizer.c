/* test_model_tokenizer.c - ids of the reference vocabularies, id for id: texts, cases and
 * invalid bytes, plain and special, with every pre-tokenizer; and the text back. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/tokenizer.h"

#define FOLDER "fixtures/tokenizers"

static int n_files; /* of expected values, compared so far */

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
    v.data = slurp(shared_path(FOLDER "/%s.gguf", name), &n);
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
    char *text = slurp(shared_path(FOLDER "/text.txt"), &n);
    char *list = slurp(shared_path(FOLDER "/%s.%s", name, suffix), NULL);
    const char *at = list;
    char what[128];
    snprintf(what, sizeof what, "%s.%s", name, suffix);
    check_ids(v, what, text, n, special, &at);
    n_files++;
    free(text);
    free(list);
}

static void check_cases(const vocabulary *v, const char *name, const char *suffix,
                        const char *input, const char *separator, bool special) {
    size_t n, n_sep = strlen(separator);
    char *text = slurp(shared_path(FOLDER "/%s", input), &n);
    char *lists = slurp(shared_path(FOLDER "/%s.%s", name, suffix), NULL);
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
    n_files++;
    free(text);
    free(lists);
}

static void check_raw(const vocabulary *v, const char *name) {
    size_t n;
    char *text = slurp(shared_path(FOLDER "/raw.bin"), &n);
    char *lists = slurp(shared_path(FOLDER "/%s.raw.ids", name), NULL);
    const char *at = lists;
    check_ids(v, name, text, n, false, &at);
    check_ids(v, name, text, n, true, &at);
    n_files++;
    free(text);
    free(lists);
}

static bool is_there(const char *name, const char *suffix) {
    return access(shared_path(FOLDER "/%s.%s", name, suffix), R_OK) == 0;
}

/* The text that ids stand for, where the fixtures have it. */
static void check_text_back(const vocabulary *v, const char *name) {
    if (!is_there(name, "text.detok")) return;
    size_t n, n_back, n_want;
    char *text = slurp(shared_path(FOLDER "/text.txt"), &n), *back;
    char *want = slurp(shared_path(FOLDER "/%s.text.detok", name), &n_want);
    tamis_tokens ids = {0};
    tamis_error err;
    assert_int_equal(tamis_tokenize(v->t, text, n, false, false, &ids, &err), TAMIS_OK);
    assert_int_equal(tamis_detokenize_text(v->t, ids.ids, ids.n_ids, true, &back, &n_back, &err),
                     TAMIS_OK);
    size_t i = 0;
    while (i < n_want && i < n_back && want[i] == back[i]) i++;
    if (i < n_want || i < n_back)
        fail_msg("%s.text.detok: byte %zu: '%.20s', expected '%.20s'", name, i, back + i, want + i);
    n_files++;
    tamis_tokens_release(&ids);
    free(back);
    free(want);
    free(text);
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
    if (is_there(name, "out")) {
        char input[160];
        snprintf(input, sizeof input, "%s.inp", name);
        check_cases(&v, name, "out", input, "\n__ggml_vocab_test__\n", false);
    }
    check_text_back(&v, name);
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
                                        "starcoder", "falcon", "llama-spm", "phi-3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_all(names[i], NULL, true);
    check_all("qwen2", "qwen35", true);
}

/* SentencePiece with and without the space before a text, Gemma's runs of spaces, equal scores;
 * and merging on characters. */
static void test_other_kinds(void **state) {
    (void)state;
    static const char *const names[] = {"small-spm", "small-spm-nospace", "small-spm-gemma",
                                        "small-gemma4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_all(names[i], NULL, true);
}

/* Every file of expected values was looked at. */
static bool is_expectation(const char *name) {
    static const char *const endings[] = {".ids", ".out", ".detok"};
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(name), n_end = strlen(endings[i]);
        if (n > n_end && strcmp(name + n - n_end, endings[i]) == 0) return true;
    }
    return false;
}

static void test_nothing_was_left_out(void **state) {
    (void)state;
    int n_expected = 0;
    DIR *folder = opendir(shared_path(FOLDER));
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        n_expected += is_expectation(entry->d_name);
    closedir(folder);
    print_message("%d files of expected values\n", n_files);
    assert_int_equal(n_files, n_expected);
}

/* Pieces side by side: the text comes back whole, but for what the vocabulary adds. */
static void check_pieces(const char *vocab, const char *pre, const char *before) {
    vocabulary v = open_vocabulary(vocab, pre);
    size_t n, n_back, n_before = strlen(before);
    char *text = slurp(shared_path(FOLDER "/text.txt"), &n), *back;
    tamis_tokens ids = {0};
    tamis_error err;
    assert_int_equal(tamis_tokenize(v.t, text, n, false, false, &ids, &err), TAMIS_OK);
    assert_int_equal(tamis_detokenize(v.t, ids.ids, ids.n_ids, true, &back, &n_back, &err),
                     TAMIS_OK);
    assert_memory_equal(back, before, n_before);
    assert_int_equal(n_back - n_before, n);
    assert_memory_equal(back + n_before, text, n);
    tamis_tokens_release(&ids);
    free(back);
    free(text);
    close_vocabulary(&v);
}

static void test_pieces_are_the_text(void **state) {
    (void)state;
    check_pieces("small-bpe", "qwen2", "");
    check_pieces("small-bpe", "llama-bpe", "");
    check_pieces("small-bpe", "default", "");
    check_pieces("qwen2", NULL, "");
    check_pieces("gpt-2", NULL, "");
}

/* Surrogates, overlong forms, NUL: the valid stretches come back, each bad byte as U+FFFD or,
 * from SentencePiece, as itself. */
static void test_hostile_bytes(void **state) {
    (void)state;
    size_t n, n_back;
    char *text = slurp(shared_path(FOLDER "/hostile.bin"), &n), *back;
    text = realloc(text, n + 4);
    assert_non_null(text);
    memcpy(text + n, " end", 4);
    n += 4;
    static const struct {
        const char *vocabulary, *pre;
        bool keeps_bytes; /* what is not UTF-8 comes back as it was */
    } cases[] = {{"small-bpe", "qwen2", false},        {"small-bpe", "default", false},
                 {"small-bpe", "deepseek-llm", false}, {"small-bpe", "gpt-4o", false},
                 {"small-bpe", "superbpe", false},     {"small-spm", NULL, true},
                 {"small-spm-gemma", NULL, true},      {"small-gemma4", NULL, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vocabulary v = open_vocabulary(cases[i].vocabulary, cases[i].pre);
        tamis_tokens ids = {0};
        tamis_error err;
        assert_int_equal(tamis_tokenize(v.t, text, n, true, true, &ids, &err), TAMIS_OK);
        assert_int_equal(tamis_detokenize(v.t, ids.ids, ids.n_ids, true, &back, &n_back, &err),
                         TAMIS_OK);
        assert_true(n_back >= n);
        assert_memory_equal(back + n_back - 4, " end", 4);
        if (!cases[i].keeps_bytes) assert_non_null(memmem(back, n_back, "\xEF\xBF\xBD", 3));
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

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pre_tokenizers_both_modes),
        cmocka_unit_test(test_pre_tokenizers_plain),
        cmocka_unit_test(test_missing_byte_tokens),
        cmocka_unit_test(test_published_vocabularies),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_nothing_was_left_out),
        cmocka_unit_test(test_pieces_are_the_text),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
