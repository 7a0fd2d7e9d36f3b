/* base_block.c - see base_block_internal.h. Layout of a block, little-endian:
 *   u64 bytes of data · u64 bytes stored · u64 XXH3-64 of the bytes stored · one zstd frame
 * The frame carries its content size and zstd's checksum of the content. Every size is known before
 * a block is read (reference/gguf-threats.md rule 19); the file's numbers are only compared with
 * it. */
#include "kld/base_block_internal.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/checked.h"
#include "base/threads.h"

enum { COMPRESSION_LEVEL = 3, WINDOW_LOG_MAX = 27 };

bool tamis_base_section_of_rows(tamis_base_section *s, const char *name, uint64_t n_rows,
                                uint64_t row_bytes, bool is_words) {
    *s = (tamis_base_section){.name = name, .is_words = is_words, .block_bytes = row_bytes};
    if (row_bytes == 0) return false;
    if (row_bytes < TAMIS_BASE_BLOCK_MAX_BYTES)
        s->block_bytes = TAMIS_BASE_BLOCK_MAX_BYTES / row_bytes * row_bytes;
    if (!tamis_mul_u64(n_rows, row_bytes, &s->n_bytes)) return false;
    if (s->n_bytes < s->block_bytes) s->block_bytes = s->n_bytes;
    return true;
}

uint64_t tamis_base_section_max_bytes(const tamis_base_section *s) {
    if (s->n_bytes == 0) return 0;
    const uint64_t n_blocks = (s->n_bytes + s->block_bytes - 1) / s->block_bytes;
    return n_blocks *
           (TAMIS_BASE_BLOCK_HEAD_BYTES + (uint64_t)ZSTD_compressBound((size_t)s->block_bytes));
}

uint64_t tamis_base_get_u64(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; --i)
        value = value << 8 | bytes[i];
    return value;
}

