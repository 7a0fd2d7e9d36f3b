/* known_keys.c - kind and range of the keys that the format fixes.
 * A wrong kind is an error that names the key; integers of any width are taken when
 * the value fits. Keys not in the table are free. Rules 6, 7, 15, 16 of
 * reference/gguf-threats.md section 2; keys: gguf.md sections 4 and 5, and
 * architectures.md section 0. */
#include <stdio.h>
#include <string.h>

#include "gguf/gguf_internal.h"

typedef enum known_kind {
    KNOWN_TEXT,
    KNOWN_BOOL,
    KNOWN_INT,
    KNOWN_INT_OR_LAYERS, /* one integer (or bool), or an array of them, one per layer */
    KNOWN_NUMBER,        /* any number */
    KNOWN_TEXTS,         /* array of strings */
    KNOWN_INTS,          /* array of integers */
    KNOWN_BYTES,         /* array of u8 or i8 */
    KNOWN_TOKEN,         /* integer below the vocabulary size, when there is a vocabulary */
} known_kind;

typedef struct known_key {
    const char *key; /* "{arch}" stands for the value of general.architecture */
    known_kind kind;
    int64_t lo, hi; /* of integers */
} known_key;

#define ANY_INT INT64_MIN, INT64_MAX
#define COUNT 0, INT32_MAX

