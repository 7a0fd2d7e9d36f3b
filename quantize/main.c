/* main.c - the command "quantize": arguments in, the plan and the result printed.
 * Argument order as people know it from llama-quantize. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/terminal.h"
#include "base/threads.h"
#include "quantize/quantize.h"

typedef struct arguments {
    tamis_common common;
    bool pure, leave_output, allow_requantize, dry_run;
    const char *imatrix, *output_type, *embedding_type;
    tamis_texts rules, include, exclude, positional;
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
    const char *nearest = tamis_nearest(text, names, n_names);
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
    if (!(*out)->encode)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s: %s cannot be encoded yet", option,
                          (*out)->name);
    return TAMIS_OK;
}

static tamis_status make_options(const arguments *a, const tamis_log *log,
                                 tamis_quantize_options *o, tamis_error *err) {
    *o = (tamis_quantize_options){
        .file_type = a->file_type,
        .pure = a->pure,
        .leave_output = a->leave_output,
        .allow_requantize = a->allow_requantize,
        .rules = a->rules.items,
        .n_rules = a->rules.n_items,
        .imatrix_path = a->imatrix,
        .include = a->include.items,
        .n_include = a->include.n_items,
        .exclude = a->exclude.items,
        .n_exclude = a->exclude.n_items,
        .log = log,
    };
    tamis_status st = read_type(a->output_type, "--output-tensor-type", &o->output_type, err);
    if (st == TAMIS_OK)
        st = read_type(a->embedding_type, "--token-embedding-type", &o->embedding_type, err);
    return st;
}

/* --- what is printed --- */

static void print_step(const tamis_log *log, const tamis_quantize_plan *plan, int64_t i) {
    const tamis_quantize_step *s = &plan->steps[i];
    char name[160], size[32];
    tamis_escape(s->tensor->name, strlen(s->tensor->name), name, sizeof name);
    tamis_format_size(s->n_bytes, size, sizeof size);
    double bpw = (double)s->n_bytes * 8 / (double)tamis_tensor_n_elems(s->tensor);
    if (s->type == s->tensor->type)
        tamis_info(log, "[%4lld/%4lld] %-36s %7s            %7.4f bpw %10s", (long long)i + 1,
                   (long long)plan->n_steps, name, s->type->name, bpw, size);
    else
        tamis_info(log, "[%4lld/%4lld] %-36s %7s -> %-7s %7.4f bpw %10s%s%s%s%s", (long long)i + 1,
                   (long long)plan->n_steps, name, s->tensor->type->name, s->type->name, bpw, size,
                   s->importance ? "  importance" : "", s->type != s->wanted ? "  instead of " : "",
                   s->type != s->wanted ? s->wanted->name : "",
                   s->type != s->wanted ? ": rows do not divide into its blocks" : "");
}

static void print_plan(const tamis_log *log, const tamis_quantize_plan *plan, double estimate_s) {
    char from[32], to[32], file[32], duration[32];
    for (int64_t i = 0; i < plan->n_steps; i++)
        print_step(log, plan, i);
    tamis_info(log, "%s: %lld tensors, %lld to encode, %lld with importance", plan->file_type->name,
               (long long)plan->n_steps, (long long)plan->n_encoded,
               (long long)plan->n_with_importance);
    tamis_info(log, "source  %10s  %6.3f bits per weight",
               tamis_format_size(plan->source_bytes, from, sizeof from),
               tamis_quantize_source_bpw(plan));
    tamis_info(log, "result  %10s  %6.3f bits per weight; the file: %llu bytes (%s)",
               tamis_format_size(plan->result_bytes, to, sizeof to),
               tamis_quantize_result_bpw(plan), (unsigned long long)plan->file_bytes,
               tamis_format_size(plan->file_bytes, file, sizeof file));
    tamis_info(log, "time    about %s",
               tamis_format_seconds(estimate_s < 0.1 ? 0.1 : estimate_s, duration, sizeof duration));
    if (plan->n_fallbacks > 0)
        tamis_warn(log,
                   "%lld of %lld tensors took another type: their rows do not divide into "
                   "blocks of the wanted one",
                   (long long)plan->n_fallbacks, (long long)plan->n_steps);
}

