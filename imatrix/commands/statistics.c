/* statistics.c - "imatrix statistics": what each tensor and layer sees, in numbers. */
#include "imatrix/statistics.h"

#include <stdio.h>
#include <string.h>

#include "imatrix/commands/commands.h"
#include "imatrix/merge.h"

static const char summary[] = "print statistics of each tensor and layer";
static const char usage[] = "[options] FILE...";

typedef unsigned long long ull;

static void print_tensors(const tamis_imatrix_stats *s) {
    int width = 6;
    for (uint64_t i = 0; i < s->n_tensors; i++)
        if (s->tensors[i].kind_bytes > (size_t)width && s->tensors[i].kind_bytes < 64)
            width = (int)s->tensors[i].kind_bytes;
    printf("%5s  %-*s  %12s  %10s  %10s  %8s  %8s  %8s  %8s  %9s  %9s  %8s  %7s\n", "layer", width,
           "tensor", "total", "min", "max", "mean", "sigma", "% active", "N", "entropy", "E (norm)",
           "ZD", "CosSim");
    for (uint64_t i = 0; i < s->n_tensors; i++) {
        const tamis_imatrix_tensor_stats *t = &s->tensors[i];
        char layer[24] = "-", kind[256];
        if (t->layer >= 0) snprintf(layer, sizeof layer, "%lld", (long long)t->layer);
        tamis_escape(t->kind, t->kind_bytes, kind, sizeof kind);
        printf("%5s  %-*s  %12.2f  %10.4f  %10.4f  %8.2f  %8.2f  %7.2f%%  %8llu  %9.4f  %8.2f%%  "
               "%7.2f%%  %7.4f\n",
               layer, width, kind, t->total, t->min, t->max, t->mean, t->deviation, 100 * t->active,
               (ull)t->n_values, t->entropy, 100 * t->entropy_share, 100 * t->zd, t->cosine);
    }
}

static void print_layers(const tamis_imatrix_stats *s) {
    printf("\nmeans per layer, weighted by the number of values (%llu layers)\n", (ull)s->n_layers);
    printf("%5s  %12s  %9s  %7s\n", "layer", "total", "ZD", "CosSim");
    for (uint64_t i = 0; i < s->n_layers; i++) {
        const tamis_imatrix_layer_stats *l = &s->layers[i];
        printf("%5lld  %12.2f  %8.4f%%  %7.4f\n", (long long)l->layer, l->total, 100 * l->zd,
               l->cosine);
    }
}

static tamis_status write_json(const char *path, const tamis_imatrix_stats *s, tamis_error *err) {
    cJSON *root = cJSON_CreateObject(), *tensors = cJSON_AddArrayToObject(root, "tensors");
    for (uint64_t i = 0; i < s->n_tensors; i++) {
        const tamis_imatrix_tensor_stats *t = &s->tensors[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(tensors, item);
        tamis_json_add_bytes(item, "name", t->entry->name, strlen(t->entry->name));
        tamis_json_add_int(item, "layer", t->layer);
        tamis_json_add_bytes(item, "tensor", t->kind, t->kind_bytes);
        tamis_json_add_double(item, "total", t->total);
        tamis_json_add_double(item, "min", t->min);
        tamis_json_add_double(item, "max", t->max);
        tamis_json_add_double(item, "mean", t->mean);
        tamis_json_add_double(item, "sigma", t->deviation);
        tamis_json_add_double(item, "active", t->active);
        tamis_json_add_uint(item, "n", t->n_values);
        tamis_json_add_double(item, "entropy", t->entropy);
        tamis_json_add_double(item, "entropy_normalised", t->entropy_share);
        tamis_json_add_double(item, "zd", t->zd);
        tamis_json_add_double(item, "cos_sim", t->cosine);
    }
    cJSON *layers = cJSON_AddArrayToObject(root, "layers");
    for (uint64_t i = 0; i < s->n_layers; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(layers, item);
        tamis_json_add_int(item, "layer", s->layers[i].layer);
        tamis_json_add_double(item, "total", s->layers[i].total);
        tamis_json_add_double(item, "zd", s->layers[i].zd);
        tamis_json_add_double(item, "cos_sim", s->layers[i].cosine);
    }
    tamis_status st = tamis_json_write(root, path, err);
    cJSON_Delete(root);
    return st;
}

tamis_status imatrix_show_statistics(const tamis_common *common, const imatrix_names *files,
                                     int64_t chunk_size, const tamis_log *log, tamis_error *err) {
    tamis_imatrix m;
    tamis_imatrix_stats stats = {0};
    tamis_imatrix_init(&m);
    tamis_status st = imatrix_check_json_path(common, files->items, files->n_items, err);
    if (!st)
        st = tamis_imatrix_load_merged(files->items, files->n_items, (uint32_t)chunk_size, log, &m,
                                       err);
    if (!st) st = tamis_imatrix_stats_make(&m, &stats, err);
    if (st) goto out;
    if (stats.n_empty)
        tamis_warn(log, "%llu of %llu entries have no data and are left out", (ull)stats.n_empty,
                   (ull)m.n_entries);
    if (common->json_path) st = write_json(common->json_path, &stats, err);
    if (!st && imatrix_prints_text(common)) {
        print_tensors(&stats);
        print_layers(&stats);
    }
out:
    tamis_imatrix_stats_release(&stats);
    tamis_imatrix_release(&m);
    return st;
}

typedef struct arguments {
    tamis_common common;
    int64_t chunk_size;
} arguments;

static tamis_status run(void *ctx, const tamis_texts *positional, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    const imatrix_names files = {.items = positional->items, .n_items = positional->n_items};
    if (!files.n_items) return tamis_fail(err, TAMIS_BAD_USAGE, "no file given");
    return imatrix_show_statistics(&args->common, &files, args->chunk_size, log, err);
}

static int statistics_main(int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 'c', "ctx,ctx-size", TAMIS_OPTION_INT, &args.chunk_size, "N", "tokens per chunk of legacy files when they are merged with others", 1, 1 << 24 },
        TAMIS_COMMON_OPTIONS_LIGHT(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"imatrix statistics imatrix.gguf", "the tables of one file"},
        {"imatrix statistics --json - a.gguf b.gguf", "of two, merged, with all digits"},
    };
    const tamis_command command = {
        .name = "imatrix statistics",
        .summary = summary,
        .usage = usage,
        .description =
            "Over the mean squares a of a tensor's input columns (experts that saw nothing left "
            "out): total, smallest and largest, mean, standard deviation sigma, share above 1e-5, "
            "their number N, the entropy of a / total in bits and divided by log2(N), ZD the share "
            "that lies more than one sigma above the mean, and CosSim, the cosine of the sums with "
            "those of the same tensor in the layer before (0 without one). Then the means per "
            "layer. Several files are merged first.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command imatrix_statistics_command = {"statistics", summary, usage,
                                                      statistics_main};
