/* router.c - see router.h; the common routine of reference/architectures.md section 1.
 * Bound: memory; a few hundred values per token. */
#include "model/ops/router.h"

#include <math.h>

#include "model/model_internal.h"

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

/* Scores that are closer than this, relatively, count as equal. Sums in another order move an f32
 * score by as much: without the band, rounding alone would choose between such experts. */
#define TIE_BAND 1e-6f

/* Index of the largest value >= 0 not yet taken, the lowest among equals. */
static int64_t take_largest(const float *x, int64_t n, bool *taken) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (!taken[i] && (best < 0 || x[i] > x[best] * (1.0f + TIE_BAND))) best = i;
    taken[best] = true;
    return best;
}

/* Mark the experts outside the best groups; a group's score is the sum of its two largest. */
static void leave_out_groups(const tamis_router *r, const float *probs, bool *is_out) {
    float scores[TAMIS_EXPERTS_MAX];
    bool is_kept[TAMIS_EXPERTS_MAX] = {false};
    int64_t size = r->n_expert / r->n_groups;
    for (int64_t g = 0; g < r->n_groups; g++) {
        float first = 0.0f, second = 0.0f;
        for (int64_t i = g * size; i < (g + 1) * size; i++) {
            float p = probs[i];
            second = p > first ? first : p > second ? p : second;
            first = p > first ? p : first;
        }
        scores[g] = first + second;
    }
    for (int64_t i = 0; i < r->n_groups_used; i++)
        take_largest(scores, r->n_groups, is_kept);
    for (int64_t i = 0; i < r->n_expert; i++)
        is_out[i] = !is_kept[i / size];
}

void tamis_route(const tamis_router *router, float *logits, int32_t *chosen, float *weights) {
    const float sum_min = 6.103515625e-5f;
    bool taken[TAMIS_EXPERTS_MAX] = {false};
    softmax(logits, router->n_expert);
    if (router->n_groups > 1) leave_out_groups(router, logits, taken);
    double sum = 0.0;
    for (int64_t i = 0; i < router->n_used; i++) {
        int64_t best = take_largest(logits, router->n_expert, taken);
        chosen[i] = (int32_t)best;
        weights[i] = logits[best];
        sum += (double)logits[best];
    }
    float total = sum > (double)sum_min ? (float)sum : sum_min;
    for (int64_t i = 0; router->normalize && i < router->n_used; i++)
        weights[i] /= total;
}
