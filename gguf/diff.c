/* diff.c - the tensor tables of two files held against each other, and the verdict. */
#include "gguf/diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "gguf/diff_internal.h"

double tamis_diff_mean_abs(const tamis_diff_sums *s) {
    const uint64_t n = s->n_elems - s->n_nonfinite;
    return n ? s->abs / (double)n : 0;
}

double tamis_diff_relative(const tamis_diff_sums *s) {
    if (s->sq == 0) return 0;
    return s->aa > 0 ? sqrt(s->sq / s->aa) : (double)INFINITY;
}

double tamis_diff_cosine(const tamis_diff_sums *s) {
    if (s->sq == 0) return 1;
    const double norm = sqrt(s->aa) * sqrt(s->bb);
    if (norm == 0) return 0;
    const double cosine = s->ab / norm;
    return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
}

static bool has_same_shape(const tamis_gguf_tensor *a, const tamis_gguf_tensor *b) {
    return !memcmp(a->ne, b->ne, sizeof a->ne);
}

/* Those of A with their partners, then those only in B. */
static tamis_status pair_tensors(tamis_gguf_diff *diff, tamis_error *err) {
    const int64_t n_a = tamis_gguf_n_tensors(diff->a), n_b = tamis_gguf_n_tensors(diff->b);
    const tamis_gguf_tensor *last = NULL;
    diff->tensors = tamis_alloc_array((uint64_t)n_a + (uint64_t)n_b, sizeof *diff->tensors, err);
    if (!diff->tensors) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < n_a; i++) {
        tamis_diff_tensor *t = &diff->tensors[diff->n_tensors++];
        t->a = tamis_gguf_tensor_at(diff->a, i);
        t->b = tamis_gguf_find_tensor(diff->b, t->a->name);
        if (!t->b) continue;
        t->has_other_type = t->a->type_id != t->b->type_id;
        t->has_other_shape = !has_same_shape(t->a, t->b);
        diff->has_other_order |= last && t->b < last;
        last = t->b;
    }
    for (int64_t i = 0; i < n_b; i++) {
        const tamis_gguf_tensor *b = tamis_gguf_tensor_at(diff->b, i);
        if (!tamis_gguf_find_tensor(diff->a, b->name)) diff->tensors[diff->n_tensors++].b = b;
    }
    return TAMIS_OK;
}

tamis_status tamis_gguf_diff_files(const tamis_gguf *a, const tamis_gguf *b,
                                   const tamis_diff_options *options, tamis_gguf_diff *out,
                                   tamis_error *err) {
    *out = (tamis_gguf_diff){.a = a, .b = b};
    tamis_status st = gguf_diff_keys(out, err);
    if (!st && !options->metadata_only) st = pair_tensors(out, err);
    if (!st && !options->metadata_only && !options->no_values) {
        out->has_values = true;
        st = gguf_diff_values(out, options, err);
    }
    if (st) tamis_diff_release(out);
    return st;
}

void tamis_diff_release(tamis_gguf_diff *diff) {
    free(diff->keys);
    free(diff->tensors);
    *diff = (tamis_gguf_diff){0};
}

bool tamis_diff_tensor_differs(const tamis_diff_tensor *t) {
    return !t->a || !t->b || t->has_other_type || t->has_other_shape || t->sums.n_differ ||
           t->sums.has_other_bytes;
}

bool tamis_diff_is_equal(const tamis_gguf_diff *diff) {
    for (uint64_t i = 0; i < diff->n_keys; i++)
        if (!diff->keys[i].is_layout) return false;
    for (uint64_t i = 0; i < diff->n_tensors; i++)
        if (tamis_diff_tensor_differs(&diff->tensors[i])) return false;
    return true;
}
