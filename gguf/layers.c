/* layers.c - see layers.h. One pass over the tensor table, then the keys.
 * Names and keys: reference/architectures.md; sliding windows: its section 1 and those of the
 * families. */
#include "gguf/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/contents.h"
#include "gguf/gguf_internal.h"
#include "gguf/tensor_names.h"

/* What tells a mixer. */
enum {
    HAS_ATTENTION = 1,
    HAS_LATENT = 2,
    HAS_DELTA = 4,
    HAS_STATE = 8,
    HAS_SHORTCONV = 16,
    HAS_TIME_MIX = 32,
    HAS_SHARED = 64, /* shared experts */
};

/* A layer as it is gathered. */
typedef struct gathered {
    tamis_layer_view view;
    unsigned has;
    uint64_t k_rows, v_rows; /* of attn_k, attn_v */
} gathered;

/* A tensor of a layer by its stem, and what its shape says. */
static void take_stem(gathered *layer, const char *stem, const tamis_gguf_tensor *t) {
    static const struct {
        const char *stem;
        unsigned has;
    } marks[] = {
        {"attn_q.weight", HAS_ATTENTION},
        {"attn_qkv.weight", HAS_ATTENTION},
        {"attn_k.weight", HAS_ATTENTION},
        {"attn_kv_a_mqa.weight", HAS_LATENT},
        {"ssm_alpha.weight", HAS_DELTA},
        {"ssm_beta.weight", HAS_DELTA},
        {"ssm_ba.weight", HAS_DELTA},
        {"ssm_out.weight", HAS_STATE},
        {"shortconv.conv.weight", HAS_SHORTCONV},
        {"time_mix_key.weight", HAS_TIME_MIX},
        {"ffn_down_shexp.weight", HAS_SHARED},
    };
    tamis_layer_view *v = &layer->view;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (!strcmp(stem, marks[i].stem)) layer->has |= marks[i].has;
    if (!strcmp(stem, "attn_k.weight")) layer->k_rows = t->ne[1];
    if (!strcmp(stem, "attn_v.weight")) layer->v_rows = t->ne[1];
    if (!strcmp(stem, "ffn_down.weight")) v->n_ff = (int64_t)t->ne[0];
    if (!strcmp(stem, "ffn_down_shexp.weight")) v->n_shared_ff = (int64_t)t->ne[0];
    /* old files: a tensor for each expert */
    if (!strncmp(stem, "ffn_down.", 9) && stem[9] >= '0' && stem[9] <= '9') {
        v->n_experts++;
        v->n_expert_ff = (int64_t)t->ne[0];
    }
    if (!strcmp(stem, "ffn_down_exps.weight")) {
        v->n_experts = (int64_t)t->ne[2];
        v->n_expert_ff = (int64_t)t->ne[0];
    }
}

static void take_sums(tamis_layer_view *v, const tamis_gguf_tensor *t) {
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    v->n_tensors++;
    v->n_elems += tamis_tensor_n_elems(t);
    v->n_bytes += t->n_bytes;
    if (t->ne[1] * t->ne[2] * t->ne[3] > 1 && t->type && t->type - types < 64)
        v->types |= UINT64_C(1) << (t->type - types);
}

/* --- keys --- */

/* `{arch}.suffix` of a layer: one number for all, or the layer's own; `fallback` when absent. */
static int64_t layer_int(const tamis_gguf *g, const char *suffix, int64_t layer, int64_t fallback) {
    tamis_bytes arch;
    tamis_gguf_kv kv;
    char key[256];
    int64_t value;
    if (tamis_gguf_get_string(g, "general.architecture", &arch, NULL) || !arch.data ||
        arch.n_bytes > 128)
        return fallback;
    snprintf(key, sizeof key, "%.*s.%s", (int)arch.n_bytes, arch.data, suffix);
    if (!tamis_gguf_find(g, key, &kv)) return fallback;
    const uint64_t i = kv.kind == TAMIS_GGUF_ARRAY ? (uint64_t)layer : 0;
    return i < kv.n_elems && tamis_gguf_kv_int(g, &kv, i, &value) && value >= 0 ? value : fallback;
}

