/* main.c - the gguf tool: look into model files and check them.
 * Parses the command line of a sub-command, calls the library, prints. Results go to
 * standard output, messages to standard error; the exit code is the status. */
#include <stdio.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/terminal.h"
#include "base/threads.h"
#include "gguf/gguf.h"
#include "gguf/show.h"

#define N_OF(table) (sizeof(table) / sizeof(table)[0])

typedef struct arguments {
    tamis_common common;
    bool all, tensors, no_tensors, allow_gaps;
    bool deep, quick;
} arguments;

static tamis_gguf_options reading_options(const arguments *args, const tamis_log *log) {
    return (tamis_gguf_options){.allow_gaps = args->allow_gaps, .log = log};
}

/* --- gguf show --- */

static tamis_status show_file(const arguments *args, const char *path, const tamis_log *log,
                              tamis_error *err) {
    tamis_gguf_show_options options = {.no_tensors = args->no_tensors, .all = args->all};
    tamis_gguf_options reading = reading_options(args, log);
    tamis_gguf *g = NULL;
    cJSON *json = NULL;
    tamis_status st = tamis_gguf_open(path, &reading, &g, err);
    if (st) return st;
    const char *json_path = args->common.json_path;
    if (!json_path || strcmp(json_path, "-")) tamis_gguf_show_text(g, &options, stdout);
    if (json_path) {
        st = tamis_gguf_show_json(g, &options, &json, err);
        if (!st) st = tamis_json_write(json, json_path, err);
    }
    cJSON_Delete(json);
    tamis_gguf_close(g);
    return st;
}

static tamis_status run_show(const arguments *args, const tamis_texts *files, const tamis_log *log,
                             tamis_error *err) {
    if (args->common.json_path && files->n_items > 1)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--json takes one file at a time");
    for (size_t i = 0; i < files->n_items; i++) {
        if (i) putchar('\n');
        tamis_status st = show_file(args, files->items[i], log, err);
        if (st) return st;
    }
    return TAMIS_OK;
}

