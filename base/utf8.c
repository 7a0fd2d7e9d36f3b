/* utf8.c - strict UTF-8 decoding (Unicode 15, table 3-7: well-formed byte sequences). */
#include "base/utf8.h"

/* Lead bytes of one length: how many continuation bytes follow, which bits of the lead belong to
 * the code point, and the smallest code point that needs this length. */
static const struct lead {
    uint8_t first, last, n_more, mask;
    uint32_t least;
} leads[] = {
    {0x00, 0x7F, 0, 0x7F, 0},
    {0xC2, 0xDF, 1, 0x1F, 0x80},
    {0xE0, 0xEF, 2, 0x0F, 0x800},
    {0xF0, 0xF4, 3, 0x07, 0x10000},
};

size_t tamis_utf8_next(const char *text, size_t n_bytes, uint32_t *c) {
    const unsigned char *s = (const unsigned char *)text;
    if (n_bytes == 0) return 0;
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++) {
        const struct lead *l = &leads[i];
        if (s[0] < l->first || s[0] > l->last) continue;
        if (l->n_more >= n_bytes) return 0;
        uint32_t r = s[0] & l->mask;
        for (size_t k = 1; k <= l->n_more; k++) {
            if ((s[k] & 0xC0) != 0x80) return 0;
            r = r << 6 | (s[k] & 0x3F);
        }
        if (r < l->least || r > 0x10FFFF || (r >= 0xD800 && r <= 0xDFFF)) return 0;
        *c = r;
        return 1 + (size_t)l->n_more;
    }
    return 0;
}

bool tamis_utf8_is_valid(const char *text, size_t n_bytes) {
    uint32_t c = 0;
    for (size_t i = 0; i < n_bytes;) {
        size_t n = tamis_utf8_next(text + i, n_bytes - i, &c);
        if (n == 0) return false;
        i += n;
    }
    return true;
}
