/* encode_grid_nearest_internal.h - the grid entry of least weighted error for given scales,
 * exactly. The error of an entry is the sum of the errors of its lower and its upper half, and
 * grids are sorted by their upper half: per run of entries that share it, the least lower half is
 * found first, one minimum per entry. Tables of halves carry the number of the half in the
 * lowest bits of the error. Where the number of minus signs must be even, lanes with an odd
 * number turn the cheapest sign: halves with and without a turned sign, joined both ways.
 * A lane holds one sub-block. Compute bound: about three vector operations per entry. */
#ifndef TAMIS_FORMATS_ENCODE_GRID_NEAREST_INTERNAL_H
#define TAMIS_FORMATS_ENCODE_GRID_NEAREST_INTERNAL_H

#include "formats/codebooks.h"
#include "formats/encode_tile_internal.h"
#include "formats/grid_lists.h"

enum { GROUP = 8 };

/* yes where a < b, else no. */
#if defined(__x86_64__) && TAMIS_LANES == 16
INLINE vf v_where_less(vf a, vf b, vf yes, vf no) {
    return (vf)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ),
                                    (__m512)no, (__m512)yes);
}
#elif defined(__x86_64__) && TAMIS_LANES == 8
INLINE vf v_where_less(vf a, vf b, vf yes, vf no) {
    return (vf)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)(a < b));
}
#else
INLINE vf v_where_less(vf a, vf b, vf yes, vf no) {
    return v_select(a < b, yes, no);
}
#endif

INLINE vi i_set(int32_t a) {
    return a - (vi){0};
}

INLINE vi i_load(const int32_t *p) {
    vi a;
    memcpy(&a, p, sizeof a);
    return a;
}

INLINE void i_store(int32_t *p, vi a) {
    memcpy(p, &a, sizeof a);
}

/* The error with its lowest bits, those of `mask`, replaced by a number. */
INLINE vf numbered(vf error, int32_t mask, int32_t number) {
    return (vf)(((vi)error & ~mask) | number);
}

/* A half of an entry so far: its error, and which upper and (numbered) lower half. */
typedef struct best_entry {
    vf error, lower;
    vi upper;
} best_entry;

INLINE void keep_entry(best_entry *best, vf error, vf lower, int32_t upper) {
    best->lower = v_where_less(error, best->error, lower, best->lower);
    best->upper = (vi)v_where_less(error, best->error, (vf)i_set(upper), (vf)best->upper);
    best->error = v_min(error, best->error);
}

INLINE vi entry_code(const best_entry *best, int half_bits) {
    return (best->upper << half_bits) | ((vi)best->lower & i_set((1 << half_bits) - 1));
}

/* What is looked for at once: two groups, since independent chains hide the latency of minimums.
 * t: elements over the scale, magnitudes where the format stores signs. */
typedef struct group_pair {
    vf t[2][GROUP], w[2][GROUP];
    vi odd[2]; /* lanes in which one sign must be turned */
} group_pair;

/* What the values of two neighbours cost, by element: the error, and turning the sign. */
typedef struct value_errors {
    vf error[2][8], turn[2][8];
} value_errors;

/* `odd` masks the lanes in which a sign may be turned. */
INLINE void price_values(const vf t[2], const vf w[2], const float *values, int n_values,
                         bool with_turn, vi odd, value_errors *out) {
    for (int i = 0; i < 2; i++) {
        vf slope = (vf)(odd & (vi)(v_set(4.0f) * w[i] * t[i]));
        for (int v = 0; v < n_values; v++) {
            vf off = t[i] - v_set(values[v]);
            out->error[i][v] = w[i] * off * off;
            if (with_turn) out->turn[i][v] = slope * v_set(values[v]);
        }
    }
}

/* Both neighbours together, by place: first + n_values * second. */
INLINE void price_pairs(const vf t[2], const vf w[2], const float *values, int n_values,
                        bool with_turn, vi odd, vf *plain, vf *turn) {
    value_errors one;
    price_values(t, w, values, n_values, with_turn, odd, &one);
    for (int b = 0; b < n_values; b++) {
        for (int a = 0; a < n_values; a++) {
            plain[n_values * b + a] = one.error[0][a] + one.error[1][b];
            if (with_turn) turn[n_values * b + a] = v_min(one.turn[0][a], one.turn[1][b]);
        }
    }
}

/* Codes of two elements with three values each, and their places by code. */
static const uint8_t codes_of_two[9] = {0, 1, 2, 4, 5, 6, 8, 9, 10};
static const uint8_t places_of_two[16] = {0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 0, 0, 0, 0};

/* Lower halves of an entry by their place: as they are, and with the cheapest sign turned. */
typedef struct half_errors {
    vf plain[81], turned[81];
} half_errors;

/* Least lower halves of a run for two groups; the entries of a run are taken in two chains. */
INLINE void least_of_run(const half_errors low[2], const uint8_t *lower, int length, bool with_turn,
                         vf least[2], vf turned[2]) {
    vf a[2][2], b[2][2];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 2; i++) {
            a[k][i] = low[k].plain[lower[i]];
            if (with_turn) b[k][i] = low[k].turned[lower[i]];
        }
    }
    for (const uint8_t *end = lower + length, *at = lower + 2; at < end; at += 2) {
        for (int k = 0; k < 2; k++) {
            for (int i = 0; i < 2; i++) {
                a[k][i] = v_min(a[k][i], low[k].plain[at[i]]);
                if (with_turn) b[k][i] = v_min(b[k][i], low[k].turned[at[i]]);
            }
        }
    }
    for (int k = 0; k < 2; k++) {
        least[k] = v_min(a[k][0], a[k][1]);
        if (with_turn) turned[k] = v_min(b[k][0], b[k][1]);
    }
}

