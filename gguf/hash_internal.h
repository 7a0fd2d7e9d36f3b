/* hash_internal.h - what hash.c and hash_model.c share. */
#ifndef TAMIS_GGUF_HASH_INTERNAL_H
#define TAMIS_GGUF_HASH_INTERNAL_H

#include "base/hash.h"
#include "gguf/gguf.h"

typedef struct gguf_digest_text {
    char text[TAMIS_HASH_HEX_MAX];
} gguf_digest_text;

/* The model digest (hash.h) from the digests of the tensors' data, in the order of the file. */
tamis_status gguf_model_digest(const tamis_gguf *g, tamis_hash_kind kind,
                               const gguf_digest_text *tensors, char hex[TAMIS_HASH_HEX_MAX],
                               tamis_error *err) TAMIS_MUST_USE;

#endif
