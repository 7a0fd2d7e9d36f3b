/* estimate.c - how long a plan will take on this machine: one made-up row is encoded in every type
 * that the plan needs, and the times are added up. Milliseconds of work; good to about a third,
 * for the encoders of a pool and a source that lies in the page cache. */
#include <stdlib.h>

#include "base/checked.h"
#include "base/progress.h"
#include "base/threads.h"
#include "quantize/quantize.h"

enum { SAMPLE_ELEMS = 1 << 15, N_TYPES_MAX = 128 };

/* Read, decode, hash and write, without the encoder. */
static const double carry_s_per_byte = 1.0 / 1.5e9;

/* Reading the result back. */
static const double check_s_per_byte = 1.0 / 3e9;

/* Numbers about normal, from a generator of Lehmer's: the search depends on how values lie. */
static void fill_sample(float *x, float *importance) {
    uint32_t state = 12345;
    for (int i = 0; i < SAMPLE_ELEMS; i++) {
        float sum = 0;
        for (int k = 0; k < 4; k++) {
            state = (uint32_t)((uint64_t)state * 48271 % 0x7FFFFFFF);
            sum += (float)state * 0x1p-31f - 0.5f;
        }
        x[i] = 0.02f * sum;
        importance[i] = 0.1f + (float)(state & 0xFFFF) * 0x1p-16f;
    }
}

/* Seconds per weight of an encoder on one core; 0 when the sample cannot be encoded. */
static double time_encoder(const tamis_type *type, const float *x, const float *importance,
                           tamis_effort effort, uint8_t *blocks) {
    double start = tamis_now_s();
    if (tamis_encode_row(type, x, importance, effort, blocks, SAMPLE_ELEMS, NULL)) return 0;
    return (tamis_now_s() - start) / SAMPLE_ELEMS;
}

tamis_status tamis_quantize_estimate(const tamis_quantize_plan *plan, int n_threads, double *out,
                                     tamis_error *err) {
    double per_weight[N_TYPES_MAX][2] = {{0}}, total = 0; /* without and with importance */
    tamis_status st = TAMIS_NO_RESOURCE;
    float *importance = NULL;
    uint8_t *blocks = NULL;
    float *x = tamis_alloc_array(SAMPLE_ELEMS, sizeof *x, err);
    if (!x) goto out;
    importance = tamis_alloc_array(SAMPLE_ELEMS, sizeof *importance, err);
    if (!importance) goto out;
    blocks = tamis_alloc_array(SAMPLE_ELEMS, 16, err); /* more than any type takes */
    if (!blocks) goto out;
    fill_sample(x, importance);
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const tamis_quantize_step *s = &plan->steps[i];
        if (s->type == s->tensor->type || s->type->id >= N_TYPES_MAX) continue;
        double *known = &per_weight[s->type->id][s->importance != NULL];
        if (*known == 0)
            *known =
                time_encoder(s->type, x, s->importance ? importance : NULL, plan->effort, blocks);
        total += *known * (double)tamis_tensor_n_elems(s->tensor);
    }
    *out = total / (n_threads > 0 ? n_threads : tamis_n_cores()) +
           (plan->self_check ? (double)plan->result_bytes * check_s_per_byte : 0) +
           (double)plan->source_bytes * carry_s_per_byte;
    st = TAMIS_OK;
out:
    free(blocks);
    free(importance);
    free(x);
    return st;
}
