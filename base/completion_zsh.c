/* completion_zsh.c - completion for zsh: _arguments with the help text of each option.
 * The script works autoloaded from a folder of $fpath and read by `source`. */
#include "base/completion_internal.h"

static const char *const quote = "'\\''";

/* What may follow, in the words of _arguments: ":N: " */
static void put_action(const tamis_option *row, const tamis_value *value, FILE *stream) {
    if (value->kind == TAMIS_VALUE_NONE) return;
    fputc(':', stream);
    tamis_completion_put_quoted(value->choices || !row->arg_name ? "value" : row->arg_name, quote,
                                ":", stream);
    fputc(':', stream);
    switch (value->kind) {
    case TAMIS_VALUE_FILE:
        fputs("_files", stream);
        break;
    case TAMIS_VALUE_DIR:
        fputs("_files -/", stream);
        break;
    case TAMIS_VALUE_WORDS:
        fputc('(', stream);
        tamis_completion_put_words(value, stream);
        fputc(')', stream);
        break;
    case TAMIS_VALUE_ASSIGN:
        fputs("{ compset -P \"*=\" && compadd -- ", stream);
        tamis_completion_put_words(value, stream);
        fputs(" }", stream);
        break;
    case TAMIS_VALUE_ANY:
    case TAMIS_VALUE_NONE:
        fputc(' ', stream);
        break;
    }
}

/* One line per name; a name given excludes the others unless it may be repeated. */
static void put_option(const tamis_command *command, const tamis_option *row, FILE *stream) {
    const tamis_value value = tamis_completion_value(command, row);
    const bool has_value = value.kind != TAMIS_VALUE_NONE;
    tamis_option_name name;
    for (size_t i = 0; tamis_completion_name(row, i, &name); i++) {
        fputs("        '", stream);
        if (row->kind == TAMIS_OPTION_TEXTS) {
            fputc('*', stream);
        } else {
            tamis_option_name other;
            for (size_t j = 0; tamis_completion_name(row, j, &other); j++)
                fprintf(stream, "%s%s%.*s", j ? " " : "(", other.dashes, other.n_bytes, other.name);
            fputc(')', stream);
        }
        fprintf(stream, "%s%.*s", name.dashes, name.n_bytes, name.name);
        if (has_value) fputc(name.dashes[1] ? '=' : '+', stream);
        fputc('[', stream);
        tamis_completion_put_quoted(row->help ? row->help : "", quote, "[]:\\", stream);
        fputc(']', stream);
        put_action(row, &value, stream);
        fputs("' \\\n", stream);
    }
}

static void put_positional(const tamis_command *command, FILE *stream) {
    size_t i = 0;
    const tamis_words *words = tamis_completion_positional(command, &i);
    if (!words) {
        fputs("        '*:file:_files'\n", stream);
        return;
    }
    fputs("        '*: : _alternative \"files:file:_files\"", stream);
    for (; words; words = tamis_completion_positional(command, &i)) {
        const tamis_value value = {.kind = TAMIS_VALUE_WORDS, .words = words};
        fprintf(stream, " \"words:%s:(", words->arg_name);
        tamis_completion_put_words(&value, stream);
        fputs(")\"", stream);
    }
    fputs("'\n", stream);
}

static void put_part(const tamis_command *command, FILE *stream) {
    fputs("__", stream);
    tamis_completion_put_identifier(command->name, stream);
    fputs("() {\n    _arguments -s -S \\\n", stream);
    for (size_t i = 0; i < command->n_options; i++)
        if (command->options[i].kind != TAMIS_OPTION_GROUP)
            put_option(command, &command->options[i], stream);
    put_positional(command, stream);
    fputs("}\n", stream);
}

static void put_main(const tamis_command *command, FILE *stream) {
    const char *name = command->name;
    const tamis_tool *tool = command->tool;
    fprintf(stream, "_%s() {\n", name);
    if (tool) {
        fputs("    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n"
              "        local -a parts=(\n",
              stream);
        for (size_t i = 0; i < tool->n_subs; i++) {
            fprintf(stream, "            '%s:", tool->subs[i]->name);
            tamis_completion_put_quoted(tool->subs[i]->summary, quote, "\\", stream);
            fputs("'\n", stream);
        }
        fputs("        )\n        _describe 'sub-command' parts\n        return\n    fi\n"
              "    case $words[2] in\n",
              stream);
        for (size_t i = 0; i < tool->n_subs; i++) {
            fprintf(stream, "    %s) shift words; (( CURRENT-- )); __%s_", tool->subs[i]->name,
                    name);
            tamis_completion_put_identifier(tool->subs[i]->name, stream);
            fputs("; return ;;\n", stream);
        }
        fputs("    esac\n", stream);
    }
    fprintf(stream,
            "    __%s\n}\n"
            "if [[ $funcstack[1] == _%s ]]; then _%s \"$@\"; else compdef _%s %s; fi\n",
            name, name, name, name, name);
}

void tamis_completion_zsh(const tamis_command *command, FILE *stream) {
    if (tamis_completion_is_part(command)) {
        put_part(command, stream);
        return;
    }
    fprintf(stream, "#compdef %s\n# printed by '%s --completion zsh'\n", command->name,
            command->name);
    put_part(command, stream);
    tamis_completion_put_parts(command->tool, "zsh", stream);
    put_main(command, stream);
}
