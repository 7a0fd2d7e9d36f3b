/* edit_job.c - what the sub-commands that change keys share; see edit_job.h. */
#include "gguf/commands/edit_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/show.h"

static void print_side(const tamis_gguf *g, bool is_there, const tamis_gguf_kv *kv) {
    if (!is_there) {
        fputs("(absent)", stdout);
        return;
    }
    if (kv->kind != TAMIS_GGUF_ARRAY) printf("%s ", tamis_gguf_kind_name(kv->kind));
    tamis_gguf_show_value(g, kv, false, stdout);
}

static void print_changes(const tamis_gguf_edit *edit) {
    for (uint64_t i = 0; i < tamis_gguf_edit_n_changes(edit); i++) {
        tamis_gguf_change c = tamis_gguf_edit_change(edit, i);
        char key[256];
        printf("%s: ", tamis_escape(c.key.data, c.key.n_bytes, key, sizeof key));
        print_side(tamis_gguf_edit_before(edit), c.has_before, &c.before);
        fputs(" -> ", stdout);
        print_side(tamis_gguf_edit_after(edit), c.has_after, &c.after);
        putchar('\n');
    }
}

static tamis_status add_side(cJSON *item, const char *name, const tamis_gguf *g, bool is_there,
                             const tamis_gguf_kv *kv, tamis_error *err) {
    if (is_there)
        return tamis_gguf_show_value_json(cJSON_AddObjectToObject(item, name), g, kv, false, err);
    cJSON_AddNullToObject(item, name);
    return TAMIS_OK;
}

static tamis_status add_changes(cJSON *json, const tamis_gguf_edit *edit, tamis_error *err) {
    cJSON *changes = cJSON_AddArrayToObject(json, "changes");
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; !st && i < tamis_gguf_edit_n_changes(edit); i++) {
        tamis_gguf_change c = tamis_gguf_edit_change(edit, i);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(changes, item);
        tamis_json_add_bytes(item, "key", c.key.data, c.key.n_bytes);
        st = add_side(item, "before", tamis_gguf_edit_before(edit), c.has_before, &c.before, err);
        if (!st)
            st = add_side(item, "after", tamis_gguf_edit_after(edit), c.has_after, &c.after, err);
    }
    return st;
}

/* How the result comes about, in words. */
static const char *way_of(const gguf_edit_options *options, const tamis_gguf_edit *edit) {
    if (options->output) return "copied";
    if (!tamis_gguf_edit_n_changes(edit)) return "unchanged";
    return tamis_gguf_edit_fits_in_place(edit) ? "in place" : "rewritten";
}

static tamis_status save(const gguf_edit_options *options, tamis_gguf_edit *edit, cJSON *json,
                         tamis_error *err) {
    const tamis_gguf *source = tamis_gguf_edit_source(edit);
    gguf_output_job job = {
        .common = &options->common,
        .source = source,
        .n_tensors = tamis_gguf_n_tensors(source),
        .path = options->output ? options->output : tamis_gguf_path(source),
        .label = "writing",
        .is_replacing = !options->output,
        .is_dry = options->is_dry,
        .has_listing = options->output != NULL,
        .json = json,
    };
    if (options->output) {
        tamis_status st = tamis_gguf_edit_copy(edit, options->shard_bytes, &job.writer, err);
        return st ? st : gguf_run_output(&job, err);
    }
    if (options->is_dry || !tamis_gguf_edit_n_changes(edit)) return TAMIS_OK;
    if (tamis_gguf_edit_fits_in_place(edit)) return tamis_gguf_edit_write_in_place(edit, err);
    tamis_status st = tamis_gguf_edit_rewrite(edit, &job.writer, &job.n_tensors, err);
    return st ? st : gguf_run_output(&job, err);
}

static tamis_status run_changed(const gguf_edit_options *options, tamis_gguf_edit *edit,
                                cJSON *json, tamis_error *err) {
    bool has_text =
        (options->is_dry || !options->common.quiet) && gguf_wants_text(&options->common);
    const char *path = tamis_gguf_path(tamis_gguf_edit_source(edit)), *way = way_of(options, edit);
    tamis_status st = TAMIS_OK;
    if (has_text) print_changes(edit);
    if (json) {
        tamis_json_add_bytes(json, "file", path, strlen(path));
        cJSON_AddStringToObject(json, "way", way);
        st = add_changes(json, edit, err);
    }
    if (!st) st = save(options, edit, json, err);
    if (!st && has_text && !options->output)
        printf("%s: %s%s\n", path, options->is_dry ? "would be " : "",
               strcmp(way, "in place") ? way : "changed in place");
    return st;
}

/* A file that values were read from must not be replaced. */
static tamis_status check_inputs(const gguf_edit_options *options, const tamis_gguf_edit *edit,
                                 tamis_error *err) {
    const char *paths[] = {options->output, options->common.json_path};
    for (size_t i = 0; i < N_OF(paths); i++)
        if (tamis_gguf_edit_has_input(edit, paths[i]))
            return tamis_fail(err, TAMIS_BAD_USAGE,
                              "'%s' is already a file of this run; give the output another name",
                              paths[i]);
    return TAMIS_OK;
}

tamis_status gguf_run_edit(const gguf_edit_options *options, const char *path, gguf_edit_fn *change,
                           void *ctx, const tamis_log *log, tamis_error *err) {
    const tamis_gguf_options reading = {
        .allow_gaps = options->allow_gaps, .no_map = true, .log = log};
    const tamis_texts inputs = {.items = &path, .n_items = 1};
    if (options->shard_bytes && !options->output)
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--shard-size is for a copy; give it a name with -o");
    tamis_gguf_edit *edit = NULL;
    cJSON *json = gguf_new_json(&options->common, options->is_dry);
    tamis_status st = gguf_check_json_path(&options->common, &inputs, err);
    if (!st) st = tamis_gguf_edit_open(path, &reading, &edit, err);
    if (!st) st = gguf_check_memory(&options->common, tamis_gguf_edit_source(edit), err);
    if (!st) st = change(ctx, edit, err);
    if (!st) st = check_inputs(options, edit, err);
    if (!st) st = tamis_gguf_edit_finish(edit, options->is_forced, err);
    if (!st) st = run_changed(options, edit, json, err);
    if (!st) st = gguf_write_json(&options->common, json, err);
    tamis_gguf_edit_close(edit);
    cJSON_Delete(json);
    return st;
}
