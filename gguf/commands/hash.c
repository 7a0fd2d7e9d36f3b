/* hash.c - "gguf hash": digests of a model file, a manifest of them written and checked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/input_file.h"
#include "base/json.h"
#include "base/terminal.h"
#include "gguf/commands/commands.h"
#include "gguf/manifest.h"

static const char summary[] = "digests of tensors, data and model; write and check a manifest";
static const char usage[] = "[options] FILE...";

/* Memory behind the metadata, and of a thread. */
enum { BASE_BYTES = 8 << 20, WORKER_BYTES = 1 << 20 };

typedef struct arguments {
    tamis_common common;
    bool wants[TAMIS_DIGEST_N_KINDS];
    bool all, model, no_layer, allow_gaps;
    const char *manifest_path, *check_path;
} arguments;

typedef struct hash_run {
    const arguments *args;
    const char *path;
    bool is_silent;       /* lines do not go to standard output */
    tamis_output *output; /* of --manifest; NULL without */
    tamis_manifest *manifest;
    cJSON *lines; /* NULL without --json */
    uint64_t n_of[TAMIS_VERDICT_N];
    tamis_status st; /* of handling lines */
    tamis_error *err;
} hash_run;

static void add_json_line(hash_run *run, const char *algorithm, const char *digest,
                          const char *subject, const tamis_digest_line *line, const char *verdict) {
    static const char *const scopes[] = {"tensor", "data", "model"};
    if (!run->lines) return;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(run->lines, item);
    cJSON_AddStringToObject(item, "algorithm", algorithm);
    cJSON_AddStringToObject(item, "digest", digest);
    if (line) cJSON_AddStringToObject(item, "scope", scopes[line->scope]);
    if (line && line->tensor)
        tamis_json_add_bytes(item, "tensor", line->tensor->name, strlen(line->tensor->name));
    if (!line) tamis_json_add_bytes(item, "subject", subject, strlen(subject));
    if (verdict) cJSON_AddStringToObject(item, "verdict", verdict);
}

/* A finished line goes to the manifest, or to standard output. */
static void print_line(hash_run *run, const char *algorithm, const char *digest,
                       const char *subject, const char *verdict) {
    const char *parts[] = {"  ", digest, "  ", subject};
    char name[64];
    if (!run->output) {
        if (!run->is_silent)
            printf("%-8s  %s  %s%s%s\n", algorithm, digest, subject, verdict ? "  -  " : "",
                   verdict ? verdict : "");
        return;
    }
    snprintf(name, sizeof name, "%-8s", algorithm);
    run->st = tamis_output_write(run->output, name, strlen(name), run->err);
    for (size_t i = 0; !run->st && i < N_OF(parts); i++)
        run->st = tamis_output_write(run->output, parts[i], strlen(parts[i]), run->err);
    if (!run->st) run->st = tamis_output_write(run->output, "\n", 1, run->err);
}

static void take_line(void *ctx, const tamis_digest_line *line) {
    hash_run *run = ctx;
    const char *algorithm = tamis_digest_name(line->kind), *verdict_text = NULL;
    tamis_verdict verdict = TAMIS_VERDICT_OK;
    char *subject = NULL;
    if (run->st) return;
    run->st = tamis_digest_subject(run->path, line, &subject, run->err);
    if (!run->st && run->manifest) {
        run->st = tamis_manifest_compare(run->manifest, line, &verdict, run->err);
        run->n_of[verdict]++;
        verdict_text = tamis_verdict_name(verdict);
    }
    if (!run->st) {
        print_line(run, algorithm, line->text, subject, verdict_text);
        add_json_line(run, algorithm, line->text, subject, line, verdict_text);
    }
    free(subject);
}

static void take_rest(void *ctx, tamis_verdict verdict, const char *algorithm, const char *digest,
                      const char *subject) {
    hash_run *run = ctx;
    run->n_of[verdict]++;
    print_line(run, algorithm, digest, subject, tamis_verdict_name(verdict));
    add_json_line(run, algorithm, digest, subject, NULL, tamis_verdict_name(verdict));
}

/* The algorithms asked for; false when none was. */
static bool asked_for(const arguments *args, bool out[TAMIS_DIGEST_N_KINDS]) {
    bool is_any = false;
    for (int k = 0; k < TAMIS_DIGEST_N_KINDS; k++) {
        out[k] = args->wants[k] || (args->all && k <= TAMIS_DIGEST_SHA256);
        is_any |= out[k];
    }
    return is_any;
}

static void choose(const arguments *args, const tamis_manifest *manifest,
                   tamis_digest_options *options) {
    bool asked[TAMIS_DIGEST_N_KINDS];
    const bool is_any = asked_for(args, asked);
    if (manifest) {
        tamis_manifest_wants(manifest, is_any ? asked : NULL, options);
        if (args->no_layer) options->no_tensors = true;
        return;
    }
    if (!is_any) asked[TAMIS_DIGEST_XXH3_128] = true;
    for (int k = 0; k < TAMIS_DIGEST_N_KINDS; k++) {
        options->wants[k] = asked[k];
        options->wants_model[k] =
            asked[k] && k != TAMIS_DIGEST_UUID && (args->model || k == TAMIS_DIGEST_XXH3_128);
    }
    options->no_tensors = args->no_layer;
}

