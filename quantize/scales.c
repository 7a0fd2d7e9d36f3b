/* scales.c - scales beside weights: the tensor "X.scale" that multiplies the product of "X.weight".
 * An nvfp4 weight gets one, where the model's graph applies it, so that its block scales lie where
 * their format is precise; elsewhere the block scales hold everything. A weight that is decoded to
 * be encoded anew takes the scale of its source in.
 * Facts: reference/tensor-types.md section 3. Which products apply a scale is data, below. Bound by
 * one more read of the weights that get a scale. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/threads.h"
#include "formats/float16.h"
#include "quantize/quantize_internal.h"

enum { NAME_BYTES = 64 };

/* Kinds of products. */
enum {
    G_ATTENTION = 1 << 0, /* query, key, value, output */
    G_LINEAR = 1 << 1,    /* of recurrent layers: fused query, key and value, gate, output */
    G_FFN = 1 << 2,
    G_EXPERTS = 1 << 3,
    G_SHARED = 1 << 4,
    G_HEAD = 1 << 5,
};

/* Weights beside which readers take a scale; beside any other a scale makes a file unreadable. */
static const struct {
    const char *stem;
    unsigned group;
} stems[] = {
    {"attn_q", G_ATTENTION},      {"attn_k", G_ATTENTION},    {"attn_v", G_ATTENTION},
    {"attn_output", G_ATTENTION}, {"attn_qkv", G_LINEAR},     {"attn_gate", G_LINEAR},
    {"ssm_alpha", G_LINEAR},      {"ssm_beta", G_LINEAR},     {"ssm_out", G_LINEAR},
    {"ffn_gate", G_FFN},          {"ffn_up", G_FFN},          {"ffn_down", G_FFN},
    {"ffn_gate_exps", G_EXPERTS}, {"ffn_up_exps", G_EXPERTS}, {"ffn_down_exps", G_EXPERTS},
    {"ffn_gate_shexp", G_SHARED}, {"ffn_up_shexp", G_SHARED}, {"ffn_down_shexp", G_SHARED},
    {"output", G_HEAD},
};

/* Which of these the graph of an architecture multiplies; one that is not here: none. What is
 * not known to be applied is left out, since a scale that is ignored makes the weight wrong. */
static const struct {
    const char *arch;
    unsigned groups;
} archs[] = {
    {"llama", G_ATTENTION | G_FFN | G_EXPERTS | G_HEAD},
    {"qwen2", G_ATTENTION | G_HEAD},
    {"qwen2moe", G_ATTENTION | G_HEAD},
    {"qwen3", G_ATTENTION | G_FFN | G_HEAD},
    {"qwen3moe", G_ATTENTION | G_EXPERTS | G_HEAD},
    {"qwen3next", G_ATTENTION | G_EXPERTS | G_SHARED | G_HEAD},
    {"qwen35", G_ATTENTION | G_LINEAR | G_FFN | G_HEAD},
    {"qwen35moe", G_ATTENTION | G_LINEAR | G_EXPERTS | G_SHARED | G_HEAD},
    {"gemma3", G_ATTENTION | G_HEAD},
    {"gemma4", G_ATTENTION | G_FFN | G_EXPERTS | G_HEAD},
    {"glm4moe", G_ATTENTION | G_HEAD},
    {"gpt-oss", G_ATTENTION | G_HEAD},
    {"cohere2", G_FFN},
    {"cohere2moe", G_FFN | G_EXPERTS | G_SHARED},
    {"deepseek32", G_FFN | G_EXPERTS | G_SHARED},
    {"glm-dsa", G_FFN | G_EXPERTS | G_SHARED},
    {"hy-v3", G_FFN | G_EXPERTS | G_SHARED},
    {"mellum", G_EXPERTS},
    {"mistral3", G_FFN | G_EXPERTS},
    {"nanbeige", G_FFN},
    {"nemotron-h", G_FFN | G_EXPERTS | G_SHARED},
};

/* --- where a scale may stand --- */

/* "blk.3.attn_q.scale" beside "blk.3.attn_q.weight"; false when it is no weight. */
static bool companion_name(const char *weight, const char *suffix, char out[NAME_BYTES]) {
    size_t n = strlen(weight), n_ending = sizeof ".weight" - 1;
    if (n <= n_ending || strcmp(weight + n - n_ending, ".weight")) return false;
    int n_out = snprintf(out, NAME_BYTES, "%.*s%s", (int)(n - n_ending), weight, suffix);
    return n_out > 0 && n_out < NAME_BYTES;
}

static const tamis_gguf_tensor *companion(const tamis_gguf *g, const char *weight,
                                          const char *suffix) {
    char name[NAME_BYTES];
    return companion_name(weight, suffix, name) ? tamis_gguf_find_tensor(g, name) : NULL;
}

/* Whether readers multiply the product of this weight by its scale. Blocks that predict further
 * tokens, the last ones, are loaded without scales; a feed-forward must not have a bias as well. */