static void print_result(const arguments *a, const tamis_log *log, const tamis_quantize_plan *plan,
                         double seconds) {
    char size[32], time_text[32], peak[32];
    tamis_info(log, "%s: %s, %.3f bits per weight, %lld fallbacks, %s, peak memory %s", a->output,
               tamis_format_size(plan->file_bytes, size, sizeof size),
               tamis_quantize_result_bpw(plan), (long long)plan->n_fallbacks,
               tamis_format_seconds(seconds, time_text, sizeof time_text),
               tamis_format_size(tamis_memory_peak_bytes(), peak, sizeof peak));
}

/* --- JSON --- */

static cJSON *step_to_json(const tamis_quantize_step *s) {
    cJSON *o = cJSON_CreateObject();
    tamis_json_add_bytes(o, "name", s->tensor->name, strlen(s->tensor->name));
    cJSON *ne = cJSON_AddArrayToObject(o, "ne");
    for (int32_t d = 0; d < s->tensor->n_dims; d++)
        cJSON_AddItemToArray(ne, cJSON_CreateNumber((double)s->tensor->ne[d]));
    cJSON_AddStringToObject(o, "source_type", s->tensor->type->name);
    cJSON_AddStringToObject(o, "type", s->type->name);
    if (s->wanted != s->type) cJSON_AddStringToObject(o, "fallback_from", s->wanted->name);
    cJSON_AddBoolToObject(o, "importance", s->importance != NULL);
    tamis_json_add_uint(o, "source_bytes", s->tensor->n_bytes);
    tamis_json_add_uint(o, "bytes", s->n_bytes);
    return o;
}

static tamis_status write_json(const arguments *a, const tamis_quantize_plan *plan, double seconds,
                               tamis_error *err) {
    if (!a->common.json_path) return TAMIS_OK;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "version", tamis_version());
    cJSON_AddStringToObject(o, "source", a->input);
    if (!a->dry_run) cJSON_AddStringToObject(o, "output", a->output);
    cJSON_AddStringToObject(o, "file_type", plan->file_type->name);
    if (a->imatrix) cJSON_AddStringToObject(o, "imatrix", a->imatrix);
    cJSON *steps = cJSON_AddArrayToObject(o, "tensors");
    for (int64_t i = 0; i < plan->n_steps; i++)
        cJSON_AddItemToArray(steps, step_to_json(&plan->steps[i]));
    tamis_json_add_uint(o, "weights", plan->n_elems);
    tamis_json_add_uint(o, "source_bytes", plan->source_bytes);
    tamis_json_add_uint(o, "result_bytes", plan->result_bytes);
    tamis_json_add_uint(o, "file_bytes", plan->file_bytes);
    tamis_json_add_double(o, "source_bits_per_weight", tamis_quantize_source_bpw(plan));
    tamis_json_add_double(o, "bits_per_weight", tamis_quantize_result_bpw(plan));
    tamis_json_add_int(o, "encoded_tensors", plan->n_encoded);
    tamis_json_add_int(o, "fallbacks", plan->n_fallbacks);
    if (!a->dry_run) {
        tamis_json_add_double(o, "seconds", seconds);
        tamis_json_add_uint(o, "peak_memory_bytes", tamis_memory_peak_bytes());
    }
    tamis_status st = tamis_json_write(o, a->common.json_path, err);
    cJSON_Delete(o);
    return st;
}

/* --- the work --- */

/* What cannot be written, or would replace an input, is known before the work. */
static tamis_status check_outputs(const arguments *a, tamis_error *err) {
    const char *json_path = a->common.json_path;
    const char *const others[] = {a->input, a->imatrix, a->dry_run ? NULL : a->output};
    tamis_status st = TAMIS_OK;
    if (!a->dry_run) st = tamis_output_check(a->output, others, 2, err);
    if (!st && json_path && strcmp(json_path, "-") != 0)
        st = tamis_output_check(json_path, others, 3, err);
    return st;
}

