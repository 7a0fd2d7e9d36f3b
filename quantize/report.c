/* report.c - a plan and its result as lines and as JSON; see report.h. */
#include "quantize/report.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/threads.h"
#include "gguf/tensor_names.h"

enum { N_WORST = 10, N_PAIRS_MAX = 16 };

/* --- lines --- */

static void print_step(const tamis_log *log, const tamis_quantize_plan *plan, int64_t i) {
    const tamis_quantize_step *s = &plan->steps[i];
    char name[160], size[32];
    tamis_escape(s->name, strlen(s->name), name, sizeof name);
    tamis_format_size(s->n_bytes, size, sizeof size);
    double bpw = (double)s->n_bytes * 8 / (double)tamis_tensor_n_elems(s->tensor);
    char protected[64];
    snprintf(protected, sizeof protected, "protected, %s by the mix",
             s->unprotected ? s->unprotected->name : "");
    const char *said = s->unprotected ? protected : s->remark;
    const char *comma = said ? "  " : "", *remark = said ? said : "";
    if (s->type == s->tensor->type)
        tamis_info(log, "[%4lld/%4lld] %-36s %7s            %7.4f bpw %10s%s%s", (long long)i + 1,
                   (long long)plan->n_steps, name, s->type->name, bpw, size, comma, remark);
    else
        tamis_info(
            log, "[%4lld/%4lld] %-36s %7s -> %-7s %7.4f bpw %10s%s%s%s%s%s%s", (long long)i + 1,
            (long long)plan->n_steps, name, s->tensor->type->name, s->type->name, bpw, size,
            s->importance ? "  importance" : "", s->type != s->wanted ? "  instead of " : "",
            s->type != s->wanted ? s->wanted->name : "",
            s->type != s->wanted ? ": rows do not divide into its blocks" : "", comma, remark);
}

/* "3 q4_K as q5_0, 1 q6_K as q8_0": the fallbacks by kind, in order of their first tensor. */
static void list_fallbacks(const tamis_quantize_plan *plan, char *text, size_t cap) {
    const tamis_quantize_step *first[N_PAIRS_MAX];
    int64_t n_of[N_PAIRS_MAX] = {0};
    int n_pairs = 0;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        if (s->type == s->wanted) continue;
        int k = 0;
        while (k < n_pairs && (first[k]->type != s->type || first[k]->wanted != s->wanted))
            k++;
        if (k == N_PAIRS_MAX) continue;
        if (k == n_pairs) first[n_pairs++] = s;
        n_of[k]++;
    }
    size_t n = 0;
    text[0] = 0;
    for (int k = 0; k < n_pairs && n < cap; k++)
        n += (size_t)snprintf(text + n, cap - n, "%s%lld %s as %s", k ? ", " : "",
                              (long long)n_of[k], first[k]->wanted->name, first[k]->type->name);
}

/* "3 ssm_alpha, 1 attn_output" */
static void list_protected(const tamis_quantize_plan *plan, char *text, size_t cap) {
    const tamis_protected_kind *kinds[TAMIS_PROTECTED_KINDS_MAX];
    int64_t n_of[TAMIS_PROTECTED_KINDS_MAX];
    int n_kinds = tamis_quantize_protected(plan, kinds, n_of);
    size_t n = 0;
    text[0] = 0;
    for (int i = 0; i < n_kinds && n < cap; i++)
        n += (size_t)snprintf(text + n, cap - n, "%s%lld %s", i ? ", " : "", (long long)n_of[i],
                              kinds[i]->stem);
}

/* A type of 16 bits and more puts nothing at risk. */
static bool is_quantizing(const tamis_quantize_plan *plan) {
    const tamis_type *base = tamis_type_by_id(plan->file_type->base_type_id);
    return base && base->class == TAMIS_CLASS_QUANTIZED;
}

