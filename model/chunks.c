/* chunks.c - see chunks.h.
 * Holds the text, its ids and the chunks' tokens for a moment each; nothing is near a bound. */
#include "model/chunks.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/input_file.h"

/* More than any text that could be run; keeps a wrong file (a disk, a model) from being read. */
static const uint64_t MAX_FILE_BYTES = (uint64_t)8 << 30;

static tamis_status hash_ids(const int32_t *ids, uint64_t n_ids, char out[33], tamis_error *err) {
    char hex[TAMIS_HASH_HEX_MAX];
    tamis_status st =
        tamis_hash_bytes(TAMIS_HASH_XXH3_128, ids, (size_t)n_ids * sizeof *ids, hex, err);
    if (st) return st;
    memcpy(out, hex, 32);
    out[32] = 0;
    return TAMIS_OK;
}

/* Fill *out with the chunks that `ids` hold. `source` is named in messages. */
static tamis_status cut(const int32_t *ids, uint64_t n_ids, const tamis_chunks_options *options,
                        tamis_chunks *out, tamis_error *err) {
    const int64_t n_tokens = (int64_t)n_ids;
    const int64_t n_ctx = options->n_ctx ? options->n_ctx : n_tokens;
    out->n_ctx = n_ctx;
    out->n_text_tokens = n_tokens;
    const int64_t stride = options->stride ? options->stride : n_ctx;
    const int64_t n_all = n_tokens < n_ctx ? 0 : (n_tokens - n_ctx) / stride + 1;
    if (options->first_chunk >= n_all) {
        if (options->first_chunk > 0)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "%s: %lld tokens found are %lld chunks of %lld, none is left after "
                              "skipping %lld; skip fewer or use a longer text",
                              options->path, (long long)n_tokens, (long long)n_all,
                              (long long)n_ctx, (long long)options->first_chunk);
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: %lld tokens found, one chunk needs %lld; use a longer text or a "
                          "smaller --ctx",
                          options->path, (long long)n_tokens, (long long)n_ctx);
    }
    out->n_chunks = n_all - options->first_chunk;
    if (options->max_chunks > 0 && out->n_chunks > options->max_chunks)
        out->n_chunks = options->max_chunks;
    uint64_t n_kept;
    if (!tamis_mul_u64((uint64_t)out->n_chunks, (uint64_t)n_ctx, &n_kept)) n_kept = UINT64_MAX;
    out->ids = tamis_alloc_array(n_kept, sizeof *out->ids, err);
    if (!out->ids) return TAMIS_NO_RESOURCE;
    out->tokens = tamis_alloc_array(n_kept, sizeof *out->tokens, err);
    if (!out->tokens) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < out->n_chunks; ++i)
        memcpy(out->ids + i * n_ctx, ids + (options->first_chunk + i) * stride,
               (size_t)n_ctx * sizeof *ids);
    memcpy(out->tokens, out->ids, (size_t)n_kept * sizeof *ids);
    return hash_ids(ids, n_ids, out->hash, err);
}

tamis_status tamis_chunks_from_text(const tamis_tokenizer *tokenizer,
                                    const tamis_chunks_options *options, tamis_chunks *out,
                                    tamis_error *err) {
    *out = (tamis_chunks){0};
    char *text = NULL;
    size_t n_bytes = 0;
    tamis_tokens tokens = {0};
    if (options->n_ctx < 1)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--ctx must be at least 1, not %lld",
                          (long long)options->n_ctx);
    tamis_status st = tamis_read_file(options->path, MAX_FILE_BYTES, &text, &n_bytes, err);
    if (st) goto out;
    if (n_bytes > 0 && text[n_bytes - 1] == '\n') --n_bytes;
    if (n_bytes == 0) {
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: the text is empty; give one with at least %lld "
                        "tokens",
                        options->path, (long long)options->n_ctx);
        goto out;
    }
    st = tamis_tokenize(tokenizer, text, n_bytes, true, options->parse_special, &tokens, err);
    if (st) goto out;
    st = cut(tokens.ids, tokens.n_ids, options, out, err);
    if (st) goto out;
    const int32_t bos = tamis_tokenizer_bos(tokenizer);
    if (tamis_tokenizer_adds_bos(tokenizer) && bos >= 0) {
        for (int64_t i = 0; i < out->n_chunks; ++i)
            out->tokens[i * out->n_ctx] = bos;
    }
out:
    if (st) tamis_chunks_release(out);
    tamis_tokens_release(&tokens);
    free(text);
    return st;
}

static tamis_status check_ids(const char *path, const int32_t *ids, uint64_t n_ids, int64_t n_vocab,
                              tamis_error *err) {
    for (uint64_t i = 0; i < n_ids; ++i) {
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return tamis_fail(err, TAMIS_BAD_INPUT,
                              "%s: id %ld at position %llu (byte %llu) is outside the vocabulary "
                              "(0 to %lld)",
                              path, (long)ids[i], (unsigned long long)i,
                              (unsigned long long)i * sizeof *ids, (long long)n_vocab - 1);
    }
    return TAMIS_OK;
}

tamis_status tamis_chunks_from_ids(int64_t n_vocab, const tamis_chunks_options *options,
                                   tamis_chunks *out, tamis_error *err) {
    *out = (tamis_chunks){0};
    const char *path = options->path;
    char *bytes = NULL;
    size_t n_bytes = 0;
    int32_t *ids = NULL;
    tamis_status st = tamis_read_file(path, MAX_FILE_BYTES, &bytes, &n_bytes, err);
    if (st) goto out;
    if (n_bytes == 0) {
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: the file is empty; raw little-endian int32 ids are expected", path);
        goto out;
    }
    if (n_bytes % sizeof *ids) {
        st = tamis_fail(err, TAMIS_BAD_INPUT,
                        "%s: %zu bytes are no whole number of int32 ids; the last one, at byte "
                        "%zu, is cut",
                        path, n_bytes, n_bytes - n_bytes % sizeof *ids);
        goto out;
    }
    const uint64_t n_ids = n_bytes / sizeof *ids;
    st = TAMIS_NO_RESOURCE;
    ids = tamis_alloc_array(n_ids, sizeof *ids, err);
    if (!ids) goto out;
    memcpy(ids, bytes, n_bytes);
    st = check_ids(path, ids, n_ids, n_vocab, err);
    if (st) goto out;
    st = cut(ids, n_ids, options, out, err);
out:
    if (st) tamis_chunks_release(out);
    free(ids);
    free(bytes);
    return st;
}

void tamis_chunks_release(tamis_chunks *chunks) {
    if (!chunks) return;
    free(chunks->tokens);
    free(chunks->ids);
    *chunks = (tamis_chunks){0};
}