void tamis_base_put_u64(uint8_t *bytes, uint64_t value) {
    for (int i = 0; i < 8; ++i)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

tamis_status tamis_base_coder_init(tamis_base_coder *c, uint64_t max_bytes, tamis_error *err) {
    *c = (tamis_base_coder){.max_bytes = max_bytes};
    size_t n_bytes;
    if (!tamis_to_size(max_bytes, &n_bytes) || ZSTD_isError(ZSTD_compressBound(n_bytes)))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "blocks of %llu bytes are too large",
                          (unsigned long long)max_bytes);
    c->packed_capacity = ZSTD_compressBound(n_bytes);
    c->planes = tamis_alloc_array(max_bytes, 1, err);
    if (!c->planes) goto out;
    c->packed = tamis_alloc_array(c->packed_capacity, 1, err);
    if (!c->packed) goto out;
    c->compress = ZSTD_createCCtx();
    c->decompress = ZSTD_createDCtx();
    if (!c->compress || !c->decompress) {
        tamis_fail(err, TAMIS_NO_RESOURCE, "cannot start zstd: out of memory");
        goto out;
    }
    ZSTD_CCtx_setParameter(c->compress, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
    ZSTD_CCtx_setParameter(c->compress, ZSTD_c_checksumFlag, 1);
    ZSTD_DCtx_setParameter(c->decompress, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    return TAMIS_OK;
out:
    tamis_base_coder_release(c);
    return TAMIS_NO_RESOURCE;
}

void tamis_base_coder_release(tamis_base_coder *c) {
    if (!c) return;
    ZSTD_freeCCtx(c->compress);
    ZSTD_freeDCtx(c->decompress);
    free(c->planes);
    free(c->packed);
    *c = (tamis_base_coder){0};
}

/* Byte k of every word together: exponents compress where whole floats do not. */
static void to_planes(const uint8_t *words, uint64_t n_words, uint8_t *planes) {
    for (uint64_t k = 0; k < 4; ++k) {
        for (uint64_t i = 0; i < n_words; ++i)
            planes[k * n_words + i] = words[4 * i + k];
    }
}

static void from_planes(const uint8_t *planes, uint64_t n_words, uint8_t *words) {
    for (uint64_t k = 0; k < 4; ++k) {
        for (uint64_t i = 0; i < n_words; ++i)
            words[4 * i + k] = planes[k * n_words + i];
    }
}

tamis_status tamis_base_write_block(tamis_base_coder *c, tamis_output *out, const void *data,
                                    uint64_t n_bytes, bool is_words, tamis_error *err) {
    const void *source = data;
    if (is_words) {
        to_planes(data, n_bytes / 4, c->planes);
        source = c->planes;
    }
    const size_t n_stored =
        ZSTD_compress2(c->compress, c->packed, (size_t)c->packed_capacity, source, (size_t)n_bytes);
    if (ZSTD_isError(n_stored))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "%s: zstd cannot compress a block: %s",
                          tamis_output_path(out), ZSTD_getErrorName(n_stored));
    uint8_t head[TAMIS_BASE_BLOCK_HEAD_BYTES];
    tamis_base_put_u64(head, n_bytes);
    tamis_base_put_u64(head + 8, n_stored);
    tamis_base_put_u64(head + 16, XXH3_64bits(c->packed, n_stored));
    tamis_status st = tamis_output_write(out, head, sizeof head, err);
    if (st) return st;
    return tamis_output_write(out, c->packed, n_stored, err);
}

static tamis_status fail_at(const tamis_input *in, const tamis_base_section *s, uint64_t offset,
                            const char *what, tamis_error *err) {
    return tamis_fail(err, TAMIS_BAD_INPUT,
                      "%s: section \"%s\", block at byte %llu: %s; the file is damaged, write it "
                      "again",
                      tamis_input_path(in), s->name, (unsigned long long)offset, what);
}

/* Read and check the head of the block at `offset` that must hold n_bytes of data. */
static tamis_status read_head(const tamis_input *in, const tamis_base_section *s, uint64_t offset,
                              uint64_t n_bytes, uint64_t *n_stored, uint64_t *sum,
                              tamis_error *err) {
    uint8_t head[TAMIS_BASE_BLOCK_HEAD_BYTES];
    const uint64_t size = tamis_input_size(in);
    if (offset > size || size - offset < sizeof head)
        return fail_at(in, s, offset, "it is missing or cut off", err);
    tamis_status st = tamis_input_read(in, offset, sizeof head, head, err);
    if (st) return st;
    if (tamis_base_get_u64(head) != n_bytes)
        return fail_at(in, s, offset, "its size is not the one the header implies", err);
    *n_stored = tamis_base_get_u64(head + 8);
    *sum = tamis_base_get_u64(head + 16);
    if (*n_stored == 0 || *n_stored > ZSTD_compressBound((size_t)n_bytes))
        return fail_at(in, s, offset, "its stored size is out of range", err);
    if (*n_stored > size - offset - sizeof head)
        return fail_at(in, s, offset, "it runs past the end of the file", err);
    return TAMIS_OK;
}

static uint64_t block_size(const tamis_base_section *s, uint64_t done) {
    const uint64_t left = s->n_bytes - done;
    return left < s->block_bytes ? left : s->block_bytes;
}

tamis_status tamis_base_walk(const tamis_input *in, const tamis_base_section *s, uint64_t *offset,
                             tamis_error *err) {
    uint64_t n_stored = 0, sum = 0;
    for (uint64_t done = 0; done < s->n_bytes; done += block_size(s, done)) {
        tamis_status st = read_head(in, s, *offset, block_size(s, done), &n_stored, &sum, err);
        if (st) return st;
        *offset += TAMIS_BASE_BLOCK_HEAD_BYTES + n_stored;
    }
    return TAMIS_OK;
}

static tamis_status decode_block(tamis_base_coder *c, const tamis_input *in,
                                 const tamis_base_section *s, uint64_t offset, uint64_t n_bytes,
                                 uint64_t *n_stored, uint8_t *data, tamis_error *err) {
    uint64_t sum = 0;
    tamis_status st = read_head(in, s, offset, n_bytes, n_stored, &sum, err);
    if (st) return st;
    const size_t n_packed = (size_t)*n_stored;
    st = tamis_input_read(in, offset + TAMIS_BASE_BLOCK_HEAD_BYTES, n_packed, c->packed, err);
    if (st) return st;
    if (XXH3_64bits(c->packed, n_packed) != sum)
        return fail_at(in, s, offset, "its checksum is wrong", err);
    if (ZSTD_getFrameContentSize(c->packed, n_packed) != n_bytes)
        return fail_at(in, s, offset, "its frame does not state the expected size", err);
    if (ZSTD_findFrameCompressedSize(c->packed, n_packed) != n_packed)
        return fail_at(in, s, offset, "it is not one whole frame", err);
    uint8_t *target = s->is_words ? c->planes : data;
    const size_t n =
        ZSTD_decompressDCtx(c->decompress, target, (size_t)n_bytes, c->packed, n_packed);
    if (ZSTD_isError(n) || n != n_bytes)
        return fail_at(in, s, offset, "it does not decompress", err);
    if (s->is_words) from_planes(c->planes, n_bytes / 4, data);
    return TAMIS_OK;
}

tamis_status tamis_base_read(tamis_base_coder *c, const tamis_input *in,
                             const tamis_base_section *s, uint64_t *offset, uint8_t *data,
                             tamis_error *err) {
    for (uint64_t done = 0; done < s->n_bytes;) {
        if (tamis_interrupted()) return tamis_fail_interrupted(err);
        const uint64_t n_bytes = block_size(s, done);
        uint64_t n_stored = 0;
        tamis_status st = decode_block(c, in, s, *offset, n_bytes, &n_stored, data + done, err);
        if (st) return st;
        *offset += TAMIS_BASE_BLOCK_HEAD_BYTES + n_stored;
        done += n_bytes;
    }
    return TAMIS_OK;
}
