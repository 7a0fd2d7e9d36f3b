/* diff.c - "imatrix diff": how far two importance matrices lie apart. */
#include "imatrix/diff.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "imatrix/commands/commands.h"

static const char summary[] = "compare two importance matrices";
static const char usage[] = "[options] A B";

enum { TENSORS_SHOWN = 20, EXPERTS_SHOWN = 20 };

typedef unsigned long long ull;

typedef struct arguments {
    tamis_common common;
    double max_distance, factor; /* max_distance < 0: no gate */
    bool all;
} arguments;

static const char *name_of(const tamis_imatrix_tensor_diff *t) {
    return t->a ? t->a->name : t->b->name;
}

/* --- as text --- */

static void print_tensor(const tamis_imatrix_tensor_diff *t, int width) {
    char name[256], columns[48], experts[48] = "-";
    snprintf(columns, sizeof columns, "%llu of %llu", (ull)t->n_columns_differ, (ull)t->n_columns);
    if (t->n_experts)
        snprintf(experts, sizeof experts, "%llu of %llu", (ull)t->n_experts_differ,
                 (ull)t->n_experts);
    printf("%-*s  %10.6f  %9.4f  %16s  %12s\n", width,
           tamis_printable(name_of(t), name, sizeof name), 1 - t->distance, t->ratio, columns,
           experts);
}

/* More than rounding, as printed. */
static bool is_visible(const tamis_imatrix_tensor_diff *t) {
    return t->distance >= 5e-7 || fabs(t->ratio - 1) >= 5e-5 || t->n_columns_differ ||
           t->n_experts_differ;
}

static uint64_t count_visible(const tamis_imatrix_diff *d) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < d->n_comparable; i++)
        n += is_visible(&d->tensors[i]);
    return n;
}

static void print_tensors(const tamis_imatrix_diff *d, bool all) {
    const uint64_t n_visible = count_visible(d);
    uint64_t n_left = all ? d->n_comparable : n_visible < TENSORS_SHOWN ? n_visible : TENSORS_SHOWN;
    int width = 5;
    if (n_left == 0) return;
    for (uint64_t i = 0; i < d->n_comparable; i++) {
        const size_t n = strlen(name_of(&d->tensors[i]));
        if (n > (size_t)width && n < 64) width = (int)n;
    }
    printf("%-*s  %10s  %9s  %16s  %12s\n", width, "entry", "cosine", "B / A", "columns differ",
           "experts");
    for (uint64_t i = 0; i < d->n_comparable && n_left > 0; i++) {
        if (!all && !is_visible(&d->tensors[i])) continue;
        print_tensor(&d->tensors[i], width);
        n_left--;
    }
    if (!all && n_visible > TENSORS_SHOWN)
        printf("... and %llu that lie closer together (--all)\n", (ull)(n_visible - TENSORS_SHOWN));
    printf("\n");
}

static void print_experts(const tamis_imatrix_diff *d, bool all) {
    const uint64_t n_shown =
        all || d->n_experts < EXPERTS_SHOWN ? d->n_experts : (uint64_t)EXPERTS_SHOWN;
    if (d->n_experts == 0) return;
    printf("experts that saw another share of the tokens:\n");
    for (uint64_t i = 0; i < n_shown; i++) {
        const tamis_imatrix_expert_diff *x = &d->experts[i];
        char name[256];
        printf("  %s expert %llu: %.0f tokens (%.3f%%) and %.0f (%.3f%%)",
               tamis_printable(x->name, name, sizeof name), (ull)x->expert, x->count_a,
               100 * x->share_a, x->count_b, 100 * x->share_b);
        if (x->count_a > 0 && x->count_b > 0) printf(", cosine %.6f", 1 - x->distance);
        printf("\n");
    }
    if (n_shown < d->n_experts)
        printf("  ... and %llu more (--all)\n", (ull)(d->n_experts - n_shown));
    printf("\n");
}

/* Names that cannot be compared. */
static void print_others(const tamis_imatrix_diff *d, const char *const *paths) {
    for (uint64_t i = d->n_comparable; i < d->n_tensors; i++) {
        const tamis_imatrix_tensor_diff *t = &d->tensors[i];
        char name[256];
        tamis_printable(name_of(t), name, sizeof name);
        if (t->a && t->b)
            printf("%s: %llu values and %llu counts in %s, %llu and %llu in %s\n", name,
                   (ull)t->a->n_values, (ull)t->a->n_counts, paths[0], (ull)t->b->n_values,
                   (ull)t->b->n_counts, paths[1]);
        else
            printf("%s: only in %s\n", name, paths[t->a ? 0 : 1]);
    }
    if (d->n_comparable < d->n_tensors) printf("\n");
}

