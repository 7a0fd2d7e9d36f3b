/* test_model_tokenizer_kinds.c - SentencePiece and merging on characters, on vocabularies made
 * here: against naive versions of both, the defaults of the kinds, tokens that take white space
 * with them, texts put together again, long words. */
#include "support_vocab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "\xE2\x96\x81" /* U+2581 */
#define TOKENS "tokenizer.ggml.tokens"
#define MERGES "tokenizer.ggml.merges"

static tamis_error err;

static uint32_t random_state = 7;

static uint32_t random_below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static tamis_tokenizer *build(vocab_file *f) {
    tamis_tokenizer *t;
    if (vocab_build(f, &t, &err)) fail_msg("%s", err.message);
    return t;
}

/* --- SentencePiece --- */

enum { N_FIRST = 259, N_LETTERS = 4, N_MADE = 60, N_TOKENS = N_FIRST + N_LETTERS + N_MADE };
static const char *const letters[N_LETTERS] = {"a", "b", "\xC3\xA9", MARK};

typedef struct spm_vocabulary {
    char texts[N_TOKENS][40];
    float scores[N_TOKENS];
    tamis_tokenizer *t;
} spm_vocabulary;

static int find_text(const spm_vocabulary *v, const char *text) {
    for (int i = 0; i < N_TOKENS; i++)
        if (strcmp(v->texts[i], text) == 0) return i;
    return -1;
}

/* <unk>, <s>, </s>, all bytes, four letters and random strings of them; few different scores. */
static void make_spm(spm_vocabulary *v, bool adds_space) {
    vocab_file f;
    const char *items[N_TOKENS];
    int32_t types[N_TOKENS];
    memset(v, 0, sizeof *v);
    for (int i = 0; i < N_TOKENS; i++) {
        items[i] = v->texts[i];
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < N_FIRST ? 6 : 1;
        v->scores[i] = i < N_FIRST ? 0 : -(float)random_below(9);
        char *text = v->texts[i];
        if (i < 3)
            strcpy(text, i == 0 ? "<unk>" : i == 1 ? "<s>" : "</s>");
        else if (i < N_FIRST)
            snprintf(text, sizeof v->texts[i], "<0x%02X>", (unsigned)i - 3);
        else if (i < N_FIRST + N_LETTERS)
            strcpy(text, letters[i - N_FIRST]);
        else
            do {
                text[0] = 0;
                for (uint32_t n = 2 + random_below(3); n > 0; n--)
                    strcat(text, letters[random_below(N_LETTERS)]);
            } while (find_text(v, text) != i);
    }
    vocab_begin(&f, "llama", NULL);
    vocab_put_texts(&f, TOKENS, items, N_TOKENS);
    vocab_put_types(&f, types, N_TOKENS);
    vocab_put_scores(&f, v->scores, N_TOKENS);
    vocab_put_bool(&f, "tokenizer.ggml.add_space_prefix", adds_space);
    v->t = build(&f);
}

/* The definition: of all neighbours that are a token together the one of the highest score,
 * leftmost of equals, until there is none. */
static int merge_naively(const spm_vocabulary *v, char pieces[][64], int n) {
    for (;;) {
        int at = -1;
        float best = 0;
        for (int i = 0; i + 1 < n; i++) {
            char both[130];
            snprintf(both, sizeof both, "%s%s", pieces[i], pieces[i + 1]);
            int id = find_text(v, both);
            if (id >= 0 && (at < 0 || v->scores[id] > best)) best = v->scores[id], at = i;
        }
        if (at < 0) return n;
        strncat(pieces[at], pieces[at + 1], 60);
        for (int i = at + 1; i + 1 < n; i++)
            memcpy(pieces[i], pieces[i + 1], sizeof pieces[i]);
        n--;
    }
}

static void check_merging(const spm_vocabulary *v, bool adds_space) {
    static const char *const units[] = {"a", "b", "\xC3\xA9", " ", "a", " ", "\xE4\xB8\xAD", "7"};
    char text[400] = "", pieces[102][64] = {{0}};
    int32_t want[400];
    uint64_t n_want = 0;
    int n = 0;
    if (adds_space) strcpy(pieces[n++], MARK);
    for (int left = 1 + (int)random_below(100); left > 0; left--) {
        const char *unit = units[random_below(random_below(20) ? 6 : 8)];
        strcat(text, unit);
        strcpy(pieces[n++], strcmp(unit, " ") ? unit : MARK);
    }
    n = merge_naively(v, pieces, n);
    for (int i = 0; i < n; i++) {
        int id = find_text(v, pieces[i]);
        if (id >= 0) want[n_want++] = id;
        for (const char *c = pieces[i]; id < 0 && *c; c++)
            want[n_want++] = (uint8_t)*c + 3;
    }
    vocab_expect_ids(v->t, text, false, false, want, n_want);
}

