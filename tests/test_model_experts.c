/* test_model_experts.c - the router beside a plain f64 computation, the gated activations, and the
 * forms of latent attention that no fixture has: keys and values decompressed by one weight, and
 * queries without a rank. */
#include "support_change.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/ops/glu.h"
#include "model/ops/router.h"

enum { E = 12, USED = 4, GROUPS = 4, SIZE = E / GROUPS };

static double random_value(uint32_t *state) { /* -1 .. 1 */
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / 8388608.0 - 1.0;
}

/* ---- the router ---- */

/* Marks what is left out: all but the n_kept groups with the largest sums of their two best. */
static void leave_out(const double *scores, int64_t n_kept, int *is_out) {
    double sums[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
        double best = -1e9, second = -1e9;
        for (int i = g * SIZE; i < (g + 1) * SIZE; i++) {
            double s = scores[i];
            if (s > best) second = best, best = s;
            else if (s > second) second = s;
        }
        sums[g] = best + second;
    }
    for (int g = 0; g < GROUPS; g++) {
        int n_above = 0;
        for (int o = 0; o < GROUPS; o++) n_above += sums[o] > sums[g];
        for (int i = g * SIZE; n_above >= n_kept && i < (g + 1) * SIZE; i++) is_out[i] = 1;
    }
}

static void route_plainly(const tamis_expert_hparams *e, const float *logits, const float *bias,
                          int *chosen, double *weights) {
    double probs[E], scores[E], sum = 0, total = 0;
    int is_out[E] = {0};
    for (int i = 0; i < E; i++) sum += exp((double)logits[i]);
    for (int i = 0; i < E; i++) {
        double x = (double)logits[i];
        probs[i] = e->gating == TAMIS_GATING_SOFTMAX   ? exp(x) / sum
                   : e->gating == TAMIS_GATING_SIGMOID ? 1 / (1 + exp(-x))
                                                       : x;
        scores[i] = probs[i] + (bias ? (double)bias[i] : 0);
    }
    if (e->n_groups > 1) leave_out(scores, e->n_groups_used, is_out);
    for (int k = 0; k < USED; k++) {
        int best = -1;
        for (int i = 0; i < E; i++)
            if (!is_out[i] && (best < 0 || scores[i] > scores[best])) best = i;
        is_out[best] = 1;
        chosen[k] = best;
        weights[k] = e->gating == TAMIS_GATING_CHOSEN ? exp(probs[best]) : probs[best];
        total += weights[k];
    }
    for (int k = 0; k < USED; k++) {
        if (e->normalize || e->gating == TAMIS_GATING_CHOSEN) weights[k] /= total;
        if (e->weights_scale != 0) weights[k] *= (double)e->weights_scale;
    }
}

static void router_as_a_plain_one(void **state) {
    (void)state;
    uint32_t seed = 7;
    for (int trial = 0; trial < 3000; trial++) {
        const tamis_expert_hparams e = {.n = E,
                                        .n_used = USED,
                                        .n_groups = trial & 1 ? GROUPS : 0,
                                        .n_groups_used = trial & 2 ? 2 : 3,
                                        .weights_scale = trial & 4 ? 2.5f : 0.0f,
                                        .normalize = trial & 8,
                                        .gating = (tamis_gating)(trial % 3)};
        float logits[E], given[E], bias[E], weights[USED];
        int32_t chosen[USED];
        int wanted[USED];
        double expected[USED];
        for (int i = 0; i < E; i++) {
            given[i] = logits[i] = (float)(4 * random_value(&seed));
            bias[i] = (float)(2 * random_value(&seed));
        }
        const float *b = trial & 16 ? bias : NULL;
        route_plainly(&e, given, b, wanted, expected);
        tamis_route(&e, logits, b, chosen, weights);
        for (int k = 0; k < USED; k++)
            if (chosen[k] != wanted[k] || !(fabs((double)weights[k] - expected[k]) < 1e-6 * 3))
                fail_msg("trial %d, place %d: expert %d with %.9g, expected %d with %.9g", trial, k,
                         (int)chosen[k], (double)weights[k], wanted[k], expected[k]);
    }
}

/* Weights whose sum is all but nothing are divided by 2^-14. */
static void tiny_sums(void **state) {
    (void)state;
    const tamis_expert_hparams e = {.n = 2, .n_used = 1, .normalize = true,
                                    .gating = TAMIS_GATING_SIGMOID};
    float logits[2] = {-20, -30}, weight;
    int32_t chosen;
    tamis_route(&e, logits, NULL, &chosen, &weight);
    assert_int_equal(chosen, 0);
    double expected = 1 / (1 + exp(20.0)) * 16384;
    assert_true(fabs((double)weight - expected) < 1e-6 * expected);
}

