/* hash.c - digests of tensors and of all data, in one reading.
 * Reading is cut into batches of pieces. While the workers read one batch, others feed the
 * batch before it to the digests: each digest is one chain of updates in file order, so none
 * depends on the number of threads. Bound by reading (XXH3) or by the slowest chain (SHA). */
#include "gguf/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf_internal.h"
#include "gguf/hash_internal.h"
#include "gguf/pieces.h"

enum {
    SLICE_BYTES = 16 << 10,
    PIECE_BYTES = 256 << 10,
    BATCH_BYTES = 2 << 20,
    BATCH_PIECES = 256,
    MAX_CHAINS = 2 * TAMIS_DIGEST_N_KINDS,
};

/* clang-format off */
static const struct {
    const char *name;
    tamis_hash_kind hash;
    size_t n_chars;
} kinds[TAMIS_DIGEST_N_KINDS] = {
    [TAMIS_DIGEST_XXH64]    = { "xxh64",    TAMIS_HASH_XXH64,    16 },
    [TAMIS_DIGEST_SHA1]     = { "sha1",     TAMIS_HASH_SHA1,     40 },
    [TAMIS_DIGEST_SHA256]   = { "sha256",   TAMIS_HASH_SHA256,   64 },
    [TAMIS_DIGEST_XXH3_128] = { "xxh3-128", TAMIS_HASH_XXH3_128, 32 },
    [TAMIS_DIGEST_UUID]     = { "uuid",     TAMIS_HASH_SHA1,     36 },
};
/* clang-format on */

/* ef001206-dadc-5f6d-a15f-3359e577d4e5 (reference/peer-tools.md section 5) */
static const uint8_t uuid_name_space[16] = {0xef, 0x00, 0x12, 0x06, 0xda, 0xdc, 0x5f, 0x6d,
                                            0xa1, 0x5f, 0x33, 0x59, 0xe5, 0x77, 0xd4, 0xe5};

const char *tamis_digest_name(tamis_digest_kind kind) {
    return kinds[kind].name;
}

tamis_digest_kind tamis_digest_by_name(const char *name, size_t n_bytes) {
    int k = 0;
    while (k < TAMIS_DIGEST_N_KINDS &&
           (strlen(kinds[k].name) != n_bytes || memcmp(kinds[k].name, name, n_bytes)))
        k++;
    return (tamis_digest_kind)k;
}

size_t tamis_digest_n_chars(tamis_digest_kind kind) {
    return kinds[kind].n_chars;
}

/* One digest being made: of each tensor in turn, or of everything. */
typedef struct chain {
    tamis_digest_kind kind;
    bool is_per_tensor;
    tamis_hash *hash;
    char (*texts)[TAMIS_HASH_HEX_MAX]; /* [BATCH_PIECES], of pieces that end a tensor */
    tamis_error err;
} chain;

typedef struct batch {
    uint8_t *data; /* [BATCH_BYTES] */
    gguf_piece *pieces;
    tamis_error *errors; /* [BATCH_PIECES] each; code 0 = read */
    size_t n_pieces;
} batch;

typedef struct hasher {
    const tamis_gguf *g;
    const tamis_digest_options *options;
    batch batches[2];
    batch *full, *filling;
    chain chains[MAX_CHAINS];
    int n_chains;
    int groups[MAX_CHAINS +
               1]; /* group i is fed by one worker: chains groups[i] .. groups[i+1]-1 */
    int n_groups;
    /* [n_tensors] of each kind that the model digest needs. */
    gguf_digest_text *tensor_texts[TAMIS_DIGEST_N_KINDS];
} hasher;

/* The chains of a group take turns over slices that stay in the nearest cache. */
static void feed_group(chain *chains, int n_chains, const batch *b) {
    for (size_t i = 0; i < b->n_pieces; i++) {
        const gguf_piece *p = &b->pieces[i];
        for (chain *c = chains; c < chains + n_chains; c++)
            if (c->is_per_tensor && p->is_first && tamis_hash_restart(c->hash, &c->err)) return;
        for (uint64_t at = 0; at < p->n_bytes; at += SLICE_BYTES) {
            const uint64_t left = p->n_bytes - at;
            for (chain *c = chains; c < chains + n_chains; c++)
                tamis_hash_update(c->hash, b->data + p->at + at,
                                  left < SLICE_BYTES ? (size_t)left : SLICE_BYTES);
        }
        for (chain *c = chains; c < chains + n_chains; c++)
            if (c->is_per_tensor && p->is_last) tamis_hash_hex(c->hash, c->texts[i]);
    }
}