static tamis_status judge(hash_run *run, tamis_error *err) {
    const uint64_t *n = run->n_of;
    uint64_t n_bad = 0;
    for (int v = TAMIS_VERDICT_OK + 1; v < TAMIS_VERDICT_N; v++)
        n_bad += n[v];
    const bool is_good = !n_bad && n[TAMIS_VERDICT_OK];
    if (!run->is_silent)
        printf("\nVerification results for %s - %s\n", run->args->check_path,
               is_good ? "Success" : "Failure");
    if (is_good) return TAMIS_OK;
    return tamis_fail(err, TAMIS_CHECK_FAILED,
                      "%s: %llu digests as in '%s', %llu different, %llu not in it, %llu of it "
                      "not in the model, %llu of unknown algorithms",
                      run->path, (unsigned long long)n[TAMIS_VERDICT_OK], run->args->check_path,
                      (unsigned long long)n[TAMIS_VERDICT_MISMATCH],
                      (unsigned long long)n[TAMIS_VERDICT_NOT_FOUND],
                      (unsigned long long)n[TAMIS_VERDICT_MISSING],
                      (unsigned long long)n[TAMIS_VERDICT_UNKNOWN]);
}

/* Lines on a terminal show by themselves how far it is. */
static tamis_progress *new_progress(const hash_run *run, const tamis_digest_options *options) {
    const bool shows_lines = !run->is_silent && !run->output && !options->no_tensors;
    return tamis_progress_new(stderr, run->args->common.quiet ||
                                          (shows_lines && tamis_terminal_can_redraw(stdout)));
}

static tamis_status hash_file(hash_run *run, tamis_pool *pool, const tamis_log *log, cJSON *results,
                              tamis_error *err) {
    const arguments *args = run->args;
    const tamis_gguf_options reading = {.allow_gaps = args->allow_gaps, .no_map = true, .log = log};
    tamis_digest_options options = {.pool = pool};
    tamis_gguf *g = NULL;
    tamis_status st;
    memset(run->n_of, 0, sizeof run->n_of);
    run->err = err;
    run->lines = NULL;
    if (results) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(results, item);
        tamis_json_add_bytes(item, "file", run->path, strlen(run->path));
        run->lines = cJSON_AddArrayToObject(item, "digests");
    }
    st = tamis_gguf_open(run->path, &reading, &g, err);
    if (!st && run->manifest) st = tamis_manifest_select(run->manifest, run->path, err);
    if (st) {
        tamis_gguf_close(g);
        return st;
    }
    choose(args, run->manifest, &options);
    options.progress = new_progress(run, &options);
    st = tamis_gguf_hash(g, &options, take_line, run, err);
    tamis_progress_free(options.progress);
    if (!st) st = run->st;
    if (!st && run->manifest) {
        tamis_manifest_rest(run->manifest, &options, take_rest, run);
        st = judge(run, err);
    }
    tamis_gguf_close(g);
    return st;
}

/* Files one after the other. A digest that differs does not keep the next from being looked at;
 * what cannot be read does. */
static tamis_status hash_files(hash_run *run, const tamis_texts *files, const tamis_log *log,
                               tamis_error *err) {
    const arguments *args = run->args;
    tamis_pool *pool = NULL;
    cJSON *root = args->common.json_path ? cJSON_CreateObject() : NULL;
    cJSON *results = root ? cJSON_AddArrayToObject(root, "files") : NULL;
    bool is_failed = false;
    tamis_error failed;
    tamis_status st = gguf_pool_new(&args->common, BASE_BYTES, WORKER_BYTES, &pool, err);
    for (size_t i = 0; !st && i < files->n_items; i++) {
        run->path = files->items[i];
        st = hash_file(run, pool, log, results, err);
        if (st != TAMIS_CHECK_FAILED) continue;
        if (is_failed) (void)tamis_report("gguf hash", &failed);
        failed = *err;
        is_failed = true;
        st = TAMIS_OK;
    }
    if (!st && root) st = tamis_json_write(root, args->common.json_path, err);
    if (is_failed && st) (void)tamis_report("gguf hash", &failed);
    if (is_failed && !st) {
        *err = failed;
        st = failed.code;
    }
    cJSON_Delete(root);
    tamis_pool_free(pool);
    return st;
}

static tamis_status check_usage(const arguments *args, const tamis_texts *files, tamis_error *err) {
    if (!files->n_items) return tamis_fail(err, TAMIS_BAD_USAGE, "no file given");
    if (args->manifest_path && args->check_path)
        return tamis_fail(err, TAMIS_BAD_USAGE, "--manifest and --check exclude each other");
    if (args->manifest_path && args->common.json_path &&
        tamis_is_same_file(args->manifest_path, args->common.json_path))
        return tamis_fail(err, TAMIS_BAD_USAGE, "--manifest and --json name the same file");
    if (args->check_path && args->common.json_path &&
        tamis_is_same_file(args->check_path, args->common.json_path))
        return tamis_fail(err, TAMIS_BAD_USAGE, "--json would replace the manifest");
    tamis_status st = gguf_check_json_path(&args->common, files, err);
    if (!st && args->manifest_path)
        st = tamis_output_check(args->manifest_path, files->items, files->n_items, err);
    return st;
}

