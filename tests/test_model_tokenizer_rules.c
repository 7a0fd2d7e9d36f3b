/* test_model_tokenizer_rules.c - rules on vocabularies made here: merging against a naive
 * version of it, special tokens, defaults, bad keys, long and random input. */
#include "support_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/bpe.h"
#include "model/pretokenizer.h"
#include "model/tokenizer.h"
#include "model/unicode.h"

static tamis_error err;

#define EXPECT(t, text, special, ...) VOCAB_EXPECT(t, text, false, special, __VA_ARGS__)

/* --- special tokens and defaults --- */

static void test_longest_special_first(void **state) {
    (void)state;
    vocab_file f;
    tamis_tokenizer *t;
    vocab_begin(&f, "gpt2", "qwen2");
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b", "c", "ab", "bcc", "<x>", "", "<|im_end|>");
    VOCAB_TEXTS(&f, "tokenizer.ggml.merges", "a b");
    vocab_put_types(&f, (const int32_t[]){1, 1, 1, 4, 4, 3, 1, 4}, 8);
    assert_int_equal(vocab_build(&f, &t, &err), TAMIS_OK);
    assert_int_equal(tamis_tokenizer_n_vocab(t), 8);
    EXPECT(t, "abcc", false, 0, 4);       /* the longer one although it begins later */
    EXPECT(t, "abab", false, 3, 3);
    EXPECT(t, "a<x>b", true, 0, 5, 1);
    EXPECT(t, "a<x>b", false, 0, 1);      /* its bytes are no tokens: they vanish */
    EXPECT(t, "a<|im_end|>", true, 0, 7); /* ends a turn: CONTROL although typed user-defined */
    EXPECT(t, "a<|im_end|>", false, 0);
    char *text;
    size_t n;
    assert_int_equal(tamis_detokenize(t, (const int32_t[]){0, 5, 6, 7}, 4, false, &text, &n, &err),
                     TAMIS_OK);
    assert_string_equal(text, "a[EMPTY_6]");
    free(text);
    assert_int_equal(tamis_detokenize(t, (const int32_t[]){0, 5}, 2, true, &text, &n, &err),
                     TAMIS_OK);
    assert_string_equal(text, "a<x>");
    free(text);
    assert_int_equal(tamis_detokenize(t, (const int32_t[]){0, 8}, 2, true, &text, &n, &err),
                     TAMIS_BAD_INPUT);
    assert_null(text);
    tamis_tokenizer_free(t);
}

static void test_defaults(void **state) {
    (void)state;
    vocab_file f;
    tamis_tokenizer *t;
    vocab_begin(&f, "gpt2", NULL);
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l");
    VOCAB_TEXTS(&f, "tokenizer.ggml.merges", "a b");
    vocab_put_key(&f, "tokenizer.ggml.eos_token_id", TAMIS_GGUF_U32);
    vocab_put_u32(&f, 3);
    vocab_put_key(&f, "tokenizer.ggml.add_eos_token", TAMIS_GGUF_BOOL);
    vocab_put(&f, "\1", 1);
    assert_int_equal(vocab_build(&f, &t, &err), TAMIS_OK);
    assert_int_equal(tamis_tokenizer_bos(t), 11);
    assert_int_equal(tamis_tokenizer_eos(t), 3);
    assert_false(tamis_tokenizer_adds_bos(t));
    tamis_tokens ids = {0};
    assert_int_equal(tamis_tokenize(t, "ab", 2, true, false, &ids, &err), TAMIS_OK);
    assert_int_equal(ids.n_ids, 3); /* "ab" is no token: its letters, then EOS */
    assert_int_equal(ids.ids[2], 3);
    tamis_tokens_release(&ids);
    tamis_tokenizer_free(t);
}

static void hash_of(const char *pre, const char *last, char hex[33]) {
    vocab_file f;
    tamis_tokenizer *t;
    vocab_begin(&f, "gpt2", pre);
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b", last);
    VOCAB_TEXTS(&f, "tokenizer.ggml.merges", "a b");
    assert_int_equal(vocab_build(&f, &t, &err), TAMIS_OK);
    tamis_tokenizer_hash(t, hex);
    assert_int_equal(strlen(hex), 32);
    tamis_tokenizer_free(t);
}

