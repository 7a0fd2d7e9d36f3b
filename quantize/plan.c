/* plan.c - what will happen to every tensor, to the byte, before anything happens.
 * Order of decision: reference/peer-tools.md 1.4; fallbacks and the need for importance data:
 * reference/tensor-types.md section 7; order of tensors: reference/gguf.md section 6. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "quantize/quantize_internal.h"

/* --- order --- */

static int compare_steps(const void *a, const void *b) {
    const tamis_quantize_step *x = a, *y = b;
    int64_t lx = mix_layer_of(x->tensor->name), ly = mix_layer_of(y->tensor->name);
    if (lx != ly) return lx < ly ? -1 : 1;
    return strcmp(x->tensor->name, y->tensor->name);
}

static tamis_status list_steps(tamis_quantize_plan *plan, tamis_error *err) {
    plan->n_steps = tamis_gguf_n_tensors(plan->source);
    plan->steps = tamis_alloc_array((uint64_t)plan->n_steps, sizeof *plan->steps, err);
    if (!plan->steps) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < plan->n_steps; i++)
        plan->steps[i].tensor = tamis_gguf_tensor_at(plan->source, i);
    qsort(plan->steps, (size_t)plan->n_steps, sizeof *plan->steps, compare_steps);
    return TAMIS_OK;
}

/* --- types --- */

static tamis_status check_fit(const tamis_quantize_plan *plan, const tamis_quantize_step *s,
                              tamis_error *err) {
    const tamis_type *type = s->type ? s->type : s->wanted;
    if (s->type && s->tensor->ne[0] % type->block_elems == 0) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_USAGE,
                      "%s: tensor '%s': rows of %llu do not divide into blocks of %u (%s); "
                      "choose another type for it",
                      tamis_gguf_path(plan->source), s->tensor->name,
                      (unsigned long long)s->tensor->ne[0], type->block_elems, type->name);
}

static tamis_status choose_type(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                mix_state *mix, const type_rules *rules, tamis_quantize_step *s,
                                tamis_error *err) {
    const tamis_gguf_tensor *t = s->tensor;
    const tamis_type *base = tamis_type_by_id(o->file_type->base_type_id);
    s->wanted = s->type = t->type;
    if (!base || !mix_is_quantizable(t) || (mix_is_output(t->name) && o->leave_output))
        return TAMIS_OK;
    if (o->embedding_type && mix_is_embedding(t->name)) {
        s->wanted = s->type = o->embedding_type;
        return check_fit(plan, s, err);
    }
    if (o->output_type && mix_is_output(t->name)) {
        s->wanted = s->type = o->output_type;
        return check_fit(plan, s, err);
    }
    s->wanted = s->type = base;
    if (base->class == TAMIS_CLASS_FLOAT) return TAMIS_OK;
    const tamis_type *ruled = type_rules_match(rules, t->name);
    if (ruled)
        s->wanted = ruled;
    else if (!o->pure)
        s->wanted = tamis_type_by_id(mix_choose(mix, o->file_type, o->output_type, t));
    s->type = mix_fit_row(s->wanted, t->ne[0]);
    return check_fit(plan, s, err);
}

static tamis_status check_source(const tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                 const tamis_quantize_step *s, tamis_error *err) {
    const tamis_type *from = s->tensor->type;
    const char *path = tamis_gguf_path(plan->source);
    if (!from || from->class == TAMIS_CLASS_RETIRED || !s->tensor->is_size_known)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: tensor '%s' has %s type (id %d) that cannot be read", path,
                          s->tensor->name, from ? "a retired" : "an unknown", s->tensor->type_id);
    if (s->type == from) return TAMIS_OK;
    if (from->class == TAMIS_CLASS_QUANTIZED && !o->allow_requantize)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "%s: tensor '%s' is quantized already (%s); start from full precision, or "
            "accept the loss with --allow-requantize",
            path, s->tensor->name, from->name);
    if (!from->decode)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s': %s cannot be decoded to weights",
                          path, s->tensor->name, from->name);
    if (!s->type->encode)
        return tamis_fail(err, TAMIS_BAD_USAGE, "tensor '%s': %s cannot be encoded yet",
                          s->tensor->name, s->type->name);
    return TAMIS_OK;
}

/* --- importance --- */

