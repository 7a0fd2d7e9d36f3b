/* model_internal.h - what an opened model is, for the files of this room.
 * Shapes of tensors are given in terms of the hyper-parameters by rules (arch/arch.h), so an
 * architecture is a list and a layer function. */
#ifndef TAMIS_MODEL_MODEL_INTERNAL_H
#define TAMIS_MODEL_MODEL_INTERNAL_H

#include "model/arch/hparams.h"
#include "model/model.h"

struct tamis_arch;

struct tamis_model {
    tamis_gguf *gguf;
    const struct tamis_arch *arch;
    tamis_hparams hp;
    const tamis_gguf_tensor *token_embd, *head; /* head = token_embd when tied */
};

#endif