/* Every how many layers one sees everything, where an architecture fixes it and the key is absent.
 */
static int64_t default_period(const tamis_gguf *g) {
    static const struct {
        const char *arch;
        int64_t period;
    } rows[] = {{"gemma2", 2}, {"gemma3", 6}, {"gpt-oss", 2}, {"cohere2", 4}};
    tamis_bytes arch;
    if (tamis_gguf_get_string(g, "general.architecture", &arch, NULL) || !arch.data) return 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strlen(rows[i].arch) == arch.n_bytes && !memcmp(rows[i].arch, arch.data, arch.n_bytes))
            return rows[i].period;
    return 1;
}

/* The window of a layer; 0 where it sees everything. */
static int64_t window_of(const tamis_gguf *g, int64_t layer) {
    static const char pattern_key[] = "attention.sliding_window_pattern";
    const int64_t window = layer_int(g, "attention.sliding_window", layer, 0);
    if (!window) return 0;
    tamis_bytes arch;
    tamis_gguf_kv kv;
    char key[256];
    if (tamis_gguf_get_string(g, "general.architecture", &arch, NULL) || !arch.data) return 0;
    snprintf(key, sizeof key, "%.*s.%s", (int)(arch.n_bytes < 128 ? arch.n_bytes : 128), arch.data,
             pattern_key);
    if (tamis_gguf_find(g, key, &kv) && kv.kind == TAMIS_GGUF_ARRAY)
        return layer_int(g, pattern_key, layer, 0) ? window : 0;
    const int64_t period = layer_int(g, pattern_key, layer, default_period(g));
    return period == 0 || layer % period < period - 1 ? window : 0;
}

/* --- mixers --- */

static int64_t per_head(uint64_t rows, int64_t n_heads) {
    return n_heads > 0 && rows % (uint64_t)n_heads == 0 ? (int64_t)(rows / (uint64_t)n_heads) : 0;
}

static void describe_attention(const tamis_gguf *g, gathered *layer, int64_t n_blocks) {
    tamis_layer_view *v = &layer->view;
    const int64_t n = v->number, width = layer_int(g, "embedding_length", n, 0);
    v->n_heads = layer_int(g, "attention.head_count", n, 0);
    v->n_heads_kv = layer_int(g, "attention.head_count_kv", n, v->n_heads);
    v->window = v->is_mtp ? 0 : window_of(g, n);
    v->mixer = v->window ? "sliding" : "attention";
    const char *key = v->window ? "attention.key_length_swa" : "attention.key_length";
    const char *value = v->window ? "attention.value_length_swa" : "attention.value_length";
    const int64_t by_width = v->n_heads ? width / v->n_heads : 0;
    v->head_size = per_head(layer->k_rows, v->n_heads_kv);
    if (!v->head_size)
        v->head_size = layer_int(g, key, n, layer_int(g, "attention.key_length", n, by_width));
    v->value_size = per_head(layer->v_rows, v->n_heads_kv);
    if (!v->value_size)
        v->value_size = layer->k_rows ? v->head_size : layer_int(g, value, n, v->head_size);
    v->shares_kv = n >= n_blocks - layer_int(g, "attention.shared_kv_layers", n, 0);
}

static void describe_latent(const tamis_gguf *g, gathered *layer) {
    tamis_layer_view *v = &layer->view;
    const int64_t n = v->number;
    v->mixer = "latent";
    v->n_heads = v->n_heads_kv = layer_int(g, "attention.head_count", n, 0);
    v->latent_size = layer_int(g, "attention.kv_lora_rank", n, 0);
    v->head_size =
        layer_int(g, "attention.key_length_mla", n, layer_int(g, "attention.key_length", n, 0));
    v->value_size =
        layer_int(g, "attention.value_length_mla", n, layer_int(g, "attention.value_length", n, 0));
}

static void describe_delta(const tamis_gguf *g, gathered *layer) {
    tamis_layer_view *v = &layer->view;
    v->mixer = "delta net";
    v->n_heads = layer_int(g, "ssm.time_step_rank", v->number, 0);
    v->n_heads_kv = layer_int(g, "ssm.group_count", v->number, 0);
    v->head_size = v->value_size = layer_int(g, "ssm.state_size", v->number, 0);
}

