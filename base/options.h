/* options.h - command lines from one table.
 * The same rows parse arguments, print --help, the man page and the completion scripts of the
 * shells, and answer a misspelt option with the nearest known one. */
#ifndef TAMIS_BASE_OPTIONS_H
#define TAMIS_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/version.h"

typedef enum tamis_option_kind {
    TAMIS_OPTION_FLAG,   /* bool *: set to true */
    TAMIS_OPTION_INT,    /* int64_t *: within [lo, hi] of the row */
    TAMIS_OPTION_SIZE,   /* uint64_t *: bytes, "12G" */
    TAMIS_OPTION_DOUBLE, /* double * */
    TAMIS_OPTION_TEXT,   /* const char **: borrowed from argv */
    TAMIS_OPTION_TEXTS,  /* tamis_texts *: repeatable */
    TAMIS_OPTION_GROUP,  /* no option: a heading in --help, text in `help` */
} tamis_option_kind;

typedef struct tamis_texts {
    const char **items; /* borrowed strings; array freed by tamis_texts_release() */
    size_t n_items;
    uint64_t capacity;
} tamis_texts;
/* Append a borrowed string. */
tamis_status tamis_texts_add(tamis_texts *texts, const char *text, tamis_error *err) TAMIS_MUST_USE;
void tamis_texts_release(tamis_texts *texts);

typedef struct tamis_option {
    char short_name;       /* 0 = none */
    const char *long_name; /* without "--"; the peer's alias may be given after a comma:
                              "output,output-file" */
    tamis_option_kind kind;
    void *target;
    const char *arg_name; /* "N", "FILE", "DIR"; NULL for flags; "a|b|c": one of these words,
                             anything else is refused (TEXT) */
    const char *help;     /* one sentence, no full stop */
    int64_t lo, hi;       /* INT only; both 0 = any */
} tamis_option;

typedef struct tamis_example {
    const char *command, *what;
} tamis_example;

/* Words that shells offer for every argument of a name: for options whose arg_name it is or ends
 * in after a '=' ("REGEX=T"), and for a positional argument that the usage calls so. */
typedef struct tamis_words {
    const char *arg_name;     /* "T" */
    const char *const *words; /* without blanks or characters special to a shell; borrowed */
    size_t n_words;
} tamis_words;

typedef struct tamis_command {
    const char *name;        /* "quantize", or "gguf show" */
    const char *summary;     /* one line */
    const char *usage;       /* arguments after the name; several lines allowed */
    const char *description; /* paragraphs for the man page and the end of --help; may be NULL */
    const tamis_option *options;
    size_t n_options;
    const tamis_example *examples;
    size_t n_examples;
    bool options_first;       /* stop at the first positional, as getopt's "+" */
    const tamis_words *words; /* for completion only; may be NULL */
    size_t n_words;
    const struct tamis_tool *tool; /* whose sub-commands may stand in its place; NULL = none */
} tamis_command;

/* Parse argv[1..argc). Long options as --name value or --name=value, short ones as -n value,
 * -nvalue;
 * "--" ends options; a lone "-" is positional; negative numbers are accepted as option arguments.
 * Underscores in long names count as dashes. Positional arguments are appended to
 * *positional in order. TAMIS_BAD_USAGE with the nearest known option named. */
tamis_status tamis_options_parse(const tamis_command *command, int argc, char **argv,
                                 tamis_texts *positional, tamis_error *err) TAMIS_MUST_USE;

/* --help text, wrapped to 100 columns; the man page in roff (section 1). */
void tamis_options_help(const tamis_command *command, FILE *stream);
void tamis_options_man(const tamis_command *command, FILE *stream);

/* The completion script of a shell, "bash", "zsh" or "fish" (others: nothing). A command of two
 * words ("gguf show") prints its part only; a command with a tool prints the parts of all
 * sub-commands, by running them, and what binds them together. */
void tamis_options_completion(const tamis_command *command, const char *shell, FILE *stream);

/* The options every tool has. Rows for them come from TAMIS_COMMON_OPTIONS; a command that has no
 * use for threads or memory takes TAMIS_COMMON_OPTIONS_LIGHT, which accepts them and says so. */
typedef struct tamis_common {
    bool help, version, quiet, man;
    int64_t n_threads;      /* 0 = all cores */
    uint64_t mem_bytes;     /* 0 = no limit */
    const char *json_path;  /* NULL = none, "-" = stdout */
    const char *completion; /* a shell; NULL = none */
} tamis_common;

/* clang-format off */
#define TAMIS_COMMON_ROWS(c, quiet_letter, threads_help, mem_help)                                  \
    { 0,  NULL,      TAMIS_OPTION_GROUP, NULL, NULL, "Every tool", 0, 0 },                          \
    { 't', "threads", TAMIS_OPTION_INT,  &(c)->n_threads, "N", threads_help, 0, 1024 },             \
    { 0,  "mem",     TAMIS_OPTION_SIZE, &(c)->mem_bytes, "SIZE", mem_help, 0, 0 },                  \
    { 0,  "json",    TAMIS_OPTION_TEXT, &(c)->json_path, "FILE", "write the results as JSON (- for standard output)", 0, 0 }, \
    { quiet_letter, "quiet", TAMIS_OPTION_FLAG, &(c)->quiet, NULL, "no messages but warnings and errors", 0, 0 }, \
    { 'h', "help",   TAMIS_OPTION_FLAG, &(c)->help, NULL, "print this help", 0, 0 },                \
    { 0,  "version", TAMIS_OPTION_FLAG, &(c)->version, NULL, "print the version", 0, 0 },           \
    { 0,  "man",     TAMIS_OPTION_FLAG, &(c)->man, NULL, "print the man page (roff)", 0, 0 },       \
    { 0,  "completion", TAMIS_OPTION_TEXT, &(c)->completion, "bash|zsh|fish", "print the completion script of a shell", 0, 0 }
#define TAMIS_THREADS_HELP "threads to use (default: all cores)"
#define TAMIS_MEM_HELP     "memory to stay within, e.g. 12G (default: no limit)"
#define TAMIS_COMMON_OPTIONS(c) TAMIS_COMMON_ROWS(c, 'q', TAMIS_THREADS_HELP, TAMIS_MEM_HELP)
#define TAMIS_COMMON_OPTIONS_LIGHT(c)                                                               \
    TAMIS_COMMON_ROWS(c, 'q', "accepted; one thread does the work here", "accepted; little memory is needed here")
/* clang-format on */

/* Handle --help, --version, --man, --completion after parsing (also when parsing failed because of
 * missing positionals): prints to stdout and returns true when the tool should exit 0. */
bool tamis_common_handled(const tamis_common *common, const tamis_command *command);

/* "quantize: error message" on stderr in the one form all tools use (for BAD_USAGE followed by
 * "try 'quantize --help'"); returns err's code, to be returned from main. */
int tamis_report(const char *tool, const tamis_error *err);

#endif