void tamis_quantize_report_protection(const tamis_quantize_plan *plan, const tamis_log *log) {
    const tamis_protection *p = &plan->protection;
    char list[512], more[32];
    list_protected(plan, list, sizeof list);
    tamis_format_size(p->n_bytes, more, sizeof more);
    double result = (double)plan->result_bytes - (p->is_on ? (double)p->n_bytes : 0);
    double percent = result > 0 ? 100 * (double)p->n_bytes / result : 0;
    if (p->is_on && p->n_by_rules)
        tamis_info(log,
                   "--protect: rules decide about %lld tensor%s that it would give more, the first "
                   "is '%s'",
                   (long long)p->n_by_rules, p->n_by_rules == 1 ? "" : "s", p->first_by_rule);
    if (p->is_on && p->n_tensors)
        tamis_info(log, "protected: %s, for %s more (%.2f %%)", list, more, percent);
    else if (p->is_on)
        tamis_info(log, "--protect changes nothing here: what it looks after keeps its type or has "
                        "a high one already");
    else if (p->n_tensors && is_quantizing(plan))
        tamis_info(log, "note: at risk are %s; --protect looks after them for %s more (%.2f %%)",
                   list, more, percent);
}

/* The experts of a step that saw few tokens, "2 (0), 7 (14), ..."; false when there are none. */
static bool list_borrowers(const tamis_quantize_step *s, char *text, size_t cap) {
    enum { SHOWN = 12 };
    int64_t n_found = 0;
    size_t n = 0;
    double n_tokens;
    text[0] = 0;
    for (uint64_t i = 0; i < tamis_quantize_n_experts(s); i++) {
        if (!tamis_quantize_expert_borrows(s, i, &n_tokens)) continue;
        if (n_found++ < SHOWN && n < cap)
            n += (size_t)snprintf(text + n, cap - n, "%s%llu (%.0f)", n_found > 1 ? ", " : "",
                                  (unsigned long long)i, n_tokens);
    }
    if (n_found > SHOWN && n < cap)
        snprintf(text + n, cap - n, " and %lld more", (long long)(n_found - SHOWN));
    return n_found > 0;
}

/* A line for the experts of each layer; its tensors mostly saw the same tokens, and are then one
 * line. */
static void print_borrowers(const tamis_log *log, const tamis_quantize_plan *plan) {
    char text[512], last[512] = "";
    int64_t layer, last_layer = -1;
    if (plan->n_borrowers == 0) return;
    tamis_info(log,
               "experts that saw fewer than %d tokens lean on the mean importance of their layer "
               "(--no-borrow: on their own alone):",
               TAMIS_BORROW_TOKENS);
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        if (!list_borrowers(s, text, sizeof text)) continue;
        if (tamis_tensor_layer(s->name, &layer) == 0) layer = -1;
        if (layer == last_layer && strcmp(text, last) == 0) continue;
        tamis_info(log, "  layer %lld: expert (tokens) %s", (long long)layer, text);
        last_layer = layer;
        memcpy(last, text, sizeof last);
    }
}

static void print_remarks(const tamis_log *log, const tamis_quantize_plan *plan) {
    char pairs[512];
    if (plan->n_pruned > 0)
        tamis_info(log, "%lld tensors of the source are left out with their layers",
                   (long long)plan->n_pruned);
    if (plan->n_native > 0)
        tamis_info(log,
                   "%lld tensors keep the blocks that the model was trained in, bit for bit "
                   "(--allow-requantize encodes them anew)",
                   (long long)plan->n_native);
    if (plan->n_modal_kept > 0)
        tamis_info(log,
                   "%lld weights of vision, audio or a projector keep their type (--tensor-type "
                   "can name them)",
                   (long long)plan->n_modal_kept);
    print_borrowers(log, plan);
    if (plan->n_fallbacks == 0) return;
    list_fallbacks(plan, pairs, sizeof pairs);
    tamis_warn(log,
               "%lld of %lld tensors took another type: their rows do not divide into "
               "blocks of the wanted one (%s)",
               (long long)plan->n_fallbacks, (long long)plan->n_steps, pairs);
}

