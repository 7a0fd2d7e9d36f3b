/* collect.c - see collect.h. One account per distinct input: weights that share an input share
 * its sums and are written out under each name at the end. Memory bound: reads X once. */
#include "imatrix/collect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum { COLUMNS_PER_ITEM = 256 };

/* Sums of one input. Names are borrowed from the model, which outlives the pass. */
struct account {
    char **names; /* [n_names], own copies */
    int n_names;
    int64_t d_in, n_experts;
    double *sums;    /* [n_experts][d_in], each token times its text's weight */
    int64_t *counts; /* [n_experts][n_texts] tokens */
};

struct tamis_collector {
    struct account *accounts;
    uint64_t n_accounts, capacity;
    uint64_t i_last; /* the account used last: products come in runs */
    bool with_output;
    tamis_pool *pool;
    tamis_collector_text *texts; /* [n_texts] */
    size_t n_texts;
};

tamis_status tamis_collector_new(const tamis_collector_text *texts, size_t n_texts,
                                 bool with_output, tamis_pool *pool, tamis_collector **out,
                                 tamis_error *err) {
    *out = NULL;
    tamis_collector *c = tamis_alloc_array(1, sizeof *c, err);
    if (!c) return TAMIS_NO_RESOURCE;
    c->texts = tamis_alloc_array(n_texts, sizeof *c->texts, err);
    if (!c->texts) {
        free(c);
        return TAMIS_NO_RESOURCE;
    }
    memcpy(c->texts, texts, n_texts * sizeof *texts);
    c->n_texts = n_texts;
    c->with_output = with_output;
    c->pool = pool;
    *out = c;
    return TAMIS_OK;
}

static void account_release(struct account *a) {
    for (int i = 0; i < a->n_names; i++)
        free(a->names[i]);
    free(a->names);
    free(a->sums);
    free(a->counts);
}

void tamis_collector_free(tamis_collector *c) {
    if (!c) return;
    for (uint64_t i = 0; i < c->n_accounts; i++)
        account_release(&c->accounts[i]);
    free(c->accounts);
    free(c->texts);
    free(c);
}

static bool is_wanted(const tamis_collector *c, const tamis_product *p, const char *name) {
    if (p->layer < 0) return c->with_output;
    return p->expert >= 0 || strncmp(name, "blk.", 4) == 0;
}

static tamis_status account_init(struct account *a, const tamis_collector *c,
                                 const tamis_product *p, tamis_error *err) {
    memset(a, 0, sizeof *a);
    a->d_in = p->d_in;
    a->n_experts = p->n_experts;
    uint64_t n_sums;
    if (!tamis_mul_u64((uint64_t)p->d_in, (uint64_t)p->n_experts, &n_sums)) {
        return tamis_fail(err, TAMIS_BAD_INPUT, "'%s': too many values", p->names[0]);
    }
    a->names = tamis_alloc_array((uint64_t)p->n_names, sizeof *a->names, err);
    a->sums = tamis_alloc_array(n_sums, sizeof *a->sums, err);
    a->counts = tamis_alloc_array((uint64_t)p->n_experts, c->n_texts * sizeof *a->counts, err);
    if (!a->names || !a->sums || !a->counts) goto fail;
    for (int i = 0; i < p->n_names; i++) {
        if (!is_wanted(c, p, p->names[i])) continue;
        a->names[a->n_names] = tamis_copy_text(p->names[i], strlen(p->names[i]), err);
        if (!a->names[a->n_names]) goto fail;
        a->n_names++;
    }
    return TAMIS_OK;
fail:
    account_release(a);
    return TAMIS_NO_RESOURCE;
}

static bool account_is_for(const struct account *a, const tamis_product *p) {
    return a->n_names > 0 && strcmp(a->names[0], p->names[0]) == 0;
}

/* The account of a product's input, made when it is new. */
static tamis_status find_account(tamis_collector *c, const tamis_product *p, struct account **out,
                                 tamis_error *err) {
    for (uint64_t k = 0; k < c->n_accounts; k++) {
        uint64_t i = (c->i_last + k) % c->n_accounts;
        if (!account_is_for(&c->accounts[i], p)) continue;
        c->i_last = i;
        *out = &c->accounts[i];
        return TAMIS_OK;
    }
    tamis_status st =
        tamis_grow(&c->accounts, &c->capacity, c->n_accounts + 1, sizeof *c->accounts, err);
    if (st) return st;
    st = account_init(&c->accounts[c->n_accounts], c, p, err);
    if (st) return st;
    c->i_last = c->n_accounts++;
    *out = &c->accounts[c->i_last];
    return TAMIS_OK;
}

struct add_job {
    const float *x; /* [n_tokens][d_in] */
    int64_t n_tokens, d_in;
    double weight;
    double *sums; /* [d_in] */
};

