/* llama_base.c - reading; see llama_base.h. Layout, little-endian, packed:
 *   "_logits_" · i32 n_ctx · i32 n_vocab · i32 n_chunk · i32 ids[n_chunk * n_ctx]
 *   then per scored position: f32 scale · f32 floor · u16 q[n_vocab], one more if that is odd
 * The file's size follows from the header and is compared first. Bound: the disk. */
#include "kld/llama_base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/input_file.h"
#include "base/threads.h"

enum { HEADER_BYTES = 20, ROW_HEAD_BYTES = 8, MIN_CTX = 3, MAX_CTX = 1 << 30 };
static const char MAGIC[8] = {'_', 'l', 'o', 'g', 'i', 't', 's', '_'};
/* A log-probability is at most 0; more than rounding above it is damage. */
static const float MAX_LOG_PROB = 1e-3f;

typedef struct row_head {
    float scale, floor;
} row_head;

struct tamis_llama_base {
    tamis_input *in;
    int64_t n_ctx, n_chunks, n_vocab, n_rows;
    uint64_t row_bytes, first_row;
    int32_t *ids;    /* [n_chunks * n_ctx] */
    row_head *heads; /* [n_rows] */
    double range;
};

bool tamis_llama_base_is_one(const char *path) {
    tamis_input *in = NULL;
    char magic[sizeof MAGIC];
    if (tamis_input_open(path, TAMIS_INPUT_READ, &in, NULL)) return false;
    const bool is_read = tamis_input_size(in) >= sizeof magic &&
                         tamis_input_read(in, 0, sizeof magic, magic, NULL) == TAMIS_OK;
    tamis_input_close(in);
    return is_read && memcmp(magic, MAGIC, sizeof MAGIC) == 0;
}

/* Sizes that the header's numbers imply; false on overflow. */
static bool sizes_of(int64_t n_ctx, int64_t n_chunks, int64_t n_vocab, int64_t *n_rows,
                     uint64_t *row_bytes, uint64_t *first_row, uint64_t *file_bytes) {
    uint64_t n_tokens, n_all_rows, row_area;
    if (!tamis_mul_u64((uint64_t)n_chunks, (uint64_t)n_ctx, &n_tokens)) return false;
    if (!tamis_mul_u64(n_tokens, 4, first_row)) return false;
    if (!tamis_add_u64(*first_row, HEADER_BYTES, first_row)) return false;
    *row_bytes = 2 * (2 * (((uint64_t)n_vocab + 1) / 2) + 4);
    n_all_rows = (uint64_t)n_chunks * (uint64_t)(n_ctx - 1 - n_ctx / 2); /* < n_tokens */
    if (!tamis_mul_u64(n_all_rows, *row_bytes, &row_area)) return false;
    *n_rows = (int64_t)n_all_rows;
    return tamis_add_u64(*first_row, row_area, file_bytes);
}

bool tamis_llama_base_file_bytes(int64_t n_ctx, int64_t n_chunks, int64_t n_vocab, uint64_t *out) {
    int64_t n_rows;
    uint64_t row_bytes, first_row;
    return n_ctx >= MIN_CTX && n_ctx <= MAX_CTX && n_chunks >= 1 && n_chunks <= INT32_MAX &&
           n_vocab >= 1 && n_vocab <= INT32_MAX &&
           sizes_of(n_ctx, n_chunks, n_vocab, &n_rows, &row_bytes, &first_row, out);
}

static tamis_status out_of_range(const char *path, const char *what, long long found, long long lo,
                                 long long hi, tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: %s out of range: %lld, %lld to %lld are allowed; the base file is "
                      "damaged",
                      path, what, found, lo, hi);
}

static tamis_status read_header(tamis_llama_base *base, tamis_error *err) {
    const char *path = tamis_input_path(base->in);
    const uint64_t size = tamis_input_size(base->in);
    uint8_t bytes[HEADER_BYTES];
    int32_t numbers[3];
    if (size < HEADER_BYTES)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: truncated header of a base file: %llu bytes of %d", path,
                          (unsigned long long)size, HEADER_BYTES);
    tamis_status st = tamis_input_read(base->in, 0, sizeof bytes, bytes, err);
    if (st) return st;
    if (memcmp(bytes, MAGIC, sizeof MAGIC) != 0)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: not a base file of llama-perplexity", path);
    memcpy(numbers, bytes + sizeof MAGIC, sizeof numbers);
    base->n_ctx = (int64_t)(uint32_t)numbers[0];
    base->n_vocab = numbers[1];
    base->n_chunks = numbers[2];
    if (base->n_ctx < MIN_CTX || base->n_ctx > MAX_CTX)
        return out_of_range(path, "n_ctx", base->n_ctx, MIN_CTX, MAX_CTX, err);
    if (base->n_vocab < 1) return out_of_range(path, "n_vocab", base->n_vocab, 1, INT32_MAX, err);
    if (base->n_chunks < 1) return out_of_range(path, "n_chunk", base->n_chunks, 1, INT32_MAX, err);
    uint64_t wanted = 0;
    const bool fits = sizes_of(base->n_ctx, base->n_chunks, base->n_vocab, &base->n_rows,
                               &base->row_bytes, &base->first_row, &wanted);
    if (fits && wanted == size) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: file size does not fit the header: %llu bytes, but %lld chunks of %lld "
                      "tokens with a vocabulary of %lld need %llu; it is cut off or damaged",
                      path, (unsigned long long)size, (long long)base->n_chunks,
                      (long long)base->n_ctx, (long long)base->n_vocab, (unsigned long long)wanted);
}

