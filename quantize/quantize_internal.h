/* quantize_internal.h - what the files of this room share: the mix, the user's rules, the
 * layers and keys that change, the importance matrix, the self-check. */
#ifndef TAMIS_QUANTIZE_QUANTIZE_INTERNAL_H
#define TAMIS_QUANTIZE_QUANTIZE_INTERNAL_H

#include <stdatomic.h>

#include "base/threads.h"
#include "quantize/quantize.h"

/* --- lax.c: what has no effect --- */

/* A rule, key, layer or name that has no effect: TAMIS_BAD_USAGE, or a warning and TAMIS_OK with
 * --lax. */
tamis_status lax_fail(const tamis_quantize_options *options, tamis_error *err, const char *format,
                      ...) TAMIS_PRINTF(3, 4);
/* Which of the names offered is most like what was wanted, a name or a pattern. */
typedef struct nearest_name {
    char word[64], stem[64]; /* of what is wanted; of the nearest so far */
    const char *nearest;     /* within a few letters, or NULL */
    const char *likest;      /* with the longest piece in common */
    size_t n_common;
} nearest_name;
void nearest_begin(nearest_name *n, const char *wanted);
void nearest_offer(nearest_name *n, const char *name); /* borrowed */
/* NULL when none was offered. */
const char *nearest_end(const nearest_name *n);

/* --- overrides.c: --override-kv --- */

typedef struct key_override {
    char *key;
    tamis_gguf_kind kind;
    int64_t integer; /* integers and bools */
    double number;
    char *text;
} key_override;

typedef struct key_overrides {
    key_override *items;
    uint64_t n_items;
} key_overrides;

/* Reads the options' texts and holds them against the source's keys. */
tamis_status overrides_init(key_overrides *o, const tamis_gguf *source,
                            const tamis_quantize_options *options, tamis_error *err) TAMIS_MUST_USE;
void overrides_release(key_overrides *o);
/* The override of a key, or NULL. `o` may be NULL. */
const key_override *overrides_find(const key_overrides *o, const char *key);
tamis_status overrides_set_keys(const key_overrides *o, tamis_gguf_writer *w,
                                tamis_error *err) TAMIS_MUST_USE;

/* --- prune.c: --prune-layers --- */

typedef struct layer_map {
    int64_t n_layers; /* of the source; 0: nothing is dropped */
    int64_t n_kept;
    int64_t *below; /* [n_layers + 1] layers dropped below this one */
} layer_map;

tamis_status layer_map_init(layer_map *map, const tamis_gguf *source,
                            const tamis_quantize_options *options, tamis_error *err) TAMIS_MUST_USE;
void layer_map_release(layer_map *map);
/* Fill the plan's steps with the tensors that are left, under their new names. */
tamis_status layer_map_list_steps(const layer_map *map, tamis_quantize_plan *plan,
                                  tamis_error *err) TAMIS_MUST_USE;
/* The keys that count layers or hold a value for each. */
tamis_status layer_map_set_keys(const layer_map *map, const tamis_gguf *source,
                                const tamis_quantize_options *options, tamis_gguf_writer *w,
                                tamis_error *err) TAMIS_MUST_USE;

/* --- borrow.c: experts that saw few tokens --- */

/* Whether an entry is of the experts of a tensor. */
bool borrow_applies(const tamis_imatrix_entry *e, const tamis_gguf_tensor *t);
/* Experts of a step that saw fewer than TAMIS_BORROW_TOKENS. */
int64_t borrow_count(const tamis_quantize_step *s);
/* The importance of all experts of a step that borrows, to out [n_values of the entry]. */
tamis_status borrow_weights(const tamis_quantize_step *s, float *out,
                            tamis_error *err) TAMIS_MUST_USE;
/* tamis.imatrix.borrowers of the result. */
tamis_status borrow_set_keys(const tamis_quantize_plan *plan, tamis_gguf_writer *w,
                             tamis_error *err) TAMIS_MUST_USE;

/* --- mix.c: which type a file type gives a tensor --- */

/* What a model has that the rules ask about, and the running indices they count by. Tensors must
 * be asked about in the order of the result. */
typedef struct mix_state {
    tamis_bytes arch; /* borrowed from the model or the override */
    bool is_falcon, is_70b, is_tied, has_imatrix;
    int64_t n_layers, n_vlike, n_heads_per_kv, n_experts;
    int64_t n_further_layers; /* the last of n_layers, which predict further tokens */
    int64_t i_vlike, i_down, i_gate, i_up;
} mix_state;

/* `steps`: what is left after --prune-layers; `overrides` may be NULL. */
tamis_status mix_state_init(mix_state *mix, const tamis_gguf *g, const key_overrides *overrides,
                            const tamis_quantize_step *steps, int64_t n_steps, bool has_imatrix,
                            tamis_error *err) TAMIS_MUST_USE;
