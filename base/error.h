/* error.h - status values and the error that belongs to a call.
 * Status values are the exit codes of every tool, so a main.c maps nothing.
 * Library code never prints, exits or aborts: it returns a status and fills a
 * tamis_error whose one-line message names file, tensor or key, and offset, and
 * says what to do. Messages: lower case, no full stop, subject quoted. */
#ifndef TAMIS_BASE_ERROR_H
#define TAMIS_BASE_ERROR_H

#include <stddef.h>

#define TAMIS_MUST_USE __attribute__((warn_unused_result))
#define TAMIS_PRINTF(i_format, i_first) __attribute__((format(printf, i_format, i_first)))

typedef enum tamis_status {
    TAMIS_OK = 0,            /* done */
    TAMIS_CHECK_FAILED = 1,  /* a gate or a check did not pass */
    TAMIS_BAD_USAGE = 2,     /* the command line or an argument is wrong */
    TAMIS_BAD_INPUT = 3,     /* an input is missing, unreadable or malformed */
    TAMIS_NO_RESOURCE = 4,   /* could not write, out of space, out of memory */
    TAMIS_INTERRUPTED = 130, /* stopped by SIGINT or SIGTERM */
} tamis_status;

typedef struct tamis_error {
    tamis_status code;
    char message[1024]; /* one line, NUL-terminated, cut if longer */
} tamis_error;

/* Fill *err (may be NULL) with `code` and a formatted message; returns `code`, so that
 * `return tamis_fail(err, TAMIS_BAD_INPUT, ...)` reads as one statement. */
tamis_status tamis_fail(tamis_error *err, tamis_status code, const char *format, ...)
    TAMIS_PRINTF(3, 4);

/* Put "prefix: " before the message already in *err, for callers that know the
 * file or tensor an inner function did not. Returns err's code. */
tamis_status tamis_fail_prefix(tamis_error *err, const char *format, ...) TAMIS_PRINTF(2, 3);

/* Like tamis_fail() with ": <strerror(errno)>" appended; errno is read first. */
tamis_status tamis_fail_errno(tamis_error *err, tamis_status code, const char *format, ...)
    TAMIS_PRINTF(3, 4);

/* A message as it may reach a terminal, into `out` (capacity `cap`, always NUL-terminated): control
 * and direction characters, line breaks and invalid UTF-8 become \xNN. tamis_fail() and the log do
 * this to all they say, so that a name out of a file cannot break its line. Returns out. */
char *tamis_printable(const char *text, char *out, size_t cap);

/* Write `n_bytes` bytes of untrusted text into `out` (capacity `cap`, always
 * NUL-terminated) with control characters, quotes, backslashes and invalid UTF-8
 * escaped as \n, \t, \", \\ or \xNN; cut with "..." when it does not fit. Returns out. */
char *tamis_escape(const char *text, size_t n_bytes, char *out, size_t cap);

#endif