static void describe(const tamis_gguf *g, gathered *layer, int64_t n_blocks) {
    tamis_layer_view *v = &layer->view;
    const unsigned has = layer->has;
    v->mixer = "none";
    if (has & HAS_DELTA)
        describe_delta(g, layer);
    else if (has & HAS_LATENT)
        describe_latent(g, layer);
    else if (has & HAS_ATTENTION)
        describe_attention(g, layer, n_blocks);
    else if (has & HAS_STATE)
        v->mixer = "state space";
    else if (has & HAS_SHORTCONV)
        v->mixer = "short conv";
    else if (has & HAS_TIME_MIX)
        v->mixer = "time mix";
    if ((has & HAS_ATTENTION) && (has & HAS_STATE) && !(has & HAS_DELTA)) v->mixer = "attn + ssm";
    if (v->n_experts) v->n_experts_used = layer_int(g, "expert_used_count", v->number, 0);
    if (has & HAS_SHARED) {
        const int64_t n = layer_int(g, "expert_shared_count", v->number, 1);
        v->n_shared = n ? n : 1;
    }
}

/* --- all --- */

tamis_status tamis_gguf_layers(const tamis_gguf *g, tamis_layer_view **out, int64_t *n_out,
                               tamis_error *err) {
    const int64_t first_mtp = tamis_gguf_first_mtp(g);
    int64_t n_named = 0, n = 0, n_blocks, layer;
    *out = NULL;
    *n_out = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const char *name = tamis_gguf_tensor_at(g, i)->name;
        if (!strncmp(name, "blk.", 4) && tamis_tensor_layer(name, &layer) && layer >= n_named)
            n_named = layer + 1;
    }
    if (!n_named || n_named > GGUF_MAX_BLOCKS)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: there are no layers to describe: no tensor "
                          "'blk.N.*'%s",
                          tamis_gguf_path(g),
                          tamis_gguf_is_mmproj(g) ? "; this is a projector file (mmproj)" : "");
    gathered *all = tamis_alloc_array((uint64_t)n_named + 1, sizeof *all, err);
    if (!all) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        if (tamis_part_is_modal(tamis_part_of(t->name, first_mtp))) continue;
        const size_t n_start =
            strncmp(t->name, "blk.", 4) ? 0 : tamis_tensor_layer(t->name, &layer);
        gathered *to = &all[n_start ? layer + 1 : 0];
        take_sums(&to->view, t);
        if (n_start) take_stem(to, t->name + n_start + 1, t);
    }
    tamis_layer_view *views = tamis_alloc_array((uint64_t)n_named + 1, sizeof *views, err);
    if (views && !gguf_arch_int(&g->files[0], "block_count", &n_blocks)) n_blocks = n_named;
    for (int64_t i = 0; views && i <= n_named; i++) {
        all[i].view.number = i - 1;
        all[i].view.is_mtp = i - 1 >= first_mtp;
        if (!all[i].view.n_tensors) continue;
        if (i > 0) describe(g, &all[i], n_blocks);
        views[n++] = all[i].view;
    }
    free(all);
    *out = views;
    *n_out = n;
    return views ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

bool tamis_layer_view_is_alike(const tamis_layer_view *a, const tamis_layer_view *b) {
    return a->is_mtp == b->is_mtp && !a->mixer == !b->mixer &&
           (!a->mixer || !strcmp(a->mixer, b->mixer)) && a->n_heads == b->n_heads &&
           a->n_heads_kv == b->n_heads_kv && a->head_size == b->head_size &&
           a->value_size == b->value_size && a->window == b->window &&
           a->latent_size == b->latent_size && a->shares_kv == b->shares_kv && a->n_ff == b->n_ff &&
           a->n_experts == b->n_experts && a->n_expert_ff == b->n_expert_ff &&
           a->n_shared == b->n_shared && a->n_shared_ff == b->n_shared_ff &&
           a->n_elems == b->n_elems && a->n_bytes == b->n_bytes && a->types == b->types;
}
