/* support_change.h - copies of the fixtures in fixtures/arch that differ in a tensor or a key, and
 * models opened from them. Failures that no test asks about end the test. */
#ifndef TAMIS_TESTS_SUPPORT_CHANGE_H
#define TAMIS_TESTS_SUPPORT_CHANGE_H

#include "support.h"

#include "model/pass.h"

/* How a copy differs from its fixture. */
typedef struct change {
    const char *drop;         /* tensor left out */
    const char *grow;         /* tensor with one more entry in its last dimension */
    const char *add;          /* f32 tensor of one value more */
    const char *unset;        /* key left out */
    const char *key;          /* key set to: */
    tamis_gguf_kind kind;
    double value;
    const char *text;         /* for STRING */
    const tamis_gguf *copy;   /* or: its first value */
    const struct change *also; /* another key to set, and so on; NULL: none */
    const char *from, *to;    /* architecture, by whose names the keys begin: it becomes another */
    const char *part, *new_part; /* of tensors' names: it becomes another */
} change;

/* Of the last call that failed. */
extern tamis_error change_error;

/* Fail with the message in change_error unless TAMIS_OK. */
void change_ok(tamis_status st);
/* Where the changed copy lies. */
const char *changed_path(void);
tamis_gguf *open_fixture(const char *fixture);
/* Write the changed copy and open it as a model; the status is the caller's to judge. */
tamis_status open_changed(const char *fixture, const change *c, tamis_model **out);
void check_opens(const char *fixture, const change *c);
/* TAMIS_BAD_INPUT with a message that names the file, has `words` and, if not NULL, `more`. */
void check_refused(const char *fixture, const change *c, const char *words, const char *more);
/* The one key "name" with an array of n times the same u32, as a container of its own for
 * change.copy; close it, then free *out_data. */
tamis_gguf *array_of(const char *name, uint32_t value, uint64_t n, char **out_data);
/* An open model's final hidden states of the fixture's 96 tokens [96][*n_embd]; free them. */
float *final_states(const char *fixture, const char *path, int64_t *n_embd);
/* The changed copy gives the fixture's final hidden states. */
void assert_like_fixture(const char *fixture);

#endif
