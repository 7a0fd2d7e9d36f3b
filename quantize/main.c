/* main.c - the command "quantize": arguments in, the plan and the result printed.
 * Argument order as people know it from llama-quantize. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/terminal.h"
#include "base/threads.h"
#include "quantize/quantize.h"
#include "quantize/report.h"

typedef struct arguments {
    tamis_common common;
    bool pure, protect, no_borrow, leave_output, allow_requantize, dry_run, lax, no_self_check,
        sha256, keep_split;
    uint64_t shard_bytes;
    int64_t shard_tensors;
    const char *imatrix, *effort, *output_type, *embedding_type, *prune;
    tamis_texts rules, rule_files, include, exclude, overrides, positional;
    /* rules and files of them, in the order of the command line */
    const char **all_rules;
    bool *rule_is_file;
    /* from the positional arguments */
    const char *input, *output;
    char *output_made; /* when no output was given */
    const tamis_file_type *file_type;
} arguments;

/* --- arguments --- */

static tamis_status unknown_type(const char *text, tamis_error *err) {
    int n_rows;
    const tamis_file_type *rows = tamis_file_type_table(&n_rows);
    const char *names[64];
    size_t n_names = 0;
    for (int i = 0; i < n_rows && n_names < 64; i++)
        names[n_names++] = rows[i].name;
    const char *nearest = tamis_nearest(text, names, n_names), *removed = NULL;
    int64_t number;
    if (!tamis_parse_int(text, 0, 1000, "type", &number, NULL))
        removed = tamis_file_type_name(number);
    if (removed)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "file type %s (%s) was removed from the format and cannot be made", text,
                          removed);
    return tamis_fail(err, TAMIS_BAD_USAGE, "unknown type '%s'%s%s", text,
                      nearest ? "; did you mean " : "", nearest ? nearest : "");
}

/* "<folder of the input>/ggml-model-<TYPE>.gguf", as people know it. */
static tamis_status make_output_name(arguments *a, tamis_error *err) {
    const char *slash = strrchr(a->input, '/');
    int n_folder = slash ? (int)(slash - a->input + 1) : 0;
    if (asprintf(&a->output_made, "%.*sggml-model-%s.gguf", n_folder, a->input,
                 a->file_type->name) < 0) {
        a->output_made = NULL;
        return tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory");
    }
    a->output = a->output_made;
    return TAMIS_OK;
}

/* input.gguf [output.gguf] TYPE [nthreads] */
static tamis_status read_positional(arguments *a, tamis_error *err) {
    const char **p = a->positional.items;
    size_t n = a->positional.n_items;
    if (n < 2)
        return tamis_fail(
            err, TAMIS_BAD_USAGE,
            "give an input file and a type: input.gguf [output.gguf] TYPE [nthreads]");
    size_t i_type = 1;
    a->input = p[0];
    a->file_type = tamis_file_type_find(p[1]);
    if (!a->file_type && n > 2) {
        i_type = 2;
        a->output = p[1];
        a->file_type = tamis_file_type_find(p[2]);
    }
    if (!a->file_type) return unknown_type(p[i_type], err);
    if (n > i_type + 2)
        return tamis_fail(err, TAMIS_BAD_USAGE, "one argument too many: '%s'", p[i_type + 2]);
    if (n > i_type + 1) {
        int64_t n_threads;
        tamis_status st = tamis_parse_int(p[i_type + 1], -1024, 1024, "nthreads", &n_threads, err);
        if (st) return st;
        a->common.n_threads = n_threads > 0 ? n_threads : 0;
    }
    return a->output ? TAMIS_OK : make_output_name(a, err);
}

static tamis_status read_type(const char *text, const char *option, const tamis_type **out,
                              tamis_error *err) {
    if (!text) return TAMIS_OK;
    *out = tamis_type_by_name(text);
    if (!*out) return tamis_fail(err, TAMIS_BAD_USAGE, "%s: unknown type '%s'", option, text);
    if (!tamis_can_encode(*out))
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s: %s cannot be encoded", option, (*out)->name);
    return TAMIS_OK;
}

/* The option table has looked at the text already. */
static tamis_effort read_effort(const char *text) {
    tamis_effort e = TAMIS_EFFORT_FAST;
    while (text && e < TAMIS_EFFORT_BEST && strcmp(text, tamis_effort_name(e)) != 0)
        e++;
    return text ? e : TAMIS_EFFORT_NORMAL;
}

/* Where a text lies in argv, which it was borrowed from. */
static int position_of(const char *text, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (text >= argv[i] && text <= argv[i] + strlen(argv[i])) return i;
    return argc;
}