static void test_spm_is_as_defined(void **state) {
    (void)state;
    for (int round = 0; round < 30; round++) {
        spm_vocabulary v;
        make_spm(&v, round % 2);
        for (int k = 0; k < 20; k++)
            check_merging(&v, round % 2);
        tamis_tokenizer_free(v.t);
    }
}

/* All text comes back, but that a mark in it would be read back as a space. */
static void test_spm_text_comes_back(void **state) {
    (void)state;
    static const char *const atoms[] = {" ", "  ",       "\n",           "a",
                                        "b", "\xC3\xA9", "\xE2\x96\x82", "\xF0\x9F\x98\x80",
                                        "7", "<s>",      "a b"};
    for (int round = 0; round < 40; round++) {
        spm_vocabulary v;
        make_spm(&v, round % 2);
        char text[400], *back;
        size_t n = 0, n_back;
        while (n < 380) {
            const char *atom = atoms[random_below(sizeof atoms / sizeof *atoms)];
            memcpy(text + n, atom, strlen(atom));
            n += strlen(atom);
            if (random_below(6) == 0) text[n++] = (char)random_below(0x80);
        }
        tamis_tokens ids = {0};
        assert_int_equal(tamis_tokenize(v.t, text, n, false, false, &ids, &err), TAMIS_OK);
        assert_int_equal(tamis_detokenize_text(v.t, ids.ids, ids.n_ids, true, &back, &n_back, &err),
                         TAMIS_OK);
        assert_int_equal(n_back, n);
        assert_memory_equal(back, text, n);
        tamis_tokens_release(&ids);
        free(back);
        tamis_tokenizer_free(v.t);
    }
}

/* A vocabulary of ten tokens, some keys to be added. */
static void begin_small(vocab_file *f, const char *kind) {
    vocab_begin(f, kind, NULL);
    VOCAB_TEXTS(f, TOKENS, "<unk>", "<s>", "</s>", "<0xC3>", "<0xA9>", MARK, "a", MARK "a", "x y",
                "Z");
    vocab_put_types(f, (const int32_t[]){2, 3, 3, 6, 6, 1, 1, 1, 4, 1}, 10);
}

static void test_spm_defaults(void **state) {
    (void)state;
    vocab_file f;
    begin_small(&f, "llama");
    tamis_tokenizer *t = build(&f);
    assert_int_equal(tamis_tokenizer_bos(t), 1);
    assert_int_equal(tamis_tokenizer_eos(t), 2);
    assert_true(tamis_tokenizer_adds_bos(t));
    VOCAB_EXPECT(t, "", true, false, 1);
    VOCAB_EXPECT(t, "a", true, false, 1, 7); /* BOS, and a space before the text */
    VOCAB_EXPECT(t, "a<s>a</s> a", false, true, 7, 1, 7, 2, 5, 7); /* before each stretch */
    VOCAB_EXPECT(t, "ax ya", false, false, 7, 8, 7);     /* user-defined with a real space */
    VOCAB_EXPECT(t, "a\xC3\xA9", false, false, 7, 3, 4); /* byte by byte */
    VOCAB_EXPECT(t, "aZ\xC2", false, false, 7, 9, 0);    /* no token for the byte: unknown */
    tamis_tokenizer_free(t);

    begin_small(&f, "llama");
    vocab_put_bool(&f, "tokenizer.ggml.add_bos_token", false);
    vocab_put_bool(&f, "tokenizer.ggml.add_eos_token", true);
    vocab_put_bool(&f, "tokenizer.ggml.add_space_prefix", false);
    vocab_put_int(&f, "tokenizer.ggml.eos_token_id", 9);
    t = build(&f);
    assert_false(tamis_tokenizer_adds_bos(t));
    VOCAB_EXPECT(t, "", true, false, 9);
    VOCAB_EXPECT(t, "a a\xFF", true, false, 6, 7, 0, 9);
    tamis_tokenizer_free(t);
}

