/* exp.h - e^x and what is built from it, in plain arithmetic.
 * libm's expf is a call per element and may differ between machines; this is a polynomial of
 * basic operations, which compilers vectorise and every IEEE machine rounds alike.
 * Error: below 2 units in the last place for -87 <= x <= 87. */
#ifndef TAMIS_MODEL_OPS_EXP_H
#define TAMIS_MODEL_OPS_EXP_H

#include <stdint.h>
#include <string.h>

/* e^x; x is held within -87 .. 87, so the result is never 0, subnormal or infinite. An infinite x
 * and NaN give NaN. Without a comparison of floats: gcc vectorises none that might trap. */
static inline float tamis_exp(float given) {
    const float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float round_to_int = 12582912.0f; /* 1.5 * 2^23: the sum's low bits are the integer */
    const int32_t sign_bit = INT32_MIN, bits_of_87 = 0x42ae0000;
    float x, power;
    int32_t bits, size;
    memcpy(&bits, &given, sizeof bits);
    size = bits & ~sign_bit; /* magnitudes order like their bits */
    bits = (bits & sign_bit) | (size < bits_of_87 ? size : bits_of_87);
    memcpy(&x, &bits, sizeof x);
    float shifted = x * log2_e + round_to_int;
    float n = shifted - round_to_int;
    float r = (x - n * ln2_high) - n * ln2_low;
    /* e^r = 1 + r + r^2 * p(r) for |r| <= ln 2 / 2, the Taylor terms up to r^7 */
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    float e = (p * r) * r + r + 1.0f;
    uint32_t exponent;
    memcpy(&exponent, &shifted, sizeof exponent);
    exponent = (exponent + 127u) << 23;
    memcpy(&power, &exponent, sizeof power);
    return e * power + (given - given);
}

/* The logistic function. */
static inline float tamis_sigmoid(float x) {
    return 1.0f / (1.0f + tamis_exp(-x));
}

/* The hyperbolic tangent; relative error below 4e-7. An infinite x and NaN give NaN. */
static inline float tamis_tanh(float x) {
    /* Taylor terms up to x^11 where the quotient would cancel */
    const float near_zero = 0.3f, x2 = x * x;
    float p = -1382.0f / 155925.0f;
    p = p * x2 + 62.0f / 2835.0f;
    p = p * x2 - 17.0f / 315.0f;
    p = p * x2 + 2.0f / 15.0f;
    p = p * x2 - 1.0f / 3.0f;
    float small = (p * x2) * x + x, large = 1.0f - 2.0f / (1.0f + tamis_exp(2.0f * x));
    return x2 < near_zero * near_zero ? small : large;
}

/* x times the logistic function of x. */
static inline float tamis_silu(float x) {
    return x / (1.0f + tamis_exp(-x));
}

#endif
