/* completion_fish.c - completion for fish: one `complete` line per option.
 * The lines of a tool with sub-commands hold a condition: which word stands second. */
#include <string.h>

#include "base/completion_internal.h"

static const char *const quote = "\\'";

/* "complete -c gguf -n '__gguf_is show'". Parts know the tool's name by their own first word. */
static void put_start(const tamis_command *command, FILE *stream) {
    const char *blank = strchr(command->name, ' ');
    int n = blank ? (int)(blank - command->name) : (int)strlen(command->name);
    fprintf(stream, "complete -c %.*s", n, command->name);
    if (blank)
        fprintf(stream, " -n '__%.*s_is %s'", n, command->name, blank + 1);
    else if (command->tool)
        fprintf(stream, " -n __%s_is", command->name);
}

static void put_option(const tamis_command *command, const tamis_option *row, FILE *stream) {
    const tamis_value value = tamis_completion_value(command, row);
    tamis_option_name name;
    put_start(command, stream);
    for (size_t i = 0; tamis_completion_name(row, i, &name); i++)
        fprintf(stream, " -%c %.*s", name.dashes[1] ? 'l' : 's', name.n_bytes, name.name);
    switch (value.kind) {
    case TAMIS_VALUE_NONE:
        break;
    case TAMIS_VALUE_FILE:
        fputs(" -r -F", stream);
        break;
    case TAMIS_VALUE_DIR:
        fputs(" -x -a '(__fish_complete_directories)'", stream);
        break;
    case TAMIS_VALUE_ANY:
        fputs(" -x", stream);
        break;
    case TAMIS_VALUE_WORDS:
        fputs(" -x -a '", stream);
        tamis_completion_put_words(&value, stream);
        fputc('\'', stream);
        break;
    case TAMIS_VALUE_ASSIGN:
        fputs(" -x -a '(string match -r \".*=\" -- (commandline -ct)){", stream);
        for (size_t i = 0; i < value.words->n_words; i++)
            fprintf(stream, "%s%s", i ? "," : "", value.words->words[i]);
        fputs("}'", stream);
        break;
    }
    fputs(" -d '", stream);
    tamis_completion_put_quoted(row->help ? row->help : "", quote, "\\", stream);
    fputs("'\n", stream);
}

static void put_part(const tamis_command *command, FILE *stream) {
    for (size_t i = 0; i < command->n_options; i++)
        if (command->options[i].kind != TAMIS_OPTION_GROUP)
            put_option(command, &command->options[i], stream);
    size_t i = 0;
    for (const tamis_words *words; (words = tamis_completion_positional(command, &i));) {
        const tamis_value value = {.kind = TAMIS_VALUE_WORDS, .words = words};
        put_start(command, stream);
        fputs(" -a '", stream);
        tamis_completion_put_words(&value, stream);
        fprintf(stream, "' -d %s\n", words->arg_name);
    }
}

/* The test for the second word, and the sub-commands themselves. */
static void put_sub_commands(const tamis_command *command, FILE *stream) {
    const char *name = command->name;
    const tamis_tool *tool = command->tool;
    fprintf(stream,
            "function __%s_is -d 'true when the sub-command is the one named, or none is'\n"
            "    set -l words (commandline -opc)\n"
            "    if set -q argv[1]\n"
            "        test \"$words[2]\" = $argv[1]\n"
            "    else\n"
            "        not contains -- \"$words[2]\"",
            name);
    for (size_t i = 0; i < tool->n_subs; i++)
        fprintf(stream, " %s", tool->subs[i]->name);
    fprintf(stream,
            "\n    end\nend\n"
            "function __%s_bare -d 'true when nothing was typed yet'\n"
            "    test (count (commandline -opc)) -eq 1\nend\n",
            name);
    for (size_t i = 0; i < tool->n_subs; i++) {
        fprintf(stream, "complete -c %s -n __%s_bare -f -a %s -d '", name, name,
                tool->subs[i]->name);
        tamis_completion_put_quoted(tool->subs[i]->summary, quote, "\\", stream);
        fputs("'\n", stream);
    }
}

void tamis_completion_fish(const tamis_command *command, FILE *stream) {
    if (tamis_completion_is_part(command)) {
        put_part(command, stream);
        return;
    }
    fprintf(stream, "# fish completion, printed by '%s --completion fish'\n", command->name);
    if (command->tool) put_sub_commands(command, stream);
    put_part(command, stream);
    tamis_completion_put_parts(command->tool, "fish", stream);
}
