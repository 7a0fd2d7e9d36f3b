/* provenance.c - the keys of the result: the source's, what changed, and what made it.
 * A result says which parent (by a hash), which importance matrix and which options it came from,
 * without times or folders, so that the same work gives the same bytes.
 * Keys of importance matrices: reference/gguf.md 5.3. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/options.h"
#include "quantize/quantize_internal.h"

#define QUANTIZATION_VERSION 2
#define IMATRIX_TEXT_MAX 127 /* bytes other tools keep of these values */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static tamis_status set_text(tamis_gguf_writer *w, const char *key, const char *text,
                             size_t max_bytes, tamis_error *err) {
    return tamis_gguf_set_string(w, key, text, strnlen(text, max_bytes), err);
}

/* A text that grows up to its capacity; what comes after that is left out. */
typedef struct text_buffer {
    char text[4096];
    size_t n_bytes;
} text_buffer;

static void append(text_buffer *b, const char *format, const char *value) {
    if (b->n_bytes + 1 >= sizeof b->text) return;
    int n = snprintf(b->text + b->n_bytes, sizeof b->text - b->n_bytes, format, value);
    b->n_bytes += n > 0 ? (size_t)n : 0;
    if (b->n_bytes >= sizeof b->text) b->n_bytes = sizeof b->text - 1;
}

/* The command line's meaning: type and options, files by their base names. */
static void describe_options(const tamis_quantize_options *o, text_buffer *b) {
    append(b, "%s", o->file_type->name);
    if (o->pure) append(b, "%s", " --pure");
    if (o->protect) append(b, "%s", " --protect");
    if (o->leave_output) append(b, "%s", " --leave-output-tensor");
    if (o->output_type) append(b, " --output-tensor-type %s", o->output_type->name);
    if (o->embedding_type) append(b, " --token-embedding-type %s", o->embedding_type->name);
    for (uint64_t i = 0; i < o->n_rules; i++)
        if (o->rule_is_file && o->rule_is_file[i])
            append(b, " --tensor-type-file %s", base_name(o->rules[i]));
        else
            append(b, " --tensor-type %s", o->rules[i]);
    if (o->imatrix_path) append(b, " --imatrix %s", base_name(o->imatrix_path));
    for (uint64_t i = 0; i < o->n_include; i++)
        append(b, " --include-weights %s", o->include[i]);
    for (uint64_t i = 0; i < o->n_exclude; i++)
        append(b, " --exclude-weights %s", o->exclude[i]);
    if (o->no_borrow) append(b, "%s", " --no-borrow");
    if (o->prune) append(b, " --prune-layers %s", o->prune);
    for (uint64_t i = 0; i < o->n_overrides; i++)
        append(b, " --override-kv %s", o->overrides[i]);
    if (o->keep_split) append(b, "%s", " --keep-split");
    if (o->effort != TAMIS_EFFORT_NORMAL) append(b, " --effort %s", tamis_effort_name(o->effort));
    if (o->sha256) append(b, "%s", " --sha256");
    if (o->allow_requantize) append(b, "%s", " --allow-requantize");
}

/* Tensors of blocks that predict further tokens, of which the matrix has nothing. */
static tamis_status set_lacking(const tamis_quantize_plan *plan, tamis_gguf_writer *w,
                                tamis_error *err) {
    if (plan->n_lacking == 0) return TAMIS_OK;
    uint64_t n = 0;
    const char **names = tamis_alloc_array((uint64_t)plan->n_lacking, sizeof *names, err);
    if (!names) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].lacks_importance) names[n++] = plan->steps[i].name;
    tamis_status st = tamis_gguf_set_strings(w, "tamis.imatrix.lacking", names, n, err);
    free(names);
    return st;
}

