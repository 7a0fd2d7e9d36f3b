/* meetings.h - which characters may stand side by side inside what merging makes.
 * A text can be cut where two characters meet that do not: no merge ever crosses, and the
 * words that come out repeat, so that their ids can be remembered. A set of hashes; one
 * too many in it only makes a word longer. Private to the tokenizer. */
#ifndef TAMIS_MODEL_MEETINGS_H
#define TAMIS_MODEL_MEETINGS_H

#include <stddef.h>
#include <stdint.h>

#define TAMIS_MEETING_BITS 21 /* of a hash: 256 KiB of set */

/* Start from zero. */
typedef struct tamis_meetings {
    uint64_t bits[(1u << TAMIS_MEETING_BITS) / 64];
} tamis_meetings;

/* The characters of a text (UTF-8) on both sides of a place, 0 < at < n_bytes, may meet. */
void tamis_meetings_note(tamis_meetings *m, const uint8_t *text, size_t n_bytes, size_t at);
/* The same for every place inside a text (any bytes). */
void tamis_meetings_note_all(tamis_meetings *m, const uint8_t *text, size_t n_bytes);

/* Bytes of the first word of a text (any bytes, n_bytes >= 1): up to the first place where the
 * characters may not meet. */
size_t tamis_meetings_word(const tamis_meetings *m, const uint8_t *text, size_t n_bytes);

#endif
