/* row_errors.c - how far quantized tensors are from their source, beside another tool's file.
 * For every type in REFERENCE.gguf, over its block tensors that SOURCE.gguf has too: the error of
 * a candidate (a file, or this project's encoders at an effort) over the error of the reference.
 *   weighted: mean over tensors of sum w*(x - y)^2, candidate / reference
 *   rows:     mean over rows of sum w*(x - y)^2 / sum w*x^2, candidate / reference
 *   worst:    the largest ratio of any single row
 * w is the importance (without a matrix: 1). Encoders are timed by the clock of the processor. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/options.h"
#include "gguf/gguf.h"
#include "imatrix/imatrix_file.h"

struct sums {
    double ratio, rows, reference_rows, worst, seconds;
    int64_t n_tensors, n_rows, n_elems;
};

/* One tensor in three files; the buffers hold a row. */
struct row_work {
    const tamis_gguf *source, *reference, *candidate; /* candidate NULL: encode */
    const tamis_gguf_tensor *s, *r, *c;
    float s_scale, r_scale, c_scale; /* that stand beside them; 1 without */
    const tamis_imatrix_entry *entry;
    float *weights; /* [entry->n_values], or NULL */
    tamis_effort effort;
    float *x, *y, *z;
    uint8_t *bytes;
};

/* The factor of a tensor's rows that stands in a tensor beside it (NVFP4). */
static tamis_status read_scale(const tamis_gguf *g, const tamis_gguf_tensor *t, float *out,
                               tamis_error *err) {
    char name[80];
    size_t n = strlen(t->name);
    *out = 1.0f;
    if (n < 7 || n > 64) return TAMIS_OK;
    snprintf(name, sizeof name, "%.*s.scale", (int)(n - 7), t->name);
    const tamis_gguf_tensor *scale = tamis_gguf_find_tensor(g, name);
    return scale ? tamis_gguf_read_tensor(g, scale, 0, sizeof *out, out, err) : TAMIS_OK;
}

static tamis_status read_row(const tamis_gguf *g, const tamis_gguf_tensor *t, float scale,
                             uint64_t i_row, uint8_t *bytes, float *x, tamis_error *err) {
    uint64_t n = tamis_tensor_row_bytes(t);
    tamis_status st = tamis_gguf_read_tensor(g, t, i_row * n, n, bytes, err);
    if (st) return st;
    tamis_decode(t->type, bytes, x, (int64_t)t->ne[0]);
    for (uint64_t i = 0; i < t->ne[0]; i++)
        x[i] *= scale;
    return TAMIS_OK;
}

static tamis_status candidate_row(const struct row_work *k, uint64_t i_row, const float *w,
                                  struct sums *sums, tamis_error *err) {
    int64_t n = (int64_t)k->s->ne[0];
    if (k->candidate) return read_row(k->candidate, k->c, k->c_scale, i_row, k->bytes, k->z, err);
    clock_t started = clock();
    tamis_status st = tamis_encode_row(k->r->type, k->x, w, k->effort, k->bytes, n, err);
    sums->seconds += (double)(clock() - started) / CLOCKS_PER_SEC;
    if (!st) tamis_decode(k->r->type, k->bytes, k->z, n);
    return st;
}

static double squares(const float *x, const float *y, const float *w, uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        double off = (double)x[i] - (y ? (double)y[i] : 0.0);
        sum += (w ? (double)w[i] : 1.0) * off * off;
    }
    return sum;
}

static tamis_status add_tensor(const struct row_work *k, struct sums *sums, tamis_error *err) {
    double ours = 0, reference = 0;
    uint64_t n = k->s->ne[0], n_rows = tamis_tensor_n_rows(k->s);
    for (uint64_t i = 0; i < n_rows; i++) {
        uint64_t n_matrices = k->entry ? k->entry->n_values / n : 1;
        const float *w = k->weights ? k->weights + i / k->s->ne[1] % n_matrices * n : NULL;
        tamis_status st = read_row(k->source, k->s, k->s_scale, i, k->bytes, k->x, err);
        if (!st) st = read_row(k->reference, k->r, k->r_scale, i, k->bytes, k->y, err);
        if (!st) st = candidate_row(k, i, w, sums, err);
        if (st) return st;
        double all = squares(k->x, NULL, w, n), a = squares(k->x, k->z, w, n),
               b = squares(k->x, k->y, w, n);
        ours += a;
        reference += b;
        if (all > 0) {
            sums->rows += a / all;
            sums->reference_rows += b / all;
        }
        if (b > 0 && a / b > sums->worst) sums->worst = a / b;
    }
    if (reference > 0) sums->ratio += ours / reference;
    sums->n_tensors++;
    sums->n_rows += (int64_t)n_rows;
    sums->n_elems += (int64_t)(n * n_rows);
    return TAMIS_OK;
}