/* clang-format off */
static const known_key known[] = {
    { "general.architecture",          KNOWN_TEXT,  0, 0 },
    { "general.type",                  KNOWN_TEXT,  0, 0 },
    { "general.file_type",             KNOWN_INT,   COUNT },
    { "general.quantization_version",  KNOWN_INT,   COUNT },
    { "general.name",                  KNOWN_TEXT,  0, 0 },
    { "general.author",                KNOWN_TEXT,  0, 0 },
    { "general.version",               KNOWN_TEXT,  0, 0 },
    { "general.organization",          KNOWN_TEXT,  0, 0 },
    { "general.basename",              KNOWN_TEXT,  0, 0 },
    { "general.finetune",              KNOWN_TEXT,  0, 0 },
    { "general.description",           KNOWN_TEXT,  0, 0 },
    { "general.quantized_by",          KNOWN_TEXT,  0, 0 },
    { "general.size_label",            KNOWN_TEXT,  0, 0 },
    { "general.license",               KNOWN_TEXT,  0, 0 },
    { "general.license.name",          KNOWN_TEXT,  0, 0 },
    { "general.license.link",          KNOWN_TEXT,  0, 0 },
    { "general.url",                   KNOWN_TEXT,  0, 0 },
    { "general.doi",                   KNOWN_TEXT,  0, 0 },
    { "general.uuid",                  KNOWN_TEXT,  0, 0 },
    { "general.repo_url",              KNOWN_TEXT,  0, 0 },
    { "general.source.url",            KNOWN_TEXT,  0, 0 },
    { "general.source.doi",            KNOWN_TEXT,  0, 0 },
    { "general.source.uuid",           KNOWN_TEXT,  0, 0 },
    { "general.source.repo_url",       KNOWN_TEXT,  0, 0 },
    { "general.source.huggingface.repository", KNOWN_TEXT, 0, 0 },
    { "general.base_model.count",      KNOWN_INT,   COUNT },
    { "general.dataset.count",         KNOWN_INT,   COUNT },
    { "general.tags",                  KNOWN_TEXTS, 0, 0 },
    { "general.languages",             KNOWN_TEXTS, 0, 0 },
    { "general.datasets",              KNOWN_TEXTS, 0, 0 },
    { "general.sampling.sequence",     KNOWN_TEXT,  0, 0 },
    { "general.sampling.top_k",        KNOWN_INT,   ANY_INT },
    { "general.sampling.penalty_last_n", KNOWN_INT, ANY_INT },
    { "general.sampling.mirostat",     KNOWN_INT,   ANY_INT },
    { "general.sampling.top_p",        KNOWN_NUMBER, 0, 0 },
    { "general.sampling.min_p",        KNOWN_NUMBER, 0, 0 },
    { "general.sampling.xtc_probability", KNOWN_NUMBER, 0, 0 },
    { "general.sampling.xtc_threshold", KNOWN_NUMBER, 0, 0 },
    { "general.sampling.temp",         KNOWN_NUMBER, 0, 0 },
    { "general.sampling.penalty_repeat", KNOWN_NUMBER, 0, 0 },
    { "general.sampling.mirostat_tau", KNOWN_NUMBER, 0, 0 },
    { "general.sampling.mirostat_eta", KNOWN_NUMBER, 0, 0 },

    { "split.no",                      KNOWN_INT,   0, 65535 },
    { "split.count",                   KNOWN_INT,   0, 65535 },
    { "split.tensors.count",           KNOWN_INT,   COUNT },

    { "quantize.imatrix.file",         KNOWN_TEXT,  0, 0 },
    { "quantize.imatrix.dataset",      KNOWN_TEXT,  0, 0 },
    { "quantize.imatrix.entries_count", KNOWN_INT,  COUNT },
    { "quantize.imatrix.chunks_count", KNOWN_INT,   ANY_INT },

    { "{arch}.block_count",            KNOWN_INT,   1, GGUF_MAX_BLOCKS },
    { "{arch}.context_length",         KNOWN_INT,   COUNT },
    { "{arch}.embedding_length",       KNOWN_INT,   1, INT32_MAX },
    { "{arch}.vocab_size",             KNOWN_INT,   COUNT },
    { "{arch}.feed_forward_length",    KNOWN_INT_OR_LAYERS, COUNT },
    { "{arch}.attention.head_count",   KNOWN_INT_OR_LAYERS, 1, GGUF_MAX_BLOCKS },
    { "{arch}.attention.head_count_kv", KNOWN_INT_OR_LAYERS, 0, GGUF_MAX_BLOCKS },
    { "{arch}.attention.key_length",   KNOWN_INT,   COUNT },
    { "{arch}.attention.value_length", KNOWN_INT,   COUNT },
    { "{arch}.attention.key_length_swa", KNOWN_INT, COUNT },
    { "{arch}.attention.value_length_swa", KNOWN_INT, COUNT },
    { "{arch}.attention.sliding_window", KNOWN_INT, COUNT },
    { "{arch}.attention.sliding_window_pattern", KNOWN_INT_OR_LAYERS, COUNT },
    { "{arch}.attention.layer_norm_rms_epsilon", KNOWN_NUMBER, 0, 0 },
    { "{arch}.attention.layer_norm_epsilon", KNOWN_NUMBER, 0, 0 },
    { "{arch}.attention.causal",       KNOWN_BOOL,  0, 0 },
    { "{arch}.rope.dimension_count",   KNOWN_INT,   COUNT },
    { "{arch}.rope.dimension_count_swa", KNOWN_INT, COUNT },
    { "{arch}.rope.dimension_sections", KNOWN_INTS, COUNT },
    { "{arch}.rope.freq_base",         KNOWN_NUMBER, 0, 0 },
    { "{arch}.rope.freq_base_swa",     KNOWN_NUMBER, 0, 0 },
    { "{arch}.rope.scale_linear",      KNOWN_NUMBER, 0, 0 },
    { "{arch}.rope.scaling.type",      KNOWN_TEXT,  0, 0 },
    { "{arch}.rope.scaling.factor",    KNOWN_NUMBER, 0, 0 },
    { "{arch}.rope.scaling.attn_factor", KNOWN_NUMBER, 0, 0 },
    { "{arch}.rope.scaling.original_context_length", KNOWN_INT, COUNT },
    { "{arch}.expert_count",           KNOWN_INT,   0, GGUF_MAX_BLOCKS },
    { "{arch}.expert_used_count",      KNOWN_INT,   0, GGUF_MAX_BLOCKS },
    { "{arch}.expert_group_count",     KNOWN_INT,   0, GGUF_MAX_BLOCKS },
    { "{arch}.expert_group_used_count", KNOWN_INT,  0, GGUF_MAX_BLOCKS },
    { "{arch}.expert_feed_forward_length", KNOWN_INT, COUNT },
    { "{arch}.expert_shared_feed_forward_length", KNOWN_INT, COUNT },
    { "{arch}.expert_shared_count",    KNOWN_INT,   0, GGUF_MAX_BLOCKS },
    { "{arch}.expert_weights_scale",   KNOWN_NUMBER, 0, 0 },
    { "{arch}.expert_weights_norm",    KNOWN_BOOL,  0, 0 },
    { "{arch}.expert_gating_func",     KNOWN_INT,   COUNT },
    { "{arch}.leading_dense_block_count", KNOWN_INT, 0, GGUF_MAX_BLOCKS },
    { "{arch}.nextn_predict_layers",   KNOWN_INT,   0, GGUF_MAX_BLOCKS },

    { "clip.has_vision_encoder",       KNOWN_BOOL,  0, 0 },
    { "clip.has_audio_encoder",        KNOWN_BOOL,  0, 0 },
    { "clip.projector_type",           KNOWN_TEXT,  0, 0 },
    { "clip.vision.projector_type",    KNOWN_TEXT,  0, 0 },
    { "clip.audio.projector_type",     KNOWN_TEXT,  0, 0 },
    { "clip.use_gelu",                 KNOWN_BOOL,  0, 0 },
    { "clip.use_silu",                 KNOWN_BOOL,  0, 0 },
    { "clip.vision.image_size",        KNOWN_INT,   COUNT },
    { "clip.vision.patch_size",        KNOWN_INT,   COUNT },
    { "clip.vision.spatial_merge_size", KNOWN_INT,  COUNT },
    { "clip.vision.projection_dim",    KNOWN_INT,   COUNT },
    { "clip.vision.embedding_length",  KNOWN_INT,   COUNT },
    { "clip.vision.feed_forward_length", KNOWN_INT, COUNT },
    { "clip.vision.block_count",       KNOWN_INT,   0, GGUF_MAX_BLOCKS },
    { "clip.vision.attention.head_count", KNOWN_INT, 0, GGUF_MAX_BLOCKS },
    { "clip.vision.attention.layer_norm_epsilon", KNOWN_NUMBER, 0, 0 },
    { "clip.vision.projector.scale_factor", KNOWN_INT, COUNT },
    { "clip.audio.num_mel_bins",       KNOWN_INT,   COUNT },
    { "clip.audio.projection_dim",     KNOWN_INT,   COUNT },
    { "clip.audio.embedding_length",   KNOWN_INT,   COUNT },
    { "clip.audio.feed_forward_length", KNOWN_INT,  COUNT },
    { "clip.audio.block_count",        KNOWN_INT,   0, GGUF_MAX_BLOCKS },
    { "clip.audio.attention.head_count", KNOWN_INT, 0, GGUF_MAX_BLOCKS },
    { "clip.audio.attention.layer_norm_epsilon", KNOWN_NUMBER, 0, 0 },

    { "tokenizer.ggml.model",          KNOWN_TEXT,  0, 0 },
    { "tokenizer.ggml.pre",            KNOWN_TEXT,  0, 0 },
    { "tokenizer.ggml.tokens",         KNOWN_TEXTS, 0, 0 },
    { "tokenizer.ggml.merges",         KNOWN_TEXTS, 0, 0 },
    { "tokenizer.ggml.token_type_count", KNOWN_INT, COUNT },
    { "tokenizer.ggml.bos_token_id",   KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.eos_token_id",   KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.eot_token_id",   KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.eom_token_id",   KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.unknown_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.seperator_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.padding_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.cls_token_id",   KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.mask_token_id",  KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.fim_pre_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.fim_suf_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.fim_mid_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.fim_pad_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.fim_rep_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.fim_sep_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.prefix_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.suffix_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.middle_token_id", KNOWN_TOKEN, 0, 0 },
    { "tokenizer.ggml.add_bos_token",  KNOWN_BOOL,  0, 0 },
    { "tokenizer.ggml.add_eos_token",  KNOWN_BOOL,  0, 0 },
    { "tokenizer.ggml.add_sep_token",  KNOWN_BOOL,  0, 0 },
    { "tokenizer.ggml.add_space_prefix", KNOWN_BOOL, 0, 0 },
    { "tokenizer.ggml.remove_extra_whitespaces", KNOWN_BOOL, 0, 0 },
    { "tokenizer.ggml.normalizer.lowercase", KNOWN_BOOL, 0, 0 },
    { "tokenizer.ggml.normalizer.strip_accents", KNOWN_BOOL, 0, 0 },
    { "tokenizer.ggml.precompiled_charsmap", KNOWN_BYTES, 0, 0 },
    { "tokenizer.ggml.suppress_tokens", KNOWN_INTS, COUNT },
    { "tokenizer.huggingface.json",    KNOWN_TEXT,  0, 0 },
    { "tokenizer.rwkv.world",          KNOWN_TEXT,  0, 0 },
    { "tokenizer.chat_template",       KNOWN_TEXT,  0, 0 },
    { "tokenizer.chat_templates",      KNOWN_TEXTS, 0, 0 },
};