static void add_columns(void *ctx, int64_t i_item, int i_worker) {
    (void)i_worker;
    const struct add_job *job = ctx;
    int64_t first = i_item * COLUMNS_PER_ITEM;
    int64_t n = job->d_in - first < COLUMNS_PER_ITEM ? job->d_in - first : COLUMNS_PER_ITEM;
    double *restrict sums = job->sums + first;
    for (int64_t t = 0; t < job->n_tokens; t++) {
        const float *restrict x = job->x + t * job->d_in + first;
        for (int64_t j = 0; j < n; j++)
            sums[j] += job->weight * ((double)x[j] * (double)x[j]);
    }
}

/* The first row from `row` on that is of token n_tokens_end or a later one. */
static int64_t row_at(const tamis_product *p, int64_t row, int64_t n_tokens_end) {
    if (!p->tokens) {
        const int64_t end = n_tokens_end - p->first_token;
        return end < row ? row : end < p->n_tokens ? end : p->n_tokens;
    }
    while (row < p->n_tokens && p->tokens[row] < n_tokens_end)
        row++;
    return row;
}

/* Rows first .. end - 1 of a product, all of one text. */
static void add_rows(const tamis_collector *c, struct account *a, const tamis_product *p,
                     int64_t expert, size_t i_text, int64_t first, int64_t end) {
    struct add_job job = {.x = p->x + first * p->d_in,
                          .n_tokens = end - first,
                          .d_in = p->d_in,
                          .weight = c->texts[i_text].weight,
                          .sums = a->sums + expert * a->d_in};
    tamis_pool_run(c->pool, (p->d_in + COLUMNS_PER_ITEM - 1) / COLUMNS_PER_ITEM, add_columns, &job);
    a->counts[expert * (int64_t)c->n_texts + (int64_t)i_text] += end - first;
}

static tamis_status on_product(void *ctx, const tamis_product *p, tamis_error *err) {
    tamis_collector *c = ctx;
    if (!is_wanted(c, p, p->names[0])) return TAMIS_OK;
    struct account *a;
    tamis_status st = find_account(c, p, &a, err);
    if (st) return st;
    /* Only a checkpoint that was tampered with can hold another shape. */
    if (a->d_in != p->d_in || a->n_experts != p->n_experts)
        return tamis_fail(err, TAMIS_BAD_INPUT, "'%s': its shape is not that of the checkpoint",
                          p->names[0]);
    const int64_t expert = p->expert < 0 ? 0 : p->expert;
    int64_t first = 0; /* row; tokens ascend, so each text's rows follow each other */
    for (size_t i = 0; i < c->n_texts; i++) {
        const int64_t end = row_at(p, first, c->texts[i].n_tokens_end);
        if (end > first) add_rows(c, a, p, expert, i, first, end);
        first = end;
    }
    return TAMIS_OK;
}

/* ---- checkpoints: per account its shape, names, counts and sums ---- */

enum { NAME_MAX_BYTES = 4096, NAMES_MAX = 64 };

static tamis_status save_account(const struct account *a, size_t n_texts,
                                 tamis_checkpoint_writer *w, tamis_error *err) {
    const int64_t n_sums = a->d_in * a->n_experts;
    tamis_status st = tamis_checkpoint_put_number(w, a->d_in, err);
    if (!st) st = tamis_checkpoint_put_number(w, a->n_experts, err);
    if (!st) st = tamis_checkpoint_put_number(w, a->n_names, err);
    for (int i = 0; i < a->n_names && !st; i++) {
        const size_t n_bytes = strlen(a->names[i]);
        st = tamis_checkpoint_put_number(w, (int64_t)n_bytes, err);
        if (!st) st = tamis_checkpoint_put(w, a->names[i], n_bytes, err);
    }
    if (!st)
        st = tamis_checkpoint_put(w, a->counts,
                                  (uint64_t)a->n_experts * n_texts * sizeof *a->counts, err);
    return st ? st : tamis_checkpoint_put(w, a->sums, (uint64_t)n_sums * sizeof *a->sums, err);
}

static tamis_status save(void *ctx, tamis_checkpoint_writer *w, tamis_error *err) {
    const tamis_collector *c = ctx;
    tamis_status st = tamis_checkpoint_put_number(w, (int64_t)c->n_accounts, err);
    for (uint64_t i = 0; i < c->n_accounts && !st; i++)
        st = save_account(&c->accounts[i], c->n_texts, w, err);
    return st;
}

static tamis_status restore_names(struct account *a, int64_t n_names, tamis_checkpoint_reader *r,
                                  tamis_error *err) {
    a->names = tamis_alloc_array((uint64_t)n_names, sizeof *a->names, err);
    if (!a->names) return TAMIS_NO_RESOURCE;
    for (; a->n_names < n_names; a->n_names++) {
        char name[NAME_MAX_BYTES];
        int64_t n_bytes;
        tamis_status st = tamis_checkpoint_get_number(r, 1, sizeof name - 1, &n_bytes, err);
        if (!st) st = tamis_checkpoint_get(r, name, (uint64_t)n_bytes, err);
        if (st) return st;
        if (memchr(name, 0, (size_t)n_bytes))
            return tamis_checkpoint_damaged(r, "the name of a weight", err);
        a->names[a->n_names] = tamis_copy_text(name, (size_t)n_bytes, err);
        if (!a->names[a->n_names]) return TAMIS_NO_RESOURCE;
    }
    return TAMIS_OK;
}