/* ---- activations ---- */

static void activations(void **state) {
    (void)state;
    enum { N = 400 };
    static float gate[N], up[N], y[N];
    for (int i = 0; i < N; i++) {
        gate[i] = (float)(i - N / 2) * 0.06f;
        up[i] = (float)((i * 7) % 41 - 20) * 0.6f;
    }
    for (int a = TAMIS_SWIGLU; a <= TAMIS_SWIGLU_OAI; a++) {
        tamis_glu_rows(NULL, (tamis_activation)a, gate, N / 4, up, N / 4, 4, N / 4, y);
        for (int i = 0; i < N; i++) {
            double x = (double)gate[i], u = (double)up[i], expected;
            double g = x < 7 ? x : 7, c = u < -7 ? -7 : u > 7 ? 7 : u;
            double t = 0.7978845608028654 * x * (1 + 0.044715 * x * x);
            if (a == TAMIS_SWIGLU) expected = x / (1 + exp(-x)) * u;
            else if (a == TAMIS_GEGLU) expected = 0.5 * x * (1 + tanh(t)) * u;
            else expected = g / (1 + exp(-1.702 * g)) * (c + 1);
            if (!(fabs((double)y[i] - expected) <= 2e-6 * (fabs(expected) + 1e-3)))
                fail_msg("activation %d of %g, %g: %.9g, expected %.9g", a, x, u, (double)y[i],
                         expected);
        }
    }
}

/* ---- latent attention ---- */

enum { D = 64, HEADS = 4, NOPE = 16, ROPE = 16, RKV = 32, DV = 24 };

typedef enum form { JOINED, RANKED, WHOLE } form;

static float *decoded(const tamis_gguf *g, const tamis_gguf_tensor *t) {
    int64_t n = (int64_t)tamis_tensor_n_elems(t);
    uint8_t *bytes = malloc(t->n_bytes);
    float *x = malloc((size_t)n * sizeof *x);
    change_ok(tamis_gguf_read_tensor(g, t, 0, t->n_bytes, bytes, &change_error));
    tamis_decode(t->type, bytes, x, n);
    free(bytes);
    return x;
}

/* What stands in the place of a tensor: another of f32, or nothing (n_dims 0). */
typedef struct replacement {
    char name[64];
    int32_t n_dims;
    uint64_t ne[4];
    float *data; /* NULL: the tensor stays as it is */
} replacement;

static float *filled(int64_t n, float value) {
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = value;
    return x;
}

static float *random_weights(int64_t n, uint32_t seed) {
    float *x = filled(n, 0);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(0.2 * random_value(&seed));
    return x;
}

/* attn_kv_b: each head's rows of keys, attn_k_b transposed, then its rows of values. */
static float *join(const tamis_gguf *g, int block) {
    char name[64];
    snprintf(name, sizeof name, "blk.%d.attn_k_b.weight", block);
    float *k = decoded(g, tamis_gguf_find_tensor(g, name));
    snprintf(name, sizeof name, "blk.%d.attn_v_b.weight", block);
    float *v = decoded(g, tamis_gguf_find_tensor(g, name));
    float *out = filled((int64_t)HEADS * (NOPE + DV) * RKV, 0);
    for (int h = 0; h < HEADS; h++)
        for (int r = 0; r < NOPE + DV; r++)
            for (int i = 0; i < RKV; i++)
                out[(h * (NOPE + DV) + r) * RKV + i] =
                    r < NOPE ? k[(h * RKV + i) * NOPE + r] : v[(h * DV + r - NOPE) * RKV + i];
    free(k);
    free(v);
    return out;
}

