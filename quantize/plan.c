/* plan.c - what will happen to every tensor, to the byte, before anything happens.
 * Order of decision: reference/peer-tools.md 1.4; fallbacks and the need for importance data:
 * reference/tensor-types.md section 7; order of tensors: reference/gguf.md section 6. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/contents.h"
#include "quantize/quantize_internal.h"

/* --- order --- */

static int compare_steps(const void *a, const void *b) {
    const tamis_quantize_step *x = a, *y = b;
    int64_t lx = mix_layer_of(x->name), ly = mix_layer_of(y->name);
    if (lx != ly) return lx < ly ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void sort_steps(tamis_quantize_plan *plan, const tamis_quantize_options *o) {
    if (!o->keep_split)
        qsort(plan->steps, (size_t)plan->n_steps, sizeof *plan->steps, compare_steps);
}

/* The tensors of the result in its order: sorted, or with --keep-split as in the source. */
static tamis_status list_steps(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                               const layer_map *layers, tamis_error *err) {
    tamis_status st = layer_map_list_steps(layers, plan, err);
    if (st == TAMIS_OK) sort_steps(plan, o);
    return st;
}

/* --- types --- */

/* What the choice of types goes by, and which options had a say. */
typedef struct chooser {
    const tamis_quantize_options *options;
    const tamis_type *base; /* NULL: everything keeps its type */
    bool is_mmproj;
    mix_state mix;
    type_rules *rules;
    bool used_leave, used_output_type, used_embedding_type;
} chooser;

/* `code`: TAMIS_BAD_USAGE when the type was asked for, TAMIS_BAD_INPUT when the mix came to it. */
static tamis_status check_fit(const tamis_quantize_plan *plan, const tamis_quantize_step *s,
                              tamis_status code, tamis_error *err) {
    const tamis_type *type = s->type ? s->type : s->wanted;
    if (s->type && s->tensor->ne[0] % type->block_elems == 0) return TAMIS_OK;
    return tamis_fail(err, code,
                      "%s: tensor '%s': rows of %llu do not divide into blocks of %u (%s); "
                      "choose another type for it with --tensor-type",
                      tamis_gguf_path(plan->source), s->tensor->name,
                      (unsigned long long)s->tensor->ne[0], type->block_elems, type->name);
}

/* The type that an option names for this tensor, or NULL. */
static const tamis_type *option_type(chooser *c, const char *name) {
    const tamis_quantize_options *o = c->options;
    if (o->embedding_type && mix_is_embedding(name)) {
        c->used_embedding_type = true;
        return o->embedding_type;
    }
    if (!o->output_type || !mix_is_output(name)) return NULL;
    c->used_output_type = true;
    return o->output_type;
}

static bool is_modal(const tamis_quantize_step *s) {
    return tamis_part_is_modal(tamis_part_of(s->name, INT64_MAX));
}

/* Mixes are made for text. Of the rest, the matrices in the blocks of a projector file's towers get
 * the base type, where rows divide into blocks; everything else stays. */
static const tamis_type *modal_type(const chooser *c, const tamis_quantize_step *s) {
    if (!c->is_mmproj || !mix_is_tower_matrix(s->name, s->tensor)) return s->tensor->type;
    const tamis_type *type = mix_fit_row(c->base, s->tensor->ne[0]);
    bool is_fit = type && (type == c->base || type->class == TAMIS_CLASS_QUANTIZED);
    return is_fit ? c->base : s->tensor->type;
}

/* What the mix gives, before the fallback; advances its indices. */
static const tamis_type *mix_type(chooser *c, mix_state *mix, const tamis_quantize_step *s) {
    const tamis_quantize_options *o = c->options;
    if (is_modal(s)) return modal_type(c, s);
    if (o->pure || c->base->class == TAMIS_CLASS_FLOAT) return c->base;
    return tamis_type_by_id(mix_choose(mix, o->file_type, o->output_type, s->name, s->tensor));
}

/* What --protect makes of a tensor that the mix has decided about, or would make. */
static void protect(tamis_quantize_plan *plan, const chooser *c, tamis_quantize_step *s) {
    const tamis_protected_kind *kind = protect_kind_of(s->name);
    const tamis_type *wanted = protect_type(kind, s->tensor, s->wanted);
    const tamis_type *type = mix_fit_row(wanted, s->tensor->ne[0]);
    if (wanted == s->wanted || !type || type == s->type) return;
    protect_note(&plan->protection, kind, s->tensor, s->type ? s->type : type, type);
    if (!c->options->protect) return;
    s->unprotected = s->type;
    s->wanted = wanted;
    s->type = type;
}

static tamis_status choose_by_rule(tamis_quantize_plan *plan, chooser *c, int64_t i_rule,
                                   tamis_quantize_step *s, tamis_error *err) {
    mix_state without_rule = c->mix; /* tensors with a rule do not count in the mix */
    const tamis_type *from = s->tensor->type;
    const tamis_type *else_wanted = mix_type(c, &without_rule, s);
    if (c->options->protect)
        else_wanted = protect_type(protect_kind_of(s->name), s->tensor, else_wanted);
    const tamis_type *otherwise = mix_is_native(from) && !c->options->allow_requantize
                                      ? from
                                      : mix_fit_row(else_wanted, s->tensor->ne[0]);
    s->wanted = type_rules_type(c->rules, i_rule);
    s->type = mix_fit_row(s->wanted, s->tensor->ne[0]);
    type_rules_note(c->rules, i_rule, s->type == otherwise ? RULE_SAME : RULE_CHANGES, s->name);
    if (c->options->protect && s->type && otherwise && protect_kind_of(s->name))
        protect_note_rule(&plan->protection, s->name, s->type, otherwise);
    return check_fit(plan, s, TAMIS_BAD_USAGE, err);
}

static void note_kept_modal(tamis_quantize_plan *plan, const chooser *c, tamis_quantize_step *s) {
    plan->n_modal_kept++;
    s->remark = !c->is_mmproj                              ? "kept: no part of the text model"
                : !mix_is_tower_matrix(s->name, s->tensor) ? "kept: no matrix in a block of a tower"
                                                           : "kept: rows do not divide into blocks";
}

static tamis_status choose_by_mix(tamis_quantize_plan *plan, chooser *c, tamis_quantize_step *s,
                                  tamis_error *err) {
    const tamis_type *from = s->tensor->type;
    s->wanted = mix_type(c, &c->mix, s);
    if (c->options->output_type && c->mix.is_tied && mix_is_embedding(s->name))
        c->used_output_type |= s->wanted == c->options->output_type && !c->options->pure;
    s->type = mix_fit_row(s->wanted, s->tensor->ne[0]);
    if (s->type == from && from != c->base && is_modal(s)) note_kept_modal(plan, c, s);
    if (!mix_is_native(from) || s->type == from || c->options->allow_requantize) {
        protect(plan, c, s);
        return check_fit(plan, s, TAMIS_BAD_INPUT, err);
    }
    s->wanted = s->type = from;
    s->remark = "kept: the model was trained in these blocks";
    plan->n_native++;
    return TAMIS_OK;
}

static tamis_status choose_type(tamis_quantize_plan *plan, chooser *c, tamis_quantize_step *s,
                                tamis_error *err) {
    const tamis_gguf_tensor *t = s->tensor;
    int64_t i_rule;
    tamis_status st = type_rules_match(c->rules, s->name, &i_rule, err);
    if (st) return st;
    s->wanted = s->type = t->type;
    if (!c->base || !mix_is_quantizable(s->name, t)) {
        type_rules_note(c->rules, i_rule, RULE_KEPT, s->name);
        if (c->base && t->type->class == TAMIS_CLASS_INTEGER && t->n_dims > 1)
            s->remark = "kept: integers are never quantized";
        return TAMIS_OK;
    }
    if (c->options->leave_output && mix_is_output(s->name)) {
        c->used_leave = true;
        type_rules_note(c->rules, i_rule, RULE_OPTION, s->name);
        return TAMIS_OK;
    }
    const tamis_type *by_option = option_type(c, s->name);
    if (by_option) {
        type_rules_note(c->rules, i_rule, RULE_OPTION, s->name);
        s->wanted = s->type = by_option;
        return check_fit(plan, s, TAMIS_BAD_USAGE, err);
    }
    return i_rule >= 0 ? choose_by_rule(plan, c, i_rule, s, err) : choose_by_mix(plan, c, s, err);
}

/* Before anything is chosen: a type without a size cannot even be copied. */
static tamis_status check_readable(const tamis_quantize_plan *plan, const tamis_gguf_tensor *t,
                                   tamis_error *err) {
    if (t->type && t->type->class != TAMIS_CLASS_RETIRED && t->is_size_known) return TAMIS_OK;
    return tamis_fail(
        err, TAMIS_BAD_INPUT, "%s: tensor '%s' has %s type (id %d) that cannot be read",
        tamis_gguf_path(plan->source), t->name, t->type ? "a retired" : "an unknown", t->type_id);
}

static tamis_status check_source(const tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                 const tamis_quantize_step *s, tamis_error *err) {
    const tamis_type *from = s->tensor->type;
    const char *path = tamis_gguf_path(plan->source);
    if (s->type == from) return TAMIS_OK;
    /* Trained blocks come here only when an option or a rule names another type for them. */
    if (from->class == TAMIS_CLASS_QUANTIZED && !o->allow_requantize && !mix_is_native(from))
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "%s: tensor '%s' is quantized already (%s); start from full precision, or "
            "accept the loss with --allow-requantize",
            path, s->tensor->name, from->name);
    if (!from->decode)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s': %s cannot be decoded to weights",
                          path, s->tensor->name, from->name);
    if (!tamis_can_encode(s->type))
        return tamis_fail(err, TAMIS_BAD_USAGE, "tensor '%s': %s cannot be encoded",
                          s->tensor->name, s->type->name);
    return TAMIS_OK;
}

