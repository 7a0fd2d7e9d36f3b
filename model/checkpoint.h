/* checkpoint.h - a file from which a long pass goes on after it was killed.
 * It holds what a pass carries from one layer to the next: the residual stream of all tokens, the
 * number of layers done, what the observers have gathered, and everything that decides the result,
 * so that it is never used for another run. The run that goes on gives the same bits as one that
 * was never stopped. Layout: checkpoint_file.c. */
#ifndef TAMIS_MODEL_CHECKPOINT_H
#define TAMIS_MODEL_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

typedef struct tamis_checkpoint tamis_checkpoint;

typedef struct tamis_checkpoint_options {
    const char *path;     /* borrowed */
    bool resume;          /* go on from the file when it is there */
    bool writes;          /* write new ones */
    int64_t every_s;      /* at least so many seconds between two, and twenty times as long as the
                             last one took (behind the last layer only that, when there was one
                             before); 0: after every layer */
    const tamis_log *log; /* borrowed */
} tamis_checkpoint_options;

/* New checkpoint for one pass (tamis_pass_options.checkpoint). Nothing is read or written yet. Free
 * with tamis_checkpoint_free(), which leaves the file alone. */
tamis_status tamis_checkpoint_new(const tamis_checkpoint_options *options, tamis_checkpoint **out,
                                  tamis_error *err) TAMIS_MUST_USE;
void tamis_checkpoint_free(tamis_checkpoint *cp);

/* Something that decides the result besides model, tokens, context and engine, which the pass names
 * itself: `what` it is ("--process-output") and its value, both copied. Before the pass. */
tamis_status tamis_checkpoint_name(tamis_checkpoint *cp, const char *what, const char *value,
                                   tamis_error *err) TAMIS_MUST_USE;

/* The result is safe: remove the file, and what killed runs left of it. A file of that name that is
 * no checkpoint stays. NULL is accepted. */
void tamis_checkpoint_remove(tamis_checkpoint *cp);

/* A run that was interrupted, in its pass or after it: TAMIS_INTERRUPTED, saying where it can go
 * on. NULL is accepted. */
tamis_status tamis_checkpoint_interrupted(const tamis_checkpoint *cp, tamis_error *err);

/* "<output>.checkpoint", free() it; *out is NULL when the output is written directly (a pipe, a
 * device), which has nothing to resume. */
tamis_status tamis_checkpoint_path(const char *output_path, char **out,
                                   tamis_error *err) TAMIS_MUST_USE;

/* What an observer saves and restores with. A section is read back in the pieces it was written in;
 * asking for more than it has is TAMIS_BAD_INPUT. Numbers are 64-bit integers. */
typedef struct tamis_checkpoint_writer tamis_checkpoint_writer;
tamis_status tamis_checkpoint_put(tamis_checkpoint_writer *w, const void *data, uint64_t n_bytes,
                                  tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_checkpoint_put_number(tamis_checkpoint_writer *w, int64_t value,
                                         tamis_error *err) TAMIS_MUST_USE;

typedef struct tamis_checkpoint_reader tamis_checkpoint_reader;
tamis_status tamis_checkpoint_get(tamis_checkpoint_reader *r, void *data, uint64_t n_bytes,
                                  tamis_error *err) TAMIS_MUST_USE;
/* A number within [lo, hi], or TAMIS_BAD_INPUT. */
tamis_status tamis_checkpoint_get_number(tamis_checkpoint_reader *r, int64_t lo, int64_t hi,
                                         int64_t *out, tamis_error *err) TAMIS_MUST_USE;
/* Bytes of the section that were not read yet: the bound for what is allocated for them. */
uint64_t tamis_checkpoint_left(const tamis_checkpoint_reader *r);
/* TAMIS_BAD_INPUT: "<file>: the checkpoint is damaged (<what>)" and what to do. */
tamis_status tamis_checkpoint_damaged(const tamis_checkpoint_reader *r, const char *what,
                                      tamis_error *err);

#endif