static bool holds_any(const char *name, const char *const *parts, uint64_t n_parts) {
    for (uint64_t i = 0; i < n_parts; i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

/* Drop entries that --include-weights and --exclude-weights rule out. */
static void filter_entries(tamis_imatrix *m, const tamis_quantize_options *o) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        tamis_imatrix_entry *e = &m->entries[i];
        bool keep = (o->n_include == 0 || holds_any(e->name, o->include, o->n_include)) &&
                    !holds_any(e->name, o->exclude, o->n_exclude);
        if (keep) {
            m->entries[n++] = *e;
            continue;
        }
        free(e->name);
        free(e->sums);
        free(e->counts);
    }
    m->n_entries = n;
}

static tamis_status load_importance(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                    tamis_error *err) {
    if (!o->imatrix_path) return TAMIS_OK;
    tamis_status st = tamis_imatrix_load(o->imatrix_path, &plan->imatrix, err);
    if (st) return st;
    uint64_t n_known = 0;
    for (int64_t i = 0; i < plan->n_steps; i++)
        n_known += tamis_imatrix_find(&plan->imatrix, plan->steps[i].tensor->name) != NULL;
    if (n_known == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: none of its %llu entries names a tensor of %s; it was made for "
                          "another model",
                          o->imatrix_path, (unsigned long long)plan->imatrix.n_entries,
                          tamis_gguf_path(plan->source));
    filter_entries(&plan->imatrix, o);
    return TAMIS_OK;
}

/* Attach the entry of a tensor whose encoder can use it; *is_lacking when it has none. */
static tamis_status attach_importance(const tamis_quantize_plan *plan,
                                      const tamis_quantize_options *o, tamis_quantize_step *s,
                                      bool *is_lacking, tamis_error *err) {
    const tamis_gguf_tensor *t = s->tensor;
    *is_lacking = false;
    if (s->type == t->type) return TAMIS_OK;
    bool is_needed = mix_needs_importance(o->file_type, s->type, t->name) ||
                     s->type->importance == TAMIS_IMPORTANCE_REQUIRED;
    if (!is_needed && s->type->importance == TAMIS_IMPORTANCE_IGNORED) return TAMIS_OK;
    const tamis_imatrix_entry *e = tamis_imatrix_find(&plan->imatrix, t->name);
    if (!e && is_needed)
        return tamis_fail(err, o->imatrix_path ? TAMIS_BAD_INPUT : TAMIS_BAD_USAGE,
                          "%s: tensor '%s' as %s in %s needs importance data%s",
                          o->imatrix_path ? o->imatrix_path : tamis_gguf_path(plan->source),
                          t->name, s->type->name, o->file_type->name,
                          o->imatrix_path
                              ? ", and there is none for it; make the matrix from more text, or "
                                "give the tensor another type with --tensor-type"
                              : "; make some with imatrix and give it with --imatrix");
    if (!e) {
        *is_lacking = !mix_is_output(t->name) && !mix_is_embedding(t->name);
        return TAMIS_OK;
    }
    if (t->ne[2] == 0 || e->n_values / t->ne[2] != t->ne[0] || e->n_values % t->ne[2] != 0) {
        if (mix_is_embedding(t->name) && !is_needed) {
            tamis_warn(o->log, "%s: entry '%s' does not fit the tensor; it is quantized without",
                       o->imatrix_path, t->name);
            return TAMIS_OK;
        }
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: entry '%s' has %llu values, the tensor wants %llu x %llu; the "
                          "importance matrix was made for another model",
                          o->imatrix_path, t->name, (unsigned long long)e->n_values,
                          (unsigned long long)t->ne[0], (unsigned long long)t->ne[2]);
    }
    s->importance = e;
    return TAMIS_OK;
}

/* One line naming the first few tensors that a matrix was given for but has no data. */
static void warn_lacking(const tamis_quantize_options *o, const char *names, int64_t n_lacking) {
    if (n_lacking == 0) return;
    tamis_warn(o->log, "%s has no data for %lld tensors, quantized without: %s%s", o->imatrix_path,
               (long long)n_lacking, names, n_lacking > 4 ? ", ..." : "");
}

static tamis_status attach_all(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                               tamis_error *err) {
    char names[4 * 66] = "";
    size_t n_text = 0;
    int64_t n_lacking = 0;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        tamis_quantize_step *s = &plan->steps[i];
        bool is_lacking;
        tamis_status st = attach_importance(plan, o, s, &is_lacking, err);
        if (st) return st;
        plan->n_with_importance += s->importance != NULL;
        if (!is_lacking) continue;
        if (n_lacking++ < 4)
            n_text += (size_t)snprintf(names + n_text, sizeof names - n_text, "%s%s",
                                       n_text ? ", " : "", s->tensor->name);
    }
    if (o->imatrix_path) warn_lacking(o, names, n_lacking);
    return TAMIS_OK;
}

