/* quantize.h - from full-precision weights to a smaller model file.
 * Choose a type for every tensor (a file type's mix, rules of the user's, fallbacks), plan the
 * result to the byte, then read, encode and write as one pipeline. Nothing here prints.
 * Selection rules: reference/peer-tools.md section 1. */
#ifndef TAMIS_QUANTIZE_QUANTIZE_H
#define TAMIS_QUANTIZE_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "formats/formats.h"
#include "gguf/gguf.h"
#include "imatrix/imatrix_file.h"

/* One row of the file type table: a recipe for a whole file. Constant, never freed. */
typedef struct tamis_file_type {
    int32_t id;           /* general.file_type; -1 for COPY */
    const char *name;     /* "Q4_K_M" */
    int32_t base_type_id; /* what a tensor gets when no rule says otherwise; -1 for COPY */
    const char *help;     /* what it is for */
} tamis_file_type;

/* All rows; an alias ("Q4_K") stands before the row it is short for. */
const tamis_file_type *tamis_file_type_table(int *n_rows);
/* By name (case ignored) or number, the whole string; NULL when it is neither. */
const tamis_file_type *tamis_file_type_find(const char *text);

typedef struct tamis_quantize_options {
    const tamis_file_type *file_type;
    bool pure;                     /* the base type for all, no mix */
    bool leave_output;             /* keep output.weight as it is */
    bool allow_requantize;         /* accept tensors that are quantized already */
    bool protect;                  /* keep or lift what is listed in protect.c */
    bool lax;                      /* a rule or option without effect is a warning, not an error */
    bool no_self_check;            /* do not read the result back */
    tamis_effort effort;           /* of the encoders */
    bool sha256;                   /* name the parent by its SHA-256 rather than XXH3-128 */
    bool keep_split;               /* a file of the result for every file of the source */
    const tamis_type *output_type; /* of output.weight; NULL = by the mix */
    const tamis_type *embedding_type; /* of the token embeddings; NULL = by the mix */
    const char *const *rules;         /* "REGEX=TYPE", first match wins; borrowed */
    const bool *rule_is_file;         /* [n_rules] true: the text is the path of a file of rules,
                                         which stand in its place; NULL: there are none */
    uint64_t n_rules;
    const char *imatrix_path;   /* NULL = none */
    const char *const *include; /* use only matrix entries whose name holds one of these */
    uint64_t n_include;
    const char *const *exclude; /* drop entries whose name holds one of these */
    uint64_t n_exclude;
    bool no_borrow;               /* experts use their own importance alone */
    const char *prune;            /* layers to drop, "3,7"; NULL = none */
    const char *const *overrides; /* "KEY=TYPE:VALUE" */
    uint64_t n_overrides;
    uint64_t shard_bytes, shard_tensors; /* most of a file of the result; 0 = no limit */
    const tamis_log *log;                /* warnings; may be NULL */
} tamis_quantize_options;

/* A kind of layer tensor that --protect looks after. Constant, never freed. */
typedef struct tamis_protected_kind {
    const char *stem;   /* "ssm_alpha" of blk.N.ssm_alpha.weight */
    bool is_lifted;     /* a higher type than by the mix; else the parent's own */
    const char *reason; /* why */
} tamis_protected_kind;

enum { TAMIS_PROTECTED_KINDS_MAX = 24 };

/* What --protect changes, or without it would change: tensors that stay or are lifted. */
typedef struct tamis_protection {
    bool is_on;
    int64_t n_tensors, n_of[TAMIS_PROTECTED_KINDS_MAX];
    uint64_t n_bytes;          /* that they take more than by the mix */
    int64_t n_by_rules;        /* tensors of such kinds that rules gave a lower type */
    const char *first_by_rule; /* the first of these, or NULL */
} tamis_protection;

/* What happens to one tensor. */
typedef struct tamis_quantize_step {
    const tamis_gguf_tensor *tensor;       /* of the source; borrowed */
    const char *name;                      /* in the result; another one when layers were dropped */
    const tamis_type *type;                /* in the result */
    const tamis_type *wanted;              /* before the fallback; = type without one */
    const tamis_imatrix_entry *importance; /* used to encode it, or NULL */
    bool lacks_importance; /* in a block that predicts further tokens, of which the matrix has
                              nothing */
    bool borrows;          /* its experts lean on their mean: see below */
    uint64_t n_bytes;      /* in the result, without padding */
    const char *remark;    /* why it is not what one may expect, or NULL */
    const tamis_type *unprotected;    /* by the mix, where --protect changed it; else NULL */
    struct tamis_tensor_scale *scale; /* what multiplies its decoded weights, or NULL */
    bool is_made;          /* a scale beside a weight: measured by the run, in no source */
    double relative_error; /* |x - x'| / |x| over all its weights, set by the run's self-check;
                              0 for what is copied */
} tamis_quantize_step;