/* Type id for a quantizable tensor by the rules of peer-tools.md 1.5; advances the indices.
 * output_type: of --output-tensor-type, or NULL. */
int32_t mix_choose(mix_state *mix, const tamis_file_type *file_type, const tamis_type *output_type,
                   const char *name, const tamis_gguf_tensor *t);
/* A type whose block divides the row: the wanted one, its fallback, or f16; NULL = none. */
const tamis_type *mix_fit_row(const tamis_type *wanted, uint64_t ne0);
/* False for what always stays as it is (section 1.3, but for the options). */
bool mix_is_quantizable(const char *name, const tamis_gguf_tensor *t);
/* A matrix in a block of a vision or audio tower: what a type for a projector file is for. */
bool mix_is_tower_matrix(const char *name, const tamis_gguf_tensor *t);
/* True for blocks that models are trained in: they are copied bit for bit unless told otherwise. */
bool mix_is_native(const tamis_type *type);
/* True when the type must not be used for this tensor without importance data. */
bool mix_needs_importance(const tamis_file_type *file_type, const tamis_type *type,
                          const char *name);
bool mix_is_embedding(const char *name);
bool mix_is_output(const char *name);
/* Layer number of "blk.N.", or -1. */
int64_t mix_layer_of(const char *name);

/* --- importance.c: the matrix --- */

/* Load the matrix, drop what --include-weights and --exclude-weights rule out, and give every step
 * its entry; refuses what is missing or unsound, but for blocks that predict further tokens: other
 * tools' matrices have nothing of them. */
tamis_status importance_attach(tamis_quantize_plan *plan, const mix_state *mix,
                               const tamis_quantize_options *options,
                               tamis_error *err) TAMIS_MUST_USE;
/* Rows of importance that an entry holds for a tensor. */
uint64_t importance_n_matrices(const tamis_imatrix_entry *e, const tamis_gguf_tensor *t);

/* --- protect.c: what --protect looks after --- */

/* The kind of a layer's tensor, or NULL for the others. */
const tamis_protected_kind *protect_kind_of(const char *name);
/* The type that protection gives in place of `wanted`, before the fallback: the parent's own or a
 * higher one; `wanted` where there is nothing to protect (kind NULL too). */
const tamis_type *protect_type(const tamis_protected_kind *kind, const tamis_gguf_tensor *t,
                               const tamis_type *wanted);
/* Count a tensor whose type protection changes, or would change. */
void protect_note(tamis_protection *p, const tamis_protected_kind *kind, const tamis_gguf_tensor *t,
                  const tamis_type *by_mix, const tamis_type *type);
/* Count one that a rule decided about, when protection would have given more; `name` is borrowed.
 */
void protect_note_rule(tamis_protection *p, const char *name, const tamis_type *by_rule,
                       const tamis_type *without_rule);
/* tamis.protected of the result. */
tamis_status protect_set_keys(const tamis_quantize_plan *plan, tamis_gguf_writer *w,
                              tamis_error *err) TAMIS_MUST_USE;

/* --- scales.c: scales beside weights --- */

/* What multiplies the decoded weights of a tensor, a value for each of its matrices. */
typedef struct tamis_tensor_scale {
    const tamis_gguf_tensor *weight; /* of the source */
    uint64_t n_values;
    float *source; /* [n_values] of the scale beside the source's weight; NULL: there is none */
    float *made;   /* [n_values] of the result's, measured by the run; NULL: it gets none */
    bool is_measured;
    const tamis_gguf_tensor *taken[2]; /* of the source, for which `source` stands; may be NULL */
    tamis_gguf_tensor tensor;          /* that holds `made` */
    char name[64];
} tamis_tensor_scale;

/* Give the steps their scales: those of the source that decoding takes in, and those made for
 * types whose format has one. The steps of the former go, those of the latter come. */
tamis_status scales_plan(tamis_quantize_plan *plan, const mix_state *mix,
                         tamis_error *err) TAMIS_MUST_USE;
void scales_release(tamis_quantize_plan *plan);
/* Set what the result's scale will hold, once: one pass over the weight. `bytes` has room for
 * n_rows_max rows of it, `row` [ne0] for one decoded. Unset when stopped. */
tamis_status scale_measure(const tamis_gguf *g, tamis_tensor_scale *s, uint8_t *bytes,
                           uint64_t n_rows_max, float *row, const atomic_bool *is_stopped,
                           tamis_error *err) TAMIS_MUST_USE;
/* n decoded weights of a matrix times the source's scale, over the result's. */
void scale_take_in(const tamis_tensor_scale *s, uint64_t i_matrix, float *x, int64_t n);

