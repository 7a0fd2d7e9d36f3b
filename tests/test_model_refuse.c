/* test_model_refuse.c - every fixture architecture with each of its tensors in turn gone or of
 * another shape, and with hyper-parameters that make no sense: refused by name before anything is
 * computed. */
#include "support_change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const fixtures[] = {
    "deepseek2",    "gemma3",      "gemma4", "gemma4moe",    "glm4moe",  "gpt-oss",
    "llama",        "llama-bias",  "llama-yarn", "mixtral",  "qwen2",    "qwen2moe",
    "qwen3",        "qwen3-scales", "qwen35", "qwen35-mtp",  "qwen35moe", "qwen35moe-mtp",
    "qwen3moe",     "qwen3next",
};
enum { N_FIXTURES = sizeof fixtures / sizeof fixtures[0] };

/* Tensors that a model may lack, by the end of their name; fixture NULL: in all. */
static const struct {
    const char *fixture, *end;
} optional[] = {
    {NULL, ".bias"},
    {NULL, ".scale"},
    {NULL, "output.weight"},
    {NULL, "layer_output_scale.weight"},
    {NULL, "nextn.embed_tokens.weight"},
    {NULL, "nextn.shared_head_head.weight"},
    {NULL, "nextn.shared_head_norm.weight"},
    {"llama", "rope_freqs.weight"},
    {"gemma4", "attn_v.weight"},
    {"gemma4moe", "attn_v.weight"},
    {"glm4moe", "attn_q_norm.weight"},
    {"glm4moe", "attn_k_norm.weight"},
};
/* Those of the first kind that some may not. */
static const struct {
    const char *fixture, *end;
} needed[] = {
    {NULL, "ssm_dt.bias"},
    {NULL, "attn_output.weight"},
    {"glm4moe", "exp_probs_b.bias"},
    {"gpt-oss", ".bias"},
    {"gpt-oss", "output.weight"},
    {"qwen2moe", "output.weight"},
    {"gemma4moe", ".scale"},
};

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

static bool may_be_missing(const char *fixture, const char *name) {
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if ((!needed[i].fixture || strcmp(needed[i].fixture, fixture) == 0) &&
            ends_with(name, needed[i].end))
            return false;
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++)
        if ((!optional[i].fixture || strcmp(optional[i].fixture, fixture) == 0) &&
            ends_with(name, optional[i].end))
            return true;
    return false;
}

/* The tensor that is asked for when `name` is gone: a fused one may stand for two. */
static const char *asked_for(const char *name) {
    return strstr(name, "ffn_gate_up_exps") ? "ffn_gate_exps" : name;
}

static const char *stem_of(const char *name) {
    const char *dot = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    return dot ? dot + 1 : name;
}

/* Whether an earlier tensor has the same name in another block, and the same shape: one of each
 * will do, and those of the last block, which may be one of prediction. */
static bool is_repeated(const tamis_gguf *g, int64_t i_tensor) {
    int64_t n = tamis_gguf_n_tensors(g);
    const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i_tensor);
    const char *last = tamis_gguf_tensor_at(g, n - 1)->name;
    if (strncmp(t->name, last, (size_t)(stem_of(last) - last)) == 0) return false;
    for (int64_t i = 0; i < i_tensor; i++) {
        const tamis_gguf_tensor *other = tamis_gguf_tensor_at(g, i);
        if (strcmp(stem_of(other->name), stem_of(t->name)) == 0 &&
            memcmp(other->ne, t->ne, sizeof t->ne) == 0)
            return true;
    }
    return false;
}

static void tensors_missing_or_misshapen(void **state) {
    (void)state;
    for (int m = 0; m < N_FIXTURES; m++) {
        tamis_gguf *g = open_fixture(fixtures[m]);
        for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
            if (is_repeated(g, i)) continue;
            const char *name = tamis_gguf_tensor_at(g, i)->name;
            change drop = {.drop = name}, grow = {.grow = name};
            if (may_be_missing(fixtures[m], name))
                check_opens(fixtures[m], &drop);
            else
                check_refused(fixtures[m], &drop, asked_for(name), "missing");
            check_refused(fixtures[m], &grow, name, "expected");
        }
        tamis_gguf_close(g);
    }
}

int main(void) {
    require_shared();
    /* a thousand small files, each synced: in memory where the system has a place for that */
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_missing_or_misshapen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