typedef struct tamis_quantize_plan {
    const tamis_gguf *source; /* borrowed */
    const tamis_file_type *file_type;
    tamis_quantize_step *steps; /* in order of the result */
    int64_t n_steps;
    char *names;                       /* behind the steps' names when layers were dropped */
    struct tamis_tensor_scale *scales; /* [n_scales] of the steps */
    int64_t n_scales;
    bool self_check; /* the run reads its result back */
    tamis_effort effort;
    bool sha256;     /* the parent is named by its SHA-256 */
    bool is_checked; /* it has done so: the steps' errors are known */
    char **inputs;   /* other files read: no output may be one of them */
    uint64_t n_inputs;
    tamis_imatrix imatrix;               /* entries after include and exclude; empty without */
    uint64_t source_bytes, result_bytes; /* tensor data, without padding */
    uint64_t n_elems;
    int64_t n_borrowers; /* experts of its tensors that saw fewer than TAMIS_BORROW_TOKENS */
    int64_t n_encoded, n_fallbacks, n_with_importance, n_lacking, n_native, n_pruned;
    int64_t n_modal_kept; /* of towers and projectors: see docs/quantize.md */
    tamis_protection protection;
    tamis_gguf_writer *writer; /* keys and infos of the result, ready to begin */
    uint64_t file_bytes;       /* exact size of the result, of all its files */
    const tamis_log *log;      /* borrowed; may be NULL */
} tamis_quantize_plan;

/* An expert's importance is (n * its own + k * the mean of the tensor's experts) / (n + k), n the
 * tokens it saw, k this. Those that saw fewer lean on the mean more than on their own. */
enum { TAMIS_BORROW_TOKENS = 32 };
/* Experts of a step that borrows, else 0. */
uint64_t tamis_quantize_n_experts(const tamis_quantize_step *s);
/* Whether an expert of it saw fewer than TAMIS_BORROW_TOKENS, and how many. */
bool tamis_quantize_expert_borrows(const tamis_quantize_step *s, uint64_t expert, double *n_tokens);

/* Decide everything before any work. Refuses what would fail later: a source that is quantized
 * already, an importance matrix that lacks what is needed, has another shape or no sums, unsound
 * scales beside the source's weights, types that cannot be encoded, and rules, layers, keys and
 * entries that name nothing or change nothing (TAMIS_BAD_USAGE for what the options ask,
 * TAMIS_BAD_INPUT for what a file holds).
 * `source` must outlive the plan. *out: free with tamis_quantize_plan_free(). */
tamis_status tamis_quantize_plan_new(const tamis_gguf *source,
                                     const tamis_quantize_options *options,
                                     tamis_quantize_plan **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_quantize_plan_free(tamis_quantize_plan *plan);
/* Kinds that the plan's protection changes, or without --protect would change, with the tensors of
 * each; returns their number. */
int tamis_quantize_protected(const tamis_quantize_plan *plan,
                             const tamis_protected_kind *out[TAMIS_PROTECTED_KINDS_MAX],
                             int64_t n_of[TAMIS_PROTECTED_KINDS_MAX]);
/* Bits per weight of the source and of the result (data only). */
double tamis_quantize_source_bpw(const tamis_quantize_plan *plan);
double tamis_quantize_result_bpw(const tamis_quantize_plan *plan);

/* Seconds that carrying the plan out will take about, with n_threads (0 = all cores), from the
 * speed of this machine's encoders as measured on a sample just now. */
tamis_status tamis_quantize_estimate(const tamis_quantize_plan *plan, int n_threads, double *out,
                                     tamis_error *err) TAMIS_MUST_USE;

/* Carry a plan out: the result appears at `path` whole or not at all; with shards, at the names
 * that tamis_gguf_writer_path() makes of it. The same bytes for any n_threads (0 = all cores).
 * Before it appears it is read back: every tensor must be what was encoded, finite, and not zero
 * where its source is not. Memory: at most 256 MiB, for rows of any sane length, whatever the
 * tensors' sizes; less when `budget` (may be NULL) says so. Call it once for a plan.
 * TAMIS_CHECK_FAILED: what was read back is not sound; TAMIS_BAD_USAGE: `path` is an input;
 * TAMIS_BAD_INPUT: weights are not finite (tensor and row named), the source became unreadable;
 * TAMIS_NO_RESOURCE: no space (known before any work), no permission, not enough memory;
 * TAMIS_INTERRUPTED. Nothing is left behind then. */
tamis_status tamis_quantize_run(tamis_quantize_plan *plan, const char *path, int n_threads,
                                tamis_budget *budget, tamis_progress *progress,
                                tamis_error *err) TAMIS_MUST_USE;

/* After a run that was checked: up to n_max steps with the largest relative errors, largest first;
 * returns their number. Copied tensors are never among them. */
int tamis_quantize_worst(const tamis_quantize_plan *plan, int n_max,
                         const tamis_quantize_step **out);

#endif
