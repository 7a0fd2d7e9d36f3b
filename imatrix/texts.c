/* texts.c - see texts.h. Holds one text and its ids for a moment, and the tokens of all. */
#include "imatrix/texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/parse.h"

static const double WEIGHT_MIN = 1e-6, WEIGHT_MAX = 1e6;

static tamis_status check_paths(const char *const *paths, size_t n_paths, tamis_error *err) {
    for (size_t i = 0; i < n_paths; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(paths[i], paths[j]) == 0)
                return tamis_fail(err, TAMIS_BAD_USAGE,
                                  "the text '%s' is given twice; give it once with a weight "
                                  "(--text-weight %s=2)",
                                  paths[i], paths[i]);
    return TAMIS_OK;
}

/* The text that "FILE=W" is about. File names may hold '=': the last one counts. */
static tamis_status find_text(const char *pair, const char *const *paths, size_t n_paths,
                              size_t *i_text, const char **number, tamis_error *err) {
    const char *equals = strrchr(pair, '=');
    if (!equals)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--text-weight is FILE=WEIGHT, not '%s'", pair);
    const size_t n_bytes = (size_t)(equals - pair);
    *number = equals + 1;
    for (*i_text = 0; *i_text < n_paths; (*i_text)++) {
        const char *path = paths[*i_text];
        if (strlen(path) == n_bytes && memcmp(path, pair, n_bytes) == 0) return TAMIS_OK;
    }
    char name[512];
    snprintf(name, sizeof name, "%.*s", (int)(n_bytes < 500 ? n_bytes : 500), pair);
    const char *nearest = tamis_nearest(name, paths, n_paths);
    return tamis_fail(err, TAMIS_BAD_USAGE,
                      "--text-weight: '%s' is no text of this run (-f)%s%s%s; write it as there",
                      name, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                      nearest ? "'" : "");
}

tamis_status tamis_imatrix_texts_weigh(const char *const *paths, size_t n_paths,
                                       const char *const *weights, size_t n_weights,
                                       tamis_imatrix_text **out, tamis_error *err) {
    *out = NULL;
    tamis_status st = check_paths(paths, n_paths, err);
    if (st) return st;
    tamis_imatrix_text *texts = tamis_alloc_array(n_paths, sizeof *texts, err);
    if (!texts) return TAMIS_NO_RESOURCE;
    for (size_t i = 0; i < n_paths; i++)
        texts[i].path = paths[i];
    for (size_t i = 0; i < n_weights && !st; i++) {
        size_t i_text;
        const char *number;
        st = find_text(weights[i], paths, n_paths, &i_text, &number, err);
        if (!st && texts[i_text].weight != 0)
            st = tamis_fail(err, TAMIS_BAD_USAGE, "--text-weight: '%s' has a weight already",
                            paths[i_text]);
        if (!st)
            st = tamis_parse_double(number, WEIGHT_MIN, WEIGHT_MAX, "--text-weight",
                                    &texts[i_text].weight, err);
    }
    for (size_t i = 0; i < n_paths; i++)
        if (texts[i].weight == 0) texts[i].weight = 1;
    if (st)
        free(texts);
    else
        *out = texts;
    return st;
}

/* Put a text's chunks behind those there are. */
static tamis_status append(tamis_text_parts *all, uint64_t *capacity, const tamis_chunks *chunks,
                           tamis_text_part *part, tamis_error *err) {
    const uint64_t n_old = (uint64_t)(all->n_chunks * chunks->n_ctx);
    const uint64_t n_new = (uint64_t)(chunks->n_chunks * chunks->n_ctx);
    tamis_status st = tamis_grow(&all->tokens, capacity, n_old + n_new, sizeof *all->tokens, err);
    if (st) return st;
    memcpy(all->tokens + n_old, chunks->tokens, (size_t)n_new * sizeof *all->tokens);
    part->n_text_tokens = chunks->n_text_tokens;
    part->first_chunk = all->n_chunks;
    part->n_chunks = chunks->n_chunks;
    all->n_ctx = chunks->n_ctx;
    all->n_chunks += chunks->n_chunks;
    all->n_text_tokens += chunks->n_text_tokens;
    return TAMIS_OK;
}

tamis_status tamis_text_parts_read(const tamis_tokenizer *tokenizer,
                                   const tamis_chunks_options *options,
                                   const tamis_imatrix_text *texts, size_t n_texts,
                                   tamis_text_parts *out, tamis_error *err) {
    *out = (tamis_text_parts){0};
    uint64_t capacity = 0;
    tamis_status st = TAMIS_OK;
    out->parts = tamis_alloc_array(n_texts, sizeof *out->parts, err);
    if (!out->parts) return TAMIS_NO_RESOURCE;
    for (; out->n_parts < n_texts && !st; out->n_parts++) {
        tamis_text_part *part = &out->parts[out->n_parts];
        tamis_chunks_options one = *options;
        tamis_chunks chunks;
        part->path = one.path = texts[out->n_parts].path;
        part->weight = texts[out->n_parts].weight;
        st = tamis_chunks_from_text(tokenizer, &one, &chunks, err);
        if (!st) st = append(out, &capacity, &chunks, part, err);
        tamis_chunks_release(&chunks);
    }
    if (st) tamis_text_parts_release(out);
    return st;
}

void tamis_text_parts_release(tamis_text_parts *parts) {
    if (!parts) return;
    free(parts->tokens);
    free(parts->parts);
    *parts = (tamis_text_parts){0};
}

tamis_status tamis_text_parts_name(const tamis_text_parts *parts, tamis_checkpoint *cp,
                                   tamis_error *err) {
    /* "95 x 1, 40 x 0.5", and the hash of it all where that is long */
    char value[256] = "", hex[TAMIS_HASH_HEX_MAX];
    size_t n = 0;
    tamis_hash *hash;
    tamis_status st = tamis_hash_new(TAMIS_HASH_XXH3_128, &hash, err);
    if (st) return st;
    for (size_t i = 0; i < parts->n_parts; i++) {
        char one[64], weight[32];
        const int n_one = snprintf(
            one, sizeof one, "%s%lld x %s", i ? ", " : "", (long long)parts->parts[i].n_chunks,
            tamis_format_double(parts->parts[i].weight, weight, sizeof weight));
        tamis_hash_update(hash, one, (size_t)n_one);
        if (n + (size_t)n_one < sizeof value) memcpy(value + n, one, (size_t)n_one + 1);
        n += (size_t)n_one;
    }
    tamis_hash_hex(hash, hex);
    tamis_hash_free(hash);
    return tamis_checkpoint_name(cp, "texts (chunks x weight)", n < sizeof value ? value : hex,
                                 err);
}
