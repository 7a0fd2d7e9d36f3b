/* report.h - the results of a run, for people and for programs. */
#ifndef TAMIS_KLD_REPORT_H
#define TAMIS_KLD_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "kld/job.h"

/* Per quantized model the blocks of lines that llama-perplexity prints (same names, an error bar
 * wherever there is one), then one table of all (only_table: nothing else); without any, the
 * parent's perplexity. */
void tamis_kld_report_text(const tamis_kld_result *result, bool only_table, FILE *stream);

/* The same values with their uncertainties as JSON, to a file or "-"; fields: docs/kld.md. */
tamis_status tamis_kld_report_json(const tamis_kld_result *result, const char *path,
                                   tamis_error *err) TAMIS_MUST_USE;

#endif
