/* prune.c - --prune-layers: blocks left out, the rest numbered anew, and the keys that count
 * blocks or hold a value for each of them.
 * Importance data and per-layer values follow the old numbers, rules and types the new ones.
 * Reference: peer-tools.md section 1.1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "quantize/quantize_internal.h"

enum { NAME_BYTES = 64, KEY_BYTES = 256 };

void layer_map_release(layer_map *map) {
    if (!map) return;
    free(map->below);
    *map = (layer_map){0};
}

/* --- which layers --- */

static bool arch_key(const tamis_gguf *g, const char *suffix, char out[KEY_BYTES]) {
    tamis_bytes arch = {NULL, 0};
    if (tamis_gguf_get_string(g, "general.architecture", &arch, NULL) || !arch.data) return false;
    int n = snprintf(out, KEY_BYTES, "%.*s.%s", (int)arch.n_bytes, arch.data, suffix);
    return n > 0 && n < KEY_BYTES;
}

static tamis_status count_layers(const tamis_gguf *g, int64_t *out, tamis_error *err) {
    char key[KEY_BYTES];
    int64_t n_named = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        int64_t layer = mix_layer_of(tamis_gguf_tensor_at(g, i)->name);
        if (layer >= n_named) n_named = layer + 1;
    }
    *out = n_named;
    if (!arch_key(g, "block_count", key)) return TAMIS_OK;
    tamis_status st = tamis_gguf_get_int(g, key, 0, INT32_MAX, n_named, out, err);
    if (st) return tamis_fail_prefix(err, "%s", tamis_gguf_path(g));
    if (*out < n_named) *out = n_named;
    return TAMIS_OK;
}

/* One number of the list: a mark in map->below[layer + 1], which are added up afterwards. */
static tamis_status mark_layer(layer_map *map, const char *text, const tamis_gguf *g,
                               const tamis_quantize_options *o, tamis_error *err) {
    int64_t layer;
    tamis_status st = tamis_parse_int(text, 0, INT32_MAX, "--prune-layers", &layer, err);
    if (st) return st;
    if (map->n_layers == 0)
        return lax_fail(o, err, "--prune-layers: there is no layer in %s", tamis_gguf_path(g));
    if (layer >= map->n_layers)
        return lax_fail(o, err, "--prune-layers: there is no layer %lld, %s has %lld (0 to %lld)",
                        (long long)layer, tamis_gguf_path(g), (long long)map->n_layers,
                        (long long)map->n_layers - 1);
    if (map->below[layer + 1])
        return lax_fail(o, err, "--prune-layers: layer %lld is named twice", (long long)layer);
    map->below[layer + 1] = 1;
    return TAMIS_OK;
}

tamis_status layer_map_init(layer_map *map, const tamis_gguf *source,
                            const tamis_quantize_options *o, tamis_error *err) {
    *map = (layer_map){0};
    if (!o->prune) return TAMIS_OK;
    tamis_status st = count_layers(source, &map->n_layers, err);
    if (st) return st;
    map->below = tamis_alloc_array((uint64_t)map->n_layers + 1, sizeof *map->below, err);
    if (!map->below) return TAMIS_NO_RESOURCE;
    for (const char *p = o->prune;; p++) {
        char text[32];
        size_t n = strcspn(p, ",");
        snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : sizeof text), p);
        if ((st = mark_layer(map, text, source, o, err))) return st;
        p += n;
        if (!*p) break;
    }
    for (int64_t i = 0; i < map->n_layers; i++)
        map->below[i + 1] += map->below[i];
    map->n_kept = map->n_layers - map->below[map->n_layers];
    if (map->n_kept > 0) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_USAGE, "--prune-layers: no layer of %s would be left",
                      tamis_gguf_path(source));
}

static bool is_dropped(const layer_map *map, int64_t layer) {
    return layer >= 0 && layer < map->n_layers && map->below[layer + 1] > map->below[layer];
}

/* --- tensors --- */

tamis_status layer_map_list_steps(const layer_map *map, tamis_quantize_plan *plan,
                                  tamis_error *err) {
    int64_t n_tensors = tamis_gguf_n_tensors(plan->source);
    plan->steps = tamis_alloc_array((uint64_t)n_tensors, sizeof *plan->steps, err);
    if (!plan->steps) return TAMIS_NO_RESOURCE;
    if (map->n_layers > 0) {
        plan->names = tamis_alloc_array((uint64_t)n_tensors, NAME_BYTES, err);
        if (!plan->names) return TAMIS_NO_RESOURCE;
    }
    for (int64_t i = 0; i < n_tensors; i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(plan->source, i);
        int64_t layer = mix_layer_of(t->name);
        if (is_dropped(map, layer)) {
            plan->n_pruned++;
            continue;
        }
        tamis_quantize_step *s = &plan->steps[plan->n_steps++];
        s->tensor = t;
        s->name = t->name;
        if (layer < 0 || layer >= map->n_layers) continue;
        char *name = plan->names + i * NAME_BYTES; /* never longer than the old one */
        snprintf(name, NAME_BYTES, "blk.%lld%s", (long long)(layer - map->below[layer]),
                 strchr(t->name + 4, '.'));
        s->name = name;
    }
    return TAMIS_OK;
}

