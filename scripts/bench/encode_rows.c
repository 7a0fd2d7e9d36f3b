/* encode_rows.c - the encoders alone, for scripts/bench/encode: speed on one core and on all, and
 * the errors on the rows of a golden file, ours and those of the reference encoders that the
 * file holds. Raw numbers as a table with tabs, one line per type and effort and one for
 * the reference. Speed: rows of 4096 heavy-tailed weights with importance, in memory; one core by
 * the clock of the processor, so that other programs count little; all by the clock. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/checked.h"
#include "base/options.h"
#include "base/threads.h"
#include "formats/formats.h"
#include "gguf/gguf.h"

enum { N_COLS = 4096, N_ROWS = 64, N_ORDINARY = 8 };

struct settings {
    const char *golden, *types, *effort;
    double seconds;
};

/* What the encoders are timed on. */
struct bench {
    float *x;       /* [N_ROWS * N_COLS] */
    float *w;       /* [N_COLS] */
    uint8_t *bytes; /* [N_ROWS * N_COLS * 4] */
    tamis_pool *pool;
    const tamis_type *type;
    tamis_effort effort;
};

/* The rows of the golden file. */
struct golden {
    tamis_gguf *file; /* NULL: no errors are measured */
    int64_t n_cols, n_rows;
    float *x, *w; /* [n_rows * n_cols], [n_cols] */
    float *y;     /* [n_cols] */
    uint8_t *bytes;
};

/* As the columns of fixtures/formats/errors.tsv, and means over rows of the relative error. */
struct errors {
    double weighted_mse, mse;         /* encoded with importance, and without */
    double weighted_rows, plain_rows; /* the same, mean of each row's error / sum w*x^2 */
    double ordinary_rows;             /* weighted_rows of the first 8, without odd ones */
};

static uint64_t random_state = 88172645463325252u;

static float next_uniform(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (float)(random_state >> 40) * 0x1p-23f - 1.0f;
}

static tamis_status bench_init(struct bench *b, int n_threads, tamis_error *err) {
    b->x = tamis_alloc_array(N_ROWS * N_COLS, sizeof *b->x, err);
    b->w = b->x ? tamis_alloc_array(N_COLS, sizeof *b->w, err) : NULL;
    b->bytes = b->w ? tamis_alloc_array(N_ROWS * N_COLS, 4, err) : NULL;
    if (!b->bytes) return TAMIS_NO_RESOURCE;
    for (int i = 0; i < N_ROWS * N_COLS; i++) {
        float bell = next_uniform() + next_uniform() + next_uniform();
        b->x[i] = 0.02f * bell * (1.0f + bell * bell);
    }
    for (int i = 0; i < N_COLS; i++) {
        float u = 0.1f + fabsf(next_uniform());
        b->w[i] = u * u * u;
    }
    return tamis_pool_new(n_threads, &b->pool, err);
}

static void bench_release(struct bench *b) {
    tamis_pool_free(b->pool);
    free(b->bytes);
    free(b->w);
    free(b->x);
}

static void encode_one(void *context, int64_t i_row, int i_worker) {
    const struct bench *b = context;
    tamis_error err;
    (void)i_worker;
    if (tamis_encode_row(b->type, b->x + i_row * N_COLS, b->w, b->effort,
                         b->bytes + i_row * N_COLS * 4, N_COLS, &err)) {
        fprintf(stderr, "%s: %s\n", b->type->name, err.message);
    }
}

