/* support_rounding.c - see support_rounding.h. Rules: reference/tensor-types.md section 5 for the
 * types that stand there; for the others scales from the largest magnitude, integer scales
 * and codes rounded to nearest, grid entries by looking at all of them. Doubles throughout;
 * scales are rounded as they are stored. */
#include "support_rounding.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "formats/codebooks.h"
#include "support.h"

typedef struct rounding {
    const char *name;
    void (*round)(const struct rounding *r, const float *x, float *y);
    int n_block;     /* elements that share a scale in f16 (mxfp4, nvfp4: of the scale byte) */
    int n_sub;       /* elements that share an integer scale */
    double lo, hi;   /* codes of linear types; lo = 0: with a minimum */
    double scale_hi; /* of integer scales and minima; 0 = none */
    /* Grid types: entries of n_group elements, the value of a code, the largest value. */
    const uint16_t *grid;
    int n_grid, n_group;
    double (*value)(int code);
    double top;
    double (*scale)(int k); /* what an integer scale stands for, k in 0..scale_hi */
    bool is_signed;         /* entries hold signs (iq1), shifted by an eighth up or down */
    bool is_even;           /* the number of minus signs in eight elements is even */
    int n_shift;            /* elements that share the direction of the shift */
} rounding;

static double to_f16(double v) {
    uint8_t bytes[2];
    float x = (float)v;
    const tamis_type *f16 = tamis_type_by_id(TAMIS_TYPE_F16);
    if (tamis_encode_row(f16, &x, NULL, TAMIS_EFFORT_NORMAL, bytes, 1, NULL)) {
        fail_msg("a scale of %g", v);
    }
    f16->decode(bytes, &x, 1);
    return (double)x;
}

