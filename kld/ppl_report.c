/* ppl_report.c - what --ppl prints, for people and as JSON; see ppl.h. */
#include "base/options.h"
#include "base/parse.h"
#include "kld/ppl.h"
#include "kld/report_internal.h"

/* First token of a chunk in the text. */
static int64_t token_of(const tamis_kld_ppl *ppl, const tamis_kld_ppl_model *m, int64_t i_chunk) {
    return i_chunk * (ppl->stride ? ppl->stride : m->n_ctx);
}

static void print_chunks(const tamis_kld_ppl *ppl, const tamis_kld_ppl_model *m, int64_t style,
                         FILE *stream) {
    for (int64_t i = 0; i < m->n_chunks; ++i) {
        const tamis_perplexity *p = &m->running[i];
        if (style == 0)
            fprintf(stream, "[%lld]%.4f,", (long long)i + 1, p->ppl);
        else
            fprintf(stream, "%8lld  %.4f  %f  %f\n", (long long)token_of(ppl, m, i), p->ppl,
                    p->mean, p->mean_error);
    }
    if (style == 0) fputc('\n', stream);
}

static void print_model(const tamis_kld_ppl *ppl, const tamis_kld_ppl_model *m, int64_t style,
                        FILE *stream) {
    const tamis_perplexity *last = &m->running[m->n_chunks - 1];
    fprintf(stream, "%s: %lld %s of %lld tokens", m->model.name, (long long)m->n_chunks,
            ppl->stride ? "windows" : "chunks", (long long)m->n_ctx);
    if (ppl->stride) fprintf(stream, ", %lld apart", (long long)ppl->stride);
    fprintf(stream, ", %lld positions\n", (long long)m->n_rows);
    print_chunks(ppl, m, style, stream);
    fprintf(stream, "Final estimate: PPL = %.4f +/- %.5f\n", last->ppl, last->ppl_error);
}

void tamis_kld_ppl_report_text(const tamis_kld_ppl *ppl, int64_t style, bool only_table,
                               FILE *stream) {
    for (size_t i = 0; i < ppl->n_models && !only_table; ++i)
        print_model(ppl, &ppl->models[i], style, stream);
    if (!only_table && ppl->n_models < 2) return;
    fprintf(stream, "%s%10s  %6s  %12s   %10s  file\n", only_table ? "" : "\n", "size", "bpw",
            "PPL", "+/-");
    for (size_t i = 0; i < ppl->n_models; ++i) {
        const tamis_kld_ppl_model *m = &ppl->models[i];
        const tamis_perplexity *last = &m->running[m->n_chunks - 1];
        char size[32];
        fprintf(stream, "%10s  %6.3f  %12.4f   %10.5f  %s\n",
                tamis_format_size(m->model.n_bytes, size, sizeof size), m->model.bits_per_weight,
                last->ppl, last->ppl_error, m->model.name);
    }
}

static void add_model(cJSON *array, const tamis_kld_ppl *ppl, const tamis_kld_ppl_model *m) {
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToArray(array, object);
    tamis_kld_json_model(object, &m->model);
    cJSON *text = cJSON_AddObjectToObject(object, "text");
    cJSON_AddStringToObject(text, "file", m->text.name);
    cJSON_AddStringToObject(text, "hash", m->text.hash);
    tamis_json_add_int(text, "n_tokens", m->text.n_tokens);
    tamis_json_add_int(object, "n_ctx", m->n_ctx);
    tamis_json_add_int(object, "n_chunks", m->n_chunks);
    tamis_json_add_int(object, "n_positions", m->n_rows);
    const tamis_perplexity *last = &m->running[m->n_chunks - 1];
    tamis_kld_json_value(object, "ppl", last->ppl, last->ppl_error, NULL);
    tamis_kld_json_value(object, "mean_nll", last->mean, last->mean_error, "nats");
    cJSON *chunks = cJSON_AddArrayToObject(object, "chunks");
    for (int64_t i = 0; i < m->n_chunks; ++i) {
        cJSON *chunk = cJSON_CreateObject();
        cJSON_AddItemToArray(chunks, chunk);
        tamis_json_add_int(chunk, "chunk", i + 1);
        tamis_json_add_int(chunk, "token", token_of(ppl, m, i));
        tamis_kld_json_value(chunk, "ppl", m->running[i].ppl, m->running[i].ppl_error, NULL);
    }
}

tamis_status tamis_kld_ppl_report_json(const tamis_kld_ppl *ppl, const char *path,
                                       tamis_error *err) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "tool", "kld");
    cJSON_AddStringToObject(root, "version", tamis_version());
    if (ppl->stride) tamis_json_add_int(root, "stride", ppl->stride);
    cJSON *models = cJSON_AddArrayToObject(root, "models");
    for (size_t i = 0; i < ppl->n_models; ++i)
        add_model(models, ppl, &ppl->models[i]);
    tamis_status st = models ? tamis_json_write(root, path, err)
                             : tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory for the report");
    cJSON_Delete(root);
    return st;
}
