/* outputs.c - what the sub-commands that write model files share; see outputs.h. */
#include "gguf/commands/outputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/input_file.h"
#include "base/parse.h"
#include "base/progress.h"
#include "gguf/copy.h"

bool gguf_wants_text(const tamis_common *common) {
    return !common->json_path || strcmp(common->json_path, "-") != 0;
}

cJSON *gguf_new_json(const tamis_common *common, bool is_dry) {
    if (!common->json_path) return NULL;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "dry_run", is_dry);
    return json;
}

tamis_status gguf_write_json(const tamis_common *common, const cJSON *json, tamis_error *err) {
    return json ? tamis_json_write(json, common->json_path, err) : TAMIS_OK;
}

tamis_status gguf_check_memory(const tamis_common *common, const tamis_gguf *source,
                               tamis_error *err) {
    uint64_t n_bytes = tamis_gguf_copy_memory_bytes(source);
    char need[32], limit[32];
    if (!common->mem_bytes || n_bytes <= common->mem_bytes) return TAMIS_OK;
    return tamis_fail(err, TAMIS_NO_RESOURCE, "%s: %s of memory are needed, --mem allows %s",
                      tamis_gguf_path(source), tamis_format_size(n_bytes, need, sizeof need),
                      tamis_format_size(common->mem_bytes, limit, sizeof limit));
}

/* The path of --json must not be an output. */
static tamis_status check_json(const gguf_output_job *job, const char *path, tamis_error *err) {
    if (!tamis_is_same_file(job->common->json_path, path)) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_USAGE,
                      "'%s' is already a file of this run; give --json another name", path);
}

static tamis_status report(const gguf_output_job *job, bool has_text, tamis_error *err) {
    uint64_t total = 0;
    cJSON *files = job->json ? cJSON_AddArrayToObject(job->json, "files") : NULL;
    for (uint64_t i = 0; i < tamis_gguf_writer_n_files(job->writer); i++) {
        uint64_t n_bytes = 0, n_tensors = tamis_gguf_writer_file_tensors(job->writer, i);
        char *path = NULL;
        tamis_status st = tamis_gguf_writer_path(job->writer, job->path, i, &path, err);
        if (!st) st = tamis_gguf_writer_file_size(job->writer, i, &n_bytes, err);
        if (!st) st = check_json(job, path, err);
        if (!st && has_text)
            printf("%s: %llu tensors, %llu bytes\n", path, (unsigned long long)n_tensors,
                   (unsigned long long)n_bytes);
        if (!st && files) {
            cJSON *item = cJSON_CreateObject();
            cJSON_AddItemToArray(files, item);
            tamis_json_add_bytes(item, "file", path, strlen(path));
            tamis_json_add_uint(item, "n_tensors", n_tensors);
            tamis_json_add_uint(item, "bytes", n_bytes);
        }
        free(path);
        if (st) return st;
        total += n_bytes;
    }
    if (job->json) tamis_json_add_uint(job->json, "total_bytes", total);
    return TAMIS_OK;
}

static tamis_status write_output(const gguf_output_job *job, tamis_error *err) {
    uint64_t n_bytes = 0;
    for (int64_t i = 0; i < job->n_tensors; i++)
        n_bytes += tamis_gguf_tensor_at(job->source, i)->n_bytes;
    tamis_progress *progress = tamis_progress_new(stderr, job->common->quiet);
    tamis_progress_begin(progress, job->label, n_bytes, "B");
    tamis_status st =
        tamis_gguf_copy_run(job->writer, job->source, job->n_tensors, job->path, progress, err);
    tamis_progress_end(progress);
    tamis_progress_free(progress);
    return st;
}

tamis_status gguf_run_output(const gguf_output_job *job, tamis_error *err) {
    tamis_status st = gguf_check_memory(job->common, job->source, err);
    if (!st && !job->is_replacing)
        st = tamis_gguf_check_outputs(job->writer, job->source, job->path, job->is_dry, err);
    if (!st) st = report(job, false, err);
    if (!st && !job->is_dry) st = write_output(job, err);
    if (!st && job->has_listing && (job->is_dry || !job->common->quiet) &&
        gguf_wants_text(job->common)) {
        gguf_output_job text = *job;
        text.json = NULL;
        st = report(&text, true, err);
    }
    return st;
}
