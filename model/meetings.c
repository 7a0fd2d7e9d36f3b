/* meetings.c - see meetings.h. One look into a set that stays in the cache per character. */
#include "model/meetings.h"

#include "model/unicode.h"

/* Place in the set of two characters side by side, n_bytes together. */
static uint32_t place_of(const uint8_t *text, size_t n_bytes) {
    uint64_t both = 0;
    for (size_t i = 0; i < n_bytes; i++)
        both = both << 8 | text[i];
    return (uint32_t)((both * 0x9E3779B97F4A7C15u) >> (64 - TAMIS_MEETING_BITS));
}

static void note(tamis_meetings *m, uint32_t place) {
    m->bits[place / 64] |= (uint64_t)1 << (place % 64);
}

void tamis_meetings_note(tamis_meetings *m, const uint8_t *text, size_t n_bytes, size_t at) {
    size_t n_before = 1, n_behind = tamis_utf8_char_bytes(text[at], n_bytes - at);
    while (n_before < at && n_before < 4 && (text[at - n_before] & 0xC0) == 0x80)
        n_before++;
    note(m, place_of(text + at - n_before, n_before + n_behind));
}

void tamis_meetings_note_all(tamis_meetings *m, const uint8_t *text, size_t n_bytes) {
    if (n_bytes == 0) return;
    size_t n_a = tamis_utf8_char_bytes(text[0], n_bytes), n_b;
    for (size_t i = n_a; i < n_bytes; i += n_b, n_a = n_b) {
        n_b = tamis_utf8_char_bytes(text[i], n_bytes - i);
        note(m, place_of(text + i - n_a, n_a + n_b));
    }
}

size_t tamis_meetings_word(const tamis_meetings *m, const uint8_t *text, size_t n_bytes) {
    size_t n_a = tamis_utf8_char_bytes(text[0], n_bytes), i = n_a;
    while (i < n_bytes) {
        size_t n_b = tamis_utf8_char_bytes(text[i], n_bytes - i);
        uint32_t place = place_of(text + i - n_a, n_a + n_b);
        if (!(m->bits[place / 64] >> (place % 64) & 1)) break;
        i += n_b;
        n_a = n_b;
    }
    return i;
}
