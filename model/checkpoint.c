/* checkpoint.c - when a checkpoint is written, whether one fits this run, and what goes into it;
 * see checkpoint.h. The file itself: checkpoint_file.c. */
#include "model/checkpoint_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/parse.h"
#include "base/progress.h"
#include "formats/formats.h"

enum { WHAT_MAX = 64, VALUE_MAX = 256, MAX_NAMES = 64, COST_FACTOR = 20 };

/* One thing that decides the result. */
typedef struct named {
    char what[WHAT_MAX], value[VALUE_MAX];
} named;

struct tamis_checkpoint {
    tamis_checkpoint_options options;
    named names[MAX_NAMES];
    int n_names;
    tamis_checkpoint_reader reader; /* open between begin and restore of a run that resumes */
    bool has_reader, is_written, has_warned;
    int64_t n_stored; /* layers done in the file there is; 0: none of this run */
    double started_s; /* of the wait for the next one */
    double cost_s;    /* of the last one */
};

tamis_status tamis_checkpoint_new(const tamis_checkpoint_options *options, tamis_checkpoint **out,
                                  tamis_error *err) {
    *out = NULL;
    tamis_checkpoint *cp = tamis_alloc_array(1, sizeof *cp, err);
    if (!cp) return TAMIS_NO_RESOURCE;
    cp->options = *options;
    *out = cp;
    return TAMIS_OK;
}

void tamis_checkpoint_free(tamis_checkpoint *cp) {
    if (!cp) return;
    tamis_checkpoint_reader_close(&cp->reader);
    free(cp);
}

tamis_status tamis_checkpoint_name(tamis_checkpoint *cp, const char *what, const char *value,
                                   tamis_error *err) {
    if (cp->n_names == MAX_NAMES || strlen(what) >= WHAT_MAX || strlen(value) >= VALUE_MAX)
        return tamis_fail(err, TAMIS_BAD_USAGE, "'%s' is too much for a checkpoint", what);
    named *n = &cp->names[cp->n_names++];
    memcpy(n->what, what, strlen(what) + 1);
    memcpy(n->value, value, strlen(value) + 1);
    return TAMIS_OK;
}

tamis_status tamis_checkpoint_path(const char *output_path, char **out, tamis_error *err) {
    static const char SUFFIX[] = ".checkpoint";
    struct stat st;
    *out = NULL;
    if (stat(output_path, &st) == 0 && !S_ISREG(st.st_mode)) return TAMIS_OK;
    const size_t n = strlen(output_path);
    char *path = tamis_alloc_array(n + sizeof SUFFIX, 1, err);
    if (!path) return TAMIS_NO_RESOURCE;
    memcpy(path, output_path, n);
    memcpy(path + n, SUFFIX, sizeof SUFFIX);
    *out = path;
    return TAMIS_OK;
}

void tamis_checkpoint_remove(tamis_checkpoint *cp) {
    if (!cp) return;
    const char *path = cp->options.path;
    tamis_checkpoint_reader_close(&cp->reader);
    if (tamis_checkpoint_probe(path) == TAMIS_CHECKPOINT_IS_ONE) unlink(path);
    /* Opening an output clears what dead runs left beside it. */
    tamis_error ignored;
    if (tamis_output_check(path, NULL, 0, &ignored)) return;
}

/* ---- what decides the result ---- */

static tamis_status write_names(void *ctx, tamis_checkpoint_writer *w, tamis_error *err) {
    const tamis_checkpoint *cp = ctx;
    tamis_status st = tamis_checkpoint_put_number(w, cp->n_names, err);
    return st ? st
              : tamis_checkpoint_put(w, cp->names, (uint64_t)cp->n_names * sizeof *cp->names, err);
}

static const named *find_name(const named *names, int64_t n, const char *what) {
    for (int64_t i = 0; i < n; i++)
        if (strcmp(names[i].what, what) == 0) return &names[i];
    return NULL;
}

/* The names of the file, and the first of ours that is not the same there; NULL when all are. */
static tamis_status read_names(const tamis_checkpoint *cp, tamis_checkpoint_reader *r,
                               named stored[MAX_NAMES], const named **ours, const named **theirs,
                               tamis_error *err) {
    int64_t n = 0;
    *ours = *theirs = NULL;
    tamis_status st = tamis_checkpoint_section_begin(r, "names", err);
    if (!st) st = tamis_checkpoint_get_number(r, 0, MAX_NAMES, &n, err);
    if (!st) st = tamis_checkpoint_get(r, stored, (uint64_t)n * sizeof *stored, err);
    if (!st) st = tamis_checkpoint_section_end(r, err);
    if (st) return st;
    for (int64_t i = 0; i < n; i++) {
        stored[i].what[WHAT_MAX - 1] = 0;
        stored[i].value[VALUE_MAX - 1] = 0;
    }
    for (int i = 0; i < cp->n_names; i++) {
        const named *other = find_name(stored, n, cp->names[i].what);
        if (other && strcmp(other->value, cp->names[i].value) == 0) continue;
        *ours = &cp->names[i];
        *theirs = other;
        return TAMIS_OK;
    }
    if (n != cp->n_names) return tamis_checkpoint_damaged(r, "what it is about", err);
    return TAMIS_OK;
}

