/* mix.c - the file types and the rules by which each picks a tensor's type.
 * One table of rules, read from the top: the first whose category, file type and conditions all
 * hold decides; without one the file type's base type stands. Chooses exactly what llama-quantize
 * chooses. Rules: reference/peer-tools.md sections 1.3 to 1.5. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "gguf/contents.h"
#include "quantize/quantize_internal.h"

/* Type ids that formats.h does not name. */
enum {
    IQ2_XXS = 16,
    IQ2_XS = 17,
    IQ3_XXS = 18,
    IQ1_S = 19,
    IQ3_S = 21,
    IQ2_S = 22,
    IQ1_M = 29,
    TQ1_0 = 34,
    TQ2_0 = 35,
    MXFP4 = 39,
    NVFP4 = 40,
    Q1_0 = 41,
    Q2_0 = 42,
    F32 = TAMIS_TYPE_F32,
    F16 = TAMIS_TYPE_F16,
    BF16 = TAMIS_TYPE_BF16,
    Q4_0 = TAMIS_TYPE_Q4_0,
    Q4_1 = TAMIS_TYPE_Q4_1,
    Q5_0 = TAMIS_TYPE_Q5_0,
    Q5_1 = TAMIS_TYPE_Q5_1,
    Q8_0 = TAMIS_TYPE_Q8_0,
    Q2_K = TAMIS_TYPE_Q2_K,
    Q3_K = TAMIS_TYPE_Q3_K,
    Q4_K = TAMIS_TYPE_Q4_K,
    Q5_K = TAMIS_TYPE_Q5_K,
    Q6_K = TAMIS_TYPE_Q6_K,
    IQ4_NL = TAMIS_TYPE_IQ4_NL,
    IQ4_XS = TAMIS_TYPE_IQ4_XS,
};

/* File type numbers (reference/gguf.md 5.2) that rules name. */
enum {
    FT_Q4_0 = 2,
    FT_Q5_0 = 8,
    FT_Q2_K = 10,
    FT_Q3_K_S = 11,
    FT_Q3_K_M = 12,
    FT_Q3_K_L = 13,
    FT_Q4_K_S = 14,
    FT_Q4_K_M = 15,
    FT_Q5_K_M = 17,
    FT_IQ2_XXS = 19,
    FT_IQ2_XS = 20,
    FT_Q2_K_S = 21,
    FT_IQ3_XS = 22,
    FT_IQ3_XXS = 23,
    FT_IQ1_S = 24,
    FT_IQ4_NL = 25,
    FT_IQ3_S = 26,
    FT_IQ3_M = 27,
    FT_IQ2_S = 28,
    FT_IQ2_M = 29,
    FT_IQ4_XS = 30,
    FT_IQ1_M = 31,
    FT_TQ1_0 = 36,
    FT_TQ2_0 = 37,
    FT_MXFP4_MOE = 38,
    FT_NVFP4 = 39,
    FT_Q2_0 = 41,
};