void tamis_quantize_report_plan(const tamis_quantize_plan *plan, double estimate_s,
                                const tamis_log *log) {
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
    if (estimate_s >= 0)
        tamis_info(
            log, "time    about %s",
            tamis_format_seconds(estimate_s < 0.1 ? 0.1 : estimate_s, duration, sizeof duration));
    print_remarks(log, plan);
}

static void print_worst(const tamis_log *log, const tamis_quantize_plan *plan) {
    const tamis_quantize_step *worst[N_WORST];
    int n = tamis_quantize_worst(plan, N_WORST, worst);
    if (n == 0) return;
    tamis_info(log, "read back and checked; the largest relative errors:");
    for (int i = 0; i < n; i++) {
        char name[160];
        tamis_escape(worst[i]->name, strlen(worst[i]->name), name, sizeof name);
        tamis_info(log, "  %-36s %-7s %9.6f", name, worst[i]->type->name, worst[i]->relative_error);
    }
}

void tamis_quantize_report_result(const tamis_quantize_plan *plan, const char *output,
                                  double seconds, const tamis_log *log) {
    char size[32], time_text[32], peak[32];
    print_worst(log, plan);
    tamis_info(log, "%s: %s, %.3f bits per weight, %lld fallbacks, %s, peak memory %s", output,
               tamis_format_size(plan->file_bytes, size, sizeof size),
               tamis_quantize_result_bpw(plan), (long long)plan->n_fallbacks,
               tamis_format_seconds(seconds, time_text, sizeof time_text),
               tamis_format_size(tamis_memory_peak_bytes(), peak, sizeof peak));
}

/* --- JSON --- */

static void add_borrowers(cJSON *o, const tamis_quantize_step *s) {
    cJSON *rows = NULL;
    double n_tokens;
    for (uint64_t i = 0; i < tamis_quantize_n_experts(s); i++) {
        if (!tamis_quantize_expert_borrows(s, i, &n_tokens)) continue;
        if (!rows) rows = cJSON_AddArrayToObject(o, "borrowers");
        cJSON *row = cJSON_CreateObject();
        tamis_json_add_uint(row, "expert", i);
        tamis_json_add_double(row, "tokens", n_tokens);
        cJSON_AddItemToArray(rows, row);
    }
}

static cJSON *step_to_json(const tamis_quantize_plan *plan, const tamis_quantize_step *s) {
    cJSON *o = cJSON_CreateObject();
    tamis_json_add_bytes(o, "name", s->name, strlen(s->name));
    if (s->name != s->tensor->name && !s->is_made)
        tamis_json_add_bytes(o, "source_name", s->tensor->name, strlen(s->tensor->name));
    cJSON *ne = cJSON_AddArrayToObject(o, "ne");
    for (int32_t d = 0; d < s->tensor->n_dims; d++)
        cJSON_AddItemToArray(ne, cJSON_CreateNumber((double)s->tensor->ne[d]));
    if (!s->is_made) cJSON_AddStringToObject(o, "source_type", s->tensor->type->name);
    cJSON_AddStringToObject(o, "type", s->type->name);
    if (s->wanted != s->type) cJSON_AddStringToObject(o, "fallback_from", s->wanted->name);
    if (s->unprotected) cJSON_AddStringToObject(o, "protected_from", s->unprotected->name);
    if (s->remark) cJSON_AddStringToObject(o, "remark", s->remark);
    cJSON_AddBoolToObject(o, "importance", s->importance != NULL);
    add_borrowers(o, s);
    tamis_json_add_uint(o, "source_bytes", s->is_made ? 0 : s->tensor->n_bytes);
    tamis_json_add_uint(o, "bytes", s->n_bytes);
    if (plan->is_checked) tamis_json_add_double(o, "relative_error", s->relative_error);
    return o;
}

