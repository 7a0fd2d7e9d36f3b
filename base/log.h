/* log.h - messages to the person, by way of the caller.
 * Libraries never print: they hand lines to the tamis_log they were given, and
 * main.c decides where those go (stderr, nowhere with --quiet). A NULL log drops
 * every line. Not global: a log is passed like any other argument. */
#ifndef TAMIS_BASE_LOG_H
#define TAMIS_BASE_LOG_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

typedef enum tamis_log_level { TAMIS_LOG_INFO, TAMIS_LOG_WARNING } tamis_log_level;

typedef struct tamis_log {
    /* Receives one line without its newline. Called from one thread at a time. */
    void (*line)(void *ctx, tamis_log_level level, const char *text);
    void *ctx;
    bool is_quiet; /* drop INFO lines; warnings still pass */
} tamis_log;

void tamis_info(const tamis_log *log, const char *format, ...) TAMIS_PRINTF(2, 3);
void tamis_warn(const tamis_log *log, const char *format, ...) TAMIS_PRINTF(2, 3);

/* A log that writes lines to `stream` (normally stderr; warnings as "warning: ...", coloured
 * only on a terminal and without NO_COLOR). Clears a progress bar on the line first. */
tamis_log tamis_log_to_stream(FILE *stream, bool is_quiet);

#endif