/* Options that name a tensor and had no say in anything. */
static tamis_status check_used(const tamis_quantize_plan *plan, const chooser *c,
                               tamis_error *err) {
    const tamis_quantize_options *o = c->options;
    const struct {
        const char *option, *tensor;
        bool is_given, is_used;
    } rows[] = {
        {"leave-output-tensor", "output.weight", o->leave_output, c->used_leave},
        {"output-tensor-type", "output.weight", o->output_type != NULL, c->used_output_type},
        {"token-embedding-type", "token_embd.weight", o->embedding_type != NULL,
         c->used_embedding_type},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!rows[i].is_given || rows[i].is_used) continue;
        bool is_there = tamis_gguf_find_tensor(plan->source, rows[i].tensor) != NULL;
        const char *why = !c->base    ? "COPY keeps every tensor as it is"
                          : !is_there ? "there is no such tensor, or it decides nothing"
                                      : "another option decides about it";
        tamis_status st = lax_fail(o, err, "--%s changes nothing in %s: '%s': %s", rows[i].option,
                                   tamis_gguf_path(plan->source), rows[i].tensor, why);
        if (st) return st;
    }
    return TAMIS_OK;
}

/* The types of all tensors, their importance, and the scales beside them. */
static tamis_status choose_all(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                               const key_overrides *overrides, type_rules *rules,
                               tamis_error *err) {
    chooser c = {
        .options = o,
        .base = tamis_type_by_id(o->file_type->base_type_id),
        .is_mmproj = tamis_gguf_is_mmproj(plan->source),
        .rules = rules,
    };
    tamis_status st = mix_state_init(&c.mix, plan->source, overrides, plan->steps, plan->n_steps,
                                     o->imatrix_path != NULL, err);
    for (int64_t i = 0; st == TAMIS_OK && i < plan->n_steps; i++) {
        st = check_readable(plan, plan->steps[i].tensor, err);
        if (st == TAMIS_OK) st = choose_type(plan, &c, &plan->steps[i], err);
        if (st == TAMIS_OK) st = check_source(plan, o, &plan->steps[i], err);
    }
    if (st == TAMIS_OK) st = type_rules_check(rules, plan, o, err);
    if (st == TAMIS_OK) st = check_used(plan, &c, err);
    if (st == TAMIS_OK) st = importance_attach(plan, &c.mix, o, err);
    if (st == TAMIS_OK) st = scales_plan(plan, &c.mix, err);
    if (st == TAMIS_OK) sort_steps(plan, o);
    return st;
}

