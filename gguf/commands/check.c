/* check.c - "gguf check": check structure, model, tokenizer and values of model files. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/terminal.h"
#include "gguf/check.h"
#include "gguf/commands/commands.h"

typedef unsigned long long ull;

static const char summary[] = "check structure, tokenizer and values of model files";
static const char usage[] = "[options] FILE...";

/* Memory behind the metadata, and of a thread. */
enum { BASE_BYTES = 4 << 20, WORKER_BYTES = 2 << 20 };

typedef struct arguments {
    tamis_common common;
    bool deep, quick, tokenizer, strict, allow_gaps;
} arguments;

typedef struct check_report {
    const arguments *args;
    const char *path;
    cJSON *findings, *remarks; /* NULL without --json */
    bool is_silent;            /* --json - owns standard output */
    int64_t n_errors, n_warnings;
} check_report;

static void print_finding(const check_report *report, const tamis_gguf_finding *f) {
    char name[160];
    tamis_escape(f->tensor, strlen(f->tensor), name, sizeof name);
    const char *s = f->n_bad == 1 ? "" : "s";
    printf("%s: tensor '%s': ", report->path, name);
    switch (f->kind) {
    case TAMIS_FINDING_VALUE:
        printf("%llu non-finite value%s, the first in row %llu, column %llu\n", (ull)f->n_bad, s,
               (ull)f->row, (ull)f->block);
        break;
    case TAMIS_FINDING_SCALE:
        printf("%llu non-finite block scale%s, the first in row %llu, block %llu\n", (ull)f->n_bad,
               s, (ull)f->row, (ull)f->block);
        break;
    case TAMIS_FINDING_DECODED:
        printf("%llu block%s that decode%s to values that are not finite, the first in row %llu, "
               "block %llu\n",
               (ull)f->n_bad, s, f->n_bad == 1 ? "s" : "", (ull)f->row, (ull)f->block);
        break;
    case TAMIS_FINDING_ZEROS:
        printf("warning: all %llu values are 0\n", (ull)f->n_bad);
        break;
    case TAMIS_FINDING_PADDING:
        printf("warning: %llu byte%s behind it that should be 0\n", (ull)f->n_bad, s);
        break;
    }
}

static void take_finding(void *ctx, const tamis_gguf_finding *f) {
    check_report *report = ctx;
    report->n_warnings += !tamis_finding_is_bad(f->kind);
    if (!report->is_silent) {
        gguf_clear_bar();
        print_finding(report, f);
        fflush(stdout);
    }
    if (!report->findings) return;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(report->findings, item);
    tamis_json_add_bytes(item, "tensor", f->tensor, strlen(f->tensor));
    tamis_json_add_uint(item, "row", f->row);
    tamis_json_add_uint(item, "block", f->block);
    tamis_json_add_uint(item, "n_bad", f->n_bad);
    cJSON_AddStringToObject(item, "kind", tamis_finding_kind_name(f->kind));
}

static void take_remark(void *ctx, const tamis_check_remark *remark) {
    check_report *report = ctx;
    const char *grade = tamis_check_grade_name(remark->grade);
    report->n_errors += remark->grade == TAMIS_CHECK_ERROR;
    report->n_warnings += remark->grade == TAMIS_CHECK_WARNING;
    if (!report->is_silent && (remark->grade != TAMIS_CHECK_NOTE || !report->args->common.quiet))
        printf("%s: %s: %s: %s\n", report->path, remark->part, grade, remark->text);
    if (!report->remarks) return;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(report->remarks, item);
    cJSON_AddStringToObject(item, "part", remark->part);
    cJSON_AddStringToObject(item, "grade", grade);
    tamis_json_add_bytes(item, "text", remark->text, strlen(remark->text));
}

static void print_ok(const check_report *report, const tamis_gguf *g) {
    const int64_t n = report->n_warnings;
    printf("%s: ok (%d keys, %lld tensors", report->path, tamis_gguf_n_kv(g),
           (long long)tamis_gguf_n_tensors(g));
    if (tamis_gguf_n_files(g) > 1) printf(" in %d files", tamis_gguf_n_files(g));
    if (tamis_gguf_trailing_bytes(g))
        printf(", %llu bytes behind them", (ull)tamis_gguf_trailing_bytes(g));
    if (n) printf(", %lld warning%s", (long long)n, n == 1 ? "" : "s");
    puts(report->args->tokenizer ? "; tokenizer only)"
         : report->args->quick   ? "; values not read)"
                                 : ")");
}

static void start_json(check_report *report, const tamis_gguf *g, cJSON *results) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(results, item);
    tamis_json_add_bytes(item, "file", report->path, strlen(report->path));
    tamis_json_add_int(item, "n_files", tamis_gguf_n_files(g));
    tamis_json_add_int(item, "n_keys", tamis_gguf_n_kv(g));
    tamis_json_add_int(item, "n_tensors", tamis_gguf_n_tensors(g));
    tamis_json_add_uint(item, "trailing_bytes", tamis_gguf_trailing_bytes(g));
    const bool reads_values = !report->args->quick && !report->args->tokenizer;
    cJSON_AddBoolToObject(item, "values_checked", reads_values);
    cJSON_AddBoolToObject(item, "deep", report->args->deep);
    report->findings = cJSON_AddArrayToObject(item, "findings");
    report->remarks = cJSON_AddArrayToObject(item, "remarks");
    report->is_silent = !strcmp(report->args->common.json_path, "-");
}