static double clamped(double v, double lo, double hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

static double code_of(double v, double step, double lo, double hi) {
    return step == 0 ? 0 : clamped(nearbyint(v / step), lo, hi);
}

/* The element of largest magnitude. */
static double signed_top(const float *x, int n) {
    double top = 0;
    for (int i = 0; i < n; i++)
        if (fabs((double)x[i]) > fabs(top)) top = (double)x[i];
    return top;
}

/* Scale times code, with a minimum where lo = 0: q4_0 .. q6_K. */
static void round_linear(const rounding *r, const float *x, float *y) {
    double scale[16], minimum[16] = {0}, d = 0, dmin = 0;
    int n_subs = r->n_block / r->n_sub;
    for (int s = 0; s < n_subs; s++) {
        const float *sub = x + s * r->n_sub;
        double low = (double)sub[0], high = low;
        for (int e = 1; e < r->n_sub; e++) {
            low = fmin(low, (double)sub[e]);
            high = fmax(high, (double)sub[e]);
        }
        if (r->lo == 0) minimum[s] = n_subs > 1 ? fmin(low, 0) : low;
        scale[s] = r->lo < 0 ? signed_top(sub, r->n_sub) / r->lo : (high - minimum[s]) / r->hi;
        d = fabs(scale[s]) > fabs(d) ? scale[s] : d;
        dmin = fmax(dmin, -minimum[s]);
    }
    bool has_integers = r->scale_hi != 0;
    d = to_f16(has_integers ? d / r->scale_hi : d);
    dmin = to_f16(has_integers ? dmin / r->scale_hi : 0);
    double lowest = fmin(r->scale_hi, 0), highest = fmax(r->scale_hi, -r->scale_hi - 1);
    for (int e = 0; e < r->n_block; e++) {
        int s = e / r->n_sub;
        double sc = has_integers ? code_of(scale[s], d, lowest, highest) : 1;
        double m = has_integers ? -dmin * code_of(-minimum[s], dmin, 0, highest) : minimum[s];
        if (!has_integers && r->lo == 0) m = to_f16(m);
        y[e] = (float)(d * sc * code_of((double)x[e] - m, d * sc, r->lo, r->hi) + m);
    }
}

/* The value of a table nearest to t, the first of equals. */
static double nearest_of_16(const int8_t values[16], double t) {
    double best = values[0];
    for (int i = 1; i < 16; i++)
        if (fabs(t - values[i]) < fabs(t - best)) best = values[i];
    return best;
}

static void round_iq4(const rounding *r, const float *x, float *y) {
    double scale[8], d = 0;
    int n_subs = r->n_block / r->n_sub;
    for (int s = 0; s < n_subs; s++) {
        scale[s] = signed_top(x + s * r->n_sub, r->n_sub) / -127;
        d = fabs(scale[s]) > fabs(d) ? scale[s] : d;
    }
    d = to_f16(n_subs > 1 ? d / -32 : d);
    for (int e = 0; e < r->n_block; e++) {
        double step = n_subs > 1 ? d * code_of(scale[e / r->n_sub], d, -32, 31) : d;
        y[e] = (float)(step == 0 ? 0 : step * nearest_of_16(tamis_iq4_nl_values, x[e] / step));
    }
}

/* Codes from the scale before its own rounding. */
static void round_q8_0(const rounding *r, const float *x, float *y) {
    double step = fabs(signed_top(x, r->n_block)) / 127, d = to_f16(step);
    for (int e = 0; e < r->n_block; e++)
        y[e] = (float)(step == 0 ? 0 : d * round((double)x[e] / step));
}

static void round_ternary(const rounding *r, const float *x, float *y) {
    double top = fabs(signed_top(x, r->n_block)), d = to_f16(top);
    for (int e = 0; e < r->n_block; e++)
        y[e] = (float)(top == 0 ? 0 : d * clamped(round((double)x[e] / top), r->lo, r->hi));
}

static void round_to_signs(const rounding *r, const float *x, float *y) {
    double sum = 0;
    for (int e = 0; e < r->n_block; e++)
        sum += fabs((double)x[e]);
    float d = (float)to_f16(sum / r->n_block);
    for (int e = 0; e < r->n_block; e++)
        y[e] = x[e] >= 0.0f ? d : -d;
}

static void round_mxfp4(const rounding *r, const float *x, float *y) {
    double top = fabs(signed_top(x, r->n_block));
    int exponent = 0;
    if (top > 0) exponent = (int)clamped(ilogb(top) - 2 + 127, 0, 254);
    double step = ldexp(1.0, exponent - 128);
    for (int e = 0; e < r->n_block; e++)
        y[e] = (float)(step * nearest_of_16(tamis_fp4_values, (double)x[e] / step));
}

/* The scale as rounded to four bits of exponent and three of mantissa, half up. */
static double to_ue4m3(double v) {
    if (v >= 448) return 448;
    if (v < ldexp(1.0, -6)) return fmin(round(v * 512), 7) / 512;
    double unit = ldexp(1.0, ilogb(v) - 3);
    return floor(v / unit + 0.5) * unit;
}

static void round_nvfp4(const rounding *r, const float *x, float *y) {
    double step = 0.5 * to_ue4m3(fabs(signed_top(x, r->n_block)) / 6);
    for (int e = 0; e < r->n_block; e++)
        y[e] = (float)(step == 0 ? 0 : step * nearest_of_16(tamis_fp4_values, (double)x[e] / step));
}

static double iq2_value(int code) {
    return code == 2 ? 43 : 8 + 17 * code;
}

static double iq3_xxs_value(int code) {
    return code == 7 ? 62 : 4 + 8 * code;
}

static double iq3_s_value(int code) {
    return 1 + 2 * code;
}

static double iq1_value(int code) {
    return code - 1;
}

static double quarters(int k) {
    return 0.25 * (0.5 + k);
}

static double halves(int k) {
    return 0.5 * (0.5 + k);
}

static double odd(int k) {
    return 1 + 2 * k;
}

/* y of the entry nearest to x, the error given back; shift moves all values of iq1. */
static double nearest_entry(const rounding *r, const float *x, double step, double shift,
                            float *y) {
    double least = HUGE_VAL;
    int bits = r->n_group == 4 ? 3 : 2;
    for (int i = 0; i < r->n_grid; i++) {
        double error = 0, v[8];
        for (int e = 0; e < r->n_group && error < least; e++) {
            v[e] = step * (r->value(r->grid[i] >> bits * e & ((1 << bits) - 1)) + shift);
            double off = (r->is_signed ? (double)x[e] : fabs((double)x[e])) - v[e];
            error += off * off;
        }
        if (error >= least) continue;
        least = error;
        for (int e = 0; e < r->n_group; e++)
            y[e] = (float)(r->is_signed || x[e] >= 0.0f ? v[e] : -v[e]);
    }
    return least;
}

/* Eight elements whose signs must be even in number: the smallest takes the wrong one. */
static void make_even(const float *x, float *y) {
    int n_minus = 0, smallest = 0;
    for (int e = 0; e < 8; e++) {
        n_minus += !(x[e] >= 0.0f);
        if (fabsf(x[e]) < fabsf(x[smallest])) smallest = e;
    }
    if (n_minus & 1) y[smallest] = -y[smallest];
}

static double round_shifted(const rounding *r, const float *x, double step, double shift,
                            float *y) {
    double error = 0;
    for (int at = 0; at < r->n_shift; at += r->n_group)
        error += nearest_entry(r, x + at, step, shift, y + at);
    return error;
}

static void round_grid(const rounding *r, const float *x, float *y) {
    double d = 0;
    for (int at = 0; at < r->n_block; at += r->n_sub)
        d = fmax(d, fabs(signed_top(x + at, r->n_sub)) / r->top);
    d = to_f16(d / r->scale((int)r->scale_hi));
    for (int at = 0; at < r->n_block; at += r->n_sub) {
        double wanted = fabs(signed_top(x + at, r->n_sub)) / r->top;
        int best = 0;
        for (int k = 1; k <= (int)r->scale_hi; k++)
            if (fabs(d * r->scale(k) - wanted) < fabs(d * r->scale(best) - wanted)) best = k;
        double step = d * r->scale(best);
        for (int e = at; e < at + r->n_sub; e += r->n_shift) {
            float other[32];
            double error = round_shifted(r, x + e, step, r->is_signed ? 0.125 : 0, y + e);
            if (r->is_signed && round_shifted(r, x + e, step, -0.125, other) < error)
                memcpy(y + e, other, (size_t)r->n_shift * sizeof *y);
        }
        for (int e = at; r->is_even && e < at + r->n_sub; e += 8)
            make_even(x + e, y + e);
    }
}

/* clang-format off */
#define LINEAR(type, block, sub, low, high, scale) \
    { .name = type, .round = round_linear, .n_block = block, .n_sub = sub, .lo = low, .hi = high, \
      .scale_hi = scale }
#define GRID(type, table, sub, shift, group, of_code, largest, of_scale, most) \
    .name = type, .round = round_grid, .n_block = 256, .n_sub = sub, .n_shift = shift, \
    .n_group = group, .grid = table, .n_grid = (int)(sizeof table / sizeof *table), \
    .value = of_code, .top = largest, .scale = of_scale, .scale_hi = most

static const rounding roundings[] = {
    LINEAR("q4_0", 32, 32, -8, 7, 0),      LINEAR("q5_0", 32, 32, -16, 15, 0),
    LINEAR("q4_1", 32, 32, 0, 15, 0),      LINEAR("q5_1", 32, 32, 0, 31, 0),
    LINEAR("q2_K", 256, 16, 0, 3, 15),
    LINEAR("q3_K", 256, 16, -4, 3, -32),   LINEAR("q4_K", 256, 32, 0, 15, 63),
    LINEAR("q5_K", 256, 32, 0, 31, 63),    LINEAR("q6_K", 256, 16, -32, 31, -128),
    { .name = "iq4_nl", .round = round_iq4, .n_block = 32, .n_sub = 32 },
    { .name = "iq4_xs", .round = round_iq4, .n_block = 256, .n_sub = 32 },
    { .name = "q8_0", .round = round_q8_0, .n_block = 32 },
    { .name = "mxfp4", .round = round_mxfp4, .n_block = 32 },
    { .name = "nvfp4", .round = round_nvfp4, .n_block = 16 },
    { .name = "tq1_0", .round = round_ternary, .n_block = 256, .lo = -1, .hi = 1 },
    { .name = "tq2_0", .round = round_ternary, .n_block = 256, .lo = -1, .hi = 1 },
    { .name = "q2_0", .round = round_ternary, .n_block = 64, .lo = -1, .hi = 2 },
    { .name = "q1_0", .round = round_to_signs, .n_block = 128 },
    { GRID("iq2_xxs", tamis_iq2_xxs_grid, 32, 8, 8, iq2_value, 43, quarters, 15), .is_even = true },
    { GRID("iq2_xs", tamis_iq2_xs_grid, 16, 8, 8, iq2_value, 43, quarters, 15), .is_even = true },
    { GRID("iq2_s", tamis_iq2_s_grid, 16, 8, 8, iq2_value, 43, quarters, 15) },
    { GRID("iq3_xxs", tamis_iq3_xxs_grid, 32, 8, 4, iq3_xxs_value, 62, halves, 15),
      .is_even = true },
    { GRID("iq3_s", tamis_iq3_s_grid, 32, 8, 4, iq3_s_value, 15, odd, 15) },
    { GRID("iq1_s", tamis_iq1_s_grid, 32, 32, 8, iq1_value, 1.125, odd, 7), .is_signed = true },
    { GRID("iq1_m", tamis_iq1_s_grid, 16, 8, 8, iq1_value, 1.125, odd, 7), .is_signed = true },
    { GRID("iq1_xs", tamis_iq1_xs_grid, 32, 32, 8, iq1_value, 1.125, odd, 7), .is_signed = true },
    { GRID("iq1_xxs", tamis_iq1_xxs_grid, 32, 32, 8, iq1_value, 1.125, odd, 7), .is_signed = true },
    { GRID("iq1_xxxs", tamis_iq1_xxxs_grid, 32, 32, 8, iq1_value, 1.125, odd, 7),
      .is_signed = true },
};
/* clang-format on */

bool round_to_nearest(const tamis_type *type, const float *x, float *y, int n) {
    for (size_t i = 0; i < sizeof roundings / sizeof roundings[0]; i++) {
        const rounding *r = &roundings[i];
        if (strcmp(r->name, type->name) != 0) continue;
        for (int at = 0; at < n; at += r->n_block)
            r->round(r, x + at, y + at);
        return true;
    }
    return false;
}