/* --- totals and the result's header --- */

static tamis_status count_bytes(tamis_quantize_plan *plan, tamis_error *err) {
    for (int64_t i = 0; i < plan->n_steps; i++) {
        tamis_quantize_step *s = &plan->steps[i];
        uint64_t row_bytes = 0;
        if (!tamis_type_row_bytes(s->type, s->tensor->ne[0], &row_bytes) ||
            !tamis_mul_u64(row_bytes, tamis_tensor_n_rows(s->tensor), &s->n_bytes) ||
            !tamis_add_u64(plan->result_bytes, s->n_bytes, &plan->result_bytes) ||
            !tamis_add_u64(plan->source_bytes, s->tensor->n_bytes, &plan->source_bytes) ||
            !tamis_add_u64(plan->n_elems, tamis_tensor_n_elems(s->tensor), &plan->n_elems))
            return tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s' is too large",
                              tamis_gguf_path(plan->source), s->tensor->name);
        plan->n_encoded += s->type != s->tensor->type;
        plan->n_fallbacks += s->type != s->wanted;
    }
    return TAMIS_OK;
}

static tamis_status prepare_writer(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                   tamis_error *err) {
    tamis_status st = tamis_gguf_writer_new(&plan->writer, err);
    if (st == TAMIS_OK) st = provenance_set_keys(plan, o, plan->writer, err);
    for (int64_t i = 0; st == TAMIS_OK && i < plan->n_steps; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        st = tamis_gguf_add_tensor(plan->writer, s->tensor->name, s->type->id, s->tensor->n_dims,
                                   s->tensor->ne, err);
    }
    if (st == TAMIS_OK) st = tamis_gguf_writer_size(plan->writer, &plan->file_bytes, err);
    return st;
}

static tamis_status check_options(const tamis_quantize_options *o, tamis_error *err) {
    if (!tamis_file_type_is_offered(o->file_type))
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s cannot be encoded yet", o->file_type->name);
    if (o->n_include > 0 && o->n_exclude > 0)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--include-weights and --exclude-weights do not go together");
    if (!o->imatrix_path && o->n_include + o->n_exclude > 0)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--%s-weights needs --imatrix",
                          o->n_include > 0 ? "include" : "exclude");
    return TAMIS_OK;
}

tamis_status tamis_quantize_plan_new(const tamis_gguf *source,
                                     const tamis_quantize_options *options,
                                     tamis_quantize_plan **out, tamis_error *err) {
    *out = NULL;
    type_rules *rules = NULL;
    tamis_quantize_plan *plan = NULL;
    mix_state mix;
    tamis_status st = check_options(options, err);
    if (st) return st;
    if ((st = type_rules_new(options->rules, options->n_rules, &rules, err))) goto out;
    if ((st = type_rules_check(rules, source, err))) goto out;
    st = TAMIS_NO_RESOURCE;
    plan = tamis_alloc_array(1, sizeof *plan, err);
    if (!plan) goto out;
    plan->source = source;
    plan->file_type = options->file_type;
    tamis_imatrix_init(&plan->imatrix);
    if ((st = list_steps(plan, err))) goto out;
    if ((st = mix_state_init(&mix, source, options->imatrix_path != NULL, err))) goto out;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        tamis_quantize_step *s = &plan->steps[i];
        if ((st = choose_type(plan, options, &mix, rules, s, err))) goto out;
        if ((st = check_source(plan, options, s, err))) goto out;
    }
    if ((st = load_importance(plan, options, err))) goto out;
    if ((st = attach_all(plan, options, err))) goto out;
    if ((st = count_bytes(plan, err))) goto out;
    if ((st = prepare_writer(plan, options, err))) goto out;
    *out = plan;
    plan = NULL;
out:
    tamis_quantize_plan_free(plan);
    type_rules_free(rules);
    return st;
}

void tamis_quantize_plan_free(tamis_quantize_plan *plan) {
    if (!plan) return;
    tamis_gguf_writer_free(plan->writer);
    tamis_imatrix_release(&plan->imatrix);
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