static tamis_status run_hash(void *ctx, const tamis_texts *files, const tamis_log *log,
                             tamis_error *err) {
    const arguments *args = ctx;
    hash_run run = {.args = args};
    const char *json_path = args->common.json_path;
    run.is_silent = json_path && !strcmp(json_path, "-");
    tamis_status st = check_usage(args, files, err);
    if (!st && args->check_path) st = tamis_manifest_read(args->check_path, &run.manifest, err);
    if (!st && args->manifest_path) st = tamis_output_open(args->manifest_path, &run.output, err);
    if (!st) st = hash_files(&run, files, log, err);
    if (!st && run.output) {
        tamis_output *output = run.output;
        run.output = NULL;
        st = tamis_output_commit(output, err);
        if (!st) tamis_info(log, "wrote %s", args->manifest_path);
    }
    tamis_output_discard(run.output);
    tamis_manifest_free(run.manifest);
    return st;
}

static const char description[] =
    "Prints one line per digest: the algorithm, the digest, and FILE:TENSOR for the data of a "
    "tensor, FILE for the data of all tensors in file order, FILE#model for the model: metadata, "
    "names, shapes, types and data, in an order that splitting, merging and aligning do not "
    "change. Lines of xxh64, sha1, sha256 and uuid are those of llama-gguf-hash; they cover data "
    "alone, so that two models with equal bytes have equal lines. FILE may be any part of a split "
    "model: the whole set is read.\n\n"
    "With --check every line of the manifest about FILE is answered with Ok, Mismatch, Missing "
    "(not in the model) or Unknown Algorithm, and what the model has and the manifest has not "
    "with Not Found; anything but Ok is exit code 1. A line is about FILE when it names this path, "
    "else a file of the same name in another folder, else when the manifest is about one file "
    "only.";

static int hash_main(int argc, char **argv) {
    arguments args = {0};
    /* clang-format off */
    const tamis_option options[] = {
        { 0, "xxh3-128", TAMIS_OPTION_FLAG, &args.wants[TAMIS_DIGEST_XXH3_128], NULL, "XXH3, 128 bits (default)", 0, 0 },
        { 0, "sha256",   TAMIS_OPTION_FLAG, &args.wants[TAMIS_DIGEST_SHA256],   NULL, "SHA-256", 0, 0 },
        { 0, "xxh64",    TAMIS_OPTION_FLAG, &args.wants[TAMIS_DIGEST_XXH64],    NULL, "XXH64", 0, 0 },
        { 0, "sha1",     TAMIS_OPTION_FLAG, &args.wants[TAMIS_DIGEST_SHA1],     NULL, "SHA-1", 0, 0 },
        { 0, "uuid",     TAMIS_OPTION_FLAG, &args.wants[TAMIS_DIGEST_UUID],     NULL, "UUID made of the data", 0, 0 },
        { 0, "all",      TAMIS_OPTION_FLAG, &args.all,      NULL, "xxh64, sha1 and sha256", 0, 0 },
        { 0, "model",    TAMIS_OPTION_FLAG, &args.model,    NULL, "a FILE#model line for each algorithm (xxh3-128 always has one)", 0, 0 },
        { 0, "no-layer", TAMIS_OPTION_FLAG, &args.no_layer, NULL, "no lines of tensors", 0, 0 },
        { 'o', "manifest", TAMIS_OPTION_TEXT, &args.manifest_path, "FILE", "write the lines to FILE, not to standard output", 0, 0 },
        { 0, "check",    TAMIS_OPTION_TEXT, &args.check_path, "MANIFEST", "compare with the lines of MANIFEST", 0, 0 },
        GGUF_READING_OPTIONS(&args.allow_gaps),
        TAMIS_COMMON_OPTIONS(&args.common),
    };
    /* clang-format on */
    static const tamis_example examples[] = {
        {"gguf hash model.gguf", "XXH3-128 of each tensor, of the data, of the model"},
        {"gguf hash --sha256 -o model.sums model.gguf", "write a manifest"},
        {"gguf hash --check model.sums model.gguf", "check a file against it"},
        {"gguf hash --all --uuid model.gguf", "the lines of llama-gguf-hash --all --uuid"},
    };
    const tamis_command command = {
        .name = "gguf hash",
        .summary = summary,
        .usage = usage,
        .description = description,
        .options = options,
        .n_options = N_OF(options),
        .examples = examples,
        .n_examples = N_OF(examples),
    };
    return tamis_command_main(&command, &args.common, argc, argv, run_hash, &args);
}

const tamis_sub_command gguf_hash_command = {"hash", summary, usage, hash_main};
