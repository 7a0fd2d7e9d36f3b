/* test_model_interrupt.c - once SIGINT has come, what works on a text stops with
 * TAMIS_INTERRUPTED: each kind of tokenizer, words and one endless word, reading a file. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/input_file.h"
#include "base/threads.h"
#include "gguf/gguf.h"
#include "model/tokenizer.h"

static const char *const models[] = { "fixtures/arch/qwen3.gguf", "fixtures/arch/llama.gguf" };
enum { N_MODELS = sizeof models / sizeof *models, N_TEXTS = 3, LONG_BYTES = 4 << 20 };

static tamis_tokenizer *tokenizers[N_MODELS];
static tamis_gguf *files[N_MODELS];
static char *texts[N_TEXTS];

static void make_text(int i, const char *piece) {
    const size_t n = strlen(piece);
    texts[i] = malloc(LONG_BYTES + 1);
    assert_non_null(texts[i]);
    for (size_t at = 0; at < LONG_BYTES; at++) texts[i][at] = piece[at % n];
    texts[i][LONG_BYTES] = 0;
}

static int set_up(void **state) {
    (void)state;
    tamis_error err = { 0 };
    for (int i = 0; i < N_MODELS; i++) {
        if (tamis_gguf_open(shared_path("%s", models[i]), NULL, &files[i], &err) ||
            tamis_tokenizer_new(files[i], &tokenizers[i], &err))
            fail_msg("%s", err.message);
    }
    make_text(0, "words of a text, one by one. ");
    make_text(1, "a");
    make_text(2, "\xC3\xA9\xFF <|endoftext|>");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        tamis_tokenizer_free(tokenizers[i]);
        tamis_gguf_close(files[i]);
    }
    for (int i = 0; i < N_TEXTS; i++) free(texts[i]);
    return 0;
}

/* Before the signal nothing stops; the flag it sets stays, so this comes first. */
static void whole_before_the_signal(void **state) {
    (void)state;
    tamis_error err = { 0 };
    for (int i = 0; i < N_MODELS; i++) {
        tamis_tokens tokens = { 0 };
        assert_int_equal(tamis_tokenize(tokenizers[i], texts[0], 1000, true, true, &tokens, &err),
                         TAMIS_OK);
        assert_true(tokens.n_ids > 100);
        tamis_tokens_release(&tokens);
    }
}

static void stops_after_the_signal(void **state) {
    (void)state;
    tamis_error err = { 0 };
    tamis_interrupt_install();
    raise(SIGINT);
    for (int i = 0; i < N_MODELS; i++)
        for (int k = 0; k < N_TEXTS; k++)
            for (int special = 0; special < 2; special++) {
                tamis_tokens tokens = { 0 };
                tamis_status st = tamis_tokenize(tokenizers[i], texts[k], LONG_BYTES, true,
                                                 special, &tokens, &err);
                if (st != TAMIS_INTERRUPTED || tokens.n_ids != 0)
                    fail_msg("%s, text %d: status %d, %d ids", models[i], k, st,
                             (int)tokens.n_ids);
                tamis_tokens_release(&tokens);
            }
    char *data = NULL;
    assert_int_equal(tamis_read_file(shared_path("%s", models[0]), 1 << 30, &data, NULL, &err),
                     TAMIS_INTERRUPTED);
    assert_null(data);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_before_the_signal),
        cmocka_unit_test(stops_after_the_signal),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
