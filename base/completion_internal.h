/* completion_internal.h - what the scripts of the three shells share: the names of an option, what
 * completes its argument, text made safe for single quotes. */
#ifndef TAMIS_BASE_COMPLETION_INTERNAL_H
#define TAMIS_BASE_COMPLETION_INTERNAL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/options.h"
#include "base/sub_commands.h"

typedef enum tamis_value_kind {
    TAMIS_VALUE_NONE,   /* a flag */
    TAMIS_VALUE_ANY,    /* nothing to offer: a number, a size, a name */
    TAMIS_VALUE_FILE,   /* FILE, PREFIX, ... */
    TAMIS_VALUE_DIR,    /* DIR */
    TAMIS_VALUE_WORDS,  /* one of a list of words */
    TAMIS_VALUE_ASSIGN, /* anything, '=', one of a list of words: "REGEX=T" */
} tamis_value_kind;

typedef struct tamis_value {
    tamis_value_kind kind;
    const char *choices;      /* WORDS: "a|b|c", or NULL and then */
    const tamis_words *words; /* WORDS, ASSIGN */
} tamis_value;

/* What completes the argument of a row. */
tamis_value tamis_completion_value(const tamis_command *command, const tamis_option *row);

/* The words for a positional argument, or NULL; start with *i = 0 and call until NULL. */
const tamis_words *tamis_completion_positional(const tamis_command *command, size_t *i);

/* The words of a value, parted by blanks. */
void tamis_completion_put_words(const tamis_value *value, FILE *stream);

/* The names of a row one after another, with their dashes: "-t", "--threads". *i counts from 0.
 * False after the last. */
typedef struct tamis_option_name {
    const char *dashes, *name; /* "--", borrowed from the row */
    int n_bytes;
} tamis_option_name;
bool tamis_completion_name(const tamis_option *row, size_t i, tamis_option_name *out);

/* True for "gguf show": a part of a tool's script. */
bool tamis_completion_is_part(const tamis_command *command);

/* The command's name as a shell function: "gguf show" is gguf_show. */
void tamis_completion_put_identifier(const char *name, FILE *stream);

/* Text within single quotes, which `quote` stands for ('\\'' or \\'); the characters of `escaped`
 * get a backslash. */
void tamis_completion_put_quoted(const char *text, const char *quote, const char *escaped,
                                 FILE *stream);

/* Run every sub-command with --completion SHELL, so that it prints its part to stdout. */
void tamis_completion_put_parts(const tamis_tool *tool, const char *shell, FILE *stream);

void tamis_completion_bash(const tamis_command *command, FILE *stream);
void tamis_completion_zsh(const tamis_command *command, FILE *stream);
void tamis_completion_fish(const tamis_command *command, FILE *stream);

#endif
