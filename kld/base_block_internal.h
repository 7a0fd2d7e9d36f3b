/* base_block_internal.h - the blocks of a base file: a piece of data, shuffled into byte planes
 * where it is made of 32-bit words, compressed with zstd, with sizes and a checksum before it. */
#ifndef TAMIS_KLD_BASE_BLOCK_INTERNAL_H
#define TAMIS_KLD_BASE_BLOCK_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <zstd.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/input_file.h"

enum { TAMIS_BASE_BLOCK_HEAD_BYTES = 24, TAMIS_BASE_BLOCK_MAX_BYTES = 4 << 20 };

/* A section is n_bytes of data in blocks of block_bytes, the last one shorter. */
typedef struct tamis_base_section {
    const char *name; /* for messages */
    uint64_t n_bytes;
    uint64_t block_bytes; /* <= TAMIS_BASE_BLOCK_MAX_BYTES, unless one row is larger */
    bool is_words;        /* 32-bit words, stored as byte planes */
} tamis_base_section;

/* Blocks of whole rows, as many as fit into TAMIS_BASE_BLOCK_MAX_BYTES, at least one, and never
 * more than there are. False when the size overflows. */
bool tamis_base_section_of_rows(tamis_base_section *s, const char *name, uint64_t n_rows,
                                uint64_t row_bytes, bool is_words);

/* Bytes that the blocks of a section take at most, heads included. */
uint64_t tamis_base_section_max_bytes(const tamis_base_section *s);

/* Little-endian. */
uint64_t tamis_base_get_u64(const uint8_t *bytes);
void tamis_base_put_u64(uint8_t *bytes, uint64_t value);

/* Working memory for coding blocks of at most max_bytes. Both directions use the same. */
typedef struct tamis_base_coder {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
    uint8_t *planes; /* [max_bytes] */
    uint8_t *packed; /* [packed_capacity] */
    uint64_t max_bytes, packed_capacity;
} tamis_base_coder;

tamis_status tamis_base_coder_init(tamis_base_coder *c, uint64_t max_bytes,
                                   tamis_error *err) TAMIS_MUST_USE;
void tamis_base_coder_release(tamis_base_coder *c);

/* Append one block. n_bytes <= max_bytes; a multiple of 4 for words. */
tamis_status tamis_base_write_block(tamis_base_coder *c, tamis_output *out, const void *data,
                                    uint64_t n_bytes, bool is_words,
                                    tamis_error *err) TAMIS_MUST_USE;

/* Check the sizes of every block of `s` from *offset on, without decompressing; *offset moves
 * behind the section. TAMIS_BAD_INPUT names file, section and offset. */
tamis_status tamis_base_walk(const tamis_input *in, const tamis_base_section *s, uint64_t *offset,
                             tamis_error *err) TAMIS_MUST_USE;
/* Decode the section at *offset into data [s->n_bytes]; *offset moves behind it. */
tamis_status tamis_base_read(tamis_base_coder *c, const tamis_input *in,
                             const tamis_base_section *s, uint64_t *offset, uint8_t *data,
                             tamis_error *err) TAMIS_MUST_USE;

#endif