/* clang-format off */
static const tamis_file_type file_types[] = {
    {40, "Q1_0", Q1_0, "the sign and a scale per 128 weights; for models trained so"},
    {41, "Q2_0", Q2_0, "four levels and a scale per 64 weights"},
    { 2, "Q4_0", Q4_0, "one scale per 32 weights"},
    { 3, "Q4_1", Q4_1, "scale and minimum per 32 weights"},
    {38, "MXFP4_MOE", MXFP4, "4-bit floats for experts, Q8_0 for the rest"},
    {39, "NVFP4", NVFP4, "4-bit floats, a scale per 16 weights and one per tensor"},
    { 8, "Q5_0", Q5_0, "one scale per 32 weights"},
    { 9, "Q5_1", Q5_1, "scale and minimum per 32 weights"},
    {19, "IQ2_XXS", IQ2_XXS, "codebook; needs --imatrix"},
    {20, "IQ2_XS", IQ2_XS, "codebook; needs --imatrix"},
    {28, "IQ2_S", IQ2_XS, "mix: IQ2_XS, attention values and output as IQ3_S; needs --imatrix"},
    {29, "IQ2_M", IQ2_S, "mix: IQ2_S, attention values and output as IQ3_S; needs --imatrix"},
    {24, "IQ1_S", IQ1_S, "codebook, heavy loss; needs --imatrix"},
    {31, "IQ1_M", IQ1_M, "codebook, heavy loss; needs --imatrix"},
    {36, "TQ1_0", TQ1_0, "three levels; for models trained so"},
    {37, "TQ2_0", TQ2_0, "three levels, faster to decode; for models trained so"},
    {10, "Q2_K", Q2_K, "mix: attention and ffn_down as Q3_K or Q4_K; use --imatrix"},
    {21, "Q2_K_S", Q2_K, "mix: the first ffn_down as Q4_K; needs --imatrix"},
    {23, "IQ3_XXS", IQ3_XXS, "mix: queries and keys as IQ2_S; needs --imatrix"},
    {26, "IQ3_S", IQ3_S, "codebook; use --imatrix"},
    {27, "IQ3_M", IQ3_S, "mix: attention values and output as Q4_K; use --imatrix"},
    {12, "Q3_K", Q3_K, "same as Q3_K_M"},
    {22, "IQ3_XS", IQ3_S, "mix: queries, keys and most of ffn_up as IQ3_XXS; needs --imatrix"},
    {11, "Q3_K_S", Q3_K, "all alike but the output head"},
    {12, "Q3_K_M", Q3_K, "mix: attention values and output, ffn_down as Q4_K or Q5_K"},
    {13, "Q3_K_L", Q3_K, "mix: the same as Q5_K"},
    {25, "IQ4_NL", IQ4_NL, "uneven steps; for rows that divide by 32 and not by 256"},
    {30, "IQ4_XS", IQ4_XS, "uneven steps; smaller than Q4_K_S"},
    {15, "Q4_K", Q4_K, "same as Q4_K_M"},
    {14, "Q4_K_S", Q4_K, "mix: the first attention values and ffn_down as Q5_K"},
    {15, "Q4_K_M", Q4_K, "mix: half of attention values and ffn_down as Q6_K; a good default"},
    {17, "Q5_K", Q5_K, "same as Q5_K_M"},
    {16, "Q5_K_S", Q5_K, "all alike but the output head"},
    {17, "Q5_K_M", Q5_K, "mix: half of attention values and ffn_down as Q6_K"},
    {18, "Q6_K", Q6_K, "small loss"},
    { 7, "Q8_0", Q8_0, "hardly any loss"},
    { 1, "F16", F16, "16-bit floats"},
    {32, "BF16", BF16, "16-bit floats with the range of f32"},
    { 0, "F32", F32, "32-bit floats"},
    {-1, "COPY", -1, "every tensor keeps its type"},
};

/* Categories of weights, by name. */
enum {
    C_OUTPUT = 1 << 0, C_EMBEDDING = 1 << 1, C_VLIKE = 1 << 2, C_K = 1 << 3, C_Q = 1 << 4,
    C_O = 1 << 5, C_UP = 1 << 6, C_GATE = 1 << 7, C_DOWN = 1 << 8, C_OTHER = 1 << 9,
};

/* Conditions; all of a rule's must hold. i and n: index and count within the category. */
enum {
    GQA4 = 1 << 0,          /* 4 or more heads share a key/value head */
    GQA4_OR_X4 = 1 << 1,    /* or 4 or more experts */
    X8 = 1 << 2,            /* exactly 8 experts */
    NOT_X8 = 1 << 3,
    FALCON = 1 << 4,
    NOT_FALCON = 1 << 5,
    IMX = 1 << 6,           /* an importance matrix was given */
    NO_IMX = 1 << 7,
    EARLY8 = 1 << 8,        /* i < n / 8 */
    EARLY16 = 1 << 9,       /* i < n / 16 */
    MORE = 1 << 10,         /* first and last eighth, every third between */
    MIDDLE = 1 << 11,       /* neither first nor last eighth */
    FIRST2 = 1 << 12,       /* i < 2 */
    FIRST4 = 1 << 13,       /* i < 4 */
    EARLY8_RUN = 1 << 14,   /* as EARLY8 by the running index, also with experts */
};

#define FT(x) (UINT64_C(1) << FT_##x)
#define SM (FT(IQ2_S) | FT(IQ2_M))
#define LOW (FT(IQ1_S) | FT(IQ1_M) | FT(IQ2_XXS) | FT(IQ2_XS) | SM)

typedef struct mix_rule {
    uint32_t categories;
    uint32_t conditions;
    int32_t type_id;
    uint64_t file_types;
} mix_rule;