/* --- rules.c: the user's --tensor-type and --tensor-type-file --- */

/* What became of a tensor that a rule was the first to match. */
typedef enum rule_effect {
    RULE_CHANGES, /* another type than without the rule */
    RULE_SAME,    /* the type it would have anyway */
    RULE_KEPT,    /* the tensor is never quantized, or stays by an option */
    RULE_OPTION,  /* --output-tensor-type or --token-embedding-type decides */
} rule_effect;

typedef struct type_rules type_rules;
/* Limits: 4096 rules, 1024 bytes each, files of 1 MiB. */
tamis_status type_rules_new(const tamis_quantize_options *options, type_rules **out,
                            tamis_error *err) TAMIS_MUST_USE;
/* The rules of one text as a file holds them: separated by white space, '#' comments to the end of
 * the line. `path` is for messages. */
tamis_status type_rules_parse(const char *text, size_t n_bytes, const char *path, type_rules **out,
                              tamis_error *err) TAMIS_MUST_USE;
void type_rules_free(type_rules *rules);
/* *i_rule: the first rule whose pattern occurs in the name, or -1. Each tensor is asked about
 * once. Fails when a pattern takes too many steps. */
tamis_status type_rules_match(type_rules *rules, const char *name, int64_t *i_rule,
                              tamis_error *err) TAMIS_MUST_USE;
const tamis_type *type_rules_type(const type_rules *rules, int64_t i_rule);
void type_rules_note(type_rules *rules, int64_t i_rule, rule_effect effect, const char *name);
/* After all tensors: rules without effect. */
tamis_status type_rules_check(const type_rules *rules, const tamis_quantize_plan *plan,
                              const tamis_quantize_options *options,
                              tamis_error *err) TAMIS_MUST_USE;

/* --- provenance.c: keys of the result --- */

/* The key of the parent's hash, of which kind it is. */
static inline const char *key_of_parent_hash(const tamis_quantize_plan *plan) {
    return plan->sha256 ? "tamis.parent.sha256" : "tamis.parent.xxh3_128";
}

/* Copy the source's keys and set what this run changes. The hashes of the parent's files are put
 * in by the run (zeros of the same length stand there until then). */
tamis_status provenance_set_keys(const tamis_quantize_plan *plan,
                                 const tamis_quantize_options *options,
                                 const key_overrides *overrides, const layer_map *layers,
                                 tamis_gguf_writer *w, tamis_error *err) TAMIS_MUST_USE;

/* --- outputs.c: the files that will be written --- */

/* None of them is an input or cannot be written; the disk has room for all. Warns of files of
 * another set under the same name. */
tamis_status outputs_check(const tamis_quantize_plan *plan, const char *path,
                           tamis_error *err) TAMIS_MUST_USE;

/* --- parent_hash.c: hashes of the source's files --- */

typedef struct parent_hash parent_hash;

/* `source` must outlive it; *is_stopped ends its loops early. */
tamis_status parent_hash_new(const tamis_gguf *source, bool sha256, const atomic_bool *is_stopped,
                             parent_hash **out, tamis_error *err) TAMIS_MUST_USE;
/* Of the text: hex digits for each file, separated by commas. */
size_t parent_hash_length(const tamis_gguf *source, bool sha256);
void parent_hash_free(parent_hash *p);
/* Bytes just read of a tensor, from `offset` in its data. */
tamis_status parent_hash_add(parent_hash *p, const tamis_gguf_tensor *t, uint64_t offset,
                             const void *bytes, uint64_t n_bytes, tamis_error *err) TAMIS_MUST_USE;
/* hex [parent_hash_length()]: a digest for each file, with commas between; unfinished
 * when *is_stopped. */
tamis_status parent_hash_finish(parent_hash *p, char *hex, tamis_error *err) TAMIS_MUST_USE;

/* --- self_check.c: what was written, read back --- */

/* What is known of some rows of a tensor; sums over rows in their order. */
typedef struct row_sums {
    tamis_row_error sums; /* of what became of the weights; 0 for what is copied */
    uint64_t hash;        /* of the bytes, by position: these add up */
} row_sums;

uint64_t row_hash(const void *bytes, size_t n_bytes, uint64_t i_item);
/* Read the written, not yet committed output back and hold it against `expected` [n_steps]; items
 * of rows as the run made them. Sets the steps' errors. */
tamis_status self_check(tamis_quantize_plan *plan, const row_sums *expected, tamis_pool *pool,
                        tamis_budget *budget, tamis_progress *progress,
                        tamis_error *err) TAMIS_MUST_USE;
/* Rows of a tensor that are worked on as one: the same for every run. */
uint64_t rows_per_item(const tamis_gguf_tensor *t);

#endif
