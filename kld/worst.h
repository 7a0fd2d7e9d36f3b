/* worst.h - the positions where two models differ most, with what they would have said there. */
#ifndef TAMIS_KLD_WORST_H
#define TAMIS_KLD_WORST_H

#include <stddef.h>
#include <stdint.h>

enum { TAMIS_KLD_N_TOP = 5, TAMIS_KLD_N_CONTEXT = 12 };

/* Bytes of the text that ids stand for; not always UTF-8, a token may be part of a character. */
typedef struct tamis_kld_bytes {
    char *data; /* NULL when no tokenizer is known */
    size_t n_bytes;
} tamis_kld_bytes;

typedef struct tamis_kld_candidate {
    int32_t token; /* -1: none, the vocabulary is smaller */
    double p;
    tamis_kld_bytes text;
} tamis_kld_candidate;

typedef struct tamis_kld_opinion {
    tamis_kld_candidate top[TAMIS_KLD_N_TOP]; /* most probable first, equal ones by id */
    double p_expected;
} tamis_kld_opinion;

typedef struct tamis_kld_position {
    int64_t i_row;
    int64_t i_chunk, i_token; /* of the expected token: chunk, place in the chunk; from 0 */
    double kld;
    int32_t expected;
    tamis_kld_bytes expected_text;
    tamis_kld_bytes
        context;            /* the TAMIS_KLD_N_CONTEXT tokens before it, fewer at a chunk's start */
    tamis_kld_opinion p, q; /* parent, quantized model */
} tamis_kld_position;

typedef struct tamis_kld_worst {
    tamis_kld_position *positions; /* [n] by falling divergence, equal ones in order of the text */
    int64_t n;
} tamis_kld_worst;

/* NULL is accepted. */
void tamis_kld_worst_release(tamis_kld_worst *worst);

#endif