/* The first rule that matches wins, so the two options keep their order. */
static tamis_status order_rules(arguments *a, int argc, char **argv, tamis_error *err) {
    size_t n = a->rules.n_items + a->rule_files.n_items, i = 0, k = 0;
    a->all_rules = tamis_alloc_array(n, sizeof *a->all_rules, err);
    a->rule_is_file = a->all_rules ? tamis_alloc_array(n, sizeof *a->rule_is_file, err) : NULL;
    if (!a->rule_is_file) return TAMIS_NO_RESOURCE;
    while (i + k < n) {
        bool is_file = i == a->rules.n_items || (k < a->rule_files.n_items &&
                                                 position_of(a->rule_files.items[k], argc, argv) <
                                                     position_of(a->rules.items[i], argc, argv));
        a->rule_is_file[i + k] = is_file;
        const char *text = is_file ? a->rule_files.items[k] : a->rules.items[i];
        a->all_rules[i + k] = text;
        if (is_file)
            k++;
        else
            i++;
    }
    return TAMIS_OK;
}

static tamis_status make_options(const arguments *a, const tamis_log *log,
                                 tamis_quantize_options *o, tamis_error *err) {
    *o = (tamis_quantize_options){
        .file_type = a->file_type,
        .pure = a->pure,
        .protect = a->protect,
        .leave_output = a->leave_output,
        .allow_requantize = a->allow_requantize,
        .lax = a->lax,
        .effort = read_effort(a->effort),
        .sha256 = a->sha256,
        .no_self_check = a->no_self_check,
        .keep_split = a->keep_split,
        .shard_bytes = a->shard_bytes,
        .shard_tensors = (uint64_t)a->shard_tensors,
        .rules = a->all_rules,
        .rule_is_file = a->rule_is_file,
        .n_rules = a->rules.n_items + a->rule_files.n_items,
        .imatrix_path = a->imatrix,
        .include = a->include.items,
        .n_include = a->include.n_items,
        .exclude = a->exclude.items,
        .n_exclude = a->exclude.n_items,
        .no_borrow = a->no_borrow,
        .prune = a->prune,
        .overrides = a->overrides.items,
        .n_overrides = a->overrides.n_items,
        .log = log,
    };
    tamis_status st = read_type(a->output_type, "--output-tensor-type", &o->output_type, err);
    if (st == TAMIS_OK)
        st = read_type(a->embedding_type, "--token-embedding-type", &o->embedding_type, err);
    return st;
}

/* --- the work --- */

/* What cannot be written, or would replace an input, is known before the work. */
static tamis_status check_outputs(const arguments *a, tamis_error *err) {
    const char *json_path = a->common.json_path;
    const char *const others[] = {a->input, a->imatrix, a->dry_run ? NULL : a->output};
    bool is_file = json_path && strcmp(json_path, "-") != 0;
    bool is_set = a->keep_split || a->shard_bytes > 0 || a->shard_tensors > 0;
    tamis_status st = TAMIS_OK;
    if (!a->dry_run && !is_set) st = tamis_output_check(a->output, others, 2, err);
    if (!st && is_file) st = tamis_output_check(json_path, others, 3, err);
    for (size_t i = 0; !st && is_file && i < a->rule_files.n_items; i++)
        st = tamis_output_check(json_path, &a->rule_files.items[i], 1, err);
    return st;
}

static tamis_status work(const arguments *a, tamis_error *err) {
    double start = tamis_now_s(), estimate_s = -1;
    tamis_log log = tamis_log_to_stream(stderr, a->common.quiet);
    /* A dry run's plan is its result. */
    bool plan_is_result = a->dry_run && !(a->common.json_path && !strcmp(a->common.json_path, "-"));
    tamis_log plan_log = plan_is_result ? tamis_log_to_stream(stdout, false) : log;
    tamis_quantize_options options;
    tamis_quantize_plan *plan = NULL;
    tamis_gguf *source = NULL;
    tamis_progress *progress = NULL;
    tamis_budget budget;
    tamis_budget_init(&budget, a->common.mem_bytes);
    /* Reads rather than a mapping: a mapped file would count as this program's memory. */
    const tamis_gguf_options open_options = {.no_map = true, .log = &log};
    tamis_status st = make_options(a, &log, &options, err);
    if (st == TAMIS_OK) st = check_outputs(a, err);
    if (st == TAMIS_OK) st = tamis_gguf_open(a->input, &open_options, &source, err);
    if (st == TAMIS_OK) st = tamis_quantize_plan_new(source, &options, &plan, err);
    if (st == TAMIS_OK && !plan_log.is_quiet)
        st = tamis_quantize_estimate(plan, (int)a->common.n_threads, &estimate_s, err);
    if (st) goto out;
    tamis_quantize_report_plan(plan, estimate_s, &plan_log);
    tamis_quantize_report_protection(plan, &log);
    if (!a->dry_run) {
        progress = tamis_progress_new(stderr, a->common.quiet);
        st = tamis_quantize_run(plan, a->output, (int)a->common.n_threads, &budget, progress, err);
        if (st) goto out;
        tamis_quantize_report_result(plan, a->output, tamis_now_s() - start, &log);
    }
    if (plan_is_result) st = tamis_flush_results(err);
    if (st == TAMIS_OK && a->common.json_path) {
        const tamis_quantize_names names = {a->input, a->dry_run ? NULL : a->output, a->imatrix};
        st = tamis_quantize_report_json(plan, &names, tamis_now_s() - start, a->common.json_path,
                                        err);
    }
out:
    tamis_progress_free(progress);
    tamis_quantize_plan_free(plan);
    tamis_gguf_close(source);
    return st;
}

