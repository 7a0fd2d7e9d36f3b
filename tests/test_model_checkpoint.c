/* test_model_checkpoint.c - checkpoints without a model: what was saved comes back to the bit, no
 * changed or cut file does, and when one is written. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "formats/formats.h"
#include "model/checkpoint_internal.h"

enum { N_TOKENS = 3, N_EMBD = 5, N_LAYERS = 7, N_KEPT = 4, DIGEST_BYTES = 32 };

/* What an observer has gathered. */
typedef struct gathered {
    int64_t n;
    double values[N_KEPT];
} gathered;

static tamis_status save(void *ctx, tamis_checkpoint_writer *w, tamis_error *err) {
    const gathered *g = ctx;
    tamis_status st = tamis_checkpoint_put_number(w, g->n, err);
    return st ? st : tamis_checkpoint_put(w, g->values, (uint64_t)g->n * sizeof *g->values, err);
}

static tamis_status restore(void *ctx, tamis_checkpoint_reader *r, tamis_error *err) {
    gathered *g = ctx;
    tamis_status st = tamis_checkpoint_get_number(r, 0, N_KEPT, &g->n, err);
    return st ? st : tamis_checkpoint_get(r, g->values, (uint64_t)g->n * sizeof *g->values, err);
}

static char path[4200];
static char last_line[2048]; /* of the log */

static void keep_line(void *ctx, tamis_log_level level, const char *text) {
    (void)ctx, (void)level;
    snprintf(last_line, sizeof last_line, "%s", text);
}

static const tamis_log log_kept = { .line = keep_line };

static tamis_checkpoint *new_checkpoint(bool resume, int64_t every_s, const char *value) {
    tamis_checkpoint *cp;
    tamis_error err = { 0 };
    const tamis_checkpoint_options options = {
        .path = path, .resume = resume, .writes = true, .every_s = every_s, .log = &log_kept
    };
    if (tamis_checkpoint_new(&options, &cp, &err) ||
        tamis_checkpoint_name(cp, "what", value, &err) ||
        tamis_checkpoint_name(cp, "more", "the same", &err))
        fail_msg("%s", err.message);
    return cp;
}

static float h_saved[N_TOKENS * N_EMBD];
static gathered saved = { 3, { 1.0 / 3, 1e-300, 1e300 } };

/* Write a checkpoint after layer 4. */
static void write_one(void) {
    tamis_error err = { 0 };
    tamis_observer observer = { .ctx = &saved, .save = save, .restore = restore };
    for (int i = 0; i < N_TOKENS * N_EMBD; i++) h_saved[i] = 1.0f / (float)(i + 1);
    const tamis_pass_state state = { .n_layers = N_LAYERS,
                                     .n_done = 4,
                                     .n_tokens = N_TOKENS,
                                     .n_embd = N_EMBD,
                                     .h = h_saved,
                                     .observers = &observer,
                                     .n_observers = 1 };
    unlink(path);
    tamis_checkpoint *cp = new_checkpoint(false, 0, "one");
    if (tamis_checkpoint_begin(cp, &err) || tamis_checkpoint_save(cp, &state, &err))
        fail_msg("%s", err.message);
    tamis_checkpoint_free(cp);
}

/* Read it back as a run named `value` would. */
static tamis_status read_one(const char *value, float *h, gathered *g, int64_t *n_done,
                             tamis_error *err) {
    tamis_observer observer = { .ctx = g, .save = save, .restore = restore };
    tamis_pass_state state = { .n_layers = N_LAYERS,
                               .n_tokens = N_TOKENS,
                               .n_embd = N_EMBD,
                               .h = h,
                               .observers = &observer,
                               .n_observers = 1 };
    tamis_checkpoint *cp = new_checkpoint(true, 0, value);
    tamis_status st = tamis_checkpoint_begin(cp, err);
    if (!st) st = tamis_checkpoint_restore(cp, &state, err);
    *n_done = state.n_done;
    tamis_checkpoint_free(cp);
    return st;
}

static void comes_back_to_the_bit(void **state) {
    (void)state;
    float h[N_TOKENS * N_EMBD] = { 0 };
    gathered g = { 0 };
    int64_t n_done;
    tamis_error err = { 0 };
    write_one();
    if (read_one("one", h, &g, &n_done, &err)) fail_msg("%s", err.message);
    assert_int_equal(n_done, 4);
    assert_memory_equal(h, h_saved, sizeof h);
    assert_int_equal(g.n, saved.n);
    assert_memory_equal(g.values, saved.values, sizeof g.values);

    assert_int_equal(read_one("two", h, &g, &n_done, &err), TAMIS_BAD_INPUT);
    if (!strstr(err.message, "what was one, now it is two")) fail_msg("%s", err.message);
    assert_int_equal(n_done, 0);
    unlink(path);
    assert_int_equal(read_one("one", h, &g, &n_done, &err), TAMIS_OK);
    assert_int_equal(n_done, 0);
    if (!strstr(last_line, "there is no checkpoint")) fail_msg("%s", last_line);
}

