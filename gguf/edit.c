/* edit.c - other keys for a model file that exists; see edit.h.
 * The keys before and after are held as two headers without tensors, in memory and
 * opened like files: that is the check of the result, gives both sides of each change,
 * and shows where in the file its bytes lie. */
#include "gguf/edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "gguf/edit_internal.h"

enum { SECTOR_BYTES = 512 };

static const char *const split_keys[] = {"split.no", "split.count", "split.tensors.count"};
enum { N_SPLIT_KEYS = sizeof split_keys / sizeof split_keys[0] };

static void image_release(gguf_image *image) {
    tamis_gguf_close(image->view);
    free(image->bytes);
}

static tamis_status image_init(gguf_image *image, const tamis_gguf_writer *w, tamis_error *err) {
    return gguf_open_keys(w, &image->bytes, &image->view, err);
}

void tamis_gguf_edit_close(tamis_gguf_edit *edit) {
    if (!edit) return;
    image_release(&edit->before);
    image_release(&edit->after);
    free(edit->changes);
    for (uint64_t i = 0; i < edit->n_inputs; i++)
        free(edit->inputs[i]);
    free(edit->inputs);
    tamis_gguf_writer_free(edit->writer);
    tamis_gguf_close(edit->source);
    free(edit);
}

tamis_status tamis_gguf_edit_open(const char *path, const tamis_gguf_options *options,
                                  tamis_gguf_edit **out, tamis_error *err) {
    tamis_status st = TAMIS_NO_RESOURCE;
    *out = NULL;
    tamis_gguf_edit *edit = tamis_alloc_array(1, sizeof *edit, err);
    if (!edit) return st;
    st = tamis_gguf_open(path, options, &edit->source, err);
    if (!st) st = tamis_gguf_writer_new(&edit->writer, err);
    if (!st) st = tamis_gguf_set_all(edit->writer, edit->source, err);
    if (!st) st = image_init(&edit->before, edit->writer, err);
    if (st)
        tamis_gguf_edit_close(edit);
    else
        *out = edit;
    return st;
}

const tamis_gguf *tamis_gguf_edit_source(const tamis_gguf_edit *edit) {
    return edit->source;
}

tamis_status tamis_gguf_edit_set_string(tamis_gguf_edit *edit, const char *key, const char *data,
                                        size_t n_bytes, tamis_error *err) {
    return tamis_gguf_set_string(edit->writer, key, data, n_bytes, err);
}

tamis_status tamis_gguf_edit_set_strings(tamis_gguf_edit *edit, const char *key,
                                         const char *const *items, uint64_t n_items,
                                         tamis_error *err) {
    return tamis_gguf_set_strings(edit->writer, key, items, n_items, err);
}

tamis_status tamis_gguf_edit_note_input(tamis_gguf_edit *edit, const char *path, tamis_error *err) {
    tamis_status st = tamis_grow(&edit->inputs, &edit->inputs_capacity, edit->n_inputs + 1,
                                 sizeof *edit->inputs, err);
    if (st) return st;
    edit->inputs[edit->n_inputs] = tamis_copy_text(path, strlen(path), err);
    if (!edit->inputs[edit->n_inputs]) return TAMIS_NO_RESOURCE;
    edit->n_inputs++;
    return TAMIS_OK;
}

bool tamis_gguf_edit_has_input(const tamis_gguf_edit *edit, const char *path) {
    for (uint64_t i = 0; i < edit->n_inputs; i++)
        if (tamis_is_same_file(edit->inputs[i], path)) return true;
    return false;
}

