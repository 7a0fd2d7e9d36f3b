/* report.h - a plan and its result, for people and for programs. */
#ifndef TAMIS_QUANTIZE_REPORT_H
#define TAMIS_QUANTIZE_REPORT_H

#include "base/log.h"
#include "quantize/quantize.h"

/* A line for every tensor, sizes, the time it may take (estimate_s; below 0: none), fallbacks. */
void tamis_quantize_report_plan(const tamis_quantize_plan *plan, double estimate_s,
                                const tamis_log *log);
/* What --protect changes; without it what is at risk, and what protecting that would cost. */
void tamis_quantize_report_protection(const tamis_quantize_plan *plan, const tamis_log *log);
/* What was written, and the tensors with the largest relative errors. */
void tamis_quantize_report_result(const tamis_quantize_plan *plan, const char *output,
                                  double seconds, const tamis_log *log);

/* Where a result came from and went to, for the JSON. */
typedef struct tamis_quantize_names {
    const char *source, *output, *imatrix; /* output NULL: a dry run; imatrix NULL: none */
} tamis_quantize_names;
/* To a file or "-"; fields: docs/quantize.md. */
tamis_status tamis_quantize_report_json(const tamis_quantize_plan *plan,
                                        const tamis_quantize_names *names, double seconds,
                                        const char *path, tamis_error *err) TAMIS_MUST_USE;

#endif