/* Items: the groups over the full batch, then the pieces of the one being filled. */
static void work(void *ctx, int64_t i_item, int i_worker) {
    hasher *h = ctx;
    const int64_t n_feeding = h->full->n_pieces ? h->n_groups : 0;
    (void)i_worker;
    if (i_item < n_feeding) {
        const int first = h->groups[i_item];
        feed_group(&h->chains[first], h->groups[i_item + 1] - first, h->full);
        return;
    }
    batch *b = h->filling;
    const size_t i = (size_t)(i_item - n_feeding);
    const gguf_piece *p = &b->pieces[i];
    b->errors[i].code = TAMIS_OK;
    (void)!tamis_gguf_read_raw(h->g, p->tensor, p->offset, p->n_bytes, b->data + p->at,
                               &b->errors[i]);
}

static tamis_status batch_init(batch *b, tamis_error *err) {
    b->data = tamis_alloc_array(BATCH_BYTES, 1, err);
    b->pieces = tamis_alloc_array(BATCH_PIECES, sizeof *b->pieces, err);
    b->errors = tamis_alloc_array(BATCH_PIECES, sizeof *b->errors, err);
    return b->data && b->pieces && b->errors ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

static tamis_status add_chain(hasher *h, tamis_digest_kind kind, bool is_per_tensor,
                              tamis_error *err) {
    /* XXH3 is as fast as memory: both of its chains in one go over the data. */
    const bool joins =
        h->n_chains && kind == TAMIS_DIGEST_XXH3_128 && h->chains[h->n_chains - 1].kind == kind;
    chain *c = &h->chains[h->n_chains++];
    h->n_groups += !joins;
    h->groups[h->n_groups] = h->n_chains;
    *c = (chain){.kind = kind, .is_per_tensor = is_per_tensor};
    tamis_status st = tamis_hash_new(kinds[kind].hash, &c->hash, err);
    if (st) return st;
    if (kind == TAMIS_DIGEST_UUID)
        tamis_hash_update(c->hash, uuid_name_space, sizeof uuid_name_space);
    if (!is_per_tensor) return TAMIS_OK;
    c->texts = tamis_alloc_array(BATCH_PIECES, sizeof *c->texts, err);
    return c->texts ? TAMIS_OK : TAMIS_NO_RESOURCE;
}

static tamis_status hasher_init(hasher *h, tamis_error *err) {
    const tamis_digest_options *o = h->options;
    tamis_status st = batch_init(&h->batches[0], err);
    if (!st) st = batch_init(&h->batches[1], err);
    h->filling = &h->batches[0];
    h->full = &h->batches[1];
    for (int k = 0; !st && k < TAMIS_DIGEST_N_KINDS; k++) {
        const tamis_digest_kind kind = (tamis_digest_kind)k;
        const bool can_tensor = kind != TAMIS_DIGEST_UUID;
        if (can_tensor && o->wants_model[k]) {
            h->tensor_texts[k] = tamis_alloc_array((uint64_t)tamis_gguf_n_tensors(h->g),
                                                   sizeof *h->tensor_texts[k], err);
            if (!h->tensor_texts[k]) return TAMIS_NO_RESOURCE;
        }
        if (can_tensor && (o->wants_model[k] || (o->wants[k] && !o->no_tensors)))
            st = add_chain(h, kind, true, err);
        if (!st && o->wants[k]) st = add_chain(h, kind, false, err);
    }
    return st;
}

static void hasher_release(hasher *h) {
    for (int i = 0; i < 2; i++) {
        free(h->batches[i].data);
        free(h->batches[i].pieces);
        free(h->batches[i].errors);
    }
    for (int i = 0; i < h->n_chains; i++) {
        tamis_hash_free(h->chains[i].hash);
        free(h->chains[i].texts);
    }
    for (int k = 0; k < TAMIS_DIGEST_N_KINDS; k++)
        free(h->tensor_texts[k]);
}

/* The first thing that went wrong in a round, in the order of the file. */
static tamis_status round_status(const hasher *h, tamis_error *err) {
    for (int i = 0; i < h->n_chains; i++)
        if (h->chains[i].err.code) {
            if (err) *err = h->chains[i].err;
            return h->chains[i].err.code;
        }
    for (size_t i = 0; i < h->filling->n_pieces; i++)
        if (h->filling->errors[i].code) {
            if (err) *err = h->filling->errors[i];
            return h->filling->errors[i].code;
        }
    return TAMIS_OK;
}

/* Tensors that ended in the full batch: keep their digests, hand over their lines. */
static void end_batch(hasher *h, tamis_digest_fn *line, void *ctx) {
    const tamis_digest_options *o = h->options;
    for (size_t i = 0; i < h->full->n_pieces; i++) {
        const gguf_piece *p = &h->full->pieces[i];
        tamis_progress_advance(o->progress, p->n_bytes);
        for (int j = 0; p->is_last && j < h->n_chains; j++) {
            const chain *c = &h->chains[j];
            if (!c->is_per_tensor) continue;
            if (h->tensor_texts[c->kind])
                memcpy(h->tensor_texts[c->kind][p->i_tensor].text, c->texts[i], sizeof *c->texts);
            if (o->wants[c->kind] && !o->no_tensors)
                line(ctx,
                     &(tamis_digest_line){c->kind, TAMIS_DIGEST_OF_TENSOR, p->tensor, c->texts[i]});
        }
    }
}

static tamis_status read_all(hasher *h, tamis_digest_fn *line, void *ctx, tamis_error *err) {
    gguf_walk walk = {.g = h->g, .piece_bytes = PIECE_BYTES};
    /* One worker finds in its own cache what it has just read. XXH3 alone is so fast that handing
     * data from core to core costs more than a second core brings. */
    tamis_pool *pool = h->n_groups > 1 ? h->options->pool : NULL;
    const uint64_t batch_bytes = tamis_pool_size(pool) > 1 ? BATCH_BYTES : PIECE_BYTES;
    for (;;) {
        batch *b = h->filling;
        b->n_pieces = gguf_walk_next(&walk, batch_bytes, b->pieces, BATCH_PIECES);
        if (!b->n_pieces && !h->full->n_pieces) return TAMIS_OK;
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        const size_t n_feeding = h->full->n_pieces ? (size_t)h->n_groups : 0;
        tamis_pool_run(pool, (int64_t)(n_feeding + b->n_pieces), work, h);
        tamis_status st = round_status(h, err);
        if (st) return st;
        end_batch(h, line, ctx);
        h->filling = h->full;
        h->full = b;
    }
}

/* The UUID of 20 bytes of SHA-1: 16 of them, version 5, variant 1. */
static void uuid_of_sha1(const char *hex, char out[TAMIS_HASH_HEX_MAX]) {
    static const char variants[] = "89ab";
    char digit[2] = {hex[16], 0};
    const long high = strtol(digit, NULL, 16);
    snprintf(out, TAMIS_HASH_HEX_MAX, "%.8s-%.4s-5%.3s-%c%.3s-%.12s", hex, hex + 8, hex + 13,
             variants[high & 3], hex + 17, hex + 20);
}

static void give_data_lines(hasher *h, tamis_digest_fn *line, void *ctx) {
    for (int j = 0; j < h->n_chains; j++) {
        const chain *c = &h->chains[j];
        char hex[TAMIS_HASH_HEX_MAX], text[TAMIS_HASH_HEX_MAX];
        if (c->is_per_tensor) continue;
        tamis_hash_hex(c->hash, hex);
        if (c->kind == TAMIS_DIGEST_UUID)
            uuid_of_sha1(hex, text);
        else
            memcpy(text, hex, sizeof text);
        line(ctx, &(tamis_digest_line){c->kind, TAMIS_DIGEST_OF_DATA, NULL, text});
    }
}

tamis_status tamis_gguf_hash(const tamis_gguf *g, const tamis_digest_options *options,
                             tamis_digest_fn *line, void *ctx, tamis_error *err) {
    hasher h = {.g = g, .options = options};
    uint64_t n_bytes = 0;
    for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++)
        n_bytes += tamis_gguf_tensor_at(g, i)->n_bytes;
    tamis_progress_begin(options->progress, "hashing", n_bytes, "B");
    tamis_status st = hasher_init(&h, err);
    if (!st) st = read_all(&h, line, ctx, err);
    tamis_progress_end(options->progress);
    if (!st) give_data_lines(&h, line, ctx);
    for (int k = 0; !st && k < TAMIS_DIGEST_N_KINDS; k++) {
        char hex[TAMIS_HASH_HEX_MAX];
        if (!h.tensor_texts[k]) continue;
        st = gguf_model_digest(g, kinds[k].hash, h.tensor_texts[k], hex, err);
        if (!st)
            line(ctx, &(tamis_digest_line){(tamis_digest_kind)k, TAMIS_DIGEST_OF_MODEL, NULL, hex});
    }
    hasher_release(&h);
    return st;
}

tamis_status tamis_digest_subject(const char *file, const tamis_digest_line *line, char **out,
                                  tamis_error *err) {
    const char *name = line->tensor ? line->tensor->name : "";
    const char *mark = line->tensor ? ":" : line->scope == TAMIS_DIGEST_OF_MODEL ? "#model" : "";
    const size_t n = strlen(file) + strlen(mark) + strlen(name) + 1;
    char *plain = tamis_alloc_array(n, 1, err);
    char *text = plain ? tamis_alloc_array(4 * (uint64_t)n, 1, err) : NULL;
    *out = text;
    if (text) {
        snprintf(plain, n, "%s%s%s", file, mark, name);
        tamis_printable(plain, text, 4 * n);
    }
    free(plain);
    return text ? TAMIS_OK : TAMIS_NO_RESOURCE;
}
