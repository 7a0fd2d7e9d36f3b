/* test_gguf_check.c - what the checks behind opening find: values that decode to something not
 * finite, zeros, padding, the same for any number of workers; layers and shapes that disagree with
 * the keys; tokenizers that disagree with themselves. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/check.h"

static char said[1 << 14];

static void say(const char *text) {
    const size_t n = strlen(said);
    snprintf(said + n, sizeof said - n, "%s\n", text);
}

static void keep_finding(void *ctx, const tamis_gguf_finding *f) {
    char line[256];
    (void)ctx;
    snprintf(line, sizeof line, "%s %s %d row %d block %d", f->tensor,
             tamis_finding_kind_name(f->kind), (int)f->n_bad, (int)f->row, (int)f->block);
    say(line);
}

static void keep_remark(void *ctx, const tamis_check_remark *remark) {
    char line[1200];
    (void)ctx;
    snprintf(line, sizeof line, "%s: %s: %s", remark->part, tamis_check_grade_name(remark->grade),
             remark->text);
    say(line);
}

static tamis_gguf_writer *w;

static void begin_model(void) {
    said[0] = 0;
    assert_int_equal(tamis_gguf_writer_new(&w, NULL), TAMIS_OK);
}

static void add(const char *name, int32_t type, uint64_t ne0, uint64_t ne1, uint64_t ne2) {
    const uint64_t ne[3] = { ne0, ne1, ne2 };
    assert_int_equal(tamis_gguf_add_tensor(w, name, type, 3, ne, NULL), TAMIS_OK);
}

static void text_key(const char *key, const char *value) {
    assert_int_equal(tamis_gguf_set_string(w, key, value, strlen(value), NULL), TAMIS_OK);
}

static void int_key(const char *key, uint64_t value) {
    assert_int_equal(tamis_gguf_set_uint(w, key, TAMIS_GGUF_U32, value, NULL), TAMIS_OK);
}

/* The finished file, all its data in one. */
static tamis_gguf *end_model(const void *data, size_t n_bytes) {
    char path[4200];
    tamis_gguf *g = NULL;
    tamis_error err = { 0 };
    snprintf(path, sizeof path, "%s/model.gguf", temp_dir());
    assert_int_equal(tamis_gguf_begin(w, path, NULL), TAMIS_OK);
    const char *at = data;
    for (size_t n_left = n_bytes; n_left;) { /* the writer takes no more than one tensor at once */
        const size_t n = n_left < 64 ? n_left : 64;
        assert_int_equal(tamis_gguf_write_data(w, at, n, NULL), TAMIS_OK);
        at += n;
        n_left -= n;
    }
    assert_int_equal(tamis_gguf_commit(w, NULL), TAMIS_OK);
    tamis_gguf_writer_free(w);
    if (tamis_gguf_open(path, NULL, &g, &err)) fail_msg("%s", err.message);
    return g;
}

