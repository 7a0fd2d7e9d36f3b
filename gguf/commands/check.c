/* check.c - "gguf check": check structure and values of model files. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/terminal.h"
#include "gguf/commands/commands.h"

static const char summary[] = "check structure and values of model files";
static const char usage[] = "[options] FILE...";

typedef struct arguments {
    tamis_common common;
    bool deep, quick, allow_gaps;
} arguments;

typedef struct check_report {
    const char *path;
    cJSON *findings; /* NULL without --json */
    bool is_silent;  /* --json - owns standard output */
} check_report;

static void report_finding(void *ctx, const tamis_gguf_finding *finding) {
    const check_report *report = ctx;
    char name[160];
    tamis_escape(finding->tensor, strlen(finding->tensor), name, sizeof name);
    if (!report->is_silent)
        printf("%s: tensor '%s': %llu non-finite %s%s, the first in row %llu, %s %llu\n",
               report->path, name, (unsigned long long)finding->n_bad,
               finding->is_scale ? "block scale" : "value", finding->n_bad == 1 ? "" : "s",
               (unsigned long long)finding->row, finding->is_scale ? "block" : "column",
               (unsigned long long)finding->block);
    if (!report->findings) return;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(report->findings, item);
    tamis_json_add_bytes(item, "tensor", finding->tensor, strlen(finding->tensor));
    tamis_json_add_uint(item, "row", finding->row);
    tamis_json_add_uint(item, "block", finding->block);
    tamis_json_add_uint(item, "n_bad", finding->n_bad);
    cJSON_AddStringToObject(item, "kind", finding->is_scale ? "scale" : "value");
}

static void print_ok(const arguments *args, const tamis_gguf *g, const char *path) {
    printf("%s: ok (%d keys, %lld tensors", path, tamis_gguf_n_kv(g),
           (long long)tamis_gguf_n_tensors(g));
    if (tamis_gguf_n_files(g) > 1) printf(" in %d files", tamis_gguf_n_files(g));
    if (tamis_gguf_trailing_bytes(g))
        printf(", %llu bytes behind them", (unsigned long long)tamis_gguf_trailing_bytes(g));
    puts(args->quick ? "; values not read)" : ")");
}

/* One file: structure by opening it, then its values. TAMIS_CHECK_FAILED when some are bad. */
static tamis_status check_file(const arguments *args, const char *path, const tamis_log *log,
                               cJSON *results, tamis_error *err) {
    tamis_gguf_options reading = {.allow_gaps = args->allow_gaps, .log = log};
    tamis_gguf *g = NULL;
    int64_t n_bad = 0;
    tamis_status st = tamis_gguf_open(path, &reading, &g, err);
    if (st) return st;
    check_report report = {.path = path};
    if (args->common.json_path) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(results, item);
        tamis_json_add_bytes(item, "file", path, strlen(path));
        tamis_json_add_int(item, "n_files", tamis_gguf_n_files(g));
        tamis_json_add_int(item, "n_keys", tamis_gguf_n_kv(g));
        tamis_json_add_int(item, "n_tensors", tamis_gguf_n_tensors(g));
        tamis_json_add_uint(item, "trailing_bytes", tamis_gguf_trailing_bytes(g));
        cJSON_AddBoolToObject(item, "values_checked", !args->quick);
        report.findings = cJSON_AddArrayToObject(item, "findings");
        report.is_silent = !strcmp(args->common.json_path, "-");
    }
    if (!args->quick) st = tamis_gguf_check_values(g, report_finding, &report, &n_bad, err);
    if (!st && n_bad)
        st = tamis_fail(err, TAMIS_CHECK_FAILED,
                        "%s: %lld of %lld tensors hold values that are not finite", path,
                        (long long)n_bad, (long long)tamis_gguf_n_tensors(g));
    if (!st && !report.is_silent) print_ok(args, g, path);
    tamis_gguf_close(g);
    return st;
}

/* Every file is looked at; the gravest outcome is the status. */
static tamis_status check_files(const arguments *args, const tamis_texts *files,
                                const tamis_log *log, tamis_error *err) {
    cJSON *root = cJSON_CreateObject(), *results = cJSON_AddArrayToObject(root, "files");
    tamis_status worst = TAMIS_OK;
    for (size_t i = 0; i < files->n_items && worst != TAMIS_INTERRUPTED; i++) {
        tamis_error own;
        tamis_status st = check_file(args, files->items[i], log, results, &own);
        if (!st) continue;
        if (worst && st <= worst)
            (void)tamis_report("gguf check", &own);
        else if (worst)
            (void)tamis_report("gguf check", err);
        if (st > worst) {
            worst = st;
            *err = own;
        }
    }
    if (args->common.json_path) {
        tamis_error json_err;
        tamis_status st = tamis_json_write(root, args->common.json_path, &json_err);
        if (st > worst) {
            worst = st;
            *err = json_err;
        }
    }
    cJSON_Delete(root);
    return worst;
}

static tamis_status run(void *ctx, const tamis_texts *files, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    if (!files->n_items) return tamis_fail(err, TAMIS_BAD_USAGE, "no file given");
    if (args->deep && args->quick)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--deep and --quick exclude each other");
    tamis_status st = gguf_check_json_path(&args->common, files, err);
    return st ? st : check_files(args, files, log, err);
}

static int check_main(int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "deep",  TAMIS_OPTION_FLAG, &args.deep,  NULL, "read every value (default)", 0, 0 },
        { 0, "quick", TAMIS_OPTION_FLAG, &args.quick, NULL, "headers only, no tensor data", 0, 0 },
        GGUF_READING_OPTIONS(&args.allow_gaps),
        TAMIS_COMMON_OPTIONS_LIGHT(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf check model.gguf", "structure, known keys and every value"},
        {"gguf check --quick *.gguf", "the headers only"},
    };
    const tamis_command command = {
        .name = "gguf check",
        .summary = summary,
        .usage = usage,
        .description =
            "FILE may be any part of a split model: the whole set is opened. Values and block "
            "scales that are not finite are named; every file is looked at, and the gravest "
            "outcome is the exit code.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_check_command = {"check", summary, usage, check_main};