/* general.base_model.{i}.X and general.dataset.{i}.X are all texts. */
static const char *const source_prefixes[] = { "general.base_model.", "general.dataset." };
static const char *const source_fields[] = {
    "name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url",
};
/* Architectures without attention write a head count of 0. */
static const char *const attention_free[] = {"mamba", "mamba2",     "rwkv6",
                                             "rwkv7", "rwkv6qwen2", "arwkv7"};
/* clang-format on */

#define N_OF(table) (sizeof(table) / sizeof(table)[0])

const char *tamis_gguf_known_key(size_t i) {
    return i < N_OF(known) ? known[i].key : NULL;
}

static bool is_number(tamis_gguf_kind kind) {
    return gguf_kind_bytes(kind) && kind != TAMIS_GGUF_BOOL;
}

static bool is_integer(tamis_gguf_kind kind) {
    return is_number(kind) && kind != TAMIS_GGUF_F32 && kind != TAMIS_GGUF_F64;
}

static tamis_status wrong_kind(const char *key, const char *wanted, const tamis_gguf_kv *kv,
                               tamis_error *err) {
    if (kv->kind == TAMIS_GGUF_ARRAY)
        return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' must be %s, it is an array of %s", key,
                          wanted, tamis_gguf_kind_name(kv->elem_kind));
    return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' must be %s, it is %s", key, wanted,
                      tamis_gguf_kind_name(kv->kind));
}