/* --- keys --- */

/* Counts of layers at one end: those dropped there no longer count. */
static tamis_status set_count(const layer_map *map, const tamis_gguf *g, const char *suffix,
                              bool at_end, tamis_gguf_writer *w, tamis_error *err) {
    char key[KEY_BYTES];
    tamis_gguf_kv kv;
    int64_t n;
    if (!arch_key(g, suffix, key) || !tamis_gguf_find(g, key, &kv) || kv.kind == TAMIS_GGUF_ARRAY ||
        !tamis_gguf_kv_int(g, &kv, 0, &n) || n <= 0)
        return TAMIS_OK;
    if (n > map->n_layers) n = map->n_layers;
    int64_t n_dropped =
        at_end ? map->below[map->n_layers] - map->below[map->n_layers - n] : map->below[n];
    return tamis_gguf_set_int(w, key, kv.kind, n - n_dropped, err);
}

/* Arrays of as many values as there are layers, but for those that count something else. */
static bool is_by_layer(const layer_map *map, const tamis_gguf *g, const tamis_gguf_kv *kv) {
    char prefix[KEY_BYTES], sections[KEY_BYTES];
    if (kv->kind != TAMIS_GGUF_ARRAY || kv->elem_kind == TAMIS_GGUF_STRING) return false;
    if (kv->n_elems != (uint64_t)map->n_layers || !arch_key(g, "", prefix)) return false;
    size_t n = strlen(prefix);
    if (kv->key.n_bytes <= n || memcmp(kv->key.data, prefix, n)) return false;
    return !arch_key(g, "rope.dimension_sections", sections) ||
           kv->key.n_bytes != strlen(sections) || memcmp(kv->key.data, sections, kv->key.n_bytes);
}

/* Keys that describe layers by their number, every n-th: they mean other layers now. */
static void warn_patterns(const tamis_gguf *g, const tamis_quantize_options *o) {
    static const char *const suffixes[] = {"full_attention_interval", "interleave_moe_layer_step",
                                           "attention.sliding_window_pattern",
                                           "moe_every_n_layers"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char key[KEY_BYTES];
        tamis_gguf_kv kv;
        if (!arch_key(g, suffixes[i], key) || !tamis_gguf_find(g, key, &kv)) continue;
        if (kv.kind == TAMIS_GGUF_ARRAY) continue;
        tamis_warn(o->log,
                   "--prune-layers: key '%s' picks layers by number and now picks others; the "
                   "result may not load",
                   key);
    }
}

tamis_status layer_map_set_keys(const layer_map *map, const tamis_gguf *source,
                                const tamis_quantize_options *o, tamis_gguf_writer *w,
                                tamis_error *err) {
    char key[KEY_BYTES];
    tamis_gguf_kv kv;
    if (map->n_layers == 0) return TAMIS_OK;
    tamis_status st = set_count(map, source, "leading_dense_block_count", false, w, err);
    if (st == TAMIS_OK) st = set_count(map, source, "nextn_predict_layers", true, w, err);
    if (st == TAMIS_OK) st = set_count(map, source, "attention.shared_kv_layers", true, w, err);
    bool *keep = st ? NULL : tamis_alloc_array((uint64_t)map->n_layers, sizeof *keep, err);
    if (!keep) return st ? st : TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < map->n_layers; i++)
        keep[i] = !is_dropped(map, i);
    for (int32_t i = 0; st == TAMIS_OK && i < tamis_gguf_n_kv(source); i++) {
        kv = tamis_gguf_kv_at(source, i);
        if (is_by_layer(map, source, &kv)) st = tamis_gguf_set_filtered(w, source, &kv, keep, err);
    }
    free(keep);
    warn_patterns(source, o);
    if (st == TAMIS_OK && arch_key(source, "block_count", key)) {
        bool is_there = tamis_gguf_find(source, key, &kv);
        st = tamis_gguf_set_int(w, key, is_there ? kv.kind : TAMIS_GGUF_U32, map->n_kept, err);
    }
    return st;
}
