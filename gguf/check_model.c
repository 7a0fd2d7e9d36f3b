/* check_model.c - the tensor table against the keys, and layers against each other.
 * Shapes that a forward pass would trip over are errors; a layer that is unlike all others is
 * only a note, for hybrid models have such. Names and keys: reference/architectures.md. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/check_internal.h"
#include "gguf/contents.h"
#include "gguf/tensor_names.h"

typedef long long ll;
typedef unsigned long long ull;

static const char *const grade_names[] = {"note", "warning", "error"};
static const char *const finding_names[] = {"value", "scale", "decoded", "zeros", "padding"};

const char *tamis_check_grade_name(tamis_check_grade grade) {
    return grade_names[grade];
}

const char *tamis_finding_kind_name(tamis_finding_kind kind) {
    return finding_names[kind];
}

bool tamis_finding_is_bad(tamis_finding_kind kind) {
    return kind <= TAMIS_FINDING_DECODED;
}

void gguf_remark(const gguf_remarks *to, tamis_check_grade grade, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    to->found(to->ctx, &(tamis_check_remark){to->part, grade, text});
}

static const char *quote_name(const tamis_gguf_tensor *t, char out[GGUF_QUOTE_BYTES]) {
    return gguf_quote((tamis_bytes){t->name, strlen(t->name)}, out);
}

/* --- layers --- */

/* Layers of the names "blk.N.": how many tensors each has, and which (a sum of hashes). */
typedef struct layer_set {
    int64_t n_tensors;
    uint64_t set;
} layer_set;

static uint64_t hash_text(const char *text) {
    uint64_t h = 14695981039346656037u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

static bool main_layer(const tamis_gguf_tensor *t, int64_t *layer, const char **rest) {
    const size_t n = strncmp(t->name, "blk.", 4) ? 0 : tamis_tensor_layer(t->name, layer);
    *rest = t->name + n;
    return n != 0;
}

/* A tensor of layer `in` whose like layer `not_in` lacks; NULL when there is none. */
static const tamis_gguf_tensor *find_extra(const tamis_gguf *g, int64_t in, int64_t not_in) {
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        char name[GGUF_MAX_NAME_BYTES + 32];
        const char *rest;
        int64_t layer;
        if (!main_layer(&g->tensors[i], &layer, &rest) || layer != in) continue;
        snprintf(name, sizeof name, "blk.%lld%s", (ll)not_in, rest);
        if (!tamis_gguf_find_tensor(g, name)) return &g->tensors[i];
    }
    return NULL;
}

/* Layers whose set of tensors no other layer has: the first is named with what tells it apart. */
static void note_odd_layers(const gguf_remarks *to, const tamis_gguf *g, const layer_set *layers,
                            int64_t n_layers) {
    enum { MIN_LAYERS = 4, MAX_LAYERS = 4096 }; /* below: no rule; above: not worth n squared */
    int64_t n_odd = 0, first = 0;
    for (int64_t i = 0; n_layers <= MAX_LAYERS && i < n_layers; i++) {
        bool is_odd = layers[i].n_tensors > 0;
        for (int64_t k = 0; is_odd && k < n_layers; k++)
            is_odd = k == i || layers[k].set != layers[i].set;
        if (is_odd && !n_odd++) first = i;
    }
    if (!n_odd || n_layers < MIN_LAYERS || n_odd > n_layers / 2) return;
    const int64_t other = first ? first - 1 : 1;
    const tamis_gguf_tensor *extra = find_extra(g, first, other);
    const tamis_gguf_tensor *missing = find_extra(g, other, first);
    char a[GGUF_QUOTE_BYTES], b[GGUF_QUOTE_BYTES];
    gguf_remark(to, TAMIS_CHECK_NOTE,
                "%lld of %lld layers hold tensors as no other layer does; the first is layer "
                "%lld%s%s%s%s%s%s",
                (ll)n_odd, (ll)n_layers, (ll)first, extra ? ": it has '" : "",
                extra ? quote_name(extra, a) : "", extra ? "'" : "", missing ? ", it lacks '" : "",
                missing ? quote_name(missing, b) : "", missing ? "' of another" : "");
}