static tamis_status read_progress(tamis_checkpoint_reader *r, int64_t *n_done, tamis_error *err) {
    tamis_status st = tamis_checkpoint_section_begin(r, "layers", err);
    if (!st) st = tamis_checkpoint_get_number(r, 1, INT32_MAX, n_done, err);
    return st ? st : tamis_checkpoint_section_end(r, err);
}

/* Open the file; *ours stays NULL when it belongs to this run. */
static tamis_status look(tamis_checkpoint *cp, const named **ours, named *theirs,
                         tamis_error *err) {
    const named *other = NULL;
    *ours = NULL;
    named *stored = tamis_alloc_array(MAX_NAMES, sizeof *stored, err);
    if (!stored) return TAMIS_NO_RESOURCE;
    tamis_status st = tamis_checkpoint_reader_open(cp->options.path, &cp->reader, err);
    if (!st) st = read_names(cp, &cp->reader, stored, ours, &other, err);
    if (!st && !*ours) st = read_progress(&cp->reader, &cp->n_stored, err);
    *theirs = other ? *other : (named){.value = "nothing"};
    free(stored);
    return st;
}

static tamis_status begin_resume(tamis_checkpoint *cp, tamis_error *err) {
    const named *ours;
    named theirs;
    tamis_status st = look(cp, &ours, &theirs, err);
    if (st) return st;
    if (ours)
        return tamis_fail(
            err, TAMIS_BAD_INPUT,
            "%s: the checkpoint is of another run: %s was %s, now it is %s; give what "
            "was given then, or begin again without --resume",
            cp->options.path, ours->what, theirs.value, ours->value);
    cp->has_reader = true;
    return TAMIS_OK;
}

/* A file that will be replaced: say what is lost by it. */
static void begin_anew(tamis_checkpoint *cp) {
    const tamis_log *log = cp->options.log;
    const char *path = cp->options.path;
    const named *ours;
    named theirs;
    tamis_error err = {0};
    if (look(cp, &ours, &theirs, &err))
        tamis_warn(log, "%s; a new one will replace it", err.message);
    else if (ours)
        tamis_warn(log,
                   "%s: a checkpoint of another run (%s was %s, now it is %s) will be replaced",
                   path, ours->what, theirs.value, ours->value);
    else
        tamis_warn(log,
                   "%s: a checkpoint of this run after layer %lld will be replaced; --resume "
                   "would go on from it",
                   path, (long long)cp->n_stored);
    tamis_checkpoint_reader_close(&cp->reader);
    cp->n_stored = 0;
}

tamis_status tamis_checkpoint_begin(tamis_checkpoint *cp, tamis_error *err) {
    const char *path = cp->options.path;
    cp->started_s = tamis_now_s();
    switch (tamis_checkpoint_probe(path)) {
    case TAMIS_CHECKPOINT_NONE:
        if (cp->options.resume)
            tamis_info(cp->options.log, "%s: there is no checkpoint; beginning at the first layer",
                       path);
        return TAMIS_OK;
    case TAMIS_CHECKPOINT_FOREIGN:
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: is in the way of the checkpoint, and no checkpoint; move it away, "
                          "or give --no-checkpoint",
                          path);
    case TAMIS_CHECKPOINT_IS_ONE:
        break;
    }
    if (cp->options.resume) return begin_resume(cp, err);
    if (cp->options.writes) begin_anew(cp);
    return TAMIS_OK;
}

/* ---- the state of a pass ---- */

static tamis_status write_progress(void *ctx, tamis_checkpoint_writer *w, tamis_error *err) {
    const tamis_pass_state *state = ctx;
    return tamis_checkpoint_put_number(w, state->n_done, err);
}

static uint64_t hidden_bytes(const tamis_pass_state *state) {
    return (uint64_t)state->n_tokens * (uint64_t)state->n_embd * sizeof *state->h;
}

static tamis_status write_hidden(void *ctx, tamis_checkpoint_writer *w, tamis_error *err) {
    const tamis_pass_state *state = ctx;
    return tamis_checkpoint_put(w, state->h, hidden_bytes(state), err);
}

static tamis_status write_kept(void *ctx, tamis_checkpoint_writer *w, tamis_error *err) {
    const tamis_pass_state *state = ctx;
    return tamis_checkpoint_put(w, state->kept, state->n_kept * sizeof *state->kept, err);
}

static tamis_status write_observers(void *ctx, tamis_checkpoint_writer *w, tamis_error *err) {
    const tamis_pass_state *state = ctx;
    for (int i = 0; i < state->n_observers; i++) {
        const tamis_observer *o = &state->observers[i];
        tamis_status st = o->save ? o->save(o->ctx, w, err) : TAMIS_OK;
        if (st) return st;
    }
    return TAMIS_OK;
}

