/* model.h - a model opened for running: architecture known, every tensor present and of the
 * right shape, hyper-parameters checked. Nothing is computed and no tensor data is
 * read at opening. */
#ifndef TAMIS_MODEL_MODEL_H
#define TAMIS_MODEL_MODEL_H

#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "gguf/gguf.h"

typedef struct tamis_model tamis_model;

/* Open the GGUF (or split set) at `path` as a model. TAMIS_BAD_INPUT before any computing when
 * the architecture is unknown (the known ones are listed), a tensor is missing or misshapen, a
 * hyper-parameter is missing or out of range: each named. Close with tamis_model_close(). */
tamis_status tamis_model_open(const char *path, const tamis_log *log, tamis_model **out,
                              tamis_error *err) TAMIS_MUST_USE;
void tamis_model_close(tamis_model *m);

const tamis_gguf *tamis_model_gguf(const tamis_model *m); /* borrowed */
const char *tamis_model_path(const tamis_model *m);
const char *tamis_model_arch(const tamis_model *m); /* "qwen3" */
int64_t tamis_model_n_layers(const tamis_model *m); /* executed ones */
/* Multi-token prediction blocks, which stand behind the layers and are not among them. */
int64_t tamis_model_n_mtp(const tamis_model *m);
int64_t tamis_model_n_embd(const tamis_model *m);
int64_t tamis_model_n_vocab(const tamis_model *m);
int64_t tamis_model_context_length(const tamis_model *m); /* in training */

/* Names of the architectures that can be run; *n entries. */
const char *const *tamis_model_known_archs(int *n);

#endif
