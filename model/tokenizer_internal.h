/* tokenizer_internal.h - what the tokenizer's own files share. */
#ifndef TAMIS_MODEL_TOKENIZER_INTERNAL_H
#define TAMIS_MODEL_TOKENIZER_INTERNAL_H

#include "model/bpe.h"
#include "model/pretokenizer.h"
#include "model/tokenizer.h"

/* Attribute bits of a token; a type of the file maps to one, load-time rules may add CONTROL. */
enum {
    TAMIS_ATTR_UNKNOWN = 1,
    TAMIS_ATTR_UNUSED = 2,
    TAMIS_ATTR_NORMAL = 4,
    TAMIS_ATTR_CONTROL = 8,
    TAMIS_ATTR_USER_DEFINED = 16,
    TAMIS_ATTR_BYTE = 32,
};

/* Special tokens to look for in raw text. */
typedef struct tamis_specials {
    uint32_t *by_length; /* [n] ids, longest text first, then by id */
    uint32_t *sorted;    /* [n] positions in by_length, texts in byte order */
    uint32_t n;
    uint32_t first_byte[257]; /* sorted[first_byte[b] .. first_byte[b + 1]) begin with byte b */
} tamis_specials;

struct tamis_tokenizer {
    tamis_bpe *bpe;
    tamis_pretokenizer *pre;
    const tamis_pre_name *pre_name;
    uint8_t *attrs;            /* [n_vocab] */
    int32_t n_vocab, bos, eos; /* -1: none */
    bool adds_bos, adds_eos;
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

/* Apply the rules that follow from token texts (reference/tokenizers.md section 3). */
void tamis_tokenizer_fix_attrs(tamis_tokenizer *t, const tamis_gguf *g);

tamis_status tamis_specials_init(tamis_specials *s, const tamis_tokenizer *t, bool with_control,
                                 tamis_error *err) TAMIS_MUST_USE;
void tamis_specials_release(tamis_specials *s);

/* Cut raw text at its special tokens, longest first. Appends to *out, free(out->items). */
tamis_status tamis_specials_cut(const tamis_specials *s, const tamis_tokenizer *t,
                                const uint8_t *text, size_t n_bytes, tamis_fragments *out,
                                tamis_error *err) TAMIS_MUST_USE;

#endif
