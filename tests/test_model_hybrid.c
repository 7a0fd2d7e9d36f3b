/* test_model_hybrid.c - what the fixtures of the hybrid families do not have: the older fused form
 * of the projections, layers named one by one, a decay that grows. */
#include "support_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_internal.h"

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

/* The bytes of blk.N's tensor of that name, as they are stored; free them. */
static char *bytes_of(const tamis_gguf *g, const char *like, const char *name,
                      const tamis_gguf_tensor **t) {
    char whole[64];
    int n_prefix = (int)(strchr(like + 4, '.') - like + 1);
    snprintf(whole, sizeof whole, "%.*s%s", n_prefix, like, name);
    *t = tamis_gguf_find_tensor(g, whole);
    assert_non_null(*t);
    char *data = malloc((*t)->n_bytes);
    change_ok(tamis_gguf_read_tensor(g, *t, 0, (*t)->n_bytes, data, &change_error));
    return data;
}

/* Sizes of the fixture qwen3next: key heads, value heads of each, elements of a head. */
enum { KEYS = 2, SHARED = 2, SIZE = 32, IN_ROWS = KEYS * (2 + 2 * SHARED) * SIZE };

/* Rows of attn_qkv and attn_gate as ssm_in has them: per key head q, k, its values, their z. */
static char *fuse(const tamis_gguf *g, const char *like, uint64_t *n_bytes) {
    const tamis_gguf_tensor *tq, *tz;
    char *qkv = bytes_of(g, like, "attn_qkv.weight", &tq);
    char *z = bytes_of(g, like, "attn_gate.weight", &tz);
    assert_int_equal(tq->ne[1] + tz->ne[1], IN_ROWS);
    size_t head = tq->n_bytes / tq->ne[1] * SIZE;
    char *in = malloc(IN_ROWS / SIZE * head), *at = in;
    for (int k = 0; k < KEYS; k++) {
        memcpy(at, qkv + (size_t)k * head, head);
        memcpy(at + head, qkv + (size_t)(KEYS + k) * head, head);
        memcpy(at + 2 * head, qkv + (size_t)(2 * KEYS + k * SHARED) * head, SHARED * head);
        memcpy(at + (2 + SHARED) * head, z + (size_t)(k * SHARED) * head, SHARED * head);
        at += (2 + 2 * SHARED) * head;
    }
    free(qkv);
    free(z);
    *n_bytes = IN_ROWS / SIZE * head;
    return in;
}

static void add_fused(tamis_gguf_writer *w, const tamis_gguf *g, bool is_data) {
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        uint64_t n_bytes = t->n_bytes, ne[] = {t->ne[0], IN_ROWS};
        bool is_fused = ends_with(t->name, ".attn_qkv.weight");
        char name[64], *data;
        if (ends_with(t->name, ".attn_gate.weight")) continue;
        if (is_fused) {
            snprintf(name, sizeof name, "%.*sssm_in.weight", (int)(strstr(t->name, "attn") - t->name),
                     t->name);
            data = fuse(g, t->name, &n_bytes);
        } else {
            data = malloc(n_bytes);
            change_ok(tamis_gguf_read_tensor(g, t, 0, n_bytes, data, &change_error));
        }
        change_ok(is_data    ? tamis_gguf_write_data(w, data, n_bytes, &change_error)
                  : is_fused ? tamis_gguf_add_tensor(w, name, t->type_id, 2, ne, &change_error)
                             : tamis_gguf_add_tensor(w, t->name, t->type_id, t->n_dims, t->ne,
                                                     &change_error));
        free(data);
    }
}

static void older_projections(void **state) {
    (void)state;
    tamis_gguf *g = open_fixture("qwen3next");
    tamis_gguf_writer *w = NULL;
    change_ok(tamis_gguf_writer_new(&w, &change_error));
    change_ok(tamis_gguf_set_all(w, g, &change_error));
    add_fused(w, g, false);
    change_ok(tamis_gguf_begin(w, changed_path(), &change_error));
    add_fused(w, g, true);
    change_ok(tamis_gguf_commit(w, &change_error));
    tamis_gguf_writer_free(w);
    tamis_gguf_close(g);
    assert_like_fixture("qwen3next");
}

