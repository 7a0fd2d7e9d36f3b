/* unicode.c - see unicode.h.
 * The expected splits follow Unicode 15.1, PCRE2 10.42 has 14.0. Rather than widening
 * every class of every pattern, text is matched with its younger characters replaced
 * by stand-ins: reference/tokenizers.md section 6.3 rule 8. A stand-in also lies in the
 * same literal ranges of the pre-tokenizer patterns as the character it replaces. */
#include "model/unicode.h"

size_t tamis_utf8_encode(uint32_t c, uint8_t out[4]) {
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    out[0] = (uint8_t)((0xF00u >> n & 0xFF) | c);
    return n;
}

typedef struct young_range {
    uint32_t first, last, stand_in;
} young_range;

/* Four-byte stand-ins by kind. */
enum { LETTER = 0x10000, MARK = 0x11301, NUMBER = 0x10107, PUNCT = 0x10100, SYMBOL = 0x10137 };

/* Characters assigned in Unicode 15.0 and 15.1 (Unicode Character Database), format characters
 * left out: they count as unassigned ones do. Ascending. */
/* clang-format off */
static const young_range young[] = {
    {0x00CF3, 0x00CF3, 0x0CD5}, {0x00ECE, 0x00ECE, 0x0ECD}, {0x02FFC, 0x02FFF, 0x2FFB},
    {0x031EF, 0x031EF, 0x31E3}, {0x10EFD, 0x10EFF, MARK},   {0x1123F, 0x11240, LETTER},
    {0x11241, 0x11241, MARK},   {0x11B00, 0x11B09, PUNCT},  {0x11F00, 0x11F01, MARK},
    {0x11F02, 0x11F02, LETTER}, {0x11F03, 0x11F03, MARK},   {0x11F04, 0x11F10, LETTER},
    {0x11F12, 0x11F33, LETTER}, {0x11F34, 0x11F3A, MARK},   {0x11F3E, 0x11F42, MARK},
    {0x11F43, 0x11F4F, PUNCT},  {0x11F50, 0x11F59, NUMBER}, {0x1342F, 0x1342F, LETTER},
    {0x13440, 0x13440, MARK},   {0x13441, 0x13446, LETTER}, {0x13447, 0x13455, MARK},
    {0x1B132, 0x1B132, LETTER}, {0x1B155, 0x1B155, LETTER}, {0x1D2C0, 0x1D2D3, NUMBER},
    {0x1DF25, 0x1DF2A, LETTER}, {0x1E030, 0x1E06D, LETTER}, {0x1E08F, 0x1E08F, MARK},
    {0x1E4D0, 0x1E4EB, LETTER}, {0x1E4EC, 0x1E4EF, MARK},   {0x1E4F0, 0x1E4F9, NUMBER},
    {0x1F6DC, 0x1F6DC, SYMBOL}, {0x1F774, 0x1F776, SYMBOL}, {0x1F77B, 0x1F77F, SYMBOL},
    {0x1F7D9, 0x1F7D9, SYMBOL}, {0x1FA75, 0x1FA77, SYMBOL}, {0x1FA87, 0x1FA88, SYMBOL},
    {0x1FAAD, 0x1FAAF, SYMBOL}, {0x1FABB, 0x1FABD, SYMBOL}, {0x1FABF, 0x1FABF, SYMBOL},
    {0x1FACE, 0x1FACF, SYMBOL}, {0x1FADA, 0x1FADB, SYMBOL}, {0x1FAE8, 0x1FAE8, SYMBOL},
    {0x1FAF7, 0x1FAF8, SYMBOL}, {0x2B739, 0x2B739, 0x2B738}, {0x2EBF0, 0x2EE5D, LETTER},
    {0x31350, 0x323AF, LETTER},
};
/* clang-format on */

uint32_t tamis_unicode_stand_in(uint32_t c) {
    if (c < young[0].first) return c;
    size_t lo = 0, hi = sizeof young / sizeof *young;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c > young[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof young / sizeof *young && c >= young[lo].first ? young[lo].stand_in : c;
}