INLINE best_entry no_entry(void) {
    return (best_entry){v_set(__builtin_inff()), v_set(0.0f), i_set(0)};
}

/* Errors of the pairs of a group by place. */
typedef struct group_prices {
    vf plain[4][9], turn[4][9];
} group_prices;

INLINE void fill_halves_of_4(const group_prices *p, bool with_turn, half_errors *out) {
    for (int b = 0; b < 9; b++) {
        for (int a = 0; a < 9; a++) {
            vf error = p->plain[0][a] + p->plain[1][b];
            int code = codes_of_two[a] | codes_of_two[b] << 4;
            out->plain[9 * b + a] = numbered(error, 255, code);
            if (with_turn) {
                vf turned = error + v_min(p->turn[0][a], p->turn[1][b]);
                out->turned[9 * b + a] = numbered(turned, 255, code);
            }
        }
    }
}

/* The best entries of two groups of eight elements with three values each; with_turn: turning one
 * sign in the lanes of `odd`. Which one follows from the code: the cheapest. */
INLINE void nearest_of_8(const tamis_grid_lists *runs, const float *values, const group_pair *in,
                         bool with_turn, vi code[2]) {
    group_prices price[2];
    half_errors low[2];
    best_entry best[2] = {no_entry(), no_entry()};
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 4; i++) {
            price_pairs(in->t[k] + 2 * i, in->w[k] + 2 * i, values, 3, with_turn, in->odd[k],
                        price[k].plain[i], price[k].turn[i]);
        }
        fill_halves_of_4(&price[k], with_turn, &low[k]);
    }
    const uint8_t *lower = runs->lower;
    for (int r = 0; r < runs->n; lower += runs->length[r++]) {
        unsigned upper = runs->upper[r];
        unsigned first = places_of_two[upper & 15], second = places_of_two[upper >> 4];
        vf least[2], turned[2];
        least_of_run(low, lower, runs->length[r], with_turn, least, turned);
        for (int k = 0; k < 2; k++) {
            vf error = price[k].plain[2][first] + price[k].plain[3][second];
            vf sum = error + least[k];
            if (with_turn) {
                vf up = sum + v_min(price[k].turn[2][first], price[k].turn[3][second]);
                vf down = error + turned[k];
                least[k] = v_where_less(down, up, turned[k], least[k]);
                sum = v_min(down, up);
            }
            keep_entry(&best[k], sum, least[k], (int32_t)upper);
        }
    }
    code[0] = entry_code(&best[0], 8);
    code[1] = entry_code(&best[1], 8);
}

/* The best entries of two times four elements with eight values each: the code of the second
 * follows that of the first, twelve bits on. with_turn: in the lanes of `odd` the entry that pays
 * less for it has one sign turned. */
INLINE vi nearest_of_2x4(const tamis_grid_lists *runs, const float *values, const vf t[GROUP],
                         const vf w[GROUP], bool with_turn, vi odd) {
    vf high[2][64], high_turn[2][64];
    half_errors low[2];
    best_entry best[2] = {no_entry(), no_entry()}, turned[2] = {no_entry(), no_entry()};
    for (int k = 0; k < 2; k++) {
        price_pairs(t + 4 * k, w + 4 * k, values, 8, with_turn, i_set(-1), low[k].plain,
                    low[k].turned);
        price_pairs(t + 4 * k + 2, w + 4 * k + 2, values, 8, with_turn, i_set(-1), high[k],
                    high_turn[k]);
        for (int i = 0; i < 64; i++) {
            vf error = low[k].plain[i];
            low[k].plain[i] = numbered(error, 63, i);
            if (with_turn) low[k].turned[i] = numbered(error + low[k].turned[i], 63, i);
        }
    }
    const uint8_t *lower = runs->lower;
    for (int r = 0; r < runs->n; lower += runs->length[r++]) {
        unsigned upper = runs->upper[r];
        vf least[2], low_turned[2];
        least_of_run(low, lower, runs->length[r], with_turn, least, low_turned);
        for (int k = 0; k < 2; k++) {
            vf error = high[k][upper], sum = error + least[k];
            keep_entry(&best[k], sum, least[k], (int32_t)upper);
            if (with_turn) {
                vf up = sum + high_turn[k][upper], down = error + low_turned[k];
                keep_entry(&turned[k], v_min(up, down),
                           v_where_less(down, up, low_turned[k], least[k]), (int32_t)upper);
            }
        }
    }
    vi code[2] = {entry_code(&best[0], 6), entry_code(&best[1], 6)};
    if (with_turn) {
        vi is_first = turned[0].error + best[1].error < best[0].error + turned[1].error;
        vi first = odd & is_first, second = odd & ~is_first;
        code[0] = (code[0] & ~first) | (entry_code(&turned[0], 6) & first);
        code[1] = (code[1] & ~second) | (entry_code(&turned[1], 6) & second);
    }
    return code[0] | (code[1] << 12);
}

#endif