static void test_hash(void **state) {
    (void)state;
    char a[33], b[33];
    hash_of("qwen2", "ab", a);
    hash_of("deepseek-r1-qwen", "ab", b); /* the same rules by another name */
    assert_string_equal(a, b);
    hash_of("qwen35", "ab", b);
    assert_string_not_equal(a, b);
    hash_of("qwen2", "c", b);
    assert_string_not_equal(a, b);
}

static void expect_refused(vocab_file *f, const char *words) {
    tamis_tokenizer *t;
    assert_int_equal(vocab_build(f, &t, &err), TAMIS_BAD_INPUT);
    assert_null(t);
    if (!strstr(err.message, words)) fail_msg("no '%s' in: %s", words, err.message);
}

static void test_bad_keys(void **state) {
    (void)state;
    vocab_file f;
    vocab_begin(&f, "gpt2", "qwen22");
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b");
    VOCAB_TEXTS(&f, "tokenizer.ggml.merges", "a b");
    expect_refused(&f, "unknown pre-tokenizer 'qwen22' (nearest known: 'qwen2')");
    vocab_begin(&f, "t5", NULL);
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b");
    expect_refused(&f, "kind 't5' (Unigram) is not supported");
    vocab_begin(&f, "lama", NULL);
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b");
    expect_refused(&f, "unknown tokenizer kind 'lama'");
    vocab_begin(&f, "gpt2", "qwen2");
    expect_refused(&f, "'tokenizer.ggml.tokens' is missing");
    vocab_begin(&f, "gpt2", "qwen2");
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b");
    expect_refused(&f, "'tokenizer.ggml.merges' is missing");
    vocab_begin(&f, "gpt2", "qwen2");
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b", "a");
    VOCAB_TEXTS(&f, "tokenizer.ggml.merges", "a b");
    expect_refused(&f, "'a'");
    vocab_begin(&f, "gpt2", "qwen2");
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b");
    VOCAB_TEXTS(&f, "tokenizer.ggml.merges", "a b", " ab");
    expect_refused(&f, "merge 1 ");
    vocab_begin(&f, "gpt2", "qwen2");
    VOCAB_TEXTS(&f, "tokenizer.ggml.tokens", "a", "b");
    VOCAB_TEXTS(&f, "tokenizer.ggml.merges", "a b");
    vocab_put_types(&f, (const int32_t[]){1, 1, 1}, 3);
    expect_refused(&f, "tokenizer.ggml.token_type");
    vocab_begin(&f, "no_vocab", NULL);
    expect_refused(&f, "no tokenizer");
}

/* --- merging --- */

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

enum { N_MERGES = 40, MAX_PIECES = 200 };

/* The definition: merge the pair of lowest rank, leftmost of equals, until there is none. */
static int merge_naively(char pieces[][32], int n, char merges[][2][16]) {
    for (;;) {
        int best = N_MERGES, at = 0;
        for (int i = 0; i + 1 < n; i++)
            for (int r = 0; r < best; r++)
                if (!strcmp(pieces[i], merges[r][0]) && !strcmp(pieces[i + 1], merges[r][1]))
                    best = r, at = i;
        if (best == N_MERGES) return n;
        strncat(pieces[at], pieces[at + 1], 16);
        for (int i = at + 1; i + 1 < n; i++) memcpy(pieces[i], pieces[i + 1], sizeof pieces[i]);
        n--;
    }
}

static void random_piece(char *out) {
    size_t n = 1 + random_below(3);
    for (size_t i = 0; i < n; i++) out[i] = (char)('a' + random_below(2));
    out[n] = 0;
}