static tamis_status judge(const check_report *report, const tamis_gguf *g, int64_t n_bad,
                          tamis_error *err) {
    const char *path = report->path;
    if (n_bad)
        return tamis_fail(err, TAMIS_CHECK_FAILED,
                          "%s: %lld of %lld tensors hold values that are not finite", path,
                          (long long)n_bad, (long long)tamis_gguf_n_tensors(g));
    if (report->n_errors)
        return tamis_fail(err, TAMIS_CHECK_FAILED, "%s: %lld errors in model and tokenizer", path,
                          (long long)report->n_errors);
    if (report->args->strict && report->n_warnings)
        return tamis_fail(err, TAMIS_CHECK_FAILED, "%s: %lld warnings, and --strict", path,
                          (long long)report->n_warnings);
    return TAMIS_OK;
}

/* One file: structure by opening it, then what it says, then its values. */
static tamis_status check_file(const arguments *args, const char *path, tamis_pool *pool,
                               const tamis_log *log, cJSON *results, tamis_error *err) {
    const tamis_gguf_options reading = {.allow_gaps = args->allow_gaps, .no_map = true, .log = log};
    check_report report = {.args = args, .path = path};
    tamis_gguf *g = NULL;
    int64_t n_bad = 0;
    tamis_status st = tamis_gguf_open(path, &reading, &g, err);
    if (st) return st;
    if (args->common.json_path) start_json(&report, g, results);
    if (!args->tokenizer) st = tamis_gguf_check_model(g, take_remark, &report, err);
    if (!st) st = tamis_gguf_check_tokenizer(g, take_remark, &report, err);
    if (!st && !args->quick && !args->tokenizer) {
        tamis_check_options options = {.deep = args->deep, .pool = pool};
        options.progress = tamis_progress_new(stderr, args->common.quiet);
        st = tamis_gguf_check_values(g, &options, take_finding, &report, &n_bad, err);
        tamis_progress_free(options.progress);
    }
    if (!st) st = judge(&report, g, n_bad, err);
    if (!st && !report.is_silent) print_ok(&report, g);
    tamis_gguf_close(g);
    return st;
}

/* Every file is looked at; the gravest outcome is the status. */
static tamis_status check_files(const arguments *args, const tamis_texts *files,
                                const tamis_log *log, tamis_error *err) {
    tamis_pool *pool = NULL;
    tamis_status worst = gguf_pool_new(&args->common, BASE_BYTES, WORKER_BYTES, &pool, err);
    if (worst) return worst;
    cJSON *root = cJSON_CreateObject(), *results = cJSON_AddArrayToObject(root, "files");
    for (size_t i = 0; i < files->n_items && worst != TAMIS_INTERRUPTED; i++) {
        tamis_error own;
        tamis_status st = check_file(args, files->items[i], pool, log, results, &own);
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
    tamis_pool_free(pool);
    return worst;
}

static tamis_status run(void *ctx, const tamis_texts *files, const tamis_log *log,
                        tamis_error *err) {
    const arguments *args = ctx;
    if (!files->n_items) return tamis_fail(err, TAMIS_BAD_USAGE, "no file given");
    if (args->deep && args->quick)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--deep and --quick exclude each other");
    if (args->deep && args->tokenizer)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--deep and --tokenizer exclude each other");
    tamis_status st = gguf_check_json_path(&args->common, files, err);
    return st ? st : check_files(args, files, log, err);
}

static const char description[] =
    "Structure is checked by opening a file: every rule of the container and of the known keys, "
    "and that a split set is complete (FILE may be any part of it). Then keys and tensor table are "
    "held against each other, and the tokenizer against itself; then all data is read: stored "
    "values and block scales that are not finite are named. With --deep every block is decoded as "
    "well, tensors that are 0 throughout are named, and the bytes between tensors must be 0. "
    "Warnings do not fail a file unless --strict is given. Every file is looked at, and the "
    "gravest outcome is the exit code.";

static int check_main(int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "deep",  TAMIS_OPTION_FLAG, &args.deep,  NULL, "decode every block too", 0, 0 },
        { 0, "quick", TAMIS_OPTION_FLAG, &args.quick, NULL, "headers only, no tensor data", 0, 0 },
        { 0, "tokenizer", TAMIS_OPTION_FLAG, &args.tokenizer, NULL, "the tokenizer only", 0, 0 },
        { 0, "strict", TAMIS_OPTION_FLAG, &args.strict, NULL, "warnings fail a file too", 0, 0 },
        GGUF_READING_OPTIONS(&args.allow_gaps),
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf check model.gguf", "structure, tokenizer, scales and stored values"},
        {"gguf check --deep --strict model.gguf", "before publishing"},
        {"gguf check --quick *.gguf", "the headers only"},
        {"gguf check --tokenizer model.gguf", "special tokens, types, bytes, merges"},
    };
    const tamis_command command = {
        .name = "gguf check",
        .summary = summary,
        .usage = usage,
        .description = description,
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_check_command = {"check", summary, usage, check_main};
