/* identity.h - which model a result is about: name, size, and hashes of file and vocabulary. */
#ifndef TAMIS_KLD_IDENTITY_H
#define TAMIS_KLD_IDENTITY_H

#include <stdint.h>

#include "base/error.h"
#include "model/model.h"
#include "model/tokenizer.h"

typedef struct tamis_kld_identity {
    char name[256];         /* file name without folders; printable */
    char hash[33];          /* XXH3-128 hex, see model/model_hash.h */
    char arch[64];          /* architecture, "llama" */
    char vocab_hash[33];    /* of the tokenizer; "" when the file has none that can be used */
    uint64_t n_bytes;       /* size of the file, or of all files of a split set */
    double bits_per_weight; /* bits of all tensors over their elements */
    int64_t n_vocab, n_embd;
} tamis_kld_identity;

/* Describe `model`; the hash is tamis_model_hash()'s. tokenizer may be NULL. TAMIS_BAD_INPUT when
 * the file cannot be read. */
tamis_status tamis_kld_identify(const tamis_model *model, const tamis_tokenizer *tokenizer,
                                tamis_kld_identity *out, tamis_error *err) TAMIS_MUST_USE;

/* Last component of a path, control characters escaped, cut to fit. */
void tamis_kld_file_name(const char *path, char out[256]);

#endif