static void add_protection(cJSON *o, const tamis_quantize_plan *plan) {
    const tamis_protected_kind *kinds[TAMIS_PROTECTED_KINDS_MAX];
    int64_t n_of[TAMIS_PROTECTED_KINDS_MAX];
    int n_kinds = tamis_quantize_protected(plan, kinds, n_of);
    cJSON *p = cJSON_AddObjectToObject(o, "protection");
    cJSON_AddBoolToObject(p, "on", plan->protection.is_on);
    tamis_json_add_int(p, "tensors", plan->protection.n_tensors);
    tamis_json_add_uint(p, "bytes", plan->protection.n_bytes);
    if (plan->protection.is_on) tamis_json_add_int(p, "by_rules", plan->protection.n_by_rules);
    cJSON *rows = cJSON_AddArrayToObject(p, "kinds");
    for (int i = 0; i < n_kinds; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "name", kinds[i]->stem);
        tamis_json_add_int(row, "tensors", n_of[i]);
        cJSON_AddBoolToObject(row, "lifted", kinds[i]->is_lifted);
        cJSON_AddStringToObject(row, "reason", kinds[i]->reason);
        cJSON_AddItemToArray(rows, row);
    }
}

static void add_worst(cJSON *o, const tamis_quantize_plan *plan) {
    const tamis_quantize_step *worst[N_WORST];
    int n = tamis_quantize_worst(plan, N_WORST, worst);
    cJSON *names = cJSON_AddArrayToObject(o, "largest_errors");
    for (int i = 0; i < n; i++) {
        cJSON *row = cJSON_CreateObject();
        tamis_json_add_bytes(row, "name", worst[i]->name, strlen(worst[i]->name));
        tamis_json_add_double(row, "relative_error", worst[i]->relative_error);
        cJSON_AddItemToArray(names, row);
    }
}

tamis_status tamis_quantize_report_json(const tamis_quantize_plan *plan,
                                        const tamis_quantize_names *names, double seconds,
                                        const char *path, tamis_error *err) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "version", tamis_version());
    cJSON_AddStringToObject(o, "source", names->source);
    if (names->output) cJSON_AddStringToObject(o, "output", names->output);
    cJSON_AddStringToObject(o, "file_type", plan->file_type->name);
    if (names->imatrix) cJSON_AddStringToObject(o, "imatrix", names->imatrix);
    cJSON *steps = cJSON_AddArrayToObject(o, "tensors");
    for (int64_t i = 0; i < plan->n_steps; i++)
        cJSON_AddItemToArray(steps, step_to_json(plan, &plan->steps[i]));
    tamis_json_add_uint(o, "weights", plan->n_elems);
    tamis_json_add_uint(o, "source_bytes", plan->source_bytes);
    tamis_json_add_uint(o, "result_bytes", plan->result_bytes);
    tamis_json_add_uint(o, "file_bytes", plan->file_bytes);
    tamis_json_add_double(o, "source_bits_per_weight", tamis_quantize_source_bpw(plan));
    tamis_json_add_double(o, "bits_per_weight", tamis_quantize_result_bpw(plan));
    tamis_json_add_int(o, "encoded_tensors", plan->n_encoded);
    tamis_json_add_int(o, "fallbacks", plan->n_fallbacks);
    tamis_json_add_int(o, "borrowers", plan->n_borrowers);
    add_protection(o, plan);
    if (names->output) {
        cJSON_AddBoolToObject(o, "self_check", plan->is_checked);
        if (plan->is_checked) add_worst(o, plan);
        tamis_json_add_double(o, "seconds", seconds);
        tamis_json_add_uint(o, "peak_memory_bytes", tamis_memory_peak_bytes());
    }
    tamis_status st = tamis_json_write(o, path, err);
    cJSON_Delete(o);
    return st;
}
