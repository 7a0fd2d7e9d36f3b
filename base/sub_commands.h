/* sub_commands.h - tools made of sub-commands ("gguf show"), and the frame every command runs in.
 * A sub-command is one file with one row; the tool's main.c is the table of rows. */
#ifndef TAMIS_BASE_SUB_COMMANDS_H
#define TAMIS_BASE_SUB_COMMANDS_H

#include <stddef.h>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"

typedef struct tamis_sub_command {
    const char *name;    /* "show" */
    const char *summary; /* one line */
    const char *usage;   /* what follows the name, "[options] FILE..."; several lines allowed */
    /* Parses argv[1..argc) (argv[0] is the sub-command's name), does the work, returns the exit
     * code. */
    int (*main)(int argc, char **argv);
} tamis_sub_command;

typedef struct tamis_tool {
    const char *name, *summary;
    const tamis_sub_command *const *subs;
    size_t n_subs;
    const tamis_example *examples;
    size_t n_examples;
} tamis_tool;

/* The sub-command that argv[1] names, or NULL. */
const tamis_sub_command *tamis_sub_command_find(const tamis_tool *tool, int argc, char **argv);

/* The whole of a tool that has nothing but sub-commands: runs the one named by argv[1], answers
 * --help and the like for the tool, else reports the nearest name. Returns the exit code. */
int tamis_tool_main(const tamis_tool *tool, int argc, char **argv);

/* The work of a command, once its options are parsed. positional: what is left of the command
 * line. Results to stdout, messages to log. */
typedef tamis_status tamis_command_fn(void *ctx, const tamis_texts *positional,
                                      const tamis_log *log, tamis_error *err);

/* Parse argv[1..argc), answer --help and the like, call `run`, see that the results reached
 * stdout, report an error on stderr. `common` is the target of the command's common options.
 * Returns the exit code. */
int tamis_command_main(const tamis_command *command, const tamis_common *common, int argc,
                       char **argv, tamis_command_fn *run, void *ctx);

#endif