/* n finite values from the section `name` into dst. */
static tamis_status read_floats(tamis_checkpoint_reader *r, const char *name, float *dst,
                                uint64_t n, tamis_error *err) {
    tamis_status st = tamis_checkpoint_section_begin(r, name, err);
    if (!st) st = tamis_checkpoint_get(r, dst, n * sizeof *dst, err);
    if (!st) st = tamis_checkpoint_section_end(r, err);
    if (st) return st;
    if (tamis_find_nonfinite(dst, (int64_t)n) < (int64_t)n)
        return tamis_checkpoint_damaged(r, "a value is not finite", err);
    return TAMIS_OK;
}

static tamis_status read_observers(tamis_checkpoint_reader *r, const tamis_pass_state *state,
                                   tamis_error *err) {
    tamis_status st = tamis_checkpoint_section_begin(r, "observed", err);
    for (int i = 0; i < state->n_observers && !st; i++) {
        const tamis_observer *o = &state->observers[i];
        if (o->restore) st = o->restore(o->ctx, r, err);
    }
    return st ? st : tamis_checkpoint_section_end(r, err);
}

tamis_status tamis_checkpoint_restore(tamis_checkpoint *cp, tamis_pass_state *state,
                                      tamis_error *err) {
    tamis_checkpoint_reader *r = &cp->reader;
    if (!cp->has_reader) return TAMIS_OK;
    if (cp->n_stored > state->n_layers)
        return tamis_checkpoint_damaged(r, "more layers than the model has", err);
    tamis_status st =
        read_floats(r, "hidden", state->h, hidden_bytes(state) / sizeof *state->h, err);
    if (!st) st = read_observers(r, state, err);
    if (!st && state->kept) st = read_floats(r, "kept", state->kept, state->n_kept, err);
    if (!st) st = tamis_checkpoint_reader_end(r, err);
    if (st) return st;
    state->n_done = cp->n_stored;
    cp->has_reader = false;
    tamis_checkpoint_reader_close(r);
    tamis_info(cp->options.log, "%s: going on after layer %lld of %lld", cp->options.path,
               (long long)state->n_done, (long long)state->n_layers);
    cp->started_s = tamis_now_s();
    return TAMIS_OK;
}

static bool is_time(const tamis_checkpoint *cp, const tamis_pass_state *state) {
    if (!cp->options.writes) return false;
    if (cp->options.every_s == 0) return true;
    /* What follows the last layer can take as long as several of them. */
    const bool is_last = state->n_done == state->n_layers && cp->is_written;
    double wait_s = is_last ? 0 : (double)cp->options.every_s;
    if (wait_s < COST_FACTOR * cp->cost_s) wait_s = COST_FACTOR * cp->cost_s;
    return tamis_now_s() - cp->started_s >= wait_s;
}

static void say_written(tamis_checkpoint *cp, const tamis_pass_state *state, uint64_t n_bytes) {
    char size[32], took[32];
    if (!cp->is_written)
        tamis_info(cp->options.log,
                   "%s: checkpoint of %s after layer %lld of %lld, written in %s; a killed run "
                   "goes on from the last one with --resume",
                   cp->options.path, tamis_format_size(n_bytes, size, sizeof size),
                   (long long)state->n_done, (long long)state->n_layers,
                   tamis_format_seconds(cp->cost_s, took, sizeof took));
    cp->is_written = true;
}

tamis_status tamis_checkpoint_save(tamis_checkpoint *cp, const tamis_pass_state *state,
                                   tamis_error *err) {
    if (tamis_interrupted()) return tamis_fail_interrupted(err);
    if (!is_time(cp, state)) return TAMIS_OK;
    void *ctx = (void *)state;
    const tamis_section sections[] = {
        {"names", write_names, cp},    {"layers", write_progress, ctx},
        {"hidden", write_hidden, ctx}, {"observed", write_observers, ctx},
        {"kept", write_kept, ctx},
    };
    const int n_all = sizeof sections / sizeof *sections;
    uint64_t n_bytes = 0;
    tamis_error cause = {0};
    const double before_s = tamis_now_s();
    tamis_status st = tamis_checkpoint_write_file(
        cp->options.path, sections, state->kept ? n_all : n_all - 1, &n_bytes, &cause);
    cp->started_s = tamis_now_s();
    cp->cost_s = cp->started_s - before_s;
    if (st == TAMIS_INTERRUPTED) return tamis_fail_interrupted(err);
    if (!st) {
        cp->n_stored = state->n_done;
        say_written(cp, state, n_bytes);
    } else if (!cp->has_warned) {
        cp->has_warned = true;
        tamis_warn(cp->options.log, "no checkpoint after layer %lld, the run goes on: %s",
                   (long long)state->n_done, cause.message);
    }
    return TAMIS_OK;
}

tamis_status tamis_checkpoint_interrupted(const tamis_checkpoint *cp, tamis_error *err) {
    if (!cp || cp->n_stored == 0) return tamis_fail_interrupted(err);
    return tamis_fail(err, TAMIS_INTERRUPTED,
                      "interrupted; --resume goes on after layer %lld, from '%s'",
                      (long long)cp->n_stored, cp->options.path);
}
