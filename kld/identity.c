/* identity.c - see identity.h. */
#include "kld/identity.h"

#include <stdio.h>
#include <string.h>

#include "model/model_hash.h"

void tamis_kld_file_name(const char *path, char out[256]) {
    const char *slash = strrchr(path, '/');
    const char *name = slash && slash[1] ? slash + 1 : path;
    tamis_escape(name, strlen(name), out, 256);
}

tamis_status tamis_kld_identify(const tamis_model *model, const tamis_tokenizer *tokenizer,
                                tamis_kld_identity *out, tamis_error *err) {
    const tamis_gguf *g = tamis_model_gguf(model);
    *out = (tamis_kld_identity){.n_vocab = tamis_model_n_vocab(model),
                                .n_embd = tamis_model_n_embd(model)};
    tamis_kld_file_name(tamis_model_path(model), out->name);
    snprintf(out->arch, sizeof out->arch, "%s", tamis_model_arch(model));
    if (tokenizer) tamis_tokenizer_hash(tokenizer, out->vocab_hash);
    for (int32_t i = 0; i < tamis_gguf_n_files(g); ++i)
        out->n_bytes += tamis_gguf_file_size(g, i);
    double n_bits = 0, n_elems = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); ++i) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        n_bits += 8 * (double)t->n_bytes;
        n_elems += (double)tamis_tensor_n_elems(t);
    }
    if (n_elems > 0) out->bits_per_weight = n_bits / n_elems;
    return tamis_model_hash(g, out->hash, err);
}
