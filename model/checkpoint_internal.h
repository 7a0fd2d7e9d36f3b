/* checkpoint_internal.h - what the pass does with a checkpoint, and the sections of its file. */
#ifndef TAMIS_MODEL_CHECKPOINT_INTERNAL_H
#define TAMIS_MODEL_CHECKPOINT_INTERNAL_H

#include "base/atomic_file.h"
#include "base/hash.h"
#include "base/input_file.h"
#include "model/checkpoint.h"
#include "model/pass.h"

/* What a pass carries between layers. */
typedef struct tamis_pass_state {
    int64_t n_layers, n_done; /* all, and those that every token went through */
    int64_t n_tokens, n_embd;
    float *h;    /* [n_tokens][n_embd] */
    float *kept; /* [n_kept] keys and values that later layers attend to; NULL: none */
    uint64_t n_kept;
    const tamis_observer *observers;
    int n_observers;
} tamis_pass_state;

/* Look at the file there is, once all is named that decides the result. To resume: one that does
 * not belong to this run is TAMIS_BAD_INPUT, saying what differs. Not to resume: a warning that it
 * will be replaced. A file that is no checkpoint is TAMIS_BAD_USAGE. */
tamis_status tamis_checkpoint_begin(tamis_checkpoint *cp, tamis_error *err) TAMIS_MUST_USE;

/* Fill *state (h, kept, n_done and the observers) from the file that begin found; n_done stays 0
 * when there is nothing to go on from. TAMIS_BAD_INPUT when it is damaged. */
tamis_status tamis_checkpoint_restore(tamis_checkpoint *cp, tamis_pass_state *state,
                                      tamis_error *err) TAMIS_MUST_USE;

/* After a layer: write the file when it is time. One that cannot be written is a warning.
 * TAMIS_INTERRUPTED when stopped meanwhile. */
tamis_status tamis_checkpoint_save(tamis_checkpoint *cp, const tamis_pass_state *state,
                                   tamis_error *err) TAMIS_MUST_USE;

enum { TAMIS_SECTION_NAME_BYTES = 8 };

/* Writing: fills a section, or only counts its bytes when there is no output. */
struct tamis_checkpoint_writer {
    tamis_output *out; /* NULL: only count */
    tamis_hash *hash;
    uint64_t n_bytes;    /* of this section so far */
    uint64_t n_unsynced; /* handed to the system and perhaps not on disk */
};

/* Fills one section. */
typedef tamis_status tamis_section_fn(void *ctx, tamis_checkpoint_writer *w, tamis_error *err);
typedef struct tamis_section {
    const char *name; /* at most TAMIS_SECTION_NAME_BYTES */
    tamis_section_fn *write;
    void *ctx;
} tamis_section;

/* Write header and sections to `path`, whole or not at all. */
tamis_status tamis_checkpoint_write_file(const char *path, const tamis_section *sections,
                                         int n_sections, uint64_t *n_bytes,
                                         tamis_error *err) TAMIS_MUST_USE;

struct tamis_checkpoint_reader {
    tamis_input *in;
    tamis_hash *hash;
    uint64_t at, section_end; /* offsets in the file */
};

typedef enum tamis_checkpoint_kind {
    TAMIS_CHECKPOINT_NONE,    /* there is no such file */
    TAMIS_CHECKPOINT_FOREIGN, /* a file, but no checkpoint */
    TAMIS_CHECKPOINT_IS_ONE,
} tamis_checkpoint_kind;

/* What lies at `path`, by its first bytes. */
tamis_checkpoint_kind tamis_checkpoint_probe(const char *path);

/* Open and check the header. Close with tamis_checkpoint_reader_close(), also after an error. */
tamis_status tamis_checkpoint_reader_open(const char *path, tamis_checkpoint_reader *r,
                                          tamis_error *err) TAMIS_MUST_USE;
void tamis_checkpoint_reader_close(tamis_checkpoint_reader *r);
/* The next section, which must have this name; end checks that all of it was read and its sum. */
tamis_status tamis_checkpoint_section_begin(tamis_checkpoint_reader *r, const char *name,
                                            tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_checkpoint_section_end(tamis_checkpoint_reader *r,
                                          tamis_error *err) TAMIS_MUST_USE;
/* After the last section: nothing may follow. */
tamis_status tamis_checkpoint_reader_end(const tamis_checkpoint_reader *r,
                                         tamis_error *err) TAMIS_MUST_USE;

#endif