static tamis_status set_imatrix_keys(const tamis_quantize_plan *plan,
                                     const tamis_quantize_options *o, tamis_gguf_writer *w,
                                     tamis_error *err) {
    const tamis_imatrix *m = &plan->imatrix;
    char hex[TAMIS_HASH_HEX_MAX];
    tamis_status st =
        set_text(w, "quantize.imatrix.file", base_name(o->imatrix_path), IMATRIX_TEXT_MAX, err);
    if (st == TAMIS_OK && m->n_datasets > 0)
        st = set_text(w, "quantize.imatrix.dataset", base_name(m->datasets[0]), IMATRIX_TEXT_MAX,
                      err);
    if (st == TAMIS_OK)
        st = tamis_gguf_set_uint(w, "quantize.imatrix.entries_count", TAMIS_GGUF_U32, m->n_entries,
                                 err);
    if (st == TAMIS_OK && m->chunk_count > 0)
        st = tamis_gguf_set_uint(w, "quantize.imatrix.chunks_count", TAMIS_GGUF_U32, m->chunk_count,
                                 err);
    if (st == TAMIS_OK) st = tamis_hash_file(TAMIS_HASH_SHA256, o->imatrix_path, hex, err);
    if (st == TAMIS_OK) st = tamis_gguf_set_string(w, "tamis.imatrix.sha256", hex, 64, err);
    if (st == TAMIS_OK) st = set_lacking(plan, w, err);
    return st ? st : borrow_set_keys(plan, w, err);
}

static tamis_status set_parent_keys(const tamis_quantize_plan *plan,
                                    const tamis_quantize_options *o, tamis_gguf_writer *w,
                                    tamis_error *err) {
    size_t n = parent_hash_length(plan->source, plan->sha256);
    char *zeros = tamis_alloc_array(n, 1, err);
    if (!zeros) return TAMIS_NO_RESOURCE;
    memset(zeros, '0', n);
    text_buffer options = {.n_bytes = 0};
    describe_options(o, &options);
    tamis_status st = set_text(w, "tamis.version", tamis_version(), 64, err);
    /* Of what the parent was made from. */
    tamis_gguf_unset(w, "tamis.parent.sha256");
    tamis_gguf_unset(w, "tamis.parent.xxh3_128");
    if (st == TAMIS_OK)
        st = set_text(w, "tamis.parent.name", base_name(tamis_gguf_path(plan->source)), 4096, err);
    if (st == TAMIS_OK) st = tamis_gguf_set_string(w, key_of_parent_hash(plan), zeros, n, err);
    if (st == TAMIS_OK)
        st = tamis_gguf_set_string(w, "tamis.options", options.text, options.n_bytes, err);
    free(zeros);
    return st;
}

tamis_status provenance_set_keys(const tamis_quantize_plan *plan,
                                 const tamis_quantize_options *options,
                                 const key_overrides *overrides, const layer_map *layers,
                                 tamis_gguf_writer *w, tamis_error *err) {
    /* The set becomes one file; and what described other weights does not describe these. */
    static const char *const split[] = {"split.no", "split.count", "split.tensors.count"};
    static const char *const stale[] = {
        "quantize.imatrix.file",          "quantize.imatrix.dataset",
        "quantize.imatrix.entries_count", "quantize.imatrix.chunks_count",
        "tamis.imatrix.sha256",           "tamis.imatrix.lacking",
        "tamis.imatrix.borrowers",        "tamis.protected",
    };
    bool is_copy = options->file_type->base_type_id < 0;
    tamis_status st = tamis_gguf_set_all(w, plan->source, err);
    if (st) return st;
    for (size_t i = 0; i < sizeof split / sizeof *split; i++)
        tamis_gguf_unset(w, split[i]);
    for (size_t i = 0; !is_copy && i < sizeof stale / sizeof *stale; i++)
        tamis_gguf_unset(w, stale[i]);
    st = tamis_gguf_set_uint(w, "general.quantization_version", TAMIS_GGUF_U32,
                             QUANTIZATION_VERSION, err);
    if (st == TAMIS_OK && !is_copy)
        st = tamis_gguf_set_uint(w, "general.file_type", TAMIS_GGUF_U32,
                                 (uint64_t)options->file_type->id, err);
    if (st == TAMIS_OK && options->imatrix_path) st = set_imatrix_keys(plan, options, w, err);
    if (st == TAMIS_OK) st = set_parent_keys(plan, options, w, err);
    if (st == TAMIS_OK) st = protect_set_keys(plan, w, err);
    if (st == TAMIS_OK) st = layer_map_set_keys(layers, plan->source, options, w, err);
    if (st == TAMIS_OK) st = overrides_set_keys(overrides, w, err);
    return st;
}
