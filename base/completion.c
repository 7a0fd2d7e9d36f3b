/* completion.c - shell completion from the option table: what the scripts have in common.
 * The scripts hold plain lists, so that pressing the key starts no tool. A tool with
 * sub-commands lets each of them print its part, since each has its own table. */
#include <string.h>

#include "base/completion_internal.h"

static bool ends_in(const char *text, char before, const char *end) {
    size_t n = strlen(text), n_end = strlen(end);
    return n > n_end && text[n - n_end - 1] == before && strcmp(text + n - n_end, end) == 0;
}

static bool holds_any(const char *text, const char *const *parts) {
    for (; *parts; parts++)
        if (strstr(text, *parts)) return true;
    return false;
}

tamis_value tamis_completion_value(const tamis_command *command, const tamis_option *row) {
    static const char *const files[] = {"FILE", "PREFIX", "MODEL", "TEXT", "GGUF", "PATH", NULL};
    tamis_value value = {.kind = TAMIS_VALUE_ANY};
    const char *name = row->arg_name;
    if (row->kind == TAMIS_OPTION_FLAG) return (tamis_value){.kind = TAMIS_VALUE_NONE};
    if (!name || (row->kind != TAMIS_OPTION_TEXT && row->kind != TAMIS_OPTION_TEXTS)) return value;
    if (strchr(name, '|')) {
        value.kind = TAMIS_VALUE_WORDS;
        value.choices = name;
        return value;
    }
    for (size_t i = 0; i < command->n_words; i++) {
        const tamis_words *words = &command->words[i];
        const bool is_same = strcmp(name, words->arg_name) == 0;
        if (!is_same && !ends_in(name, '=', words->arg_name)) continue;
        value.kind = is_same ? TAMIS_VALUE_WORDS : TAMIS_VALUE_ASSIGN;
        value.words = words;
        return value;
    }
    if (strcmp(name, "DIR") == 0)
        value.kind = TAMIS_VALUE_DIR;
    else if (holds_any(name, files))
        value.kind = TAMIS_VALUE_FILE;
    return value;
}

/* True when the usage has this name as a word of its own. */
static bool is_in_usage(const char *usage, const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-=_";
    size_t n = strlen(name);
    for (const char *s = usage; s && (s = strstr(s, name)); s += n)
        if ((s == usage || !strchr(letters, s[-1])) && (!s[n] || !strchr(letters, s[n])))
            return true;
    return false;
}

const tamis_words *tamis_completion_positional(const tamis_command *command, size_t *i) {
    while (*i < command->n_words) {
        const tamis_words *words = &command->words[(*i)++];
        if (is_in_usage(command->usage, words->arg_name)) return words;
    }
    return NULL;
}

void tamis_completion_put_words(const tamis_value *value, FILE *stream) {
    for (const char *s = value->choices; s && *s; s++)
        fputc(*s == '|' ? ' ' : *s, stream);
    for (size_t i = 0; value->words && i < value->words->n_words; i++)
        fprintf(stream, "%s%s", i ? " " : "", value->words->words[i]);
}

bool tamis_completion_name(const tamis_option *row, size_t i, tamis_option_name *out) {
    if (row->short_name && i-- == 0) {
        *out = (tamis_option_name){"-", &row->short_name, 1};
        return true;
    }
    const char *s = row->long_name ? row->long_name : "";
    for (; *s && i > 0; i--) {
        s += strcspn(s, ",");
        s += *s == ',';
    }
    if (!*s) return false;
    *out = (tamis_option_name){"--", s, (int)strcspn(s, ",")};
    return true;
}

bool tamis_completion_is_part(const tamis_command *command) {
    return strchr(command->name, ' ') != NULL;
}

void tamis_completion_put_identifier(const char *name, FILE *stream) {
    for (; *name; name++)
        fputc(*name == ' ' || *name == '-' ? '_' : *name, stream);
}

void tamis_completion_put_quoted(const char *text, const char *quote, const char *escaped,
                                 FILE *stream) {
    for (; *text; text++) {
        if (*text == '\'') {
            fputs(quote, stream);
            continue;
        }
        if (strchr(escaped, *text)) fputc('\\', stream);
        fputc(*text, stream);
    }
}

void tamis_completion_put_parts(const tamis_tool *tool, const char *shell, FILE *stream) {
    char option[] = "--completion", name[64], value[16];
    for (size_t i = 0; tool && i < tool->n_subs; i++) {
        snprintf(name, sizeof name, "%s", tool->subs[i]->name);
        snprintf(value, sizeof value, "%s", shell);
        char *argv[] = {name, option, value, NULL};
        fflush(stream);
        (void)tool->subs[i]->main(3, argv);
    }
}

void tamis_options_completion(const tamis_command *command, const char *shell, FILE *stream) {
    static const struct {
        const char *shell;
        void (*print)(const tamis_command *command, FILE *stream);
    } rows[] = {
        {"bash", tamis_completion_bash},
        {"zsh", tamis_completion_zsh},
        {"fish", tamis_completion_fish},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].shell, shell) == 0) rows[i].print(command, stream);
}
