/* exp.h - e^x and what is built from it, in plain arithmetic.
 * libm's expf is a call per element and may differ between machines; this is a polynomial of
 * basic operations, which compilers vectorise and every IEEE machine rounds alike.
 * Error: below 2 units in the last place for -87 <= x <= 88. */
#ifndef TAMIS_MODEL_OPS_EXP_H
#define TAMIS_MODEL_OPS_EXP_H

#include <stdint.h>
#include <string.h>

/* e^x; x is held within -87 .. 88, so the result is never 0, subnormal or infinite. NaN gives
 * NaN. */
static inline float tamis_exp(float given) {
    const float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float round_to_int = 12582912.0f; /* 1.5 * 2^23: the sum's last bit is a unit */
    float x = given > -87.0f ? given : -87.0f; /* also for NaN, which no integer can hold */
    x = x < 88.0f ? x : 88.0f;
    float n = (x * log2_e + round_to_int) - round_to_int;
    float r = (x - n * ln2_high) - n * ln2_low;
    /* e^r = 1 + r + r^2 * p(r) for |r| <= ln 2 / 2, the Taylor terms up to r^7 */
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    float e = (p * r) * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) * (1 << 23);
    float power;
    memcpy(&power, &bits, sizeof power);
    return given == given ? e * power : given;
}

/* x times the logistic function of x. */
static inline float tamis_silu(float x) {
    return x / (1.0f + tamis_exp(-x));
}

#endif
