/* report_json.c - see report.h. Nothing in it depends on time, threads or machine. */
#include "base/options.h"
#include "kld/report.h"
#include "kld/report_internal.h"

void tamis_kld_json_value(cJSON *object, const char *key, double value, double error,
                          const char *unit) {
    cJSON *item = cJSON_AddObjectToObject(object, key);
    tamis_json_add_double(item, "value", value);
    tamis_json_add_double(item, "uncertainty", error);
    if (unit) cJSON_AddStringToObject(item, "unit", unit);
}

void tamis_kld_json_model(cJSON *object, const tamis_kld_identity *model) {
    cJSON_AddStringToObject(object, "file", model->name);
    cJSON_AddStringToObject(object, "hash", model->hash);
    cJSON_AddStringToObject(object, "vocabulary_hash", model->vocab_hash);
    tamis_json_add_uint(object, "bytes", model->n_bytes);
    tamis_json_add_double(object, "bits_per_weight", model->bits_per_weight);
}

static const char *unit_of(const tamis_kld_stat_info *info, int i) {
    if (info->is_percent) return "%";
    return info->block == TAMIS_KLD_KLD || i == TAMIS_KLD_LN_RATIO ? "nats" : NULL;
}

static void add_stats(cJSON *object, const tamis_kld_stats *stats) {
    for (int i = 0; i < TAMIS_KLD_N_STATS; ++i) {
        const tamis_kld_stat_info *info = &tamis_kld_stat_table[i];
        cJSON *group = object;
        if (info->group) {
            group = cJSON_GetObjectItemCaseSensitive(object, info->group);
            if (!group) group = cJSON_AddObjectToObject(object, info->group);
        }
        tamis_kld_json_value(group, info->key, stats->of[i].value, stats->of[i].error,
                             unit_of(info, i));
    }
}

/* The multi-token prediction blocks of a model against its parent's. */
static void add_mtp(cJSON *object, const tamis_kld_mtp *mtp, int64_t n_mtp) {
    cJSON *array = n_mtp ? cJSON_AddArrayToObject(object, "mtp") : NULL;
    for (int64_t k = 0; k < n_mtp; ++k) {
        const tamis_kld_mtp *m = &mtp[k];
        cJSON *block = cJSON_CreateObject();
        cJSON_AddItemToArray(array, block);
        tamis_json_add_int(block, "block", k + 1);
        tamis_json_add_int(block, "n_positions", m->stats.n);
        tamis_kld_json_value(block, "acceptance", m->quant.acceptance.value,
                             m->quant.acceptance.error, "%");
        tamis_kld_json_value(block, "acceptance_base", m->parent.acceptance.value,
                             m->parent.acceptance.error, "%");
        tamis_kld_json_value(block, "acceptance_difference", m->difference.value,
                             m->difference.error, "%");
        add_stats(block, &m->stats);
    }
}

static void add_parent_mtp(cJSON *parent, const tamis_kld_result *result) {
    cJSON *array = result->n_mtp ? cJSON_AddArrayToObject(parent, "mtp") : NULL;
    for (int64_t k = 0; k < result->n_mtp; ++k) {
        const tamis_kld_drafts *d = &result->parent_drafts[k];
        cJSON *block = cJSON_CreateObject();
        cJSON_AddItemToArray(array, block);
        tamis_json_add_int(block, "block", k + 1);
        tamis_json_add_int(block, "n_positions", d->perplexity.n);
        tamis_kld_json_value(block, "acceptance", d->acceptance.value, d->acceptance.error, "%");
        tamis_kld_json_value(block, "ppl", d->perplexity.ppl, d->perplexity.ppl_error, NULL);
    }
}

static void add_quant(cJSON *array, const tamis_kld_quant *quant, const tamis_kld_result *result) {
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToArray(array, object);
    tamis_kld_json_model(object, &quant->model);
    add_stats(object, &quant->stats);
    add_mtp(object, quant->mtp, result->n_mtp);
    if (quant->running) tamis_kld_json_running(object, quant->running, result->n_chunks);
    if (quant->worst.n) tamis_kld_json_worst(object, &quant->worst);
}

tamis_status tamis_kld_report_json(const tamis_kld_result *result, const char *path,
                                   tamis_error *err) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "tool", "kld");
    cJSON_AddStringToObject(root, "version", tamis_version());
    cJSON *text = cJSON_AddObjectToObject(root, "text");
    cJSON_AddStringToObject(text, "file", result->text.name);
    cJSON_AddStringToObject(text, "hash", result->text.hash);
    tamis_json_add_int(text, "n_tokens", result->text.n_tokens);
    if (result->llama_base[0]) {
        cJSON *base = cJSON_AddObjectToObject(root, "base");
        cJSON_AddStringToObject(base, "file", result->llama_base);
        cJSON_AddStringToObject(base, "layout", "llama-perplexity");
        tamis_json_add_double(base, "range", result->llama_base_range);
    }
    tamis_json_add_int(root, "n_ctx", result->n_ctx);
    tamis_json_add_int(root, "n_chunks", result->n_chunks);
    cJSON_AddStringToObject(root, "score", tamis_kld_score_name(result->score));
    tamis_json_add_int(root, "n_positions", result->n_rows);
    cJSON *parent = cJSON_AddObjectToObject(root, "parent");
    tamis_kld_json_model(parent, &result->parent);
    tamis_kld_json_value(parent, "ppl", result->parent_perplexity.ppl,
                         result->parent_perplexity.ppl_error, NULL);
    add_parent_mtp(parent, result);
    cJSON *quants = cJSON_AddArrayToObject(root, "quants");
    for (size_t i = 0; i < result->n_quants; ++i)
        add_quant(quants, &result->quants[i], result);
    tamis_status st = quants ? tamis_json_write(root, path, err)
                             : tamis_fail(err, TAMIS_NO_RESOURCE, "out of memory for the report");
    cJSON_Delete(root);
    return st;
}
