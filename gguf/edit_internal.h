/* edit_internal.h - the state of an edit, shared by edit.c, edit_guard.c and assign.c. */
#ifndef TAMIS_GGUF_EDIT_INTERNAL_H
#define TAMIS_GGUF_EDIT_INTERNAL_H

#include "gguf/edit.h"
#include "gguf/writer_internal.h"

/* Keys as the header of a file without tensors, and that file opened. */
typedef struct gguf_image {
    uint8_t *bytes;
    tamis_gguf *view;
} gguf_image;

struct tamis_gguf_edit {
    tamis_gguf *source;
    tamis_gguf_writer *writer; /* all keys of source with the changes made */
    gguf_image before, after;
    char **inputs; /* paths of files that values were read from */
    uint64_t n_inputs, inputs_capacity;
    tamis_gguf_change *changes;
    uint64_t n_changes, changes_capacity;
};

typedef struct gguf_patch {
    uint64_t offset; /* in the file */
    const uint8_t *old, *new;
    size_t n_bytes;
} gguf_patch;

static inline bool gguf_is_key(tamis_bytes key, const char *text) {
    return key.n_bytes == strlen(text) && !memcmp(key.data, text, key.n_bytes);
}

/* edit_guard.c: TAMIS_BAD_USAGE with the reason when a change touches what tensors or the set
 * depend on. */
tamis_status gguf_guard_change(const tamis_gguf_edit *edit, const tamis_gguf_change *change,
                               bool is_forced, tamis_error *err) TAMIS_MUST_USE;

#endif