/* Is the value of the kind the row wants? NULL when it is, else what it wants. */
static const char *unmet_kind(const tamis_gguf_kv *kv, known_kind kind) {
    const bool is_array = kv->kind == TAMIS_GGUF_ARRAY;
    switch (kind) {
    case KNOWN_TEXT:
        return kv->kind == TAMIS_GGUF_STRING ? NULL : "a string";
    case KNOWN_BOOL:
        return kv->kind == TAMIS_GGUF_BOOL ? NULL : "a bool";
    case KNOWN_INT:
    case KNOWN_TOKEN:
        return !is_array && is_integer(kv->kind) ? NULL : "an integer";
    case KNOWN_INT_OR_LAYERS:
        return is_integer(kv->elem_kind) || kv->elem_kind == TAMIS_GGUF_BOOL
                   ? NULL
                   : "an integer or an array of integers";
    case KNOWN_NUMBER:
        return !is_array && is_number(kv->kind) ? NULL : "a number";
    case KNOWN_TEXTS:
        return is_array && kv->elem_kind == TAMIS_GGUF_STRING ? NULL : "an array of strings";
    case KNOWN_INTS:
        return is_array && is_integer(kv->elem_kind) ? NULL : "an array of integers";
    case KNOWN_BYTES:
        return is_array && gguf_kind_bytes(kv->elem_kind) == 1 ? NULL : "an array of bytes";
    }
    return NULL;
}

static bool is_attention_free(const gguf_file *f) {
    tamis_gguf_kv kv;
    tamis_bytes arch;
    if (!gguf_file_find(f, "general.architecture", &kv) || !gguf_file_string(f, &kv, &arch))
        return false;
    for (size_t i = 0; i < N_OF(attention_free); i++)
        if (strlen(attention_free[i]) == arch.n_bytes &&
            !memcmp(attention_free[i], arch.data, arch.n_bytes))
            return true;
    return false;
}

