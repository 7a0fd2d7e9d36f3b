/* template.c - "gguf template": the chat template of a model file, shown, replaced, removed.
 * A template is text to this tool: it is never rendered (rule 22 of
 * reference/gguf-threats.md). Keys: reference/gguf.md section 5.5. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/input_file.h"
#include "gguf/commands/edit_job.h"

static const char summary[] = "show, replace or remove the chat template";
static const char usage[] = "[options] FILE";

static const char default_key[] = "tokenizer.chat_template",
                  names_key[] = "tokenizer.chat_templates";
static const char named_prefix[] = "tokenizer.chat_template.";

enum { MAX_TEMPLATE_BYTES = 1 << 26, MAX_NAME_BYTES = 256 };

typedef struct arguments {
    gguf_edit_options edit;
    const char *name, *set_path;
    bool is_list, is_remove;
} arguments;

/* The key of the template that --name asks for. */
static const char *key_of(const char *name, char out[MAX_NAME_BYTES + sizeof named_prefix]) {
    snprintf(out, MAX_NAME_BYTES + sizeof named_prefix, "%s%s", name ? named_prefix : default_key,
             name ? name : "");
    return out;
}

/* Is this a template's key? *name is what comes behind the prefix, empty for the default one. */
static bool is_template(const tamis_gguf_kv *kv, tamis_bytes *name) {
    size_t n = sizeof named_prefix - 1;
    *name = (tamis_bytes){"", 0};
    if (kv->kind != TAMIS_GGUF_STRING) return false;
    if (kv->key.n_bytes == n - 1) return !memcmp(kv->key.data, default_key, n - 1);
    if (kv->key.n_bytes <= n || memcmp(kv->key.data, named_prefix, n) != 0) return false;
    *name = (tamis_bytes){kv->key.data + n, kv->key.n_bytes - n};
    return true;
}

/* --- showing --- */

/* On a terminal, what could steer it is shown as \xNN; everywhere else the bytes are exact. */
static tamis_status print_text(tamis_bytes text, tamis_error *err) {
    if (!isatty(STDOUT_FILENO)) {
        fwrite(text.data, 1, text.n_bytes, stdout);
        return TAMIS_OK;
    }
    for (size_t at = 0; at < text.n_bytes;) {
        size_t n = 0;
        while (at + n < text.n_bytes && text.data[at + n] != '\n' && text.data[at + n] != '\t')
            n++;
        char *part = tamis_copy_text(text.data + at, n, err);
        char *shown = part ? tamis_alloc_array((uint64_t)n * 4 + 1, 1, err) : NULL;
        if (shown) fputs(tamis_printable(part, shown, n * 4 + 1), stdout);
        free(part);
        free(shown);
        if (!shown) return TAMIS_NO_RESOURCE;
        at += n;
        if (at < text.n_bytes) putchar(text.data[at++]);
    }
    return TAMIS_OK;
}

static void print_list(const tamis_gguf *g) {
    for (int32_t i = 0; i < tamis_gguf_n_kv(g); i++) {
        tamis_gguf_kv kv = tamis_gguf_kv_at(g, i);
        tamis_bytes name, text;
        char shown[MAX_NAME_BYTES];
        if (!is_template(&kv, &name) || !tamis_gguf_kv_string(g, &kv, 0, &text)) continue;
        printf("%-20s %8zu bytes\n",
               name.n_bytes ? tamis_escape(name.data, name.n_bytes, shown, sizeof shown)
                            : "(default)",
               text.n_bytes);
    }
}

static tamis_status write_list_json(const arguments *args, const tamis_gguf *g, tamis_error *err) {
    cJSON *json = cJSON_CreateObject();
    tamis_json_add_bytes(json, "file", tamis_gguf_path(g), strlen(tamis_gguf_path(g)));
    cJSON *templates = cJSON_AddArrayToObject(json, "templates");
    for (int32_t i = 0; i < tamis_gguf_n_kv(g); i++) {
        tamis_gguf_kv kv = tamis_gguf_kv_at(g, i);
        tamis_bytes name, text;
        if (!is_template(&kv, &name) || !tamis_gguf_kv_string(g, &kv, 0, &text)) continue;
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(templates, item);
        if (name.n_bytes)
            tamis_json_add_bytes(item, "name", name.data, name.n_bytes);
        else
            cJSON_AddNullToObject(item, "name");
        tamis_json_add_bytes(item, "text", text.data, text.n_bytes);
    }
    tamis_status st = gguf_write_json(&args->edit.common, json, err);
    cJSON_Delete(json);
    return st;
}

static tamis_status fail_missing(const arguments *args, const tamis_gguf *g, tamis_error *err) {
    if (!args->name)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: the model has no chat template",
                          tamis_gguf_path(g));
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: the model has no chat template '%s'; --list names those that it has",
                      tamis_gguf_path(g), args->name);
}

static tamis_status show(const arguments *args, const char *path, const tamis_log *log,
                         tamis_error *err) {
    const tamis_gguf_options reading = {.allow_gaps = args->edit.allow_gaps, .log = log};
    const tamis_texts inputs = {.items = &path, .n_items = 1};
    char key[MAX_NAME_BYTES + sizeof named_prefix];
    tamis_bytes text = {0};
    tamis_gguf *g = NULL;
    tamis_status st = gguf_check_json_path(&args->edit.common, &inputs, err);
    if (!st) st = tamis_gguf_open(path, &reading, &g, err);
    if (!st && args->edit.common.json_path) st = write_list_json(args, g, err);
    if (st || !gguf_wants_text(&args->edit.common)) goto out;
    if (args->is_list) {
        print_list(g);
        goto out;
    }
    st = tamis_gguf_get_string(g, key_of(args->name, key), &text, err);
    if (!st) st = text.data ? print_text(text, err) : fail_missing(args, g, err);
out:
    tamis_gguf_close(g);
    return st;
}

