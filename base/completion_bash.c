/* completion_bash.c - completion for bash 4 and later, without the bash-completion package.
 * An empty COMPREPLY leaves file names to bash itself (complete -o default), which knows
 * quotes and '~'; where nothing fits, that default is switched off. */
#include <string.h>

#include "base/completion_internal.h"

static void put_reply(const tamis_value *value, const char *prefix, FILE *stream) {
    fprintf(stream, "COMPREPLY=($(compgen %s-W '", prefix);
    tamis_completion_put_words(value, stream);
    fputs("' -- \"$cur\"))", stream);
}

/* The names of a row as a pattern of `case`: -t|--threads. */
static void put_pattern(const tamis_option *row, FILE *stream) {
    tamis_option_name name;
    for (size_t i = 0; tamis_completion_name(row, i, &name); i++)
        fprintf(stream, "%s%s%.*s", i ? "|" : "", name.dashes, name.n_bytes, name.name);
}

static void put_value(const tamis_option *row, const tamis_value *value, FILE *stream) {
    fputs("    ", stream);
    put_pattern(row, stream);
    fputs(") ", stream);
    switch (value->kind) {
    case TAMIS_VALUE_FILE:
    case TAMIS_VALUE_NONE:
        break;
    case TAMIS_VALUE_DIR:
        fputs("compopt -o dirnames +o default 2>/dev/null; ", stream);
        break;
    case TAMIS_VALUE_ANY:
        fputs("compopt +o default 2>/dev/null; ", stream);
        break;
    case TAMIS_VALUE_WORDS:
        fputs("compopt +o default 2>/dev/null; ", stream);
        put_reply(value, "", stream);
        fputs("; ", stream);
        break;
    case TAMIS_VALUE_ASSIGN:
        fputs("compopt +o default 2>/dev/null; [[ $assign ]] && ", stream);
        put_reply(value, "-P \"$lead\" ", stream);
        fputs("; ", stream);
        break;
    }
    fputs("return ;;\n", stream);
}

/* __gguf_show: completes $cur, which follows $prev. */
static void put_part(const tamis_command *command, FILE *stream) {
    fputs("__", stream);
    tamis_completion_put_identifier(command->name, stream);
    fputs("() {\n    case $prev in\n", stream);
    for (size_t i = 0; i < command->n_options; i++) {
        const tamis_option *row = &command->options[i];
        const tamis_value value = tamis_completion_value(command, row);
        if (row->kind != TAMIS_OPTION_GROUP && value.kind != TAMIS_VALUE_NONE)
            put_value(row, &value, stream);
    }
    fputs("    esac\n    case $cur in\n    -*) COMPREPLY=($(compgen -W '", stream);
    for (size_t i = 0; i < command->n_options; i++) {
        tamis_option_name name;
        const tamis_option *row = &command->options[i];
        if (row->kind != TAMIS_OPTION_GROUP &&
            tamis_completion_name(row, row->short_name != 0, &name))
            fprintf(stream, "--%.*s ", name.n_bytes, name.name);
    }
    fputs("' -- \"$cur\")) ;;\n    *)", stream);
    size_t i = 0;
    bool has_words = false;
    for (const tamis_words *words; (words = tamis_completion_positional(command, &i));) {
        const tamis_value value = {.kind = TAMIS_VALUE_WORDS, .words = words};
        fputs(" COMPREPLY+=($(compgen -W '", stream);
        tamis_completion_put_words(&value, stream);
        fputs("' -- \"$cur\"))\n      ", stream);
        has_words = true;
    }
    if (has_words)
        fputs(" local IFS=$'\\n'; compopt -o filenames 2>/dev/null\n"
              "       COMPREPLY+=($(compgen -f -- \"$cur\"))",
              stream);
    fputs(" ;;\n    esac\n}\n", stream);
}

/* _gguf: finds the word in hand and the one before it, and whose part it is. A '=' parts words
 * for bash, so "--name=value" and "REGEX=T" arrive in pieces. */
static void put_main(const tamis_command *command, FILE *stream) {
    const char *name = command->name;
    fprintf(stream,
            "_%s() {\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} n=$((COMP_CWORD - 1)) prev lead= assign=\n"
            "    COMPREPLY=()\n"
            "    if [[ $cur == = ]]; then cur= n=$((n + 1)); fi\n"
            "    if [[ ${COMP_WORDS[n]} == = ]]; then\n"
            "        n=$((n - 1))\n"
            "        if [[ ${COMP_WORDS[n]} != -* ]]; then n=$((n - 1)) assign=1; fi\n"
            "        if [[ ${COMP_WORDS[n]} == = ]]; then n=$((n - 1)); fi\n"
            "    elif [[ $cur == *=* ]]; then\n"
            "        lead=${cur%%=*}= cur=${cur##*=} assign=1\n"
            "        lead=${lead#[\\'\\\"]}\n"
            "    fi\n"
            "    prev=${COMP_WORDS[n]}\n",
            name);
    const tamis_tool *tool = command->tool;
    if (tool) {
        fputs("    if ((COMP_CWORD == 1)) && [[ $cur != -* ]]; then\n"
              "        compopt +o default 2>/dev/null\n        COMPREPLY=($(compgen -W '",
              stream);
        for (size_t i = 0; i < tool->n_subs; i++)
            fprintf(stream, "%s%s", i ? " " : "", tool->subs[i]->name);
        fputs("' -- \"$cur\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n", stream);
        for (size_t i = 0; i < tool->n_subs; i++) {
            fprintf(stream, "    %s) __%s_", tool->subs[i]->name, name);
            tamis_completion_put_identifier(tool->subs[i]->name, stream);
            fputs("; return ;;\n", stream);
        }
        fputs("    esac\n", stream);
    }
    fprintf(stream, "    __%s\n}\ncomplete -o bashdefault -o default -F _%s %s\n", name, name,
            name);
}

void tamis_completion_bash(const tamis_command *command, FILE *stream) {
    if (tamis_completion_is_part(command)) {
        put_part(command, stream);
        return;
    }
    fprintf(stream, "# bash completion, printed by '%s --completion bash'\n", command->name);
    put_part(command, stream);
    tamis_completion_put_parts(command->tool, "bash", stream);
    put_main(command, stream);
}
