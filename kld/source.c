/* source.c - see source.h. */
#include "kld/source.h"

#include <string.h>
#include <sys/stat.h>

#include "base/atomic_file.h"

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

tamis_status tamis_kld_same_vocabulary(const tamis_kld_identity *parent,
                                       const tamis_kld_identity *quant, const tamis_log *log,
                                       tamis_error *err) {
    if (parent->n_vocab != quant->n_vocab)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s has a vocabulary of %lld tokens, its parent %s one of %lld; only "
                          "models with the same vocabulary can be compared",
                          quant->name, (long long)quant->n_vocab, parent->name,
                          (long long)parent->n_vocab);
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
                                 int64_t max_chunks, const tamis_kld_source *source,
                                 tamis_chunks *out, tamis_kld_text *text, tamis_error *err) {
    const bool is_text = options->text_path != NULL;
    const tamis_chunks_options chunks = {
        .path = is_text ? options->text_path : options->tokens_path,
        .n_ctx = n_ctx,
        .max_chunks = max_chunks,
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

/* Do both name one existing file? */
static bool is_same_file(const char *a, const char *b) {
    struct stat x, y;
    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

tamis_status tamis_kld_check_output(const tamis_kld_options *options, const char *path,
                                    tamis_error *err) {
    bool is_input =
        is_same_file(path, options->parent_path) || is_same_file(path, options->text_path) ||
        is_same_file(path, options->tokens_path) || is_same_file(path, options->base_path);
    for (size_t i = 0; i < options->n_quants; ++i)
        is_input |= is_same_file(path, options->quant_paths[i]);
    if (is_input)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s is an input; give the output another name",
                          path);
    tamis_output *probe;
    tamis_status st = tamis_output_open(path, &probe, err);
    if (!st) tamis_output_discard(probe);
    return st;
}
