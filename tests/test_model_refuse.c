/* test_model_refuse.c - every fixture architecture with each of its tensors in turn gone or of
 * another shape, and with hyper-parameters that make no sense: refused by name before anything is
 * computed. */
#include "support_change.h"

#include <math.h>
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

/* A key of the fixture's architecture with a value that makes no sense. */
enum { UNSET = -1, ARRAY = -2, REAL = TAMIS_GGUF_F32, WHOLE = TAMIS_GGUF_I32 };
typedef struct nonsense {
    const char *fixture; /* NULL: all */
    const char *suffix;
    int kind; /* UNSET; ARRAY of n times the value; REAL; WHOLE */
    double value;
    const char *words; /* that the message has; NULL: the suffix */
    uint64_t n;
} nonsense;

static void refuse(const char *fixture, const nonsense *x) {
    char key[160], *data = NULL;
    tamis_gguf *g = open_fixture(fixture), *array = NULL;
    tamis_bytes arch = {0};
    change c = {0};
    change_ok(tamis_gguf_get_string(g, "general.architecture", &arch, &change_error));
    snprintf(key, sizeof key, "%.*s.%s", (int)arch.n_bytes, arch.data, x->suffix);
    if (x->kind == UNSET) {
        c.unset = key;
    } else if (x->kind == ARRAY) {
        c.copy = array = array_of(key, (uint32_t)(int32_t)x->value, x->n, &data);
    } else {
        c.key = key;
        c.kind = (tamis_gguf_kind)x->kind;
        c.value = x->value;
    }
    check_refused(fixture, &c, x->words ? x->words : x->suffix, NULL);
    tamis_gguf_close(array);
    tamis_gguf_close(g);
    free(data);
}