static const mix_rule rules[] = {
    /* embeddings beside an output matrix of their own */
    {C_EMBEDDING, 0, Q2_K, FT(IQ2_XXS) | FT(IQ2_XS) | FT(IQ1_S) | FT(IQ1_M)},
    {C_EMBEDDING, 0, IQ3_S, SM | FT(IQ3_XXS)},
    {C_EMBEDDING, 0, Q4_K, FT(TQ1_0) | FT(TQ2_0) | FT(Q2_0)},
    {C_EMBEDDING, 0, Q6_K, FT(NVFP4)}, /* the rest of that file type is one type */
    /* the file types below 3 bits */
    {C_VLIKE, GQA4_OR_X4, Q4_K, LOW},
    {C_VLIKE, 0, IQ3_S, SM},
    {C_VLIKE, 0, Q2_K, LOW},
    {C_K, X8, Q4_K, LOW},
    {C_DOWN, EARLY8_RUN, IQ3_S, SM},
    {C_DOWN, EARLY8_RUN, Q2_K, LOW},
    {C_O, X8, Q5_K, LOW},
    {C_O, 0, IQ2_XXS, FT(IQ1_S) | FT(IQ1_M)},
    {C_O, 0, IQ3_S, SM},
    /* attention values */
    {C_VLIKE, GQA4, Q4_K, FT(Q2_K) | FT(Q2_K_S) | FT(IQ3_XXS) | FT(IQ3_XS) | FT(IQ3_S)},
    {C_VLIKE, 0, Q3_K, FT(Q2_K)},
    {C_VLIKE, IMX, IQ3_XXS, FT(IQ3_XXS)},
    {C_VLIKE, 0, IQ3_S, FT(IQ3_XXS)},
    {C_VLIKE, 0, Q4_K, FT(IQ3_M)},
    {C_VLIKE, FIRST2, Q5_K, FT(Q3_K_M)},
    {C_VLIKE, 0, Q4_K, FT(Q3_K_M)},
    {C_VLIKE, 0, Q5_K, FT(Q3_K_L)},
    {C_VLIKE, GQA4, Q5_K, FT(IQ4_NL) | FT(IQ4_XS)},
    {C_VLIKE, MORE, Q6_K, FT(Q4_K_M) | FT(Q5_K_M)},
    {C_VLIKE, FIRST4, Q5_K, FT(Q4_K_S)},
    /* keys and queries */
    {C_K, X8, Q8_0, ~(LOW | FT(NVFP4))},
    {C_K | C_Q, 0, IQ3_XXS, FT(IQ3_XS)},
    {C_K | C_Q, 0, IQ2_S, FT(IQ3_XXS)},
    /* feed-forward, down */
    {C_DOWN, 0, Q3_K, FT(Q2_K)},
    {C_DOWN, EARLY8, Q4_K, FT(Q2_K_S)},
    {C_DOWN, NO_IMX | EARLY8, Q4_K, FT(IQ3_XXS)},
    {C_DOWN, NO_IMX, Q3_K, FT(IQ3_XXS)},
    {C_DOWN, EARLY16, Q5_K, FT(Q3_K_M)},
    {C_DOWN, NOT_FALCON, Q4_K, FT(Q3_K_M)},
    {C_DOWN, MORE, Q4_K, FT(Q3_K_M)},
    {C_DOWN, EARLY8, Q4_K, FT(IQ3_M)},
    {C_DOWN, X8 | MORE, Q4_K, FT(IQ3_M)},
    {C_DOWN, NOT_FALCON, Q5_K, FT(Q3_K_L)},
    {C_DOWN, FALCON, Q4_K, FT(Q3_K_L)},
    {C_DOWN, NOT_FALCON | MORE, Q6_K, FT(Q4_K_M)},
    {C_DOWN, FALCON | EARLY16, Q6_K, FT(Q4_K_M)},
    {C_DOWN, FALCON | MORE, Q5_K, FT(Q4_K_M)},
    {C_DOWN, EARLY8 | NO_IMX, Q5_K, FT(IQ4_NL) | FT(IQ4_XS)},
    {C_DOWN, MORE, Q6_K, FT(Q5_K_M)},
    {C_DOWN, EARLY8 | NOT_FALCON, Q5_K, FT(Q4_K_S)},
    {C_DOWN, EARLY8 | IMX, Q4_1, FT(Q4_0)},
    {C_DOWN, EARLY8 | IMX, Q5_1, FT(Q5_0)},
    /* attention output */
    {C_O, FALCON, Q4_K, FT(Q3_K_L)},
    {C_O, NOT_FALCON | X8, Q5_K,
     FT(Q2_K) | FT(IQ3_XS) | FT(IQ3_XXS) | FT(Q3_K_S) | FT(Q3_K_M) | FT(IQ4_NL) | FT(Q4_K_S) |
     FT(Q4_K_M) | FT(IQ3_S) | FT(IQ3_M) | FT(IQ4_XS)},
    {C_O, NOT_FALCON | NOT_X8, Q3_K, FT(Q2_K)},
    {C_O, NOT_FALCON | NOT_X8, IQ3_S, FT(IQ3_XXS)},
    {C_O, NOT_FALCON | NOT_X8, Q4_K, FT(Q3_K_M) | FT(IQ3_M)},
    {C_O, NOT_FALCON | NOT_X8, Q5_K, FT(Q3_K_L)},
    /* feed-forward, gate and up */
    {C_GATE | C_UP, MIDDLE, IQ3_XXS, FT(IQ3_XS)},
};

