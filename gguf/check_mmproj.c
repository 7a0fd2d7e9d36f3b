/* check_mmproj.c - a projector file held against itself: do its keys and its tensors say the same
 * of towers, blocks, widths and the pictures that go in? Keys: reference/hf-conversion.md
 * section 6. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/check_internal.h"
#include "gguf/contents.h"
#include "gguf/tensor_names.h"

typedef long long ll;
typedef unsigned long long ull;

/* A tower: its keys and the tensors that tell of it. */
typedef struct tower {
    const char *name; /* of the keys: clip.NAME.block_count, clip.has_NAME_encoder */
    const char *start;
    tamis_part part;
} tower;

static const tower towers[] = {
    {"vision", "v.", TAMIS_PART_VISION},
    {"audio", "a.", TAMIS_PART_AUDIO},
};

static bool tower_int(const tamis_gguf *g, const tower *t, const char *suffix, int64_t *out) {
    char key[96];
    snprintf(key, sizeof key, "clip.%s.%s", t->name, suffix);
    return tamis_gguf_get_int(g, key, 0, INT32_MAX, -1, out, NULL) == TAMIS_OK && *out >= 0;
}

/* Blocks below the count without a tensor, and blocks beyond it. */
static tamis_status check_blocks(const gguf_remarks *to, const tamis_gguf *g, const tower *t,
                                 int64_t n_found, tamis_error *err) {
    int64_t n_blocks, n_missing = 0, first = 0;
    if (!tower_int(g, t, "block_count", &n_blocks)) {
        gguf_remark(to, TAMIS_CHECK_ERROR, "there is no key 'clip.%s.block_count'", t->name);
        return TAMIS_OK;
    }
    bool *is_there = tamis_alloc_array((uint64_t)n_blocks, sizeof *is_there, err);
    if (!is_there) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        int64_t block;
        if (tamis_part_of(g->tensors[i].name, INT64_MAX) == t->part &&
            tamis_tensor_layer(g->tensors[i].name, &block) && block < n_blocks)
            is_there[block] = true;
    }
    for (int64_t k = n_blocks - 1; k >= 0; k--) {
        n_missing += !is_there[k];
        first = is_there[k] ? first : k;
    }
    free(is_there);
    if (n_missing)
        gguf_remark(to, TAMIS_CHECK_ERROR,
                    "%lld of the %lld blocks of clip.%s.block_count have no tensor, the first is "
                    "'%sblk.%lld'",
                    (ll)n_missing, (ll)n_blocks, t->name, t->start, (ll)first);
    if (n_found > n_blocks)
        gguf_remark(to, TAMIS_CHECK_WARNING,
                    "the %s tower has blocks up to %lld, clip.%s.block_count is %lld", t->name,
                    (ll)n_found - 1, t->name, (ll)n_blocks);
    return TAMIS_OK;
}

/* The width of a tower in the rows of its block's norms. */
static void check_width(const gguf_remarks *to, const tamis_gguf *g, const tower *t) {
    static const char *const norms[] = {"ln1.weight", "ln2.weight", "attn_pre_norm.weight"};
    int64_t n_embd;
    if (!tower_int(g, t, "embedding_length", &n_embd)) return;
    for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++) {
        char name[96];
        snprintf(name, sizeof name, "%sblk.0.%s", t->start, norms[i]);
        const tamis_gguf_tensor *x = tamis_gguf_find_tensor(g, name);
        if (!x || x->ne[0] == (uint64_t)n_embd) continue;
        gguf_remark(to, TAMIS_CHECK_ERROR,
                    "tensor '%s' has %llu values, clip.%s.embedding_length is %lld", name,
                    (ull)x->ne[0], t->name, (ll)n_embd);
        return;
    }
}

static tamis_status check_tower(const gguf_remarks *to, const tamis_gguf *g, const tower *t,
                                const tamis_part_sums *sums, tamis_error *err) {
    char key[96];
    bool is_announced = false;
    snprintf(key, sizeof key, "clip.has_%s_encoder", t->name);
    tamis_status st = tamis_gguf_get_bool(g, key, false, &is_announced, err);
    if (st) return st;
    if (is_announced && !sums->n_tensors)
        gguf_remark(to, TAMIS_CHECK_ERROR, "%s is true, and no tensor begins with '%s'", key,
                    t->start);
    if (!is_announced && sums->n_tensors)
        gguf_remark(to, TAMIS_CHECK_WARNING,
                    "%lld tensors of %s, and %s is not true: readers leave them alone",
                    (ll)sums->n_tensors, t->name, key);
    if (!is_announced || !sums->n_tensors) return TAMIS_OK;
    check_width(to, g, t);
    return check_blocks(to, g, t, sums->n_blocks, err);
}

/* clip.projector_type, or one for each tower. */
static void check_projector(const gguf_remarks *to, const tamis_gguf *g,
                            const tamis_part_sums sums[TAMIS_N_PARTS]) {
    tamis_gguf_kv kv;
    if (tamis_gguf_find(g, "clip.projector_type", &kv)) return;
    for (size_t i = 0; i < sizeof towers / sizeof towers[0]; i++) {
        char key[96];
        snprintf(key, sizeof key, "clip.%s.projector_type", towers[i].name);
        if (sums[towers[i].part].n_tensors && !tamis_gguf_find(g, key, &kv))
            gguf_remark(to, TAMIS_CHECK_ERROR,
                        "there is neither 'clip.projector_type' nor '%s': no reader knows what "
                        "the %s tower is for",
                        key, towers[i].name);
    }
}

/* Readers take these as f32 and nothing else. */
static void check_picture_keys(const gguf_remarks *to, const tamis_gguf *g) {
    static const char *const keys[] = {"clip.vision.image_mean", "clip.vision.image_std"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        tamis_gguf_kv kv;
        if (!tamis_gguf_find(g, keys[i], &kv)) continue;
        if (kv.kind == TAMIS_GGUF_ARRAY && kv.elem_kind == TAMIS_GGUF_F32 && kv.n_elems == 3)
            continue;
        gguf_remark(to, TAMIS_CHECK_ERROR,
                    "key '%s' must be an array of 3 f32: readers refuse the file", keys[i]);
    }
}

tamis_status gguf_check_mmproj(const gguf_remarks *to, const tamis_gguf *g, tamis_error *err) {
    tamis_part_sums sums[TAMIS_N_PARTS];
    tamis_gguf_contents(g, sums);
    for (size_t i = 0; i < sizeof towers / sizeof towers[0]; i++) {
        tamis_status st = check_tower(to, g, &towers[i], &sums[towers[i].part], err);
        if (st) return st;
    }
    check_projector(to, g, sums);
    check_picture_keys(to, g);
    const tamis_part_sums *text = &sums[TAMIS_PART_TEXT];
    if (text->n_tensors)
        gguf_remark(to, TAMIS_CHECK_WARNING,
                    "%lld tensors are of no tower and no projector: a projector file should hold "
                    "nothing else",
                    (ll)text->n_tensors);
    return TAMIS_OK;
}