static tamis_status work(const arguments *a, tamis_error *err) {
    double start = tamis_now_s(), estimate_s = 0;
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
    if (st == TAMIS_OK)
        st = tamis_quantize_estimate(plan, (int)a->common.n_threads, &estimate_s, err);
    if (st) goto out;
    print_plan(&plan_log, plan, estimate_s);
    if (!a->dry_run) {
        progress = tamis_progress_new(stderr, a->common.quiet);
        st = tamis_quantize_run(plan, a->output, (int)a->common.n_threads, &budget, progress, err);
        if (st) goto out;
        print_result(a, &log, plan, tamis_now_s() - start);
    }
    if (plan_is_result) st = tamis_flush_results(err);
    if (st == TAMIS_OK) st = write_json(a, plan, tamis_now_s() - start, err);
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

/* Rows with a remark, smallest types first; equals stay in the order of the table. */
static int sort_offered(const tamis_file_type *sorted[64]) {
    int n_rows, n = 0;
    const tamis_file_type *rows = tamis_file_type_table(&n_rows);
    for (int i = 0; i < n_rows && n < 64; i++) {
        if (!rows[i].help) continue;
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
    int n_rows = sort_offered(rows);
    fprintf(
        f,
        "Without an output the result is ggml-model-TYPE.gguf beside the input. TYPE is a name or "
        "a number, case does not matter; bits are bits per weight of most tensors, and a mix "
        "gives more to those that need them:\n\n"
        "  TYPE    number    bits  remark\n");
    for (int i = 0; i < n_rows; i++)
        if (rows[i]->id >= 0)
            fprintf(f, "  %-8s %5d  %6.3f  %s\n", rows[i]->name, rows[i]->id, base_bits(rows[i]),
                    rows[i]->help);
        else
            fprintf(f, "  %-8s %5s  %6s  %s\n", rows[i]->name, "-", "-", rows[i]->help);
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

/* What shells offer for TYPE (the file types with a remark) and for T (what can be encoded). */
static size_t list_file_types(const char *names[64]) {
    const tamis_file_type *rows[64];
    int n = sort_offered(rows);
    for (int i = 0; i < n; i++)
        names[i] = rows[i]->name;
    return (size_t)n;
}

static size_t list_types(const char *names[64]) {
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    size_t n = 0;
    for (int i = 0; i < n_types && n < 64; i++)
        if (types[i].encode) names[n++] = types[i].name;
    return n;
}

int main(int argc, char **argv) {
    arguments a = {0};
    /* clang-format off */
    const tamis_option options[] = {
        {0, "imatrix", TAMIS_OPTION_TEXT, &a.imatrix, "FILE", "importance matrix that says which weights matter", 0, 0},
        {0, "include-weights", TAMIS_OPTION_TEXTS, &a.include, "NAME", "use only its entries whose name holds this; repeatable", 0, 0},
        {0, "exclude-weights", TAMIS_OPTION_TEXTS, &a.exclude, "NAME", "drop its entries whose name holds this; repeatable", 0, 0},
        {0, "pure", TAMIS_OPTION_FLAG, &a.pure, NULL, "one type for all weights, no mix", 0, 0},
        {0, "leave-output-tensor", TAMIS_OPTION_FLAG, &a.leave_output, NULL, "keep output.weight as it is", 0, 0},
        {0, "output-tensor-type", TAMIS_OPTION_TEXT, &a.output_type, "T", "type of output.weight, e.g. q6_K", 0, 0},
        {0, "token-embedding-type", TAMIS_OPTION_TEXT, &a.embedding_type, "T", "type of the token embeddings", 0, 0},
        {0, "tensor-type", TAMIS_OPTION_TEXTS, &a.rules, "REGEX=T", "type of tensors whose name matches; the first rule wins; repeatable", 0, 0},
        {0, "allow-requantize", TAMIS_OPTION_FLAG, &a.allow_requantize, NULL, "accept a source that is quantized already, with its loss", 0, 0},
        {0, "dry-run", TAMIS_OPTION_FLAG, &a.dry_run, NULL, "print the plan, exact to the byte, and write nothing", 0, 0},
        TAMIS_COMMON_OPTIONS(&a.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"quantize parent.gguf small.gguf Q4_K_M", "a good default"},
        {"quantize --imatrix imatrix.gguf parent.gguf small.gguf Q3_K_M",
         "spend bits where the importance matrix says they matter"},
        {"quantize --tensor-type 'ffn_down=q6_K' parent.gguf small.gguf Q4_K_S",
         "another type for some tensors"},
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
        tamis_interrupt_install();
        if (st == TAMIS_OK) st = work(&a, &err);
        code = st ? tamis_report("quantize", &err) : 0;
    }
    free(types);
    free(a.output_made);
    tamis_texts_release(&a.rules);
    tamis_texts_release(&a.include);
    tamis_texts_release(&a.exclude);
    tamis_texts_release(&a.positional);
    return code;
}