/* What no model may say. */
static void nonsense_in_all(void **state) {
    (void)state;
    const nonsense all[] = {
        {.suffix = "block_count", .kind = WHOLE, .value = 0},
        {.suffix = "block_count", .kind = WHOLE, .value = -1},
        {.suffix = "block_count", .kind = WHOLE, .value = 1e6},
        {.suffix = "block_count", .kind = UNSET},
        {.suffix = "nextn_predict_layers", .kind = WHOLE, .value = 12},
        {.suffix = "nextn_predict_layers", .kind = WHOLE, .value = -1},
        {.suffix = "embedding_length", .kind = WHOLE, .value = 0},
        {.suffix = "context_length", .kind = WHOLE, .value = 0},
        {.suffix = "attention.head_count", .kind = WHOLE, .value = 0},
        {.suffix = "attention.head_count", .kind = WHOLE, .value = 7, .words = ""},
        {.suffix = "attention.head_count", .kind = ARRAY, .value = 4, .n = 3},
        {.suffix = "attention.head_count_kv", .kind = WHOLE, .value = 5, .words = ""},
        {.suffix = "attention.key_length", .kind = WHOLE, .value = 0},
        {.suffix = "attention.key_length", .kind = WHOLE, .value = 1e6},
        {.suffix = "attention.layer_norm_rms_epsilon", .kind = REAL, .value = 0},
        {.suffix = "attention.layer_norm_rms_epsilon", .kind = REAL, .value = (double)NAN},
        {.suffix = "rope.freq_base", .kind = REAL, .value = 0},
        {.suffix = "rope.freq_base", .kind = REAL, .value = -10000},
        {.suffix = "rope.freq_base", .kind = REAL, .value = (double)INFINITY},
        {.suffix = "rope.freq_base", .kind = REAL, .value = (double)NAN},
        {.suffix = "rope.dimension_count", .kind = WHOLE, .value = 0},
        {.suffix = "rope.dimension_count", .kind = WHOLE, .value = -2},
        {.suffix = "rope.dimension_count", .kind = WHOLE, .value = 7},
        {.suffix = "rope.dimension_count", .kind = WHOLE, .value = 130},
        {.suffix = "rope.scaling.factor", .kind = REAL, .value = 1e-9},
        {.suffix = "rope.scaling.factor", .kind = REAL, .value = -4},
        {.suffix = "rope.scaling.factor", .kind = REAL, .value = (double)NAN},
        {.suffix = "rope.scaling.original_context_length", .kind = WHOLE, .value = 0},
        {.suffix = "rope.scaling.attn_factor", .kind = REAL, .value = (double)INFINITY},
        {.suffix = "expert_count", .kind = WHOLE, .value = 513},
        {.suffix = "expert_count", .kind = WHOLE, .value = -1},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (int m = 0; m < N_FIXTURES; m++)
            refuse(fixtures[m], &all[i]);
}

static void nonsense_of_experts(void **state) {
    (void)state;
    const nonsense all[] = {
        {.suffix = "expert_count", .kind = WHOLE, .value = 0, .words = ""},
        {.suffix = "expert_count", .kind = UNSET, .words = ""},
        {.suffix = "expert_used_count", .kind = WHOLE, .value = 0},
        {.suffix = "expert_used_count", .kind = WHOLE, .value = 9},
        {.suffix = "expert_used_count", .kind = UNSET},
        {.suffix = "expert_feed_forward_length", .kind = WHOLE, .value = -1},
        {.suffix = "expert_group_count", .kind = WHOLE, .value = 9},
        {.suffix = "expert_group_count", .kind = WHOLE, .value = 5},
    };
    for (int m = 0; m < N_FIXTURES; m++) {
        tamis_gguf *g = open_fixture(fixtures[m]);
        bool has_experts = tamis_gguf_find_tensor(g, "blk.1.ffn_down_exps.weight");
        tamis_gguf_close(g);
        bool reads_width = strcmp(fixtures[m], "mixtral") != 0;
        for (size_t i = 0; has_experts && i < sizeof all / sizeof all[0]; i++)
            if (reads_width || strcmp(all[i].suffix, "expert_feed_forward_length") != 0)
                refuse(fixtures[m], &all[i]);
    }
}

static void nonsense_of_families(void **state) {
    (void)state;
    const nonsense all[] = {
        {"deepseek2", "expert_group_used_count", WHOLE, 4, NULL, 0},
        {"deepseek2", "expert_group_used_count", WHOLE, 1, "no room", 0},
        {"deepseek2", "expert_group_used_count", WHOLE, 0, NULL, 0},
        {"deepseek2", "expert_group_used_count", UNSET, 0, NULL, 0},
        {"deepseek2", "expert_group_count", WHOLE, 3, NULL, 0},
        {"deepseek2", "expert_weights_scale", REAL, (double)NAN, NULL, 0},
        {"deepseek2", "expert_weights_scale", REAL, (double)INFINITY, NULL, 0},
        {"deepseek2", "expert_weights_scale", REAL, -1, NULL, 0},
        {"deepseek2", "attention.temperature_scale", REAL, (double)NAN, NULL, 0},
        {"deepseek2", "attention.temperature_scale", REAL, 1, "temperature_length", 0},
        {"deepseek2", "rope.scaling.yarn_log_multiplier", REAL, (double)NAN, NULL, 0},
        {"deepseek2", "expert_gating_func", WHOLE, 9, NULL, 0},
        {"deepseek2", "attention.kv_lora_rank", UNSET, 0, NULL, 0},
        {"deepseek2", "attention.kv_lora_rank", WHOLE, 0, NULL, 0},
        {"deepseek2", "attention.q_lora_rank", WHOLE, -1, NULL, 0},
        {"deepseek2", "attention.key_length_mla", WHOLE, 8, NULL, 0},
        {"deepseek2", "attention.value_length_mla", WHOLE, 5, "attn_", 0},
        {"deepseek2", "leading_dense_block_count", WHOLE, -1, NULL, 0},
        {"deepseek2", "expert_shared_count", WHOLE, -1, NULL, 0},
        {"deepseek2", "rope.freq_base", REAL, 1, NULL, 0},
        {"gemma3", "attention.sliding_window", WHOLE, -1, NULL, 0},
        {"gemma3", "attention.sliding_window_pattern", WHOLE, -1, NULL, 0},
        {"gemma3", "attention.sliding_window_pattern", ARRAY, 1, NULL, 6},
        {"gemma3", "rope.freq_base_swa", REAL, 0, NULL, 0},
        {"gemma3", "final_logit_softcapping", REAL, -1, NULL, 0},
        {"gemma3", "final_logit_softcapping", REAL, (double)NAN, NULL, 0},
        {"gemma3", "expert_count", WHOLE, 2, "expert", 0},
        {"gemma3", "feed_forward_length", WHOLE, 0, NULL, 0},
        {"gemma4", "attention.sliding_window", WHOLE, 0, NULL, 0},
        {"gemma4", "attention.sliding_window", UNSET, 0, NULL, 0},
        {"gemma4", "attention.sliding_window_pattern", UNSET, 0, NULL, 0},
        {"gemma4", "attention.sliding_window_pattern", WHOLE, 5, NULL, 0},
        {"gemma4", "attention.sliding_window_pattern", ARRAY, 1, NULL, 9},
        {"gemma4", "attention.sliding_window_pattern", ARRAY, 2, NULL, 10},
        {"gemma4", "attention.sliding_window_pattern", ARRAY, 1, "shared_kv_layers", 10},
        {"gemma4", "attention.shared_kv_layers", WHOLE, -1, NULL, 0},
        {"gemma4", "attention.shared_kv_layers", WHOLE, 11, NULL, 0},
        {"gemma4", "attention.shared_kv_layers", WHOLE, 10, NULL, 0},
        {"gemma4", "attention.shared_kv_layers", WHOLE, 9, NULL, 0},
        {"gemma4", "attention.shared_kv_layers", WHOLE, 4, NULL, 0},
        {"gemma4", "attention.shared_kv_layers", WHOLE, 0, "blk.5.attn_k.weight", 0},
        {"gemma4", "attention.key_length_swa", UNSET, 0, NULL, 0},
        {"gemma4", "attention.key_length_swa", WHOLE, 0, NULL, 0},
        {"gemma4", "attention.value_length_swa", UNSET, 0, NULL, 0},
        {"gemma4", "attention.value_length", WHOLE, 48, "values of 48", 0},
        {"gemma4", "rope.dimension_count_swa", WHOLE, 33, NULL, 0},
        {"gemma4", "rope.dimension_count_swa", WHOLE, 34, NULL, 0},
        {"gemma4", "rope.dimension_count_swa", WHOLE, 0, NULL, 0},
        {"gemma4", "rope.freq_base_swa", REAL, (double)NAN, NULL, 0},
        {"gemma4", "embedding_length_per_layer_input", UNSET, 0, NULL, 0},
        {"gemma4", "embedding_length_per_layer_input", WHOLE, 17, "per_layer_token_embd", 0},
        {"gemma4", "embedding_length_per_layer_input", WHOLE, 0, "inp_gate", 0},
        {"gemma4", "final_logit_softcapping", REAL, -30, NULL, 0},
        {"gemma4moe", "attention.head_count_kv", ARRAY, 2, "attn_k", 6},
        {"glm4moe", "expert_gating_func", WHOLE, 7, NULL, 0},
        {"glm4moe", "expert_weights_scale", REAL, (double)NAN, NULL, 0},
        {"glm4moe", "expert_shared_count", UNSET, 0, NULL, 0},
        {"qwen2moe", "expert_shared_feed_forward_length", WHOLE, 0, NULL, 0},
        {"glm4moe", "leading_dense_block_count", WHOLE, 70000, NULL, 0},
        {"glm4moe", "rope.dimension_sections", ARRAY, 4, NULL, 3},
        {"glm4moe", "rope.dimension_sections", WHOLE, 4, NULL, 0},
        {"glm4moe", "nextn_predict_layers", WHOLE, 5, NULL, 0},
        {"gpt-oss", "attention.sliding_window", UNSET, 0, NULL, 0},
        {"gpt-oss", "attention.sliding_window", WHOLE, -128, NULL, 0},
        {"gpt-oss", "rope.freq_base", REAL, 1, NULL, 0},
        {"gpt-oss", "rope.freq_base_swa", REAL, 1, NULL, 0},
        {"qwen35", "rope.dimension_sections", UNSET, 0, NULL, 0},
        {"qwen35", "rope.dimension_sections", ARRAY, 0, NULL, 4},
        {"qwen35", "rope.dimension_sections", ARRAY, 3, NULL, 5},
        {"qwen35", "rope.dimension_sections", ARRAY, 100000, NULL, 4},
        {"qwen35", "ssm.conv_kernel", UNSET, 0, NULL, 0},
        {"qwen35", "ssm.conv_kernel", WHOLE, 0, NULL, 0},
        {"qwen35", "ssm.state_size", UNSET, 0, NULL, 0},
        {"qwen35", "ssm.state_size", WHOLE, 0, NULL, 0},
        {"qwen35", "ssm.group_count", WHOLE, 0, NULL, 0},
        {"qwen35", "ssm.group_count", WHOLE, 4, "", 0},
        {"qwen35", "ssm.time_step_rank", WHOLE, 0, NULL, 0},
        {"qwen35", "ssm.time_step_rank", WHOLE, 7, "", 0},
        {"qwen35", "ssm.inner_size", WHOLE, 97, "inner_size", 0},
        {"qwen35", "full_attention_interval", WHOLE, 0, NULL, 0},
        {"qwen35", "full_attention_interval", WHOLE, -4, NULL, 0},
        {"qwen35", "attention.recurrent_layers", ARRAY, 1, NULL, 3},
        {"qwen35-mtp", "nextn_predict_layers", WHOLE, 5, NULL, 0},
        {"qwen35-mtp", "nextn_predict_layers", WHOLE, 0, "blk.4.attn_qkv", 0},
        {"qwen35-mtp", "nextn_predict_layers", WHOLE, 2, "blk.3.nextn", 0},
        {"qwen35moe", "expert_shared_feed_forward_length", WHOLE, -1, NULL, 0},
        {"qwen3next", "ssm.group_count", WHOLE, 3, "", 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        refuse(all[i].fixture, &all[i]);
}

int main(void) {
    require_shared();
    /* a thousand small files, each synced: in memory where the system has a place for that */
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_missing_or_misshapen),
        cmocka_unit_test(nonsense_in_all),
        cmocka_unit_test(nonsense_of_experts),
        cmocka_unit_test(nonsense_of_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
