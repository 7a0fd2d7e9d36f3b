/* show.c - "imatrix show": what an importance matrix holds, and what its experts saw. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "imatrix/commands/commands.h"
#include "imatrix/statistics.h"

static const char summary[] = "print what an importance matrix holds";
static const char usage[] = "[options] FILE";

enum { COUNTS_PER_LINE = 16 };

typedef unsigned long long ull;

typedef struct arguments {
    tamis_common common;
    int64_t n_rare;
} arguments;

static void print_header(const tamis_imatrix *m, const char *path) {
    bool is_legacy = m->chunk_size == 0;
    printf("%-10s %s\n%-10s %s\n", "file", path, "layout", is_legacy ? "legacy (.dat)" : "GGUF");
    for (uint64_t i = 0; i < m->n_datasets; i++) {
        char shown[1024];
        printf("%-10s %s\n", i ? "" : "datasets",
               tamis_printable(m->datasets[i], shown, sizeof shown));
    }
    if (is_legacy)
        printf("%-10s %u, their size is not stored\n", "chunks", m->chunk_count);
    else
        printf("%-10s %u of %u tokens\n", "chunks", m->chunk_count, m->chunk_size);
    if (m->all_experts) printf("%-10s saw all tokens (--all-experts)\n", "experts");
}

static int name_width(const tamis_imatrix *m) {
    size_t width = 5;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        size_t n = strlen(m->entries[i].name);
        if (n > width && n < 64) width = n;
    }
    return (int)width;
}

static void print_entries(const tamis_imatrix *m) {
    const int width = name_width(m);
    printf("\n%-*s  %9s  %7s  %12s  %12s\n", width, "entry", "columns", "experts",
           m->chunk_size ? "tokens" : "calls", "to");
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const tamis_imatrix_entry *e = &m->entries[i];
        char name[256];
        double least = e->counts[0], most = e->counts[0];
        for (uint64_t j = 1; j < e->n_counts; j++) {
            least = fmin(least, e->counts[j]);
            most = fmax(most, e->counts[j]);
        }
        printf("%-*s  %9llu  ", width, tamis_printable(e->name, name, sizeof name),
               (ull)(e->n_values / e->n_counts));
        if (e->n_counts == 1)
            printf("%7s  %12.0f\n", "-", most);
        else
            printf("%7llu  %12.0f  %12.0f\n", (ull)e->n_counts, least, most);
    }
}

/* A row of counts per expert tensor, once for those of a layer that have the same. */
static void print_counts(const tamis_imatrix *m) {
    bool is_first = true;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const tamis_imatrix_entry *e = &m->entries[i];
        char name[256];
        if (e->n_counts < 2 || tamis_imatrix_repeats_counts(m, i)) continue;
        if (is_first)
            printf(
                "\ntokens per expert (the other weights of a layer have the same unless shown)\n");
        is_first = false;
        printf("%s", tamis_printable(e->name, name, sizeof name));
        for (uint64_t j = 0; j < e->n_counts; j++) {
            if (j % COUNTS_PER_LINE == 0) printf("\n%6llu:", (ull)j);
            printf(" %8.0f", e->counts[j]);
        }
        printf("\n");
    }
}

static bool has_lost_counts(const tamis_imatrix *m) {
    for (uint64_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].n_counts == 1 && strstr(m->entries[i].name, "_exps.")) return true;
    return false;
}

static tamis_status run(void *ctx, const tamis_texts *files, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    tamis_imatrix m;
    if (files->n_items != 1)
        return tamis_fail(err, TAMIS_BAD_USAGE, "one file is needed, %zu given", files->n_items);
    tamis_status st = imatrix_check_json_path(&args->common, files->items, 1, err);
    if (st) return st;
    st = tamis_imatrix_load(files->items[0], &m, err);
    if (st) return st;
    if (has_lost_counts(&m))
        tamis_warn(log,
                   "%s has one count for all experts of a weight: the counts per expert are lost",
                   files->items[0]);
    if (args->common.json_path) {
        cJSON *root = cJSON_CreateObject();
        tamis_json_add_bytes(root, "file", files->items[0], strlen(files->items[0]));
        cJSON_AddStringToObject(root, "layout", m.chunk_size ? "gguf" : "dat");
        imatrix_add_matrix_json(root, &m, args->n_rare);
        st = tamis_json_write(root, args->common.json_path, err);
        cJSON_Delete(root);
    }
    if (!st && imatrix_prints_text(&args->common)) {
        print_header(&m, files->items[0]);
        print_entries(&m);
        print_counts(&m);
        printf("\n");
        imatrix_print_summary(&m, args->n_rare, -1);
    }
    tamis_imatrix_release(&m);
    return st;
}

static int show_main(int argc, char **argv) {
    arguments args = {.n_rare = IMATRIX_RARE_TOKENS};
    const tamis_option options[] = {
        IMATRIX_RARE_OPTION(&args.n_rare),
        TAMIS_COMMON_OPTIONS_LIGHT(&args.common),
    };
    static const tamis_example examples[] = {
        {"imatrix show imatrix.gguf", "texts, chunks, entries, tokens per expert"},
        {"imatrix show --rare 500 imatrix.gguf", "experts that saw fewer than 500 tokens"},
        {"imatrix show --json - imatrix.dat", "the same as JSON, of a legacy file"},
    };
    const tamis_command command = {
        .name = "imatrix show",
        .summary = summary,
        .usage = usage,
        .description = "The layout is found out from the file itself. Legacy files say how many "
                       "chunks each weight saw, not how many tokens, and nothing of experts.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command imatrix_show_command = {"show", summary, usage, show_main};
