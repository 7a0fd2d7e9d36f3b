/* options_help.c - the --help text: usage, options in two columns, examples, exit codes.
 * Wrapped to 100 columns whatever the terminal has, so that the same page is seen
 * everywhere. Paragraph lines that begin with a space are printed as they are. */
#include <stdint.h>
#include <string.h>

#include "base/options.h"
#include "base/options_internal.h"

enum { PAGE_COLUMNS = 100, NAMES_MAX_COLUMNS = 34, NAMES_BYTES = 256 };

const tamis_exit_code tamis_exit_codes[] = {
    {TAMIS_OK, "done"},
    {TAMIS_CHECK_FAILED, "a gate or a check failed"},
    {TAMIS_BAD_USAGE, "the command line is wrong"},
    {TAMIS_BAD_INPUT, "an input is missing, unreadable or malformed"},
    {TAMIS_NO_RESOURCE, "could not write, out of space or out of memory"},
    {TAMIS_INTERRUPTED, "interrupted"},
};
const size_t tamis_n_exit_codes = sizeof tamis_exit_codes / sizeof tamis_exit_codes[0];

static size_t count_columns(const char *s, size_t n_bytes) {
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i++)
        n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

/* Print one paragraph text[0..n) word by word, starting at column `at`; further lines begin at
 * column `indent`. Ends with a newline. */
static void print_wrapped(FILE *stream, const char *text, size_t n, size_t at, size_t indent) {
    const char *s = text, *end = text + n;
    bool is_first = true;
    while (s < end) {
        while (s < end && (*s == ' ' || *s == '\n'))
            s++;
        const char *word = s;
        while (s < end && *s != ' ' && *s != '\n')
            s++;
        size_t n_bytes = (size_t)(s - word), n_columns = count_columns(word, n_bytes);
        if (n_bytes == 0) break;
        if (!is_first && at + 1 + n_columns > PAGE_COLUMNS) {
            fprintf(stream, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!is_first) {
            fputc(' ', stream);
            at++;
        }
        fwrite(word, 1, n_bytes, stream);
        at += n_columns;
        is_first = false;
    }
    fputc('\n', stream);
}

/* Paragraphs are parted by empty lines; a line with a leading space keeps its shape. */
static void print_paragraphs(FILE *stream, const char *text) {
    while (*text) {
        if (*text == '\n') {
            fputc('\n', stream);
            text++;
            continue;
        }
        size_t n = strcspn(text, "\n");
        if (*text != ' ') /* take the following lines of the paragraph too */
            while (text[n] == '\n' && text[n + 1] && text[n + 1] != '\n' && text[n + 1] != ' ')
                n += 1 + strcspn(text + n + 1, "\n");
        if (*text == ' ')
            fprintf(stream, "%.*s\n", (int)n, text);
        else
            print_wrapped(stream, text, n, 0, 0);
        text += n + (text[n] == '\n');
    }
}

/* "-t, --threads N"; without a short name the long ones still stand in line. */
static void format_names(const tamis_option *row, char out[NAMES_BYTES]) {
    char dash[8] = "    ";
    size_t n_long = row->long_name ? strcspn(row->long_name, ",") : 0;
    if (row->short_name) snprintf(dash, sizeof dash, "-%c%s", row->short_name, n_long ? ", " : "");
    snprintf(out, NAMES_BYTES, "%s%s%.*s%s%s", dash, n_long ? "--" : "", (int)n_long,
             row->long_name ? row->long_name : "", row->arg_name ? " " : "",
             row->arg_name ? row->arg_name : "");
}

/* Column where the explanations begin: behind the longest names, very long ones not counted. */
static size_t help_column(const tamis_command *command) {
    size_t widest = 0;
    for (size_t i = 0; i < command->n_options; i++) {
        char names[NAMES_BYTES];
        if (command->options[i].kind == TAMIS_OPTION_GROUP) continue;
        format_names(&command->options[i], names);
        size_t n = count_columns(names, strlen(names));
        if (n <= NAMES_MAX_COLUMNS && n > widest) widest = n;
    }
    return 2 + widest + 2;
}

static void print_option(FILE *stream, const tamis_option *row, size_t column) {
    char names[NAMES_BYTES];
    format_names(row, names);
    size_t at = 2 + count_columns(names, strlen(names));
    fprintf(stream, "  %s", names);
    const char *help = row->help ? row->help : "";
    if (at + 2 > column)
        fprintf(stream, "\n%*s", (int)column, "");
    else
        fprintf(stream, "%*s", (int)(column - at), "");
    print_wrapped(stream, help, strlen(help), column, column);
}

static void print_usage(const tamis_command *command, FILE *stream) {
    const char *s = command->usage ? command->usage : "[options]";
    const char *lead = "usage:";
    do {
        size_t n = strcspn(s, "\n");
        fprintf(stream, "%-6s %s %.*s\n", lead, command->name, (int)n, s);
        lead = "";
        s += n + (s[n] == '\n');
    } while (*s);
}

void tamis_options_help(const tamis_command *command, FILE *stream) {
    fprintf(stream, "%s - %s\n\n", command->name, command->summary);
    print_usage(command, stream);
    size_t column = help_column(command);
    for (size_t i = 0; i < command->n_options; i++) {
        const tamis_option *row = &command->options[i];
        if (row->kind == TAMIS_OPTION_GROUP)
            fprintf(stream, "\n%s:\n", row->help);
        else if (i == 0)
            fprintf(stream, "\nOptions:\n");
        if (row->kind != TAMIS_OPTION_GROUP) print_option(stream, row, column);
    }
    if (command->description) {
        fputc('\n', stream);
        print_paragraphs(stream, command->description);
    }
    if (command->n_examples) fprintf(stream, "\nExamples:\n");
    for (size_t i = 0; i < command->n_examples; i++) {
        const tamis_example *e = &command->examples[i];
        if (e->what) fprintf(stream, "  # %s\n", e->what);
        fprintf(stream, "  %s\n", e->command);
    }
    fprintf(stream, "\nExit codes:\n");
    for (size_t i = 0; i < tamis_n_exit_codes; i++)
        fprintf(stream, "  %-4d %s\n", tamis_exit_codes[i].code, tamis_exit_codes[i].meaning);
}
