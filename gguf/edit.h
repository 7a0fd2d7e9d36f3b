/* edit.h - other keys for a model file that exists.
 * An edit collects changes, is checked as a whole, and then either rewrites a few bytes of the
 * file in place or hands out a writer for a new one. What it writes, tamis_gguf_open() reads. */
#ifndef TAMIS_GGUF_EDIT_H
#define TAMIS_GGUF_EDIT_H

#include "gguf/gguf.h"

typedef struct tamis_gguf_edit tamis_gguf_edit;

/* Open a file, or any part of a set: its keys are those of the first file. Close with
 * tamis_gguf_edit_close(). Errors of tamis_gguf_open(). */
tamis_status tamis_gguf_edit_open(const char *path, const tamis_gguf_options *options,
                                  tamis_gguf_edit **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_gguf_edit_close(tamis_gguf_edit *edit);
const tamis_gguf *tamis_gguf_edit_source(const tamis_gguf_edit *edit);

/* Set `key` from text, "VALUE" or "TYPE:VALUE". TYPE is one of
 *   u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool str   a value of that kind
 *   int float       the kind that the key has or is known to have, else u32 (i64) and f32
 *   arr[KIND]       values with commas between; "" is the empty array
 *   json            a JSON text: a list of numbers, strings or bools, or one of them
 *   token           the id of the token with that text
 * Without TYPE the kind of the key's present value counts, or the one that the format fixes for
 * it. A VALUE "@PATH" is read from that file ("@@" begins a text with @). TAMIS_BAD_USAGE when the
 * text is no such value; TAMIS_BAD_INPUT when its file cannot be read. */
tamis_status tamis_gguf_edit_assign(tamis_gguf_edit *edit, const char *key, const char *text,
                                    tamis_error *err) TAMIS_MUST_USE;
/* Set a string as it is. */
tamis_status tamis_gguf_edit_set_string(tamis_gguf_edit *edit, const char *key, const char *data,
                                        size_t n_bytes, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_edit_set_strings(tamis_gguf_edit *edit, const char *key,
                                         const char *const *items, uint64_t n_items,
                                         tamis_error *err) TAMIS_MUST_USE;
/* A file whose contents went into the edit (assign notes its own), and whether `path` is one of
 * those: an output must not be. */
tamis_status tamis_gguf_edit_note_input(tamis_gguf_edit *edit, const char *path,
                                        tamis_error *err) TAMIS_MUST_USE;
bool tamis_gguf_edit_has_input(const tamis_gguf_edit *edit, const char *path);
/* Remove a key. TAMIS_BAD_USAGE naming the nearest key when there is none, unless is_lax. */
tamis_status tamis_gguf_edit_remove(tamis_gguf_edit *edit, const char *key, bool is_lax,
                                    tamis_error *err) TAMIS_MUST_USE;

typedef struct tamis_gguf_change {
    tamis_bytes key;
    bool has_before, has_after;
    tamis_gguf_kv before, after; /* of the two handles below */
} tamis_gguf_change;

/* All changes are made: would tamis_gguf_open() take the result, and does no change touch what the
 * tensors depend on (unless is_forced)? TAMIS_BAD_USAGE with the reason. */
tamis_status tamis_gguf_edit_finish(tamis_gguf_edit *edit, bool is_forced,
                                    tamis_error *err) TAMIS_MUST_USE;
/* After finish: what changes, in the order of the keys (added ones last), and the metadata before
 * and after, to read the values from. Borrowed. */
uint64_t tamis_gguf_edit_n_changes(const tamis_gguf_edit *edit);
tamis_gguf_change tamis_gguf_edit_change(const tamis_gguf_edit *edit, uint64_t i);
const tamis_gguf *tamis_gguf_edit_before(const tamis_gguf_edit *edit);
const tamis_gguf *tamis_gguf_edit_after(const tamis_gguf_edit *edit);

/* True when every change keeps the size of its record and the bytes that differ lie in one sector
 * of 512, so that each is written whole or not at all. Never for big-endian files and for
 * general.alignment. */
bool tamis_gguf_edit_fits_in_place(const tamis_gguf_edit *edit);
/* Write those bytes into the file, and sync. TAMIS_BAD_INPUT when the file changed since it was
 * opened; TAMIS_NO_RESOURCE when it cannot be written. */
tamis_status tamis_gguf_edit_write_in_place(tamis_gguf_edit *edit, tamis_error *err) TAMIS_MUST_USE;

/* A writer for the first file anew (of a set, the other files stay as they are), with the first
 * *n_tensors tensors of the source; or for a whole copy, in one file or spread over several of
 * max_bytes of tensor data (0: one file). Borrowed; one of the two calls per edit. */
tamis_status tamis_gguf_edit_rewrite(tamis_gguf_edit *edit, tamis_gguf_writer **out,
                                     int64_t *n_tensors, tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_gguf_edit_copy(tamis_gguf_edit *edit, uint64_t max_bytes,
                                  tamis_gguf_writer **out, tamis_error *err) TAMIS_MUST_USE;

#endif
