/* model_hash.h - a short name for what a model file holds, for results and checkpoints. */
#ifndef TAMIS_MODEL_MODEL_HASH_H
#define TAMIS_MODEL_MODEL_HASH_H

#include "base/error.h"
#include "gguf/gguf.h"

/* XXH3-128 in hex over every key and value, every tensor's name, type, shape and size, and up to
 * three samples of 4096 bytes of each tensor's data (first, middle, last): enough to tell a model
 * from its fine-tune without reading it whole. TAMIS_BAD_INPUT when the file cannot be read. */
tamis_status tamis_model_hash(const tamis_gguf *g, char out[33], tamis_error *err) TAMIS_MUST_USE;

#endif