/* Bits per weight of what a file type gives most tensors; above all others for COPY. */
static double base_bits(const tamis_file_type *row) {
    const tamis_type *type = tamis_type_by_id(row->base_type_id);
    return type ? 8.0 * (double)type->block_bytes / (double)type->block_elems : 99;
}

/* The rows, smallest types first; equals stay in the order of the table. */
static int sort_types(const tamis_file_type *sorted[64]) {
    int n_rows, n = 0;
    const tamis_file_type *rows = tamis_file_type_table(&n_rows);
    for (int i = 0; i < n_rows && n < 64; i++) {
        int at = n++;
        for (; at > 0 && base_bits(sorted[at - 1]) > base_bits(&rows[i]); at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = &rows[i];
    }
    return n;
}

/* The offered types, for the end of --help. */
static char *describe_types(void) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *f = open_memstream(&text, &n_bytes);
    if (!f) return NULL;
    const tamis_file_type *rows[64];
    int n_rows = sort_types(rows);
    fprintf(
        f,
        "Without an output the result is ggml-model-TYPE.gguf beside the input. TYPE is a name or "
        "a number, case does not matter; bits are bits per weight of most tensors, and a mix "
        "gives more to those that need them:\n\n"
        "  TYPE     number    bits  remark\n");
    for (int i = 0; i < n_rows; i++)
        if (rows[i]->id >= 0)
            fprintf(f, "  %-9s %5d  %6.3f  %s\n", rows[i]->name, rows[i]->id, base_bits(rows[i]),
                    rows[i]->help);
        else
            fprintf(f, "  %-9s %5s  %6s  %s\n", rows[i]->name, "-", "-", rows[i]->help);
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

/* What shells offer for TYPE and for T (what can be encoded). */
static size_t list_file_types(const char *names[64]) {
    const tamis_file_type *rows[64];
    int n = sort_types(rows);
    for (int i = 0; i < n; i++)
        names[i] = rows[i]->name;
    return (size_t)n;
}

static size_t list_types(const char *names[64]) {
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    size_t n = 0;
    for (int i = 0; i < n_types && n < 64; i++)
        if (tamis_can_encode(&types[i])) names[n++] = types[i].name;
    return n;
}

int main(int argc, char **argv) {
    arguments a = {0};
    /* clang-format off */
    const tamis_option options[] = {
        {0, "imatrix", TAMIS_OPTION_TEXT, &a.imatrix, "FILE", "importance matrix that says which weights matter", 0, 0},
        {0, "include-weights", TAMIS_OPTION_TEXTS, &a.include, "NAME", "use only its entries whose name holds this; repeatable", 0, 0},
        {0, "exclude-weights", TAMIS_OPTION_TEXTS, &a.exclude, "NAME", "drop its entries whose name holds this; repeatable", 0, 0},
        {0, "no-borrow", TAMIS_OPTION_FLAG, &a.no_borrow, NULL, "experts that saw few tokens use their own importance alone, as in llama-quantize", 0, 0},
        {0, "effort", TAMIS_OPTION_TEXT, &a.effort, "fast|normal|best", "how long the encoders search; the error of a row never rises with it (default: normal)", 0, 0},
        {0, "pure", TAMIS_OPTION_FLAG, &a.pure, NULL, "one type for all weights, no mix", 0, 0},
        {0, "protect", TAMIS_OPTION_FLAG, &a.protect, NULL, "keep routers, convolutions, decay and gates as in the parent; more bits for ssm_out and attn_output than by the mix", 0, 0},
        {0, "leave-output-tensor", TAMIS_OPTION_FLAG, &a.leave_output, NULL, "keep output.weight as it is", 0, 0},
        {0, "output-tensor-type", TAMIS_OPTION_TEXT, &a.output_type, "T", "type of output.weight, e.g. q6_K", 0, 0},
        {0, "token-embedding-type", TAMIS_OPTION_TEXT, &a.embedding_type, "T", "type of the token embeddings", 0, 0},
        {0, "tensor-type", TAMIS_OPTION_TEXTS, &a.rules, "REGEX=T", "type of tensors whose name matches; the first rule wins; repeatable", 0, 0},
        {0, "tensor-type-file", TAMIS_OPTION_TEXTS, &a.rule_files, "FILE", "such rules from a file, separated by white space; repeatable", 0, 0},
        {0, "prune-layers", TAMIS_OPTION_TEXT, &a.prune, "L0,L1,...", "leave these layers out and number the rest anew", 0, 0},
        {0, "override-kv", TAMIS_OPTION_TEXTS, &a.overrides, "KEY=TYPE:VALUE", "set a key of the result; TYPE is int, float, bool or str; repeatable", 0, 0},
        {0, "keep-split", TAMIS_OPTION_FLAG, &a.keep_split, NULL, "a file of the result for each file of a split input", 0, 0},
        {0, "shard-size", TAMIS_OPTION_SIZE, &a.shard_bytes, "SIZE", "spread the result over files of at most this much tensor data, e.g. 40G", 0, 0},
        {0, "shard-tensors", TAMIS_OPTION_INT, &a.shard_tensors, "N", "spread the result over files of at most N tensors", 1, INT32_MAX},
        {0, "allow-requantize", TAMIS_OPTION_FLAG, &a.allow_requantize, NULL, "accept a source that is quantized already, with its loss", 0, 0},
        {0, "lax", TAMIS_OPTION_FLAG, &a.lax, NULL, "a rule, name or key without effect is a warning, not an error", 0, 0},
        {0, "sha256", TAMIS_OPTION_FLAG, &a.sha256, NULL, "name the parent by its SHA-256, as hubs do, rather than by XXH3-128; slower", 0, 0},
        {0, "no-self-check", TAMIS_OPTION_FLAG, &a.no_self_check, NULL, "do not read the result back", 0, 0},
        {0, "dry-run", TAMIS_OPTION_FLAG, &a.dry_run, NULL, "print the plan, exact to the byte, and write nothing", 0, 0},
        TAMIS_COMMON_OPTIONS(&a.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"quantize parent.gguf small.gguf Q4_K_M", "a good default"},
        {"quantize --imatrix imatrix.gguf parent.gguf small.gguf Q3_K_M",
         "spend bits where the importance matrix says they matter"},
        {"quantize --protect --imatrix imatrix.gguf parent.gguf small.gguf Q4_K_M",
         "leave alone what steers experts and recurrent layers"},
        {"quantize --tensor-type 'ffn_down=q6_K' parent.gguf small.gguf Q4_K_S",
         "another type for some tensors"},
        {"quantize --tensor-type-file rules.txt --shard-size 40G parent.gguf small.gguf Q4_K_M",
         "rules from a file; several files of at most 40 GB"},
        {"quantize --dry-run parent.gguf Q5_K_M", "sizes only"},
    };
    tamis_formats_init();
    char *types = describe_types();
    const char *file_type_names[64], *type_names[64];
    const tamis_words words[] = {
        {"TYPE", file_type_names, list_file_types(file_type_names)},
        {"T", type_names, list_types(type_names)},
    };
    const tamis_command command = {
        .name = "quantize",
        .summary = "turn full-precision weights into a smaller model file",
        .usage = "[options] input.gguf [output.gguf] TYPE [nthreads]",
        .description = types,
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .examples = examples,
        .n_examples = sizeof examples / sizeof *examples,
        .words = words,
        .n_words = sizeof words / sizeof *words,
    };
    tamis_error err = {0};
    tamis_status st = tamis_options_parse(&command, argc, argv, &a.positional, &err);
    int code;
    if (tamis_common_handled(&a.common, &command)) {
        code = 0;
    } else {
        if (st == TAMIS_OK) st = read_positional(&a, &err);
        if (st == TAMIS_OK) st = order_rules(&a, argc, argv, &err);
        tamis_interrupt_install();
        if (st == TAMIS_OK) st = work(&a, &err);
        code = st ? tamis_report("quantize", &err) : 0;
    }
    free(types);
    free(a.output_made);
    free(a.all_rules);
    free(a.rule_is_file);
    tamis_texts_release(&a.rules);
    tamis_texts_release(&a.rule_files);
    tamis_texts_release(&a.overrides);
    tamis_texts_release(&a.include);
    tamis_texts_release(&a.exclude);
    tamis_texts_release(&a.positional);
    return code;
}
