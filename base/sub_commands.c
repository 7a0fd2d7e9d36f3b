/* sub_commands.c - see sub_commands.h. */
#include "base/sub_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/parse.h"
#include "base/terminal.h"

const tamis_sub_command *tamis_sub_command_find(const tamis_tool *tool, int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < tool->n_subs; i++)
        if (strcmp(argv[1], tool->subs[i]->name) == 0) return tool->subs[i];
    return NULL;
}

/* One synopsis line per sub-command, without the tool's name before the first. */
static char *make_usage(const tamis_tool *tool) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    if (!stream) return NULL;
    for (size_t i = 0; i < tool->n_subs; i++)
        fprintf(stream, "%s%s %s", i ? "\n" : "", tool->subs[i]->name,
                strcspn(tool->subs[i]->usage, "\n") == strlen(tool->subs[i]->usage)
                    ? tool->subs[i]->usage
                    : "...");
    return fclose(stream) == 0 ? text : NULL;
}

/* A table of the sub-commands, its lines indented so that they keep their shape. */
static char *make_description(const tamis_tool *tool) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    if (!stream) return NULL;
    for (size_t i = 0; i < tool->n_subs; i++)
        fprintf(stream, "  %-9s %s\n", tool->subs[i]->name, tool->subs[i]->summary);
    fprintf(stream, "\n'%s NAME --help' prints the options of one of them.\n", tool->name);
    return fclose(stream) == 0 ? text : NULL;
}

static tamis_status unknown_name(const tamis_tool *tool, const char *name, tamis_error *err) {
    const char *names[32];
    size_t n = 0;
    for (; n < tool->n_subs && n < sizeof names / sizeof *names; n++)
        names[n] = tool->subs[n]->name;
    const char *near = tamis_nearest(name, names, n);
    return tamis_fail(err, TAMIS_BAD_USAGE, "unknown sub-command '%s'%s%s%s", name,
                      near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

/* No sub-command was named. */
static int run_bare(const tamis_tool *tool, int argc, char **argv) {
    tamis_common common = {0};
    const tamis_option options[] = {TAMIS_COMMON_OPTIONS_LIGHT(&common)};
    tamis_texts words = {0};
    tamis_error err = {0};
    char *usage = make_usage(tool), *description = make_description(tool);
    int code = 0;
    if (!usage || !description) {
        (void)tamis_fail(&err, TAMIS_NO_RESOURCE, "out of memory");
        code = tamis_report(tool->name, &err);
        goto out;
    }
    tamis_command command = {
        .name = tool->name,
        .summary = tool->summary,
        .usage = usage,
        .description = description,
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .examples = tool->examples,
        .n_examples = tool->n_examples,
        .options_first = true,
        .tool = tool,
    };
    tamis_status st = tamis_options_parse(&command, argc, argv, &words, &err);
    if (tamis_common_handled(&common, &command)) goto out;
    if (!st && words.n_items)
        st = unknown_name(tool, words.items[0], &err);
    else if (!st)
        st = tamis_fail(&err, TAMIS_BAD_USAGE, "no sub-command given");
    code = tamis_report(tool->name, &err);
out:
    tamis_texts_release(&words);
    free(usage);
    free(description);
    return code;
}

int tamis_tool_main(const tamis_tool *tool, int argc, char **argv) {
    const tamis_sub_command *sub = tamis_sub_command_find(tool, argc, argv);
    return sub ? sub->main(argc - 1, argv + 1) : run_bare(tool, argc, argv);
}

int tamis_command_main(const tamis_command *command, const tamis_common *common, int argc,
                       char **argv, tamis_command_fn *run, void *ctx) {
    tamis_texts positional = {0};
    tamis_error err = {0};
    tamis_status st = tamis_options_parse(command, argc, argv, &positional, &err);
    if (tamis_common_handled(common, command)) {
        st = TAMIS_OK;
    } else {
        tamis_log log = tamis_log_to_stream(stderr, common->quiet);
        if (!st) st = run(ctx, &positional, &log, &err);
        if (!st) st = tamis_flush_results(&err);
        if (st) (void)tamis_report(command->name, &err);
    }
    tamis_texts_release(&positional);
    return (int)st;
}