static tamis_status read_ids(tamis_llama_base *base, tamis_error *err) {
    const uint64_t n_ids = (uint64_t)(base->n_chunks * base->n_ctx);
    base->ids = tamis_alloc_array(n_ids, sizeof *base->ids, err);
    if (!base->ids) return TAMIS_NO_RESOURCE;
    tamis_status st =
        tamis_input_read(base->in, HEADER_BYTES, (size_t)n_ids * sizeof *base->ids, base->ids, err);
    for (uint64_t i = 0; i < n_ids && !st; ++i) {
        if (base->ids[i] < 0 || base->ids[i] >= base->n_vocab)
            st = tamis_fail(err, TAMIS_BAD_INPUT,
                            "%s: token %llu out of range: %ld, the vocabulary has %lld; the base "
                            "file is damaged",
                            tamis_input_path(base->in), (unsigned long long)i, (long)base->ids[i],
                            (long long)base->n_vocab);
    }
    return st;
}

static tamis_status check_row_head(const tamis_llama_base *base, int64_t i_row, row_head head,
                                   tamis_error *err) {
    const int64_t n_per_chunk = base->n_rows / base->n_chunks;
    const char *path = tamis_input_path(base->in);
    const long long i_chunk = i_row / n_per_chunk, i_in_chunk = i_row % n_per_chunk;
    if (!isfinite(head.scale) || !isfinite(head.floor))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: non-finite row header: chunk %lld, row %lld: scale %g, floor %g; "
                          "write the base again",
                          path, i_chunk, i_in_chunk, (double)head.scale, (double)head.floor);
    if (head.scale < 0)
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: scale out of range: chunk %lld, row %lld: %g, at least 0 is "
                          "allowed; write the base again",
                          path, i_chunk, i_in_chunk, (double)head.scale);
    const float highest = head.scale * 65535.0f + head.floor;
    if (highest <= MAX_LOG_PROB) return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: row header out of range: chunk %lld, row %lld: log-probabilities up to "
                      "%g, at most 0 is allowed; write the base again",
                      path, i_chunk, i_in_chunk, (double)highest);
}

static tamis_status read_row_heads(tamis_llama_base *base, tamis_error *err) {
    base->heads = tamis_alloc_array((uint64_t)base->n_rows, sizeof *base->heads, err);
    if (!base->heads) return TAMIS_NO_RESOURCE;
    tamis_status st = TAMIS_OK;
    for (int64_t i = 0; i < base->n_rows && !st; ++i) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        row_head *head = &base->heads[i];
        st = tamis_input_read(base->in, base->first_row + (uint64_t)i * base->row_bytes,
                              ROW_HEAD_BYTES, head, err);
        if (!st) st = check_row_head(base, i, *head, err);
        if (!st) base->range = fmax(base->range, 65535.0 * (double)head->scale);
    }
    return st;
}

tamis_status tamis_llama_base_open(const char *path, tamis_llama_base **out, tamis_error *err) {
    *out = NULL;
    tamis_llama_base *base = tamis_alloc_array(1, sizeof *base, err);
    if (!base) return TAMIS_NO_RESOURCE;
    tamis_status st = tamis_input_open(path, TAMIS_INPUT_READ, &base->in, err);
    if (!st) st = read_header(base, err);
    if (!st) st = read_ids(base, err);
    if (!st) st = read_row_heads(base, err);
    if (st)
        tamis_llama_base_close(base);
    else
        *out = base;
    return st;
}

void tamis_llama_base_close(tamis_llama_base *base) {
    if (!base) return;
    tamis_input_close(base->in);
    free(base->ids);
    free(base->heads);
    free(base);
}

const char *tamis_llama_base_path(const tamis_llama_base *base) {
    return tamis_input_path(base->in);
}

int64_t tamis_llama_base_n_ctx(const tamis_llama_base *base) {
    return base->n_ctx;
}

int64_t tamis_llama_base_n_chunks(const tamis_llama_base *base) {
    return base->n_chunks;
}

int64_t tamis_llama_base_n_vocab(const tamis_llama_base *base) {
    return base->n_vocab;
}

int64_t tamis_llama_base_n_rows(const tamis_llama_base *base) {
    return base->n_rows;
}

const int32_t *tamis_llama_base_ids(const tamis_llama_base *base) {
    return base->ids;
}

double tamis_llama_base_range(const tamis_llama_base *base) {
    return base->range;
}

uint64_t tamis_llama_base_row_bytes(const tamis_llama_base *base) {
    return base->row_bytes;
}

tamis_status tamis_llama_base_read(const tamis_llama_base *base, int64_t first, int64_t n_rows,
                                   uint8_t *out, tamis_error *err) {
    return tamis_input_read(base->in, base->first_row + (uint64_t)first * base->row_bytes,
                            (size_t)((uint64_t)n_rows * base->row_bytes), out, err);
}

void tamis_llama_base_decode(const tamis_llama_base *base, int64_t i_row, const uint8_t *row,
                             int64_t first, int64_t n_cols, float *out) {
    const row_head head = base->heads[i_row];
    const uint8_t *q = row + ROW_HEAD_BYTES + 2 * first;
    for (int64_t i = 0; i < n_cols; ++i) {
        uint16_t value;
        memcpy(&value, q + 2 * i, sizeof value);
        out[i] = head.scale * (float)value + head.floor;
    }
}

tamis_status tamis_llama_base_nll(const tamis_llama_base *base, int64_t i_row, int32_t token,
                                  double *out, tamis_error *err) {
    const uint64_t row = base->first_row + (uint64_t)i_row * base->row_bytes;
    uint16_t value;
    tamis_status st = tamis_input_read(base->in, row + ROW_HEAD_BYTES + 2 * (uint64_t)token,
                                       sizeof value, &value, err);
    if (st) return st;
    const row_head head = base->heads[i_row];
    *out = -(double)(head.scale * (float)value + head.floor);
    return TAMIS_OK;
}