/* Without codes a byte is the token that is that byte. */
static void test_spm_bytes_as_they_are(void **state) {
    (void)state;
    vocab_file f;
    vocab_begin(&f, "llama", NULL);
    VOCAB_TEXTS(&f, TOKENS, "<unk>", "<s>", "</s>", "\xC3", "\xA9", "a");
    vocab_put_bool(&f, "tokenizer.ggml.add_space_prefix", false);
    tamis_tokenizer *t = build(&f);
    VOCAB_EXPECT(t,
                 "a\xC3\xA9"
                 "a",
                 false, false, 5, 3, 4, 5);
    tamis_tokenizer_free(t);
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
    begin_small(&f, "llama");
    vocab_put_scores(&f, (const float[]){0, 0, 0}, 3);
    expect_refused(&f, "3 values for 10 tokens");
    begin_small(&f, "llama");
    vocab_put_scores(&f, (const float[]){0, 0, 0, 0, 0, 0, 0, 0, (float)NAN, 0}, 10);
    expect_refused(&f, "'tokenizer.ggml.scores': token 8 has no number");
    begin_small(&f, "gemma4");
    expect_refused(&f, "'tokenizer.ggml.merges' is missing");
    static const char *const others[] = {"t5", "bert", "rwkv", "plamo2", "hybriddna", "whitespace"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char words[64];
        snprintf(words, sizeof words, "tokenizer kind '%s' (", others[i]);
        begin_small(&f, others[i]);
        expect_refused(&f, words);
    }
}

/* What decides ids decides the hash; what does not leaves it alone. */
static void hash_of(const float *scores, bool adds_space, char hex[33]) {
    vocab_file f;
    begin_small(&f, "llama");
    vocab_put_scores(&f, scores, 10);
    vocab_put_bool(&f, "tokenizer.ggml.add_space_prefix", adds_space);
    tamis_tokenizer *t = build(&f);
    tamis_tokenizer_hash(t, hex);
    tamis_tokenizer_free(t);
}

static void test_hash(void **state) {
    (void)state;
    char a[33], b[33];
    hash_of((const float[]){0, 0, 0, 0, 0, -1, -2, -3, -4, -5}, true, a);
    hash_of((const float[]){0, 0, 0, 0, 0, -1, -3, -2, -4, -5}, true, b);
    assert_string_not_equal(a, b);
    hash_of((const float[]){0, 0, 0, 0, 0, -1, -2, -3, -4, -5}, false, b);
    assert_string_not_equal(a, b);
    hash_of((const float[]){0, 0, 0, 0, 0, -1, -2, -3, -4, -6}, true, b); /* the same order */
    assert_string_equal(a, b);
}

/* --- merging on characters --- */

static void put_gemma4(vocab_file *f, const char *kind, const char *pre) {
    vocab_begin(f, kind, pre);
    VOCAB_TEXTS(f, TOKENS, "<bos>", "a", MARK, MARK "a", "\n", "\n\n\n", "<0xE4>", "<0xB8>",
                "\xC3\xA9", "b", "\n\n", MARK "ab");
    VOCAB_TEXTS(f, MERGES, MARK " a", "\n \n", "a \xC3\xA9", MARK "a b");
    vocab_put_int(f, "tokenizer.ggml.bos_token_id", 0);
}

static void test_gemma4(void **state) {
    (void)state;
    vocab_file f;
    put_gemma4(&f, "gemma4", "qwen2"); /* pre is not looked at */
    vocab_put_bool(&f, "tokenizer.ggml.add_bos_token", false);
    tamis_tokenizer *t = build(&f);
    assert_true(tamis_tokenizer_adds_bos(t)); /* whatever the file says */
    assert_int_equal(tamis_tokenizer_eos(t), -1);
    VOCAB_EXPECT(t, "a ab", true, false, 0, 1, 11);
    VOCAB_EXPECT(t, "a\n\n\na", false, false, 1, 5, 1); /* a run of newlines that is a token */
    VOCAB_EXPECT(t, "\n\n\n\n", false, false, 10, 10);  /* one that is not is merged */
    VOCAB_EXPECT(t, "b\xC3\xA9", false, false, 9, 8);
    VOCAB_EXPECT(t, "\xE4\xB8\xAD", false, false, 6, 7); /* bytes, as far as there are tokens */
    VOCAB_EXPECT(t, "a\xC3\xA9", false, false, );        /* also of what merges made */
    VOCAB_EXPECT(t,
                 "\xE2\x82\xAC"
                 "b\xFF",
                 false, false, 9); /* none: nothing */
    tamis_tokenizer_free(t);

    put_gemma4(&f, "gpt2", "sarvam-moe"); /* the same pieces, no BOS, newlines as they merge */
    t = build(&f);
    assert_false(tamis_tokenizer_adds_bos(t));
    VOCAB_EXPECT(t, "a\n\n\na ab", true, false, 1, 10, 4, 1, 11);
    tamis_tokenizer_free(t);
    put_gemma4(&f, "gpt2", "granite-embed-multi-311m");
    t = build(&f);
    VOCAB_EXPECT(t, "a\n\n\na ab", true, false, 0, 1, 5, 1, 11);
    tamis_tokenizer_free(t);
}