/* --- totals and the result's header --- */

static tamis_status count_bytes(tamis_quantize_plan *plan, tamis_error *err) {
    for (int64_t i = 0; i < plan->n_steps; i++) {
        tamis_quantize_step *s = &plan->steps[i];
        uint64_t row_bytes = 0;
        uint64_t n_source = s->is_made ? 0 : s->tensor->n_bytes;
        uint64_t n_elems = s->is_made ? 0 : tamis_tensor_n_elems(s->tensor);
        if (!tamis_type_row_bytes(s->type, s->tensor->ne[0], &row_bytes) ||
            !tamis_mul_u64(row_bytes, tamis_tensor_n_rows(s->tensor), &s->n_bytes) ||
            !tamis_add_u64(plan->result_bytes, s->n_bytes, &plan->result_bytes) ||
            !tamis_add_u64(plan->source_bytes, n_source, &plan->source_bytes) ||
            !tamis_add_u64(plan->n_elems, n_elems, &plan->n_elems))
            return tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s' is too large",
                              tamis_gguf_path(plan->source), s->tensor->name);
        plan->n_encoded += s->type != s->tensor->type;
        plan->n_fallbacks += s->type != s->wanted;
    }
    return TAMIS_OK;
}

/* One file of the result for each of the source, with what is left of its tensors. */
static tamis_status keep_split(tamis_quantize_plan *plan, tamis_error *err) {
    int32_t n_files = tamis_gguf_n_files(plan->source);
    uint64_t *counts = tamis_alloc_array((uint64_t)n_files, sizeof *counts, err);
    if (!counts) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < plan->n_steps; i++)
        counts[plan->steps[i].tensor->i_file]++;
    tamis_status st = tamis_gguf_set_shard_counts(plan->writer, counts, (uint64_t)n_files, err);
    free(counts);
    return st;
}

