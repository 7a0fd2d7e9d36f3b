/* tokenize.c - the speed of a file's tokenizer on one core, in MB of text per second: the texts
 * are repeated up to a size and tokenized a few times, the best counts. With --ids it prints the
 * ids of the texts instead, as `llama-tokenize --ids` does, to compare the two. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/input_file.h"
#include "base/options.h"
#include "gguf/gguf.h"
#include "model/tokenizer.h"

struct options {
    const char *model;
    int64_t n_mb, n_runs;
    bool prints_ids, keeps_special_text;
};

/* All texts one behind the other, repeated until there are n_wanted bytes. */
static tamis_status read_texts(const tamis_texts *paths, uint64_t n_wanted, char **out,
                               uint64_t *n_out, tamis_error *err) {
    uint64_t capacity = 0;
    tamis_status st = TAMIS_OK;
    for (uint64_t i = 0; !st && (i < (uint64_t)paths->n_items || *n_out < n_wanted); i++) {
        char *text;
        size_t n;
        st = tamis_read_file(paths->items[i % (uint64_t)paths->n_items], UINT32_MAX, &text, &n, err);
        if (st) break;
        if (n == 0) st = tamis_fail(err, TAMIS_BAD_INPUT, "a text is empty");
        if (!st) st = tamis_grow(out, &capacity, *n_out + n, 1, err);
        if (!st) memcpy(*out + *n_out, text, n);
        *n_out += n;
        free(text);
    }
    return st;
}

static tamis_status measure(const struct options *o, const tamis_tokenizer *t, const char *text,
                            uint64_t n_bytes, tamis_error *err) {
    double best = 0;
    uint64_t n_ids = 0;
    for (int64_t run = 0; run < o->n_runs; run++) {
        tamis_tokens ids = { 0 };
        clock_t started = clock(); /* of the processor: other programs do not count */
        tamis_status st =
            tamis_tokenize(t, text, n_bytes, true, !o->keeps_special_text, &ids, err);
        double rate = (double)n_bytes / 1e6 * CLOCKS_PER_SEC / (double)(clock() - started);
        if (rate > best) best = rate;
        n_ids = ids.n_ids;
        tamis_tokens_release(&ids);
        if (st) return st;
    }
    printf("%.1f MB/s  %.2f MB, %" PRIu64 " tokens, best of %" PRId64 "  %s\n", best,
           (double)n_bytes / 1e6, n_ids, o->n_runs, o->model);
    return TAMIS_OK;
}

static tamis_status print_ids(const struct options *o, const tamis_tokenizer *t, const char *text,
                              uint64_t n_bytes, tamis_error *err) {
    tamis_tokens ids = { 0 };
    tamis_status st = tamis_tokenize(t, text, n_bytes, true, !o->keeps_special_text, &ids, err);
    printf("[");
    for (uint64_t i = 0; i < ids.n_ids; i++) printf("%s%" PRId32, i ? ", " : "", ids.ids[i]);
    printf("]\n");
    tamis_tokens_release(&ids);
    return st;
}

static tamis_status run(const struct options *o, const tamis_texts *paths, tamis_error *err) {
    tamis_gguf *g = NULL;
    tamis_tokenizer *t = NULL;
    char *text = NULL;
    uint64_t n_bytes = 0;
    tamis_status st = tamis_gguf_open(o->model, NULL, &g, err);
    if (!st) st = tamis_tokenizer_new(g, &t, err);
    if (!st)
        st = read_texts(paths, o->prints_ids ? 0 : (uint64_t)o->n_mb * 1000000, &text, &n_bytes, err);
    if (!st) st = (o->prints_ids ? print_ids : measure)(o, t, text, n_bytes, err);
    free(text);
    tamis_tokenizer_free(t);
    tamis_gguf_close(g);
    return st;
}

int main(int argc, char **argv) {
    struct options o = { .n_mb = 5, .n_runs = 3 };
    tamis_common common = { 0 };
    const tamis_option options[] = {
        { 'm', "model", TAMIS_OPTION_TEXT, &o.model, "FILE", "model or vocabulary (GGUF)", 0, 0 },
        { 0, "mb", TAMIS_OPTION_INT, &o.n_mb, "N", "repeat the texts up to N MB", 1, 4000 },
        { 0, "runs", TAMIS_OPTION_INT, &o.n_runs, "N", "runs, the best counts", 1, 1000 },
        { 0, "ids", TAMIS_OPTION_FLAG, &o.prints_ids, NULL, "print the ids of the texts instead", 0, 0 },
        { 0, "no-parse-special", TAMIS_OPTION_FLAG, &o.keeps_special_text, NULL, "text of control tokens is text", 0, 0 },
        TAMIS_COMMON_OPTIONS(&common),
    };
    const tamis_command command = {
        .name = "tokenize",
        .summary = "measure the speed of a tokenizer",
        .usage = "-m FILE [options] TEXT...",
        .options = options,
        .n_options = sizeof options / sizeof *options,
    };
    tamis_texts positional = { 0 };
    tamis_error err = { 0 };
    tamis_status st = tamis_options_parse(&command, argc, argv, &positional, &err);
    if (!tamis_common_handled(&common, &command)) {
        if (!st && (positional.n_items == 0 || !o.model))
            st = tamis_fail(&err, TAMIS_BAD_USAGE, "-m and one or more texts are needed");
        if (!st) st = run(&o, &positional, &err);
    }
    tamis_texts_release(&positional);
    return st ? tamis_report("tokenize", &err) : 0;
}