static void test_merging_is_as_defined(void **state) {
    (void)state;
    for (int round = 0; round < 60; round++) {
        tamis_symbols *symbols;
        tamis_bpe *bpe;
        char merges[N_MERGES][2][16];
        assert_int_equal(tamis_symbols_new(&symbols, &err), TAMIS_OK);
        assert_int_equal(tamis_symbols_add_token(symbols, "a", 1, &err), TAMIS_OK);
        bool is_mapped = round % 2; /* the same for letters */
        assert_int_equal(tamis_bpe_new(symbols, is_mapped, N_MERGES, &bpe, &err), TAMIS_OK);
        for (uint32_t r = 0; r < N_MERGES; r++) {
            char line[64];
            random_piece(merges[r][0]);
            random_piece(merges[r][1]);
            snprintf(line, sizeof line, "%.15s %.15s", merges[r][0], merges[r][1]);
            assert_int_equal(tamis_bpe_add_merge(bpe, r, line, strlen(line), &err), TAMIS_OK);
        }
        tamis_bpe_work work = {0};
        for (int k = 0; k < 40; k++) {
            char word[MAX_PIECES], pieces[MAX_PIECES][32] = {{0}};
            int n = 1 + (int)random_below(k % 2 ? 30 : MAX_PIECES);
            for (int i = 0; i < n; i++) pieces[i][0] = word[i] = (char)('a' + random_below(2));
            assert_int_equal(
                tamis_bpe_merge(bpe, &work, (const uint8_t *)word, (size_t)n, &err), TAMIS_OK);
            n = merge_naively(pieces, n, merges);
            assert_int_equal(work.n_symbols, n);
            for (int i = 0; i < n; i++) {
                size_t n_text;
                const char *text = tamis_symbols_text(symbols, work.symbols[i], &n_text);
                assert_int_equal(n_text, strlen(pieces[i]));
                assert_memory_equal(text, pieces[i], n_text);
            }
        }
        tamis_bpe_work_release(&work);
        tamis_bpe_free(bpe);
        tamis_symbols_free(symbols);
    }
}

/* --- any text --- */

static tamis_tokenizer *byte_vocabulary(const char *pre) {
    vocab_file f;
    tamis_tokenizer *t;
    static char texts[256][8];
    const char *items[258] = {[256] = "aa", [257] = "aaaa"};
    for (int b = 0; b < 256; b++) {
        memset(texts[b], 0, sizeof texts[b]);
        tamis_utf8_encode(tamis_byte_to_char((uint8_t)b), (uint8_t *)texts[b]);
        assert_int_equal(tamis_char_to_byte(tamis_byte_to_char((uint8_t)b)), b);
        items[b] = texts[b];
    }
    vocab_begin(&f, "gpt2", pre);
    vocab_put_texts(&f, "tokenizer.ggml.tokens", items, 258);
    VOCAB_TEXTS(&f, "tokenizer.ggml.merges", "a a", "aa aa");
    if (vocab_build(&f, &t, &err)) fail_msg("%s", err.message);
    return t;
}

/* Each invalid byte replaced by U+FFFD; free() it. */
static char *repaired(const char *text, size_t n, size_t *n_out) {
    char *out = malloc(3 * n + 4);
    assert_non_null(out);
    *n_out = 0;
    for (size_t i = 0, k; i < n; i += k ? k : 1) {
        uint32_t c = TAMIS_REPLACEMENT_CHAR;
        k = tamis_utf8_next(text + i, n - i, &c);
        *n_out += tamis_utf8_encode(c, (uint8_t *)out + *n_out);
    }
    return out;
}

static void expect_text_back(const tamis_tokenizer *t, const char *text, size_t n) {
    tamis_tokens ids = {0};
    size_t n_back, n_want;
    char *back, *want = repaired(text, n, &n_want);
    assert_int_equal(tamis_tokenize(t, text, n, false, false, &ids, &err), TAMIS_OK);
    assert_int_equal(tamis_detokenize(t, ids.ids, ids.n_ids, false, &back, &n_back, &err),
                     TAMIS_OK);
    assert_int_equal(n_back, n_want);
    assert_memory_equal(back, want, n_want);
    tamis_tokens_release(&ids);
    free(back);
    free(want);
}

static const char *const all_sets[] = {
    "default", "gpt-2", "llama-bpe", "qwen2", "qwen35", "deepseek-llm", "deepseek-coder",
    "deepseek-v3", "gpt-4o", "tekken", "kimi-k2", "starcoder", "falcon", "jais-2", "viking",
    "poro-chat", "youtu", "bailingmoe", "seed-coder", "exaone-moe", "minicpm5", "laguna",
    "granite-embed-multi-97m", "superbpe", "afmoe", "tiny_aya", "chameleon"};
