/* borrow.c - importance of experts that saw few tokens. The mean square of a column over a handful
 * of tokens says more about these tokens than about the expert, and of no tokens it says nothing.
 * Each expert's importance is therefore shrunk towards the mean of all experts of the tensor,
 * weighted by counts: (n * own + k * mean) / (n + k). With thousands of tokens that is its own.
 * k: measured in docs/quantize.md. Bound: memory, once per tensor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "quantize/quantize_internal.h"

bool borrow_applies(const tamis_imatrix_entry *e, const tamis_gguf_tensor *t) {
    return strstr(t->name, "_exps.") && importance_n_matrices(e, t) > 1;
}

static bool is_constant(const float *x, uint64_t n) {
    for (uint64_t i = 1; i < n; i++)
        if (x[i] != x[0]) return false;
    return true;
}

/* Tokens that an expert saw. The legacy layout has one count for all, and holds ones for an expert
 * that saw none: *is_known is false for the others (reference/files.md section A.2). */
static double tokens_of(const tamis_imatrix_entry *e, uint64_t expert, uint64_t n_columns,
                        bool *is_known) {
    *is_known = true;
    if (e->n_counts > 1) return e->counts[expert];
    if (is_constant(e->sums + expert * n_columns, n_columns)) return 0;
    *is_known = false;
    return e->counts[0];
}

uint64_t tamis_quantize_n_experts(const tamis_quantize_step *s) {
    return s->borrows ? importance_n_matrices(s->importance, s->tensor) : 0;
}

bool tamis_quantize_expert_borrows(const tamis_quantize_step *s, uint64_t expert,
                                   double *n_tokens) {
    bool is_known;
    if (expert >= tamis_quantize_n_experts(s)) return false;
    *n_tokens = tokens_of(s->importance, expert, s->tensor->ne[0], &is_known);
    return is_known && *n_tokens < TAMIS_BORROW_TOKENS;
}

int64_t borrow_count(const tamis_quantize_step *s) {
    int64_t n = 0;
    double n_tokens;
    for (uint64_t i = 0; i < tamis_quantize_n_experts(s); i++)
        n += tamis_quantize_expert_borrows(s, i, &n_tokens);
    return n;
}

/* The mean of the experts that saw tokens, weighted by how many, to mean [d]. */
static void fill_mean(const tamis_imatrix_entry *e, uint64_t n_experts, uint64_t d, double *mean) {
    double n_all = 0;
    bool is_known;
    for (uint64_t i = 0; i < n_experts; i++) {
        const double n = tokens_of(e, i, d, &is_known);
        const float *sums = e->sums + i * d;
        n_all += n;
        for (uint64_t c = 0; n > 0 && c < d; c++)
            mean[c] += (double)sums[c];
    }
    for (uint64_t c = 0; c < d; c++)
        mean[c] /= n_all;
}

tamis_status borrow_weights(const tamis_quantize_step *s, float *out, tamis_error *err) {
    const tamis_imatrix_entry *e = s->importance;
    const uint64_t n_experts = tamis_quantize_n_experts(s), d = s->tensor->ne[0];
    double *mean = tamis_alloc_array(d, sizeof *mean, err);
    if (!mean) return TAMIS_NO_RESOURCE;
    fill_mean(e, n_experts, d, mean);
    for (uint64_t i = 0; i < n_experts; i++) {
        bool is_known;
        const double n = tokens_of(e, i, d, &is_known), k = is_known ? TAMIS_BORROW_TOKENS : 0;
        for (uint64_t c = 0; c < d; c++) {
            const double own = n > 0 ? (double)e->sums[i * d + c] : 0;
            out[i * d + c] = (float)((own + k * mean[c]) / (n + k));
        }
    }
    free(mean);
    return TAMIS_OK;
}

/* "NAME=EXPERT:TOKENS,..." of one tensor. */
static void describe(const tamis_quantize_step *s, char *text, size_t cap) {
    size_t n = (size_t)snprintf(text, cap, "%s=", s->name);
    const char *comma = "";
    double n_tokens;
    for (uint64_t i = 0; i < tamis_quantize_n_experts(s) && n < cap; i++) {
        if (!tamis_quantize_expert_borrows(s, i, &n_tokens)) continue;
        n += (size_t)snprintf(text + n, cap - n, "%s%llu:%.0f", comma, (unsigned long long)i,
                              n_tokens);
        comma = ",";
    }
}

tamis_status borrow_set_keys(const tamis_quantize_plan *plan, tamis_gguf_writer *w,
                             tamis_error *err) {
    enum { NAME_BYTES = 160, EXPERT_BYTES = 24 };
    tamis_status st = TAMIS_NO_RESOURCE;
    uint64_t n = 0, n_bytes = 0, k = 0;
    const char **items = NULL;
    char *texts = NULL;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const int64_t n_here = borrow_count(&plan->steps[i]);
        const uint64_t here = NAME_BYTES + EXPERT_BYTES * (uint64_t)n_here;
        n += n_here > 0;
        if (n_here > 0 && here > n_bytes) n_bytes = here;
    }
    if (n == 0) return TAMIS_OK;
    texts = tamis_alloc_array(n, n_bytes, err);
    if (!texts) goto out;
    items = tamis_alloc_array(n, sizeof *items, err);
    if (!items) goto out;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        if (borrow_count(&plan->steps[i]) == 0) continue;
        describe(&plan->steps[i], texts + k * n_bytes, n_bytes);
        items[k] = texts + k * n_bytes;
        k++;
    }
    st = tamis_gguf_set_strings(w, "tamis.imatrix.borrowers", items, n, err);
out:
    free(items);
    free(texts);
    return st;
}
