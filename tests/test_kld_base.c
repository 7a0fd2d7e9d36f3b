/* The base file: what is written is read back bit for bit, and no damaged file is accepted. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "formats/formats.h"
#include "kld/base_file.h"

enum { N_VOCAB = 321, N_EMBD = 48, N_CTX = 9, N_CHUNKS = 5 };

static int32_t tokens[N_CTX * N_CHUNKS];
static float hidden[N_CTX * N_CHUNKS * N_EMBD], weights[(N_VOCAB + 1) * N_EMBD], bias[N_VOCAB];
static tamis_head *head, *other_head;
static tamis_kld_plan plan;
static bool has_mtp; /* two multi-token prediction blocks, the second with a head of its own */
static tamis_error err;

static const tamis_kld_base_info INFO = {
    .n_ctx = N_CTX,
    .n_chunks = N_CHUNKS,
    .parent = {.name = "parent.gguf",
               .hash = "0123456789abcdef0123456789abcdef",
               .arch = "qwen3",
               .vocab_hash = "ffffffffffffffff0000000000000000",
               .n_bytes = 123456789,
               .bits_per_weight = 4.57},
    .text = {.name = "text.txt", .hash = "00000000000000000000000000000001", .n_tokens = 50},
};

static int set_up(void **unused) {
    (void)unused;
    for (int i = 0; i < N_CTX * N_CHUNKS; ++i)
        tokens[i] = (i * 97) % N_VOCAB;
    for (int i = 0; i < N_CTX * N_CHUNKS * N_EMBD; ++i)
        hidden[i] = sinf((float)i) * 3.7f;
    for (int i = 0; i < (N_VOCAB + 1) * N_EMBD; ++i)
        weights[i] = cosf((float)i);
    for (int i = 0; i < N_VOCAB; ++i)
        bias[i] = 0.01f * (float)i;
    assert_int_equal(
        tamis_kld_plan_init(&plan, tokens, N_CTX, N_CHUNKS, TAMIS_KLD_SCORE_LLAMA, &err), TAMIS_OK);
    assert_int_equal(tamis_head_from_bytes(TAMIS_TYPE_F32, N_EMBD, N_VOCAB,
                                           (const uint8_t *)weights, bias, 0.7f, 30.0f, &head,
                                           &err),
                     TAMIS_OK);
    assert_int_equal(tamis_head_from_bytes(TAMIS_TYPE_F32, N_EMBD, N_VOCAB,
                                           (const uint8_t *)(weights + N_EMBD), NULL, 0.5f, 30.0f,
                                           &other_head, &err),
                     TAMIS_OK);
    return 0;
}

static int tear_down(void **unused) {
    (void)unused;
    tamis_head_close(head);
    tamis_head_close(other_head);
    return 0;
}

static const char *write_base(const char *name) {
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s", temp_dir(), name);
    tamis_kld_base_info info = INFO;
    const tamis_kld_side mtp[2] = {{head, hidden + 3}, {other_head, hidden + 7}};
    info.n_mtp = has_mtp ? 2 : 0;
    info.mtp[1].has_head = has_mtp;
    if (tamis_kld_base_write(path, &info, &plan, hidden, head, mtp, &err))
        fail_msg("%s", err.message);
    return path;
}

/* The same file as before there were such blocks in it. */
static void without_mtp_it_is_version_1(void **unused) {
    (void)unused;
    size_t n;
    char *bytes = slurp(write_base("plain.base"), &n);
    assert_int_equal(bytes[8], 1);
    assert_null(memmem(bytes, n, "\"mtp\"", 5));
    free(bytes);
}

static void mtp_blocks_are_read(void **unused) {
    (void)unused;
    tamis_kld_base base;
    has_mtp = true;
    if (tamis_kld_base_read(write_base("mtp.base"), NULL, &base, &err)) fail_msg("%s", err.message);
    has_mtp = false;
    assert_int_equal(base.info.n_mtp, 2);
    assert_true(!base.info.mtp[0].has_head && base.info.mtp[1].has_head);
    for (int k = 0; k < 2; ++k) {
        tamis_kld_plan of_block;
        assert_int_equal(tamis_kld_plan_mtp(&base.plan, k, &of_block, &err), TAMIS_OK);
        assert_int_equal(of_block.n_rows, N_CHUNKS * (N_CTX - 2 - N_CTX / 2 - k));
        assert_memory_equal(base.mtp_hidden[k].data, hidden + (k ? 7 : 3),
                            (size_t)of_block.n_rows * N_EMBD * 4);
    }
    assert_null(base.mtp_heads[0]);
    assert_memory_equal(base.mtp_weights[1].data, weights + N_EMBD, sizeof weights - N_EMBD * 4);
    assert_true(tamis_head_weight_scale(base.mtp_heads[1]) == 0.5f);
    assert_true(tamis_head_softcap(base.mtp_heads[1]) == 30.0f);
    assert_null(tamis_head_bias(base.mtp_heads[1]));
    tamis_kld_base_release(&base);
}