static tamis_status spread_over_files(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                      tamis_error *err) {
    if (o->keep_split && tamis_gguf_n_files(plan->source) > 1) return keep_split(plan, err);
    if (o->shard_bytes == 0 && o->shard_tensors == 0) return TAMIS_OK;
    const tamis_gguf_shards shards = {.max_bytes = o->shard_bytes, .max_tensors = o->shard_tensors};
    return tamis_gguf_set_shards(plan->writer, &shards, err);
}

/* Keys that were changed must be such that the result can be opened. */
static tamis_status check_keys(const tamis_gguf_writer *w, tamis_error *err) {
    tamis_status st = tamis_gguf_check_keys(w, err);
    if (st != TAMIS_BAD_INPUT) return st;
    tamis_fail_prefix(err, "--override-kv, --prune-layers: the result could not be opened");
    if (err) err->code = TAMIS_BAD_USAGE;
    return TAMIS_BAD_USAGE;
}

static tamis_status prepare_writer(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                   const key_overrides *overrides, const layer_map *layers,
                                   tamis_error *err) {
    tamis_status st = tamis_gguf_writer_new(&plan->writer, err);
    if (st == TAMIS_OK) st = provenance_set_keys(plan, o, overrides, layers, plan->writer, err);
    for (int64_t i = 0; st == TAMIS_OK && i < plan->n_steps; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        st = tamis_gguf_add_tensor(plan->writer, s->name, s->type->id, s->tensor->n_dims,
                                   s->tensor->ne, err);
    }
    if (st == TAMIS_OK && overrides->n_items + (uint64_t)layers->n_layers > 0)
        st = check_keys(plan->writer, err);
    if (st == TAMIS_OK) st = spread_over_files(plan, o, err);
    if (st == TAMIS_OK) st = tamis_gguf_writer_size(plan->writer, &plan->file_bytes, err);
    return st;
}

