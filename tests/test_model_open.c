/* test_model_open.c - models that are changed before they are opened: a tensor too many and a
 * hyper-parameter out of range are refused by name; fused weights, per-layer values and near
 * relatives give what the plain form gives. */
#include "support_change.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void surplus_tensors(void **state) {
    (void)state;
    change sinks = {.add = "blk.1.attn_sinks.weight"}, beside = {.add = "cls.output.weight"};
    change input_scale = {.add = "blk.1.ffn_up.input_scale"};
    check_refused("qwen3", &sinks, "blk.1.attn_sinks.weight", "no part of architecture 'qwen3'");
    check_opens("qwen3", &beside);
    check_opens("qwen3", &input_scale);
}

static void hyper_parameters_out_of_range(void **state) {
    (void)state;
    const tamis_gguf_kind u32 = TAMIS_GGUF_U32, f32 = TAMIS_GGUF_F32;
    const struct {
        const char *fixture, *words, *more;
        change change;
    } cases[] = {
        {"qwen2", "'mamba'", "llama, mistral3, ",
         {.key = "general.architecture", .kind = TAMIS_GGUF_STRING, .text = "mamba"}},
        {"qwen2", "qwen2.embedding_length", "missing", {.unset = "qwen2.embedding_length"}},
        {"qwen2", "qwen2.context_length", "missing", {.unset = "qwen2.context_length"}},
        {"qwen2", "head_count", "", {.unset = "qwen2.attention.head_count"}},
        {"qwen2", "rms_epsilon", "missing", {.unset = "qwen2.attention.layer_norm_rms_epsilon"}},
        {"qwen2", "rms_epsilon", "",
         {.key = "qwen2.attention.layer_norm_rms_epsilon", .kind = f32, .value = 0.0}},
        {"qwen2", "blk.4.", "missing", {.key = "qwen2.block_count", .kind = u32, .value = 5}},
        {"qwen2", "3 key heads", "4 attention heads",
         {.key = "qwen2.attention.head_count_kv", .kind = u32, .value = 3}},
        {"qwen2", "", "key heads",
         {.key = "qwen2.attention.head_count_kv", .kind = u32, .value = 0}},
        {"qwen2", "attn_k", "expected",
         {.key = "qwen2.attention.head_count_kv", .kind = u32, .value = 4}},
        {"qwen2", "feed", "", {.unset = "qwen2.feed_forward_length"}},
        {"qwen2", "odd", "7", {.key = "qwen2.rope.dimension_count", .kind = u32, .value = 7}},
        {"qwen2", "dimension_count", "",
         {.key = "qwen2.rope.dimension_count", .kind = u32, .value = 18}},
        {"qwen2", "scaling.type", "'cubic'",
         {.key = "qwen2.rope.scaling.type", .kind = TAMIS_GGUF_STRING, .text = "cubic"}},
        {"qwen2", "longrope", "qwen2",
         {.key = "qwen2.rope.scaling.type", .kind = TAMIS_GGUF_STRING, .text = "longrope"}},
        {"qwen2", "causal", "",
         {.key = "qwen2.attention.causal", .kind = TAMIS_GGUF_BOOL, .value = 0.0}},
        {"qwen2", "expert", "", {.key = "qwen2.expert_count", .kind = u32, .value = 1}},
        {"llama", "equal", "16", {.key = "llama.rope.dimension_count", .kind = u32, .value = 16}},
        {"mixtral", "expert_used_count", "missing", {.unset = "llama.expert_used_count"}},
        {"mixtral", "expert_used_count", "",
         {.key = "llama.expert_used_count", .kind = u32, .value = 7}},
        {"mixtral", "expert_used_count", "",
         {.key = "llama.expert_used_count", .kind = u32, .value = 0}},
        {"qwen3moe", "expert_count", "",
         {.key = "qwen3moe.expert_count", .kind = u32, .value = 513}},
        {"qwen3moe", "expert_count", "", {.unset = "qwen3moe.expert_count"}},
        {"qwen3moe", "ffn_gate_exps", "expected",
         {.unset = "qwen3moe.expert_feed_forward_length"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refused(cases[i].fixture, &cases[i].change, cases[i].words, cases[i].more);
}

static void per_layer_values(void **state) {
    (void)state;
    const struct {
        const char *key;
        uint32_t value;
    } keys[] = {
        {"qwen2.attention.head_count", 4},
        {"qwen2.attention.head_count_kv", 2},
        {"qwen2.feed_forward_length", 96},
    };
    for (int i = 0; i < 3; i++) {
        char *data;
        tamis_gguf *array = array_of(keys[i].key, keys[i].value, 4, &data);
        change c = {.copy = array};
        check_opens("qwen2", &c);
        assert_like_fixture("qwen2");
        tamis_gguf_close(array);
        free(data);
        array = array_of(keys[i].key, keys[i].value, 3, &data);
        c.copy = array;
        check_refused("qwen2", &c, keys[i].key, "");
        tamis_gguf_close(array);
        free(data);
    }
}

/* A relative whose own keys say nothing new gives what the plain architecture gives. */
static void near_relatives(void **state) {
    (void)state;
    char *data;
    tamis_gguf *sections = array_of("qwen3vl.rope.dimension_sections", 6, 4, &data);
    change vl = {.from = "qwen3", .to = "qwen3vl"};
    check_refused("qwen3", &vl, "qwen3vl.rope.dimension_sections", "missing");
    vl.copy = sections;
    check_opens("qwen3", &vl);
    tamis_gguf_close(sections);
    free(data);
    sections = array_of("qwen3vl.rope.dimension_sections", 6, 3, &data);
    vl.copy = sections;
    check_refused("qwen3", &vl, "qwen3vl.rope.dimension_sections", "3 entries");
    tamis_gguf_close(sections);
    free(data);
    /* no pair is of the fourth section: its 16 pairs are over after three */
    sections = array_of("qwen3vlmoe.rope.dimension_sections", 16, 4, &data);
    change vlmoe = {.from = "qwen3moe", .to = "qwen3vlmoe", .copy = sections};
    check_opens("qwen3moe", &vlmoe);
    assert_like_fixture("qwen3moe");
    tamis_gguf_close(sections);
    free(data);
}

/* seed_oss is qwen2 with another name of a norm. */
static void seed_oss(void **state) {
    (void)state;
    change c = {.from = "qwen2", .to = "seed_oss"};
    check_refused("qwen2", &c, "'blk.0.post_attention_norm.weight' is missing", NULL);
    c.part = "ffn_norm";
    c.new_part = "post_attention_norm";
    check_opens("qwen2", &c);
    assert_like_fixture("qwen2");
    c.key = "seed_oss.expert_count";
    c.kind = TAMIS_GGUF_U32;
    c.value = 4;
    check_refused("qwen2", &c, "expert", NULL);
}

/* Of mistral3: without a temperature it is llama, and so it is up to the first length. */
static void temperature_of_queries(void **state) {
    (void)state;
    const int64_t length = 16, last = 95;
    change plain = {.from = "llama", .to = "mistral3"}, hot = plain, bad = plain;
    change shorter = {.key = "mistral3.rope.scaling.original_context_length",
                      .kind = TAMIS_GGUF_U32,
                      .value = (double)length};
    check_opens("llama", &plain);
    assert_like_fixture("llama");
    hot.key = "mistral3.attention.temperature_scale";
    hot.kind = TAMIS_GGUF_F32;
    hot.value = 0.5;
    check_opens("llama", &hot);
    assert_like_fixture("llama"); /* all positions are within the first length */
    hot.also = &shorter;
    check_opens("llama", &hot);
    int64_t n;
    float *cold = final_states("llama", shared_path("fixtures/arch/llama.gguf"), &n);
    float *heated = final_states("llama", changed_path(), &n);
    for (int64_t i = 0; i < length * n; i++)
        assert_true(fabsf(heated[i] - cold[i]) <= 1e-5f * (1.0f + fabsf(cold[i])));
    float most = 0.0f;
    for (int64_t i = last * n; i < (last + 1) * n; i++)
        most = fmaxf(most, fabsf(heated[i] - cold[i]));
    assert_true(most > 1e-3f);
    free(cold);
    free(heated);
    bad = hot;
    bad.value = -1.0;
    check_refused("llama", &bad, "temperature_scale", "allowed");
}

/* Tensors of a layer that stand together in one. */
typedef struct fusion {
    const char *fixture, *fused;
    const char *parts[3];
    const char *suffix;
} fusion;

/* Name without "blk.N.", or the whole name. */
static const char *stem_of(const char *name) {
    const char *dot = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    return dot ? dot + 1 : name;
}

static int part_of(const fusion *f, const char *name) {
    char part[64];
    for (int i = 0; i < 3 && f->parts[i]; i++) {
        snprintf(part, sizeof part, "%s%s", f->parts[i], f->suffix);
        if (strcmp(stem_of(name), part) == 0) return i;
    }
    return -1;
}

/* Data of the fused tensor: matrix by matrix (expert by expert) the parts behind each other. */
static void write_fused(tamis_gguf_writer *w, const tamis_gguf *g, const fusion *f,
                        const tamis_gguf_tensor *first) {
    for (uint64_t e = 0; e < first->ne[2]; e++)
        for (int i = 0; i < 3 && f->parts[i]; i++) {
            char name[96];
            snprintf(name, sizeof name, "%.*s%s%s", (int)(stem_of(first->name) - first->name),
                     first->name, f->parts[i], f->suffix);
            const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, name);
            assert_non_null(t);
            uint64_t n_bytes = t->n_bytes / t->ne[2];
            void *data = malloc(n_bytes);
            change_ok(tamis_gguf_read_tensor(g, t, e * n_bytes, n_bytes, data, &change_error));
            change_ok(tamis_gguf_write_data(w, data, n_bytes, &change_error));
            free(data);
        }
}

static void add_fused(tamis_gguf_writer *w, const tamis_gguf *g, const fusion *f,
                      const tamis_gguf_tensor *first) {
    char name[96];
    uint64_t ne[4];
    int n_prefix = (int)(stem_of(first->name) - first->name), dim = first->n_dims > 1 ? 1 : 0;
    memcpy(ne, first->ne, sizeof ne);
    for (int i = 1; i < 3 && f->parts[i]; i++) {
        snprintf(name, sizeof name, "%.*s%s%s", n_prefix, first->name, f->parts[i], f->suffix);
        ne[dim] += tamis_gguf_find_tensor(g, name)->ne[dim];
    }
    snprintf(name, sizeof name, "%.*s%s%s", n_prefix, first->name, f->fused, f->suffix);
    change_ok(tamis_gguf_add_tensor(w, name, first->type_id, first->n_dims, ne, &change_error));
}

/* A copy with fusions[0 .. n) made in every layer. */
static void write_with_fusions(const fusion *fusions, int n) {
    tamis_gguf *g = open_fixture(fusions[0].fixture);
    tamis_gguf_writer *w = NULL;
    change_ok(tamis_gguf_writer_new(&w, &change_error));
    change_ok(tamis_gguf_set_all(w, g, &change_error));
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) change_ok(tamis_gguf_begin(w, changed_path(), &change_error));
        for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
            const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
            fusion alone = {.parts = {stem_of(t->name)}, .suffix = "", .fused = stem_of(t->name)};
            const fusion *f = &alone;
            for (int k = 0; k < n; k++)
                if (part_of(&fusions[k], t->name) >= 0) f = &fusions[k];
            if (part_of(f, t->name) != 0) continue;
            if (pass == 0)
                add_fused(w, g, f, t);
            else
                write_fused(w, g, f, t);
        }
    }
    change_ok(tamis_gguf_commit(w, &change_error));
    tamis_gguf_writer_free(w);
    tamis_gguf_close(g);
}