static tamis_status check_restored(const struct account *a, size_t n_texts,
                                   tamis_checkpoint_reader *r, tamis_error *err) {
    for (int64_t e = 0; e < a->n_experts * (int64_t)n_texts; e++)
        if (a->counts[e] < 0 || a->counts[e] > INT32_MAX)
            return tamis_checkpoint_damaged(r, "a count of tokens", err);
    for (int64_t i = 0; i < a->d_in * a->n_experts; i++)
        if (!isfinite(a->sums[i]) || a->sums[i] < 0)
            return tamis_checkpoint_damaged(r, "a sum of squares", err);
    return TAMIS_OK;
}

static tamis_status restore_account(struct account *a, size_t n_texts, tamis_checkpoint_reader *r,
                                    tamis_error *err) {
    int64_t n_names = 0;
    tamis_status st = tamis_checkpoint_get_number(r, 1, INT32_MAX, &a->d_in, err);
    if (!st) st = tamis_checkpoint_get_number(r, 1, INT32_MAX, &a->n_experts, err);
    if (!st) st = tamis_checkpoint_get_number(r, 1, NAMES_MAX, &n_names, err);
    if (!st) st = restore_names(a, n_names, r, err);
    if (st) return st;
    const uint64_t n_sums = (uint64_t)a->d_in * (uint64_t)a->n_experts;
    const uint64_t n_left = tamis_checkpoint_left(r) / sizeof *a->sums;
    if (n_sums > n_left || (uint64_t)a->n_experts * n_texts > n_left)
        return tamis_checkpoint_damaged(r, "the shape of a weight", err);
    a->counts = tamis_alloc_array((uint64_t)a->n_experts, n_texts * sizeof *a->counts, err);
    if (!a->counts) return TAMIS_NO_RESOURCE;
    a->sums = tamis_alloc_array(n_sums, sizeof *a->sums, err);
    if (!a->sums) return TAMIS_NO_RESOURCE;
    st = tamis_checkpoint_get(r, a->counts, (uint64_t)a->n_experts * n_texts * sizeof *a->counts,
                              err);
    if (!st) st = tamis_checkpoint_get(r, a->sums, n_sums * sizeof *a->sums, err);
    return st ? st : check_restored(a, n_texts, r, err);
}

static tamis_status restore(void *ctx, tamis_checkpoint_reader *r, tamis_error *err) {
    tamis_collector *c = ctx;
    int64_t n_accounts = 0;
    tamis_status st = tamis_checkpoint_get_number(r, 0, INT32_MAX, &n_accounts, err);
    for (int64_t i = 0; i < n_accounts && !st; i++) {
        st = tamis_grow(&c->accounts, &c->capacity, c->n_accounts + 1, sizeof *c->accounts, err);
        if (!st) st = restore_account(&c->accounts[c->n_accounts++], c->n_texts, r, err);
    }
    return st;
}

tamis_observer tamis_collector_observer(tamis_collector *c) {
    return (tamis_observer){.ctx = c, .on_product = on_product, .save = save, .restore = restore};
}

/* The weighted count of an expert as a whole number; *factor is what it was changed by. */
static double whole_count(const tamis_collector *c, const int64_t *counts, double *factor) {
    double count = 0;
    for (size_t i = 0; i < c->n_texts; i++)
        count += c->texts[i].weight * (double)counts[i];
    double whole = floor(count + 0.5);
    if (whole < 1 && count > 0) whole = 1;
    *factor = whole == count ? 1 : whole / count;
    return whole;
}

static tamis_status write_entry(const tamis_collector *c, const struct account *a, const char *name,
                                tamis_imatrix *out, tamis_error *err) {
    tamis_imatrix_entry *entry;
    uint64_t n_values = (uint64_t)(a->d_in * a->n_experts);
    tamis_status st = tamis_imatrix_add(out, name, n_values, (uint64_t)a->n_experts, &entry, err);
    if (st) return st;
    for (int64_t e = 0; e < a->n_experts; e++) {
        double factor;
        entry->counts[e] = whole_count(c, a->counts + e * (int64_t)c->n_texts, &factor);
        for (int64_t i = 0; i < a->d_in; i++) {
            const double sum = a->sums[e * a->d_in + i] * factor;
            entry->sums[e * a->d_in + i] = (float)sum;
            if (!isfinite((float)sum))
                return tamis_fail(err, TAMIS_BAD_INPUT,
                                  "'%s': the sum of squares of column %lld is %g, beyond f32; the "
                                  "model's activations are out of range",
                                  name, (long long)i, sum);
        }
    }
    return TAMIS_OK;
}

tamis_status tamis_collector_finish(const tamis_collector *c, tamis_imatrix *out,
                                    tamis_error *err) {
    for (uint64_t i = 0; i < c->n_accounts; i++) {
        const struct account *a = &c->accounts[i];
        for (int k = 0; k < a->n_names; k++) {
            tamis_status st = write_entry(c, a, a->names[k], out, err);
            if (st) return st;
        }
    }
    return TAMIS_OK;
}
