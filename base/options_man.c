/* options_man.c - the man page of a command in roff (man macros), section 1. */
#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "base/options.h"
#include "base/options_internal.h"

/* Text in which nothing is a request or an escape to roff; dashes stay dashes. */
static void put_text(FILE *stream, const char *s, size_t n, bool is_line_start) {
    for (size_t i = 0; i < n; i++) {
        if (is_line_start && (s[i] == '.' || s[i] == '\'')) fputs("\\&", stream);
        is_line_start = s[i] == '\n';
        if (s[i] == '\\')
            fputs("\\e", stream);
        else if (s[i] == '-')
            fputs("\\-", stream);
        else
            fputc(s[i], stream);
    }
}

static void put_string(FILE *stream, const char *s) {
    put_text(stream, s, strlen(s), true);
}

/* The name with its words joined: "gguf show" is found under gguf-show(1). */
static void put_page_name(FILE *stream, const char *name, bool in_capitals) {
    for (; *name; name++) {
        if (*name == ' ' || *name == '-')
            fputs("\\-", stream);
        else
            fputc(in_capitals ? toupper((unsigned char)*name) : *name, stream);
    }
}

static void put_synopsis(const tamis_command *command, FILE *stream) {
    const char *s = command->usage ? command->usage : "[options]";
    fputs(".SH SYNOPSIS\n", stream);
    for (bool is_first = true;; is_first = false) {
        size_t n = strcspn(s, "\n");
        fprintf(stream, "%s.B ", is_first ? "" : ".br\n");
        put_text(stream, command->name, strlen(command->name), false);
        fputc('\n', stream);
        put_text(stream, s, n, true);
        fputc('\n', stream);
        s += n + (s[n] == '\n');
        if (!*s) return;
    }
}

static void put_description(const char *text, FILE *stream) {
    bool is_shaped = false;
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (n == 0) {
            fputs(is_shaped ? ".EE\n.PP\n" : ".PP\n", stream);
            is_shaped = false;
        } else {
            if (is_shaped != (*text == ' ')) fputs(is_shaped ? ".EE\n" : ".EX\n", stream);
            is_shaped = *text == ' ';
            put_text(stream, text, n, true);
            fputc('\n', stream);
        }
        text += n + (text[n] == '\n');
    }
    if (is_shaped) fputs(".EE\n", stream);
}

static void put_option(const tamis_option *row, FILE *stream) {
    bool is_first = true;
    fputs(".TP\n", stream);
    if (row->short_name) {
        fprintf(stream, "\\fB\\-%c\\fR", row->short_name);
        is_first = false;
    }
    for (const char *s = row->long_name; s && *s;) {
        size_t n = strcspn(s, ",");
        fprintf(stream, "%s\\fB\\-\\-", is_first ? "" : ", ");
        put_text(stream, s, n, false);
        fputs("\\fR", stream);
        is_first = false;
        s += n + (s[n] == ',');
    }
    if (row->arg_name) {
        fputs(" \\fI", stream);
        put_text(stream, row->arg_name, strlen(row->arg_name), false);
        fputs("\\fR", stream);
    }
    fputc('\n', stream);
    put_string(stream, row->help ? row->help : "");
    fputs(".\n", stream);
}

void tamis_options_man(const tamis_command *command, FILE *stream) {
    fputs(".TH ", stream);
    put_page_name(stream, command->name, true);
    fprintf(stream, " 1 \"\" \"Tamis %s\" \"User Commands\"\n.SH NAME\n", tamis_version());
    put_page_name(stream, command->name, false);
    fputs(" \\- ", stream);
    put_text(stream, command->summary, strlen(command->summary), false);
    fputc('\n', stream);
    put_synopsis(command, stream);
    fputs(".SH DESCRIPTION\n", stream);
    put_description(command->description ? command->description : command->summary, stream);
    fputs(".SH OPTIONS\n", stream);
    for (size_t i = 0; i < command->n_options; i++) {
        const tamis_option *row = &command->options[i];
        if (row->kind == TAMIS_OPTION_GROUP) {
            fputs(".SS \"", stream);
            put_text(stream, row->help, strlen(row->help), false);
            fputs("\"\n", stream);
        } else {
            put_option(row, stream);
        }
    }
    if (command->n_examples) fputs(".SH EXAMPLES\n", stream);
    for (size_t i = 0; i < command->n_examples; i++) {
        if (i) fputs(".PP\n", stream);
        if (command->examples[i].what) put_string(stream, command->examples[i].what);
        fputs("\n.PP\n.EX\n    ", stream);
        put_text(stream, command->examples[i].command, strlen(command->examples[i].command), false);
        fputs("\n.EE\n", stream);
    }
    fputs(".SH EXIT STATUS\n", stream);
    for (size_t i = 0; i < tamis_n_exit_codes; i++)
        fprintf(stream, ".TP\n%d\n%s.\n", tamis_exit_codes[i].code, tamis_exit_codes[i].meaning);
}