static void fused_weights(void **state) {
    (void)state;
    const fusion qkv[] = {
        {"qwen2", "attn_qkv", {"attn_q", "attn_k", "attn_v"}, ".weight"},
        {"qwen2", "attn_qkv", {"attn_q", "attn_k", "attn_v"}, ".bias"},
    };
    const fusion experts[] = {
        {"qwen3moe", "ffn_gate_up_exps", {"ffn_gate_exps", "ffn_up_exps"}, ".weight"},
    };
    const fusion oss[] = {
        {"gpt-oss", "attn_qkv", {"attn_q", "attn_k", "attn_v"}, ".weight"},
        {"gpt-oss", "attn_qkv", {"attn_q", "attn_k", "attn_v"}, ".bias"},
    };
    write_with_fusions(qkv, 2);
    assert_like_fixture("qwen2");
    write_with_fusions(oss, 2);
    assert_like_fixture("gpt-oss");
    write_with_fusions(experts, 1);
    assert_like_fixture("qwen3moe");
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(surplus_tensors),
        cmocka_unit_test(hyper_parameters_out_of_range),
        cmocka_unit_test(per_layer_values),
        cmocka_unit_test(near_relatives),
        cmocka_unit_test(seed_oss),
        cmocka_unit_test(temperature_of_queries),
        cmocka_unit_test(fused_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