static void print_summary(const tamis_imatrix_diff *d) {
    if (d->n_equal == d->n_tensors) {
        printf("identical: all %llu entries have the same sums and counts\n", (ull)d->n_tensors);
        return;
    }
    printf("%llu entries compared, %llu of them identical", (ull)d->n_comparable, (ull)d->n_equal);
    if (d->n_only_a) printf("; %llu only in A", (ull)d->n_only_a);
    if (d->n_only_b) printf("; %llu only in B", (ull)d->n_only_b);
    if (d->n_other_size) printf("; %llu of other sizes", (ull)d->n_other_size);
    printf("\n");
    if (!d->n_comparable) return;
    if (count_visible(d) == 0) {
        printf("the importances differ by rounding only\n");
        return;
    }
    printf("1 - cosine: mean %.6f, largest %.6f ('%s')\n", d->mean_distance, d->max_distance,
           name_of(&d->tensors[0]));
    printf("total of B / total of A: %.4f to %.4f\n", d->min_ratio, d->max_ratio);
    if (d->n_experts) printf("%llu experts saw another share of the tokens\n", (ull)d->n_experts);
}

static void print_metadata(const tamis_imatrix *a, const tamis_imatrix *b) {
    const tamis_imatrix *sides[2] = {a, b};
    for (int k = 0; k < 2; k++) {
        const tamis_imatrix *m = sides[k];
        char shown[256] = "no text named";
        if (m->n_datasets) tamis_printable(m->datasets[0], shown, sizeof shown);
        printf("%c: %llu entries, %u chunks", k ? 'B' : 'A', (ull)m->n_entries, m->chunk_count);
        if (m->chunk_size) printf(" of %u tokens", m->chunk_size);
        printf(", %s", shown);
        if (m->n_datasets > 1) printf(" and %llu more", (ull)(m->n_datasets - 1));
        printf("\n");
    }
    printf("\n");
}

/* --- as JSON --- */