/* --- gguf check --- */

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
    tamis_gguf_options reading = reading_options(args, log);
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
static tamis_status run_check(const arguments *args, const tamis_texts *files, const tamis_log *log,
                              tamis_error *err) {
    cJSON *root = cJSON_CreateObject(), *results = cJSON_AddArrayToObject(root, "files");
    tamis_status worst = TAMIS_OK;
    if (args->deep && args->quick) {
        cJSON_Delete(root);
        return tamis_fail(err, TAMIS_BAD_USAGE, "--deep and --quick exclude each other");
    }
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

/* --- sub-commands --- */

typedef struct sub_command {
    const char *name, *summary, *description;
    tamis_status (*run)(const arguments *args, const tamis_texts *files, const tamis_log *log,
                        tamis_error *err);
    const tamis_example *examples;
    size_t n_examples;
} sub_command;

static const tamis_example show_examples[] = {
    {"gguf show model.gguf", "header, metadata, tensors and totals"},
    {"gguf show --no-tensors --all model.gguf", "metadata only, nothing shortened"},
    {"gguf show --json - model.gguf", "everything as JSON on standard output"},
};
static const tamis_example check_examples[] = {
    {"gguf check model.gguf", "structure, known keys and every value"},
    {"gguf check --quick *.gguf", "the headers only"},
};
static const sub_command sub_commands[] = {
    {"show", "print what a model file holds",
     "FILE may be any part of a split model: the whole set is opened. A file that breaks the "
     "container's rules is refused with the reason.",
     run_show, show_examples, N_OF(show_examples)},
    {"check", "check structure and values of model files",
     "FILE may be any part of a split model: the whole set is opened. Values and block scales "
     "that are not finite are named; every file is looked at, and the gravest outcome is the "
     "exit code.",
     run_check, check_examples, N_OF(check_examples)},
};

/* clang-format off */
#define READING_OPTIONS(a) \
    { 0, "allow-gaps", TAMIS_OPTION_FLAG, &(a)->allow_gaps, NULL, "read files with unused bytes between tensors", 0, 0 }
/* clang-format on */

/* --json takes a file name, so that "--json model.gguf" alone would replace the model. */
static tamis_status check_output(const arguments *args, const tamis_texts *files,
                                 tamis_error *err) {
    const char *path = args->common.json_path;
    if (!path || strcmp(path, "-") == 0) return TAMIS_OK;
    return tamis_output_check(path, files->items, files->n_items, err);
}

static tamis_status run_sub_command(const sub_command *sub, int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option show_options[] = {
        { 0, "all",        TAMIS_OPTION_FLAG, &args.all,        NULL, "print whole strings and arrays", 0, 0 },
        { 0, "tensors",    TAMIS_OPTION_FLAG, &args.tensors,    NULL, "print the tensor table (default)", 0, 0 },
        { 0, "no-tensors", TAMIS_OPTION_FLAG, &args.no_tensors, NULL, "leave the tensor table out", 0, 0 },
        READING_OPTIONS(&args),
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    const tamis_option check_options[] = {
        { 0, "deep",  TAMIS_OPTION_FLAG, &args.deep,  NULL, "read every value (default)", 0, 0 },
        { 0, "quick", TAMIS_OPTION_FLAG, &args.quick, NULL, "headers only, no tensor data", 0, 0 },
        READING_OPTIONS(&args),
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    /* clang-format on */
    bool is_show = sub->run == run_show;
    char name[32];
    snprintf(name, sizeof name, "gguf %s", sub->name);
    tamis_command command = {
        .name = name,
        .summary = sub->summary,
        .usage = "[options] FILE...",
        .description = sub->description,
        .options = is_show ? show_options : check_options,
        .n_options = is_show ? N_OF(show_options) : N_OF(check_options),
        .examples = sub->examples,
        .n_examples = sub->n_examples,
    };
    tamis_texts files = {0};
    tamis_error err = {0};
    tamis_status st = tamis_options_parse(&command, argc, argv, &files, &err);
    if (tamis_common_handled(&args.common, &command)) {
        st = TAMIS_OK;
        goto out;
    }
    if (!st && !files.n_items) st = tamis_fail(&err, TAMIS_BAD_USAGE, "no file given");
    if (!st) st = check_output(&args, &files, &err);
    if (!st) {
        tamis_log log = tamis_log_to_stream(stderr, args.common.quiet);
        st = sub->run(&args, &files, &log, &err);
    }
    if (!st) st = tamis_flush_results(&err);
    if (st) (void)tamis_report(name, &err);
out:
    tamis_texts_release(&files);
    return st;
}

/* --help and the like before any sub-command, or no sub-command that exists. */
static tamis_status run_bare(int argc, char **argv) {
    tamis_common common = {0};
    const tamis_option options[] = {TAMIS_COMMON_OPTIONS(&common)};
    static const tamis_example examples[] = {
        {"gguf show model.gguf", "print what a file holds"},
        {"gguf check model.gguf", "check structure and every value"},
        {"gguf show --help", "the options of a sub-command"},
    };
    const char *names[N_OF(sub_commands)];
    char usage[256];
    size_t n = 0;
    for (size_t i = 0; i < N_OF(sub_commands); i++) {
        names[i] = sub_commands[i].name;
        n += (size_t)snprintf(usage + n, sizeof usage - n, "%s%s [options] FILE...", i ? "\n" : "",
                              names[i]);
    }
    tamis_command command = {
        .name = "gguf",
        .summary = "look into model files and check them",
        .usage = usage,
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
        .options_first = true,
    };
    tamis_texts words = {0};
    tamis_error err = {0};
    tamis_status st = tamis_options_parse(&command, argc, argv, &words, &err);
    if (tamis_common_handled(&common, &command)) {
        tamis_texts_release(&words);
        return TAMIS_OK;
    }
    if (!st && !words.n_items)
        st = tamis_fail(&err, TAMIS_BAD_USAGE, "no sub-command given (show or check)");
    if (!st) {
        const char *near = tamis_nearest(words.items[0], names, N_OF(names));
        st = tamis_fail(&err, TAMIS_BAD_USAGE, "unknown sub-command '%s'%s%s%s", words.items[0],
                        near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    }
    tamis_texts_release(&words);
    return (tamis_status)tamis_report("gguf", &err);
}

int main(int argc, char **argv) {
    tamis_interrupt_install();
    tamis_formats_init();
    for (size_t i = 0; argc > 1 && i < N_OF(sub_commands); i++)
        if (!strcmp(argv[1], sub_commands[i].name))
            return (int)run_sub_command(&sub_commands[i], argc - 1, argv + 1);
    return (int)run_bare(argc, argv);
}