/* Names (or parts) of weights that are never quantized. */
static const char *const kept_parts[] = {
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel",
    "per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight",
    "indexer.q_proj.weight", "attn_rel_b.weight", "time_mix_first.weight", "time_mix_w0.weight",
    "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight",
    "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight",
    "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", ".position_embd", "sam.pos_embd",
    "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook",
    "mm.a.code_embd",
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof *(array))

const tamis_file_type *tamis_file_type_table(int *n_rows) {
    *n_rows = (int)COUNT(file_types);
    return file_types;
}

const tamis_file_type *tamis_file_type_find(const char *text) {
    int64_t number = -1;
    if (tamis_parse_int(text, 0, INT32_MAX, "type", &number, NULL)) number = -1;
    for (size_t i = 0; i < COUNT(file_types); i++)
        if (!strcasecmp(text, file_types[i].name) || (number >= 0 && number == file_types[i].id))
            return &file_types[i];
    return NULL;
}

bool mix_is_embedding(const char *name) {
    return !strcmp(name, "token_embd.weight") || !strcmp(name, "per_layer_token_embd.weight");
}

bool mix_is_output(const char *name) {
    return !strcmp(name, "output.weight");
}

int64_t mix_layer_of(const char *name) {
    if (strncmp(name, "blk.", 4)) return -1;
    int64_t layer = 0;
    const char *p = name + 4;
    if (*p < '0' || *p > '9') return -1;
    for (; *p >= '0' && *p <= '9'; p++) {
        layer = layer * 10 + (*p - '0');
        if (layer > INT32_MAX) return -1;
    }
    return *p == '.' ? layer : -1;
}

bool mix_is_tower_matrix(const char *name, const tamis_gguf_tensor *t) {
    return (!strncmp(name, "v.blk.", 6) || !strncmp(name, "a.blk.", 6)) && t->ne[2] == 1 &&
           t->ne[3] == 1;
}

bool mix_is_quantizable(const char *name, const tamis_gguf_tensor *t) {
    size_t n = strlen(name);
    if (t->ne[1] == 1 && t->ne[2] == 1 && t->ne[3] == 1) return false;
    if (n < 6 || strcmp(name + n - 6, "weight")) return false;
    if (t->type && t->type->class == TAMIS_CLASS_INTEGER) return false;
    if (!strcmp(name, "position_embd.weight") || !strcmp(name, "token_types.weight")) return false;
    if (tamis_part_is_modal(tamis_part_of(name, INT64_MAX)) && strstr(name, "conv")) return false;
    for (size_t i = 0; i < COUNT(kept_parts); i++)
        if (strstr(name, kept_parts[i])) return false;
    return true;
}

bool mix_is_native(const tamis_type *type) {
    return type && (type->id == MXFP4 || type->id == NVFP4);
}

bool mix_needs_importance(const tamis_file_type *file_type, const tamis_type *type,
                          const char *name) {
    if (mix_is_output(name) || mix_is_embedding(name)) return false;
    return type->importance == TAMIS_IMPORTANCE_REQUIRED ||
           (type->id == Q2_K && file_type->id == FT_Q2_K_S);
}

/* --- facts about the model --- */

static bool is_vlike(const char *name) {
    if (tamis_part_is_modal(tamis_part_of(name, INT64_MAX))) return false;
    return strstr(name, "attn_v.weight") || strstr(name, "attn_qkv.weight") ||
           strstr(name, "attn_kv_b.weight");
}

