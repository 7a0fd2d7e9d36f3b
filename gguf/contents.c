/* contents.c - see contents.h. Names and keys: reference/hf-conversion.md section 6,
 * architectures.md section 0. */
#include "gguf/contents.h"

#include <stdio.h>
#include <string.h>

#include "gguf/gguf_internal.h"
#include "gguf/tensor_names.h"

static const char *const part_names[TAMIS_N_PARTS] = {
    [TAMIS_PART_TEXT] = "text model",     [TAMIS_PART_MTP] = "MTP",
    [TAMIS_PART_VISION] = "vision tower", [TAMIS_PART_AUDIO] = "audio tower",
    [TAMIS_PART_PROJECTOR] = "projector",
};

const char *tamis_part_name(tamis_part part) {
    return part_names[part];
}

bool tamis_part_is_modal(tamis_part part) {
    return part == TAMIS_PART_VISION || part == TAMIS_PART_AUDIO || part == TAMIS_PART_PROJECTOR;
}

tamis_part tamis_part_of(const char *name, int64_t first_mtp) {
    static const struct {
        const char *start;
        tamis_part part;
    } starts[] = {
        {"v.", TAMIS_PART_VISION},
        {"a.", TAMIS_PART_AUDIO},
        {"mm.", TAMIS_PART_PROJECTOR},
        {"resampler.", TAMIS_PART_PROJECTOR},
        {"model.image_", TAMIS_PART_PROJECTOR},
    };
    int64_t layer;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!strncmp(name, starts[i].start, strlen(starts[i].start))) return starts[i].part;
    if (!strncmp(name, "blk.", 4) && tamis_tensor_layer(name, &layer) && layer >= first_mtp)
        return TAMIS_PART_MTP;
    return TAMIS_PART_TEXT;
}

int64_t tamis_gguf_first_mtp(const tamis_gguf *g) {
    int64_t n_blocks, n_next;
    if (!gguf_arch_int(&g->files[0], "block_count", &n_blocks) ||
        !gguf_arch_int(&g->files[0], "nextn_predict_layers", &n_next) || n_next < 1 ||
        n_next > n_blocks)
        return INT64_MAX;
    return n_blocks - n_next;
}

static bool is_text_value(const tamis_gguf *g, const char *key, const char *value) {
    tamis_bytes text;
    return !tamis_gguf_get_string(g, key, &text, NULL) && text.data &&
           text.n_bytes == strlen(value) && !memcmp(text.data, value, text.n_bytes);
}

bool tamis_gguf_is_mmproj(const tamis_gguf *g) {
    return is_text_value(g, "general.type", "mmproj") ||
           is_text_value(g, "general.architecture", "clip");
}

void tamis_gguf_contents(const tamis_gguf *g, tamis_part_sums sums[TAMIS_N_PARTS]) {
    const int64_t first_mtp = tamis_gguf_first_mtp(g);
    memset(sums, 0, TAMIS_N_PARTS * sizeof *sums);
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        const tamis_part part = tamis_part_of(t->name, first_mtp);
        tamis_part_sums *s = &sums[part];
        int64_t layer;
        s->n_tensors++;
        s->n_elems += tamis_tensor_n_elems(t);
        s->n_bytes += t->n_bytes;
        if (!tamis_tensor_layer(t->name, &layer)) continue;
        if (part == TAMIS_PART_MTP) layer -= first_mtp;
        if (layer >= s->n_blocks) s->n_blocks = layer + 1;
    }
}

const char *tamis_gguf_contents_text(const tamis_gguf *g, char *out, size_t cap) {
    static const char *const unit[TAMIS_N_PARTS] = {
        [TAMIS_PART_TEXT] = "layer",      [TAMIS_PART_MTP] = "block",
        [TAMIS_PART_VISION] = "block",    [TAMIS_PART_AUDIO] = "block",
        [TAMIS_PART_PROJECTOR] = "block",
    };
    tamis_part_sums sums[TAMIS_N_PARTS];
    tamis_bytes text;
    size_t n = 0;
    out[0] = 0;
    if (tamis_gguf_get_string(g, "general.architecture", &text, NULL) || !text.data ||
        is_text_value(g, "general.type", "imatrix") || is_text_value(g, "general.type", "adapter"))
        return out;
    tamis_gguf_contents(g, sums);
    for (int i = 0; i < TAMIS_N_PARTS && n < cap; i++) {
        if (!sums[i].n_tensors) continue;
        const long long n_blocks = (long long)sums[i].n_blocks;
        n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "", part_names[i]);
        if (n_blocks && n < cap)
            n += (size_t)snprintf(out + n, cap - n, " (%lld %s%s)", n_blocks, unit[i],
                                  n_blocks == 1 ? "" : "s");
    }
    return out;
}