static tamis_status check_layer_array(const gguf_file *f, const char *key, const tamis_gguf_kv *kv,
                                      tamis_error *err) {
    int64_t n_layers;
    if (kv->kind != TAMIS_GGUF_ARRAY) return TAMIS_OK;
    if (!gguf_arch_int(f, "block_count", &n_layers) || kv->n_elems == (uint64_t)n_layers)
        return TAMIS_OK;
    return tamis_fail(err, TAMIS_BAD_INPUT, "key '%s' has %llu values for %lld layers", key,
                      (unsigned long long)kv->n_elems, (long long)n_layers);
}

static tamis_status check_range(const gguf_file *f, const char *key, const tamis_gguf_kv *kv,
                                int64_t lo, int64_t hi, tamis_error *err) {
    for (uint64_t i = 0; i < kv->n_elems; i++) {
        int64_t value;
        if (gguf_file_int(f, kv, i, &value) && value >= lo && value <= hi) continue;
        return tamis_fail(err, TAMIS_BAD_INPUT,
                          "key '%s' is out of range: %lld to %lld are allowed", key, (long long)lo,
                          (long long)hi);
    }
    return TAMIS_OK;
}

static tamis_status check_one(const gguf_file *f, const known_key *row, const char *key,
                              int64_t n_tokens, tamis_error *err) {
    tamis_gguf_kv kv;
    int64_t lo = row->lo;
    if (!gguf_file_find(f, key, &kv)) return TAMIS_OK;
    const char *wanted = unmet_kind(&kv, row->kind);
    if (wanted) return wrong_kind(key, wanted, &kv, err);
    if (row->kind == KNOWN_TOKEN)
        return check_range(f, key, &kv, 0, n_tokens ? n_tokens - 1 : INT32_MAX, err);
    if (row->kind == KNOWN_INT_OR_LAYERS) {
        tamis_status st = check_layer_array(f, key, &kv, err);
        if (st) return st;
        /* A layer, or a model without attention, may have none of the thing counted. */
        if (kv.kind == TAMIS_GGUF_ARRAY || is_attention_free(f)) lo = 0;
    }
    if (row->kind == KNOWN_INT || row->kind == KNOWN_INT_OR_LAYERS || row->kind == KNOWN_INTS)
        return check_range(f, key, &kv, lo, row->hi, err);
    return TAMIS_OK;
}

/* general.base_model.{i}.FIELD and the like. */
static bool is_source_text(tamis_bytes key) {
    for (size_t p = 0; p < N_OF(source_prefixes); p++) {
        size_t n = strlen(source_prefixes[p]);
        if (key.n_bytes <= n || memcmp(key.data, source_prefixes[p], n)) continue;
        while (n < key.n_bytes && key.data[n] >= '0' && key.data[n] <= '9')
            n++;
        if (n == key.n_bytes || key.data[n++] != '.') continue;
        for (size_t j = 0; j < N_OF(source_fields); j++)
            if (key.n_bytes - n == strlen(source_fields[j]) &&
                !memcmp(key.data + n, source_fields[j], key.n_bytes - n))
                return true;
    }
    return false;
}

static tamis_status check_sources(const gguf_file *f, tamis_error *err) {
    for (uint64_t i = 0; i < f->n_kv; i++) {
        tamis_bytes key = gguf_string_at(f, f->kv_offsets[i]);
        if (!is_source_text(key)) continue;
        tamis_gguf_kv kv = gguf_file_kv(f, i);
        char quoted[GGUF_QUOTE_BYTES];
        if (kv.kind != TAMIS_GGUF_STRING)
            return wrong_kind(gguf_quote(key, quoted), "a string", &kv, err);
    }
    return TAMIS_OK;
}

/* The key of a row, "{arch}" replaced; false when there is no (usable) architecture. */
static bool expand_key(const gguf_file *f, const char *pattern, char *out, size_t cap) {
    tamis_gguf_kv kv;
    tamis_bytes arch;
    if (strncmp(pattern, "{arch}", 6)) return snprintf(out, cap, "%s", pattern) < (int)cap;
    if (!gguf_file_find(f, "general.architecture", &kv) || !gguf_file_string(f, &kv, &arch) ||
        arch.n_bytes > cap / 2 || memchr(arch.data, 0, arch.n_bytes))
        return false;
    int n = snprintf(out, cap, "%.*s%s", (int)arch.n_bytes, arch.data, pattern + 6);
    return n > 0 && n < (int)cap;
}