/* Integer key "<arch>.<suffix>", as overridden; element 0 of an array. */
static tamis_status arch_int(const tamis_gguf *g, const key_overrides *overrides, tamis_bytes arch,
                             const char *suffix, int64_t fallback, int64_t *out, tamis_error *err) {
    char key[256];
    tamis_gguf_kv kv;
    *out = fallback;
    if (arch.n_bytes > 64) return TAMIS_OK;
    snprintf(key, sizeof key, "%.*s.%s", (int)arch.n_bytes, arch.data, suffix);
    const key_override *override = overrides_find(overrides, key);
    if (override) {
        *out = override->integer;
        if (*out >= 0 && *out <= INT32_MAX) return TAMIS_OK;
        return tamis_fail(err, TAMIS_BAD_USAGE,
                          "--override-kv: key '%s' must be a whole number, 0 or more", key);
    }
    if (!tamis_gguf_find(g, key, &kv) || kv.n_elems == 0) return TAMIS_OK;
    if (!tamis_gguf_kv_int(g, &kv, 0, out) || *out < 0 || *out > INT32_MAX)
        return tamis_fail(err, TAMIS_BAD_INPUT, "%s: key '%s' must be a whole number, 0 or more",
                          tamis_gguf_path(g), key);
    return TAMIS_OK;
}

static bool is_arch(tamis_bytes arch, const char *name) {
    return arch.n_bytes == strlen(name) && !memcmp(arch.data, name, arch.n_bytes);
}

static tamis_status architecture(const tamis_gguf *g, const key_overrides *overrides,
                                 tamis_bytes *out, tamis_error *err) {
    const key_override *override = overrides_find(overrides, "general.architecture");
    tamis_status st = TAMIS_OK;
    if (override && override->text)
        *out = (tamis_bytes){override->text, strlen(override->text)};
    else
        st = tamis_gguf_get_string(g, "general.architecture", out, err);
    if (st) return tamis_fail_prefix(err, "%s", tamis_gguf_path(g));
    if (!out->data) *out = (tamis_bytes){"", 0};
    return TAMIS_OK;
}

tamis_status mix_state_init(mix_state *mix, const tamis_gguf *g, const key_overrides *overrides,
                            const tamis_quantize_step *steps, int64_t n_steps, bool has_imatrix,
                            tamis_error *err) {
    memset(mix, 0, sizeof *mix);
    mix->has_imatrix = has_imatrix;
    mix->is_tied = true;
    int64_t n_named_layers = 0, n_heads = 0, n_heads_kv = 0;
    for (int64_t i = 0; i < n_steps; i++) {
        const char *name = steps[i].name;
        if (is_vlike(name)) mix->n_vlike++;
        if (mix_is_output(name)) mix->is_tied = false;
        if (mix_layer_of(name) >= n_named_layers) n_named_layers = mix_layer_of(name) + 1;
    }
    tamis_bytes arch;
    tamis_status st = architecture(g, overrides, &arch, err);
    if (st) return st;
    /* Of the source, also when layers are dropped: as llama-quantize counts them. */
    st = arch_int(g, overrides, arch, "block_count", n_named_layers, &mix->n_layers, err);
    if (st == TAMIS_OK) st = arch_int(g, overrides, arch, "attention.head_count", 0, &n_heads, err);
    if (st == TAMIS_OK)
        st = arch_int(g, overrides, arch, "attention.head_count_kv", n_heads, &n_heads_kv, err);
    if (st == TAMIS_OK) st = arch_int(g, overrides, arch, "expert_count", 0, &mix->n_experts, err);
    if (st == TAMIS_OK)
        st = arch_int(g, overrides, arch, "nextn_predict_layers", 0, &mix->n_further_layers, err);
    if (st) return st;
    mix->arch = arch;
    mix->n_heads_per_kv = n_heads_kv > 0 ? n_heads / n_heads_kv : 0;
    mix->is_falcon = is_arch(arch, "falcon");
    mix->is_70b = (mix->n_layers == 80 &&
                   ((is_arch(arch, "llama") && n_heads != n_heads_kv) || is_arch(arch, "deci") ||
                    is_arch(arch, "olmo") || is_arch(arch, "qwen2"))) ||
                  (mix->n_layers == 68 && is_arch(arch, "jais2"));
    return TAMIS_OK;
}

/* --- the choice --- */

static uint32_t category_of(const char *name) {
    static const struct {
        const char *part;
        uint32_t category;
    } rows[] = {
        {"attn_qkv.weight", C_VLIKE},
        {"attn_kv_b.weight", C_VLIKE},
        {"attn_v.weight", C_VLIKE},
        {"attn_k.weight", C_K},
        {"attn_q.weight", C_Q},
        {"attn_output.weight", C_O},
        {"ffn_up", C_UP},
        {"ffn_gate", C_GATE},
        {"ffn_down", C_DOWN},
    };
    if (mix_is_output(name)) return C_OUTPUT;
    if (mix_is_embedding(name)) return C_EMBEDDING;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (strstr(name, rows[i].part)) return rows[i].category;
    return C_OTHER;
}