enum { N_PARTS = 7, N_MERGES = 12 };
static const char *const parts[N_PARTS] = {"a",  "b",     "\xC3\xA9", MARK, "\xE4\xB8\xAD",
                                           "ab", MARK "a"};

typedef struct merge_list {
    char joined[N_MERGES][32];
    const char *left[N_MERGES], *right[N_MERGES];
} merge_list;

/* The definition: merge the pair of lowest rank, leftmost of equals, until there is none. */
static int merge_by_rank(const merge_list *m, char pieces[][64], int n) {
    for (;;) {
        int best = N_MERGES, at = 0;
        for (int i = 0; i + 1 < n; i++)
            for (int r = 0; r < best; r++)
                if (!strcmp(pieces[i], m->left[r]) && !strcmp(pieces[i + 1], m->right[r]))
                    best = r, at = i;
        if (best == N_MERGES) return n;
        strncat(pieces[at], pieces[at + 1], 40);
        for (int i = at + 1; i + 1 < n; i++)
            memcpy(pieces[i], pieces[i + 1], sizeof pieces[i]);
        n--;
    }
}

/* Random merges; tokens are the parts, then what the merges make. */
static tamis_tokenizer *make_gemma4(merge_list *m) {
    vocab_file f;
    char lines[N_MERGES][32];
    const char *merges[N_MERGES], *tokens[N_PARTS + N_MERGES];
    for (int i = 0; i < N_PARTS; i++)
        tokens[i] = parts[i];
    for (int n = 0; n < N_MERGES;) {
        m->left[n] = parts[random_below(N_PARTS)];
        m->right[n] = parts[random_below(N_PARTS)];
        snprintf(lines[n], sizeof lines[n], "%s %s", m->left[n], m->right[n]);
        snprintf(m->joined[n], sizeof m->joined[n], "%s%s", m->left[n], m->right[n]);
        bool is_new = true;
        for (int i = 0; i < N_PARTS + n; i++)
            is_new &= strcmp(tokens[i], m->joined[n]) != 0;
        merges[n] = lines[n];
        tokens[N_PARTS + n] = m->joined[n];
        n += is_new;
    }
    vocab_begin(&f, "gemma4", NULL);
    vocab_put_texts(&f, TOKENS, tokens, N_PARTS + N_MERGES);
    vocab_put_texts(&f, MERGES, merges, N_MERGES);
    return build(&f);
}

/* Text is cut where no merge crosses before it is merged: that changes nothing. */
static void test_gemma4_merges_as_defined(void **state) {
    (void)state;
    for (int round = 0; round < 60; round++) {
        merge_list m;
        tamis_tokenizer *t = make_gemma4(&m);
        for (int k = 0; k < 20; k++) {
            char text[400] = "", pieces[100][64] = {{0}};
            int32_t want[100];
            int n = 1 + (int)random_below(100);
            for (int i = 0; i < n; i++) {
                strcpy(pieces[i], parts[random_below(5)]);
                strcat(text, strcmp(pieces[i], MARK) ? pieces[i] : " ");
            }
            n = merge_by_rank(&m, pieces, n);
            for (int i = 0; i < n; i++) {
                want[i] = -1;
                for (int id = 0; id < N_PARTS + N_MERGES; id++)
                    if (!strcmp(pieces[i], id < N_PARTS ? parts[id] : m.joined[id - N_PARTS]))
                        want[i] = id;
            }
            vocab_expect_ids(t, text, false, false, want, (uint64_t)n);
        }
        tamis_tokenizer_free(t);
    }
}

/* --- special tokens --- */