/* Every check but the values, over a model whose tensors are all 0. */
static const char *remarks_of(size_t n_bytes) {
    void *data = calloc(n_bytes ? n_bytes : 1, 1);
    tamis_gguf *g = end_model(n_bytes ? data : NULL, n_bytes);
    assert_int_equal(tamis_gguf_check_model(g, keep_remark, NULL, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_check_tokenizer(g, keep_remark, NULL, NULL), TAMIS_OK);
    tamis_gguf_close(g);
    free(data);
    return said;
}

static void expect_said(const char *text) {
    if (!strstr(said, text)) fail_msg("'%s' is not said:\n%s", text, said);
}

/* --- values --- */

static void test_deep(void **state) {
    enum { N_BLOCKS = 70000, BYTES = 17 }; /* more than one piece of 1 MiB */
    uint8_t *data = calloc(N_BLOCKS, BYTES);
    tamis_gguf *g = NULL;
    (void)state;
    assert_non_null(data);
    for (int i = 0; i < N_BLOCKS; i++)
        data[i * BYTES] = 127, data[i * BYTES + 1] = 0x11;
    memset(data + 69999 * BYTES, 0x77, BYTES); /* the largest value */
    data[69999 * BYTES] = 254;                 /* times 2^126: beyond f32 */
    data[123 * BYTES] = 255;                   /* no scale at all */
    begin_model();
    add("a", 39, 32 * 10, N_BLOCKS / 10, 1);
    g = end_model(data, (size_t)N_BLOCKS * BYTES);
    for (int n = 1; n <= 3; n += 2) {
        tamis_check_options options = { .deep = true };
        int64_t n_bad = 0;
        said[0] = 0;
        assert_int_equal(tamis_pool_new(n, &options.pool, NULL), TAMIS_OK);
        assert_int_equal(tamis_gguf_check_values(g, &options, keep_finding, NULL, &n_bad, NULL),
                         TAMIS_OK);
        assert_string_equal(said, "a scale 1 row 12 block 3\na decoded 1 row 6999 block 9\n");
        assert_int_equal(n_bad, 1);
        tamis_pool_free(options.pool);
    }
    said[0] = 0;
    int64_t n_bad = 0;
    assert_int_equal(tamis_gguf_check_values(g, NULL, keep_finding, NULL, &n_bad, NULL), TAMIS_OK);
    assert_string_equal(said, "a scale 1 row 12 block 3\n");
    tamis_gguf_close(g);
    free(data);
}

static void test_zeros_and_padding(void **state) {
    const float data[4] = { 0, 0, -0.0f, 0 };
    const tamis_check_options deep = { .deep = true };
    int64_t n_bad = 7;
    (void)state;
    begin_model();
    add("a", TAMIS_TYPE_F32, 4, 1, 1);
    tamis_gguf *g = end_model(data, sizeof data);
    FILE *f = fopen(tamis_gguf_path(g), "r+b");
    assert_non_null(f);
    fseek(f, (long)tamis_gguf_tensor_at(g, 0)->file_offset + 16, SEEK_SET);
    fputs("abc", f);
    fclose(f);
    assert_int_equal(tamis_gguf_check_values(g, &deep, keep_finding, NULL, &n_bad, NULL), TAMIS_OK);
    assert_string_equal(said, "a zeros 4 row 0 block 0\na padding 3 row 0 block 0\n");
    assert_int_equal(n_bad, 0);
    said[0] = 0;
    assert_int_equal(tamis_gguf_check_values(g, NULL, keep_finding, NULL, &n_bad, NULL), TAMIS_OK);
    assert_string_equal(said, "");
    tamis_gguf_close(g);
}

/* --- model --- */

static void test_model(void **state) {
    static const char *const tokens[] = { "a", "b", "c" };
    (void)state;
    begin_model();
    text_key("general.architecture", "llama");
    int_key("llama.block_count", 6);
    int_key("llama.embedding_length", 32);
    int_key("llama.expert_count", 4);
    int_key("llama.vocab_size", 5);
    assert_int_equal(tamis_gguf_set_strings(w, "tokenizer.ggml.tokens", tokens, 3, NULL), TAMIS_OK);
    add("token_embd.weight", TAMIS_TYPE_F32, 16, 2, 1);
    add("output.weight", TAMIS_TYPE_F32, 32, 4, 1);
    size_t n = 16 * 2 + 32 * 4;
    for (int i = 0; i < 6; i++) {
        char name[64];
        if (i == 3) continue;
        snprintf(name, sizeof name, "blk.%d.ffn_up_exps.weight", i);
        add(name, TAMIS_TYPE_F32, 32, 1, i == 4 ? 2 : 4);
        n += i == 4 ? 32 * 2 : 32 * 4;
        if (i == 5) add("blk.5.extra.weight", TAMIS_TYPE_F32, 32, 1, 1);
        n += i == 5 ? 32 : 0;
    }
    remarks_of(n * 4);
    expect_said("model: error: tensor 'token_embd.weight' has rows of 16, embedding_length is 32");
    expect_said("model: error: tensor 'token_embd.weight' has 2 rows for 3 tokens");
    expect_said("model: note: tensor 'output.weight' has 4 rows for 3 tokens (padded)");
    expect_said("model: warning: vocab_size is 5, the tokenizer has 3 tokens");
    expect_said("1 expert tensors do not have the 4 experts of expert_count, the first is "
                "'blk.4.ffn_up_exps.weight' with 2");
    expect_said("model: error: 1 of 6 layers (block_count) have no tensor, the first is layer 3");
    expect_said("the first is layer 5: it has 'blk.5.extra.weight'");
    expect_said("tokenizer: error: there is no tokenizer.ggml.model");
}

/* --- tokenizer --- */

static void begin_tokenizer(const char *model, const char *const *tokens, uint64_t n_tokens) {
    begin_model();
    text_key("general.architecture", "llama");
    text_key("tokenizer.ggml.model", model);
    assert_int_equal(tamis_gguf_set_strings(w, "tokenizer.ggml.tokens", tokens, n_tokens, NULL),
                     TAMIS_OK);
}

static void test_bpe(void **state) {
    static const char *const tokens[] = { "a", "b", "ab", "<|end|>", "\xff", "", "c" };
    static const char *const merges[] = { "a b", "a c", "a b" };
    (void)state;
    begin_tokenizer("gpt2", tokens, 7);
    assert_int_equal(tamis_gguf_set_strings(w, "tokenizer.ggml.merges", merges, 3, NULL), TAMIS_OK);
    text_key("tokenizer.chat_template",
             "{{ '<|end|>' }}{{ '<|start|>' }} <| x |> <|\xC2\xA0<|stop|>");
    remarks_of(0);
    expect_said("there is no tokenizer.ggml.pre");
    expect_said("there is no eos_token_id, and its default 11 is beyond the 7 tokens");
    expect_said("1 token is empty, the first is 5");
    expect_said("note: 1 token is no valid UTF-8, the first is 4");
    expect_said("253 of the 256 bytes have no token, the first is 0x00");
    expect_said("1 of 3 merges give no token, the first is 1 ('a c')");
    expect_said("1 of 3 merges are there twice (the first one counts), the first is 2 ('a b')");
    expect_said("the chat template has 2 markers that are no token, the first is '<|start|>'");
}

static void test_spm(void **state) {
    static const char *const tokens[] = { "<unk>", "<s>", "</s>", "<0x41>", "a" };
    (void)state;
    begin_tokenizer("llama", tokens, 5);
    remarks_of(0);
    expect_said("tokenizer: error: there are no scores");
    expect_said("there are no token types");
    expect_said("there is no eos_token_id: readers take 2 ('</s>')");
    expect_said("there is no bos_token_id: readers take 1 ('<s>')");
    expect_said("255 of the 256 bytes have no token, the first is 0x00");
}

static void test_other_tokenizers(void **state) {
    static const char *const tokens[] = { "a" };
    (void)state;
    begin_tokenizer("gemma4", tokens, 1);
    int_key("tokenizer.ggml.eot_token_id", 0);
    remarks_of(0);
    expect_said("there is no eos_token_id: generation ends at a limit only");
    expect_said("texts are to begin with BOS and there is no bos_token_id");
    expect_said("there are no merges: readers refuse a 'gemma4' tokenizer without");
    begin_tokenizer("sentences", tokens, 1);
    remarks_of(0);
    expect_said("tokenizer: warning: its model 'sentences' is unknown");
    begin_model();
    text_key("general.architecture", "llama");
    assert_string_equal(remarks_of(0), "tokenizer: note: there is none\n");
}

/* The vocabularies of real models are clean; the one made with holes is not. */
static void test_fixtures(void **state) {
    static const char *const clean[] = { "gpt-2", "qwen2", "llama-spm", "phi-3", "deepseek-llm",
                                         "small-bpe", "small-spm", "small-spm-gemma" };
    tamis_gguf *g = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof clean / sizeof clean[0]; i++) {
        said[0] = 0;
        const char *path = shared_path("fixtures/tokenizers/%s.gguf", clean[i]);
        assert_int_equal(tamis_gguf_open(path, NULL, &g, NULL), TAMIS_OK);
        assert_int_equal(tamis_gguf_check_tokenizer(g, keep_remark, NULL, NULL), TAMIS_OK);
        if (said[0]) fail_msg("%s: %s", clean[i], said);
        tamis_gguf_close(g);
    }
    const char *path = shared_path("fixtures/tokenizers/small-bpe-holes.gguf");
    assert_int_equal(tamis_gguf_open(path, NULL, &g, NULL), TAMIS_OK);
    assert_int_equal(tamis_gguf_check_tokenizer(g, keep_remark, NULL, NULL), TAMIS_OK);
    expect_said("warning: 1 of 7572 merges give no token, the first is 900 ('Q Z')");
    expect_said("warning: 1 of 7572 merges are there twice");
    expect_said("warning: 5 of the 256 bytes have no token, the first is 0xC0");
    tamis_gguf_close(g);
}

int main(void) {
    require_shared();
    tamis_formats_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deep),  cmocka_unit_test(test_zeros_and_padding),
        cmocka_unit_test(test_model), cmocka_unit_test(test_bpe),
        cmocka_unit_test(test_spm),   cmocka_unit_test(test_other_tokenizers),
        cmocka_unit_test(test_fixtures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
