/* pretokenizer.h - cutting text into the words that merging may not cross.
 * Names and rules: reference/tokenizers.md section 6; patterns: its list A, as PCRE2
 * expressions. Private to the tokenizer. */
#ifndef TAMIS_MODEL_PRETOKENIZER_H
#define TAMIS_MODEL_PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TAMIS_PRE_MAX_STAGES 6

/* What a stage does where it is no pattern. */
#define TAMIS_PRE_DIGIT_GROUPS "\1"  /* cut ASCII digits from the right into threes */
#define TAMIS_PRE_NUMBER_GROUPS "\2" /* the same for every \p{N} */

/* A pattern set: stages applied one after the other inside what the one before left; both matches
 * and the gaps between them go on. */
typedef struct tamis_pre_set {
    const char *name;
    const char *stages[TAMIS_PRE_MAX_STAGES + 1]; /* NULL after the last */
} tamis_pre_set;

/* Which words are emitted whole, without merging, when they are tokens. The numbers are part of a
 * tokenizer's hash. */
typedef enum tamis_pre_whole {
    TAMIS_PRE_WHOLE_NEVER = 0,
    TAMIS_PRE_WHOLE_ALWAYS = 1,
    TAMIS_PRE_WHOLE_NEWLINES = 2 /* words of newlines only */
} tamis_pre_whole;

/* A value of tokenizer.ggml.pre. */
typedef struct tamis_pre_name {
    const char *name;
    const char *set;
    bool
        is_plain; /* tokens are plain UTF-8 with spaces as U+2581, not bytes through the byte map */
    tamis_pre_whole whole;
    bool adds_bos;        /* default; the key in the file wins */
    bool always_adds_bos; /* whatever the file says */
    bool has_no_default_bos;
    bool keeps_spaces; /* a text put together again is not cleaned of spaces */
} tamis_pre_name;

/* Row of a name, or NULL with err: unknown (nearest named). */
const tamis_pre_name *tamis_pre_find(const char *name, size_t n_bytes, tamis_error *err);

/* The set of that name (one of the table); never NULL for the set of a row. */
const tamis_pre_set *tamis_pre_set_find(const char *name);

typedef struct tamis_pretokenizer tamis_pretokenizer;

/* Compile a set. Free with tamis_pretokenizer_free(). Thread-safe once made. */
tamis_status tamis_pretokenizer_new(const tamis_pre_set *set, tamis_pretokenizer **out,
                                    tamis_error *err) TAMIS_MUST_USE;
void tamis_pretokenizer_free(tamis_pretokenizer *p);

/* What matching writes to; one per call or thread. */
typedef struct tamis_pre_scratch tamis_pre_scratch;
tamis_status tamis_pre_scratch_new(tamis_pre_scratch **out, tamis_error *err) TAMIS_MUST_USE;
void tamis_pre_scratch_free(tamis_pre_scratch *s);

/* Receives each word in order, by its place in the text. Not TAMIS_OK ends the splitting. */
typedef tamis_status tamis_word_fn(void *ctx, size_t start, size_t n_bytes, tamis_error *err);

/* Split valid UTF-8 (already with stand-ins, see unicode.h); every byte belongs to one word. Time
 * is linear in practice and no length makes it fail, short of memory (TAMIS_NO_RESOURCE). */
tamis_status tamis_pretokenizer_split(const tamis_pretokenizer *p, tamis_pre_scratch *s,
                                      const uint8_t *text, size_t n_bytes, tamis_word_fn *fn,
                                      void *ctx, tamis_error *err) TAMIS_MUST_USE;

#endif
