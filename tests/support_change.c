/* support_change.c - see support_change.h. */
#include "support_change.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOKENS = 96 };

tamis_error change_error;

void change_ok(tamis_status st) {
    if (st) fail_msg("%s", change_error.message);
}

static bool is(const char *name, const char *other) {
    return other && strcmp(name, other) == 0;
}

/* Key i of the file under the name that it has in another architecture. */
static void set_renamed(tamis_gguf_writer *w, const tamis_gguf *g, const change *c, int32_t i) {
    tamis_gguf_kv kv = tamis_gguf_kv_at(g, i);
    size_t n = strlen(c->from);
    char key[160];
    int64_t integer = 0;
    double number = 0.0;
    if (kv.key.n_bytes <= n || memcmp(kv.key.data, c->from, n) != 0 || kv.key.data[n] != '.')
        return;
    snprintf(key, sizeof key, "%s%.*s", c->to, (int)(kv.key.n_bytes - n), kv.key.data + n);
    if (tamis_gguf_kv_int(g, &kv, 0, &integer))
        change_ok(tamis_gguf_set_int(w, key, kv.kind, integer, &change_error));
    else if (tamis_gguf_kv_double(g, &kv, 0, &number))
        change_ok(tamis_gguf_set_double(w, key, kv.kind, number, &change_error));
    else
        fail_msg("%s: a kind of value that cannot be renamed", key);
}

static void set_key(tamis_gguf_writer *w, const change *c) {
    if (c->kind == TAMIS_GGUF_STRING)
        change_ok(tamis_gguf_set_string(w, c->key, c->text, strlen(c->text), &change_error));
    else if (c->kind == TAMIS_GGUF_F32)
        change_ok(tamis_gguf_set_double(w, c->key, c->kind, c->value, &change_error));
    else if (c->kind == TAMIS_GGUF_BOOL)
        change_ok(tamis_gguf_set_bool(w, c->key, c->value != 0.0, &change_error));
    else
        change_ok(tamis_gguf_set_int(w, c->key, c->kind, (int64_t)c->value, &change_error));
}

static void set_keys(tamis_gguf_writer *w, const tamis_gguf *g, const change *c) {
    change_ok(tamis_gguf_set_all(w, g, &change_error));
    for (int32_t i = 0; c->from && i < tamis_gguf_n_kv(g); i++) set_renamed(w, g, c, i);
    if (c->to)
        change_ok(tamis_gguf_set_string(w, "general.architecture", c->to, strlen(c->to),
                                        &change_error));
    if (c->unset) tamis_gguf_unset(w, c->unset);
    if (c->copy) {
        tamis_gguf_kv kv = tamis_gguf_kv_at(c->copy, 0);
        change_ok(tamis_gguf_set_copy(w, c->copy, &kv, &change_error));
    }
    for (; c; c = c->also)
        if (c->key) set_key(w, c);
}

/* The name that a tensor gets; valid until the next call. */
static const char *new_name(const char *name, const change *c) {
    static char renamed[160];
    const char *at = c->part ? strstr(name, c->part) : NULL;
    if (!at) return name;
    snprintf(renamed, sizeof renamed, "%.*s%s%s", (int)(at - name), name, c->new_part,
             at + strlen(c->part));
    return renamed;
}

static void add_infos(tamis_gguf_writer *w, const tamis_gguf *g, const change *c) {
    const uint64_t one[] = {1};
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        uint64_t ne[4];
        memcpy(ne, t->ne, sizeof ne);
        if (is(t->name, c->grow)) ne[t->n_dims - 1]++;
        if (!is(t->name, c->drop))
            change_ok(tamis_gguf_add_tensor(w, new_name(t->name, c), t->type_id, t->n_dims, ne,
                                            &change_error));
    }
    if (c->add) change_ok(tamis_gguf_add_tensor(w, c->add, TAMIS_TYPE_F32, 1, one, &change_error));
}

static void write_tensors(tamis_gguf_writer *w, const tamis_gguf *g, const change *c) {
    const float zero = 0.0f;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        if (is(t->name, c->drop)) continue;
        bool grows = is(t->name, c->grow);
        uint64_t n_bytes = t->n_bytes;
        if (grows) n_bytes += t->n_bytes / t->ne[t->n_dims - 1];
        void *data = calloc(1, n_bytes);
        change_ok(tamis_gguf_read_tensor(g, t, 0, t->n_bytes, data, &change_error));
        change_ok(tamis_gguf_write_data(w, data, n_bytes, &change_error));
        free(data);
    }
    if (c->add) change_ok(tamis_gguf_write_data(w, &zero, sizeof zero, &change_error));
}

const char *changed_path(void) {
    static char path[4200];
    snprintf(path, sizeof path, "%s/changed.gguf", temp_dir());
    return path;
}