static tamis_status check_layers(const gguf_remarks *to, const tamis_gguf *g, tamis_error *err) {
    int64_t n_layers, n_next = 0, n_missing = 0, first_missing = 0, n_used = 0;
    if (!gguf_arch_int(&g->files[0], "block_count", &n_layers) || n_layers > GGUF_MAX_BLOCKS)
        return TAMIS_OK;
    (void)gguf_arch_int(&g->files[0], "nextn_predict_layers", &n_next);
    layer_set *layers = tamis_alloc_array((uint64_t)n_layers, sizeof *layers, err);
    if (!layers) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const char *rest;
        int64_t layer;
        if (!main_layer(&g->tensors[i], &layer, &rest) || layer >= n_layers) continue;
        n_used += !layers[layer].n_tensors++;
        layers[layer].set += hash_text(rest);
    }
    for (int64_t i = n_layers - 1; i >= 0; i--)
        if (!layers[i].n_tensors) {
            n_missing++;
            first_missing = i;
        }
    if (n_used && n_missing)
        gguf_remark(to,
                    first_missing >= n_layers - n_next ? TAMIS_CHECK_WARNING : TAMIS_CHECK_ERROR,
                    "%lld of %lld layers (block_count) have no tensor, the first is layer %lld",
                    (ll)n_missing, (ll)n_layers, (ll)first_missing);
    if (n_used) note_odd_layers(to, g, layers, n_layers);
    if (n_used && !tamis_gguf_find_tensor(g, "token_embd.weight"))
        gguf_remark(to, TAMIS_CHECK_NOTE, "there is no tensor 'token_embd.weight'");
    free(layers);
    return TAMIS_OK;
}

/* --- shapes --- */

static void check_width(const gguf_remarks *to, const tamis_gguf *g, const char *name) {
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, name);
    int64_t n_embd;
    if (!t || !gguf_arch_int(&g->files[0], "embedding_length", &n_embd)) return;
    if (t->ne[0] == (uint64_t)n_embd) return;
    gguf_remark(to, TAMIS_CHECK_ERROR, "tensor '%s' has rows of %llu, embedding_length is %lld",
                name, (ull)t->ne[0], (ll)n_embd);
}

static void check_rows(const gguf_remarks *to, const tamis_gguf *g, const char *name) {
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g, name);
    tamis_gguf_kv tokens;
    if (!t || !tamis_gguf_find(g, "tokenizer.ggml.tokens", &tokens)) return;
    if (t->ne[1] == tokens.n_elems) return;
    const bool is_short = t->ne[1] < tokens.n_elems;
    gguf_remark(to, is_short ? TAMIS_CHECK_ERROR : TAMIS_CHECK_NOTE,
                "tensor '%s' has %llu rows for %llu tokens%s", name, (ull)t->ne[1],
                (ull)tokens.n_elems, is_short ? "" : " (padded)");
}

static void check_experts(const gguf_remarks *to, const tamis_gguf *g) {
    static const char end[] = "_exps.weight";
    int64_t n_experts;
    uint64_t n_bad = 0;
    const tamis_gguf_tensor *first = NULL;
    if (!gguf_arch_int(&g->files[0], "expert_count", &n_experts)) return;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const tamis_gguf_tensor *t = &g->tensors[i];
        const size_t n = strlen(t->name);
        if (n < strlen(end) || strcmp(t->name + n - strlen(end), end)) continue;
        if (t->ne[2] == (uint64_t)n_experts) continue;
        if (!n_bad++) first = t;
    }
    char quoted[GGUF_QUOTE_BYTES];
    if (n_bad)
        gguf_remark(to, TAMIS_CHECK_ERROR,
                    "%llu expert tensors do not have the %lld experts of expert_count, the first "
                    "is '%s' with %llu",
                    (ull)n_bad, (ll)n_experts, quote_name(first, quoted), (ull)first->ne[2]);
}

static void check_vocab_size(const gguf_remarks *to, const tamis_gguf *g) {
    tamis_gguf_kv tokens;
    int64_t n;
    if (!tamis_gguf_find(g, "tokenizer.ggml.tokens", &tokens)) return;
    if (!gguf_arch_int(&g->files[0], "vocab_size", &n) || tokens.n_elems == (uint64_t)n) return;
    gguf_remark(to, TAMIS_CHECK_WARNING, "vocab_size is %lld, the tokenizer has %llu tokens", (ll)n,
                (ull)tokens.n_elems);
}

tamis_status tamis_gguf_check_model(const tamis_gguf *g, tamis_remark_fn *found, void *ctx,
                                    tamis_error *err) {
    const gguf_remarks to = {"model", found, ctx};
    uint64_t n_unknown = 0;
    tamis_gguf_kv kv;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        n_unknown += !g->tensors[i].type || !g->tensors[i].type->block_elems;
    if (n_unknown)
        gguf_remark(&to, TAMIS_CHECK_WARNING,
                    "%llu tensor%s of an unknown or retired type: what %s is not looked at",
                    (ull)n_unknown, n_unknown == 1 ? "" : "s",
                    n_unknown == 1 ? "it holds" : "they hold");
    if (!tamis_gguf_find(g, "general.architecture", &kv)) {
        gguf_remark(&to, TAMIS_CHECK_NOTE, "there is no key 'general.architecture'");
        return TAMIS_OK;
    }
    if (tamis_gguf_is_mmproj(g)) return gguf_check_mmproj(&to, g, err);
    check_width(&to, g, "token_embd.weight");
    check_rows(&to, g, "token_embd.weight");
    check_rows(&to, g, "output.weight");
    check_vocab_size(&to, g);
    check_experts(&to, g);
    return check_layers(&to, g, err);
}