/* Files beside the source that are read: remembered, so that no output becomes one of them. */
static tamis_status list_inputs(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                tamis_error *err) {
    plan->inputs = tamis_alloc_array(o->n_rules + 1, sizeof *plan->inputs, err);
    if (!plan->inputs) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i <= o->n_rules; i++) {
        const char *path = i == o->n_rules                         ? o->imatrix_path
                           : o->rule_is_file && o->rule_is_file[i] ? o->rules[i]
                                                                   : NULL;
        if (!path) continue;
        plan->inputs[plan->n_inputs] = tamis_copy_text(path, strlen(path), err);
        if (!plan->inputs[plan->n_inputs++]) return TAMIS_NO_RESOURCE;
    }
    return TAMIS_OK;
}

static tamis_status check_options(const tamis_quantize_options *o, tamis_error *err) {
    if (o->n_include > 0 && o->n_exclude > 0)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--include-weights and --exclude-weights do not go together");
    if (!o->imatrix_path && o->n_include + o->n_exclude > 0)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--%s-weights needs --imatrix",
                          o->n_include > 0 ? "include" : "exclude");
    if (o->keep_split && (o->shard_bytes > 0 || o->shard_tensors > 0))
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--keep-split and --shard-size or --shard-tensors do not go together");
    return TAMIS_OK;
}

tamis_status tamis_quantize_plan_new(const tamis_gguf *source, const tamis_quantize_options *o,
                                     tamis_quantize_plan **out, tamis_error *err) {
    *out = NULL;
    type_rules *rules = NULL;
    key_overrides overrides = {0};
    layer_map layers = {0};
    tamis_quantize_plan *plan = NULL;
    tamis_status st = check_options(o, err);
    if (st) return st;
    if ((st = type_rules_new(o, &rules, err))) goto out;
    if ((st = overrides_init(&overrides, source, o, err))) goto out;
    if ((st = layer_map_init(&layers, source, o, err))) goto out;
    st = TAMIS_NO_RESOURCE;
    plan = tamis_alloc_array(1, sizeof *plan, err);
    if (!plan) goto out;
    plan->source = source;
    plan->file_type = o->file_type;
    plan->self_check = !o->no_self_check;
    plan->effort = o->effort;
    plan->sha256 = o->sha256;
    plan->protection.is_on = o->protect;
    plan->log = o->log;
    tamis_imatrix_init(&plan->imatrix);
    if ((st = list_inputs(plan, o, err))) goto out;
    if ((st = list_steps(plan, o, &layers, err))) goto out;
    if ((st = choose_all(plan, o, &overrides, rules, err))) goto out;
    if ((st = count_bytes(plan, err))) goto out;
    if ((st = prepare_writer(plan, o, &overrides, &layers, err))) goto out;
    *out = plan;
    plan = NULL;
out:
    tamis_quantize_plan_free(plan);
    layer_map_release(&layers);
    overrides_release(&overrides);
    type_rules_free(rules);
    return st;
}

void tamis_quantize_plan_free(tamis_quantize_plan *plan) {
    if (!plan) return;
    tamis_gguf_writer_free(plan->writer);
    tamis_imatrix_release(&plan->imatrix);
    scales_release(plan);
    for (uint64_t i = 0; i < plan->n_inputs; i++)
        free(plan->inputs[i]);
    free(plan->inputs);
    free(plan->names);
    free(plan->steps);
    free(plan);
}

static double bits_per_weight(uint64_t n_bytes, uint64_t n_elems) {
    return n_elems > 0 ? (double)n_bytes * 8 / (double)n_elems : 0;
}

double tamis_quantize_source_bpw(const tamis_quantize_plan *plan) {
    return bits_per_weight(plan->source_bytes, plan->n_elems);
}

double tamis_quantize_result_bpw(const tamis_quantize_plan *plan) {
    return bits_per_weight(plan->result_bytes, plan->n_elems);
}
