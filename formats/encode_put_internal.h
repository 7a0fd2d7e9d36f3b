/* encode_put_internal.h - writing the fields of a block: little-endian, at any alignment. */
#ifndef TAMIS_FORMATS_ENCODE_PUT_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_PUT_INTERNAL_H

#include <stdint.h>

#include "formats/float16.h"

static inline void put_u16(uint8_t *at, uint16_t v) {
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

static inline void put_u32(uint8_t *at, uint32_t v) {
    put_u16(at, (uint16_t)v);
    put_u16(at + 2, (uint16_t)(v >> 16));
}

static inline void put_f16(uint8_t *at, float v) {
    put_u16(at, tamis_f32_to_f16(v));
}

#endif