tamis_gguf *open_fixture(const char *fixture) {
    tamis_gguf *g = NULL;
    change_ok(tamis_gguf_open(shared_path("fixtures/arch/%s.gguf", fixture), NULL, &g, &change_error));
    return g;
}

/* Write the changed copy and open it as a model; the status is the caller's to judge. */
tamis_status open_changed(const char *fixture, const change *c, tamis_model **out) {
    tamis_gguf *g = open_fixture(fixture);
    tamis_gguf_writer *w = NULL;
    change_ok(tamis_gguf_writer_new(&w, &change_error));
    set_keys(w, g, c);
    add_infos(w, g, c);
    change_ok(tamis_gguf_begin(w, changed_path(), &change_error));
    write_tensors(w, g, c);
    change_ok(tamis_gguf_commit(w, &change_error));
    tamis_gguf_writer_free(w);
    tamis_gguf_close(g);
    return tamis_model_open(changed_path(), NULL, out, &change_error);
}

void check_refused(const char *fixture, const change *c, const char *words,
                          const char *more) {
    tamis_model *m = NULL;
    tamis_status st = open_changed(fixture, c, &m);
    if (st != TAMIS_BAD_INPUT)
        fail_msg("%s: status %d where '%s' should be refused (%s%s)", fixture, (int)st, words,
                 c->key ? c->key : c->unset ? c->unset : "", c->key ? " set" : "");
    assert_null(m);
    if (!strstr(change_error.message, words) || (more && !strstr(change_error.message, more)) ||
        !strstr(change_error.message, "changed.gguf"))
        fail_msg("%s: '%s' does not say '%s' and '%s'", fixture, change_error.message, words,
                 more ? more : "");
}

void check_opens(const char *fixture, const change *c) {
    tamis_model *m = NULL;
    change_ok(open_changed(fixture, c, &m));
    tamis_model_close(m);
}

typedef struct states {
    float *h;
    int64_t n_embd;
} states;

static tamis_status on_final(void *ctx, int64_t first, int64_t n, const float *h,
                             tamis_error *err) {
    (void)err;
    states *s = ctx;
    memcpy(s->h + first * s->n_embd, h, (size_t)(n * s->n_embd) * sizeof *h);
    return TAMIS_OK;
}

float *final_states(const char *fixture, const char *path, int64_t *n_embd) {
    tamis_model *m = NULL;
    change_ok(tamis_model_open(path, NULL, &m, &change_error));
    char *tokens = slurp(shared_path("fixtures/arch/%s.tokens", fixture), NULL);
    states s = {.n_embd = tamis_model_n_embd(m)};
    s.h = calloc((size_t)(N_TOKENS * s.n_embd), sizeof *s.h);
    tamis_observer observer = {.ctx = &s, .on_final = on_final};
    change_ok(tamis_pass_run(m, (const int32_t *)tokens, N_TOKENS, N_TOKENS, NULL, &observer, 1,
                             &change_error));
    free(tokens);
    tamis_model_close(m);
    *n_embd = s.n_embd;
    return s.h;
}

void assert_like_fixture(const char *fixture) {
    int64_t n;
    float *expected = final_states(fixture, shared_path("fixtures/arch/%s.gguf", fixture), &n);
    float *found = final_states(fixture, changed_path(), &n);
    for (int64_t i = 0; i < N_TOKENS * n; i++)
        if (!(fabsf(found[i] - expected[i]) <= 1e-5f * (1.0f + fabsf(expected[i]))))
            fail_msg("%s: element %lld is %g, expected %g", fixture, (long long)i,
                     (double)found[i], (double)expected[i]);
    free(expected);
    free(found);
}

tamis_gguf *array_of(const char *name, uint32_t value, uint64_t n, char **out_data) {
    size_t n_name = strlen(name), n_bytes = 24 + 8 + n_name + 4 + 4 + 8 + 4 * n;
    uint64_t counts[] = {0, 1, n_name}, n_elems = n;
    uint32_t version = 3, kinds[] = {TAMIS_GGUF_ARRAY, TAMIS_GGUF_U32};
    char *data = calloc(1, n_bytes + 64), *at = data;
    memcpy(at, "GGUF", 4);
    memcpy(at + 4, &version, 4);
    memcpy(at + 8, counts, sizeof counts);
    memcpy(at + 32, name, n_name);
    at += 32 + n_name;
    memcpy(at, kinds, sizeof kinds);
    memcpy(at + 8, &n_elems, 8);
    for (uint64_t i = 0; i < n; i++) memcpy(at + 16 + 4 * i, &value, 4);
    tamis_gguf *g = NULL;
    change_ok(tamis_gguf_open_memory(data, n_bytes, NULL, &g, &change_error));
    *out_data = data;
    return g;
}
