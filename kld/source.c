/* source.c - see source.h. */
#include "kld/source.h"

#include <string.h>

#include "base/atomic_file.h"
#include "base/input_file.h"

tamis_status tamis_kld_source_open(const char *path, bool needs_tokenizer, const tamis_log *log,
                                   tamis_kld_source *out, tamis_error *err) {
    *out = (tamis_kld_source){0};
    tamis_status st = tamis_model_open(path, log, &out->model, err);
    if (st) return st;
    st = tamis_tokenizer_new(tamis_model_gguf(out->model), &out->tokenizer, err);
    if (st == TAMIS_BAD_INPUT && !needs_tokenizer) st = TAMIS_OK; /* raw ids need none */
    if (!st) st = tamis_kld_identify(out->model, out->tokenizer, &out->identity, err);
    if (st) tamis_kld_source_close(out);
    return st;
}

void tamis_kld_source_drop_tokenizer(tamis_kld_source *source) {
    tamis_tokenizer_free(source->tokenizer);
    source->tokenizer = NULL;
}

void tamis_kld_source_close(tamis_kld_source *source) {
    if (!source) return;
    tamis_kld_source_drop_tokenizer(source);
    tamis_model_close(source->model);
    *source = (tamis_kld_source){0};
}

tamis_status tamis_kld_check_quant(const tamis_kld_identity *parent,
                                   const tamis_kld_identity *quant, const tamis_log *log,
                                   tamis_error *err) {
    const bool is_known = parent->arch[0]; /* a base of llama-perplexity names no model */
    if (is_known && strcmp(parent->arch, quant->arch) != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s has architecture %s, its parent %s has %s; only models of the same "
                          "one can be compared",
                          quant->name, quant->arch, parent->name, parent->arch);
    if (parent->n_vocab != quant->n_vocab)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s has a vocabulary of %lld tokens, its parent %s one of %lld; only "
                          "models with the same vocabulary can be compared",
                          quant->name, (long long)quant->n_vocab, parent->name,
                          (long long)parent->n_vocab);
    if (!is_known) return TAMIS_OK;
    if (!parent->vocab_hash[0] || !quant->vocab_hash[0]) {
        tamis_warn(log,
                   "%s and %s: the tokenizer is not known here, only the number of tokens "
                   "was compared",
                   parent->name, quant->name);
        return TAMIS_OK;
    }
    if (strcmp(parent->vocab_hash, quant->vocab_hash) == 0) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s (%s) and its parent %s (%s) have different vocabularies; only models "
                      "with the same one can be compared",
                      quant->name, quant->vocab_hash, parent->name, parent->vocab_hash);
}

tamis_status tamis_kld_read_text(const tamis_kld_options *options, int64_t n_ctx,
                                 int64_t max_chunks, int64_t stride, const tamis_kld_source *source,
                                 tamis_chunks *out, tamis_kld_text *text, tamis_error *err) {
    const bool is_text = options->text_path != NULL;
    const tamis_chunks_options chunks = {
        .path = is_text ? options->text_path : options->tokens_path,
        .n_ctx = n_ctx,
        .max_chunks = max_chunks,
        .stride = stride,
        .parse_special = options->parse_special,
    };
    tamis_status st =
        is_text ? tamis_chunks_from_text(source->tokenizer, &chunks, out, err)
                : tamis_chunks_from_ids(tamis_model_n_vocab(source->model), &chunks, out, err);
    if (st) return st;
    *text = (tamis_kld_text){.n_tokens = out->n_text_tokens};
    tamis_kld_file_name(chunks.path, text->name);
    memcpy(text->hash, out->hash, sizeof text->hash);
    return TAMIS_OK;
}

tamis_status tamis_kld_check_output(const tamis_kld_options *options, const char *path,
                                    tamis_error *err) {
    const char *const others[] = {options->parent_path,
                                  options->text_path,
                                  options->tokens_path,
                                  path == options->base_path ? NULL : options->base_path,
                                  path == options->save_logits_path ? NULL
                                                                    : options->save_logits_path,
                                  path == options->json_path ? NULL : options->json_path};
    for (size_t i = 0; i < options->n_quants; ++i) {
        if (tamis_is_same_file(path, options->quant_paths[i]))
            return tamis_output_check(path, &options->quant_paths[i], 1, err);
    }
    return tamis_output_check(path, others, sizeof others / sizeof *others, err);
}

tamis_status tamis_kld_check_parts(const tamis_kld_source *source, const char *path,
                                   tamis_error *err) {
    if (!tamis_gguf_has_file(tamis_model_gguf(source->model), path)) return TAMIS_OK;
    return tamis_output_check(path, &path, 1, err);
}