/* An array of flags for the fixture's 8 blocks, whose 4th and 8th are attention. */
static void layers_one_by_one(void **state) {
    (void)state;
    enum { BLOCKS = 8, INTERVAL = 4 };
    const char *key = "qwen35.attention.recurrent_layers";
    const size_t n_head = 24 + 8 + strlen(key) + 4 + 4 + 8;
    char *data;
    tamis_gguf *all = array_of(key, 1, BLOCKS, &data), *flags = NULL;
    const change other_interval = {.key = "qwen35.full_attention_interval",
                                   .kind = TAMIS_GGUF_U32,
                                   .value = 3};
    change c = {.copy = all, .also = &other_interval};
    check_refused("qwen35", &c, "blk.3.", "is missing");
    for (int i = INTERVAL - 1; i < BLOCKS; i += INTERVAL) memset(data + n_head + 4 * i, 0, 4);
    change_ok(tamis_gguf_open_memory(data, n_head + 4 * BLOCKS, NULL, &flags, &change_error));
    c.copy = flags;
    check_opens("qwen35", &c);
    assert_like_fixture("qwen35");
    c.copy = NULL;
    check_refused("qwen35", &c, "blk.2.", "is missing");
    c = (change){.unset = "qwen35.full_attention_interval"};
    check_opens("qwen35", &c);
    assert_like_fixture("qwen35");
    tamis_gguf_close(flags);
    tamis_gguf_close(all);
    free(data);
}

/* A prediction block is full attention, whatever the interval says of it. */
static void prediction_blocks_attend(void **state) {
    (void)state;
    tamis_model *m = NULL;
    change_ok(tamis_model_open(shared_path("fixtures/arch/qwen35-mtp.gguf"), NULL, &m,
                               &change_error));
    assert_int_equal(m->hp.n_layers, 4);
    assert_int_equal(m->hp.n_blocks, 5);
    assert_int_equal(m->hp.layers[2].mixer, TAMIS_MIXER_DELTA_NET);
    assert_int_equal(m->hp.layers[3].mixer, TAMIS_MIXER_ATTENTION);
    assert_int_equal(m->hp.layers[4].mixer, TAMIS_MIXER_ATTENTION);
    tamis_model_close(m);
}

/* ssm_a holds minus an exponential: a file where it is positive would grow without bound. */
static void growing_states_are_refused(void **state) {
    (void)state;
    tamis_gguf *g = open_fixture("qwen35");
    size_t n_bytes;
    char *file = slurp(shared_path("fixtures/arch/qwen35.gguf"), &n_bytes);
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, "blk.1.ssm_a");
    float stored[16];
    assert_non_null(t);
    assert_true(t->n_bytes <= sizeof stored);
    change_ok(tamis_gguf_read_tensor(g, t, 0, t->n_bytes, stored, &change_error));
    char *at = memmem(file, n_bytes, stored, t->n_bytes);
    assert_non_null(at);
    stored[2] = 0.25f;
    memcpy(at, stored, t->n_bytes);
    tamis_gguf_close(g);
    FILE *out = fopen(changed_path(), "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file, 1, n_bytes, out), n_bytes);
    assert_int_equal(fclose(out), 0);
    free(file);
    tamis_model *m = NULL;
    const int32_t tokens[] = {1, 2, 3};
    change_ok(tamis_model_open(changed_path(), NULL, &m, &change_error));
    assert_int_equal(tamis_pass_run(m, tokens, 3, 3, NULL, NULL, 0, &change_error),
                     TAMIS_BAD_INPUT);
    assert_non_null(strstr(change_error.message, "blk.1.ssm_a"));
    assert_non_null(strstr(change_error.message, "element 2 is 0.25"));
    tamis_model_close(m);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(older_projections),
        cmocka_unit_test(layers_one_by_one),
        cmocka_unit_test(prediction_blocks_attend),
        cmocka_unit_test(growing_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