static replacement replace(const tamis_gguf *g, const tamis_gguf_tensor *t, form f) {
    const uint32_t n_q = HEADS * (NOPE + ROPE);
    replacement r = {.n_dims = t->n_dims};
    int block = 0;
    snprintf(r.name, sizeof r.name, "%s", t->name);
    memcpy(r.ne, t->ne, sizeof r.ne);
    if (sscanf(t->name, "blk.%d.", &block) != 1) return r;
    const char *stem = strchr(t->name + 4, '.') + 1;
    if (f == JOINED && strcmp(stem, "attn_v_b.weight") == 0) {
        r.n_dims = 0;
    } else if (f == JOINED && strcmp(stem, "attn_k_b.weight") == 0) {
        snprintf(r.name, sizeof r.name, "blk.%d.attn_kv_b.weight", block);
        r.n_dims = 2, r.ne[0] = RKV, r.ne[1] = HEADS * (NOPE + DV), r.ne[2] = 1;
        r.data = join(g, block);
    } else if (f != JOINED && strcmp(stem, "attn_norm.weight") == 0) {
        r.data = filled(D, 1);
    } else if (f == WHOLE && (strcmp(stem, "attn_q_a_norm.weight") == 0 ||
                              strcmp(stem, "attn_q_b.weight") == 0)) {
        r.n_dims = 0;
    } else if (f == WHOLE && strcmp(stem, "attn_q_a.weight") == 0) {
        snprintf(r.name, sizeof r.name, "blk.%d.attn_q.weight", block);
        r.ne[1] = n_q;
        r.data = random_weights(D * (int64_t)n_q, (uint32_t)block);
    } else if (f == RANKED && strcmp(stem, "attn_q_a.weight") == 0) {
        r.ne[1] = D;
        r.data = filled((int64_t)D * D, 0);
        for (int i = 0; i < D; i++) r.data[i * D + i] = 1;
    } else if (f == RANKED && strcmp(stem, "attn_q_a_norm.weight") == 0) {
        r.ne[0] = D;
        r.data = filled(D, 1);
    } else if (f == RANKED && strcmp(stem, "attn_q_b.weight") == 0) {
        r.ne[0] = D;
        r.data = random_weights(D * (int64_t)n_q, (uint32_t)block);
    }
    return r;
}

static void set_int(tamis_gguf_writer *w, const char *key, int64_t value) {
    change_ok(tamis_gguf_set_int(w, key, TAMIS_GGUF_U32, value, &change_error));
}

static void write_form(form f) {
    tamis_gguf *g = open_fixture("deepseek2");
    tamis_gguf_writer *w = NULL;
    change_ok(tamis_gguf_writer_new(&w, &change_error));
    change_ok(tamis_gguf_set_all(w, g, &change_error));
    if (f == JOINED) {
        tamis_gguf_unset(w, "deepseek2.attention.key_length_mla");
        tamis_gguf_unset(w, "deepseek2.attention.value_length_mla");
        set_int(w, "deepseek2.attention.head_count_kv", HEADS);
        set_int(w, "deepseek2.attention.key_length", NOPE + ROPE);
        set_int(w, "deepseek2.attention.value_length", DV);
    } else {
        tamis_gguf_unset(w, "deepseek2.attention.q_lora_rank");
        if (f == RANKED) set_int(w, "deepseek2.attention.q_lora_rank", D);
    }
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) change_ok(tamis_gguf_begin(w, changed_path(), &change_error));
        for (int64_t i = 0; i < tamis_gguf_n_tensors(g); i++) {
            const tamis_gguf_tensor *t = tamis_gguf_tensor_at(g, i);
            replacement r = replace(g, t, f);
            uint64_t n = r.data ? r.ne[0] * r.ne[1] * sizeof(float) : t->n_bytes;
            void *bytes = r.data ? (void *)r.data : malloc(n);
            if (!r.data) change_ok(tamis_gguf_read_tensor(g, t, 0, n, bytes, &change_error));
            if (r.n_dims && pass == 0)
                change_ok(tamis_gguf_add_tensor(w, r.name, r.data ? TAMIS_TYPE_F32 : t->type_id,
                                                r.n_dims, r.ne, &change_error));
            else if (r.n_dims)
                change_ok(tamis_gguf_write_data(w, bytes, n, &change_error));
            free(bytes);
        }
    }
    change_ok(tamis_gguf_commit(w, &change_error));
    tamis_gguf_writer_free(w);
    tamis_gguf_close(g);
}

static void keys_and_values_in_one_weight(void **state) {
    (void)state;
    write_form(JOINED);
    assert_like_fixture("deepseek2");
}

/* An input that is normed already is its own norm (but for the epsilon), so a rank of the whole
 * width with a unit matrix is no rank. */
static void queries_without_a_rank(void **state) {
    (void)state;
    int64_t n_embd = 0;
    write_form(RANKED);
    float *ranked = final_states("deepseek2", changed_path(), &n_embd);
    write_form(WHOLE);
    float *whole = final_states("deepseek2", changed_path(), &n_embd);
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < 96 * n_embd; i++) {
        largest = fmax(largest, fabs((double)whole[i]));
        worst = fmax(worst, fabs((double)whole[i] - (double)ranked[i]));
    }
    if (!(worst <= 1e-4 * largest)) fail_msg("off by %g of %g", worst, largest);
    free(ranked);
    free(whole);
}

int main(void) {
    require_shared();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(router_as_a_plain_one),
        cmocka_unit_test(tiny_sums),
        cmocka_unit_test(activations),
        cmocka_unit_test(keys_and_values_in_one_weight),
        cmocka_unit_test(queries_without_a_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
