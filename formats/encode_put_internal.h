/* encode_put_internal.h - writing the fields of a block: little-endian, at any alignment. */
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

#endif
