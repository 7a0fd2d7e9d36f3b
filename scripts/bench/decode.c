/* decode.c - how near the decoders come to the speed of memory. Per type and CPU level: weights
 * and bytes per second against STREAM copy measured in the same rounds, and weights per second
 * into a tile that stays in cache, which is how a pass over a model decodes.
 * Bytes moved are counted as STREAM counts them: packed bytes read and 4-byte floats written.
 * Time is that of the processor, the best of several rounds, so that other programs count little.
 * Bound: memory out of cache, the kernels themselves into a tile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/options.h"
#include "base/threads.h"
#include "formats/formats.h"

enum { TILE_ELEMS = 8192, MAX_WORKERS = 64 };

struct options {
    int64_t n_mb, n_runs;
    const char *type, *level;
};

typedef struct bench {
    struct options options;
    tamis_pool *pool;
    int n_workers;
    const tamis_type *type;
    uint8_t *blocks;   /* [capacity_bytes]: packed blocks of `type`, or what STREAM copy reads */
    float *x;          /* [n_elems]: what is decoded, or what STREAM copy writes */
    int64_t n_elems;   /* of x */
    int64_t n_decoded; /* at most n_elems, whole tiles for every worker */
    float tiles[MAX_WORKERS][TILE_ELEMS];
    double seconds[MAX_WORKERS];
} bench;

/* A sound value for every checked field, any bytes elsewhere: NaN and subnormal numbers take
 * some processors longer, and no model is made of them. */
static void fill_field(const tamis_type_field *f, uint8_t *block) {
    static const struct {
        uint8_t n_bytes, bytes[8];
    } sound[] = {
        [TAMIS_FIELD_F16] = {2, {0x12, 0x2C}},
        [TAMIS_FIELD_BF16] = {2, {0x12, 0x3D}},
        [TAMIS_FIELD_F32] = {4, {0x12, 0x34, 0x12, 0x3D}},
        [TAMIS_FIELD_F64] = {8, {0, 0, 0, 0, 0x12, 0x34, 0xA2, 0x3F}},
        [TAMIS_FIELD_E8M0] = {1, {120}},
        [TAMIS_FIELD_F16_OF_4_U16] = {0, {0}},
    };
    for (int k = 0; k < f->count; k++) {
        uint8_t *p = block + f->offset + k * f->stride;
        if (f->check == TAMIS_FIELD_F16_OF_4_U16) {
            const uint8_t digits[4] = {0x20, 0x10, 0xC0, 0x20};
            p[1] = (uint8_t)((p[1] & 15) | digits[k]);
        } else if (f->check != TAMIS_FIELD_ANY) {
            memcpy(p, sound[f->check].bytes, sound[f->check].n_bytes);
        }
    }
}

