/* tensor_names.h - what the name of a tensor says: its layer, and what it is for. */
#ifndef TAMIS_GGUF_TENSOR_NAMES_H
#define TAMIS_GGUF_TENSOR_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tamis_tensor_kind {
    TAMIS_KIND_EMBEDDING,
    TAMIS_KIND_OUTPUT,
    TAMIS_KIND_ATTENTION,
    TAMIS_KIND_FFN,
    TAMIS_KIND_EXPERTS,
    TAMIS_KIND_SHARED_EXPERTS,
    TAMIS_KIND_ROUTER,
    TAMIS_KIND_SSM, /* state space, gated delta net, convolution */
    TAMIS_KIND_NORM,
    TAMIS_KIND_MTP, /* next-token prediction: what only such a block has */
    TAMIS_KIND_VISION,
    TAMIS_KIND_AUDIO,
    TAMIS_KIND_PROJECTOR, /* from vision or audio to the text model */
    TAMIS_KIND_OTHER,
    TAMIS_KIND_N,
} tamis_tensor_kind;

/* "embeddings", "output", "attention", ... */
const char *tamis_tensor_kind_name(tamis_tensor_kind kind);
tamis_tensor_kind tamis_tensor_kind_of(const char *name);

/* Bytes of "blk.3" in "blk.3.attn_q.weight" ("v.blk.3" in "v.blk.3.ln1.weight") with the number in
 * *layer; 0 when the name has no layer. */
size_t tamis_tensor_layer(const char *name, int64_t *layer);

#endif