static void what_is_written_is_read(void **unused) {
    (void)unused;
    tamis_kld_base base;
    if (tamis_kld_base_read(write_base("good.base"), NULL, &base, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(base.tokens, tokens, sizeof tokens);
    assert_int_equal(base.plan.n_rows, N_CHUNKS * (N_CTX - 1 - N_CTX / 2));
    assert_memory_equal(base.hidden.data, hidden, (size_t)base.plan.n_rows * N_EMBD * 4);
    assert_memory_equal(base.weights.data, weights, sizeof weights - N_EMBD * 4);
    assert_memory_equal(base.bias, bias, sizeof bias);
    assert_string_equal(base.info.parent.name, INFO.parent.name);
    assert_string_equal(base.info.parent.hash, INFO.parent.hash);
    assert_string_equal(base.info.parent.arch, INFO.parent.arch);
    assert_string_equal(base.info.parent.vocab_hash, INFO.parent.vocab_hash);
    assert_int_equal(base.info.parent.n_bytes, INFO.parent.n_bytes);
    assert_true(base.info.parent.bits_per_weight == INFO.parent.bits_per_weight);
    assert_string_equal(base.info.text.hash, INFO.text.hash);
    assert_int_equal(base.info.text.n_tokens, 50);
    assert_int_equal(base.info.score, TAMIS_KLD_SCORE_LLAMA);
    assert_true(base.info.weight_scale == 0.7f && base.info.softcap == 30.0f);
    assert_int_equal(tamis_head_n_vocab(base.head), N_VOCAB);
    tamis_kld_base_release(&base);
}

/* Read a file of these bytes; it must be refused with one printable line. */
static void expect_refused(const char *bytes, size_t n_bytes, const char *what, size_t where) {
    char path[8192];
    snprintf(path, sizeof path, "%s/bad.base", temp_dir());
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    fclose(f);
    tamis_kld_base base;
    memset(&err, 0, sizeof err);
    const tamis_status st = tamis_kld_base_read(path, NULL, &base, &err);
    if (st != TAMIS_BAD_INPUT) fail_msg("%s at %zu: status %d", what, where, (int)st);
    assert_true(strlen(err.message) > 20 && !strchr(err.message, '\n'));
}

static void every_flipped_byte_is_noticed(void **unused) {
    has_mtp = *unused != NULL; /* the test's state */
    size_t n;
    char *bytes = slurp(write_base("flip.base"), &n);
    has_mtp = false;
    for (size_t i = 0; i < n; i += i < 32 ? 1 : *unused ? 211 : 29) {
        bytes[i] = (char)(bytes[i] ^ 0x10);
        expect_refused(bytes, n, "flipped", i);
        bytes[i] = (char)(bytes[i] ^ 0x10);
    }
    free(bytes);
}

static void every_cut_is_noticed(void **unused) {
    has_mtp = *unused != NULL; /* the test's state */
    size_t n;
    char *bytes = slurp(write_base("cut.base"), &n);
    has_mtp = false;
    for (size_t i = 0; i < n; i += i < 32 ? 1 : *unused ? 997 : 211)
        expect_refused(bytes, i, "cut", i);
    expect_refused(bytes, n - 1, "cut", n - 1);
    char *longer = calloc(1, n + 1);
    assert_non_null(longer);
    memcpy(longer, bytes, n);
    expect_refused(longer, n + 1, "longer", n);
    free(longer);
    free(bytes);
}

static void put_u64(char *bytes, uint64_t value) {
    for (int i = 0; i < 8; ++i)
        bytes[i] = (char)(value >> (8 * i));
}

/* Replace `from` by `to` (of the same length) in the header and make its checksum right again. */
static void header_with(const char *from, const char *to) {
    size_t n;
    char *bytes = slurp(write_base("header.base"), &n);
    uint64_t n_json;
    memcpy(&n_json, bytes + 12, 8);
    char *at = memmem(bytes, 20 + (size_t)n_json, from, strlen(from));
    if (!at) fail_msg("no %s in the header", from);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    put_u64(bytes + 20 + n_json, XXH3_64bits(bytes, 20 + (size_t)n_json));
    expect_refused(bytes, n, to, 0);
    free(bytes);
}

static void sound_checksums_do_not_hide_a_wrong_header(void **unused) {
    (void)unused;
    header_with("\"n_ctx\":9", "\"n_ctx\":8");
    header_with("\"n_ctx\":9", "\"n_ctx\":1");
    header_with("\"n_ctx\":9", "\"n_ctx\":0");
    header_with("\"n_ctx\":9", "\"n_cty\":9");
    header_with("\"n_chunks\":5", "\"n_chunks\":4");
    header_with("\"n_chunks\":5", "\"n_chunks\":6");
    header_with("\"n_chunks\":5", "\"n_chunks\":0");
    header_with("\"n_vocab\":321", "\"n_vocab\":320");
    header_with("\"n_vocab\":321", "\"n_vocab\":1e9");
    header_with("\"n_vocab\":321", "\"n_vocab\":3.5");
    header_with("\"n_embd\":48", "\"n_embd\":47");
    header_with("\"n_embd\":48", "\"n_embd\":-1");
    header_with("\"type_id\":0", "\"type_id\":1");
    header_with("\"type_id\":0", "\"type_id\":9");
    header_with("\"type_id\":0", "\"type_id\":4");
    header_with("\"has_bias\":1", "\"has_bias\":0");
    header_with("\"has_bias\":1", "\"has_bias\":2");
    header_with("\"score\":\"llama\"", "\"score\":\"other\"");
    header_with("\"score\":\"llama\"", "\"score\":1234567");
    header_with("0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF");
    header_with("\"n_tokens\":50", "\"n_tokens\":44");
    header_with("\"softcap\":30", "\"softcap\":-3");
    header_with("{\"tool_version\"", "[\"tool_version\"");
    has_mtp = true;
    header_with("\"mtp\":", "\"mtq\":");
    header_with("\"has_head\":0", "\"has_head\":1");
    header_with("\"has_head\":1", "\"has_head\":0");
    header_with("\"has_head\":1", "\"has_head\":7");
    header_with("\"weight_scale\":0.5", "\"weight_scale\":\"5\"");
    header_with("[{\"has_head\":0},", "               [");
    header_with("\"n_ctx\":9", "\"n_ctx\":6");
    has_mtp = false;
}

static void a_base_of_the_peer_is_named(void **unused) {
    (void)unused;
    const char bytes[64] = "_logits_";
    expect_refused(bytes, sizeof bytes, "peer", 0);
    assert_non_null(strstr(err.message, "llama-perplexity"));
}

static void values_are_checked_after_the_checksums(void **unused) {
    (void)unused;
    const int32_t token = tokens[3];
    tokens[3] = N_VOCAB;
    size_t n;
    char *bytes = slurp(write_base("values.base"), &n);
    tokens[3] = token;
    expect_refused(bytes, n, "token", 3);
    assert_non_null(strstr(err.message, "321"));
    free(bytes);
    const float value = hidden[100];
    hidden[100] = NAN;
    bytes = slurp(write_base("values.base"), &n);
    hidden[100] = value;
    expect_refused(bytes, n, "hidden", 100);
    free(bytes);
    const int last = 7 + N_CHUNKS * 2 * N_EMBD - 1; /* of the second block only */
    const float kept = hidden[last];
    has_mtp = true;
    hidden[last] = INFINITY;
    bytes = slurp(write_base("values.base"), &n);
    hidden[last] = kept;
    has_mtp = false;
    expect_refused(bytes, n, "hidden", (size_t)last);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(without_mtp_it_is_version_1),
        cmocka_unit_test(mtp_blocks_are_read),
        cmocka_unit_test(every_flipped_byte_is_noticed),
        cmocka_unit_test(every_cut_is_noticed),
        {"every_flipped_byte_is_noticed, mtp", every_flipped_byte_is_noticed, NULL, NULL, tokens},
        {"every_cut_is_noticed, mtp", every_cut_is_noticed, NULL, NULL, tokens},
        cmocka_unit_test(sound_checksums_do_not_hide_a_wrong_header),
        cmocka_unit_test(a_base_of_the_peer_is_named),
        cmocka_unit_test(values_are_checked_after_the_checksums),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
