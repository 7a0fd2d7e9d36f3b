/* router.c - see router.h; the common routine of reference/architectures.md section 1.
 * Bound: memory; a few hundred values per token. */
#include "model/ops/router.h"

#include <math.h>
#include <stdbool.h>

/* Softmax in place, the sum in f64. */
static void softmax(float *x, int64_t n) {
    float max = x[0];
    for (int64_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)max);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(exp((double)x[i] - (double)max) / sum);
}

/* Scores closer than logits 1e-6 apart would make them count as equal. Sums in another order move
 * an f32 logit by as much: without the band, rounding alone would choose between such experts. */
#define TIE_BAND 1e-6f

/* The band at a score: a softmax moves in proportion to itself, a sigmoid by a quarter at most. */
static float band(const tamis_expert_hparams *e, float score) {
    if (e->gating == TAMIS_GATING_SOFTMAX) return TIE_BAND * fabsf(score);
    return e->gating == TAMIS_GATING_SIGMOID ? 0.25f * TIE_BAND : TIE_BAND;
}

/* Index of the largest value not yet taken, the lowest among equals. */
static int64_t take_largest(const tamis_expert_hparams *e, const float *x, int64_t n, bool *taken) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++) {
        if (taken[i]) continue;
        if (best < 0 || x[i] > x[best] + band(e, x[best])) best = i;
    }
    taken[best] = true;
    return best;
}

/* Mark the experts outside the best groups; a group's score is the sum of its two largest. */
static void leave_out_groups(const tamis_expert_hparams *e, const float *scores, bool *is_out) {
    float sums[TAMIS_EXPERTS_MAX];
    bool is_kept[TAMIS_EXPERTS_MAX] = {false};
    int64_t size = e->n / e->n_groups;
    for (int64_t g = 0; g < e->n_groups; g++) {
        const float *x = scores + g * size;
        int64_t first = 0, second = -1;
        for (int64_t i = 1; i < size; i++) {
            if (x[i] > x[first])
                second = first, first = i;
            else if (second < 0 || x[i] > x[second])
                second = i;
        }
        sums[g] = x[first] + (second < 0 ? 0.0f : x[second]);
    }
    for (int64_t i = 0; i < e->n_groups_used; i++)
        take_largest(e, sums, e->n_groups, is_kept);
    for (int64_t i = 0; i < e->n; i++)
        is_out[i] = !is_kept[i / size];
}

static void fill_probabilities(const tamis_expert_hparams *e, float *logits) {
    if (e->gating == TAMIS_GATING_SOFTMAX) softmax(logits, e->n);
    for (int64_t i = 0; e->gating == TAMIS_GATING_SIGMOID && i < e->n; i++)
        logits[i] = (float)(1.0 / (1.0 + exp(-(double)logits[i])));
}

static void finish_weights(const tamis_expert_hparams *e, float *weights) {
    const float sum_min = 6.103515625e-5f;
    double sum = 0.0;
    if (e->gating == TAMIS_GATING_CHOSEN) softmax(weights, e->n_used);
    for (int64_t i = 0; i < e->n_used; i++)
        sum += (double)weights[i];
    float total = sum > (double)sum_min ? (float)sum : sum_min;
    for (int64_t i = 0; e->normalize && i < e->n_used; i++)
        weights[i] /= total;
    for (int64_t i = 0; e->weights_scale != 0.0f && i < e->n_used; i++)
        weights[i] *= e->weights_scale;
}

void tamis_route(const tamis_expert_hparams *experts, float *logits, const float *bias,
                 int32_t *chosen, float *weights) {
    const tamis_expert_hparams *e = experts;
    bool taken[TAMIS_EXPERTS_MAX] = {false};
    float sums[TAMIS_EXPERTS_MAX];
    const float *scores = bias ? sums : logits;
    fill_probabilities(e, logits);
    for (int64_t i = 0; bias && i < e->n; i++)
        sums[i] = logits[i] + bias[i];
    if (e->n_groups > 1) leave_out_groups(e, scores, taken);
    for (int64_t i = 0; i < e->n_used; i++) {
        int64_t best = take_largest(e, scores, e->n, taken);
        chosen[i] = (int32_t)best;
        weights[i] = logits[best];
    }
    finish_weights(e, weights);
}