/* Plainly, for there are many of them: outputs of the library are synced. */
static void put_file(const char *data, size_t n_bytes) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
}

static void refuse(const char *data, size_t n_bytes, const char *how, size_t at) {
    float h[N_TOKENS * N_EMBD];
    gathered g;
    int64_t n_done;
    tamis_error err = { 0 };
    put_file(data, n_bytes);
    tamis_status st = read_one("one", h, &g, &n_done, &err);
    if (st != TAMIS_BAD_INPUT || n_done != 0)
        fail_msg("%s at %d: status %d, %s", how, (int)at, st, err.message);
}

static void no_damage_is_missed(void **state) {
    (void)state;
    size_t n;
    write_one();
    char *data = slurp(path, &n), *copy = malloc(n + 1);
    assert_non_null(copy);
    for (size_t i = 0; i < n; i += i < 100 || i + 400 > n ? 1 : 7) {
        memcpy(copy, data, n);
        copy[i] = (char)(copy[i] ^ 0x10);
        refuse(copy, n, "a byte changed", i);
    }
    for (size_t i = 8; i < n; i += 11) refuse(data, i, "cut off", i);
    memcpy(copy, data, n);
    copy[n] = 0;
    refuse(copy, n + 1, "one byte more", n);
    free(copy);
    free(data);
}

/* Where the bytes of a section begin, and their number. */
static size_t find_section(const char *data, size_t n, const char *name, uint64_t *n_bytes) {
    size_t at = 32;
    while (at + 16 <= n) {
        memcpy(n_bytes, data + at + 8, sizeof *n_bytes);
        if (strncmp(data + at, name, 8) == 0) return at + 16;
        at += 16 + (size_t)*n_bytes + DIGEST_BYTES;
    }
    fail_msg("no section '%s'", name);
    return 0;
}

/* A section with other bytes and the right sum. */
static void refuse_value(const char *section, size_t at, const void *value, size_t n_value) {
    size_t n;
    uint64_t n_bytes = 0;
    char hex[TAMIS_HASH_HEX_MAX];
    tamis_error err = { 0 };
    write_one();
    char *data = slurp(path, &n);
    const size_t begin = find_section(data, n, section, &n_bytes);
    memcpy(data + begin + at, value, n_value);
    assert_int_equal(
        tamis_hash_bytes(TAMIS_HASH_XXH3_128, data + begin, (size_t)n_bytes, hex, &err), TAMIS_OK);
    memcpy(data + begin + n_bytes, hex, DIGEST_BYTES);
    refuse(data, n, section, at);
    free(data);
}

static void values_are_checked(void **state) {
    (void)state;
    const int64_t numbers[] = { 0, -1, N_LAYERS + 1, INT64_MAX, INT64_MIN };
    const int64_t kept[] = { -1, 2, 4, N_KEPT + 1, INT64_MAX };
    const int64_t names[] = { -1, 0, 1, 3, 65, INT64_MAX };
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 5; i++) refuse_value("layers", 0, &numbers[i], sizeof numbers[i]);
    for (size_t i = 0; i < 5; i++) refuse_value("observed", 0, &kept[i], sizeof kept[i]);
    for (size_t i = 0; i < 6; i++) refuse_value("names", 0, &names[i], sizeof names[i]);
    for (size_t i = 0; i < 3; i++) refuse_value("hidden", 4 * (i + 3), &bad[i], sizeof bad[i]);
}

static void written_when_it_is_time(void **state) {
    (void)state;
    tamis_error err = { 0 };
    const tamis_pass_state pass = {
        .n_layers = N_LAYERS, .n_done = 1, .n_tokens = N_TOKENS, .n_embd = N_EMBD, .h = h_saved
    };
    unlink(path);
    tamis_checkpoint *cp = new_checkpoint(false, 3600, "one");
    if (tamis_checkpoint_begin(cp, &err) || tamis_checkpoint_save(cp, &pass, &err))
        fail_msg("%s", err.message);
    assert_int_not_equal(access(path, F_OK), 0);
    tamis_checkpoint_free(cp);

    /* What another run left is named; what is no checkpoint is refused and stays. */
    write_one();
    cp = new_checkpoint(false, 3600, "two");
    assert_int_equal(tamis_checkpoint_begin(cp, &err), TAMIS_OK);
    if (!strstr(last_line, "of another run (what was one, now it is two) will be replaced"))
        fail_msg("%s", last_line);
    tamis_checkpoint_remove(cp);
    assert_int_not_equal(access(path, F_OK), 0);
    put_file("a letter", 8);
    assert_int_equal(tamis_checkpoint_begin(cp, &err), TAMIS_BAD_INPUT);
    tamis_checkpoint_remove(cp);
    assert_int_equal(access(path, F_OK), 0);
    tamis_checkpoint_free(cp);
}

int main(void) {
    tamis_formats_init();
    snprintf(path, sizeof path, "%s/run.checkpoint", temp_dir());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_to_the_bit),
        cmocka_unit_test(no_damage_is_missed),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(written_when_it_is_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
