/* importance.c - the importance matrix against the plan: which entries are used, and what makes one
 * unusable. A step gets its entry by the tensor's name in the source.
 * The need for importance: reference/tensor-types.md section 7; shapes and weights: files.md A.4.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "quantize/quantize_internal.h"

typedef unsigned long long ull;

enum { N_NAMED = 4, LIST_BYTES = N_NAMED * 66 };

/* --- include and exclude --- */

static bool holds_any(const char *name, const char *const *parts, uint64_t n_parts) {
    for (uint64_t i = 0; i < n_parts; i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

/* Each part must be found in the name of an entry. */
static tamis_status check_parts(const tamis_imatrix *m, const char *option,
                                const char *const *parts, uint64_t n_parts,
                                const tamis_quantize_options *o, tamis_error *err) {
    for (uint64_t i = 0; i < n_parts; i++) {
        nearest_name names;
        bool is_found = false;
        nearest_begin(&names, parts[i]);
        for (uint64_t k = 0; k < m->n_entries && !is_found; k++) {
            is_found = strstr(m->entries[k].name, parts[i]) != NULL;
            nearest_offer(&names, m->entries[k].name);
        }
        if (is_found) continue;
        const char *nearest = nearest_end(&names);
        tamis_status st =
            lax_fail(o, err, "--%s-weights '%s' is in the name of no entry of %s%s%s%s", option,
                     parts[i], o->imatrix_path, nearest ? "; the nearest is '" : "",
                     nearest ? nearest : "", nearest ? "'" : "");
        if (st) return st;
    }
    return TAMIS_OK;
}

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

static tamis_status load(tamis_quantize_plan *plan, const tamis_quantize_options *o,
                         tamis_error *err) {
    tamis_status st = tamis_imatrix_load(o->imatrix_path, &plan->imatrix, err);
    if (st) return st;
    const tamis_imatrix *m = &plan->imatrix;
    uint64_t n_known = 0;
    for (int64_t i = 0; i < plan->n_steps; i++)
        n_known += tamis_imatrix_find(m, plan->steps[i].tensor->name) != NULL;
    if (n_known == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: none of its %llu entries names a tensor of %s; it was made for "
                          "another model",
                          o->imatrix_path, (ull)m->n_entries, tamis_gguf_path(plan->source));
    st = check_parts(m, "include", o->include, o->n_include, o, err);
    if (st == TAMIS_OK) st = check_parts(m, "exclude", o->exclude, o->n_exclude, o, err);
    if (st == TAMIS_OK) filter_entries(&plan->imatrix, o);
    return st;
}

/* --- one entry and its tensor --- */

uint64_t importance_n_matrices(const tamis_imatrix_entry *e, const tamis_gguf_tensor *t) {
    return e->n_values / t->ne[0];
}

/* One row of weights a matrix, or one for each along ne2 that those along ne3 share. */
static bool has_shape(const tamis_imatrix_entry *e, const tamis_gguf_tensor *t) {
    uint64_t n_all;
    if (e->n_values % t->ne[0] != 0) return false;
    uint64_t n = importance_n_matrices(e, t);
    bool fits = n == t->ne[2] || (tamis_mul_u64(t->ne[2], t->ne[3], &n_all) && n == n_all);
    return fits && (e->n_counts == 1 || e->n_counts == n);
}

static tamis_status fail_shape(const tamis_imatrix_entry *e, const tamis_gguf_tensor *t,
                               const char *path, tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: entry '%s' has %llu values in %llu counts, the tensor wants %llu x "
                      "%llu; the importance matrix was made for another model: make one for this",
                      path, e->name, (ull)e->n_values, (ull)e->n_counts, (ull)t->ne[0],
                      (ull)t->ne[2]);
}

static bool is_counted(const tamis_imatrix_entry *e) {
    for (uint64_t j = 0; j < e->n_counts; j++)
        if (e->counts[j] > 0) return true;
    return false;
}

/* Sums of zero where rows were counted: every weight would be 0 and the encoder blind. An expert
 * that no row went to (count 0) is normal. */
static tamis_status check_sums(const tamis_imatrix_entry *e, const char *path, tamis_error *err) {
    uint64_t n_columns = e->n_values / e->n_counts;
    for (uint64_t j = 0; j < e->n_counts; j++) {
        uint64_t i = 0;
        while (i < n_columns && !(e->sums[j * n_columns + i] > 0))
            i++;
        if (i < n_columns || !(e->counts[j] > 0)) continue;
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: entry '%s', matrix %llu: %.0f rows were counted and all sums are "
                          "zero; make the matrix again, or leave the entry out with "
                          "--exclude-weights",
                          path, e->name, (ull)j, (double)e->counts[j]);
    }
    return TAMIS_OK;
}

static tamis_status fail_lacking(const tamis_quantize_plan *plan, const tamis_quantize_options *o,
                                 const tamis_quantize_step *s, bool is_empty, tamis_error *err) {
    if (!o->imatrix_path)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "%s: tensor '%s' as %s in %s needs importance data; make some with "
                          "imatrix and give it with --imatrix",
                          tamis_gguf_path(plan->source), s->tensor->name, s->type->name,
                          o->file_type->name);
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: tensor '%s' as %s in %s needs importance data, and %s%s; make the "
                      "matrix from more text, or give the tensor another type with --tensor-type",
                      o->imatrix_path, s->tensor->name, s->type->name, o->file_type->name,
                      is_empty ? "its entry saw no row" : "there is none for it",
                      o->n_include + o->n_exclude > 0 ? " after --include-/--exclude-weights" : "");
}