static double seconds_of(clockid_t clock_id) {
    struct timespec t;
    clock_gettime(clock_id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Weights per second of a pool (NULL: this thread alone), over passes of `seconds` together. */
static double rate(struct bench *b, tamis_pool *pool, double seconds) {
    clockid_t clock_id = pool ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID;
    double n = 0, started, took;
    tamis_pool_run(pool, N_ROWS / 8, encode_one, b); /* warm */
    started = seconds_of(clock_id);
    do {
        tamis_pool_run(pool, N_ROWS, encode_one, b);
        n += (double)N_ROWS * N_COLS;
        took = seconds_of(clock_id) - started;
    } while (took < seconds && !tamis_interrupted());
    return n / took;
}

static tamis_status read_floats(struct golden *g, const char *name, uint64_t n_rows, float **out,
                                tamis_error *err) {
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g->file, name);
    if (!t || !t->type || t->type->id != TAMIS_TYPE_F32 || (g->n_cols && t->n_dims < 1) ||
        (g->n_cols && t->ne[0] != (uint64_t)g->n_cols) || t->ne[1] < n_rows) {
        return tamis_fail(err, TAMIS_BAD_INPUT, "the golden file has no tensor '%s' of rows of f32",
                          name);
    }
    if (n_rows == 0) {
        g->n_cols = (int64_t)t->ne[0];
        n_rows = t->ne[1];
        g->n_rows = (int64_t)n_rows;
    }
    uint64_t n = n_rows * (uint64_t)g->n_cols;
    *out = tamis_alloc_array(n, sizeof **out, err);
    if (!*out) return TAMIS_NO_RESOURCE;
    return tamis_gguf_read_tensor(g->file, t, 0, n * sizeof **out, *out, err);
}

static tamis_status golden_init(struct golden *g, const char *path, tamis_error *err) {
    tamis_status st = tamis_gguf_open(path, NULL, &g->file, err);
    if (!st) st = read_floats(g, "source", 0, &g->x, err);
    if (!st) st = read_floats(g, "importance", 1, &g->w, err);
    if (st) return st;
    g->y = tamis_alloc_array((uint64_t)g->n_cols, sizeof *g->y, err);
    g->bytes = g->y ? tamis_alloc_array((uint64_t)g->n_cols, 8, err) : NULL;
    return g->bytes ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

static void golden_release(struct golden *g) {
    free(g->bytes);
    free(g->y);
    free(g->w);
    free(g->x);
    tamis_gguf_close(g->file);
}

static double squares(const float *x, const float *y, const float *w, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double off = (double)x[i] - (y ? (double)y[i] : 0.0);
        sum += (w ? (double)w[i] : 1.0) * off * off;
    }
    return sum;
}

/* The tensor of the reference ("Q4_0.imatrix"); NULL when the file has none. */
static const tamis_gguf_tensor *find_reference(const struct golden *g, const tamis_type *type,
                                               const char *variant) {
    char name[64];
    int n = snprintf(name, sizeof name, "%s", type->name);
    for (int i = 0; i < n; i++)
        name[i] = (char)toupper((unsigned char)name[i]);
    snprintf(name + n, sizeof name - (size_t)n, ".%s", variant);
    const tamis_gguf_tensor *t = tamis_gguf_find_tensor(g->file, name);
    return t && t->type == type && t->ne[0] == (uint64_t)g->n_cols ? t : NULL;
}

/* Errors of one variant. reference NULL: of our encoder at an effort, with or without w. */
static tamis_status measure(struct golden *g, const tamis_type *type,
                            const tamis_gguf_tensor *reference, tamis_effort effort, const float *w,
                            struct errors *out, tamis_error *err) {
    double sum = 0, rows = 0, ordinary = 0, n_rows = 0, n_ordinary = 0, weight = 0;
    uint64_t n_bytes = 0;
    if (!tamis_type_row_bytes(type, (uint64_t)g->n_cols, &n_bytes)) return TAMIS_OK;
    for (int64_t i = 0; i < g->n_cols; i++)
        weight += w ? (double)w[i] : 1.0;
    for (int64_t i = 0; i < g->n_rows; i++) {
        const float *x = g->x + i * g->n_cols;
        tamis_status st = reference
                              ? tamis_gguf_read_tensor(g->file, reference, (uint64_t)i * n_bytes,
                                                       n_bytes, g->bytes, err)
                              : tamis_encode_row(type, x, w, effort, g->bytes, g->n_cols, err);
        if (st) return st;
        tamis_decode(type, g->bytes, g->y, g->n_cols);
        double error = squares(x, g->y, w, g->n_cols), all = squares(x, NULL, w, g->n_cols);
        sum += error;
        rows += all > 0 ? error / all : 0;
        n_rows += all > 0;
        ordinary += all > 0 && i < N_ORDINARY ? error / all : 0;
        n_ordinary += all > 0 && i < N_ORDINARY;
    }
    double mse = sum / (weight * (double)g->n_rows);
    *(w ? &out->weighted_mse : &out->mse) = mse;
    *(w ? &out->weighted_rows : &out->plain_rows) = rows / n_rows;
    if (w) out->ordinary_rows = ordinary / n_ordinary;
    return TAMIS_OK;
}

static void print_line(const tamis_type *type, const char *who, double one, double all,
                       const struct errors *e) {
    printf("%s\t%.4f\t%s\t%.6g\t%.6g\t%.6g\t%.6g\t%.6g\t%.6g\t%.6g\n", type->name,
           8.0 * type->block_bytes / type->block_elems, who, one, all, e->weighted_mse, e->mse,
           e->weighted_rows, e->plain_rows, e->ordinary_rows);
    fflush(stdout);
}

static const struct errors unknown = {NAN, NAN, NAN, NAN, NAN};

static tamis_status print_reference(struct golden *g, const tamis_type *type, tamis_error *err) {
    struct errors e = unknown;
    const tamis_gguf_tensor *weighted = find_reference(g, type, "imatrix"),
                            *plain = find_reference(g, type, "plain");
    tamis_status st = TAMIS_OK;
    if (weighted) st = measure(g, type, weighted, TAMIS_EFFORT_NORMAL, g->w, &e, err);
    if (!st && plain) st = measure(g, type, plain, TAMIS_EFFORT_NORMAL, NULL, &e, err);
    if (!st && weighted) print_line(type, "reference", NAN, NAN, &e);
    return st;
}

static tamis_status print_effort(struct bench *b, struct golden *g, double seconds,
                                 tamis_error *err) {
    struct errors e = unknown;
    tamis_status st = TAMIS_OK;
    if (g->file) st = measure(g, b->type, NULL, b->effort, g->w, &e, err);
    if (!st && g->file) st = measure(g, b->type, NULL, b->effort, NULL, &e, err);
    if (st) return st;
    double one = rate(b, NULL, seconds), all = rate(b, b->pool, seconds);
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    print_line(b->type, tamis_effort_name(b->effort), one, all, &e);
    return TAMIS_OK;
}

/* Whether `name` is one of a list with commas; NULL is all. */
static bool is_listed(const char *list, const char *name) {
    size_t n = strlen(name);
    if (!list) return true;
    for (const char *at = list; *at;) {
        size_t n_word = strcspn(at, ",");
        if (n_word == n && strncasecmp(at, name, n) == 0) return true;
        at += n_word + (at[n_word] == ',');
    }
    return false;
}

static tamis_status run(const struct settings *s, int n_threads, tamis_error *err) {
    struct bench b = {0};
    struct golden g = {0};
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    tamis_status st = bench_init(&b, n_threads, err);
    if (!st && s->golden) st = golden_init(&g, s->golden, err);
    if (!st) {
        printf("type\tbits\tencoder\tweights_per_s\tweights_per_s_%d_threads\tweighted_mse\tmse\t"
               "weighted_rows\tplain_rows\tordinary_rows\n",
               tamis_pool_size(b.pool));
    }
    for (int i = 0; !st && i < n_types; i++) {
        b.type = &types[i];
        if (!tamis_can_encode(b.type) || !is_listed(s->types, b.type->name)) continue;
        if (g.file) st = print_reference(&g, b.type, err);
        for (int e = TAMIS_EFFORT_FAST; !st && e <= TAMIS_EFFORT_BEST; e++) {
            b.effort = (tamis_effort)e;
            if (b.type->class == TAMIS_CLASS_FLOAT && e != TAMIS_EFFORT_NORMAL) continue;
            if (is_listed(s->effort, tamis_effort_name(b.effort)))
                st = print_effort(&b, &g, s->seconds, err);
        }
    }
    golden_release(&g);
    bench_release(&b);
    return st;
}

int main(int argc, char **argv) {
    struct settings s = {.seconds = 0.3};
    tamis_common common = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "golden", TAMIS_OPTION_TEXT, &s.golden, "FILE", "rows to measure errors on, with the reference's results", 0, 0 },
        { 0, "types", TAMIS_OPTION_TEXT, &s.types, "LIST", "types, separated by commas (default: all)", 0, 0 },
        { 0, "effort", TAMIS_OPTION_TEXT, &s.effort, "LIST", "efforts, separated by commas (default: all)", 0, 0 },
        { 0, "seconds", TAMIS_OPTION_DOUBLE, &s.seconds, "S", "time to measure each speed for (default: 0.3)", 0, 0 },
        TAMIS_COMMON_OPTIONS(&common),
    };
    /* clang-format on */
    const tamis_command command = {
        .name = "encode_rows",
        .summary = "speed and errors of the encoders",
        .usage = "[--golden FILE] [options]",
        .options = options,
        .n_options = sizeof options / sizeof *options,
    };
    tamis_texts positional = {0};
    tamis_error err = {0};
    tamis_interrupt_install();
    tamis_formats_init();
    tamis_status st = tamis_options_parse(&command, argc, argv, &positional, &err);
    if (!tamis_common_handled(&common, &command)) {
        if (!st && positional.n_items != 0)
            st = tamis_fail(&err, TAMIS_BAD_USAGE, "'%s' is one argument too many",
                            positional.items[0]);
        if (!st) st = run(&s, (int)common.n_threads, &err);
    }
    tamis_texts_release(&positional);
    return st ? tamis_report("encode_rows", &err) : 0;
}