static void add_tensors(cJSON *root, const tamis_imatrix_diff *d) {
    cJSON *tensors = cJSON_AddArrayToObject(root, "tensors");
    for (uint64_t i = 0; i < d->n_tensors; i++) {
        const tamis_imatrix_tensor_diff *t = &d->tensors[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(tensors, item);
        tamis_json_add_bytes(item, "name", name_of(t), strlen(name_of(t)));
        cJSON_AddStringToObject(item, "in", !t->b ? "a" : !t->a ? "b" : "both");
        cJSON_AddBoolToObject(item, "comparable", t->is_comparable);
        if (!t->is_comparable) continue;
        cJSON_AddBoolToObject(item, "identical", t->is_equal);
        tamis_json_add_double(item, "cosine", 1 - t->distance);
        tamis_json_add_double(item, "distance", t->distance);
        tamis_json_add_double(item, "ratio", t->ratio);
        tamis_json_add_uint(item, "columns", t->n_columns);
        tamis_json_add_uint(item, "columns_differ", t->n_columns_differ);
        tamis_json_add_uint(item, "experts", t->n_experts);
        tamis_json_add_uint(item, "experts_differ", t->n_experts_differ);
    }
}

static void add_experts(cJSON *root, const tamis_imatrix_diff *d) {
    cJSON *experts = cJSON_AddArrayToObject(root, "experts");
    for (uint64_t i = 0; i < d->n_experts; i++) {
        const tamis_imatrix_expert_diff *x = &d->experts[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(experts, item);
        tamis_json_add_bytes(item, "name", x->name, strlen(x->name));
        tamis_json_add_uint(item, "expert", x->expert);
        tamis_json_add_double(item, "tokens_a", x->count_a);
        tamis_json_add_double(item, "tokens_b", x->count_b);
        tamis_json_add_double(item, "share_a", x->share_a);
        tamis_json_add_double(item, "share_b", x->share_b);
        tamis_json_add_double(item, "distance", x->distance);
    }
}

static tamis_status write_json(const char *path, const tamis_imatrix_diff *d, tamis_error *err) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddBoolToObject(root, "identical", d->n_equal == d->n_tensors);
    tamis_json_add_uint(root, "compared", d->n_comparable);
    tamis_json_add_uint(root, "only_a", d->n_only_a);
    tamis_json_add_uint(root, "only_b", d->n_only_b);
    tamis_json_add_uint(root, "other_size", d->n_other_size);
    tamis_json_add_double(root, "mean_distance", d->mean_distance);
    tamis_json_add_double(root, "max_distance", d->max_distance);
    tamis_json_add_double(root, "min_ratio", d->min_ratio);
    tamis_json_add_double(root, "max_ratio", d->max_ratio);
    add_tensors(root, d);
    add_experts(root, d);
    tamis_status st = tamis_json_write(root, path, err);
    cJSON_Delete(root);
    return st;
}

/* --- the command --- */

/* What cannot be compared is farther than any distance. */
static tamis_status check_gate(const arguments *args, const tamis_imatrix_diff *d,
                               tamis_error *err) {
    uint64_t n_far = 0;
    if (args->max_distance < 0) return TAMIS_OK;
    for (uint64_t i = 0; i < d->n_tensors; i++)
        n_far += !d->tensors[i].is_comparable || d->tensors[i].distance > args->max_distance;
    if (n_far == 0) return TAMIS_OK;
    const tamis_imatrix_tensor_diff *first = &d->tensors[0];
    if (d->n_comparable < d->n_tensors) first = &d->tensors[d->n_comparable];
    if (!first->is_comparable)
        return tamis_fail(err, TAMIS_CHECK_FAILED,
                          "%llu of %llu entries are farther apart than %g: '%s' cannot be compared",
                          (ull)n_far, (ull)d->n_tensors, args->max_distance, name_of(first));
    return tamis_fail(err, TAMIS_CHECK_FAILED,
                      "%llu of %llu entries are farther apart than %g: '%s' by %.6f", (ull)n_far,
                      (ull)d->n_tensors, args->max_distance, name_of(first), first->distance);
}

static tamis_status report(const arguments *args, const char *const *paths, const tamis_imatrix *a,
                           const tamis_imatrix *b, const tamis_imatrix_diff *d, tamis_error *err) {
    if (d->n_comparable + d->n_other_size == 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s and %s have no entry in common ('%s' and '%s'): they were made for "
                          "different models",
                          paths[0], paths[1], a->entries[0].name, b->entries[0].name);
    tamis_status st =
        args->common.json_path ? write_json(args->common.json_path, d, err) : TAMIS_OK;
    if (st) return st;
    if (imatrix_prints_text(&args->common)) {
        print_metadata(a, b);
        print_tensors(d, args->all);
        print_experts(d, args->all);
        print_others(d, paths);
        print_summary(d);
    }
    return check_gate(args, d, err);
}

static tamis_status run(void *ctx, const tamis_texts *files, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    (void)log;
    if (files->n_items != 2)
        return tamis_fail(err, TAMIS_BAD_USAGE, "two files are needed, %zu given", files->n_items);
    if (args->factor <= 1)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--factor must be above 1, %g given", args->factor);
    tamis_imatrix a, b;
    tamis_imatrix_diff d = {0};
    tamis_imatrix_init(&a);
    tamis_imatrix_init(&b);
    tamis_status st = imatrix_check_json_path(&args->common, files->items, 2, err);
    if (!st) st = tamis_imatrix_load(files->items[0], &a, err);
    if (!st) st = tamis_imatrix_load(files->items[1], &b, err);
    if (!st) st = tamis_imatrix_diff_make(&a, &b, args->factor, &d, err);
    if (!st) st = report(args, files->items, &a, &b, &d, err);
    tamis_imatrix_diff_release(&d);
    tamis_imatrix_release(&a);
    tamis_imatrix_release(&b);
    return st;
}

static int diff_main(int argc, char **argv) {
    arguments args = {.max_distance = -1, .factor = 2};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "max-distance", TAMIS_OPTION_DOUBLE, &args.max_distance, "X", "exit 1 when 1 - cosine of any entry is above X, or an entry cannot be compared", 0, 0 },
        { 0, "factor", TAMIS_OPTION_DOUBLE, &args.factor, "X", "shares of columns and experts differ from this factor on (default: 2)", 0, 0 },
        { 0, "all", TAMIS_OPTION_FLAG, &args.all, NULL, "list every entry and expert, not the farthest alone", 0, 0 },
        TAMIS_COMMON_OPTIONS_LIGHT(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"imatrix diff old.gguf new.gguf", "the entries that lie farthest apart"},
        {"imatrix diff --max-distance 0.01 old.gguf new.gguf", "a gate: exit 1 above it"},
        {"imatrix diff --json - prose.gguf code.gguf", "everything as JSON"},
    };
    const tamis_command command = {
        .name = "imatrix diff",
        .summary = summary,
        .usage = usage,
        .description =
            "Compared are the importances that quantize would use, sum / count of each column. "
            "Per entry: their cosine, the total of B divided by that of A, the columns whose part "
            "of the total differs by --factor or more, and the experts whose share of the tokens "
            "does (by more than chance). Experts that one side never saw are left out of cosine "
            "and ratio. Layouts may differ; a legacy file has no counts per expert.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command imatrix_diff_command = {"diff", summary, usage, diff_main};