#define N_SETS (sizeof all_sets / sizeof *all_sets)

static void test_random_text_comes_back(void **state) {
    (void)state;
    static const char *const atoms[] = {
        " ", "  ", "\n", "\r\n", "\t", "a", "Bc", "'s", "'LL", "12", "4567", "~", "!?", "\xC3\xA9",
        "\xE4\xB8\xAD", "\xCC\x81", "\xE3\x80\x80", "\xF0\x9F\x98\x80", "\xF0\xB1\x8D\x90",
        "\xEF\xBC\x93", "\xFF", "\xE2\x82", "\xED\xA0\x80", "\xC0\x80", "\xE0\xA4\x95"};
    for (size_t s = 0; s < N_SETS; s++) {
        tamis_tokenizer *t = byte_vocabulary(all_sets[s]);
        for (int round = 0; round < 60; round++) {
            char text[400];
            size_t n = 0;
            for (int i = 0; i < 60; i++) {
                const char *atom = atoms[random_below(sizeof atoms / sizeof *atoms)];
                memcpy(text + n, atom, strlen(atom));
                n += strlen(atom);
                if (random_below(8) == 0) text[n++] = (char)random_below(256);
            }
            expect_text_back(t, text, n);
        }
        tamis_tokenizer_free(t);
    }
}

/* A long run of one thing is one word, or many, and neither fails nor takes its square. */
static void test_long_runs(void **state) {
    (void)state;
    static const char *const units[] = {" ", "a", "7", "a ", "\xE3\x80\x80", "\xFF"};
    size_t n = (size_t)1 << 18;
    char *text = malloc(n);
    assert_non_null(text);
    for (size_t s = 0; s < N_SETS; s++) {
        tamis_tokenizer *t = byte_vocabulary(all_sets[s]);
        const char *unit = units[s % 6];
        for (size_t i = 0; i < n; i++) text[i] = unit[i % strlen(unit)];
        expect_text_back(t, text, n);
        memset(text, ' ', n);
        text[n - 1] = 'x';
        expect_text_back(t, text, n);
        tamis_tokenizer_free(t);
    }
    free(text);
}

/* Characters of Unicode 15 are what they are, whatever the pattern library knows. */
static tamis_status count_word(void *ctx, size_t start, size_t n_bytes, tamis_error *unused) {
    (void)start, (void)n_bytes, (void)unused;
    ++*(int *)ctx;
    return TAMIS_OK;
}

static void test_young_characters(void **state) {
    (void)state;
    uint8_t a[4], b[4];
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        uint32_t stand_in = tamis_unicode_stand_in(c);
        if (stand_in == c) continue;
        assert_int_equal(tamis_utf8_encode(c, a), tamis_utf8_encode(stand_in, b));
        assert_int_equal(tamis_unicode_stand_in(stand_in), stand_in);
    }
    static const struct {
        uint32_t c;
        int n_words; /* of "a<c>b" in set qwen2 */
    } cases[] = {{0x31350, 1}, {0x2EE5D, 1}, {0x1E030, 1}, {0x11F50, 3}, {0x1FAE8, 2}, {0xECE, 2}};
    tamis_pretokenizer *p;
    tamis_pre_scratch *s;
    assert_int_equal(tamis_pretokenizer_new(tamis_pre_set_find("qwen2"), &p, &err), TAMIS_OK);
    assert_int_equal(tamis_pre_scratch_new(&s, &err), TAMIS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t text[8] = "a";
        size_t n = 1 + tamis_utf8_encode(tamis_unicode_stand_in(cases[i].c), text + 1);
        text[n++] = 'b';
        int n_words = 0;
        assert_int_equal(tamis_pretokenizer_split(p, s, text, n, count_word, &n_words, &err),
                         TAMIS_OK);
        assert_int_equal(n_words, cases[i].n_words);
    }
    tamis_pre_scratch_free(s);
    tamis_pretokenizer_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longest_special_first),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_merging_is_as_defined),
        cmocka_unit_test(test_random_text_comes_back),
        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_young_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