static bool is_applied(const tamis_gguf *g, const mix_state *mix, const char *name) {
    int64_t layer = mix_layer_of(name);
    const char *stem = layer >= 0 ? strchr(name + 4, '.') + 1 : name;
    unsigned groups = 0;
    if (layer >= mix->n_layers - mix->n_further_layers) return false;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (mix->arch.n_bytes == strlen(archs[i].arch) &&
            !memcmp(mix->arch.data, archs[i].arch, mix->arch.n_bytes))
            groups = archs[i].groups;
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        size_t n = strlen(stems[i].stem);
        if (strncmp(stem, stems[i].stem, n) || strcmp(stem + n, ".weight")) continue;
        bool is_ffn = (stems[i].group & (G_FFN | G_EXPERTS | G_SHARED)) != 0;
        return (groups & stems[i].group) && (stems[i].group == G_HEAD) == (layer < 0) &&
               !(is_ffn && companion(g, name, ".bias"));
    }
    return false;
}

/* --- the plan --- */

/* The values of a scale in the source: one for each of n matrices, or one for all. */
static tamis_status read_source(const tamis_gguf *g, const tamis_gguf_tensor *t, uint64_t n,
                                float **out, tamis_error *err) {
    uint64_t n_values = tamis_tensor_n_elems(t);
    const char *path = tamis_gguf_path(g);
    if (!t->type || t->type->class != TAMIS_CLASS_FLOAT || (n_values != n && n_values != 1))
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "%s: tensor '%s' should hold %llu float values beside its weight and "
                          "holds %llu of %s; convert the model again",
                          path, t->name, (unsigned long long)n, (unsigned long long)n_values,
                          t->type ? t->type->name : "an unknown type");
    uint8_t *bytes = NULL;
    float *values = tamis_alloc_array(n, sizeof *values, err);
    tamis_status st = TAMIS_NO_RESOURCE;
    if (!values) goto out;
    bytes = tamis_alloc_array(t->n_bytes, 1, err);
    if (!bytes) goto out;
    if ((st = tamis_gguf_read_tensor(g, t, 0, t->n_bytes, bytes, err))) goto out;
    tamis_decode(t->type, bytes, values, (int64_t)n_values);
    for (uint64_t i = n_values; i < n; i++)
        values[i] = values[0];
    int64_t i_bad = tamis_find_nonfinite(values, (int64_t)n);
    if (i_bad < (int64_t)n)
        st = tamis_fail(err, TAMIS_BAD_INPUT, "%s: tensor '%s': value %lld is %g", path, t->name,
                        (long long)i_bad, (double)values[i_bad]);
out:
    free(bytes);
    if (st == TAMIS_OK)
        *out = values;
    else
        free(values);
    return st;
}

/* Room for the values that the run will measure, and the tensor that will hold them. */
static tamis_status make_tensor(tamis_tensor_scale *s, const tamis_quantize_step *weight,
                                tamis_error *err) {
    if (!companion_name(weight->name, ".scale", s->name)) return TAMIS_OK;
    s->made = tamis_alloc_array(s->n_values, sizeof *s->made, err);
    if (!s->made) return TAMIS_NO_RESOURCE;
    s->tensor = (tamis_gguf_tensor){
        .name = s->name,
        .n_dims = 1,
        .ne = {s->n_values, 1, 1, 1},
        .type_id = TAMIS_TYPE_F32,
        .type = tamis_type_by_id(TAMIS_TYPE_F32),
        .n_bytes = s->n_values * sizeof *s->made,
        .is_size_known = true,
        .i_file = weight->tensor->i_file,
    };
    return TAMIS_OK;
}

/* Fill in the scale of a step that is encoded; leaves it without values when it has none. */
static tamis_status plan_scale(const tamis_gguf *g, const mix_state *mix,
                               const tamis_quantize_step *step, tamis_tensor_scale *s,
                               tamis_error *err) {
    const tamis_gguf_tensor *t = step->tensor;
    const tamis_gguf_tensor *old = companion(g, t->name, ".scale");
    bool is_made = step->type->id == TAMIS_TYPE_NVFP4 && is_applied(g, mix, t->name);
    s->weight = t;
    s->n_values = t->ne[2] * t->ne[3];
    tamis_status st = TAMIS_OK;
    /* Beside other types a scale is left where it is: readers multiply by it as before. */
    if (old && (is_made || t->type->id == TAMIS_TYPE_NVFP4)) {
        s->taken[0] = old;
        s->taken[1] = companion(g, t->name, ".input_scale");
        st = read_source(g, old, s->n_values, &s->source, err);
    }
    if (st == TAMIS_OK && is_made) st = make_tensor(s, step, err);
    return st;
}

/* The scales that are taken in are no tensors of the result. */
static void drop_taken(tamis_quantize_plan *plan) {
    int64_t n = 0;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const tamis_gguf_tensor *t = plan->steps[i].tensor;
        bool is_taken = false;
        for (int64_t k = 0; k < plan->n_scales && !is_taken; k++) {
            is_taken = t == plan->scales[k].taken[0] || t == plan->scales[k].taken[1];
        }
        if (!is_taken) plan->steps[n++] = plan->steps[i];
    }
    plan->n_steps = n;
}