static tamis_tokenizer *with_specials(const char *name, const char *pre, const char *const *texts,
                                      const int32_t *types, uint64_t n) {
    vocab_file f;
    vocab_begin(&f, "gpt2", pre);
    vocab_put_text(&f, "general.name", name);
    vocab_put_texts(&f, TOKENS, texts, n);
    vocab_put_types(&f, types, n);
    VOCAB_TEXTS(&f, MERGES, "y y");
    return build(&f);
}

/* Letters 0 and 1, a space, then special tokens. */
#define SPECIALS(name, pre, types, ...)                                                            \
    with_specials(name, pre, (const char *const[]){"a", "b", "\xC4\xA0", __VA_ARGS__}, types,      \
                  3 + sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_white_space_of_special_tokens(void **state) {
    (void)state;
    const int32_t types[] = {1, 1, 1, 3, 4, 3, 3};
    tamis_tokenizer *t =
        SPECIALS("My Phi3 mini", "gpt-2", types, "<|end|>", "<|user|>", "<|endoftext|>", "<s>");
    VOCAB_EXPECT(t, "a <|end|> \n\tb", false, true, 0, 2, 3, 1); /* behind, not before */
    VOCAB_EXPECT(t, "<|user|> <|user|> ", false, true, 4, 4);
    VOCAB_EXPECT(t, "<|endoftext|> b<s> b", false, true, 5, 2, 1, 6, 2, 1);
    tamis_tokenizer_free(t);

    t = SPECIALS("any", "gpt-2", types, "<|end|>", "<|user|>", "<|endoftext|>", "<s>");
    VOCAB_EXPECT(t, "<|end|> b", false, true, 3, 2, 1);
    tamis_tokenizer_free(t);

    static const struct {
        const char *name, *pre;
        bool strips_mask, strips_upper;
    } cases[] = {{"any", "jina-v2-code", true, false},
                 {"any", "jina-v2-es", true, false},
                 {"x ModERN-Bert y", "gpt-2", false, true},
                 {"any", "gpt-2", false, false}};
    for (size_t i = 0; i < 4; i++) {
        t = SPECIALS(cases[i].name, cases[i].pre, types, "<mask>", "[MASK]");
        if (cases[i].strips_mask)
            VOCAB_EXPECT(t, "a \n <mask> b", false, true, 0, 3, 2, 1);
        else
            VOCAB_EXPECT(t, "a <mask> b", false, true, 0, 2, 3, 2, 1);
        if (cases[i].strips_upper)
            VOCAB_EXPECT(t, "  [MASK] b", false, true, 4, 2, 1);
        else
            VOCAB_EXPECT(t, "a [MASK] b", false, true, 0, 2, 4, 2, 1);
        tamis_tokenizer_free(t);
    }
}

/* Which tokens are text of the user and which are control, whatever the file says. */
static void test_types_that_texts_decide(void **state) {
    (void)state;
    const int32_t control[] = {1, 1, 1, 3, 3, 3, 3, 3}, user[] = {1, 1, 1, 4, 4, 4, 4, 4};
    tamis_tokenizer *t = SPECIALS("any", "gpt-2", control, "<|channel|>", "<|end|>", "<|return|>",
                                  "<|call|>", "<|start|>");
    VOCAB_EXPECT(t, "<|channel|><|end|><|start|>", false, false, 3, 4, 7);
    VOCAB_EXPECT(t, "b<|return|><|call|>", false, false, 1, 0); /* the letter in "call" */
    tamis_tokenizer_free(t);
    t = SPECIALS("any", "gpt-2", control, "<|calls|>", "<|end|>", "<|flush|>");
    VOCAB_EXPECT(t, "<|end|>", false, false, 4);
    tamis_tokenizer_free(t);
    t = SPECIALS("any", "gpt-2", control, "<|return|>", "<|end|>", "<|flush|>");
    VOCAB_EXPECT(t, "b<|end|>", false, false, 1); /* without calls it ends a turn */
    tamis_tokenizer_free(t);
    t = SPECIALS("any", "gpt-2", user, "<|tool_response>", "</s>");
    VOCAB_EXPECT(t, "</s>", false, true, );
    VOCAB_EXPECT(t, "<|tool_response>", false, true, 3); /* CONTROL: */
    VOCAB_EXPECT(t, "b<|tool_response>", false, false, 1);
    tamis_tokenizer_free(t);
    t = SPECIALS("any", "gpt-2", user, "<fim_suffix>",
                 "<\xEF\xBD\x9C"
                 "fim\xE2\x96\x81"
                 "end\xEF\xBD\x9C>",
                 "<PRE>", "<|file_sep|>", "<reponame>");
    VOCAB_EXPECT(t, "<fim_suffix><PRE><|file_sep|><reponame>", false, true, 3, 5, 6, 7);
    VOCAB_EXPECT(t, "<PRE>", false, false, );
    tamis_tokenizer_free(t);
}

/* --- texts put together again --- */

static void expect_text(const char *pre, const char *tokens[], uint64_t n, const char *want) {
    vocab_file f;
    int32_t ids[16];
    char *text;
    size_t n_text;
    vocab_begin(&f, pre ? "gpt2" : "llama", pre);
    vocab_put_texts(&f, TOKENS, tokens, n);
    VOCAB_TEXTS(&f, MERGES, "y y");
    tamis_tokenizer *t = build(&f);
    for (uint64_t i = 0; i < n; i++)
        ids[i] = (int32_t)i;
    assert_int_equal(tamis_detokenize_text(t, ids, n, true, &text, &n_text, &err), TAMIS_OK);
    assert_string_equal(text, want);
    free(text);
    tamis_tokenizer_free(t);
}

static void test_spaces_are_cleaned(void **state) {
    (void)state;
#define SP "\xC4\xA0" /* a space through the byte map */
    const char *marks[] = {"a" SP ",b" SP SP ".", SP "!" SP "?c" SP ";"};
    expect_text("gpt-2", marks, 2, "a,b .!?c ;");
    expect_text("qwen2", marks, 2, "a ,b  . ! ?c ;");
    const char *quotes[] = {"a" SP "'" SP "b" SP "'s" SP "'m",
                            SP "'ve" SP "'re" SP "'t" SP "'r" SP "'"};
    expect_text("default", quotes, 2, "a'b's'm've're 't 'r '");
    const char *spaces[] = {MARK MARK "a" MARK ".", "b" MARK "'s"};
    expect_text(NULL, spaces, 2, " a .b 's"); /* one space was put before it */
}

/* --- long words --- */

static void expect_count(const tamis_tokenizer *t, const char *unit, size_t n, uint64_t n_ids) {
    tamis_tokens ids = {0};
    size_t n_unit = strlen(unit);
    char *text = malloc(n);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = unit[i % n_unit];
    assert_int_equal(tamis_tokenize(t, text, n, false, false, &ids, &err), TAMIS_OK);
    assert_int_equal(ids.n_ids, n_ids);
    tamis_tokens_release(&ids);
    free(text);
}

/* A million bytes without a place to cut: neither fails nor takes its square. */
static void test_long_words(void **state) {
    (void)state;
    vocab_file f;
    vocab_begin(&f, "llama", NULL);
    VOCAB_TEXTS(&f, TOKENS, "<unk>", "<s>", "</s>", "a", "aa", "aaaa", "\xE4\xB8\xAD",
                "\xE4\xB8\xAD\xE4\xB8\xAD", MARK MARK);
    vocab_put_bool(&f, "tokenizer.ggml.add_space_prefix", false);
    tamis_tokenizer *t = build(&f);
    expect_count(t, "a", 1000000, 250000);
    expect_count(t, "\xE4\xB8\xAD", 999999, 166667);
    expect_count(t, " ", 1000000, 500000);
    expect_count(t, "\xE4", 1000000, 333334); /* each says it is the first of three */
    tamis_tokenizer_free(t);
    vocab_begin(&f, "gemma4", NULL);
    VOCAB_TEXTS(&f, TOKENS, "a", "aa", "\xE4\xB8\xAD", "\xE4\xB8\xAD\xE4\xB8\xAD", "\n");
    VOCAB_TEXTS(&f, MERGES, "a a", "\xE4\xB8\xAD \xE4\xB8\xAD");
    t = build(&f);
    expect_count(t, "a", 1000000, 500000);
    expect_count(t, "\xE4\xB8\xAD", 999999, 166667);
    expect_count(t, "\n", 1000000, 1000000);
    tamis_tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spm_is_as_defined),
        cmocka_unit_test(test_spm_text_comes_back),
        cmocka_unit_test(test_spm_defaults),
        cmocka_unit_test(test_spm_bytes_as_they_are),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_gemma4),
        cmocka_unit_test(test_gemma4_merges_as_defined),
        cmocka_unit_test(test_white_space_of_special_tokens),
        cmocka_unit_test(test_types_that_texts_decide),
        cmocka_unit_test(test_spaces_are_cleaned),
        cmocka_unit_test(test_long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
