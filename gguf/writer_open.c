/* writer_open.c - an output looked at as a reader will see it, before it appears.
 * The bytes come from the file that was written, not from the writer's memory. */
#include "gguf/writer_internal.h"

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