/* --- changing --- */

/* Put a name into the list of names, or take it out. A list that gets empty is removed. */
static tamis_status update_names(tamis_gguf_edit *edit, const char *name, bool is_there,
                                 tamis_error *err) {
    const tamis_gguf *g = tamis_gguf_edit_source(edit);
    tamis_gguf_kv kv;
    tamis_bytes text;
    uint64_t cursor = 0, n = 0, n_old = 0;
    bool has_list = tamis_gguf_find(g, names_key, &kv);
    if (has_list) n_old = kv.n_elems;
    char **names = tamis_alloc_array(n_old + 1, sizeof *names, err);
    if (!names) return TAMIS_NO_RESOURCE;
    tamis_status st = TAMIS_OK;
    while (!st && has_list && tamis_gguf_kv_next_string(g, &kv, &cursor, &text)) {
        if (text.n_bytes == strlen(name) && !memcmp(text.data, name, text.n_bytes)) continue;
        names[n] = tamis_copy_text(text.data, text.n_bytes, err);
        st = names[n++] ? TAMIS_OK : TAMIS_NO_RESOURCE;
    }
    if (!st && is_there) {
        names[n] = tamis_copy_text(name, strlen(name), err);
        st = names[n++] ? TAMIS_OK : TAMIS_NO_RESOURCE;
    }
    bool is_same = n == n_old; /* the name was there and stays, or was not and does not come */
    if (!st && !is_same && n)
        st = tamis_gguf_edit_set_strings(edit, names_key, (const char *const *)names, n, err);
    else if (!st && !n)
        st = tamis_gguf_edit_remove(edit, names_key, true, err);
    for (uint64_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return st;
}

static tamis_status change(void *ctx, tamis_gguf_edit *edit, tamis_error *err) {
    const arguments *args = ctx;
    const tamis_gguf *g = tamis_gguf_edit_source(edit);
    char key[MAX_NAME_BYTES + sizeof named_prefix];
    char *text = NULL;
    size_t n_bytes = 0;
    tamis_gguf_kv unused;
    tamis_status st = TAMIS_OK;
    key_of(args->name, key);
    if (args->set_path) {
        st = tamis_read_file(args->set_path, MAX_TEMPLATE_BYTES, &text, &n_bytes, err);
        if (!st) st = tamis_gguf_edit_note_input(edit, args->set_path, err);
        if (!st) st = tamis_gguf_edit_set_string(edit, key, text, n_bytes, err);
    } else if (tamis_gguf_find(g, key, &unused)) {
        st = tamis_gguf_edit_remove(edit, key, false, err);
    } else {
        st = fail_missing(args, g, err);
    }
    if (!st && args->name) st = update_names(edit, args->name, args->set_path != NULL, err);
    free(text);
    return st;
}

static tamis_status run(void *ctx, const tamis_texts *words, const tamis_log *log,
                        tamis_error *err) {
    arguments *args = ctx;
    bool is_change = args->set_path || args->is_remove;
    if (words->n_items != 1)
        return tamis_fail(err, TAMIS_BAD_USAGE, "one model file is needed, %zu are given",
                          words->n_items);
    if ((args->set_path != NULL) + args->is_remove + args->is_list > 1)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--set, --remove and --list exclude each other");
    if (args->name && (!*args->name || strlen(args->name) > MAX_NAME_BYTES))
        return tamis_fail(err, TAMIS_BAD_USAGE, "--name: 1 to %d bytes are possible",
                          MAX_NAME_BYTES);
    if (!is_change && (args->edit.output || args->edit.is_dry || args->edit.shard_bytes))
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--output, --shard-size and --dry-run go with "
                          "--set or --remove");
    if (is_change) return gguf_run_edit(&args->edit, words->items[0], change, args, log, err);
    return show(args, words->items[0], log, err);
}

static int template_main(int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "name", TAMIS_OPTION_TEXT, &args.name, "NAME", "the template of that name (default: the unnamed one)", 0, 0 },
        { 0, "list", TAMIS_OPTION_FLAG, &args.is_list, NULL, "print the names and sizes of all templates", 0, 0 },
        { 0, "set", TAMIS_OPTION_TEXT, &args.set_path, "TEMPLATE", "put the bytes of this file in its place", 0, 0 },
        { 0, "remove", TAMIS_OPTION_FLAG, &args.is_remove, NULL, "remove it", 0, 0 },
        GGUF_EDIT_OPTIONS(&args.edit),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf template model.gguf > chat.jinja", "the template, byte for byte"},
        {"gguf template model.gguf --set chat.jinja", "put an edited one back"},
        {"gguf template model.gguf --name tool_use --set tools.jinja -o new.gguf", "in a copy"},
    };
    const tamis_command command = {
        .name = "gguf template",
        .summary = summary,
        .usage = usage,
        .description = "A template is copied and never run: what is in the file is what is "
                       "printed, on a terminal with control characters as \\xNN.",
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.edit.common, argc, argv, run, &args);
}

const tamis_sub_command gguf_template_command = {"template", summary, usage, template_main};
