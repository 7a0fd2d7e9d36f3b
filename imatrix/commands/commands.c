/* commands.c - what the sub-commands and the plain run share. */
#include "imatrix/commands/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "imatrix/statistics.h"

typedef unsigned long long ull;

/* --- names and outputs --- */

void imatrix_names_release(imatrix_names *names) {
    free(names->text);
    free(names->items);
    *names = (imatrix_names){0};
}

tamis_status imatrix_names_split(const tamis_texts *given, imatrix_names *out, tamis_error *err) {
    imatrix_names names = {0};
    uint64_t n_bytes = 0, n_items = 0;
    for (size_t i = 0; i < given->n_items; i++) {
        n_bytes += strlen(given->items[i]) + 1;
        n_items++;
        for (const char *s = given->items[i]; (s = strchr(s, ',')); s++)
            n_items++;
    }
    names.text = tamis_alloc_array(n_bytes, 1, err);
    if (names.text) names.items = tamis_alloc_array(n_items, sizeof *names.items, err);
    if (!names.items) {
        free(names.text);
        return TAMIS_NO_RESOURCE;
    }
    char *end = names.text;
    for (size_t i = 0; i < given->n_items; i++) {
        for (const char *s = given->items[i];;) {
            size_t n = strcspn(s, ",");
            if (n == 0) {
                imatrix_names_release(&names);
                return tamis_fail(err, TAMIS_BAD_USAGE, "an empty file name in '%s'",
                                  given->items[i]);
            }
            memcpy(end, s, n); /* the array is zeroed: a NUL follows */
            names.items[names.n_items++] = end;
            end += n + 1;
            s += n;
            if (!*s++) break;
        }
    }
    *out = names;
    return TAMIS_OK;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && !strcmp(text + n - n_end, end);
}

tamis_imatrix_layout imatrix_choose_layout(const char *asked, const char **output,
                                           const tamis_log *log) {
    const bool is_dat = asked && !strcmp(asked, "dat");
    if (!*output) *output = is_dat ? "imatrix.dat" : "imatrix.gguf";
    if (ends_with(*output, is_dat ? ".gguf" : ".dat"))
        tamis_warn(log, "'%s' is written in the %s layout: --output-format decides, not the name",
                   *output, is_dat ? "legacy .dat" : "GGUF");
    return is_dat ? TAMIS_IMATRIX_DAT : TAMIS_IMATRIX_GGUF;
}

bool imatrix_prints_text(const tamis_common *common) {
    return !common->json_path || strcmp(common->json_path, "-") != 0;
}

tamis_status imatrix_check_json_path(const tamis_common *common, const char *const *inputs,
                                     size_t n_inputs, tamis_error *err) {
    if (!common->json_path || !imatrix_prints_text(common)) return TAMIS_OK;
    return tamis_output_check(common->json_path, inputs, n_inputs, err);
}

/* --- what a matrix holds --- */

struct rare_list {
    int64_t n_max, n_shown; /* n_max < 0: no limit */
};

static void print_rare(void *ctx, const char *name, int64_t expert, int64_t n_tokens) {
    struct rare_list *list = ctx;
    char shown[256];
    if (list->n_max >= 0 && list->n_shown == list->n_max) return;
    list->n_shown++;
    printf("  %s expert %lld: %lld tokens\n", tamis_printable(name, shown, sizeof shown),
           (long long)expert, (long long)n_tokens);
}

void imatrix_print_summary(const tamis_imatrix *m, int64_t n_rare, int64_t n_shown) {
    uint64_t n_columns = 0, n_expert_tensors = 0, n_unseen = 0, n_experts = 0;
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const tamis_imatrix_entry *entry = &m->entries[i];
        n_columns += entry->n_values;
        if (entry->n_counts < 2) continue;
        n_expert_tensors++;
        n_experts += entry->n_counts;
        for (uint64_t e = 0; e < entry->n_counts; e++)
            n_unseen += entry->counts[e] <= 0;
    }
    printf("%llu weight matrices, %llu input columns", (ull)m->n_entries, (ull)n_columns);
    if (n_expert_tensors)
        printf("; %llu of them hold experts, %llu of %llu expert slices saw no token",
               (ull)n_expert_tensors, (ull)n_unseen, (ull)n_experts);
    printf("\n");
    struct rare_list list = {.n_max = n_shown};
    int64_t n = tamis_imatrix_rare_experts(m, n_rare, print_rare, &list);
    if (n > 0)
        printf("  %s%lld expert%s in all saw fewer than %lld tokens; use a longer text\n",
               n > list.n_shown ? "... " : "", (long long)n, n == 1 ? "" : "s", (long long)n_rare);
}

static void add_rare(void *ctx, const char *name, int64_t expert, int64_t n_tokens) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(ctx, item);
    tamis_json_add_bytes(item, "name", name, strlen(name));
    tamis_json_add_int(item, "expert", expert);
    tamis_json_add_int(item, "tokens", n_tokens);
}

void imatrix_add_matrix_json(cJSON *root, const tamis_imatrix *m, int64_t n_rare) {
    cJSON *datasets = cJSON_AddArrayToObject(root, "datasets");
    for (uint64_t i = 0; i < m->n_datasets; i++) {
        char shown[1024];
        const char *text = tamis_printable(m->datasets[i], shown, sizeof shown);
        cJSON_AddItemToArray(datasets, cJSON_CreateString(text));
    }
    tamis_json_add_uint(root, "chunk_count", m->chunk_count);
    if (m->chunk_size) tamis_json_add_uint(root, "chunk_size", m->chunk_size);
    cJSON_AddBoolToObject(root, "all_experts", m->all_experts);
    cJSON *entries = cJSON_AddArrayToObject(root, "entries");
    for (uint64_t i = 0; i < m->n_entries; i++) {
        const tamis_imatrix_entry *entry = &m->entries[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(entries, item);
        tamis_json_add_bytes(item, "name", entry->name, strlen(entry->name));
        tamis_json_add_uint(item, "columns", entry->n_values / entry->n_counts);
        cJSON *counts = cJSON_AddArrayToObject(item, "counts");
        for (uint64_t e = 0; e < entry->n_counts; e++)
            cJSON_AddItemToArray(counts, cJSON_CreateNumber(entry->counts[e]));
    }
    cJSON *rare = cJSON_AddArrayToObject(root, "rare_experts");
    (void)tamis_imatrix_rare_experts(m, n_rare, add_rare, rare);
}
