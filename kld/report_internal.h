/* report_internal.h - what the reports of a comparison and of --ppl share. */
#ifndef TAMIS_KLD_REPORT_INTERNAL_H
#define TAMIS_KLD_REPORT_INTERNAL_H

#include <stdio.h>

#include "base/json.h"
#include "kld/identity.h"
#include "kld/job.h"

/* {"value", "uncertainty", "unit"}; unit may be NULL. */
void tamis_kld_json_value(cJSON *object, const char *key, double value, double error,
                          const char *unit);
/* file, hash, vocabulary_hash, bytes, bits_per_weight. */
void tamis_kld_json_model(cJSON *object, const tamis_kld_identity *model);
/* The array "chunks" of a model's running statistics, the array "worst" of its worst positions. */
void tamis_kld_json_running(cJSON *object, const tamis_kld_running *running, int64_t n_chunks);
void tamis_kld_json_worst(cJSON *object, const tamis_kld_worst *worst);

/* The peer's table of running statistics. */
void tamis_kld_print_running(const tamis_kld_running *running, int64_t n_chunks, FILE *stream);
/* The worst positions, a few lines each; texts are escaped. */
void tamis_kld_print_worst(const tamis_kld_worst *worst, FILE *stream);

#endif
