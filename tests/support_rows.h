/* support_rows.h - rows of weights and of importance that encoders are tried on: ordinary ones,
 * and the hardest to think of. Integers, exact divisions and powers of two
 * only: the same numbers from every compiler. */
#ifndef TAMIS_TESTS_SUPPORT_ROWS_H
#define TAMIS_TESTS_SUPPORT_ROWS_H

#include <stdint.h>

#include "formats/formats.h"

void rows_seed(uint64_t seed);
uint32_t rows_random(void); /* 24 bits */
float rows_uniform(void);   /* in [-1, 1) */
float rows_bell(void);      /* a sum of four of them */

typedef struct row_kind {
    const char *name;
    void (*fill)(float *x, int n); /* NULL: no importance is given */
} row_kind;

/* Of what encoders meet every day; of what they must not trip over; of importance. Each ends with
 * a row without a name. */
extern const row_kind ordinary_rows[], hard_rows[], importance_rows[];

/* fill() into room; NULL where the kind gives none. */
const float *fill_importance(const row_kind *kind, float *room, int n);

/* sum of w * (x - y)^2; w NULL: all 1. */
double squared_error(const float *x, const float *y, const float *w, int n);

/* Call fn for each type that can be encoded and whose block divides n. Fails the test when there
 * are fewer than the everyday ones. */
void for_each_encoder(int n, void (*fn)(const tamis_type *type));

#endif