/* The key of the source nearest to one that it lacks, as a new string; NULL when none is near. */
static char *nearest_key(const tamis_gguf *g, const char *key) {
    int32_t n = tamis_gguf_n_kv(g);
    char *copy = NULL;
    const char *near = NULL;
    char **names = tamis_alloc_array((uint64_t)n, sizeof *names, NULL);
    for (int32_t i = 0; names && i < n; i++) {
        tamis_bytes text = tamis_gguf_kv_at(g, i).key;
        names[i] = tamis_copy_text(text.data, text.n_bytes, NULL);
        if (!names[i]) goto out;
    }
    if (names) near = tamis_nearest(key, (const char *const *)names, (size_t)n);
    if (near) copy = tamis_copy_text(near, strlen(near), NULL);
out:
    for (int32_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
    return copy;
}

tamis_status tamis_gguf_fail_no_key(const tamis_gguf *g, const char *key, tamis_error *err) {
    char quoted[GGUF_QUOTE_BYTES], quoted_near[GGUF_QUOTE_BYTES];
    char *near = nearest_key(g, key);
    tamis_status st = tamis_fail(
        err, TAMIS_BAD_USAGE, "%s: there is no key '%s'%s%s%s", tamis_gguf_path(g),
        gguf_quote((tamis_bytes){key, strlen(key)}, quoted), near ? " (did you mean '" : "",
        near ? gguf_quote((tamis_bytes){near, strlen(near)}, quoted_near) : "", near ? "'?)" : "");
    free(near);
    return st;
}

tamis_status tamis_gguf_edit_remove(tamis_gguf_edit *edit, const char *key, bool is_lax,
                                    tamis_error *err) {
    if (gguf_find_record(edit->writer, key)) {
        tamis_gguf_unset(edit->writer, key);
        return TAMIS_OK;
    }
    if (is_lax) return TAMIS_OK;
    return tamis_gguf_fail_no_key(edit->source, key, err);
}

/* --- what changed --- */

static bool is_same_record(const tamis_gguf_edit *edit, const tamis_gguf_kv *a,
                           const tamis_gguf_kv *b) {
    const gguf_file *x = &edit->before.view->files[0], *y = &edit->after.view->files[0];
    uint64_t n = gguf_file_record_bytes(x, a);
    return n == gguf_file_record_bytes(y, b) &&
           !memcmp(gguf_file_record(x, a), gguf_file_record(y, b), (size_t)n);
}

static tamis_status add_change(tamis_gguf_edit *edit, tamis_gguf_change change, tamis_error *err) {
    tamis_status st = tamis_grow(&edit->changes, &edit->changes_capacity, edit->n_changes + 1,
                                 sizeof *edit->changes, err);
    if (!st) edit->changes[edit->n_changes++] = change;
    return st;
}

static tamis_status find_changes(tamis_gguf_edit *edit, tamis_error *err) {
    const tamis_gguf *before = edit->before.view, *after = edit->after.view;
    tamis_status st = TAMIS_OK;
    for (int32_t i = 0; !st && i < tamis_gguf_n_kv(before); i++) {
        tamis_gguf_change c = {.has_before = true, .before = tamis_gguf_kv_at(before, i)};
        c.key = c.before.key;
        c.has_after = gguf_file_find_bytes(&after->files[0], c.key, &c.after);
        if (!c.has_after || !is_same_record(edit, &c.before, &c.after))
            st = add_change(edit, c, err);
    }
    for (int32_t i = 0; !st && i < tamis_gguf_n_kv(after); i++) {
        tamis_gguf_change c = {.has_after = true, .after = tamis_gguf_kv_at(after, i)};
        tamis_gguf_kv unused;
        c.key = c.after.key;
        if (!gguf_file_find_bytes(&before->files[0], c.key, &unused)) st = add_change(edit, c, err);
    }
    return st;
}

/* Layer and expert numbers in the tensors' names, under the new keys. */
static tamis_status check_layers(const tamis_gguf_edit *edit, tamis_error *err) {
    tamis_gguf view = {.files = edit->after.view->files, .n_files = 1};
    view.n_tensors = edit->source->n_tensors;
    view.tensors = tamis_alloc_array(view.n_tensors, sizeof *view.tensors, err);
    if (!view.tensors) return TAMIS_NO_RESOURCE;
    for (uint64_t i = 0; i < view.n_tensors; i++)
        view.tensors[i].name = edit->source->tensors[i].name;
    tamis_status st = gguf_check_layer_numbers(&view, err);
    free(view.tensors);
    return st;
}

tamis_status tamis_gguf_edit_finish(tamis_gguf_edit *edit, bool is_forced, tamis_error *err) {
    edit->n_changes = 0;
    image_release(&edit->after);
    edit->after = (gguf_image){0};
    tamis_status st = image_init(&edit->after, edit->writer, err);
    if (!st) st = check_layers(edit, err);
    if (st == TAMIS_BAD_INPUT) {
        static const char image_name[] = "<memory>: ";
        const char *why = err ? err->message : "";
        if (!strncmp(why, image_name, sizeof image_name - 1)) why += sizeof image_name - 1;
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s: the result could not be read: %s",
                          tamis_gguf_path(edit->source), why);
    }
    if (!st) st = find_changes(edit, err);
    for (uint64_t i = 0; !st && i < edit->n_changes; i++)
        st = gguf_guard_change(edit, &edit->changes[i], is_forced, err);
    return st;
}

