/* fuzz_gguf.c - one input through everything the container room does in memory: open, every
 * getter, every tensor, its layers, the checks, and the plan of a copy in one file and in several.
 * Built as a libFuzzer target with -DTAMIS_FUZZ=ON; test_gguf_mutations.c replays
 * mutated files through it without a fuzzer. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "gguf/check.h"
#include "gguf/gguf.h"
#include "gguf/layers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void ignore_finding(void *ctx, const tamis_gguf_finding *finding) {
    *(uint64_t *)ctx += finding->n_bad;
}

static void ignore_remark(void *ctx, const tamis_check_remark *remark) {
    *(uint64_t *)ctx += (uint64_t)remark->text[0];
}

static void check(const tamis_gguf *g, uint64_t *sum) {
    const tamis_check_options deep = {.deep = true};
    int64_t n_bad = 0;
    *sum += tamis_gguf_check_values(g, &deep, ignore_finding, sum, &n_bad, NULL) == TAMIS_OK;
    *sum += tamis_gguf_check_model(g, ignore_remark, sum, NULL) == TAMIS_OK;
    *sum += tamis_gguf_check_tokenizer(g, ignore_remark, sum, NULL) == TAMIS_OK;
}

static void visit_layers(const tamis_gguf *g, uint64_t *sum) {
    tamis_layer_view *layers = NULL;
    int64_t n = 0;
    if (tamis_gguf_layers(g, &layers, &n, NULL)) return;
    for (int64_t i = 0; i < n; i++)
        *sum += layers[i].number < 0 ? 0 : (uint64_t)layers[i].mixer[0];
    free(layers);
}

static void visit_values(const tamis_gguf *g, uint64_t *sum) {
    for (int32_t i = 0; i < tamis_gguf_n_kv(g); i++) {
        tamis_gguf_kv kv = tamis_gguf_kv_at(g, i);
        tamis_bytes text;
        uint64_t cursor = 0, bits;
        double d;
        for (uint64_t j = 0; j < kv.n_elems && j < 64; j++) {
            if (tamis_gguf_kv_double(g, &kv, j, &d)) *sum += d > 0;
            if (tamis_gguf_kv_uint(g, &kv, j, &bits)) *sum += bits;
            if (tamis_gguf_kv_string(g, &kv, j, &text)) *sum += text.n_bytes;
        }
        while (tamis_gguf_kv_next_string(g, &kv, &cursor, &text))
            for (size_t j = 0; j < text.n_bytes; j++)
                *sum += (uint8_t)text.data[j];
    }
}

static void visit_tensors(const tamis_gguf *g, uint64_t *sum) {
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
        const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
        uint8_t *data = t->n_bytes < (1 << 20) ? malloc((size_t)t->n_bytes + 1) : NULL;
        if (data && !tamis_gguf_read_tensor(g, t, 0, t->n_bytes, data, NULL))
            for (uint64_t j = 0; j < t->n_bytes; j++)
                *sum += data[j];
        free(data);
        *sum += tamis_gguf_find_tensor(g, t->name) == t;
    }
}

/* What was opened can be written again: its keys pass the same checks, and a plan of several files
 * holds every tensor once. */
static void plan_copy(const tamis_gguf *g, size_t n_input) {
    const tamis_gguf_shards shards = {.max_bytes = n_input * 16 % 4096,
                                      .max_tensors = n_input % 7,
                                      .keys_alone = n_input % 3 == 0};
    tamis_gguf_writer *w = NULL;
    uint64_t n_bytes = 0, n_tensors = 0;
    if (tamis_gguf_writer_new(&w, NULL)) return;
    if (tamis_gguf_set_all(w, g, NULL)) goto out;
    tamis_gguf_unset(w, "general.name");
    if (tamis_gguf_check_keys(w, NULL) == TAMIS_BAD_INPUT) abort();
    if (tamis_gguf_writer_size(w, &n_bytes, NULL) || n_bytes < 24) abort();
    if (tamis_gguf_add_all(w, g, NULL) || tamis_gguf_set_shards(w, &shards, NULL)) goto out;
    for (uint64_t i = 0; i < tamis_gguf_writer_n_files(w); i++)
        n_tensors += tamis_gguf_writer_file_tensors(w, i);
    if (n_tensors != (uint64_t)tamis_gguf_n_tensors(g)) abort();
    if (!tamis_gguf_writer_size(w, &n_bytes, NULL) && n_bytes < 24) abort();
out:
    tamis_gguf_writer_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
    tamis_gguf_options options = {.allow_gaps = n_bytes % 2};
    tamis_gguf *g = NULL;
    tamis_error err = {0};
    static volatile uint64_t sink;
    uint64_t sum = 0;
    if (tamis_gguf_open_memory(data, n_bytes, &options, &g, &err)) {
        if (g || err.code != TAMIS_BAD_INPUT) abort();
        return 0;
    }
    visit_values(g, &sum);
    visit_tensors(g, &sum);
    check(g, &sum);
    visit_layers(g, &sum);
    plan_copy(g, n_bytes);
    tamis_gguf_close(g);
    sink = sum;
    (void)sink;
    return 0;
}
