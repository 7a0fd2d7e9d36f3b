/* common.c - what every tool does the same way: --help, --version, --man, --completion,
 * error lines. */
#include <stdbool.h>
#include <stdio.h>

#include "base/cpu.h"
#include "base/options.h"
#include "base/terminal.h"

bool tamis_common_handled(const tamis_common *common, const tamis_command *command) {
    if (common->help)
        tamis_options_help(command, stdout);
    else if (common->man)
        tamis_options_man(command, stdout);
    else if (common->completion)
        tamis_options_completion(command, common->completion, stdout);
    else if (common->version)
        printf("%s (Tamis) %s, kernels: %s\n", command->name, tamis_version(),
               tamis_cpu_name(tamis_cpu_choose()));
    else
        return false;
    fflush(stdout);
    return true;
}

int tamis_report(const char *tool, const tamis_error *err) {
    fflush(stdout);
    fprintf(stderr, "%s%s: %s\n", tamis_terminal_can_redraw(stderr) ? "\r\033[K" : "", tool,
            err->message);
    if (err->code == TAMIS_BAD_USAGE) fprintf(stderr, "try '%s --help'\n", tool);
    return (int)err->code;
}
