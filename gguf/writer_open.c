/* writer_open.c - an output looked at as a reader will see it, before it appears.
 * The bytes come from the file that was written, not from the writer's memory. */
#include <stdlib.h>
#include <string.h>

#include "gguf/writer_internal.h"

tamis_status gguf_open_keys(const tamis_gguf_writer *w, uint8_t **bytes, tamis_gguf **out,
                            tamis_error *err) {
    const tamis_gguf_options options = {.single_file = true};
    uint64_t n_bytes = GGUF_HEADER_BYTES, at = GGUF_HEADER_BYTES;
    size_t n_memory;
    *bytes = NULL;
    *out = NULL;
    for (uint64_t i = 0; i < w->n_records; i++)
        if (!tamis_add_u64(n_bytes, w->records[i].n_bytes, &n_bytes))
            return tamis_fail(err, TAMIS_BAD_INPUT, "the size of the output overflows");
    if (!tamis_to_size(n_bytes, &n_memory))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "the metadata is too long");
    uint8_t *memory = *bytes = tamis_alloc_array(n_bytes, 1, err);
    if (!memory) return TAMIS_NO_RESOURCE;
    memcpy(memory, "GGUF", 4);
    gguf_store(memory + 4, 4, 3);
    gguf_store(memory + 16, 8, w->n_records);
    for (uint64_t i = 0; i < w->n_records; i++) {
        memcpy(memory + at, w->records[i].bytes, w->records[i].n_bytes);
        at += w->records[i].n_bytes;
    }
    return tamis_gguf_open_memory(memory, n_memory, &options, out, err);
}

tamis_status tamis_gguf_check_keys(const tamis_gguf_writer *w, tamis_error *err) {
    tamis_gguf *g = NULL;
    uint8_t *bytes = NULL;
    tamis_status st = gguf_open_keys(w, &bytes, &g, err);
    tamis_gguf_close(g);
    free(bytes);
    return st;
}

tamis_status tamis_gguf_open_written(tamis_gguf_writer *w, uint64_t i_file, tamis_gguf **out,
                                     tamis_error *err) {
    *out = NULL;
    if (!w->output || i_file >= w->n_parts)
        return tamis_fail(err, TAMIS_BAD_USAGE, "no file %llu is being written",
                          (unsigned long long)i_file);
    tamis_output *output = w->parts[i_file].output;
    if (w->i_tensor < w->n_tensors)
        return tamis_fail(err, TAMIS_BAD_USAGE, "%s: not all data has been written",
                          tamis_output_path(output));
    tamis_status st = tamis_output_flush(output, err);
    const char *path = tamis_output_written_path(output);
    if (st || !path) return st;
    const tamis_gguf_options options = {.no_map = true, .single_file = true};
    st = tamis_gguf_open(path, &options, out, err);
    return st ? tamis_fail_prefix(err, "%s, as written", tamis_output_path(output)) : TAMIS_OK;
}
