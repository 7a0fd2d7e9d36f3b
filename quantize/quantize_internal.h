/* quantize_internal.h - what the files of this room share: the mix, the user's rules, the keys. */
#ifndef TAMIS_QUANTIZE_QUANTIZE_INTERNAL_H
#define TAMIS_QUANTIZE_QUANTIZE_INTERNAL_H

#include "quantize/quantize.h"

/* --- mix.c: which type a file type gives a tensor --- */

/* What a model has that the rules ask about, and the running indices they count by. Tensors must
 * be asked about in the order of the result. */
typedef struct mix_state {
    bool is_falcon, is_70b, is_tied, has_imatrix;
    int64_t n_layers, n_vlike, n_heads_per_kv, n_experts;
    int64_t i_vlike, i_down, i_gate, i_up;
} mix_state;

tamis_status mix_state_init(mix_state *mix, const tamis_gguf *g, bool has_imatrix,
                            tamis_error *err) TAMIS_MUST_USE;
/* Type id for a quantizable tensor by the rules of peer-tools.md 1.5; advances the indices.
 * output_type: of --output-tensor-type, or NULL. */
int32_t mix_choose(mix_state *mix, const tamis_file_type *file_type, const tamis_type *output_type,
                   const tamis_gguf_tensor *t);
/* A type whose block divides the row: the wanted one, its fallback, or f16; NULL = none. */
const tamis_type *mix_fit_row(const tamis_type *wanted, uint64_t ne0);
/* False for what always stays as it is (section 1.3, but for the options). */
bool mix_is_quantizable(const tamis_gguf_tensor *t);
/* True when the type must not be used for this tensor without importance data. */
bool mix_needs_importance(const tamis_file_type *file_type, const tamis_type *type,
                          const char *name);
bool mix_is_embedding(const char *name);
bool mix_is_output(const char *name);
/* Layer number of "blk.N.", or -1. */
int64_t mix_layer_of(const char *name);

/* --- rules.c: the user's --tensor-type --- */

typedef struct type_rules type_rules;
tamis_status type_rules_new(const char *const *texts, uint64_t n_texts, type_rules **out,
                            tamis_error *err) TAMIS_MUST_USE;
void type_rules_free(type_rules *rules);
/* TAMIS_BAD_USAGE when a rule matches no tensor at all, with the nearest name. */
tamis_status type_rules_check(const type_rules *rules, const tamis_gguf *g,
                              tamis_error *err) TAMIS_MUST_USE;
/* Type of the first rule whose pattern occurs in the name, or NULL. */
const tamis_type *type_rules_match(const type_rules *rules, const char *name);

/* --- provenance.c: keys of the result --- */

#define KEY_PARENT_SHA256 "tamis.parent.sha256"

/* Copy the source's keys and set what this run changes. The hashes of the parent's files are put
 * in by the run (KEY_PARENT_SHA256 holds zeros of the same length until then). */
tamis_status provenance_set_keys(const tamis_quantize_plan *plan,
                                 const tamis_quantize_options *options, tamis_gguf_writer *w,
                                 tamis_error *err) TAMIS_MUST_USE;
/* Length of the value of KEY_PARENT_SHA256: 64 hex digits per file, separated by commas. */
size_t provenance_parent_length(const tamis_gguf *source);

#endif
