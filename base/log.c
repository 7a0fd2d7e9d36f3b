/* log.c - lines for the person, handed to the log the caller gave. */
#include "base/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/terminal.h"

enum { LINE_MAX_BYTES = 2048 };

static void send_line(const tamis_log *log, tamis_log_level level, const char *format,
                      va_list args) {
    char text[LINE_MAX_BYTES], shown[LINE_MAX_BYTES];
    if (vsnprintf(text, sizeof text, format, args) < 0) return;
    log->line(log->ctx, level, tamis_printable(text, shown, sizeof shown));
}

void tamis_info(const tamis_log *log, const char *format, ...) {
    if (!log || !log->line || log->is_quiet) return;
    va_list args;
    va_start(args, format);
    send_line(log, TAMIS_LOG_INFO, format, args);
    va_end(args);
}

void tamis_warn(const tamis_log *log, const char *format, ...) {
    if (!log || !log->line) return;
    va_list args;
    va_start(args, format);
    send_line(log, TAMIS_LOG_WARNING, format, args);
    va_end(args);
}

static void line_to_stream(void *ctx, tamis_log_level level, const char *text) {
    FILE *stream = ctx;
    const char *clear = tamis_terminal_can_redraw(stream) ? "\r\033[K" : "";
    if (level == TAMIS_LOG_INFO)
        fprintf(stream, "%s%s\n", clear, text);
    else if (tamis_terminal_has_colour(stream))
        fprintf(stream, "%s\033[33mwarning:\033[0m %s\n", clear, text);
    else
        fprintf(stream, "%swarning: %s\n", clear, text);
    fflush(stream);
}

tamis_log tamis_log_to_stream(FILE *stream, bool is_quiet) {
    return (tamis_log){.line = line_to_stream, .ctx = stream, .is_quiet = is_quiet};
}