static void fill_blocks(bench *b) {
    uint64_t s = 0x9E3779B97F4A7C15u;
    int64_t n_blocks = b->n_decoded / b->type->block_elems;
    for (int64_t i = 0; i < n_blocks; i++) {
        uint8_t *block = b->blocks + i * b->type->block_bytes;
        for (uint32_t k = 0; k < b->type->block_bytes; k++) {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            block[k] = (uint8_t)(s >> 32);
        }
        for (int f = 0; f < (int)(sizeof b->type->fields / sizeof *b->type->fields); f++)
            fill_field(&b->type->fields[f], block);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The part of n items that is a worker's: [*at, *at + *n_part), whole tiles. */
static void part_of(int64_t n, int n_parts, int64_t i_part, int64_t *at, int64_t *n_part) {
    *n_part = n / TILE_ELEMS / n_parts * TILE_ELEMS;
    *at = i_part * *n_part;
}

static const uint8_t *blocks_at(const bench *b, int64_t i_elem) {
    return b->blocks + i_elem / b->type->block_elems * b->type->block_bytes;
}

static void decode_out(void *ctx, int64_t i, int i_worker) {
    bench *b = ctx;
    int64_t at, n;
    (void)i_worker;
    part_of(b->n_decoded, b->n_workers, i, &at, &n);
    double started = now();
    tamis_decode(b->type, blocks_at(b, at), b->x + at, n);
    b->seconds[i] = now() - started;
}

static void decode_tiles(void *ctx, int64_t i, int i_worker) {
    bench *b = ctx;
    int64_t first, n;
    (void)i_worker;
    part_of(b->n_decoded, b->n_workers, i, &first, &n);
    double started = now();
    for (int64_t at = first; at < first + n; at += TILE_ELEMS)
        tamis_decode(b->type, blocks_at(b, at), b->tiles[i], TILE_ELEMS);
    b->seconds[i] = now() - started;
}

/* STREAM's copy of doubles as compilers leave it: the library's memcpy() of large arrays, whose
 * stores go around the caches where that is faster. */
static void stream_copy(void *ctx, int64_t i, int i_worker) {
    bench *b = ctx;
    int64_t at, n;
    (void)i_worker;
    part_of(b->n_elems, b->n_workers, i, &at, &n);
    double started = now();
    memcpy(b->x + at, b->blocks + (size_t)at * sizeof *b->x, (size_t)n * sizeof *b->x);
    b->seconds[i] = now() - started;
}

/* The same with stores through the caches: lines that are written are read first. */
static void cached_copy(void *ctx, int64_t i, int i_worker) {
    bench *b = ctx;
    int64_t at, n;
    (void)i_worker;
    part_of(b->n_elems, b->n_workers, i, &at, &n);
    double started = now();
    for (int64_t k = at; k < at + n; k += TILE_ELEMS) /* too short for memcpy() to go around */
        memcpy(b->x + k, b->blocks + (size_t)k * sizeof *b->x, TILE_ELEMS * sizeof *b->x);
    b->seconds[i] = now() - started;
}

/* Seconds of the slowest worker. */
static double once(bench *b, int n_workers, tamis_work_fn *work) {
    double slowest = 0;
    b->n_workers = n_workers;
    tamis_pool_run(n_workers == 1 ? NULL : b->pool, n_workers, work, b);
    for (int i = 0; i < n_workers; i++)
        slowest = b->seconds[i] > slowest ? b->seconds[i] : slowest;
    return slowest;
}

static void keep_best(double *best, double seconds) {
    if (*best == 0 || seconds < *best) *best = seconds;
}

/* Best seconds of what is compared, by number of threads (one, all). */
typedef struct times {
    double out[2], tile, stream[2], cached[2];
} times;

static void measure(bench *b, times *t) {
    memset(t, 0, sizeof *t);
    for (int64_t run = 0; run < b->options.n_runs; run++) {
        keep_best(&t->tile, once(b, 1, decode_tiles));
        for (int i = 0; i < 2; i++)
            keep_best(&t->out[i], once(b, i ? tamis_pool_size(b->pool) : 1, decode_out));
    }
}

static void measure_stream(bench *b, times *t) {
    memset(t, 0, sizeof *t);
    memset(b->blocks, 0, (size_t)b->n_elems * sizeof *b->x);
    for (int64_t run = 0; run < b->options.n_runs; run++) {
        for (int i = 0; i < 2; i++) {
            int n_workers = i ? tamis_pool_size(b->pool) : 1;
            keep_best(&t->stream[i], once(b, n_workers, stream_copy));
            keep_best(&t->cached[i], once(b, n_workers, cached_copy));
        }
    }
}

/* GB/s of copy; the share is against the faster of the two. */
static double copy_rate(const bench *b, const times *t, int i) {
    double best = t->stream[i] < t->cached[i] ? t->stream[i] : t->cached[i];
    return 2 * (double)b->n_elems * sizeof *b->x * 1e-9 / best;
}

static void print_row(const bench *b, const char *level, const times *t, const times *copy) {
    double n = (double)b->n_decoded;
    double bytes_per_weight = (double)b->type->block_bytes / b->type->block_elems + 4;
    printf("%-10s %-7s %6.3f %8.2f", b->type->name, level, 8 * (bytes_per_weight - 4),
           n * 1e-9 / t->tile);
    for (int i = 0; i < 2; i++) {
        double rate = n * bytes_per_weight * 1e-9 / t->out[i];
        printf(" %8.2f %6.1f %5.0f%%", n * 1e-9 / t->out[i], rate,
               100 * rate / copy_rate(b, copy, i));
    }
    printf("\n");
    fflush(stdout);
}

static bool is_wanted(const char *wanted, const char *name) {
    return !wanted || strcasecmp(wanted, name) == 0;
}

/* One row per level that this CPU has; STREAM copy is measured before every type. */
static void compare_type(bench *b) {
    static const char *const levels[] = {"plain", "neon", "avx2", "avx512"};
    times copy, t;
    measure_stream(b, &copy);
    b->n_decoded = b->n_elems;
    if (b->type->block_bytes / b->type->block_elems > sizeof *b->x) b->n_decoded /= 2; /* f64 */
    fill_blocks(b);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        setenv("TAMIS_CPU", levels[i], 1);
        tamis_formats_init();
        if (strcmp(tamis_formats_cpu(), levels[i]) != 0 || !is_wanted(b->options.level, levels[i]))
            continue;
        measure(b, &t);
        print_row(b, levels[i], &t, &copy);
    }
}

static void print_head(bench *b) {
    times copy;
    measure_stream(b, &copy);
    printf("STREAM copy, GB/s: 1 thread %.1f (through the caches %.1f), %d threads %.1f (%.1f)\n",
           2 * (double)b->n_elems * sizeof *b->x * 1e-9 / copy.stream[0],
           2 * (double)b->n_elems * sizeof *b->x * 1e-9 / copy.cached[0], tamis_pool_size(b->pool),
           2 * (double)b->n_elems * sizeof *b->x * 1e-9 / copy.stream[1],
           2 * (double)b->n_elems * sizeof *b->x * 1e-9 / copy.cached[1]);
    printf("%-10s %-7s %6s %8s %22s %15s %d threads\n", "", "", "", "in cache", "1 thread", "",
           tamis_pool_size(b->pool));
    printf("%-10s %-7s %6s %8s", "type", "level", "bits", "Gw/s");
    for (int i = 0; i < 2; i++)
        printf(" %8s %6s %6s", "Gw/s", "GB/s", "share");
    printf("\n");
}

static tamis_status run(const struct options *o, int64_t n_threads, tamis_error *err) {
    bench *b = tamis_alloc_array(1, sizeof *b, err);
    if (!b) return TAMIS_NO_RESOURCE;
    memset(b, 0, sizeof *b);
    b->options = *o;
    b->n_elems = o->n_mb * (1 << 20) / 4;
    tamis_status st = TAMIS_BAD_USAGE;
    if (o->type && !tamis_type_by_name(o->type)) {
        tamis_fail(err, st, "there is no type '%s'", o->type);
        goto out;
    }
    if (n_threads == 0) n_threads = tamis_n_cores();
    st = tamis_pool_new(n_threads < MAX_WORKERS ? (int)n_threads : MAX_WORKERS, &b->pool, err);
    if (st) goto out;
    st = TAMIS_NO_RESOURCE;
    b->blocks = tamis_alloc_array((uint64_t)b->n_elems, sizeof *b->x, err);
    b->x = b->blocks ? tamis_alloc_array((uint64_t)b->n_elems, sizeof *b->x, err) : NULL;
    if (!b->x) goto out;
    memset(b->x, 0, (size_t)b->n_elems * sizeof *b->x);
    st = TAMIS_OK;
    print_head(b);
    int n_types;
    const tamis_type *types = tamis_type_table(&n_types);
    for (int i = 0; i < n_types && !tamis_interrupted(); i++) {
        b->type = &types[i];
        if (types[i].decode && is_wanted(o->type, types[i].name)) compare_type(b);
    }
    if (tamis_interrupted()) st = tamis_fail_interrupted(err);
out:
    free(b->x);
    free(b->blocks);
    tamis_pool_free(b->pool);
    free(b);
    return st;
}

int main(int argc, char **argv) {
    struct options o = {.n_mb = 256, .n_runs = 5};
    tamis_common common = {0};
    const tamis_option options[] = {
        {0, "mb", TAMIS_OPTION_INT, &o.n_mb, "N",
         "MiB of floats to decode, several times the caches (default 256)", 1, 16384},
        {0, "runs", TAMIS_OPTION_INT, &o.n_runs, "N", "rounds, the best counts (default 5)", 1,
         1000},
        {0, "type", TAMIS_OPTION_TEXT, &o.type, "T", "this type only", 0, 0},
        {0, "level", TAMIS_OPTION_TEXT, &o.level, "plain|neon|avx2|avx512", "this CPU level only",
         0, 0},
        TAMIS_COMMON_OPTIONS(&common),
    };
    const tamis_command command = {
        .name = "decode",
        .summary = "measure the decoders against the speed of memory",
        .usage = "[options]",
        .options = options,
        .n_options = sizeof options / sizeof *options,
    };
    tamis_texts positional = {0};
    tamis_error err = {0};
    tamis_interrupt_install();
    tamis_status st = tamis_options_parse(&command, argc, argv, &positional, &err);
    bool is_handled = tamis_common_handled(&common, &command);
    if (!is_handled && !st && positional.n_items)
        st = tamis_fail(&err, TAMIS_BAD_USAGE, "'%s': no argument is taken", positional.items[0]);
    if (!is_handled && !st) st = run(&o, common.n_threads, &err);
    tamis_texts_release(&positional);
    return st ? tamis_report("decode", &err) : 0;
}