/* Put the step of each made scale before that of its weight. */
static tamis_status insert_made(tamis_quantize_plan *plan, tamis_error *err) {
    tamis_quantize_step *steps =
        tamis_alloc_array((uint64_t)(plan->n_steps + plan->n_scales), sizeof *steps, err);
    if (!steps) return TAMIS_NO_RESOURCE;
    int64_t n = 0;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        tamis_tensor_scale *s = plan->steps[i].scale;
        if (s && s->made)
            steps[n++] = (tamis_quantize_step){
                .tensor = &s->tensor,
                .name = s->name,
                .type = s->tensor.type,
                .wanted = s->tensor.type,
                .scale = s,
                .is_made = true,
                .remark = "made: multiplies the weight beside it",
            };
        steps[n++] = plan->steps[i];
    }
    free(plan->steps);
    plan->steps = steps;
    plan->n_steps = n;
    return TAMIS_OK;
}

tamis_status scales_plan(tamis_quantize_plan *plan, const mix_state *mix, tamis_error *err) {
    plan->scales = tamis_alloc_array((uint64_t)plan->n_steps, sizeof *plan->scales, err);
    if (!plan->scales) return TAMIS_NO_RESOURCE;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        tamis_quantize_step *step = &plan->steps[i];
        tamis_tensor_scale *s = &plan->scales[plan->n_scales];
        if (step->type == step->tensor->type) continue;
        tamis_status st = plan_scale(plan->source, mix, step, s, err);
        if (st) {
            plan->n_scales++; /* released with the plan */
            return st;
        }
        if (!s->source && !s->made) continue;
        step->scale = s;
        if (s->source) step->remark = "times the scale beside it";
        plan->n_scales++;
    }
    drop_taken(plan);
    return insert_made(plan, err);
}

void scales_release(tamis_quantize_plan *plan) {
    for (int64_t i = 0; i < plan->n_scales; i++) {
        free(plan->scales[i].source);
        free(plan->scales[i].made);
    }
    free(plan->scales);
}

/* --- the run --- */

/* Largest finite magnitude; what is not finite is the encoder's to refuse. Whole numbers, which
 * grow with the magnitude, and no branch: vector code. */
static float largest_magnitude(const float *x, uint64_t n) {
    int32_t largest = 0;
    for (uint64_t i = 0; i < n; i++) {
        int32_t bits = (int32_t)(tamis_f32_bits(x[i]) & 0x7FFFFFFFu);
        bits = bits < 0x7F800000 ? bits : 0;
        largest = bits > largest ? bits : largest;
    }
    return tamis_f32_from_bits((uint32_t)largest);
}

/* The power of two that brings the largest block scale to 149..298: 448 is the largest there is,
 * so an encoder may choose it up to half above amax / 6, and a block may be 2^14 times smaller
 * before its scale loses bits. By a power of two the weights are divided without rounding. */
static float scale_for(double amax) {
    const double wanted = 6 * 448 / 1.5;
    int exponent;
    if (!(amax > 0)) return 1.0f;
    double mantissa = frexp(amax / wanted, &exponent); /* in [0.5, 1) */
    if (mantissa == 0.5) exponent--;
    if (exponent < -126) exponent = -126;
    if (exponent > 127) exponent = 127;
    return (float)ldexp(1, exponent);
}

tamis_status scale_measure(const tamis_gguf *g, tamis_tensor_scale *s, uint8_t *bytes,
                           uint64_t n_rows_max, float *row, const atomic_bool *is_stopped,
                           tamis_error *err) {
    const tamis_gguf_tensor *t = s->weight;
    uint64_t row_bytes = tamis_tensor_row_bytes(t);
    if (!s->made || s->is_measured) return TAMIS_OK;
    for (uint64_t m = 0; m < s->n_values; m++) {
        float largest = 0;
        for (uint64_t i = 0; i < t->ne[1]; i += n_rows_max) {
            uint64_t n_rows = t->ne[1] - i < n_rows_max ? t->ne[1] - i : n_rows_max;
            if (atomic_load(is_stopped) || tamis_interrupted()) return TAMIS_OK;
            tamis_status st = tamis_gguf_read_tensor(g, t, (m * t->ne[1] + i) * row_bytes,
                                                     n_rows * row_bytes, bytes, err);
            if (st) return st;
            for (uint64_t k = 0; k < n_rows; k++) {
                tamis_decode(t->type, bytes + k * row_bytes, row, (int64_t)t->ne[0]);
                largest = fmaxf(largest, largest_magnitude(row, t->ne[0]));
            }
        }
        s->made[m] = scale_for((double)largest * (s->source ? fabs((double)s->source[m]) : 1));
    }
    s->is_measured = true;
    return TAMIS_OK;
}

void scale_take_in(const tamis_tensor_scale *s, uint64_t i_matrix, float *x, int64_t n) {
    float factor = s->source ? s->source[i_matrix] : 1.0f;
    float inverse = s->made ? 1.0f / s->made[i_matrix] : 1.0f;
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] * factor * inverse;
}