bool gguf_arch_int(const gguf_file *f, const char *suffix, int64_t *out) {
    char pattern[64], key[256];
    tamis_gguf_kv kv;
    snprintf(pattern, sizeof pattern, "{arch}.%s", suffix);
    return expand_key(f, pattern, key, sizeof key) && gguf_file_find(f, key, &kv) &&
           kv.kind != TAMIS_GGUF_ARRAY && gguf_file_int(f, &kv, 0, out);
}

/* What this tool writes where several kinds are read. */
static void kind_to_write(const known_key *row, tamis_gguf_kind *kind, tamis_gguf_kind *elem_kind) {
    static const struct {
        uint8_t kind, elem_kind;
    } kinds[] = {
        [KNOWN_TEXT] = {TAMIS_GGUF_STRING, TAMIS_GGUF_STRING},
        [KNOWN_BOOL] = {TAMIS_GGUF_BOOL, TAMIS_GGUF_BOOL},
        [KNOWN_INT] = {TAMIS_GGUF_U32, TAMIS_GGUF_U32},
        [KNOWN_INT_OR_LAYERS] = {TAMIS_GGUF_U32, TAMIS_GGUF_U32},
        [KNOWN_NUMBER] = {TAMIS_GGUF_F32, TAMIS_GGUF_F32},
        [KNOWN_TEXTS] = {TAMIS_GGUF_ARRAY, TAMIS_GGUF_STRING},
        [KNOWN_INTS] = {TAMIS_GGUF_ARRAY, TAMIS_GGUF_I32},
        [KNOWN_BYTES] = {TAMIS_GGUF_ARRAY, TAMIS_GGUF_U8},
        [KNOWN_TOKEN] = {TAMIS_GGUF_U32, TAMIS_GGUF_U32},
    };
    *kind = (tamis_gguf_kind)kinds[row->kind].kind;
    *elem_kind = (tamis_gguf_kind)kinds[row->kind].elem_kind;
    if (row->kind == KNOWN_INT && row->lo < 0) *kind = *elem_kind = TAMIS_GGUF_I32;
    if (row->kind == KNOWN_INT && !strncmp(row->key, "split.", 6)) {
        bool is_total = strcmp(row->key, "split.tensors.count") == 0;
        *kind = *elem_kind = is_total ? TAMIS_GGUF_I32 : TAMIS_GGUF_U16;
    }
}

bool gguf_known_kind(const gguf_file *f, const char *key, tamis_gguf_kind *kind,
                     tamis_gguf_kind *elem_kind) {
    static const char named_template[] = "tokenizer.chat_template.";
    tamis_bytes text = {key, strlen(key)};
    for (size_t i = 0; i < N_OF(known); i++) {
        char own[256];
        if (!expand_key(f, known[i].key, own, sizeof own) || strcmp(own, key)) continue;
        kind_to_write(&known[i], kind, elem_kind);
        return true;
    }
    *kind = *elem_kind = TAMIS_GGUF_STRING;
    if (!strcmp(key, "general.alignment")) *kind = *elem_kind = TAMIS_GGUF_U32;
    return !strcmp(key, "general.alignment") || is_source_text(text) ||
           !strncmp(key, named_template, sizeof named_template - 1);
}

tamis_status gguf_check_known_keys(const gguf_file *f, tamis_error *err) {
    tamis_gguf_kv tokens;
    int64_t n_tokens = 0;
    if (gguf_file_find(f, "tokenizer.ggml.tokens", &tokens)) n_tokens = (int64_t)tokens.n_elems;
    for (size_t i = 0; i < N_OF(known); i++) {
        char key[256];
        if (!expand_key(f, known[i].key, key, sizeof key)) continue;
        tamis_status st = check_one(f, &known[i], key, n_tokens, err);
        if (st) return st;
    }
    return check_sources(f, err);
}