uint64_t tamis_gguf_edit_n_changes(const tamis_gguf_edit *edit) {
    return edit->n_changes;
}

tamis_gguf_change tamis_gguf_edit_change(const tamis_gguf_edit *edit, uint64_t i) {
    return edit->changes[i];
}

const tamis_gguf *tamis_gguf_edit_before(const tamis_gguf_edit *edit) {
    return edit->before.view;
}

const tamis_gguf *tamis_gguf_edit_after(const tamis_gguf_edit *edit) {
    return edit->after.view;
}

/* --- in place --- */

/* The bytes of a change that differ: their place in the file and in both headers. False when the
 * record changes its size. */
static bool find_patch(const tamis_gguf_edit *edit, const tamis_gguf_change *c, gguf_patch *out) {
    const gguf_file *x = &edit->before.view->files[0], *y = &edit->after.view->files[0];
    if (!c->has_before || !c->has_after) return false;
    const uint8_t *old = gguf_file_record(x, &c->before), *new = gguf_file_record(y, &c->after);
    uint64_t n = gguf_file_record_bytes(x, &c->before), first = 0;
    if (n != gguf_file_record_bytes(y, &c->after)) return false;
    while (n > first && old[n - 1] == new[n - 1])
        n--;
    while (first < n && old[first] == new[first])
        first++;
    /* A little-endian file begins with the very bytes of its header's image. */
    out->offset = (uint64_t)(old - x->head) + first;
    out->old = old + first;
    out->new = new + first;
    out->n_bytes = (size_t)(n - first);
    return true;
}

bool tamis_gguf_edit_fits_in_place(const tamis_gguf_edit *edit) {
    if (tamis_gguf_is_big_endian(edit->source)) return false;
    for (uint64_t i = 0; i < edit->n_changes; i++) {
        const tamis_gguf_change *c = &edit->changes[i];
        gguf_patch patch;
        if (gguf_is_key(c->key, "general.alignment") || !find_patch(edit, c, &patch)) return false;
        if (patch.offset / SECTOR_BYTES != (patch.offset + patch.n_bytes - 1) / SECTOR_BYTES)
            return false;
    }
    return true;
}

tamis_status tamis_gguf_edit_write_in_place(tamis_gguf_edit *edit, tamis_error *err) {
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; !st && i < edit->n_changes; i++) {
        gguf_patch patch;
        if (!find_patch(edit, &edit->changes[i], &patch))
            return tamis_fail(err, TAMIS_BAD_USAGE, "%s: a change does not fit in place",
                              tamis_gguf_path(edit->source));
        st = tamis_patch_file(tamis_gguf_path(edit->source), patch.offset, patch.old, patch.new,
                              patch.n_bytes, err);
    }
    return st;
}

/* --- a new file --- */

tamis_status tamis_gguf_edit_rewrite(tamis_gguf_edit *edit, tamis_gguf_writer **out,
                                     int64_t *n_tensors, tamis_error *err) {
    int64_t n = 0;
    tamis_status st = TAMIS_OK;
    for (; !st && n < tamis_gguf_n_tensors(edit->source); n++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(edit->source, n);
        if (t->i_file) break;
        st = tamis_gguf_add_copy(edit->writer, t, err);
    }
    *n_tensors = n;
    *out = edit->writer;
    return st;
}

tamis_status tamis_gguf_edit_copy(tamis_gguf_edit *edit, uint64_t max_bytes,
                                  tamis_gguf_writer **out, tamis_error *err) {
    const tamis_gguf_shards shards = {.max_bytes = max_bytes};
    for (int i = 0; tamis_gguf_n_files(edit->source) > 1 && i < N_SPLIT_KEYS; i++)
        tamis_gguf_unset(edit->writer, split_keys[i]);
    tamis_status st = tamis_gguf_add_all(edit->writer, edit->source, err);
    if (!st && max_bytes) st = tamis_gguf_set_shards(edit->writer, &shards, err);
    *out = edit->writer;
    return st;
}
