/* test_model_resume.c - passes that are stopped after any layer and go on from their checkpoint:
 * the same bits as one that was never stopped, whatever the layers carry between them. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/pass.h"

enum { N_TOKENS = 96 };

typedef struct record {
    int64_t n_embd, stop_after; /* -1: never */
    float *final;               /* [N_TOKENS][n_embd] */
} record;

static tamis_status on_layer(void *ctx, int64_t layer, int64_t first, int64_t n, const float *h,
                             tamis_error *err) {
    (void)first, (void)n, (void)h;
    const record *r = ctx;
    if (r->stop_after < 0 || layer <= r->stop_after) return TAMIS_OK;
    return tamis_fail(err, TAMIS_CHECK_FAILED, "stopped");
}

static tamis_status on_final(void *ctx, int64_t first, int64_t n, const float *h,
                             tamis_error *err) {
    (void)err;
    record *r = ctx;
    memcpy(r->final + first * r->n_embd, h, (size_t)(n * r->n_embd) * sizeof *h);
    return TAMIS_OK;
}

static tamis_status save(void *ctx, tamis_checkpoint_writer *w, tamis_error *err) {
    (void)ctx;
    return tamis_checkpoint_put_number(w, 7, err);
}

static tamis_status restore(void *ctx, tamis_checkpoint_reader *r, tamis_error *err) {
    (void)ctx;
    int64_t number;
    return tamis_checkpoint_get_number(r, 7, 7, &number, err);
}

/* Run the fixture's tokens as three sequences; free the final states. */
static float *run(tamis_model *m, const char *fixture, const char *path, bool resume,
                  int64_t stop_after) {
    tamis_error err;
    tamis_checkpoint *cp = NULL;
    const tamis_checkpoint_options options = {.path = path, .resume = resume, .writes = true};
    record r = {.n_embd = tamis_model_n_embd(m), .stop_after = stop_after};
    r.final = calloc((size_t)(N_TOKENS * r.n_embd), sizeof *r.final);
    tamis_observer observer = {
        .ctx = &r, .on_layer = on_layer, .on_final = on_final, .save = save, .restore = restore};
    if (path && tamis_checkpoint_new(&options, &cp, &err)) fail_msg("%s", err.message);
    tamis_pass_options pass = {.checkpoint = cp};
    char *tokens = slurp(shared_path("fixtures/arch/%s.tokens", fixture), NULL);
    tamis_status st =
        tamis_pass_run(m, (const int32_t *)tokens, N_TOKENS, 32, &pass, &observer, 1, &err);
    if (st != (stop_after < 0 ? TAMIS_OK : TAMIS_CHECK_FAILED)) fail_msg("%s", err.message);
    free(tokens);
    tamis_checkpoint_free(cp);
    return r.final;
}

static void goes_on_after_any_layer(void **state) {
    (void)state;
    const char *const fixtures[] = {"gemma4", "gemma4moe", "gpt-oss", "qwen35", "deepseek2"};
    char path[4200];
    snprintf(path, sizeof path, "%s/run.checkpoint", temp_dir());
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        tamis_error err;
        tamis_model *m = NULL;
        if (tamis_model_open(shared_path("fixtures/arch/%s.gguf", fixtures[i]), NULL, &m, &err))
            fail_msg("%s", err.message);
        float *whole = run(m, fixtures[i], NULL, false, -1);
        for (int64_t layer = 0; layer + 1 < tamis_model_n_layers(m); layer++) {
            free(run(m, fixtures[i], path, false, layer));
            float *resumed = run(m, fixtures[i], path, true, -1);
            assert_memory_equal(resumed, whole,
                                (size_t)(N_TOKENS * tamis_model_n_embd(m)) * sizeof(float));
            free(resumed);
        }
        free(whole);
        tamis_model_close(m);
    }
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_after_any_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