/* --- blocks that predict further tokens --- */

static bool is_of_further_block(const mix_state *mix, const tamis_gguf_tensor *t) {
    const int64_t layer = mix_layer_of(t->name);
    return layer >= 0 && mix->n_further_layers > 0 &&
           layer >= mix->n_layers - mix->n_further_layers;
}

/* What became of a step that could use importance. */
typedef enum attached {
    ATTACHED_OWN,  /* also where none is used */
    ATTACHED_NONE, /* it is encoded without */
    /* The same, in a block that predicts further tokens: other tools never run these, so that their
     * matrices have nothing of them. Entries of earlier layers are no substitute: where they were
     * tried, they did worse than none. */
    ATTACHED_NONE_FURTHER,
} attached;

/* Attach the entry of a tensor whose encoder can use it. */
static tamis_status attach(const tamis_quantize_plan *plan, const mix_state *mix,
                           const tamis_quantize_options *o, tamis_quantize_step *s, attached *what,
                           tamis_error *err) {
    const tamis_gguf_tensor *t = s->tensor;
    *what = ATTACHED_OWN;
    if (s->type == t->type) return TAMIS_OK;
    bool is_needed = mix_needs_importance(o->file_type, s->type, s->name);
    if (!is_needed && s->type->importance == TAMIS_IMPORTANCE_IGNORED) return TAMIS_OK;
    const tamis_imatrix_entry *e = tamis_imatrix_find(&plan->imatrix, t->name);
    bool is_empty = e && !is_counted(e);
    if (o->imatrix_path && (!e || is_empty) && is_of_further_block(mix, t)) {
        *what = ATTACHED_NONE_FURTHER;
        return TAMIS_OK;
    }
    if ((!e || is_empty) && is_needed) return fail_lacking(plan, o, s, is_empty, err);
    if (!e || is_empty) {
        if (!mix_is_output(s->name) && !mix_is_embedding(s->name)) *what = ATTACHED_NONE;
        return TAMIS_OK;
    }
    if (!has_shape(e, t)) {
        if (!mix_is_embedding(s->name) || is_needed) return fail_shape(e, t, o->imatrix_path, err);
        tamis_warn(o->log, "%s: entry '%s' does not fit the tensor; it is quantized without",
                   o->imatrix_path, t->name);
        return TAMIS_OK;
    }
    tamis_status st = check_sums(e, o->imatrix_path, err);
    if (st == TAMIS_OK) s->importance = e;
    return st;
}

/* Names of the first few tensors of a kind. */
typedef struct name_list {
    char text[LIST_BYTES];
    size_t n_text;
    int64_t n;
} name_list;

static void list_add(name_list *l, const char *name) {
    if (l->n++ >= N_NAMED || l->n_text >= sizeof l->text) return;
    l->n_text += (size_t)snprintf(l->text + l->n_text, sizeof l->text - l->n_text, "%s%s",
                                  l->n_text ? ", " : "", name);
}

/* One line for the tensors that a matrix was given for but has no data of, one for those in the
 * blocks that predict further tokens. */
static void warn_lacking(const tamis_quantize_options *o, const name_list *lacking,
                         const name_list *further) {
    if (!o->imatrix_path) return;
    if (lacking->n > 0)
        tamis_warn(o->log, "%s has no data for %lld tensors, quantized without: %s%s",
                   o->imatrix_path, (long long)lacking->n, lacking->text,
                   lacking->n > N_NAMED ? ", ..." : "");
    if (further->n > 0)
        tamis_warn(o->log,
                   "%s has no data for %lld tensors of the blocks that predict further tokens, "
                   "quantized without: %s%s; a matrix made by imatrix has it (llama-imatrix never "
                   "runs these blocks)",
                   o->imatrix_path, (long long)further->n, further->text,
                   further->n > N_NAMED ? ", ..." : "");
}

tamis_status importance_attach(tamis_quantize_plan *plan, const mix_state *mix,
                               const tamis_quantize_options *o, tamis_error *err) {
    name_list lacking = {.n = 0}, further = {.n = 0};
    if (o->imatrix_path) {
        tamis_status st = load(plan, o, err);
        if (st) return st;
    }
    for (int64_t i = 0; i < plan->n_steps; i++) {
        tamis_quantize_step *s = &plan->steps[i];
        attached what;
        tamis_status st = attach(plan, mix, o, s, &what, err);
        if (st) return st;
        plan->n_with_importance += s->importance != NULL;
        s->lacks_importance = what == ATTACHED_NONE_FURTHER;
        s->borrows = s->importance && !o->no_borrow && borrow_applies(s->importance, s->tensor);
        plan->n_borrowers += borrow_count(s);
        if (what == ATTACHED_NONE) list_add(&lacking, s->tensor->name);
        if (what == ATTACHED_NONE_FURTHER) list_add(&further, s->tensor->name);
    }
    plan->n_lacking = further.n;
    warn_lacking(o, &lacking, &further);
    return TAMIS_OK;
}
