/* tokenizer_internal.h - what the tokenizer's own files share. */
#ifndef TAMIS_MODEL_TOKENIZER_INTERNAL_H
#define TAMIS_MODEL_TOKENIZER_INTERNAL_H

#include "base/hash.h"
#include "model/bpe.h"
#include "model/pretokenizer.h"
#include "model/spm.h"
#include "model/tokenizer.h"

/* Attribute bits of a token; a type of the file maps to one of the first six, load-time rules may
 * add CONTROL and the last two. */
enum {
    TAMIS_ATTR_UNKNOWN = 1,
    TAMIS_ATTR_UNUSED = 2,
    TAMIS_ATTR_NORMAL = 4,
    TAMIS_ATTR_CONTROL = 8,
    TAMIS_ATTR_USER_DEFINED = 16,
    TAMIS_ATTR_BYTE = 32,
    TAMIS_ATTR_LSTRIP = 64,  /* white space in the text before it goes */
    TAMIS_ATTR_RSTRIP = 128, /* and behind it */
};

/* Special tokens to look for in raw text. */
typedef struct tamis_specials {
    uint32_t *by_length; /* [n] ids, longest text first, then by id */
    uint32_t *sorted;    /* [n] positions in by_length, texts in byte order */
    uint32_t n;
    uint32_t first_byte[257]; /* sorted[first_byte[b] .. first_byte[b + 1]) begin with byte b */
} tamis_specials;

/* What is done to a stretch of text before it is tokenized. */
typedef struct tamis_text_rules {
    bool repairs;      /* every invalid byte becomes U+FFFD */
    bool marks_spaces; /* every space becomes U+2581 */
    bool adds_space;   /* one space is put before it */
} tamis_text_rules;

typedef struct tamis_encoder tamis_encoder;

/* A value of tokenizer.ggml.model: what it is by default and how it works. */
typedef struct tamis_tokenizer_kind {
    const char *name;
    int32_t bos, eos, unk; /* default ids; -1: none */
    bool adds_bos, adds_space;
    /* What it needs besides tokens and types; what decides ids goes into the hash. */
    tamis_status (*load)(tamis_tokenizer *t, const tamis_gguf *g, tamis_hash *hash,
                         tamis_error *err);
    /* Ids of a stretch of prepared text. */
    tamis_status (*encode)(tamis_encoder *e, size_t start, size_t n_bytes, tamis_error *err);
} tamis_tokenizer_kind;

/* The row of a file's kind. No tokenizer, or a kind that has no row: TAMIS_BAD_INPUT. */
tamis_status tamis_tokenizer_find_kind(const tamis_gguf *g, const tamis_tokenizer_kind **out,
                                       tamis_error *err) TAMIS_MUST_USE;
/* For the load functions of kinds. */
void tamis_hash_number(tamis_hash *hash, int64_t value);

struct tamis_tokenizer {
    const tamis_tokenizer_kind *kind;
    tamis_symbols *symbols;
    const tamis_pre_name *pre_name; /* NULL: the kind has none; so of the next two */
    tamis_pretokenizer *pre;
    tamis_bpe *bpe;
    tamis_spm *spm; /* NULL but for its kind */
    tamis_text_rules rules;
    bool is_mapped;            /* token texts are bytes through the byte map */
    bool cleans_spaces;        /* when a whole text is put together again */
    int32_t byte_ids[256];     /* token of a byte that is in no other; -1: none */
    uint8_t *attrs;            /* [n_vocab] */
    int32_t n_vocab, bos, eos; /* -1: none */
    int32_t unk;
    bool adds_bos, adds_eos;
    bool adds_space;            /* a space before the first piece is not of the text */
    tamis_specials specials[2]; /* without and with CONTROL and UNKNOWN tokens */
    char hash[33];
};

/* A stretch of text, or a special token found in it (token >= 0). */
typedef struct tamis_fragment {
    size_t start, n_bytes;
    int32_t token;
} tamis_fragment;

typedef struct tamis_fragments {
    tamis_fragment *items;
    uint64_t n, capacity;
} tamis_fragments;

/* Apply the rules that follow from token texts and model names (reference/tokenizers.md
 * section 3). */
void tamis_tokenizer_fix_attrs(tamis_tokenizer *t, const tamis_gguf *g);

tamis_status tamis_specials_init(tamis_specials *s, const tamis_tokenizer *t, bool with_control,
                                 tamis_error *err) TAMIS_MUST_USE;
void tamis_specials_release(tamis_specials *s);

/* Cut raw text at its special tokens, longest first. Appends to *out, free(out->items). */
tamis_status tamis_specials_cut(const tamis_specials *s, const tamis_tokenizer *t,
                                const uint8_t *text, size_t n_bytes, tamis_fragments *out,
                                tamis_error *err) TAMIS_MUST_USE;

/* Text as a kind wants it. */
typedef struct tamis_prepared {
    const uint8_t *text;
    const uint8_t *subject; /* where it was repaired: the text with stand-ins, for patterns only */
    uint8_t *own_text, *own_subject;
} tamis_prepared;

/* Apply the rules to every stretch of `text` in the list, whose places are moved along. Where they
 * change nothing the caller's own text is used. Release *out in any case. */
tamis_status tamis_prepare(const tamis_text_rules *rules, const uint8_t *text,
                           tamis_fragments *fragments, tamis_prepared *out,
                           tamis_error *err) TAMIS_MUST_USE;
void tamis_prepared_release(tamis_prepared *p);

/* The encode functions of kinds. */
tamis_status tamis_encode_bpe(tamis_encoder *e, size_t start, size_t n_bytes,
                              tamis_error *err) TAMIS_MUST_USE;
tamis_status tamis_encode_spm(tamis_encoder *e, size_t start, size_t n_bytes,
                              tamis_error *err) TAMIS_MUST_USE;

#endif