static bool more_bits(int64_t i, int64_t n) {
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

/* The conditions that hold for tensor i of n in its category (i_run: by the running index). */
static uint32_t conditions_of(const mix_state *mix, int64_t i, int64_t i_run, int64_t n) {
    uint32_t c = 0;
    c |= mix->n_heads_per_kv >= 4 ? GQA4 | GQA4_OR_X4 : 0;
    c |= mix->n_experts >= 4 ? GQA4_OR_X4 : 0;
    c |= mix->n_experts == 8 ? X8 : NOT_X8;
    c |= mix->is_falcon ? FALCON : NOT_FALCON;
    c |= mix->has_imatrix ? IMX : NO_IMX;
    c |= i < n / 8 ? EARLY8 : 0;
    c |= i < n / 16 ? EARLY16 : 0;
    c |= more_bits(i, n) ? MORE : 0;
    c |= i >= n / 8 && i < 7 * n / 8 ? MIDDLE : 0;
    c |= i < 2 ? FIRST2 : 0;
    c |= i < 4 ? FIRST4 : 0;
    c |= i_run < n / 8 ? EARLY8_RUN : 0;
    return c;
}

/* The output matrix, or the embeddings that serve as one. */
static int32_t choose_output(const mix_state *mix, const tamis_file_type *file_type,
                             const tamis_type *output_type, uint64_t ne0) {
    const tamis_type *base = tamis_type_by_id(file_type->base_type_id);
    uint64_t ft = UINT64_C(1) << file_type->id;
    if (output_type) return output_type->id;
    if (ft & FT(MXFP4_MOE)) return Q8_0;
    if (mix->is_falcon || ne0 % base->block_elems != 0) return Q8_0;
    if (ft & (LOW | FT(IQ3_XXS))) return Q5_K;
    return base->id != Q8_0 ? Q6_K : Q8_0;
}

int32_t mix_choose(mix_state *mix, const tamis_file_type *file_type, const tamis_type *output_type,
                   const char *name, const tamis_gguf_tensor *t) {
    uint32_t category = category_of(name);
    uint64_t ft = UINT64_C(1) << file_type->id;
    int64_t *index = category == C_VLIKE  ? &mix->i_vlike
                     : category == C_DOWN ? &mix->i_down
                     : category == C_GATE ? &mix->i_gate
                     : category == C_UP   ? &mix->i_up
                                          : NULL;
    int64_t i_run = index ? (*index)++ : 0, i = i_run;
    if (category == C_OUTPUT || (category == C_EMBEDDING && mix->is_tied))
        return choose_output(mix, file_type, output_type, t->ne[0]);
    if (ft & FT(MXFP4_MOE)) return t->ne[2] > 1 ? MXFP4 : Q8_0;
    /* With experts a layer may hold several tensors of a kind: count by the name's number. */
    if (index && category != C_VLIKE && mix->n_experts > 1 && mix_layer_of(name) >= 0)
        i = mix_layer_of(name);
    uint32_t holds =
        conditions_of(mix, i, i_run, category == C_VLIKE ? mix->n_vlike : mix->n_layers);
    int32_t type_id = file_type->base_type_id;
    for (size_t k = 0; k < COUNT(rules); k++) {
        const mix_rule *r = &rules[k];
        if (!(r->categories & category) || !(r->file_types & ft)) continue;
        if ((r->conditions & holds) != r->conditions) continue;
        type_id = r->type_id;
        break;
    }
    if (category == C_VLIKE && !(ft & (LOW | FT(NVFP4)))) {
        if (mix->is_70b && (type_id == Q3_K || type_id == Q4_K)) type_id = Q5_K;
        if (mix->n_experts == 8) type_id = Q8_0;
    }
    return type_id;
}

const tamis_type *mix_fit_row(const tamis_type *wanted, uint64_t ne0) {
    if (ne0 % wanted->block_elems == 0) return wanted;
    const tamis_type *next = tamis_type_by_id(wanted->fallback_id);
    if (!next) return NULL;
    return ne0 % next->block_elems == 0 ? next : tamis_type_by_id(TAMIS_TYPE_F16);
}