static tamis_status compare_tensor(struct row_work *k, const tamis_imatrix *m, struct sums *sums,
                                   tamis_error *err) {
    tamis_status st = TAMIS_NO_RESOURCE;
    uint64_t n = k->s->ne[0];
    k->entry = m ? tamis_imatrix_find(m, k->s->name) : NULL;
    k->x = tamis_alloc_array(3 * n, sizeof *k->x, err);
    k->bytes = k->x ? tamis_alloc_array(n, 8, err) : NULL;
    if (!k->bytes) goto out;
    k->y = k->x + n;
    k->z = k->y + n;
    if (k->entry) {
        k->weights = tamis_alloc_array(k->entry->n_values, sizeof *k->weights, err);
        if (!k->weights) goto out;
        tamis_imatrix_weights(k->entry, k->weights);
    }
    st = read_scale(k->source, k->s, &k->s_scale, err);
    if (!st) st = read_scale(k->reference, k->r, &k->r_scale, err);
    if (!st && k->candidate) st = read_scale(k->candidate, k->c, &k->c_scale, err);
    if (!st) st = add_tensor(k, sums, err);
out:
    free(k->weights);
    free(k->bytes);
    free(k->x);
    k->weights = k->x = NULL;
    k->bytes = NULL;
    return st;
}

static tamis_status compare_type(const struct row_work *files, const tamis_type *type,
                                 const tamis_imatrix *m, const char *label, tamis_error *err) {
    struct sums sums = {0};
    tamis_status st = TAMIS_OK;
    for (int64_t i = 0; !st && i < tamis_gguf_n_tensors(files->reference); i++) {
        struct row_work k = *files;
        k.r = tamis_gguf_tensor_at(files->reference, i);
        if (k.r->type != type || k.r->n_dims < 2) continue;
        k.s = tamis_gguf_find_tensor(files->source, k.r->name);
        k.c = files->candidate ? tamis_gguf_find_tensor(files->candidate, k.r->name) : k.r;
        if (!k.s || !k.s->type || !k.s->type->decode || !k.c || k.c->type != type) continue;
        if (strncmp(k.r->name, "blk.", 4) != 0) continue;
        st = compare_tensor(&k, m, &sums, err);
    }
    if (st || sums.n_tensors == 0) return st;
    printf("%-8s %-8s weighted %.4f  rows %.4f  worst %.3f", type->name, label,
           sums.ratio / (double)sums.n_tensors, sums.rows / sums.reference_rows, sums.worst);
    if (sums.seconds > 0) printf("  %.1f M weights/s", (double)sums.n_elems / 1e6 / sums.seconds);
    printf("\n");
    return TAMIS_OK;
}

static tamis_status compare_files(const char *const *paths, const tamis_imatrix *m,
                                  tamis_error *err) {
    tamis_gguf *source = NULL, *reference = NULL, *candidate = NULL;
    struct row_work k = {0};
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    bool is_effort = false;
    for (tamis_effort e = TAMIS_EFFORT_FAST; e <= TAMIS_EFFORT_BEST; e++) {
        if (strcmp(paths[2], tamis_effort_name(e)) != 0) continue;
        is_effort = true;
        k.effort = e;
    }
    tamis_status st = tamis_gguf_open(paths[0], NULL, &source, err);
    if (!st) st = tamis_gguf_open(paths[1], NULL, &reference, err);
    if (!st && !is_effort) st = tamis_gguf_open(paths[2], NULL, &candidate, err);
    k.source = source;
    k.reference = reference;
    k.candidate = candidate;
    for (int i = 0; !st && i < n_types; i++) {
        if (types[i].class != TAMIS_CLASS_QUANTIZED) continue;
        if (is_effort && !tamis_can_encode(&types[i])) continue;
        st = compare_type(&k, &types[i], m, is_effort ? paths[2] : "file", err);
    }
    tamis_gguf_close(candidate);
    tamis_gguf_close(reference);
    tamis_gguf_close(source);
    return st;
}

int main(int argc, char **argv) {
    const char *imatrix = NULL;
    tamis_common common = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "imatrix", TAMIS_OPTION_TEXT, &imatrix, "FILE", "importance matrix to weigh errors with", 0, 0 },
        TAMIS_COMMON_OPTIONS(&common),
    };
    /* clang-format on */
    const tamis_command command = {
        .name = "row_errors",
        .summary = "errors of quantized tensors beside another tool's",
        .usage = "[--imatrix FILE] SOURCE.gguf REFERENCE.gguf CANDIDATE.gguf|fast|normal|best",
        .options = options,
        .n_options = sizeof options / sizeof *options,
    };
    tamis_texts paths = {0};
    tamis_error err = {0};
    tamis_imatrix m;
    tamis_imatrix_init(&m);
    tamis_formats_init();
    tamis_status st = tamis_options_parse(&command, argc, argv, &paths, &err);
    if (!tamis_common_handled(&common, &command)) {
        if (!st && paths.n_items != 3)
            st = tamis_fail(&err, TAMIS_BAD_USAGE, "three files are needed");
        if (!st && imatrix) st = tamis_imatrix_load(imatrix, &m, &err);
        if (!st) st = compare_files(paths.items, imatrix ? &m : NULL, &err);
    }
    tamis_imatrix_release(&m);
    tamis_texts_release(&paths);
    return st ? tamis_report("row_errors", &err) : 0;
}
