/* encode_put_internal.h - writing the fields of a block: little-endian, at any alignment, and codes
 * in the places that several formats share. */
#ifndef TAMIS_FORMATS_ENCODE_PUT_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_PUT_INTERNAL_H

#include <stdint.h>
#include <string.h>

#include "formats/float16.h"

static inline void put_u16(uint8_t *at, uint16_t v) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap16(v);
#endif
    memcpy(at, &v, sizeof v);
}

static inline void put_u32(uint8_t *at, uint32_t v) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    memcpy(at, &v, sizeof v);
}

static inline void put_f16(uint8_t *at, float v) {
    put_u16(at, tamis_f32_to_f16(v));
}

/* Two 16-code halves of a 32-element block as nibbles. */
static inline void put_halves(uint8_t *qs, const uint8_t *q) {
    for (int i = 0; i < 16; i++) {
        qs[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
    }
}

/* Two-bit codes of a super-block: element 128n + 32j + l is bits 2j of byte 32n + l. */
static inline void put_two_bits(uint8_t *qs, const uint8_t *q, int shift) {
    for (int n = 0; n < 2; n++, qs += 32, q += 128) {
        for (int l = 0; l < 32; l++) {
            unsigned a = (unsigned)(q[l] >> shift) & 3, b = (unsigned)(q[l + 32] >> shift) & 3;
            unsigned c = (unsigned)(q[l + 64] >> shift) & 3, d = (unsigned)(q[l + 96] >> shift) & 3;
            qs[l] = (uint8_t)(a | b << 2 | c << 4 | d << 6);
        }
    }
}

#endif
