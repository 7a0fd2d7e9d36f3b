/* rope.c - see rope.h. Angles are made in f64, once per run; the rotation is f32.
 * Bound: memory (each element of q and k is touched once). */
#include "model/ops/rope.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"

#define PI 3.14159265358979323846

/* The pair index at which a wavelength fits `beta` times into the original context. */
static double yarn_pair(const tamis_rope_params *p, double beta) {
    return (double)p->n_rot * log((double)p->original_context / (2.0 * PI * beta)) /
           (2.0 * log(p->freq_base));
}

/* Share of the unscaled angle in pair i: 1 for short wavelengths, 0 for long ones. */
static double yarn_share(double low, double high, int64_t i) {
    double width = high - low < 0.001 ? 0.001 : high - low;
    double t = ((double)i - low) / width;
    return 1.0 - (t < 0.0 ? 0.0 : t > 1.0 ? 1.0 : t);
}

/* Whether a pair has the position of a text token; the fourth position of text is 0. */
static bool turns_with_text(const tamis_rope_params *p, int64_t i) {
    const int64_t *s = p->sections;
    int64_t n_three = s[0] + s[1] + s[2];
    if (p->sectioning == TAMIS_SECTIONS_NONE) return true;
    int64_t j = i % (n_three + s[3]);
    return p->sectioning == TAMIS_SECTIONS_IN_TURN ? j < 3 * s[j % 3] : j < n_three;
}

/* Angle per position of every pair, into frequencies [n_rot/2]; returns mscale. */
static double fill_frequencies(const tamis_rope_params *p, const float *factors,
                               double *frequencies) {
    bool is_yarn = p->scaling == TAMIS_ROPE_YARN;
    double low = 0.0, high = 0.0;
    if (is_yarn) {
        low = fmax(0.0, floor(yarn_pair(p, p->beta_fast)));
        high = fmin((double)p->n_rot - 1.0, ceil(yarn_pair(p, p->beta_slow)));
    }
    for (int64_t i = 0; i < p->n_rot / 2; i++) {
        double theta = pow(p->freq_base, -2.0 * (double)i / (double)p->n_rot);
        if (factors) theta /= (double)factors[i];
        double share = is_yarn ? yarn_share(low, high, i) : 0.0;
        frequencies[i] = p->freq_scale * theta * (1.0 - share) + theta * share;
        if (!turns_with_text(p, i)) frequencies[i] = 0.0;
    }
    if (!is_yarn || p->freq_scale >= 1.0) return p->attn_factor;
    double stretch = 0.1 * log(1.0 / p->freq_scale);
    return p->attn_factor * (1.0 + stretch) / (1.0 + p->log_multiplier * stretch);
}

tamis_status tamis_rope_table_init(tamis_rope_table *table, tamis_rope_kind kind,
                                   const tamis_rope_params *params, const float *factors,
                                   int64_t n_positions, tamis_error *err) {
    tamis_status st = TAMIS_NO_RESOURCE;
    int64_t n_pairs = params->n_rot / 2;
    uint64_t n_floats = 0;
    double *frequencies = NULL;
    *table = (tamis_rope_table){.kind = kind, .n_pairs = n_pairs};
    if (!tamis_mul_u64((uint64_t)n_positions, (uint64_t)n_pairs * 2, &n_floats))
        return tamis_fail(err, TAMIS_NO_RESOURCE, "a context of %lld tokens is too long",
                          (long long)n_positions);
    frequencies = tamis_alloc_array((uint64_t)n_pairs, sizeof *frequencies, err);
    if (!frequencies) goto out;
    table->cos_sin = tamis_alloc_array(n_floats, sizeof *table->cos_sin, err);
    if (!table->cos_sin) goto out;
    double mscale = fill_frequencies(params, factors, frequencies);
    for (int64_t pos = 0; pos < n_positions; pos++) {
        float *row = table->cos_sin + pos * n_pairs * 2;
        for (int64_t i = 0; i < n_pairs; i++) {
            double angle = (double)pos * frequencies[i];
            row[2 * i] = (float)(cos(angle) * mscale);
            row[2 * i + 1] = (float)(sin(angle) * mscale);
        }
    }
    st = TAMIS_OK;
out:
    free(frequencies);
    return st;
}

void tamis_rope_table_release(tamis_rope_table *table) {
    free(table->cos_sin);
    table->cos_sin = NULL;
}

void tamis_rope_apply(const tamis_rope_table *table, int64_t position, float *x, int64_t n_heads,
                      int64_t head_size) {
    const float *cos_sin = table->cos_sin + position * table->n_pairs * 2;
    bool is_norm = table->kind == TAMIS_ROPE_NORM;
    int64_t step = is_norm ? 2 : 1, partner = is_norm ? 1 : table->n_pairs;
    for (int64_t h = 0; h < n_heads; h++, x += head_size) {
        for (int64_t i = 0; i < table->n_pairs; i++) {
            float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
            float a = x[i * step], b = x[i * step + partner];
            x[i * step] = a * c - b * s;
            x[i * step + partner] = a * s + b * c;
        }
    }
}

void tamis_rope_heat(const tamis_hparams *hp, int64_t position, float *q, int64_t n) {
    if (hp->temperature_scale == 0.0f) return;
    double factor = 1.0 + (double)hp->temperature_scale *
                              log((double)(position / hp->temperature_length) + 1.0);
    for (int64_t i = 0; i < n; i++)
        q[i] *= (float)factor;
}
