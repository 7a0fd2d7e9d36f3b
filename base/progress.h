/* progress.h - a progress bar with rate and time left, on a terminal only.
 * On anything else it draws nothing, so logs stay clean. Cheap to update: it
 * redraws at most ten times a second. Updated from one thread. */
#ifndef TAMIS_BASE_PROGRESS_H
#define TAMIS_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Seconds of a clock that only runs forward; for durations. */
double tamis_now_s(void);

typedef struct tamis_progress tamis_progress;

/* New bar that draws on `stream` when that is a terminal and is_quiet is false. Never NULL-
 * checks needed by callers: every function below accepts a NULL progress and does nothing. */
tamis_progress *tamis_progress_new(FILE *stream, bool is_quiet);
void tamis_progress_free(tamis_progress *p);

/* Start a stage: `label` (copied), total in `unit`s ("tokens", "B"; "B" prints as sizes). */
void tamis_progress_begin(tamis_progress *p, const char *label, uint64_t total, const char *unit);
void tamis_progress_advance(tamis_progress *p, uint64_t n_more);
/* Text shown at the end of the bar, e.g. the running perplexity (copied; NULL clears). */
void tamis_progress_note(tamis_progress *p, const char *text);
/* Erase the bar. */
void tamis_progress_end(tamis_progress *p);

#endif
